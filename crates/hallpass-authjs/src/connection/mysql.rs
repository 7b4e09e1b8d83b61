//! MariaDB and MySQL. That a commit is on disk when it is acknowledged is a setting of the server (`innodb_flush_log_at_trx_commit`).

use std::sync::Arc;

use async_trait::async_trait;
use hallpass_core::StoreError;
use hallpass_mysql::Address;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, DriverError, Error, IoError, Row};

use super::{Columns, Connection, Connector, Fault, Value, corrupt, not_writable};
use crate::pool::SERVER_PATIENCE;

/// One database, and how to reach it.
#[derive(Debug)]
pub(crate) struct Server {
    place: Arc<str>,
    address: Address,
}

impl Server {
    pub(crate) fn new(address: Address) -> Self {
        Self { place: address.place().into(), address }
    }

    pub(crate) async fn link(&self) -> Result<Link, Fault> {
        let connecting = async {
            let mut conn = self.address.connect(SERVER_PATIENCE).await?;
            // Texts are compared as the application's columns compare them; as bytes no index of theirs would find them.
            conn.query_drop("SET NAMES utf8mb4").await?;
            Ok(conn)
        };
        let conn = connecting.await.map_err(|error| explain(&self.place, &error))?;
        Ok(Link { conn, place: Arc::clone(&self.place) })
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

/// One connection.
pub(crate) struct Link {
    pub(crate) conn: Conn,
    place: Arc<str>,
}

impl Link {
    pub(crate) fn explain(&self, error: &Error) -> Fault {
        explain(&self.place, error)
    }

    /// The name of the database, the same whatever its case in the URL where the server ignores it.
    pub(crate) async fn database(&mut self) -> Result<String, Fault> {
        let sql = "SELECT IF(@@lower_case_table_names = 0, DATABASE(), LOWER(DATABASE()))";
        let name = self.conn.query_first(sql).await.map_err(|error| self.explain(&error))?;
        name.ok_or(Fault::Unreadable("database"))
    }
}

fn bound(value: &Value) -> mysql_async::Value {
    match value {
        Value::Null => mysql_async::Value::NULL,
        Value::Integer(number) => (*number).into(),
        Value::Text(text) => text.as_bytes().into(),
    }
}

fn columns(row: Row) -> Result<Columns, Fault> {
    let value = |value| {
        Ok(match value {
            mysql_async::Value::NULL => Value::Null,
            mysql_async::Value::Bytes(bytes) => {
                Value::Text(String::from_utf8(bytes).map_err(|_| Fault::Unreadable("of text"))?)
            }
            mysql_async::Value::Int(number) => Value::Integer(number),
            mysql_async::Value::UInt(number) => {
                Value::Integer(i64::try_from(number).map_err(|_| Fault::Unreadable("of a number"))?)
            }
            _ => return Err(Fault::Unreadable("of another type")),
        })
    };
    row.unwrap().into_iter().map(value).collect::<Result<_, _>>().map(Columns)
}

#[async_trait]
impl Connection for Link {
    fn is_usable(&self) -> bool {
        true
    }

    async fn begin(&mut self) -> Result<(), Fault> {
        self.batch("START TRANSACTION READ WRITE").await
    }

    async fn rows(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Columns>, Fault> {
        let values: Vec<mysql_async::Value> = values.iter().map(bound).collect();
        let rows: Result<Vec<Row>, _> = self.conn.exec(sql, values).await;
        rows.map_err(|error| self.explain(&error))?.into_iter().map(columns).collect()
    }

    async fn write(&mut self, sql: &str, values: &[Value]) -> Result<u64, Fault> {
        let values: Vec<mysql_async::Value> = values.iter().map(bound).collect();
        self.conn.exec_drop(sql, values).await.map_err(|error| self.explain(&error))?;
        Ok(self.conn.affected_rows())
    }

    async fn batch(&mut self, sql: &str) -> Result<(), Fault> {
        self.conn.query_drop(sql).await.map_err(|error| self.explain(&error))
    }

    async fn commit(&mut self) -> Result<(), Fault> {
        self.batch("COMMIT").await
    }

    async fn roll_back(&mut self) -> Result<(), Fault> {
        self.batch("ROLLBACK").await
    }
}

fn explain(place: &str, error: &Error) -> Fault {
    let server = match error {
        Error::Server(server) => server,
        Error::Io(IoError::Tls(_)) => {
            return Fault::Lost(format!(
                "{place}: the encrypted connection failed ({error}); check ssl-mode and ssl-ca"
            ));
        }
        // Its text may show what the server sent.
        Error::Driver(
            DriverError::UnexpectedPacket { .. } | DriverError::FromRow { .. } | DriverError::FromValue { .. },
        ) => {
            return Fault::Lost(format!("{place}: the server answered what is no MySQL protocol; check host and port"));
        }
        _ => {
            return Fault::Lost(format!(
                "{place}: the connection failed ({error}); check that the server runs there and can be reached"
            ));
        }
    };
    let said = &server.message;
    let failed = |what: String| Fault::Failed(StoreError::unavailable(format!("{place}: {what}")));
    match server.code {
        1062 => Fault::Duplicate,
        1216 | 1452 => Fault::NoSuchUser,
        // Waited for as long as the caller does: no time is left to try again.
        1205 => failed(format!(
            "rows or tables stayed locked by others ({said}); look for a long transaction in the server's process list"
        )),
        // Deadlock, and a row that another node changed.
        1020 | 1213 => Fault::Conflict(format!("{place}: rows stayed locked by others ({said})")),
        // Shutting down; killed; idle for too long, by the server's own time-outs.
        1053 | 1927 | 4031 | 4147 => {
            Fault::Lost(format!("{place}: the server ended the connection ({said}); try again soon"))
        }
        1045 => failed(format!("the server refuses the sign-in ({said}); check user and password in the URL")),
        1049 => failed(format!("there is no such database ({said}); make it with CREATE DATABASE, or check the URL")),
        1040 | 1203 => failed(format!("the server takes no more connections ({said}); raise its max_connections")),
        1044 | 1142 | 1143 => Fault::Failed(not_writable(format!(
            "{place}: the database user lacks a privilege ({said}); it needs SELECT, INSERT, UPDATE and DELETE on the application's table of sessions, SELECT on its users, and all on the database of hallpass beside it"
        ))),
        1290 | 1792 | 1836 => Fault::Failed(not_writable(format!(
            "{place}: the server is read-only ({said}); name the primary, not a replica"
        ))),
        1021 | 1026 | 1114 => {
            Fault::Failed(not_writable(format!("{place}: the server cannot write ({said}); free space on its disk")))
        }
        1054 | 1146 => Fault::Failed(corrupt(format!(
            "{place}: a table has changed since this program started ({said}); restart it after a migration of the application"
        ))),
        number => failed(format!("the server answered error {number}: {said}")),
    }
}
