//! The store itself: which verb runs where.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hallpass_core::store::{
    Changes, Created, Filter, Health, LastSeen, Limit, Listing, Page, Record, Renewal, Renewed, Revocation,
    RevokeOutcome, Rotation, Settled, Store, Sweep, Swept, Write,
};
use hallpass_core::{Attributes, Hints, Label, Node, NodeId, SessionId, StoreError, Timestamp, UserId};
use tokio::time::Instant;

use crate::database::Database;
use crate::find::Found;
use crate::health::Info;
use crate::hints::Ear;
use crate::keys::Place;
use crate::{
    Location, LocationError, RedisOptions, change, create, find, health, hints, layout, list, nodes, revocation_log,
    revoke, settle, sweep,
};

/// Sessions in Redis or Valkey: one server, or a Cluster.
///
/// Needs a tokio runtime with its timer. Connections are made when they are needed and again after they ended; dropping the store closes
/// them. Clones of an `Arc` of it share them.
#[derive(Debug)]
pub struct RedisStore {
    database: Arc<Database>,
    ear: Ear,
    location: Location,
    verb_timeout: Duration,
    /// How long a check waits before it asks again.
    read_timeout: Duration,
    migrated: (u32, u32),
}

/// The oldest server: scripts that only read, and flags of scripts, came with it.
const OLDEST: u32 = 7;

impl RedisStore {
    /// Connects to what a URL names (see [`Location`]), checks the server, and makes the layout if the database is empty. Four round trips
    /// on a new database, two afterwards.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the URL is none, when the server does not answer, refuses the password, is older than Redis 7.0, or is a
    /// node of a Cluster and the URL says otherwise; [`StoreError::TooNew`] when a newer program made the layout;
    /// [`StoreError::Corrupt`] when another program uses the prefix.
    pub async fn open(url: &str, options: RedisOptions) -> Result<Self, StoreError> {
        let location = url.parse().map_err(|error: LocationError| StoreError::unavailable(error.to_string()))?;
        Self::open_at(location, options).await
    }

    /// As [`RedisStore::open`], with a URL that was read before.
    ///
    /// # Errors
    /// As [`RedisStore::open`].
    pub async fn open_at(location: Location, options: RedisOptions) -> Result<Self, StoreError> {
        if location.is_encrypted() && rustls::crypto::CryptoProvider::get_default().is_none() {
            // An error says that another thread was first.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let database = Arc::new(Database::new(&location, &options)?);
        let verb_timeout = options.verb_timeout()
            + if options.replicas_to_wait_for > 0 { options.wait_timeout() } else { Duration::ZERO };
        let read_timeout = options.response_timeout().min(options.verb_timeout());
        let mut store = Self { database, ear: Ear::default(), location, verb_timeout, read_timeout, migrated: (0, 0) };
        store.migrated = store.bounded(store.checked()).await?;
        Ok(store)
    }

    /// The layout's versions before and after opening made it; 0 before in an empty database.
    #[must_use]
    pub const fn migrated_at_open(&self) -> (u32, u32) {
        self.migrated
    }

    /// Where it is, without user and password.
    #[must_use]
    pub const fn location(&self) -> &Location {
        &self.location
    }

    async fn checked(&self) -> Result<(u32, u32), StoreError> {
        let failures = &self.database.failures;
        let info = Info::of(&self.database, Place::LOG).await?;
        let major = info.get("redis_version").split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major < OLDEST) {
            return Err(
                failures.unavailable(&format!("{} is too old; hallpass needs Redis 7.0 or Valkey", info.engine()))
            );
        }
        match (info.get("cluster_enabled"), self.location.is_cluster()) {
            ("1", false) => {
                Err(failures.unavailable("the server is a node of a Cluster; name it with redis+cluster://"))
            }
            ("0", true) => Err(failures.unavailable("the server is no node of a Cluster; name it with redis://")),
            _ => {
                let migrated = layout::migrate(&self.database).await?;
                layout::follow(&self.database).await?;
                Ok(migrated)
            }
        }
    }

    /// A verb that a request waits for ends within its time. The others take as many commands as there are rows, each with a time-out.
    async fn bounded<T>(&self, verb: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.until(Instant::now(), verb).await
    }

    /// As [`RedisStore::bounded`], for a verb that has begun before.
    async fn until<T>(
        &self,
        begun: Instant,
        verb: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::time::timeout_at(begun + self.verb_timeout, verb).await.unwrap_or_else(|_| {
            Err(self.database.failures.unavailable(&format!(
                "not done within {} ms; what was asked may have been done or not",
                self.verb_timeout.as_millis()
            )))
        })
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn create(&self, new: &Record, now: Timestamp, limit: Option<Limit>) -> Result<Created, StoreError> {
        self.bounded(create::create(&self.database, new, now, limit)).await
    }

    async fn find(&self, id: SessionId) -> Result<Option<Record>, StoreError> {
        let begun = Instant::now();
        match find::at_once(&self.database, id, self.read_timeout).await? {
            Found::Decided(record) => Ok(record),
            // Boxed, so that every check does not carry the room for it.
            so_far => Box::pin(self.until(begun, find::find(&self.database, id, so_far))).await,
        }
    }

    async fn renew(&self, renewal: &Renewal) -> Result<Renewed, StoreError> {
        self.bounded(change::renew(&self.database, renewal)).await
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<Write<()>, StoreError> {
        self.bounded(change::rotate(&self.database, rotation)).await
    }

    async fn set_label(
        &self,
        id: SessionId,
        owner: &UserId,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<Write<()>, StoreError> {
        self.bounded(change::set_label(&self.database, id, owner, label, now)).await
    }

    async fn set_attributes(
        &self,
        id: SessionId,
        expected: u64,
        attributes: &Attributes,
        now: Timestamp,
    ) -> Result<Write<u64>, StoreError> {
        self.bounded(change::set_attributes(&self.database, id, expected, attributes, now)).await
    }

    async fn list(&self, filter: &Filter, page: Page, now: Timestamp) -> Result<Listing, StoreError> {
        self.bounded(list::list(&self.database, filter, page, now)).await
    }

    async fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, StoreError> {
        list::count(&self.database, filter, now).await
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<RevokeOutcome, StoreError> {
        self.bounded(revoke::revoke(&self.database, revocation)).await
    }

    async fn settle(&self, batch: u32, _now: Timestamp) -> Result<Settled, StoreError> {
        settle::settle(&self.database, batch).await
    }

    async fn touch(&self, seen: &[LastSeen], now: Timestamp) -> Result<u64, StoreError> {
        self.bounded(change::touch(&self.database, seen, now)).await
    }

    async fn sweep(&self, step: &Sweep) -> Result<Swept, StoreError> {
        sweep::sweep(&self.database, step).await
    }

    async fn sweepable(&self, step: &Sweep) -> Result<u64, StoreError> {
        sweep::sweepable(&self.database, step).await
    }

    async fn changes_since(&self, position: u64, limit: u32) -> Result<Changes, StoreError> {
        self.bounded(revocation_log::changes_since(&self.database, position, limit)).await
    }

    async fn register_node(&self, node: &Node) -> Result<(), StoreError> {
        self.bounded(nodes::register(&self.database, node)).await
    }

    async fn heartbeat(&self, node: &Node) -> Result<bool, StoreError> {
        self.bounded(nodes::heartbeat(&self.database, node)).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        self.bounded(nodes::nodes(&self.database)).await
    }

    async fn forget_node(&self, id: NodeId, beats: u64) -> Result<bool, StoreError> {
        self.bounded(nodes::forget(&self.database, id, beats)).await
    }

    async fn hint(&self) -> Result<(), StoreError> {
        self.bounded(hints::send(&self.database)).await
    }

    fn hints(&self) -> Option<Hints> {
        Some(self.ear.listen(&self.database))
    }

    async fn migrate(&self) -> Result<(u32, u32), StoreError> {
        self.bounded(layout::migrate(&self.database)).await
    }

    async fn health(&self, now: Timestamp) -> Result<Health, StoreError> {
        health::health(&self.database, &self.location.to_string(), now).await
    }
}
