//! One writing and a few reading connections, lent out for one transaction at a time.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::Semaphore;

use super::{PATIENCE, migrations, unavailable};
use crate::accounts::AccountsError;

const READERS: usize = 4;

#[derive(Debug)]
pub(super) struct Pool {
    writer: Lender,
    readers: Lender,
}

/// Connections of one kind; a permit for each.
#[derive(Debug, Clone)]
struct Lender {
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Pool {
    pub(super) fn open(path: &Path) -> Result<Self, AccountsError> {
        let writer = migrated(path)?;
        let place = path.display().to_string();
        let named = |error: AccountsError| named(error, &place);
        let readers: Result<Vec<_>, _> = (0..READERS)
            .map(|_| {
                let reader = connect(path)?;
                reader.pragma_update(None, "query_only", true).map_err(unavailable)?;
                Ok(reader)
            })
            .collect();
        Ok(Self { writer: Lender::new(vec![writer]), readers: Lender::new(readers.map_err(named)?) })
    }

    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, AccountsError> + Send + 'static,
    ) -> Result<T, AccountsError> {
        self.writer
            .lend(move |connection| {
                let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(unavailable)?;
                let outcome = work(&tx)?;
                tx.commit().map_err(unavailable)?;
                Ok(outcome)
            })
            .await
    }

    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, AccountsError> + Send + 'static,
    ) -> Result<T, AccountsError> {
        self.readers.lend(move |connection| work(connection)).await
    }
}

impl Lender {
    fn new(connections: Vec<Connection>) -> Self {
        Self { permits: Arc::new(Semaphore::new(connections.len())), idle: Arc::new(Mutex::new(connections)) }
    }

    /// Runs `work` with a connection of this kind on a blocking thread. The permit travels with the
    /// work, so a caller that goes away frees nothing early.
    async fn lend<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, AccountsError> + Send + 'static,
    ) -> Result<T, AccountsError> {
        let waiting = Arc::clone(&self.permits).acquire_owned();
        let permit = tokio::time::timeout(PATIENCE, waiting)
            .await
            .map_err(|_| AccountsError::Unavailable("all its connections are busy".to_owned()))?
            .map_err(|_| AccountsError::Unavailable("it is closed".to_owned()))?;
        let idle = Arc::clone(&self.idle);
        tokio::task::spawn_blocking(move || {
            let taken = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut connection) = taken else {
                return Err(AccountsError::Unavailable("a connection was lost; restart the server".to_owned()));
            };
            let outcome = work(&mut connection);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(permit);
            outcome
        })
        .await
        .map_err(|error| AccountsError::Unavailable(error.to_string()))?
    }
}

/// A connection to the file, which is made if it is not there, with its schema up to date. Blocks.
pub(in crate::accounts) fn migrated(path: &Path) -> Result<Connection, AccountsError> {
    create_private(path)?;
    let place = path.display().to_string();
    let mut connection = connect(path).map_err(|error| named(error, &place))?;
    migrations::run(&mut connection, &place).map_err(|error| named(error, &place))?;
    Ok(connection)
}

fn named(error: AccountsError, place: &str) -> AccountsError {
    match error {
        AccountsError::Unavailable(text) => AccountsError::Unavailable(format!("{place}: {text}")),
        AccountsError::Damaged(text) => AccountsError::Damaged(format!("{place}: {text}")),
        other => other,
    }
}

/// Creates a missing file readable by its owner alone: it holds password hashes. SQLite gives its
/// write-ahead log the same permissions.
fn create_private(path: &Path) -> Result<(), AccountsError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(AccountsError::Unavailable(format!(
            "cannot create {}: {error}; check the path and its permissions",
            path.display()
        ))),
    }
}

fn connect(path: &Path) -> Result<Connection, AccountsError> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(unavailable)?;
    connection.busy_timeout(PATIENCE).map_err(unavailable)?;
    // auto_vacuum takes effect only in a file without tables; the session store asks for the same.
    connection
        .execute_batch(
            "PRAGMA auto_vacuum = INCREMENTAL;
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA foreign_keys = ON;
             PRAGMA trusted_schema = OFF;",
        )
        .map_err(unavailable)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_is_durable_and_readers_only_read() {
        let directory = tempfile::tempdir().unwrap();
        let pool = Pool::open(&directory.path().join("hallpass.db")).unwrap();
        let pragma = |lender: &Lender, name: &str| {
            let idle = lender.idle.lock().unwrap();
            idle[0].pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap()
        };
        // 2 is FULL: what was acknowledged survives a power cut.
        assert_eq!(pragma(&pool.writer, "synchronous"), 2);
        assert_eq!(pragma(&pool.writer, "busy_timeout"), 5_000);
        assert_eq!(pragma(&pool.readers, "query_only"), 1);
    }
}
