//! [`Accounts`](super::Accounts) in PostgreSQL, normally the database that holds the sessions, through connections of their own.
//!
//! Works behind a pooler in transaction mode (PgBouncer): nothing is prepared, and what is set is set for one transaction. Every write is
//! committed with `synchronous_commit = on`, or more if the server is set so.

mod failure;
mod migrations;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::future::join3;
use hallpass_postgres::Address;
use tokio::task::JoinHandle;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Error, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use self::failure::Failures;
use super::sql::CONNECT_PATIENCE;
use super::sql::connection::{Columns, Connection, Connector, Fault, Value};
use super::{AccountsError, SqlAccounts};

/// Connects to the database that a URL names and brings the accounts' schema up to date.
///
/// The URL is one of libpq, `postgres://user:password@host:5432/database?sslmode=verify-full`, with `schema=` for another schema than `public`.
///
/// # Errors
/// [`AccountsError::Newer`] when a newer program made the schema, [`AccountsError::Damaged`] when it holds other migrations than ours,
/// [`AccountsError::Unavailable`] otherwise; each names host, port and database, and never the password.
pub async fn connect(url: &str) -> Result<SqlAccounts, AccountsError> {
    let address = Address::parse(url).map_err(|error| AccountsError::Unavailable(error.to_string()))?;
    let connector = Server::new(&address, address.schema().unwrap_or("public"))?;
    migrations::run(&connector).await?;
    Ok(SqlAccounts::new(Arc::new(connector)))
}

/// Connects to the same, with the accounts' tables in the schema that `side` names by that of the URL; says which one the URL names.
pub(super) async fn beside(url: &str, side: impl Fn(&str) -> String) -> Result<(String, Server), AccountsError> {
    let address = Address::parse(url).map_err(|error| AccountsError::Unavailable(error.to_string()))?;
    let schema = address.schema().unwrap_or("public").to_owned();
    let server = Server::new(&address, &side(&schema))?;
    migrations::run(&server).await?;
    Ok((schema, server))
}

/// The schema number of this program.
#[must_use]
pub fn schema_version() -> u32 {
    migrations::newest()
}

/// One database, and how to reach it.
pub(super) struct Server {
    place: String,
    schema: String,
    hosts: Vec<Config>,
    /// Which of the hosts is tried first.
    first: AtomicUsize,
    tls: MakeRustlsConnect,
    failures: Failures,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Server {
    fn new(address: &Address, schema: &str) -> Result<Self, AccountsError> {
        let failures = Failures::of(address.place());
        let tls = address.tls().map_err(|error| failures.unavailable(&error.to_string()))?;
        let schema = schema.to_owned();
        let (place, hosts) = (address.place().to_owned(), address.each_host());
        Ok(Self { place, schema, hosts, first: AtomicUsize::new(0), tls, failures })
    }

    /// The first host that takes writes. One that is silent is tried last from then on.
    async fn client(&self) -> Result<(Client, Driver), Fault> {
        let (count, first) = (self.hosts.len(), self.first.load(Ordering::Relaxed));
        // The caller waits no longer than this for all of them.
        let patience = if count == 1 { CONNECT_PATIENCE } else { CONNECT_PATIENCE / 2 };
        let mut why = None;
        for (at, host) in (first..first + count).filter_map(|at| Some((at % count, self.hosts.get(at % count)?))) {
            match tokio::time::timeout(patience, host.connect(self.tls.clone())).await {
                Ok(Ok((client, connection))) => {
                    self.first.store(at, Ordering::Relaxed);
                    // Ends with the connection, and is ended with the client; its error comes to whoever waits on the client too.
                    return Ok((client, Driver(tokio::spawn(async move { drop(connection.await) }))));
                }
                Ok(Err(error)) => why = why.or(Some(self.failures.explain(&error))),
                Err(_) => {
                    let _ = self.first.compare_exchange(at, (at + 1) % count, Ordering::Relaxed, Ordering::Relaxed);
                    let what = "no connection in time; check that the server can be reached";
                    why = why.or(Some(Fault::Failed(self.failures.unavailable(what))));
                }
            }
        }
        Err(why.unwrap_or_else(|| Fault::Failed(self.failures.unavailable("the URL names no host"))))
    }

    async fn link(&self) -> Result<Link, Fault> {
        let (client, driver) = self.client().await?;
        Ok(Link { client, schema: self.schema.clone(), failures: self.failures.clone(), _driver: driver })
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
struct Link {
    client: Client,
    schema: String,
    failures: Failures,
    _driver: Driver,
}

impl Link {
    /// The statement as PostgreSQL spells it: numbered values, and the schema before each table, so that no `search_path` decides.
    fn spelled(&self, sql: &str) -> String {
        let mut spelled = String::with_capacity(sql.len() + 64);
        let mut parts = sql.split('?');
        spelled.push_str(parts.next().unwrap_or_default());
        for (number, part) in (1..).zip(parts) {
            spelled.push_str(&format!("${number}{part}"));
        }
        qualify(&spelled, &self.schema)
    }

    async fn batch(&self, sql: &str) -> Result<(), Fault> {
        self.client.batch_execute(sql).await.map_err(|error| self.failures.explain(&error))
    }

    /// Unnamed, so that it works behind a pooler too.
    async fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Row>, Error> {
        let bound: Vec<(&(dyn ToSql + Sync), Type)> = values.iter().map(bound).collect();
        self.client.query_typed(&self.spelled(sql), &bound).await
    }

    fn columns(&self, rows: &[Row]) -> Result<Vec<Columns>, Fault> {
        rows.iter().map(|row| columns(row).map_err(|error| self.failures.explain(&error))).collect()
    }
}

/// Puts the schema into a statement.
fn qualify(sql: &str, schema: &str) -> String {
    sql.replace("hp.hallpass_", &format!("\"{schema}\".hallpass_"))
}

fn bound(value: &Value) -> (&(dyn ToSql + Sync), Type) {
    match value {
        Value::Null => (&None::<&str>, Type::TEXT),
        Value::NoInteger => (&None::<i64>, Type::INT8),
        Value::Boolean(yes) => (yes, Type::BOOL),
        Value::Integer(number) => (number, Type::INT8),
        Value::Text(text) => (text, Type::TEXT),
        Value::Bytes(bytes) => (bytes, Type::BYTEA),
    }
}

fn columns(row: &Row) -> Result<Columns, Error> {
    let value = |(index, column): (usize, &tokio_postgres::Column)| {
        Ok(match *column.type_() {
            Type::BOOL => row.try_get::<_, Option<bool>>(index)?.map_or(Value::Null, Value::Boolean),
            Type::INT4 => row.try_get::<_, Option<i32>>(index)?.map_or(Value::Null, |n| Value::Integer(n.into())),
            Type::BYTEA => row.try_get::<_, Option<Vec<u8>>>(index)?.map_or(Value::Null, Value::Bytes),
            Type::TEXT => row.try_get::<_, Option<String>>(index)?.map_or(Value::Null, Value::Text),
            _ => row.try_get::<_, Option<i64>>(index)?.map_or(Value::Null, Value::Integer),
        })
    };
    row.columns().iter().enumerate().map(value).collect::<Result<_, _>>().map(Columns)
}

/// The settings of a transaction, for it alone. The last one is for a network that delivers the first messages and never the last.
fn begin(access: &str) -> String {
    let patience = super::sql::SERVER_PATIENCE.as_millis();
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED {access}; SET LOCAL statement_timeout = {patience}; SET LOCAL lock_timeout = 0; \
         SET LOCAL idle_in_transaction_session_timeout = {patience}"
    )
}

/// A standby that has applied a commit has also stored it.
const DURABLE: &str = "SELECT set_config('synchronous_commit', \
    CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true)";

#[async_trait]
impl Connection for Link {
    fn is_usable(&self) -> bool {
        !self.client.is_closed()
    }

    /// One round trip: the three messages are sent one after the other, and answered together.
    async fn read(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Columns>, Fault> {
        let begin = begin("READ ONLY");
        let (begun, rows, ended) =
            join3(self.client.batch_execute(&begin), self.query(sql, values), self.client.batch_execute("COMMIT"))
                .await;
        // The first error is the cause of those after it.
        let rows = begun.and(rows).and_then(|rows| ended.map(|()| rows));
        self.columns(&rows.map_err(|error| self.failures.explain(&error))?)
    }

    async fn begin(&mut self) -> Result<(), Fault> {
        self.batch(&format!("{}; {DURABLE}", begin("READ WRITE"))).await
    }

    async fn rows(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Columns>, Fault> {
        let rows = self.query(sql, values).await.map_err(|error| self.failures.explain(&error))?;
        self.columns(&rows)
    }

    async fn write(&mut self, sql: &str, values: &[Value]) -> Result<u64, Fault> {
        let bound: Vec<(&(dyn ToSql + Sync), Type)> = values.iter().map(bound).collect();
        let written = self.client.execute_typed(&self.spelled(sql), &bound).await;
        written.map_err(|error| self.failures.explain(&error))
    }

    async fn commit(&mut self) -> Result<(), Fault> {
        self.batch("COMMIT").await
    }

    async fn roll_back(&mut self) -> Result<(), Fault> {
        self.batch("ROLLBACK").await
    }
}
