//! A read transaction that is kept open so that the locks of short reads cost no system call.
//!
//! A read in WAL mode takes a shared lock and gives it back: two calls of `fcntl`, a tenth of what a checked request costs. SQLite asks the
//! operating system only for the first shared lock that a process holds on a place, and counts the others itself (`unixShmLock`). So one
//! connection holds a lock on the newest snapshot, and the others share it. What a check sees does not change: each begins its own snapshot,
//! and takes another lock as soon as there is a newer commit.
//!
//! An old snapshot keeps checkpoints from passing it, in every process. So the anchor is moved after each of our commits and
//! every [`Pause::BUSY`] otherwise (later only while our own write waits for another process), and given up while nothing is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::Connection;

/// Whether anything was read since it was last asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadMark(Arc<AtomicBool>);

impl ReadMark {
    /// Something is read. Nearly always one load of a line that all threads share.
    pub(crate) fn set(&self) {
        if !self.0.load(Ordering::Relaxed) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// How long until the anchor is looked at again.
#[derive(Debug)]
pub(crate) struct Pause;

impl Pause {
    /// While there are reads: a checkpoint of another process waits at most this long for us.
    pub(crate) const BUSY: Duration = Duration::from_millis(50);
    /// While there are none.
    pub(crate) const IDLE: Duration = Duration::from_secs(1);
}

/// The open read transaction.
#[derive(Debug)]
pub(crate) struct Anchor {
    connection: Connection,
    reads: ReadMark,
}

impl Anchor {
    pub(crate) fn new(connection: Connection, reads: ReadMark) -> Self {
        Self { connection, reads }
    }

    /// Moves to the newest snapshot if anything was read since the last time, else lets go. How long until the next time.
    pub(crate) fn turn(&self) -> Duration {
        self.let_go();
        if !self.reads.take() {
            return Pause::IDLE;
        }
        self.hold();
        Pause::BUSY
    }

    /// Before work that waits for readers.
    pub(crate) fn let_go(&self) {
        if !self.connection.is_autocommit() {
            self.run("COMMIT");
        }
    }

    fn hold(&self) {
        self.run("BEGIN");
        // The lock is taken by the first read.
        self.run("SELECT n FROM hallpass_counter WHERE one = 1");
    }

    /// A failure costs speed alone: the reads take their locks themselves.
    fn run(&self, sql: &str) {
        let ran = self.connection.prepare_cached(sql).and_then(|mut statement| {
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
            Ok(())
        });
        if let Err(error) = ran {
            tracing::debug!(%error, "the shared read lock could not be moved");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The locks of this process on the database's shared memory, as the kernel lists them.
    fn held(path: &std::path::Path) -> usize {
        let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap());
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        let ours = format!(" {} ", std::process::id());
        locks.lines().filter(|line| line.contains(&ours) && line.contains(&format!(":{inode} "))).count()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn it_holds_a_lock_while_there_are_reads_and_moves_with_commits() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.db");
        let writer = Connection::open(&path).unwrap();
        writer.pragma_update(None, "journal_mode", "WAL").unwrap();
        writer
            .execute_batch("CREATE TABLE hallpass_counter (one INTEGER PRIMARY KEY, n INTEGER); INSERT INTO hallpass_counter VALUES (1, 0)")
            .unwrap();
        let shared_memory = directory.path().join("a.db-shm");
        let reads = ReadMark::default();
        let anchor = Anchor::new(Connection::open(&path).unwrap(), reads.clone());
        // One lock is there as long as the file is open at all.
        anchor.turn();
        let at_rest = held(&shared_memory);
        assert_eq!(anchor.turn(), Pause::IDLE);
        assert_eq!(held(&shared_memory), at_rest, "nothing is read: nothing is held");
        reads.set();
        assert_eq!(anchor.turn(), Pause::BUSY);
        assert_eq!(held(&shared_memory), at_rest + 1);

        let seen =
            || anchor.connection.query_row("SELECT n FROM hallpass_counter", [], |row| row.get::<_, i64>(0)).unwrap();
        writer.execute("UPDATE hallpass_counter SET n = 7", []).unwrap();
        assert_eq!(seen(), 0, "an old snapshot");
        reads.set();
        assert_eq!(anchor.turn(), Pause::BUSY);
        assert_eq!(seen(), 7, "moved to the newest");
        let (busy, log, done): (i64, i64, i64) = writer
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap();
        assert_eq!((busy, log), (0, done), "and then in nobody's way");
        assert_eq!(anchor.turn(), Pause::IDLE, "no read since");
        assert_eq!(held(&shared_memory), at_rest);
    }
}
