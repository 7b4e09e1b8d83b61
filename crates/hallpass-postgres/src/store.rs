//! The store itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hallpass_core::group_commit::Queue;
use hallpass_core::store::{
    Changes, Created, Filter, Health, LastSeen, Limit, Listing, Page, Record, Renewal, Renewed, Revocation,
    RevokeOutcome, Rotation, Settled, Store, Sweep, Swept, Write,
};
use hallpass_core::{Attributes, Hints, Label, Node, NodeId, SessionId, StoreError, Timestamp, UserId};
use tokio::time::Instant;

use crate::checks::{Checks, Found};
use crate::connector::Connector;
use crate::database::Database;
use crate::hints::Ear;
use crate::keys::Keys;
use crate::lanes::Lanes;
use crate::row::Reader;
use crate::sweep::Places;
use crate::target::Target;
use crate::{
    PostgresOptions, change, create, health, hints, list, migrations, nodes, revocation_log, revoke, settle, sweep,
};

/// Sessions in a PostgreSQL database. See the [crate](crate) for how it works.
///
/// Needs a tokio runtime with I/O and timers, and belongs to the one in which it was connected. Dropping it closes its connections.
#[derive(Debug)]
pub struct PostgresStore {
    database: Arc<Database>,
    ear: Ear,
    migrated: (u32, u32),
}

impl PostgresStore {
    /// Connects to `postgres://user:password@host:port/database` and brings the schema up to date. Further parameters of the URL: those of libpq
    /// that tokio-postgres knows, `sslmode`, `sslrootcert` (a file, or `system`) and `schema`. Several hosts may be named, separated by
    /// commas; the first that takes writes is used.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the URL cannot be used or the server does not answer, refuses the sign-in, or is older than
    /// PostgreSQL 13; [`StoreError::NotWritable`] when the role may not make the tables; [`StoreError::Corrupt`] when there are tables of these
    /// names that are not ours, or the database is not encoded as UTF-8; [`StoreError::TooNew`] when a newer program migrated it.
    pub async fn connect(url: &str, options: PostgresOptions) -> Result<Self, StoreError> {
        let target = Target::parse(url, &options)?;
        let keys = Keys::of(&target.schema);
        let connector = Arc::new(Connector::new(target, &options)?);
        let migrated = migrations::migrate(&connector).await?;
        let checks = Checks::start(&connector);
        let lanes = Lanes::start(&connector, options.lanes());
        let ear = Ear::new(&connector, &keys);
        let database =
            Database { connector, checks, lanes, keys, swept: Places::default(), revocations: Queue::default() };
        // What is wrong with every connection, the encoding for instance, is said now.
        let deadline = database.deadline();
        database.checks.ready(deadline).await?;
        drop(database.lanes.take(deadline).await?);
        Ok(Self { database: Arc::new(database), ear, migrated })
    }

    /// The schema versions before and after connecting migrated it; 0 before for a new one.
    #[must_use]
    pub const fn migrated_at_connect(&self) -> (u32, u32) {
        self.migrated
    }

    /// How many queries answered how many reads of checks since the store was connected.
    #[must_use]
    pub fn check_counts(&self) -> (u64, u64) {
        self.database.checks.counts()
    }

    /// Closes every connection, saying goodbye to the server.
    pub async fn close(self) {
        self.ear.close().await;
        let mut database = self.database;
        let deadline = Instant::now() + LAST_WORDS;
        // Revocations for which nobody waits any more may be under way.
        while Instant::now() < deadline {
            match Arc::try_unwrap(database) {
                Ok(Database { checks, lanes, .. }) => {
                    checks.close().await;
                    lanes.close().await;
                    return;
                }
                Err(shared) => database = shared,
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// How long closing waits for what is under way.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[async_trait]
impl Store for PostgresStore {
    async fn create(&self, new: &Record, now: Timestamp, limit: Option<Limit>) -> Result<Created, StoreError> {
        Ok(create::create(&self.database, new, now, limit).await?)
    }

    async fn find(&self, id: SessionId) -> Result<Option<Record>, StoreError> {
        let failures = self.database.failures();
        let record = match self.database.checks.find(id).await? {
            None => return Ok(None),
            Some(Found::Unended(row)) => Reader::new(&row, failures).unended()?,
            Some(Found::WithEnd(row)) => Reader::new(&row, failures).record()?,
        };
        Ok(Some(record))
    }

    async fn renew(&self, renewal: &Renewal) -> Result<Renewed, StoreError> {
        Ok(change::renew(&self.database, renewal).await?)
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<Write<()>, StoreError> {
        Ok(change::rotate(&self.database, rotation).await?)
    }

    async fn set_label(
        &self,
        id: SessionId,
        owner: &UserId,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<Write<()>, StoreError> {
        Ok(change::set_label(&self.database, id, owner, label, now).await?)
    }

    async fn set_attributes(
        &self,
        id: SessionId,
        expected: u64,
        attributes: &Attributes,
        now: Timestamp,
    ) -> Result<Write<u64>, StoreError> {
        Ok(change::set_attributes(&self.database, id, expected, attributes, now).await?)
    }

    async fn list(&self, filter: &Filter, page: Page, now: Timestamp) -> Result<Listing, StoreError> {
        Ok(list::list(&self.database, filter, page, now).await?)
    }

    async fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, StoreError> {
        Ok(list::count(&self.database, filter, now).await?)
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<RevokeOutcome, StoreError> {
        Ok(revoke::revoke(&self.database, revocation).await?)
    }

    async fn settle(&self, batch: u32, _now: Timestamp) -> Result<Settled, StoreError> {
        Ok(settle::settle(&self.database, batch).await?)
    }

    async fn touch(&self, seen: &[LastSeen], now: Timestamp) -> Result<u64, StoreError> {
        Ok(change::touch(&self.database, seen, now).await?)
    }

    async fn sweep(&self, sweep: &Sweep) -> Result<Swept, StoreError> {
        Ok(sweep::sweep(&self.database, sweep).await?)
    }

    async fn sweepable(&self, sweep: &Sweep) -> Result<u64, StoreError> {
        Ok(sweep::sweepable(&self.database, sweep).await?)
    }

    async fn changes_since(&self, position: u64, limit: u32) -> Result<Changes, StoreError> {
        Ok(revocation_log::changes_since(&self.database, position, limit).await?)
    }

    async fn register_node(&self, node: &Node) -> Result<(), StoreError> {
        Ok(nodes::register(&self.database, node).await?)
    }

    async fn heartbeat(&self, node: &Node) -> Result<bool, StoreError> {
        Ok(nodes::heartbeat(&self.database, node).await?)
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        Ok(nodes::nodes(&self.database).await?)
    }

    async fn forget_node(&self, id: NodeId, beats: u64) -> Result<bool, StoreError> {
        Ok(nodes::forget(&self.database, id, beats).await?)
    }

    async fn hint(&self) -> Result<(), StoreError> {
        Ok(hints::send(&self.database).await?)
    }

    fn hints(&self) -> Option<Hints> {
        self.ear.listen()
    }

    async fn migrate(&self) -> Result<(u32, u32), StoreError> {
        migrations::migrate(&self.database.connector).await
    }

    async fn health(&self, now: Timestamp) -> Result<Health, StoreError> {
        Ok(health::health(&self.database, now).await?)
    }
}
