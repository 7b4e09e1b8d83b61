//! The store itself: which verb runs where.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use hallpass_core::store::{
    Changes, Created, Filter, Health, LastSeen, Limit, Listing, Page, Record, Renewal, Renewed, Revocation,
    RevokeOutcome, Rotation, Settled, Store, Sweep, Swept, Target, Write,
};
use hallpass_core::{Attributes, HintSource, Hints, Label, Node, NodeId, SessionId, StoreError, Timestamp, UserId};
use rusqlite::Connection;

use crate::anchor::Anchor;
use crate::database::Database;
use crate::place::{ELSEWHERE, Place};
use crate::readers::Readers;
use crate::revoke::Effect;
use crate::write_stats::Counters;
use crate::writer::{Durability, Writer};
use crate::{
    Location, SqliteOptions, WriteStats, change, create, health, hints, list, nodes, revocation_log, revoke, settle,
    sweep,
};

/// Sessions in one SQLite file.
///
/// A check reads on the calling thread (microseconds); lists, counts and health read on a blocking thread; writes are committed together by
/// one thread. Needs a tokio runtime with its timer. Dropping the store ends that thread once what waits is written;
/// [`SqliteStore::close`] waits for it.
#[derive(Debug)]
pub struct SqliteStore {
    database: Arc<Database>,
    place: Place,
    readers: Arc<Readers>,
    writer: Writer,
    counters: Arc<Counters>,
    migrated: (u32, u32),
    hints: HintSource,
}

/// The anchor reads one row.
const ANCHOR_CACHE_KIB: u32 = 64;

impl SqliteStore {
    /// Opens the file, makes it (readable by its owner alone) if it is missing, and brings its schema up to date. The directory must exist and
    /// be on a local disk. Works on a blocking thread.
    ///
    /// # Errors
    /// [`StoreError::NotWritable`] when the file or its directory is read-only, missing or full; [`StoreError::Corrupt`] when it is no
    /// database, or damaged, or its schema is not ours; [`StoreError::TooNew`] when a newer program migrated it;
    /// [`StoreError::Unavailable`] when another process keeps it locked or its file system cannot lock.
    pub async fn open(path: impl Into<PathBuf>, options: SqliteOptions) -> Result<Self, StoreError> {
        Self::open_at(Location::File(path.into()), options).await
    }

    /// A database in memory, gone with the store: for tests and trials. Checks wait for writes there, since memory has no write-ahead log.
    ///
    /// # Errors
    /// When memory or a thread cannot be had.
    pub async fn in_memory() -> Result<Self, StoreError> {
        Self::open_at(Location::Memory, SqliteOptions::default()).await
    }

    /// Opens what a URL such as `sqlite:hallpass.db` names; see [`Location`].
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub async fn open_at(location: Location, options: SqliteOptions) -> Result<Self, StoreError> {
        let database = Database::new(location, options.clone());
        let failures = database.failures.clone();
        on_blocking_thread(move || Self::open_blocking(database, &options))
            .await
            .map_err(|()| failures.unavailable(STOPPING))?
    }

    fn open_blocking(database: Database, options: &SqliteOptions) -> Result<Self, StoreError> {
        let (connection, migrated) = database.open_first()?;
        let readers = Readers::open(&database, options.readers(), options.reader_cache_kib())?;
        let counters = Arc::new(Counters::default());
        let failures = database.failures.clone();
        let anchor = match &database.file {
            Some(_) => Some(Anchor::new(database.open_reader(ANCHOR_CACHE_KIB)?, readers.reads())),
            None => None,
        };
        let place = Place::of(database.path());
        let (queue, patience) = (options.queue(), options.busy_timeout());
        let writer =
            Writer::start(connection, anchor, place.clone(), failures, Arc::clone(&counters), queue, patience)?;
        Ok(Self {
            database: Arc::new(database),
            place,
            readers: Arc::new(readers),
            writer,
            counters,
            migrated,
            hints: HintSource::default(),
        })
    }

    /// The file; `None` in memory.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.database.path()
    }

    /// The schema versions before and after opening migrated it; 0 before for a new file.
    #[must_use]
    pub const fn migrated_at_open(&self) -> (u32, u32) {
        self.migrated
    }

    /// What the writer did since the store was opened.
    #[must_use]
    pub fn write_stats(&self) -> WriteStats {
        self.counters.snapshot()
    }

    /// SQLite's own check of the file's structure: what is wrong with it, empty when nothing is. Reads the whole file, on a blocking thread, for
    /// seconds when it is large.
    ///
    /// # Errors
    /// When the file cannot be read at all.
    pub async fn check_integrity(&self) -> Result<Vec<String>, StoreError> {
        self.read_long(health::findings).await
    }

    /// Ends the writer and closes every connection: the file alone then holds what was acknowledged, unless other processes have it open.
    pub async fn close(self) {
        let Self { writer, readers, .. } = self;
        // The writer's connection is then the last one of this store: closing it copies the log into the file.
        drop(readers);
        // Fails only when the runtime ends; then the thread ends by itself.
        let _ = on_blocking_thread(move || writer.finish()).await;
    }

    fn find_on_this_thread(&self, id: SessionId) -> Result<Option<Record>, StoreError> {
        if !self.place.was_in_place() {
            return Err(self.database.failures.unavailable(ELSEWHERE));
        }
        self.readers.find(id).map_err(|error| self.explain(&error))
    }

    async fn read_long<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        if !self.place.look() {
            return Err(self.database.failures.unavailable(ELSEWHERE));
        }
        let readers = Arc::clone(&self.readers);
        let read = on_blocking_thread(move || readers.long(read)).await;
        read.map_err(|()| self.database.failures.unavailable(STOPPING))?.map_err(|error| self.explain(&error))
    }

    async fn write<T, F>(&self, durability: Durability, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.writer.write(durability, work).await
    }

    fn explain(&self, error: &rusqlite::Error) -> StoreError {
        self.database.failures.explain(error)
    }
}

const STOPPING: &str = "a blocking thread stopped; the runtime is shutting down";

async fn on_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ()> {
    tokio::task::spawn_blocking(work).await.map_err(drop)
}

#[async_trait]
impl Store for SqliteStore {
    async fn create(&self, new: &Record, now: Timestamp, limit: Option<Limit>) -> Result<Created, StoreError> {
        let new = new.clone();
        self.write(Durability::Durable, move |connection| create::create(connection, &new, now, limit)).await
    }

    async fn find(&self, id: SessionId) -> Result<Option<Record>, StoreError> {
        self.find_on_this_thread(id)
    }

    fn find_now(&self, id: SessionId) -> Option<Result<Option<Record>, StoreError>> {
        Some(self.find_on_this_thread(id))
    }

    async fn renew(&self, renewal: &Renewal) -> Result<Renewed, StoreError> {
        let renewal = *renewal;
        self.write(Durability::Relaxed, move |connection| change::renew(connection, &renewal)).await
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<Write<()>, StoreError> {
        let rotation = rotation.clone();
        self.write(Durability::Durable, move |connection| change::rotate(connection, &rotation)).await
    }

    async fn set_label(
        &self,
        id: SessionId,
        owner: &UserId,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<Write<()>, StoreError> {
        let (owner, label) = (owner.clone(), label.cloned());
        let work = move |connection: &Connection| change::set_label(connection, id, &owner, label.as_ref(), now);
        self.write(Durability::Relaxed, work).await
    }

    async fn set_attributes(
        &self,
        id: SessionId,
        expected: u64,
        attributes: &Attributes,
        now: Timestamp,
    ) -> Result<Write<u64>, StoreError> {
        let attributes = attributes.clone();
        let work = move |connection: &Connection| change::set_attributes(connection, id, expected, &attributes, now);
        self.write(Durability::Relaxed, work).await
    }

    async fn list(&self, filter: &Filter, page: Page, now: Timestamp) -> Result<Listing, StoreError> {
        let filter = filter.clone();
        self.read_long(move |connection| list::list(connection, &filter, page, now)).await
    }

    async fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, StoreError> {
        let filter = filter.clone();
        self.read_long(move |connection| list::count(connection, &filter, now)).await
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<RevokeOutcome, StoreError> {
        let work = revocation.clone();
        let effect = self.write(Durability::Durable, move |connection| revoke::revoke(connection, &work)).await?;
        let position = match effect {
            Effect::Known(outcome) => return Ok(outcome),
            Effect::Marked(position) => position,
        };
        let (Target::User(user) | Target::Others { user, .. }) = &revocation.target else {
            return Ok(RevokeOutcome { ended: None, position });
        };
        let (user, now) = (user.clone(), revocation.now);
        let counted = self.read_long(move |connection| revoke::count_ended(connection, &user, position, now)).await;
        // The revocation is durable and in effect: a count that fails must not read as a revocation that failed.
        let ended = counted.inspect_err(|error| tracing::warn!(%error, "ended sessions could not be counted")).ok();
        Ok(RevokeOutcome { ended, position })
    }

    async fn settle(&self, batch: u32, _now: Timestamp) -> Result<Settled, StoreError> {
        self.write(Durability::Relaxed, move |connection| settle::settle(connection, batch)).await
    }

    async fn touch(&self, seen: &[LastSeen], now: Timestamp) -> Result<u64, StoreError> {
        let seen = seen.to_vec();
        self.write(Durability::Relaxed, move |connection| change::touch(connection, &seen, now)).await
    }

    async fn sweep(&self, sweep: &Sweep) -> Result<Swept, StoreError> {
        let step = *sweep;
        self.write(Durability::Relaxed, move |connection| sweep::sweep(connection, &step)).await
    }

    async fn sweepable(&self, sweep: &Sweep) -> Result<u64, StoreError> {
        let step = *sweep;
        self.read_long(move |connection| sweep::sweepable(connection, &step)).await
    }

    async fn changes_since(&self, position: u64, limit: u32) -> Result<Changes, StoreError> {
        self.read_long(move |connection| revocation_log::changes_since(connection, position, limit)).await
    }

    async fn register_node(&self, node: &Node) -> Result<(), StoreError> {
        let node = *node;
        self.write(Durability::Durable, move |connection| nodes::register(connection, &node)).await
    }

    async fn heartbeat(&self, node: &Node) -> Result<bool, StoreError> {
        let node = *node;
        self.write(Durability::Relaxed, move |connection| nodes::heartbeat(connection, &node)).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        self.read_long(nodes::nodes).await
    }

    async fn forget_node(&self, id: NodeId, beats: u64) -> Result<bool, StoreError> {
        self.write(Durability::Relaxed, move |connection| nodes::forget(connection, id, beats)).await
    }

    /// Only of a file: a database in memory has no other program. The commits of this one are heard too.
    fn hints(&self) -> Option<Hints> {
        self.path().map(|_| hints::listen(&self.hints, &self.database))
    }

    async fn migrate(&self) -> Result<(u32, u32), StoreError> {
        let database = Arc::clone(&self.database);
        let migrated = on_blocking_thread(move || database.migrate()).await;
        migrated.map_err(|()| self.database.failures.unavailable(STOPPING))?
    }

    async fn health(&self, now: Timestamp) -> Result<Health, StoreError> {
        let (path, writes) = (self.path().map(Path::to_owned), self.write_stats());
        self.read_long(move |connection| health::health(connection, path.as_deref(), writes, now)).await
    }
}
