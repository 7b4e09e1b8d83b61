//! The schema in PostgreSQL: all missing steps in one transaction, under a lock.

use sha2::{Digest as _, Sha256};

use super::{Link, Server, qualify};
use crate::accounts::AccountsError;
use crate::accounts::sql::MIGRATION_PATIENCE;
use crate::accounts::sql::connection::{Columns, Fault, Value};
use crate::accounts::steps::{self, Step};

const STEPS: &[Step] = &[
    Step { name: "accounts", sql: include_str!("migrations/0001_accounts.sql") },
    Step { name: "identities", sql: include_str!("migrations/0002_identities.sql") },
    Step { name: "authjs users", sql: include_str!("migrations/0003_authjs_users.sql") },
];

/// `gen_random_uuid` in the session store needs it; the accounts alone would do with less.
const OLDEST_SERVER: i64 = 130_000;

const FACTS: &str = "SELECT current_setting('server_version_num')::int8, current_setting('server_encoding'), \
    to_regclass(?) IS NOT NULL, EXISTS (SELECT FROM pg_namespace WHERE nspname = ?)";
const TABLE: &str = "CREATE TABLE IF NOT EXISTS hp.hallpass_account_migrations (number integer NOT NULL PRIMARY KEY, \
    name text NOT NULL, checksum bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())";
const APPLIED: &str = "SELECT number, checksum FROM hp.hallpass_account_migrations ORDER BY number";
const APPLY: &str = "INSERT INTO hp.hallpass_account_migrations (number, name, checksum) VALUES (?::int8, ?, ?)";
const LOCK: &str = "SELECT pg_advisory_xact_lock(?) IS NULL";

/// The number of the newest step.
pub(super) fn newest() -> u32 {
    steps::newest(STEPS)
}

/// Brings the schema up to date. Reads alone when there is nothing to do; otherwise one process does the work and others wait and find it done.
pub(super) async fn run(server: &Server) -> Result<(), AccountsError> {
    let connecting = tokio::time::timeout(crate::accounts::sql::CONNECT_PATIENCE, server.link()).await;
    let link = connecting
        .map_err(|_| server.failures.unavailable("no connection in time; check that the server can be reached"))??;
    let work = Migration { link: &link, server };
    tokio::time::timeout(MIGRATION_PATIENCE, work.run()).await.unwrap_or_else(|_| {
        let what =
            format!("the schema could not be brought up to date within {MIGRATION_PATIENCE:?}; find what locks it");
        Err(server.failures.unavailable(&what).into())
    })?;
    Ok(())
}

struct Migration<'a> {
    link: &'a Link,
    server: &'a Server,
}

impl Migration<'_> {
    async fn run(&self) -> Result<(), Fault> {
        let facts = self.query(FACTS, &[self.text(&self.table()), self.text(self.schema())]).await?;
        let facts = facts.first().ok_or_else(|| self.server.failures.damaged("it says nothing about itself"))?;
        if facts.integer(0, "version")? < OLDEST_SERVER {
            return Err(self.server.failures.unavailable("hallpass needs PostgreSQL 13 or later").into());
        }
        if facts.text(1, "encoding")? != "UTF8" {
            return Err(self
                .server
                .failures
                .unavailable("the database is not encoded as UTF8; create one that is")
                .into());
        }
        // Not under the lock: this alone happens at nearly every start.
        if facts.boolean(2, "table")? && self.missing().await?.is_empty() {
            return Ok(());
        }
        let has_schema = facts.boolean(3, "schema")?;
        let patience = MIGRATION_PATIENCE.as_millis();
        self.link
            .batch(&format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = {patience}; \
                 SET LOCAL idle_in_transaction_session_timeout = {patience}; SET LOCAL client_min_messages = warning; {}",
                super::DURABLE
            ))
            .await?;
        let applied = self.apply(has_schema).await;
        // The first error is the one to report.
        self.link.batch(if applied.is_ok() { "COMMIT" } else { "ROLLBACK" }).await.and(applied)
    }

    async fn apply(&self, has_schema: bool) -> Result<(), Fault> {
        let digest = Sha256::digest(format!("hallpass/{}/migrating accounts/", self.schema()));
        let mut key = [0; 8];
        key.copy_from_slice(&digest[..8]);
        self.query(LOCK, &[Value::Integer(i64::from_be_bytes(key))]).await?;
        if !has_schema {
            self.link.batch(&format!("CREATE SCHEMA IF NOT EXISTS \"{}\"", self.schema())).await?;
        }
        self.link.batch(&qualify(TABLE, self.schema())).await?;
        for (number, step) in self.missing().await? {
            self.link.batch(&qualify(step.sql, self.schema())).await?;
            let values = [Value::Integer(number.into()), self.text(step.name), Value::Bytes(step.checksum().to_vec())];
            self.query(APPLY, &values).await?;
        }
        Ok(())
    }

    async fn missing(&self) -> Result<Vec<(u32, &'static Step)>, Fault> {
        let mut applied = Vec::new();
        for row in self.query(APPLIED, &[]).await? {
            let number = u32::try_from(row.integer(0, "number")?).unwrap_or(u32::MAX);
            applied.push((number, row.bytes(1, "checksum")?));
        }
        Ok(steps::missing(&self.server.place, STEPS, &applied)?)
    }

    fn schema(&self) -> &str {
        &self.server.schema
    }

    fn table(&self) -> String {
        format!("\"{}\".hallpass_account_migrations", self.schema())
    }

    fn text(&self, text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    async fn query(&self, sql: &str, values: &[Value]) -> Result<Vec<Columns>, Fault> {
        let rows = self.link.query(sql, values).await.map_err(|error| self.server.failures.explain(&error))?;
        self.link.columns(&rows)
    }
}
