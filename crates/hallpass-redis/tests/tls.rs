//! TLS (`rediss://`): whom a connection trusts. The server has no other port.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what should not fail")]

mod support;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hallpass_core::store::Store as _;
use hallpass_core::{Entropy as _, OsEntropy, StoreError};
use hallpass_redis::{RedisOptions, RedisStore};
use support::{created, fresh_prefix, options, records, soon, until};

const PASSWORD: &str = "an-open-secret";

/// A server with a certificate for `localhost`, gone with its files when it is dropped.
struct Server {
    process: Child,
    directory: PathBuf,
    port: u16,
}

impl Server {
    fn start() -> Self {
        let mut name = [0; 8];
        OsEntropy.fill(&mut name).unwrap();
        let directory = std::env::temp_dir().join(format!("hallpass-tls-{:016x}", u64::from_be_bytes(name)));
        std::fs::create_dir(&directory).unwrap();
        for name in ["server", "another"] {
            certify(&directory, name);
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("redis-server")
            .args(["--port", "0", "--bind", "127.0.0.1", "--save", "", "--requirepass", PASSWORD])
            .args(["--tls-port", &port.to_string(), "--tls-auth-clients", "no"])
            .args(["--tls-cert-file", "server.crt", "--tls-key-file", "server.key", "--tls-ca-cert-file", "server.crt"])
            .current_dir(&directory)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server can be started");
        Self { process, directory, port }
    }

    /// What is trusted when one trusts this certificate.
    fn authority(&self, name: &str) -> Option<Vec<u8>> {
        Some(std::fs::read(self.directory.join(format!("{name}.crt"))).unwrap())
    }

    async fn open(&self, host: &str, password: &str, authority: Option<Vec<u8>>) -> Result<RedisStore, StoreError> {
        let url = format!("rediss://:{password}@{host}:{}", self.port);
        RedisStore::open(&url, RedisOptions { authority, ..options(&fresh_prefix()) }).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has no data that anybody needs.
        let _ = self.process.kill().and_then(|()| self.process.wait());
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn certify(directory: &Path, name: &str) {
    let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
    let output = Command::new("openssl")
        .args([
            "req",
            "-new",
            "-x509",
            "-days",
            "2",
            "-nodes",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", &key, "-out", &certificate])
        .current_dir(directory)
        .output()
        .expect("openssl can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_right_server_is_trusted() {
    let server = Server::start();
    let right = server.authority("server");
    let store = until(Duration::from_secs(30), "the server answers", || async {
        server.open("localhost", PASSWORD, right.clone()).await.ok()
    })
    .await;
    assert_eq!(store.location().to_string(), format!("rediss://localhost:{}/0", server.port));
    let record = created(&store, &records(), "alice").await;
    assert_eq!(store.find(record.session.id).await.unwrap(), Some(record));

    for (what, host, password, authority, word) in [
        ("another authority", "localhost", PASSWORD, server.authority("another"), "certificate"),
        ("the authorities of the system", "localhost", PASSWORD, None, "certificate"),
        ("another name", "127.0.0.1", PASSWORD, right.clone(), "certificate"),
        ("no certificate", "localhost", PASSWORD, Some(b"none".to_vec()), "certificate"),
        ("another password", "localhost", "a-wrong-secret", right.clone(), "password"),
    ] {
        let refused = soon(server.open(host, password, authority)).await.expect_err(what);
        assert!(matches!(refused, StoreError::Unavailable { .. }), "{what}: {refused:?}");
        let text = format!("{refused} {refused:?}");
        assert!(text.contains(word), "{what}: {text}");
        assert!(text.contains(&server.port.to_string()), "{what}: it says where: {text}");
        assert!(!text.contains("secret"), "{what}: {text}");
    }
}
