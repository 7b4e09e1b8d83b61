//! A server of a test's own, to kill, cut off and set up oddly.

use std::time::Duration;

use tokio::process::Command;

/// Stopped when it is dropped, and at the end of the test's process at the latest.
#[derive(Debug)]
pub(crate) struct Instance {
    directory: String,
    /// Through a proxy that can be cut.
    pub(crate) url: String,
    pub(crate) direct: String,
}

impl Instance {
    pub(crate) async fn start() -> Self {
        let owner = std::process::id().to_string();
        let output = services(&["start", "mariadb", "--owner", &owner]).await;
        let started: serde_json::Value = serde_json::from_str(&output).unwrap();
        let text = |name: &str| started[name].as_str().unwrap().to_owned();
        Self { directory: text("dir"), url: text("url"), direct: text("direct") }
    }

    pub(crate) async fn kill(&self) {
        services(&["kill", &self.directory]).await;
    }

    pub(crate) async fn restart(&self) {
        services(&["restart", &self.directory]).await;
    }

    pub(crate) async fn freeze(&self) {
        services(&["freeze", &self.directory]).await;
    }

    pub(crate) async fn thaw(&self) {
        services(&["thaw", &self.directory]).await;
    }

    /// Nothing passes either way, and nobody is told.
    pub(crate) async fn cut(&self) {
        services(&["cut", &self.directory, "--black-hole"]).await;
    }

    pub(crate) async fn mend(&self) {
        services(&["mend", &self.directory]).await;
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let stopping = std::process::Command::new(SERVICES).args(["stop", &self.directory]).output();
        if let Ok(output) = stopping
            && !output.status.success()
        {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

const SERVICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/services");

async fn services(arguments: &[&str]) -> String {
    let running = Command::new(SERVICES).args(arguments).kill_on_drop(true).output();
    let output =
        tokio::time::timeout(Duration::from_secs(60), running).await.expect("services answers within a minute");
    let output = output.expect("scripts/services can be started; it needs node and the programs of MariaDB");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
