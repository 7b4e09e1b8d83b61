//! Starts an example program on a free port with a database of its own: for the tests of the examples.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// The running program; ended when dropped.
pub(crate) struct Program {
    child: Child,
    origin: String,
    _directory: tempfile::TempDir,
}

impl Program {
    pub(crate) fn start(binary: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(binary)
            .args(["127.0.0.1:0", directory.path().join("test.db").to_str().unwrap()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let origin = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, origin, _directory: directory }
    }

    /// An address of the program.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
