//! The schema, step by step: numbered, checksummed, applied in one transaction under a lock.

use std::time::Duration;

use hallpass_core::StoreError;
use sha2::{Digest as _, Sha256};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use crate::connector::{Connector, Purpose};
use crate::failure::{Failure, Failures};
use crate::keys::Keys;
use crate::texts::qualify;

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

/// How long the whole may take, waiting for another process included.
const PATIENCE: Duration = Duration::from_secs(60);

const TABLE: &str = "CREATE TABLE IF NOT EXISTS hp.hallpass_migrations (version integer NOT NULL PRIMARY KEY, name text NOT NULL, \
     checksum bytea NOT NULL)";
const HAS_SCHEMA: &str = "SELECT 1 FROM pg_namespace WHERE nspname = $1";
const HAS_TABLE: &str = "SELECT 1 WHERE to_regclass($1) IS NOT NULL";
const LOCK: &str = "SELECT pg_advisory_xact_lock($1)";
const APPLIED: &str = "SELECT version, checksum FROM hp.hallpass_migrations ORDER BY version";
const APPLY: &str = "INSERT INTO hp.hallpass_migrations (version, name, checksum) VALUES ($1, $2, $3)";
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = '60s'; \
     SET LOCAL idle_in_transaction_session_timeout = '60s'; SET LOCAL synchronous_commit = on; SET LOCAL client_min_messages = warning";

/// Brings the schema up to date; the versions before and after. Reads alone when there is nothing to do, and takes a lock otherwise, so
/// that of several processes one does the work and the others find it done.
pub(crate) async fn migrate(connector: &Connector) -> Result<(u32, u32), StoreError> {
    let (session, mut driver) = connector.open(Purpose::Anything).await?;
    let work = Work { client: session.client(), failures: connector.failures(), schema: &connector.target().schema };
    let migrated = tokio::select! {
        migrated = tokio::time::timeout(PATIENCE, work.run()) => migrated.unwrap_or_else(|_| {
            Err(connector.failures().unavailable("the schema could not be brought up to date within a minute; find what locks it"))
        }),
        ended = &mut driver => Err(match ended {
            Err(error) => connector.failures().explain(&error),
            Ok(()) => connector.failures().unavailable("the connection was lost while the schema was looked at"),
        }),
    };
    drop(session);
    // Says goodbye; nothing depends on it.
    let _ = tokio::time::timeout(Duration::from_secs(1), driver).await;
    Ok(migrated?)
}

struct Work<'a> {
    client: &'a Client,
    failures: &'a Failures,
    schema: &'a str,
}

impl Work<'_> {
    async fn run(&self) -> Result<(u32, u32), Failure> {
        self.batch(BEGIN).await?;
        let migrated = self.check_or_apply().await;
        match &migrated {
            Ok(_) => self.batch("COMMIT").await?,
            // The first error is the one to report.
            Err(_) => drop(self.batch("ROLLBACK").await),
        }
        migrated
    }

    async fn check_or_apply(&self) -> Result<(u32, u32), Failure> {
        // Not under the lock: this alone happens at nearly every start.
        if self.has_table().await? {
            let before = self.check().await?;
            if before == NEWEST {
                return Ok((before, before));
            }
        }
        self.apply().await
    }

    async fn apply(&self) -> Result<(u32, u32), Failure> {
        let key = Keys::of(self.schema).migrating();
        self.query(LOCK, &[(key.bound(), key.pg_type())]).await?;
        if self.query(HAS_SCHEMA, &[(&self.schema, Type::NAME)]).await?.is_empty() {
            self.batch(&format!("CREATE SCHEMA \"{}\"", self.schema)).await?;
        }
        self.batch(&qualify(TABLE, self.schema)).await?;
        let before = self.check().await?;
        for migration in MIGRATIONS.iter().filter(|migration| migration.version > before) {
            self.batch(&qualify(migration.sql, self.schema)).await?;
            let (version, checksum) = (i32::try_from(migration.version).unwrap_or(i32::MAX), checksum(migration.sql));
            let values: [(&(dyn ToSql + Sync), Type); 3] =
                [(&version, Type::INT4), (&migration.name, Type::TEXT), (&checksum.as_slice(), Type::BYTEA)];
            self.query(APPLY, &values).await?;
        }
        Ok((before, NEWEST))
    }

    async fn has_table(&self) -> Result<bool, Failure> {
        let name = format!("\"{}\".hallpass_migrations", self.schema);
        Ok(!self.query(HAS_TABLE, &[(&name, Type::TEXT)]).await?.is_empty())
    }

    /// The version, if every applied migration is one of ours, unchanged.
    async fn check(&self) -> Result<u32, Failure> {
        let unreadable = |_| {
            self.failures
                .corrupt("its table hallpass_migrations is not of this program; choose another schema for hallpass")
        };
        let mut applied: Vec<(u32, Vec<u8>)> = Vec::new();
        for row in self.query(APPLIED, &[]).await? {
            let version: i32 = row.try_get(0).map_err(unreadable)?;
            applied.push((u32::try_from(version).unwrap_or(u32::MAX), row.try_get(1).map_err(unreadable)?));
        }
        let found = applied.last().map_or(0, |(version, _)| *version);
        if found > NEWEST {
            return Err(Failures::too_new(found, NEWEST));
        }
        for (position, (version, stored)) in applied.iter().enumerate() {
            let ours = MIGRATIONS.get(position).filter(|ours| ours.version == *version);
            if ours.is_none_or(|ours| checksum(ours.sql) != stored.as_slice()) {
                return Err(self.failures.corrupt(&format!(
                    "its schema step {version} is not the one of this program (the checksum in hallpass_migrations differs); it was made by a \
                     development version or changed by hand: start the program that made it, or restore a backup"
                )));
            }
        }
        Ok(found)
    }

    async fn batch(&self, sql: &str) -> Result<(), Failure> {
        self.client.batch_execute(sql).await.map_err(|error| self.failures.explain(&error))
    }

    /// Unnamed, so that it works behind a pooler too.
    async fn query(&self, sql: &str, values: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>, Failure> {
        let rows = self.client.query_typed(&qualify(sql, self.schema), values).await;
        rows.map_err(|error| self.failures.explain(&error))
    }
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
