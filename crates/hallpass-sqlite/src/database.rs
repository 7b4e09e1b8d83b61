//! Opening connections.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hallpass_core::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::failure::Failures;
use crate::{Location, SqliteOptions, migrations};

/// How often switching to the write-ahead log is tried while another process does the same: SQLite does not wait there.
const WAL_ATTEMPTS: u32 = 50;
/// Pages that the log may hold before a commit also checkpoints: 4 MiB.
const CHECKPOINT_PAGES: u32 = 1000;
/// Page cache of the writer.
const WRITER_CACHE_KIB: u32 = 8192;
/// The log file is cut to this size when it is next reused.
const WAL_BYTES: u32 = 16 << 20;

/// Where to connect, and how.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    uri: String,
    pub(crate) file: Option<std::path::PathBuf>,
    options: SqliteOptions,
    pub(crate) failures: Failures,
}

impl Database {
    pub(crate) fn new(location: Location, options: SqliteOptions) -> Self {
        match location {
            Location::File(path) => {
                let failures = Failures::of(&path);
                Self { uri: String::new(), file: Some(path), options, failures }
            }
            Location::Memory => {
                // A name that begins with a slash is shared by the connections of this process, and by nobody else.
                static COUNT: AtomicU64 = AtomicU64::new(0);
                let number = COUNT.fetch_add(1, Ordering::Relaxed);
                let uri = format!("file:/hallpass-{number}?vfs=memdb");
                Self { uri, file: None, options, failures: Failures::in_memory() }
            }
        }
    }

    pub(crate) fn path(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The writer's connection: makes the file, sets it up, and migrates. Answers the schema versions before and after.
    pub(crate) fn open_first(&self) -> Result<(Connection, (u32, u32)), StoreError> {
        if let Some(path) = &self.file {
            self.make_file(path)?;
        }
        let connection = self.connect(WRITER_CACHE_KIB)?;
        let explain = |error: rusqlite::Error| self.failures.explain(&error);
        if connection.is_readonly("main").map_err(explain)? {
            return Err(self.failures.read_only());
        }
        if let Some(pages) = self.options.max_pages {
            connection.pragma_update(None, "max_page_count", pages).map_err(explain)?;
        }
        // Can only be chosen before the first page is written; without effect on an older file.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(explain)?;
        self.switch_to_wal(&connection)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(explain)?;
        connection.pragma_update(None, "journal_size_limit", WAL_BYTES).map_err(explain)?;
        // On macOS alone, fsync leaves data in the drive's cache.
        connection.pragma_update(None, "fullfsync", true).map_err(explain)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(explain)?;
        let versions = migrations::migrate(&connection, &self.failures)?;
        Ok((connection, versions))
    }

    /// A connection that cannot write, with so much cache.
    pub(crate) fn open_reader(&self, cache_kib: u32) -> Result<Connection, StoreError> {
        let connection = self.connect(cache_kib)?;
        let explain = |error: rusqlite::Error| self.failures.explain(&error);
        connection.pragma_update(None, "query_only", true).map_err(explain)?;
        if self.options.mmap_bytes > 0 {
            let bytes = i64::try_from(self.options.mmap_bytes).unwrap_or(i64::MAX);
            connection.pragma_update(None, "mmap_size", bytes).map_err(explain)?;
        }
        Ok(connection)
    }

    /// A connection for one migration.
    pub(crate) fn migrate(&self) -> Result<(u32, u32), StoreError> {
        migrations::migrate(&self.connect(WRITER_CACHE_KIB)?, &self.failures)
    }

    fn connect(&self, cache_kib: u32) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = match &self.file {
            Some(path) => Connection::open_with_flags(path, flags),
            None => Connection::open_with_flags(
                &self.uri,
                flags | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_CREATE,
            ),
        };
        let set_up = |connection: Connection| {
            connection.busy_timeout(self.options.busy_timeout())?;
            // Without this a cached statement with a parameter beside a partial index is prepared anew at each use (65 us instead of
            // 7), because another value might want another plan. Our plans are fixed.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
            connection.set_prepared_statement_cache_capacity(64);
            connection.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
            // Sorting and sub-journals stay in memory: nothing of a session lands in a temporary file.
            connection.pragma_update(None, "temp_store", "MEMORY")?;
            Ok(connection)
        };
        opened.and_then(set_up).map_err(|error| self.failures.explain(&error))
    }

    fn switch_to_wal(&self, connection: &Connection) -> Result<(), StoreError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mode: rusqlite::Result<String> =
                connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0));
            match mode {
                Ok(mode) if mode == "wal" || self.file.is_none() => return Ok(()),
                Ok(mode) => {
                    return Err(self.failures.unavailable(&format!(
                        "the write-ahead log cannot be used here (journal mode stays {mode}); it needs a local disk with shared memory"
                    )));
                }
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && attempt < WAL_ATTEMPTS => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(error) => return Err(self.failures.explain(&error)),
            }
        }
    }

    /// Makes the file for its owner alone; SQLite gives the -wal and -shm files the same permissions.
    fn make_file(&self, path: &Path) -> Result<(), StoreError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(path) {
            Ok(_) => {
                let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                // The name itself must survive a power cut, or the durable commits in the file would not.
                if cfg!(unix) {
                    let synced =
                        File::open(directory.unwrap_or(Path::new("."))).and_then(|directory| directory.sync_all());
                    synced.map_err(|error| self.failures.io("syncing the directory of", error))?;
                }
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if path.is_dir() {
                    return Err(self.failures.io("opening", std::io::Error::from(ErrorKind::IsADirectory)));
                }
                Ok(())
            }
            Err(error) => Err(self.failures.io("creating", error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;
    use rusqlite::types::Value;

    use super::*;
    use crate::statements;

    #[test]
    fn a_cached_statement_is_prepared_once() {
        let database = Database::new(Location::Memory, SqliteOptions::default());
        let (writer, _) = database.open_first().unwrap();
        let reader = database.open_reader(2048).unwrap();
        for (name, sql) in statements::ALL {
            let connection = if writer.prepare(sql).unwrap().readonly() { &reader } else { &writer };
            for round in 0..3_u8 {
                let mut statement = connection.prepare_cached(sql).unwrap();
                let values: Vec<Value> =
                    (0..statement.parameter_count()).map(|_| Value::Blob(vec![round; 16])).collect();
                for (position, value) in values.into_iter().enumerate() {
                    statement.raw_bind_parameter(position + 1, value).unwrap();
                }
                // What it answers to such parameters, an error even, is not the matter.
                let _ = statement.raw_query().next();
                assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{name}");
            }
        }
    }
}
