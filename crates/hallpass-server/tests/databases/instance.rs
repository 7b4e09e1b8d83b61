//! A server of a test's own, to kill and to cut off.

use std::process::Command;

use serde_json::Value;

const SERVICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/services");

/// Stopped when it is dropped, and at the end of the test's process at the latest.
#[derive(Debug)]
pub(crate) struct Instance {
    directory: String,
    /// Through a proxy that can be cut.
    pub(crate) url: String,
    /// The URL of each server by itself.
    pub(crate) members: Vec<String>,
    /// Name and port of each server.
    ports: Vec<(String, u64)>,
}

impl Instance {
    pub(crate) fn start(kind: &str, more: &[&str]) -> Self {
        let owner = std::process::id().to_string();
        let started: Value =
            serde_json::from_str(&services(&[&["start", kind, "--owner", &owner], more].concat())).unwrap();
        let text = |name: &str| started[name].as_str().unwrap().to_owned();
        let all = started["members"].as_array().unwrap();
        let members = all.iter().filter_map(|member| member["url"].as_str()).map(str::to_owned).collect();
        let port = |member: &Value| (member["name"].as_str().unwrap().to_owned(), member["port"].as_u64().unwrap());
        Self { directory: text("dir"), url: text("url"), members, ports: all.iter().map(port).collect() }
    }

    /// Where this server listens by itself.
    pub(crate) fn address_of(&self, member: &str) -> String {
        let (_, port) = self.ports.iter().find(|(name, _)| name == member).unwrap();
        format!("127.0.0.1:{port}")
    }

    /// kill -9.
    pub(crate) fn kill(&self) {
        services(&["kill", &self.directory]);
    }

    /// kill -9 of one of several.
    pub(crate) fn kill_member(&self, member: &str) {
        services(&["kill", &self.directory, member]);
    }

    /// SIGSTOP: no connection is refused, and none is answered.
    pub(crate) fn freeze(&self, member: &str) {
        services(&["freeze", &self.directory, member]);
    }

    /// The standby or the replica of a pair becomes the primary.
    pub(crate) fn promote(&self) {
        services(&["promote", &self.directory]);
    }

    /// Same port, same data.
    pub(crate) fn restart(&self) {
        services(&["restart", &self.directory]);
    }

    /// One of several, which may have been killed.
    pub(crate) fn restart_member(&self, member: &str) {
        services(&["restart", &self.directory, member]);
    }

    /// Keeps a copy of all data as it is at one moment.
    pub(crate) fn snapshot(&self) {
        services(&["snapshot", &self.directory]);
    }

    /// kill -9, and a start with what was copied last.
    pub(crate) fn restore(&self) {
        services(&["restore", &self.directory]);
    }

    /// Nothing passes between this member and the others.
    pub(crate) fn cut_member(&self, member: &str) {
        services(&["cut", &self.directory, member, "--black-hole"]);
    }

    /// Nothing passes either way, and nobody is told.
    pub(crate) fn cut(&self) {
        services(&["cut", &self.directory, "--black-hole"]);
    }

    pub(crate) fn mend(&self) {
        services(&["mend", &self.directory]);
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // It ends with this process anyway.
        let _ = Command::new(SERVICES).args(["stop", &self.directory]).output();
    }
}

fn services(arguments: &[&str]) -> String {
    let output = Command::new(SERVICES).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
