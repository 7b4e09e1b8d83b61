//! One connection: set up the same way whatever the server's defaults are, and the few ways in which statements run on it.

use hallpass_core::SessionId;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, Row, Statement, Value};

use crate::failure::Fault;
use crate::row::Columns;
use crate::statements::FIND;

/// Bytes go in and out as they are, whatever the server's character sets.
const NAMES: &str = "SET NAMES binary";
/// Each statement sees what was committed before it began, and locks rows alone, no gaps between them.
const ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE";

/// The session variables that a server, or a reload of its configuration, could have set otherwise.
///
/// A row waits for its lock by `innodb_lock_wait_timeout`, a statement by `lock_wait_timeout` for a table that somebody alters, by default for a day.
///
/// The comments are code for MariaDB alone and for MySQL alone: a program that stands still, or whose network is cut, in the middle of a
/// transaction must not hold its locks, and with them every revocation, for long. MySQL knows no time-out but that of any idle connection.
fn variables(lock_wait_seconds: u64) -> String {
    format!(
        "SET SESSION autocommit = 1, completion_type = 0, time_zone = '+00:00', \
         sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', sql_safe_updates = 0, sql_big_selects = 1, \
         sql_auto_is_null = 0, sql_select_limit = 18446744073709551615, \
         /*M!100300 idle_transaction_timeout = {lock_wait_seconds}, */ /*!80001 wait_timeout = 30, */ \
         innodb_lock_wait_timeout = {lock_wait_seconds}, lock_wait_timeout = {lock_wait_seconds}"
    )
}

/// Connects and sets everything up, without a look at the tables.
pub(crate) async fn set_up(opts: Opts, lock_wait_seconds: u64) -> mysql_async::Result<Conn> {
    let mut conn = Conn::new(opts).await?;
    conn.query_drop(NAMES).await?;
    conn.query_drop(ISOLATION).await?;
    conn.query_drop(variables(lock_wait_seconds)).await?;
    Ok(conn)
}

/// A connection that is set up.
#[derive(Debug)]
pub(crate) struct Connection {
    conn: Conn,
    /// Prepared once: looking a statement up by its text costs more than the rest of a check in this process.
    find: Statement,
}

impl Connection {
    /// Connects to a database whose schema is made.
    pub(crate) async fn open(opts: Opts, lock_wait_seconds: u64) -> Result<Self, Fault> {
        let mut conn = set_up(opts, lock_wait_seconds).await?;
        let find = conn.prep(FIND).await?;
        Ok(Self { conn, find })
    }

    /// The row that [`FIND`] answers.
    pub(crate) async fn find(&mut self, id: SessionId) -> Result<Option<Columns>, Fault> {
        let row: Option<Row> = self.conn.exec_first(&self.find, (id.as_bytes().as_slice(),)).await?;
        Ok(row.map(Columns::of))
    }

    pub(crate) async fn rows(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Vec<Columns>, Fault> {
        let rows: Vec<Row> = self.conn.exec(sql, values).await?;
        Ok(rows.into_iter().map(Columns::of).collect())
    }

    pub(crate) async fn first(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Option<Columns>, Fault> {
        let row: Option<Row> = self.conn.exec_first(sql, values).await?;
        Ok(row.map(Columns::of))
    }

    pub(crate) async fn exists(&mut self, sql: &'static str, values: Vec<Value>) -> Result<bool, Fault> {
        Ok(self.first(sql, values).await?.is_some())
    }

    /// Runs a write; how many rows it found.
    pub(crate) async fn write(&mut self, sql: &'static str, values: Vec<Value>) -> Result<u64, Fault> {
        self.conn.exec_drop(sql, values).await?;
        Ok(self.conn.affected_rows())
    }

    /// Runs a write whose values stand in its text; how many rows it found.
    pub(crate) async fn write_text(&mut self, sql: String) -> Result<u64, Fault> {
        self.conn.query_drop(sql).await?;
        Ok(self.conn.affected_rows())
    }

    /// The rows that a statement whose values stand in its text answers.
    pub(crate) async fn rows_of_text(&mut self, sql: String) -> Result<Vec<Columns>, Fault> {
        let rows: Vec<Row> = self.conn.query(sql).await?;
        Ok(rows.into_iter().map(Columns::of).collect())
    }

    /// The ids that a statement whose values stand in its text answers.
    pub(crate) async fn ids_of_text(&mut self, sql: String) -> Result<Vec<[u8; 16]>, Fault> {
        self.rows_of_text(sql).await?.iter_mut().map(|columns| columns.array(0, "id")).collect()
    }

    /// What the last write answered through `LAST_INSERT_ID`.
    pub(crate) fn answered(&self) -> u64 {
        self.conn.last_insert_id().unwrap_or(0)
    }

    pub(crate) async fn begin(&mut self) -> Result<(), Fault> {
        Ok(self.conn.query_drop("START TRANSACTION").await?)
    }

    pub(crate) async fn commit(&mut self) -> Result<(), Fault> {
        Ok(self.conn.query_drop("COMMIT").await?)
    }

    pub(crate) async fn roll_back(&mut self) -> Result<(), Fault> {
        Ok(self.conn.query_drop("ROLLBACK").await?)
    }

    pub(crate) async fn ping(&mut self) -> Result<(), Fault> {
        Ok(self.conn.ping().await?)
    }

    /// Says good-bye to the server.
    pub(crate) async fn disconnect(self) {
        // Whether the server hears it makes no difference.
        let _ = self.conn.disconnect().await;
    }
}
