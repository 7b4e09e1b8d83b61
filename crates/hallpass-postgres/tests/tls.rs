//! TLS, by what `sslmode` asks of it.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what should not fail")]

mod common;

use std::time::Duration;

use common::services::Service;
use common::{NOW, small};
use hallpass_core::{Store as _, StoreError};
use hallpass_postgres::PostgresStore;
use tokio_postgres::{Client, NoTls};

async fn plain(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Lets the server make a certificate for `localhost`, and answers it.
async fn switch_on(admin: &Client) -> String {
    let make = "openssl req -new -x509 -days 2 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=localhost \
                -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE -keyout server.key -out server.crt \
                2>&1 && chmod 600 server.key";
    admin.batch_execute(&format!("COPY (SELECT 1) TO PROGRAM '{make}'")).await.unwrap();
    admin.batch_execute("ALTER SYSTEM SET ssl = on").await.unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    admin.query_one("SELECT pg_read_file('server.crt')", &[]).await.unwrap().get(0)
}

/// Whether the connections are encrypted.
async fn encrypted(admin: &Client, url: &str) -> Result<bool, StoreError> {
    let store = PostgresStore::connect(url, small()).await?;
    store.health(NOW).await?;
    let sql = "SELECT bool_and(ssl), bool_or(ssl), count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 't'";
    let row = admin.query_one(sql, &[]).await.unwrap();
    let (all, any, count): (bool, bool, i64) = (row.get(0), row.get(1), row.get(2));
    assert!(all == any && count >= 2, "all connections alike");
    store.close().await;
    for _ in 0..200 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 't'";
        if admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            return Ok(all);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a closed store keeps connections");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sslmode_is_honoured() {
    let server = Service::start("postgres", &[]);
    let admin = plain(&server.url).await;
    let with = |rest: &str| format!("{}?schema=t&application_name=t&{rest}", server.url);
    let refused = encrypted(&admin, &with("sslmode=require")).await.unwrap_err();
    assert!(refused.to_string().contains("TLS"), "a server without TLS: {refused}");
    assert!(!encrypted(&admin, &with("sslmode=prefer")).await.unwrap(), "prefer does without");

    let certificate = switch_on(&admin).await;
    let file = std::env::temp_dir().join(format!("hallpass-{}.pem", std::process::id()));
    std::fs::write(&file, certificate).unwrap();
    let root = format!("sslrootcert={}", file.display());
    // The server reads its settings anew a moment later.
    for _ in 0..200 {
        if encrypted(&admin, &with("")).await.unwrap() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let named = |url: String| url.replacen("127.0.0.1", "localhost", 1);
    let (yes, no) = (Some(true), Some(false));
    let table = [
        ("disable", with("sslmode=disable"), no),
        ("nothing said", with(""), yes),
        ("prefer", with("sslmode=prefer"), yes),
        ("require looks at no certificate", with("sslmode=require"), yes),
        ("require with a root looks at the chain", with(&format!("sslmode=require&{root}")), yes),
        ("verify-ca looks at no name", with(&format!("sslmode=verify-ca&{root}")), yes),
        ("verify-ca by the system's roots", with("sslmode=verify-ca"), None),
        ("verify-full by its name", named(with(&format!("sslmode=verify-full&{root}"))), yes),
        ("verify-full by another name", with(&format!("sslmode=verify-full&{root}")), None),
        ("verify-full by the system's roots", named(with("sslmode=verify-full&sslrootcert=system")), None),
        ("a file that is not there", with("sslmode=verify-full&sslrootcert=/nowhere.pem"), None),
    ];
    for (what, url, expected) in table {
        match encrypted(&admin, &url).await {
            Ok(encrypted) => assert_eq!(Some(encrypted), expected, "{what}"),
            Err(error) => {
                assert_eq!(expected, None, "{what}: {error}");
                assert!(matches!(error, StoreError::Unavailable { .. }), "{what}: {error:?}");
            }
        }
    }
    std::fs::remove_file(file).unwrap();
}
