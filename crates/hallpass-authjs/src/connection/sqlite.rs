//! An SQLite file, with hallpass's own tables in a file beside it.
//!
//! Two files, since the migrations of the application know every table of theirs. In the application's file nothing is set: it may have a rollback journal or a
//! write-ahead log. With a rollback journal a transaction over both files is whole after a loss of power; with a write-ahead log each file is whole by itself, and
//! what was acknowledged is in both. One in the middle of which the power went was not: then a session may have ended for hallpass and live on for the
//! application, or the other way round, and either side takes it for ended.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use hallpass_core::StoreError;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{ErrorCode, OpenFlags, ToSql, params_from_iter};

use super::{Columns, Connection, Connector, Fault, Value, corrupt, not_writable};
use crate::pool::SERVER_PATIENCE;
use crate::side::{Place, of_another_program};
use crate::side_tables::is_ours;

/// The file, and the one beside it.
#[derive(Debug)]
pub(crate) struct File {
    place: Arc<str>,
    path: PathBuf,
    beside: PathBuf,
}

impl File {
    pub(crate) fn new(path: &Path, beside: PathBuf) -> Self {
        Self { place: format!("SQLite file {}", path.display()).into(), path: path.to_owned(), beside }
    }

    /// Opens the application's alone. Blocks.
    pub(crate) fn open_application(&self) -> Result<rusqlite::Connection, Fault> {
        let explain = |error| explain(&self.place, &error);
        // Of the application's file nobody else is the maker.
        let connection = rusqlite::Connection::open_with_flags(
            &self.path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(explain)?;
        connection.busy_timeout(SERVER_PATIENCE).map_err(explain)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(explain)?;
        Ok(connection)
    }

    /// The file of our own tables, unless it is the application's or holds tables of others. Writes nothing. Blocks.
    pub(crate) fn side(&self) -> Result<Place, Fault> {
        let side = Place::file(&self.beside, &self.path)?;
        match self.strange_table() {
            Ok(Some(table)) => Err(of_another_program(&self.beside, &table).into()),
            Ok(None) => Ok(side),
            // Not there yet, or in a directory that cannot be written: who opens it to write says which.
            Err(rusqlite::Error::SqliteFailure(failure, _))
                if matches!(failure.code, ErrorCode::CannotOpen | ErrorCode::ReadOnly) =>
            {
                Ok(side)
            }
            Err(error) => Err(explain(&format!("SQLite file {}", self.beside.display()), &error)),
        }
    }

    /// A table of the file beside that no hallpass has made.
    fn strange_table(&self) -> rusqlite::Result<Option<String>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = rusqlite::Connection::open_with_flags(&self.beside, flags)?;
        connection.busy_timeout(SERVER_PATIENCE)?;
        let mut tables = connection.prepare(
            "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
        )?;
        let names: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(names.into_iter().find(|name| !is_ours(name)))
    }

    /// Opens both. Blocks.
    pub(crate) fn open(&self) -> Result<rusqlite::Connection, Fault> {
        let explain = |error| explain(&self.place, &error);
        let connection = self.open_application()?;
        let beside = self
            .beside
            .to_str()
            .ok_or_else(|| Fault::Failed(StoreError::unavailable(format!("{}: its path is no text", self.place))))?;
        self.make_beside()?;
        connection.execute("ATTACH DATABASE ?1 AS hallpass", [beside]).map_err(explain)?;
        connection
            .pragma_update(Some("hallpass"), "journal_mode", "wal")
            .and_then(|()| {
                connection.execute_batch("PRAGMA main.synchronous = FULL; PRAGMA hallpass.synchronous = FULL")
            })
            .map_err(explain)?;
        Ok(connection)
    }
}

impl File {
    /// Makes our own file if it is not there, readable by its owner alone.
    fn make_beside(&self) -> Result<(), Fault> {
        let mut options = std::fs::OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(&self.beside) {
            Ok(_) => Ok(()),
            Err(error) => Err(Fault::Failed(not_writable(format!(
                "{}: the file of hallpass beside it, {}, cannot be made: {error}; make its directory writable, or name another file",
                self.place,
                self.beside.display()
            )))),
        }
    }
}

#[async_trait]
impl Connector for File {
    fn place(&self) -> &str {
        &self.place
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, Fault> {
        let file = Self { place: Arc::clone(&self.place), path: self.path.clone(), beside: self.beside.clone() };
        let opened = tokio::task::spawn_blocking(move || file.open()).await;
        let connection = opened.map_err(|error| Fault::Lost(format!("{}: {error}", self.place)))??;
        Ok(Box::new(Link { connection: Arc::new(Mutex::new(connection)), place: Arc::clone(&self.place) }))
    }
}

/// One connection. Each statement runs on a thread where waiting for another process's lock holds nobody up.
struct Link {
    connection: Arc<Mutex<rusqlite::Connection>>,
    place: Arc<str>,
}

impl Link {
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (connection, place) = (Arc::clone(&self.connection), Arc::clone(&self.place));
        let done = tokio::task::spawn_blocking(move || {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&connection).map_err(|error| explain(&place, &error))
        });
        done.await.map_err(|error| Fault::Lost(format!("{}: {error}", self.place)))?
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Null => Ok(ToSqlOutput::Borrowed(ValueRef::Null)),
            Self::Integer(number) => number.to_sql(),
            Self::Text(text) => text.to_sql(),
        }
    }
}

fn value(value: ValueRef<'_>) -> rusqlite::Result<Value> {
    Ok(match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Text(text) => {
            Value::Text(std::str::from_utf8(text).map_err(|error| rusqlite::Error::Utf8Error(0, error))?.to_owned())
        }
        // No column that is read here holds one, unless another program put it there.
        ValueRef::Real(_) | ValueRef::Blob(_) => Value::Text(String::new()),
    })
}

#[async_trait]
impl Connection for Link {
    fn is_usable(&self) -> bool {
        true
    }

    async fn begin(&mut self) -> Result<(), Fault> {
        self.batch("BEGIN IMMEDIATE").await
    }

    async fn rows(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Columns>, Fault> {
        let (sql, values) = (sql.to_owned(), values.to_vec());
        self.run(move |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let count = statement.column_count();
            let mut rows = statement.query(params_from_iter(&values))?;
            let mut answer = Vec::new();
            while let Some(row) = rows.next()? {
                let columns = (0..count).map(|index| value(row.get_ref(index)?));
                answer.push(Columns(columns.collect::<rusqlite::Result<_>>()?));
            }
            Ok(answer)
        })
        .await
    }

    async fn write(&mut self, sql: &str, values: &[Value]) -> Result<u64, Fault> {
        let (sql, values) = (sql.to_owned(), values.to_vec());
        let written =
            self.run(move |connection| connection.prepare_cached(&sql)?.execute(params_from_iter(&values))).await?;
        Ok(written as u64)
    }

    async fn batch(&mut self, sql: &str) -> Result<(), Fault> {
        let sql = sql.to_owned();
        self.run(move |connection| connection.execute_batch(&sql)).await
    }

    async fn commit(&mut self) -> Result<(), Fault> {
        self.batch("COMMIT").await
    }

    async fn roll_back(&mut self) -> Result<(), Fault> {
        self.batch("ROLLBACK").await
    }
}

fn explain(place: &str, error: &rusqlite::Error) -> Fault {
    let rusqlite::Error::SqliteFailure(failure, said) = error else {
        return Fault::Failed(StoreError::unavailable(format!("{place}: {error}")));
    };
    let said = said.as_deref().unwrap_or("no more is known");
    match (failure.code, failure.extended_code) {
        (_, rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => Fault::NoSuchUser,
        (_, rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => Fault::Duplicate,
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => Fault::Failed(StoreError::unavailable(format!(
            "{place}: another program holds its lock ({said}); look for a long transaction there"
        ))),
        (ErrorCode::ReadOnly | ErrorCode::DiskFull, _) => Fault::Failed(not_writable(format!(
            "{place}: {said}; make both files writable for this program, and free space on the disk"
        ))),
        (ErrorCode::CannotOpen, _) => Fault::Failed(StoreError::unavailable(format!(
            "{place}: {said}; the application makes the file, with its tables; run its migrations first, and check the path"
        ))),
        (ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt, _) => {
            Fault::Failed(corrupt(format!("{place}: {said}; restore a backup")))
        }
        _ => Fault::Failed(StoreError::unavailable(format!("{place}: {said}"))),
    }
}
