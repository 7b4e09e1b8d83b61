//! Servers of a test's own, which it may kill.

use std::path::PathBuf;
use std::process::Command;

/// A server that `scripts/services` started and stops.
pub(crate) struct Service {
    dir: String,
    pub(crate) url: String,
    /// A URL for each server, through a proxy: the primary's first.
    pub(crate) members: Vec<String>,
}

impl Service {
    pub(crate) fn start(kind: &str, arguments: &[&str]) -> Self {
        let owner = std::process::id().to_string();
        let mut command = vec!["start", kind, "--owner", &owner];
        command.extend(arguments);
        let said: serde_json::Value = serde_json::from_str(&services(&command)).unwrap();
        let text = |name: &str| said[name].as_str().unwrap().to_owned();
        let members = said["members"].as_array().into_iter().flatten();
        let members = members.filter_map(|member| member["url"].as_str()).map(str::to_owned).collect();
        Self { dir: text("dir"), url: text("direct"), members }
    }

    pub(crate) fn kill(&self) {
        services(&["kill", &self.dir]);
    }

    pub(crate) fn kill_primary(&self) {
        services(&["kill", &self.dir, "primary"]);
    }

    /// What the primary sends to its standby does not arrive, and is not refused.
    pub(crate) fn cut_off_standby(&self) {
        services(&["cut", &self.dir, "standby", "--black-hole"]);
    }

    pub(crate) fn mend_standby(&self) {
        services(&["mend", &self.dir, "standby"]);
    }

    /// Its processes stand still, and nobody is told.
    pub(crate) fn freeze_primary(&self) {
        services(&["freeze", &self.dir, "primary"]);
    }

    /// The standby takes over.
    pub(crate) fn promote(&self) {
        services(&["promote", &self.dir]);
    }

    pub(crate) fn restart(&self) {
        services(&["restart", &self.dir]);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        services(&["stop", &self.dir]);
    }
}

fn services(arguments: &[&str]) -> String {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../scripts/services");
    let output = Command::new(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "scripts/services {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
