//! The schema, step by step: numbered, checksummed, applied under the writer's lock.

use hallpass_core::StoreError;
use rusqlite::{Connection, OptionalExtension as _, params};
use sha2::{Digest as _, Sha256};

use crate::failure::Failures;

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

const TABLE: &str = "CREATE TABLE IF NOT EXISTS hallpass_migrations (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, \
     checksum BLOB NOT NULL) STRICT";
const HAS_TABLE: &str = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'hallpass_migrations'";
const VERSION: &str = "SELECT coalesce(max(version), 0) FROM hallpass_migrations";
const APPLIED: &str = "SELECT version, checksum FROM hallpass_migrations ORDER BY version";
const APPLY: &str = "INSERT INTO hallpass_migrations (version, name, checksum) VALUES (?1, ?2, ?3)";

/// The schema version of the database; 0 without one.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    if connection.query_row(HAS_TABLE, [], |_| Ok(())).optional()?.is_none() {
        return Ok(0);
    }
    connection.query_row(VERSION, [], |row| row.get(0))
}

/// Brings the schema up to date; the versions before and after. Reads alone when there is nothing to do, and takes the writer's lock
/// otherwise, so that of two processes the second finds the work done.
pub(crate) fn migrate(connection: &Connection, failures: &Failures) -> Result<(u32, u32), StoreError> {
    let explain = |error: rusqlite::Error| failures.explain(&error);
    if version(connection).map_err(explain)? >= NEWEST {
        let before = check(connection, failures)?;
        return Ok((before, before));
    }
    connection.execute_batch("BEGIN IMMEDIATE").map_err(explain)?;
    let outcome = apply(connection, failures).and_then(|versions| {
        connection.execute_batch("COMMIT").map_err(explain)?;
        Ok(versions)
    });
    if outcome.is_err() && !connection.is_autocommit() {
        // The first error is the one to report.
        let _ = connection.execute_batch("ROLLBACK");
    }
    outcome
}

fn apply(connection: &Connection, failures: &Failures) -> Result<(u32, u32), StoreError> {
    let explain = |error: rusqlite::Error| failures.explain(&error);
    connection.execute_batch(TABLE).map_err(explain)?;
    let before = check(connection, failures)?;
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > before) {
        connection.execute_batch(migration.sql).map_err(explain)?;
        let row = params![migration.version, migration.name, checksum(migration.sql)];
        connection.execute(APPLY, row).map_err(explain)?;
    }
    Ok((before, NEWEST))
}

/// The version, if every applied migration is one of ours, unchanged.
fn check(connection: &Connection, failures: &Failures) -> Result<u32, StoreError> {
    let explain = |error: rusqlite::Error| failures.explain(&error);
    let mut statement = connection.prepare(APPLIED).map_err(explain)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(explain)?;
    let applied: Vec<(u32, Vec<u8>)> = rows.collect::<Result<_, _>>().map_err(explain)?;
    let found = applied.last().map_or(0, |(version, _)| *version);
    if found > NEWEST {
        return Err(StoreError::TooNew { found, known: NEWEST });
    }
    for (position, (version, stored)) in applied.iter().enumerate() {
        let ours = MIGRATIONS.get(position).filter(|ours| ours.version == *version);
        if ours.is_none_or(|ours| checksum(ours.sql) != stored.as_slice()) {
            return Err(failures.corrupt(&format!(
                "its schema step {version} is not the one of this program (the checksum in hallpass_migrations differs); it was made by a \
                 development version or changed by hand: start the program that made it, or restore a backup"
            )));
        }
    }
    Ok(found)
}

fn checksum(sql: &str) -> [u8; 32] {
    Sha256::digest(sql.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_each_other_up_to_the_newest() {
        let numbers: Vec<u32> = MIGRATIONS.iter().map(|migration| migration.version).collect();
        assert_eq!(numbers, (1..=NEWEST).collect::<Vec<_>>());
    }
}
