//! An application's SQLite file, with the file of our own tables attached, as a [`Connection`].

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{ErrorCode, OpenFlags, ToSql, params_from_iter};

use crate::accounts::AccountsError;
use crate::accounts::sql::SERVER_PATIENCE;
use crate::accounts::sql::connection::{Columns, Connection, Connector, Fault, KEEPS_USER, Value};
use crate::accounts::sqlite;

/// The table of [`lock_setup`](crate::accounts::sql::lock_setup) has one row always.
const ONE_SETUP: &str = "INSERT OR IGNORE INTO account_setup (one, code_hash, expires_at) VALUES (1, x'', 0)";

/// Both files.
#[derive(Debug, Clone)]
pub(super) struct File {
    place: Arc<str>,
    path: PathBuf,
    beside: PathBuf,
}

impl File {
    /// Makes our own file if it is not there and brings its tables up to date. Blocks.
    pub(super) fn open(path: &Path, beside: &Path) -> Result<Self, AccountsError> {
        let ours = sqlite::migrated(beside)?;
        let place = Arc::from(format!("SQLite file {}", path.display()));
        let file = Self { place, path: path.to_owned(), beside: beside.to_owned() };
        ours.execute(ONE_SETUP, []).map_err(|error| AccountsError::from(file.explain(&error)))?;
        Ok(file)
    }

    fn connection(&self) -> Result<rusqlite::Connection, Fault> {
        let Some(beside) = self.beside.to_str() else {
            let what = format!("{}: the path of the file beside it is no text", self.place);
            return Err(AccountsError::Unavailable(what).into());
        };
        // Of the application's file nobody else is the maker.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = rusqlite::Connection::open_with_flags(&self.path, flags).and_then(|connection| {
            connection.busy_timeout(SERVER_PATIENCE)?;
            connection.pragma_update(None, "foreign_keys", true)?;
            connection.execute("ATTACH DATABASE ?1 AS hallpass", [beside])?;
            connection.execute_batch("PRAGMA main.synchronous = FULL; PRAGMA hallpass.synchronous = FULL")?;
            Ok(connection)
        });
        opened.map_err(|error| self.explain(&error))
    }

    fn explain(&self, error: &rusqlite::Error) -> Fault {
        let place = &self.place;
        let rusqlite::Error::SqliteFailure(failure, said) = error else {
            return AccountsError::Unavailable(format!("{place}: {error}")).into();
        };
        let said = said.as_deref().unwrap_or("no more is known");
        let unavailable = |what: &str| AccountsError::Unavailable(format!("{place}: {what} ({said})")).into();
        match (failure.code, failure.extended_code) {
            (_, rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => {
                Fault::Duplicate
            }
            (_, rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => unavailable(KEEPS_USER),
            (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => {
                unavailable("another program holds its lock; look for a long transaction there")
            }
            (ErrorCode::ReadOnly | ErrorCode::DiskFull, _) => {
                unavailable("make both files writable for this program, and free space on the disk")
            }
            (ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt, _) => {
                AccountsError::Damaged(format!("{place}: {said}; restore a backup")).into()
            }
            _ => unavailable("it refused"),
        }
    }
}

#[async_trait]
impl Connector for File {
    fn place(&self) -> &str {
        &self.place
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, Fault> {
        let file = self.clone();
        let opened = tokio::task::spawn_blocking(move || file.connection()).await;
        let connection = opened.map_err(|error| Fault::Lost(format!("{}: {error}", self.place)))??;
        Ok(Box::new(Link { connection: Arc::new(Mutex::new(connection)), file: self.clone() }))
    }
}

/// One connection. Each statement runs on a thread where waiting for another program's lock holds nobody up.
struct Link {
    connection: Arc<Mutex<rusqlite::Connection>>,
    file: File,
}

impl Link {
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (connection, file) = (Arc::clone(&self.connection), self.file.clone());
        let done = tokio::task::spawn_blocking(move || {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&connection).map_err(|error| file.explain(&error))
        });
        done.await.map_err(|error| Fault::Lost(format!("{}: {error}", self.file.place)))?
    }

    async fn batch(&self, sql: &'static str) -> Result<(), Fault> {
        self.run(move |connection| connection.execute_batch(sql)).await
    }
}

/// The statement as SQLite spells it: our tables have names of their own there, and a transaction that writes holds the lock of all rows.
fn spelled(sql: &str) -> String {
    sql.replace("hp.hallpass_", "hallpass.").replace(" FOR UPDATE", "")
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Null | Self::NoInteger => Ok(ToSqlOutput::Borrowed(ValueRef::Null)),
            Self::Boolean(yes) => yes.to_sql(),
            Self::Integer(number) => number.to_sql(),
            Self::Text(text) => text.to_sql(),
            Self::Bytes(bytes) => bytes.to_sql(),
        }
    }
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        // What is no UTF-8 is told by whoever wants a text of it.
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
        // No column that is read here holds one, unless another program put it there; as bytes it is no text.
        ValueRef::Real(_) => Value::Bytes(vec![0xff]),
    }
}

#[async_trait]
impl Connection for Link {
    fn is_usable(&self) -> bool {
        true
    }

    async fn read(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Columns>, Fault> {
        self.rows(sql, values).await
    }

    async fn begin(&mut self) -> Result<(), Fault> {
        self.batch("BEGIN IMMEDIATE").await
    }

    async fn rows(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Columns>, Fault> {
        let (sql, values) = (spelled(sql), values.to_vec());
        self.run(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let count = statement.column_count();
            let mut rows = statement.query(params_from_iter(&values))?;
            let mut answer = Vec::new();
            while let Some(row) = rows.next()? {
                let columns = (0..count).map(|index| Ok(value(row.get_ref(index)?)));
                answer.push(Columns(columns.collect::<rusqlite::Result<_>>()?));
            }
            Ok(answer)
        })
        .await
    }

    async fn write(&mut self, sql: &str, values: &[Value]) -> Result<u64, Fault> {
        let (sql, values) = (spelled(sql), values.to_vec());
        let written =
            self.run(move |connection| connection.prepare_cached(&sql)?.execute(params_from_iter(&values))).await?;
        Ok(written as u64)
    }

    async fn commit(&mut self) -> Result<(), Fault> {
        self.batch("COMMIT").await
    }

    async fn roll_back(&mut self) -> Result<(), Fault> {
        self.batch("ROLLBACK").await
    }
}
