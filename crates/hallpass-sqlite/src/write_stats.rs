//! What the writer did.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the store was opened, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteStats {
    /// Write commands that were answered after a commit.
    pub commands: u64,
    /// Commits. Fewer than `commands` when writes came together.
    pub commits: u64,
    /// Commits that were synced to stable storage (`synchronous=FULL`, read back from SQLite).
    pub durable_commits: u64,
    /// Commits that failed, with every command in them.
    pub failed_commits: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commands: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) durable_commits: AtomicU64,
    pub(crate) failed_commits: AtomicU64,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> WriteStats {
        WriteStats {
            commands: self.commands.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            durable_commits: self.durable_commits.load(Ordering::Relaxed),
            failed_commits: self.failed_commits.load(Ordering::Relaxed),
        }
    }
}
