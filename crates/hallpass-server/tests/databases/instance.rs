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
}

impl Instance {
    pub(crate) fn start(kind: &str, more: &[&str]) -> Self {
        let owner = std::process::id().to_string();
        let started: Value =
            serde_json::from_str(&services(&[&["start", kind, "--owner", &owner], more].concat())).unwrap();
        let text = |name: &str| started[name].as_str().unwrap().to_owned();
        let members = started["members"].as_array().unwrap().iter();
        let members = members.filter_map(|member| member["url"].as_str()).map(str::to_owned).collect();
        Self { directory: text("dir"), url: text("url"), members }
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

    /// The standby of a pair becomes the primary.
    pub(crate) fn promote(&self) {
        services(&["promote", &self.directory]);
    }

    /// Same port, same data.
    pub(crate) fn restart(&self) {
        services(&["restart", &self.directory]);
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
