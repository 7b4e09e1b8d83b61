//! The schema, step by step: numbered, checksummed, applied by one process at a time.
//!
//! The server commits each statement that makes a table by itself. So a step is first noted as begun, each of its statements can be run again, and
//! it is noted as complete at the end: a migration that was cut off is finished by the next one.

use std::time::Duration;

use hallpass_core::{Entropy as _, OsEntropy, StoreError};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row};
use sha2::{Digest as _, Sha256};

use crate::failure::{Failures, Fault, code};
use crate::literal::bytes;
use crate::row::Columns;

struct Migration {
    version: u32,
    name: &'static str,
    sql: &'static str,
}

/// Never change one that was released: databases remember its checksum. Add the next.
const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "sessions", sql: include_str!("migrations/0001_sessions.sql") },
    Migration { version: 2, name: "nodes", sql: include_str!("migrations/0002_nodes.sql") },
];

pub(crate) const NEWEST: u32 = 2;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS hallpass_migrations (version INT NOT NULL, name VARBINARY(64) NOT NULL, \
     checksum BINARY(32) NOT NULL, complete TINYINT NOT NULL, PRIMARY KEY (version)) \
     ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET = binary";
const APPLIED: &str = "SELECT version, checksum, complete FROM hallpass_migrations ORDER BY version";
const BEGIN: &str = "INSERT INTO hallpass_migrations (version, name, checksum, complete) VALUES (?, ?, ?, 0)";
const COMPLETE: &str = "UPDATE hallpass_migrations SET complete = 1 WHERE version = ?";
const VERSION: &str = "SELECT COALESCE(MAX(version), 0) FROM hallpass_migrations WHERE complete = 1";
const TABLES: &str = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE 'hallpass\\_%'";

/// What went wrong while migrating.
pub(crate) enum Trouble {
    Fault(Fault),
    Store(StoreError),
}

impl<F: Into<Fault>> From<F> for Trouble {
    fn from(fault: F) -> Self {
        Self::Fault(fault.into())
    }
}

/// The steps that the database remembers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Applied {
    complete: u32,
    begun: Option<u32>,
}

/// The schema version of the database.
pub(crate) async fn version(connection: &mut crate::connection::Connection) -> Result<u32, Fault> {
    let columns = connection.first(VERSION, Vec::new()).await?;
    let mut columns = columns.ok_or(Fault::Unreadable("hallpass_migrations.version"))?;
    let version = columns.count(0, "hallpass_migrations.version")?;
    u32::try_from(version).map_err(|_| Fault::Unreadable("hallpass_migrations.version"))
}

/// Brings the schema up to date; the versions before and after. Reads alone when there is nothing to do, and takes a lock of the server
/// otherwise, so that of two processes the second finds the work done. The lock ends with the connection.
pub(crate) async fn migrate(
    conn: &mut Conn,
    database: &str,
    patience: Duration,
    failures: &Failures,
) -> Result<(u32, u32), Trouble> {
    if let Some(applied) = applied(conn, failures).await?
        && applied.complete >= NEWEST
    {
        return Ok((applied.complete, applied.complete));
    }
    // The lock is the server's, not the database's.
    let digest = Sha256::digest(database.as_bytes());
    let name = bytes(&[b"hallpass_migrate_".as_slice(), hex(&digest[..8]).as_bytes()].concat());
    let row: Option<Row> = conn.query_first(format!("SELECT GET_LOCK({name}, {})", patience.as_secs().max(1))).await?;
    let taken = row.map(|row| Columns::of(row).optional_integer(0, "GET_LOCK")).transpose()?.flatten();
    if taken != Some(1) {
        return Err(Trouble::Store(
            failures.unavailable("another process is migrating the schema; try again when it is done"),
        ));
    }
    let outcome = apply(conn, failures).await;
    let _: Option<Row> = conn.query_first(format!("SELECT RELEASE_LOCK({name})")).await?;
    outcome
}

async fn apply(conn: &mut Conn, failures: &Failures) -> Result<(u32, u32), Trouble> {
    conn.query_drop(TABLE).await?;
    let applied = applied(conn, failures).await?.unwrap_or_default();
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > applied.complete) {
        if applied.begun != Some(migration.version) {
            refuse_foreign_tables(conn, migration, failures).await?;
            let values = (migration.version, migration.name, checksum(migration.sql).to_vec());
            conn.exec_drop(BEGIN, values).await?;
        }
        for statement in statements(migration.sql) {
            if statement.contains('?') {
                let mut random = [0; 16];
                OsEntropy.fill(&mut random).map_err(|error| Fault::Other(error.to_string()))?;
                conn.exec_drop(statement, (random.as_slice(),)).await?;
            } else {
                conn.query_drop(statement).await?;
            }
        }
        conn.exec_drop(COMPLETE, (migration.version,)).await?;
    }
    Ok((applied.complete, NEWEST))
}

/// What the database remembers, if every step is one of ours, unchanged; `None` without the table.
async fn applied(conn: &mut Conn, failures: &Failures) -> Result<Option<Applied>, Trouble> {
    let rows: Vec<Row> = match conn.query(APPLIED).await.map_err(Fault::from) {
        Ok(rows) => rows,
        Err(fault) if fault.code() == Some(code::NO_SUCH_TABLE) => return Ok(None),
        Err(fault) => return Err(fault.into()),
    };
    let mut steps = Vec::new();
    for row in rows {
        let mut columns = Columns::of(row);
        let version = columns.count(0, "hallpass_migrations.version")?;
        let version = u32::try_from(version).map_err(|_| Fault::Unreadable("hallpass_migrations.version"))?;
        let checksum = columns.bytes(1, "hallpass_migrations.checksum")?;
        steps.push((version, checksum, columns.integer(2, "hallpass_migrations.complete")? != 0));
    }
    let found = steps.last().map_or(0, |(version, ..)| *version);
    if found > NEWEST {
        return Err(Trouble::Store(StoreError::TooNew { found, known: NEWEST }));
    }
    let mut applied = Applied::default();
    for (position, (version, stored, complete)) in steps.into_iter().enumerate() {
        let ours = MIGRATIONS.get(position).filter(|ours| ours.version == version);
        if ours.is_none_or(|ours| checksum(ours.sql) != stored.as_slice()) {
            return Err(Trouble::Store(failures.corrupt(&format!(
                "its schema step {version} is not the one of this program (the checksum in hallpass_migrations differs); it was made by a \
                 development version or changed by hand: start the program that made it, or restore a backup"
            ))));
        }
        if complete { applied.complete = version } else { applied.begun = Some(version) }
    }
    Ok(Some(applied))
}

/// A table of the name that a step would make, before the step was begun, is somebody else's.
async fn refuse_foreign_tables(conn: &mut Conn, migration: &Migration, failures: &Failures) -> Result<(), Trouble> {
    let rows: Vec<Row> = conn.query(TABLES).await?;
    for row in rows {
        let table = Columns::of(row).text(0, "TABLE_NAME")?;
        if migration.sql.contains(&format!("CREATE TABLE IF NOT EXISTS {table} (")) {
            return Err(Trouble::Store(failures.corrupt(&format!(
                "it already has a table {table}, which this program did not make; rename that table, or name another database"
            ))));
        }
    }
    Ok(())
}

/// The statements of a step. No text in it holds a semicolon at the end of a line.
fn statements(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(";\n").map(str::trim).filter(|statement| !statement.is_empty())
}

fn checksum(sql: &str) -> [u8; 32] {
    Sha256::digest(sql.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_each_other_up_to_the_newest() {
        let numbers: Vec<u32> = MIGRATIONS.iter().map(|migration| migration.version).collect();
        assert_eq!(numbers, (1..=NEWEST).collect::<Vec<_>>());
    }

    #[test]
    fn every_statement_can_be_run_again() {
        for migration in MIGRATIONS {
            for statement in statements(migration.sql) {
                let code: Vec<&str> = statement.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
                let code = code.join("\n");
                assert!(
                    code.starts_with("CREATE TABLE IF NOT EXISTS hallpass_")
                        || code.starts_with("INSERT IGNORE INTO hallpass_"),
                    "{code}"
                );
                assert!(!code.starts_with("CREATE") || code.contains("ENGINE = InnoDB"), "{code}");
            }
        }
    }
}
