//! Servers of a test's own, to kill, freeze and cut off.

use std::time::Duration;

use redis::{AsyncConnectionConfig, Value};
use tokio::process::Command;

const SERVICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/services");

/// Stopped when it is dropped, and at the end of the test's process at the latest.
#[derive(Debug)]
pub(crate) struct Instance {
    directory: String,
    /// Through a proxy that can be cut.
    pub(crate) url: String,
    pub(crate) direct: String,
    /// Name and port of each server.
    pub(crate) members: Vec<(String, u16)>,
}

impl Instance {
    pub(crate) async fn start(kind: &str) -> Self {
        let owner = std::process::id().to_string();
        let output = services(&["start", kind, "--owner", &owner]).await;
        let started: serde_json::Value = serde_json::from_str(&output).unwrap();
        let text = |name: &str| started[name].as_str().unwrap().to_owned();
        let member = |member: &serde_json::Value| {
            let port = member["port"].as_u64().unwrap();
            (member["name"].as_str().unwrap().to_owned(), u16::try_from(port).unwrap())
        };
        let members = started["members"].as_array().unwrap().iter().map(member).collect();
        Self { directory: text("dir"), url: text("url"), direct: text("direct"), members }
    }

    pub(crate) async fn kill(&self, member: &str) {
        services(&["kill", &self.directory, member]).await;
    }

    pub(crate) async fn freeze(&self, member: &str) {
        services(&["freeze", &self.directory, member]).await;
    }

    pub(crate) async fn thaw(&self, member: &str) {
        services(&["thaw", &self.directory, member]).await;
    }

    pub(crate) async fn restart(&self, member: &str) {
        services(&["restart", &self.directory, member]).await;
    }

    /// `--black-hole`, `--refuse` or `--lose-answers`.
    pub(crate) async fn cut(&self, member: &str, how: &str) {
        services(&["cut", &self.directory, member, how]).await;
    }

    pub(crate) async fn mend(&self, member: &str) {
        services(&["mend", &self.directory, member]).await;
    }

    /// What one server answers to one command, on a way of its own.
    pub(crate) async fn ask(&self, member: &str, words: &[&str]) -> redis::RedisResult<Value> {
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        self.asked(member, &words).await
    }

    /// As [`Instance::ask`], for what is no text.
    pub(crate) async fn ask_bytes(&self, member: &str, words: &[Vec<u8>]) -> Value {
        self.asked(member, words).await.unwrap()
    }

    async fn asked(&self, member: &str, words: &[Vec<u8>]) -> redis::RedisResult<Value> {
        let (_, port) = self.members.iter().find(|(name, _)| name == member).unwrap();
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(20)))
            .set_response_timeout(Some(Duration::from_secs(20)));
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut command = redis::Cmd::new();
        command.arg(words);
        command.query_async(&mut connection).await
    }

    /// Whether a node is a primary now.
    pub(crate) async fn is_primary(&self, member: &str) -> bool {
        let Value::Array(role) = self.ask(member, &["ROLE"]).await.unwrap() else { return false };
        role.first() == Some(&Value::BulkString(b"master".to_vec()))
    }

    /// The primary that serves a slot of a fresh cluster.
    pub(crate) fn primary_of(slot: u16) -> String {
        let thirds = [0, 16_384_u32.div_ceil(3), (2 * 16_384_u32).div_ceil(3)];
        let at = thirds.iter().filter(|first| u32::from(slot) >= **first).count();
        format!("primary-{at}")
    }

    /// The slot of a shard, or of the log.
    pub(crate) async fn slot(&self, tag: &str) -> u16 {
        let (name, _) = self.members[0].clone();
        let slot = self.ask(&name, &["CLUSTER", "KEYSLOT", &format!("{{hp:{tag}}}")]).await.unwrap();
        redis::from_redis_value(slot).unwrap()
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

async fn services(arguments: &[&str]) -> String {
    let running = Command::new(SERVICES).args(arguments).kill_on_drop(true).output();
    let output =
        tokio::time::timeout(Duration::from_secs(60), running).await.expect("services answers within a minute");
    let output = output.expect("scripts/services can be started; it needs node and redis-server");
    assert!(output.status.success(), "services {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
