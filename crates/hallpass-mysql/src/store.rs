//! The store itself: which verb is which work.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hallpass_core::group_commit;
use hallpass_core::store::{
    Changes, Created, Filter, Health, LastSeen, Limit, Listing, Page, Record, Renewal, Renewed, Revocation,
    RevokeOutcome, Rotation, Settled, Store, Sweep, Swept, Target, Write,
};
use hallpass_core::{Attributes, Label, Node, NodeId, SessionId, StoreError, Timestamp, UserId};
use tokio::time::{Instant, timeout};

use crate::MysqlOptions;
use crate::address::Address;
use crate::change::{SetAttributes, SetLabel};
use crate::connection::set_up;
use crate::create::{Create, Queues};
use crate::failure::Failures;
use crate::find::Find;
use crate::health::Ask;
use crate::list::{Count, List};
use crate::migrations::{self, Trouble};
use crate::nodes::{Forget, Heartbeat, Nodes, Register};
use crate::pool::Pool;
use crate::revocation_log::ChangesSince;
use crate::revoke::{CountEnded, Effect};
use crate::server::Server;
use crate::settle::{AnyMark, Settle};
use crate::shared_commits::SharedCommits;
use crate::sweep::{Reached, SweepEnded, SweepLog, Sweepable, expired};
use crate::touch::Touch;
use crate::work::{Database, Patience};

/// Sessions in a MariaDB or MySQL database. See the [crate documentation](crate) for an example.
///
/// Cheap to share in an `Arc`. Needs a tokio runtime with its timer. Dropping it closes its connections.
#[derive(Debug)]
pub struct MysqlStore {
    database: Database,
    revocations: Arc<SharedCommits>,
    queues: Queues,
    reached: Reached,
    migrated: (u32, u32),
}

impl MysqlStore {
    /// Connects to the database that a URL names and brings its schema up to date.
    ///
    /// `mysql://user:password@host:3306/database` (or `mariadb:`), with %-encoding in the parts. Parameters: `ssl-mode=REQUIRED` (encrypted, whoever
    /// answers) or `VERIFY_IDENTITY` (encrypted, with a certificate of a known authority for this host); `ssl-ca=/path` (the one
    /// authority to trust, PEM); `socket=/path` (a Unix socket). Without `ssl-mode` the connection is not encrypted.
    ///
    /// The database must exist, and may belong to an application: every table begins with `hallpass_`. Opens two connections, one after the other.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the URL is wrong, the server cannot be reached in time, refuses the sign-in or is too old;
    /// [`StoreError::NotWritable`] when it is read-only or the user lacks a privilege; [`StoreError::Corrupt`] when there are tables of
    /// that name which are not ours; [`StoreError::TooNew`] when a newer program migrated them. No message holds the password.
    pub async fn connect(url: &str, options: MysqlOptions) -> Result<Self, StoreError> {
        let address = Address::parse(url)
            .map_err(|error| StoreError::unavailable(format!("the database URL cannot be used: {error}")))?;
        address.prepare_tls();
        let failures = Failures::of(address.place().into());
        let database = Database { pool: Arc::new(Pool::new(address, options, failures)) };
        let migrated = migrate(&database.pool).await?;
        // What the tables hold is read at once: a mistake shows at the start and not with the first request.
        database.read(Patience::Call, &AnyMark).await?;
        let revocations = Arc::new(SharedCommits::of(database.clone()));
        Ok(Self { database, revocations, queues: Queues::default(), reached: Reached::default(), migrated })
    }

    /// The schema versions before and after connecting migrated it; 0 before for a new database.
    #[must_use]
    pub const fn migrated_at_connect(&self) -> (u32, u32) {
        self.migrated
    }

    /// Closes every connection, for at most a second. Calls under way end first or fail; later ones are refused.
    pub async fn close(self) {
        self.database.pool.close().await;
    }
}

/// On a connection of its own, since others prepare statements that need the tables.
async fn migrate(pool: &Arc<Pool>) -> Result<(u32, u32), StoreError> {
    let (failures, options) = (&pool.failures, &pool.options);
    let begun = Instant::now();
    let connecting = set_up(pool.opts.clone(), options.lock_wait_seconds());
    let mut conn = match timeout(options.connect_timeout, connecting).await {
        Ok(Ok(conn)) => conn,
        Ok(Err(error)) => return Err(failures.explain(error.into())),
        Err(_) => return Err(failures.timed_out("connecting", options.connect_timeout)),
    };
    let limit = options.long_call_timeout;
    let work = async {
        Server::ask(&mut conn).await?.check()?;
        migrations::migrate(&mut conn, pool.address.database(), limit / 2, failures).await
    };
    let outcome = match timeout(limit.saturating_sub(begun.elapsed()), work).await {
        Ok(Ok(versions)) => Ok(versions),
        Ok(Err(Trouble::Fault(fault))) => Err(failures.explain(fault)),
        Ok(Err(Trouble::Store(error))) => Err(error),
        Err(_) => Err(failures.timed_out("migrating", limit)),
    };
    // A server that does not answer notices the closed socket.
    let _ = timeout(Duration::from_secs(1), conn.disconnect()).await;
    outcome
}

#[async_trait]
impl Store for MysqlStore {
    async fn create(&self, new: &Record, now: Timestamp, limit: Option<Limit>) -> Result<Created, StoreError> {
        let database = &self.database;
        let _turn = match limit {
            Some(_) => {
                let deadline = Instant::now() + database.pool.options.acquire_timeout;
                Some(self.queues.turn(&new.session.user, deadline, &database.pool.failures).await?)
            }
            None => None,
        };
        database.write(Patience::Call, &Create { new, now, limit }).await
    }

    async fn find(&self, id: SessionId) -> Result<Option<Record>, StoreError> {
        self.database.read(Patience::Call, &Find(id)).await
    }

    async fn renew(&self, renewal: &Renewal) -> Result<Renewed, StoreError> {
        self.database.write(Patience::Call, renewal).await
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<Write<()>, StoreError> {
        self.database.write(Patience::Call, rotation).await
    }

    async fn set_label(
        &self,
        id: SessionId,
        owner: &UserId,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<Write<()>, StoreError> {
        self.database.write(Patience::Call, &SetLabel { id, owner, label, now }).await
    }

    async fn set_attributes(
        &self,
        id: SessionId,
        expected: u64,
        attributes: &Attributes,
        now: Timestamp,
    ) -> Result<Write<u64>, StoreError> {
        self.database.write(Patience::Call, &SetAttributes { id, expected, attributes, now }).await
    }

    async fn list(&self, filter: &Filter, page: Page, now: Timestamp) -> Result<Listing, StoreError> {
        self.database.read(Patience::Call, &List { filter, page, now }).await
    }

    async fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, StoreError> {
        self.database.read(Patience::Long, &Count { filter, now }).await
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<RevokeOutcome, StoreError> {
        let effect = match revocation.target {
            Target::Session { .. } => {
                let deadline = Instant::now() + self.database.limit(Patience::Call);
                group_commit::commit(&self.revocations, revocation, deadline).await?
            }
            _ => self.database.write(Patience::Call, revocation).await?,
        };
        let position = match effect {
            Effect::Known(outcome) => return Ok(outcome),
            Effect::Marked(position) => position,
        };
        let (Target::User(user) | Target::Others { user, .. }) = &revocation.target else {
            return Ok(RevokeOutcome { ended: None, position });
        };
        let counted = self.database.read(Patience::Call, &CountEnded { user, position, now: revocation.now }).await;
        // The revocation is durable and in effect: a count that fails must not read as a revocation that failed.
        let ended = counted.inspect_err(|error| tracing::warn!(%error, "ended sessions could not be counted")).ok();
        Ok(RevokeOutcome { ended, position })
    }

    async fn settle(&self, batch: u32, _now: Timestamp) -> Result<Settled, StoreError> {
        if !self.database.read(Patience::Call, &AnyMark).await? {
            return Ok(Settled { rows: 0, more: false });
        }
        self.database.write(Patience::Long, &Settle { batch }).await
    }

    async fn touch(&self, seen: &[LastSeen], now: Timestamp) -> Result<u64, StoreError> {
        let touch = Touch::new(seen, now);
        if touch.is_empty() {
            return Ok(0);
        }
        self.database.write(Patience::Call, &touch).await
    }

    /// Each kind of row in a commit of its own.
    async fn sweep(&self, sweep: &Sweep) -> Result<Swept, StoreError> {
        let mut left = u64::from(sweep.batch.max(1));
        // One that was revoked and has expired since is history to keep, not an expired session.
        let settled = self.settle(sweep.batch, sweep.expired_before).await?;
        let mut swept = Swept { expired: 0, ended: 0, more: settled.more };
        if !settled.more {
            let before = sweep.expired_before.as_millis();
            (swept.expired, swept.more) = expired(&self.database, &self.reached, before, left).await?;
            left -= swept.expired.min(left);
        }
        if left > 0 {
            let before = sweep.ended_before.as_millis();
            swept.ended = self.database.write(Patience::Long, &SweepEnded { before, batch: left }).await?;
            left -= swept.ended.min(left);
        }
        if left > 0 {
            let before = sweep.log_before.as_millis();
            left -= self.database.write(Patience::Long, &SweepLog { before, batch: left }).await?.min(left);
        }
        swept.more |= left == 0;
        Ok(swept)
    }

    async fn sweepable(&self, sweep: &Sweep) -> Result<u64, StoreError> {
        self.database.read(Patience::Long, &Sweepable(*sweep)).await
    }

    async fn changes_since(&self, position: u64, limit: u32) -> Result<Changes, StoreError> {
        self.database.read(Patience::Call, &ChangesSince { position, limit }).await
    }

    async fn register_node(&self, node: &Node) -> Result<(), StoreError> {
        self.database.write(Patience::Call, &Register(node)).await
    }

    async fn heartbeat(&self, node: &Node) -> Result<bool, StoreError> {
        self.database.write(Patience::Call, &Heartbeat(node)).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        self.database.read(Patience::Call, &Nodes).await
    }

    async fn forget_node(&self, id: NodeId, beats: u64) -> Result<bool, StoreError> {
        self.database.write(Patience::Call, &Forget { id, beats }).await
    }

    // No hints: the server has no way to tell its clients of a commit, so the log is read at its interval alone.

    async fn migrate(&self) -> Result<(u32, u32), StoreError> {
        migrate(&self.database.pool).await
    }

    async fn health(&self, now: Timestamp) -> Result<Health, StoreError> {
        let pool = &self.database.pool;
        self.database.read(Patience::Long, &Ask { now, place: pool.address.place(), usage: pool.usage() }).await
    }
}
