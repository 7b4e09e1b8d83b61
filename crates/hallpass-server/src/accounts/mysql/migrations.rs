//! The schema in MariaDB or MySQL, under a lock of the server.
//!
//! The server commits each statement that makes a table by itself. So each can be run again, and a step is noted when all of it is there: one that
//! was cut off is finished by the next start.

use sha2::{Digest as _, Sha256};

use super::{Link, Server};
use crate::accounts::AccountsError;
use crate::accounts::sql::MIGRATION_PATIENCE;
use crate::accounts::sql::connection::{Columns, Connection as _, Fault, Value};
use crate::accounts::steps::{self, Step};

const STEPS: &[Step] = &[
    Step { name: "accounts", sql: include_str!("migrations/0001_accounts.sql") },
    Step { name: "identities", sql: include_str!("migrations/0002_identities.sql") },
    Step { name: "authjs users", sql: include_str!("migrations/0003_authjs_users.sql") },
];

const HAS_TABLE: &str = "SELECT count(*) FROM information_schema.TABLES \
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'hallpass_account_migrations'";
const TABLE: &str = "CREATE TABLE IF NOT EXISTS hallpass_account_migrations (number INT NOT NULL, name VARBINARY(64) NOT NULL, \
    checksum VARBINARY(32) NOT NULL, applied_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (number)) \
    ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET = binary";
const APPLIED: &str = "SELECT number, checksum FROM hallpass_account_migrations ORDER BY number";
const APPLY: &str = "INSERT INTO hallpass_account_migrations (number, name, checksum) VALUES (?, ?, ?)";
const LOCK: &str = "SELECT GET_LOCK(?, ?)";
const UNLOCK: &str = "SELECT RELEASE_LOCK(?)";

/// The number of the newest step.
pub(super) fn newest() -> u32 {
    steps::newest(STEPS)
}

/// Brings the schema up to date. Reads alone when there is nothing to do; otherwise one process does the work and others wait and find it done.
pub(super) async fn run(server: &Server) -> Result<(), AccountsError> {
    let connecting = tokio::time::timeout(crate::accounts::sql::CONNECT_PATIENCE, server.link()).await;
    let mut link = connecting
        .map_err(|_| server.failures.unavailable("no connection in time; check that the server can be reached"))??;
    let work = migrate(&mut link, server);
    tokio::time::timeout(MIGRATION_PATIENCE, work).await.unwrap_or_else(|_| {
        let what =
            format!("the schema could not be brought up to date within {MIGRATION_PATIENCE:?}; find what locks it");
        Err(server.failures.unavailable(&what).into())
    })?;
    Ok(())
}

async fn migrate(link: &mut Link, server: &Server) -> Result<(), Fault> {
    let there = link.rows(HAS_TABLE, &[]).await?.first().map_or(Ok(0), |row| row.integer(0, "count"))? > 0;
    if there && missing(link, server).await?.is_empty() {
        return Ok(());
    }
    // The lock is the server's, not the database's, and its name is short. It ends with the connection.
    let database = server.side.as_deref().unwrap_or(server.address.database());
    let digest = Sha256::digest(database.as_bytes());
    let name = digest[..8].iter().fold(String::from("hallpass_accounts_"), |name, byte| format!("{name}{byte:02x}"));
    let name = Value::Text(name);
    let seconds = i64::try_from(MIGRATION_PATIENCE.as_secs() / 2).unwrap_or(30);
    let taken = link.rows(LOCK, &[name.clone(), Value::Integer(seconds)]).await?;
    if taken.first().map_or(Ok(None), |row| row.optional_integer(0, "GET_LOCK"))? != Some(1) {
        return Err(server
            .failures
            .unavailable("another process is migrating the schema; try again when it is done")
            .into());
    }
    let applied = apply(link, server).await;
    link.rows(UNLOCK, &[name]).await?;
    applied
}

async fn apply(link: &mut Link, server: &Server) -> Result<(), Fault> {
    link.statement(TABLE).await?;
    for (number, step) in missing(link, server).await? {
        for statement in statements(step.sql) {
            link.statement(statement).await?;
        }
        let values =
            [Value::Integer(number.into()), Value::Text(step.name.to_owned()), Value::Bytes(step.checksum().to_vec())];
        link.write(APPLY, &values).await?;
    }
    Ok(())
}

async fn missing(link: &mut Link, server: &Server) -> Result<Vec<(u32, &'static Step)>, Fault> {
    let read = |row: &Columns| -> Result<(u32, Vec<u8>), Fault> {
        Ok((u32::try_from(row.integer(0, "number")?).unwrap_or(u32::MAX), row.bytes(1, "checksum")?))
    };
    let applied = link.rows(APPLIED, &[]).await?.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(steps::missing(server.address.place(), STEPS, &applied)?)
}

/// The statements of a step. No text in it holds a semicolon at the end of a line.
fn statements(sql: &str) -> impl Iterator<Item = &str> {
    sql.split(";\n").map(str::trim).filter(|statement| !statement.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_can_be_run_again() {
        for step in STEPS {
            for statement in statements(step.sql) {
                let code: Vec<&str> = statement.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
                let code = code.join("\n");
                assert!(
                    code.starts_with("CREATE TABLE IF NOT EXISTS hallpass_account_")
                        || code.starts_with("INSERT IGNORE INTO hallpass_account_"),
                    "{code}"
                );
                assert!(!code.starts_with("CREATE") || code.contains("ENGINE = InnoDB"), "{code}");
            }
        }
    }
}
