//! [`Accounts`](super::Accounts) in MariaDB or MySQL, normally the database that holds the sessions, through connections of their own.
//!
//! Text is stored and compared byte for byte, whatever collations the server prefers. That a commit is on disk when it is acknowledged is a setting of
//! the server (`innodb_flush_log_at_trx_commit`); `hallpass doctor` looks at it.

mod failure;
mod migrations;

use std::sync::Arc;

use async_trait::async_trait;
use hallpass_authjs::Engine;
use hallpass_mysql::Address;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row};

use self::failure::Failures;
use super::sql::connection::{Columns, Connection, Connector, Fault, Value};
use super::{AccountsError, SqlAccounts};

/// Connects to the database that a URL names and brings the accounts' schema up to date.
///
/// `mysql://user:password@host:3306/database` (or `mariadb:`), with the parameters `ssl-mode`, `ssl-ca` and `socket` of the session store.
///
/// # Errors
/// [`AccountsError::Newer`] when a newer program made the schema, [`AccountsError::Damaged`] when it holds other migrations than ours,
/// [`AccountsError::Unavailable`] otherwise; each names host, port and database, and never the password.
pub async fn connect(url: &str) -> Result<SqlAccounts, AccountsError> {
    let address = Address::parse(url).map_err(|error| AccountsError::Unavailable(error.to_string()))?;
    let server = Server { failures: Failures::of(address.place()), address, side: None };
    migrations::run(&server).await?;
    Ok(SqlAccounts::new(Arc::new(server)))
}

/// Connects to the same, with the accounts' tables in the database that `side` names by that of the URL; says which one the URL names.
pub(super) async fn beside(url: &str, side: impl Fn(&str) -> String) -> Result<(String, Server), AccountsError> {
    let address = Address::parse(url).map_err(|error| AccountsError::Unavailable(error.to_string()))?;
    let database = address.database().to_owned();
    let side = side(&database);
    let mut server = Server { failures: Failures::of(address.place()), address, side: None };
    let making = async {
        let making = format!("CREATE DATABASE IF NOT EXISTS {}", Engine::Mysql.quoted(&side));
        server.link().await?.statement(&making).await
    };
    tokio::time::timeout(super::sql::PATIENCE, making)
        .await
        .map_err(|_| server.failures.unavailable("no answer in time; check that the server can be reached"))??;
    server.side = Some(side);
    migrations::run(&server).await?;
    Ok((database, server))
}

/// The schema number of this program.
#[must_use]
pub fn schema_version() -> u32 {
    migrations::newest()
}

/// One database, and how to reach it.
#[derive(Debug)]
pub(super) struct Server {
    address: Address,
    failures: Failures,
    /// The database of the accounts' tables, where it is another than the URL's.
    side: Option<String>,
}

impl Server {
    async fn link(&self) -> Result<Link, Fault> {
        let connecting = self.address.connect(super::sql::SERVER_PATIENCE).await;
        let conn = connecting.map_err(|error| self.failures.explain(&error))?;
        let mut link = Link { conn, failures: self.failures.clone() };
        if let Some(side) = &self.side {
            // Texts are compared as the application's columns compare them; as bytes no index of theirs would find them.
            link.statement("SET NAMES utf8mb4").await?;
            link.statement(&format!("USE {}", Engine::Mysql.quoted(side))).await?;
        }
        Ok(link)
    }
}

#[async_trait]
impl Connector for Server {
    fn place(&self) -> &str {
        self.address.place()
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, Fault> {
        Ok(Box::new(self.link().await?))
    }
}

/// One connection.
struct Link {
    conn: Conn,
    failures: Failures,
}

/// The statement as MySQL spells it: the tables are those of the connection's database.
fn spelled(sql: &str) -> String {
    sql.replace("hp.hallpass_", "hallpass_")
}

fn bound(value: &Value) -> mysql_async::Value {
    match value {
        Value::Null | Value::NoInteger => mysql_async::Value::NULL,
        Value::Boolean(yes) => i64::from(*yes).into(),
        Value::Integer(number) => (*number).into(),
        Value::Text(text) => text.as_bytes().into(),
        Value::Bytes(bytes) => bytes.as_slice().into(),
    }
}

fn columns(row: Row) -> Columns {
    let value = |value| match value {
        mysql_async::Value::Bytes(bytes) => Value::Bytes(bytes),
        mysql_async::Value::Int(number) => Value::Integer(number),
        mysql_async::Value::UInt(number) => i64::try_from(number).map_or(Value::Null, Value::Integer),
        // No column of ours is of another type.
        _ => Value::Null,
    };
    Columns(row.unwrap().into_iter().map(value).collect())
}

impl Link {
    async fn statement(&mut self, sql: &str) -> Result<(), Fault> {
        self.conn.query_drop(sql).await.map_err(|error| self.failures.explain(&error))
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
        self.statement("START TRANSACTION READ WRITE").await
    }

    async fn rows(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Columns>, Fault> {
        let values: Vec<mysql_async::Value> = values.iter().map(bound).collect();
        let rows: Result<Vec<Row>, _> = self.conn.exec(spelled(sql), values).await;
        Ok(rows.map_err(|error| self.failures.explain(&error))?.into_iter().map(columns).collect())
    }

    async fn write(&mut self, sql: &str, values: &[Value]) -> Result<u64, Fault> {
        let values: Vec<mysql_async::Value> = values.iter().map(bound).collect();
        self.conn.exec_drop(spelled(sql), values).await.map_err(|error| self.failures.explain(&error))?;
        Ok(self.conn.affected_rows())
    }

    async fn commit(&mut self) -> Result<(), Fault> {
        self.statement("COMMIT").await
    }

    async fn roll_back(&mut self) -> Result<(), Fault> {
        self.statement("ROLLBACK").await
    }
}
