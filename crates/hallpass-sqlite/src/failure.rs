//! SQLite's errors in the words of the contract.

use std::path::Path;
use std::sync::Arc;

use hallpass_core::StoreError;
use rusqlite::{Error, ErrorCode, ffi};

/// Names the database in every message.
#[derive(Debug, Clone)]
pub(crate) struct Failures {
    file: Arc<str>,
}

impl Failures {
    pub(crate) fn of(path: &Path) -> Self {
        Self { file: path.display().to_string().into() }
    }

    pub(crate) fn in_memory() -> Self {
        Self { file: "(in memory)".into() }
    }

    /// What `error` means to a caller.
    pub(crate) fn explain(&self, error: &Error) -> StoreError {
        let file = &self.file;
        let source = owned(error);
        let Some(code) = error.sqlite_error_code() else {
            return match error {
                Error::FromSqlConversionFailure(..)
                | Error::InvalidColumnType(..)
                | Error::IntegralValueOutOfRange(..)
                | Error::Utf8Error(..) => corrupt(
                    format!("{file} holds a row that this program cannot read ({error}); restore a backup"),
                    source,
                ),
                _ => unavailable(format!("{file}: {error}"), source),
            };
        };
        let extended = error.sqlite_extended_error_code().unwrap_or(0);
        match code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => unavailable(
                format!(
                    "{file} stayed locked by another process for the whole busy timeout; find the process that holds a long transaction"
                ),
                source,
            ),
            ErrorCode::DiskFull => {
                not_writable(format!("no space is left for {file}; free some on its file system"), source)
            }
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => not_writable(read_only(file), source),
            ErrorCode::CannotOpen => not_writable(
                format!(
                    "cannot open {file} or its -wal and -shm files beside it; make the file and its directory writable for this user, \
                     and keep it on a local disk"
                ),
                source,
            ),
            ErrorCode::DatabaseCorrupt => corrupt(
                format!(
                    "{file} is damaged; stop hallpass, keep a copy of the file and its -wal file, and restore a backup"
                ),
                source,
            ),
            ErrorCode::NotADatabase => corrupt(
                format!(
                    "{file} is not an SQLite database; name another file, or move this one away to start with an empty database"
                ),
                source,
            ),
            ErrorCode::FileLockingProtocolFailed => unavailable(network(file), source),
            ErrorCode::SystemIoFailure => match extended {
                ffi::SQLITE_IOERR_LOCK
                | ffi::SQLITE_IOERR_UNLOCK
                | ffi::SQLITE_IOERR_RDLOCK
                | ffi::SQLITE_IOERR_CHECKRESERVEDLOCK
                | ffi::SQLITE_IOERR_SHMOPEN
                | ffi::SQLITE_IOERR_SHMLOCK
                | ffi::SQLITE_IOERR_SHMMAP => unavailable(network(file), source),
                ffi::SQLITE_IOERR_SHMSIZE => not_writable(
                    format!("cannot make room for the -shm file of {file}; free space on its file system"),
                    source,
                ),
                ffi::SQLITE_IOERR_SHORT_READ | ffi::SQLITE_IOERR_CORRUPTFS => corrupt(
                    format!("{file} ends too early or its file system is damaged; keep a copy and restore a backup"),
                    source,
                ),
                _ => unavailable(format!("reading or writing {file} failed ({error}); look at the disk"), source),
            },
            _ => unavailable(format!("{file}: {error}"), source),
        }
    }

    /// The file can be opened for reading alone.
    pub(crate) fn read_only(&self) -> StoreError {
        StoreError::NotWritable { message: read_only(&self.file), source: None }
    }

    pub(crate) fn unavailable(&self, what: &str) -> StoreError {
        StoreError::unavailable(format!("{}: {what}", self.file))
    }

    pub(crate) fn corrupt(&self, what: &str) -> StoreError {
        StoreError::Corrupt { message: format!("{}: {what}", self.file), source: None }
    }

    /// Making or opening the file itself failed.
    pub(crate) fn io(&self, doing: &str, error: std::io::Error) -> StoreError {
        let file = &self.file;
        let message = format!("{doing} {file}: {error}; check that the directory exists and is writable for this user");
        StoreError::NotWritable { message, source: Some(Box::new(error)) }
    }
}

fn read_only(file: &str) -> String {
    format!(
        "{file} is read-only for this user; make the file and its directory writable (they hold its -wal and -shm files too)"
    )
}

fn network(file: &str) -> String {
    format!(
        "locking {file} failed: the write-ahead log needs a local disk with working locks and shared memory; move the database off \
         NFS, SMB or other network file systems"
    )
}

type Source = Option<Box<dyn std::error::Error + Send + Sync>>;

fn unavailable(message: String, source: Source) -> StoreError {
    StoreError::Unavailable { message, source }
}

fn not_writable(message: String, source: Source) -> StoreError {
    StoreError::NotWritable { message, source }
}

fn corrupt(message: String, source: Source) -> StoreError {
    StoreError::Corrupt { message, source }
}

/// A copy of SQLite's own errors, so that one failed commit can answer all its commands.
fn owned(error: &Error) -> Source {
    match error {
        Error::SqliteFailure(code, message) => Some(Box::new(Error::SqliteFailure(*code, message.clone()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(code: i32) -> StoreError {
        let error = Error::SqliteFailure(ffi::Error::new(code), None);
        Failures::of(Path::new("x.db")).explain(&error)
    }

    #[test]
    fn each_failure_says_what_to_do_and_names_the_file() {
        type Is = fn(&StoreError) -> bool;
        let unavailable: Is = |e| matches!(e, StoreError::Unavailable { source: Some(_), .. });
        let not_writable: Is = |e| matches!(e, StoreError::NotWritable { source: Some(_), .. });
        let corrupt: Is = |e| matches!(e, StoreError::Corrupt { source: Some(_), .. });
        let table: [(i32, Is, &str); 15] = [
            (ffi::SQLITE_BUSY, unavailable, "busy timeout"),
            (ffi::SQLITE_LOCKED, unavailable, "busy timeout"),
            (ffi::SQLITE_FULL, not_writable, "no space"),
            (ffi::SQLITE_READONLY, not_writable, "read-only"),
            (ffi::SQLITE_READONLY_DIRECTORY, not_writable, "directory writable"),
            (ffi::SQLITE_PERM, not_writable, "read-only"),
            (ffi::SQLITE_CANTOPEN, not_writable, "-shm"),
            (ffi::SQLITE_CORRUPT, corrupt, "restore a backup"),
            (ffi::SQLITE_NOTADB, corrupt, "not an SQLite database"),
            (ffi::SQLITE_PROTOCOL, unavailable, "local disk"),
            (ffi::SQLITE_IOERR_LOCK, unavailable, "local disk"),
            (ffi::SQLITE_IOERR_SHMLOCK, unavailable, "local disk"),
            (ffi::SQLITE_IOERR_SHMMAP, unavailable, "local disk"),
            (ffi::SQLITE_IOERR_SHMSIZE, not_writable, "free space"),
            (ffi::SQLITE_IOERR_WRITE, unavailable, "look at the disk"),
        ];
        for (code, is, words) in table {
            let error = explained(code);
            let text = error.to_string();
            assert!(is(&error) && text.contains(words) && text.contains("x.db"), "{code}: {error:?}");
        }
    }
}
