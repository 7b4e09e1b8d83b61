//! PostgreSQL. Works behind a pooler in transaction mode: nothing is prepared, and what is set is set for one transaction.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use hallpass_core::StoreError;
use hallpass_postgres::Address;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Error, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Columns, Connection, Connector, Fault, Value, corrupt, not_writable};
use crate::pool::{CONNECT_PATIENCE, SERVER_PATIENCE};

/// One database, and how to reach it.
pub(crate) struct Server {
    place: Arc<str>,
    hosts: Vec<Config>,
    /// Which of the hosts is tried first.
    first: AtomicUsize,
    tls: MakeRustlsConnect,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Server {
    pub(crate) fn new(address: &Address) -> Result<Self, StoreError> {
        let place: Arc<str> = address.place().into();
        let tls = address.tls().map_err(|error| StoreError::unavailable(format!("{place}: {error}")))?;
        Ok(Self { place, hosts: address.each_host(), first: AtomicUsize::new(0), tls })
    }

    /// The first host that takes writes. One that is silent is tried last from then on.
    pub(crate) async fn link(&self) -> Result<Link, Fault> {
        let (count, first) = (self.hosts.len(), self.first.load(Ordering::Relaxed));
        let patience = if count == 1 { CONNECT_PATIENCE } else { CONNECT_PATIENCE / 2 };
        let mut why = None;
        for (at, host) in (first..first + count).filter_map(|at| Some((at % count, self.hosts.get(at % count)?))) {
            match timeout(patience, host.connect(self.tls.clone())).await {
                Ok(Ok((client, connection))) => {
                    self.first.store(at, Ordering::Relaxed);
                    // Ends with the connection, and is ended with the client; its error comes to whoever waits on the client too.
                    let driver = Driver(tokio::spawn(async move { drop(connection.await) }));
                    return Ok(Link { client, place: Arc::clone(&self.place), _driver: driver });
                }
                Ok(Err(error)) => why = why.or(Some(explain(&self.place, &error))),
                Err(_) => {
                    let _ = self.first.compare_exchange(at, (at + 1) % count, Ordering::Relaxed, Ordering::Relaxed);
                    let what = format!("{}: no connection in time; check that the server can be reached", self.place);
                    why = why.or(Some(Fault::Failed(StoreError::unavailable(what))));
                }
            }
        }
        Err(why.unwrap_or_else(|| Fault::Lost(format!("{}: the URL names no host", self.place))))
    }
}

#[async_trait]
impl Connector for Server {
    fn place(&self) -> &str {
        &self.place
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, Fault> {
        Ok(Box::new(self.link().await?))
    }
}

/// What moves a connection's bytes; closes the socket when dropped.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One connection.
pub(crate) struct Link {
    pub(crate) client: Client,
    place: Arc<str>,
    _driver: Driver,
}

impl Link {
    pub(crate) fn explain(&self, error: &Error) -> Fault {
        explain(&self.place, error)
    }
}

/// Numbered values.
fn spelled(sql: &str) -> String {
    let mut spelled = String::with_capacity(sql.len() + 32);
    let mut parts = sql.split('?');
    spelled.push_str(parts.next().unwrap_or_default());
    for (number, part) in (1..).zip(parts) {
        spelled.push_str(&format!("${number}{part}"));
    }
    spelled
}

fn bound(value: &Value) -> (&(dyn ToSql + Sync), Type) {
    match value {
        Value::Null => (&None::<&str>, Type::TEXT),
        Value::Integer(number) => (number, Type::INT8),
        Value::Text(text) => (text, Type::TEXT),
    }
}

fn columns(row: &Row) -> Result<Columns, Error> {
    let value = |(index, column): (usize, &tokio_postgres::Column)| {
        Ok(match *column.type_() {
            Type::INT4 => row.try_get::<_, Option<i32>>(index)?.map_or(Value::Null, |n| Value::Integer(n.into())),
            Type::INT8 => row.try_get::<_, Option<i64>>(index)?.map_or(Value::Null, Value::Integer),
            _ => row.try_get::<_, Option<String>>(index)?.map_or(Value::Null, Value::Text),
        })
    };
    row.columns().iter().enumerate().map(value).collect::<Result<_, _>>().map(Columns)
}

/// The settings of a transaction, for it alone. A standby that has applied a commit has also stored it.
fn begin() -> String {
    let patience = SERVER_PATIENCE.as_millis();
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = {patience}; SET LOCAL lock_timeout = 0; \
         SET LOCAL idle_in_transaction_session_timeout = {patience}; SELECT set_config('synchronous_commit', \
         CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true)"
    )
}

#[async_trait]
impl Connection for Link {
    fn is_usable(&self) -> bool {
        !self.client.is_closed()
    }

    async fn begin(&mut self) -> Result<(), Fault> {
        self.batch(&begin()).await
    }

    async fn rows(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Columns>, Fault> {
        let bound: Vec<_> = values.iter().map(bound).collect();
        let rows = self.client.query_typed(&spelled(sql), &bound).await.map_err(|error| self.explain(&error))?;
        rows.iter().map(|row| columns(row).map_err(|error| self.explain(&error))).collect()
    }

    async fn write(&mut self, sql: &str, values: &[Value]) -> Result<u64, Fault> {
        let bound: Vec<_> = values.iter().map(bound).collect();
        self.client.execute_typed(&spelled(sql), &bound).await.map_err(|error| self.explain(&error))
    }

    async fn batch(&mut self, sql: &str) -> Result<(), Fault> {
        self.client.batch_execute(sql).await.map_err(|error| self.explain(&error))
    }

    async fn commit(&mut self) -> Result<(), Fault> {
        self.batch("COMMIT").await
    }

    async fn roll_back(&mut self) -> Result<(), Fault> {
        self.batch("ROLLBACK").await
    }
}

/// The server's message, never its detail, which may quote a row.
fn explain(place: &str, error: &Error) -> Fault {
    let Some(server) = error.as_db_error() else {
        let mut what = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            what = format!("{what}: {cause}");
            source = cause.source();
        }
        return Fault::Lost(format!("{place}: {what}; check that the server runs there and can be reached"));
    };
    let said = server.message();
    let failed = |what: String| Fault::Failed(StoreError::unavailable(format!("{place}: {what}")));
    match *server.code() {
        SqlState::UNIQUE_VIOLATION => Fault::Duplicate,
        SqlState::FOREIGN_KEY_VIOLATION => Fault::NoSuchUser,
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => {
            Fault::Conflict(format!("{place}: others were in the way for too long ({said})"))
        }
        SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN | SqlState::CANNOT_CONNECT_NOW => {
            Fault::Lost(format!("{place}: the server is starting or stopping ({said}); try again soon"))
        }
        SqlState::PROTOCOL_VIOLATION | SqlState::CONNECTION_FAILURE => {
            Fault::Lost(format!("{place}: {said}; check that the server runs there and can be reached"))
        }
        SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE => {
            failed(format!("the statement took too long ({said}); find what holds its locks, or what loads the server"))
        }
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            failed(format!("the server refused the sign-in ({said}); check user and password in the URL"))
        }
        SqlState::INVALID_CATALOG_NAME => failed(format!("{said}; create it, or name another one in the URL")),
        SqlState::TOO_MANY_CONNECTIONS => failed(format!("{said}; raise max_connections")),
        SqlState::INSUFFICIENT_PRIVILEGE => Fault::Failed(not_writable(format!(
            "{place}: the role may not do this ({said}); grant it SELECT, INSERT, UPDATE and DELETE on the application's table of sessions, SELECT on its users, and CREATE on the database for the schema of hallpass"
        ))),
        SqlState::READ_ONLY_SQL_TRANSACTION => {
            Fault::Failed(not_writable(format!("{place}: it is read-only ({said}); connect to the primary")))
        }
        SqlState::DISK_FULL => {
            Fault::Failed(not_writable(format!("{place}: the server has no space left; free some on its disk")))
        }
        SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN | SqlState::INVALID_SCHEMA_NAME => {
            Fault::Failed(corrupt(format!(
                "{place}: a table has changed since this program started ({said}); restart it after a migration of the application"
            )))
        }
        _ => failed(format!("{said} (SQLSTATE {})", server.code().code())),
    }
}
