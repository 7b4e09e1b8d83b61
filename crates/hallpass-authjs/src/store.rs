//! The store itself: which verb is which work.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hallpass_core::store::{
    Changes, ClientNote, Created, Filter, Health, LastSeen, Limit, Listing, Page, Record, Renewal, Renewed, Revocation,
    RevokeOutcome, Rotation, Settled, SharedTokens, Store, Sweep, Swept, Write,
};
use hallpass_core::{
    AbsoluteTimeout, Attributes, Client, Label, Node, NodeId, Policy, Session, SessionId, StoreError, Timestamp, Token,
    UserId,
};

use crate::adopt::{Adopt, AdoptToken, AnyUnknown, IsThere, SOURCE};
use crate::catalogue::Catalogue;
use crate::change::{NoteClients, Renew, Rotate, SetAttributes, SetLabel, Touch};
use crate::connection::{Connector, corrupt, mysql, postgres, sqlite};
use crate::create::Create;
use crate::dialect::Dialect;
use crate::find::{By, Find};
use crate::health::Ask;
use crate::layout::Layout;
use crate::list::{Count, List};
use crate::nodes::{Change, Nodes, Registry};
use crate::pool::{LONG_PATIENCE, PATIENCE, Pool};
use crate::revocation_log::ChangesSince;
use crate::revoke::Revoke;
use crate::side::{ATTACHED, Place, Side};
use crate::side_tables::Migrate;
use crate::sweep::{Reached, Step, Sweepable};
use crate::table::Table;

/// How an Auth.js database is used.
#[derive(Debug, Clone)]
pub struct AuthjsOptions {
    /// The idle timeout of both sides: the application's `session.maxAge`. Either side overwrites what the other wrote.
    pub max_age: Duration,
    /// The absolute timeout of sessions that the application makes.
    pub absolute_timeout: AbsoluteTimeout,
    /// The table holds SHA-256 of each token in hexadecimal, as the adapter `hallpass-authjs-adapter` writes it with `hash: true`, and not the token. A table of tokens is
    /// made one of digests by the statements of that package, while neither side runs; sessions go on. There is no way back.
    pub hashes_tokens: bool,
    /// Where hallpass's own tables lie: a schema of the database in PostgreSQL (by default `hallpass` beside `public`, and `app_hallpass` beside `app`), a database of the
    /// server in MariaDB and MySQL (by default that of the application with `_hallpass` after its name), a file in SQLite (by default `app.hallpass.db` beside `app.db`, and
    /// `app.sqlite-hallpass.db` beside `app.sqlite`). A place is one application's: it keeps whose, and is refused to another.
    pub side: Option<String>,
    /// How many connections there are at most.
    pub connections: usize,
}

impl AuthjsOptions {
    /// As a policy says it. It has to be the same as the application's.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        Self {
            max_age: policy.max_age,
            absolute_timeout: policy.absolute_timeout,
            hashes_tokens: false,
            side: None,
            connections: 8,
        }
    }
}

/// Sessions in an Auth.js database. See the [crate documentation](crate) for an example.
///
/// Cheap to share in an `Arc`. Needs a tokio runtime with its timer. Dropping it closes its connections.
#[derive(Debug)]
pub struct AuthjsStore {
    table: Table,
    pool: Pool,
    /// The place of our tables.
    side: Place,
    reached: Reached,
}

impl AuthjsStore {
    /// Opens an SQLite file that the application has made, and one of our own beside it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when there is no such file; [`StoreError::Corrupt`] when it has no tables of Auth.js, with what was found, or when the place
    /// of our own tables is the application's, another application's or another program's, which is left as it is; [`StoreError::NotWritable`], [`StoreError::TooNew`] as for every store.
    pub async fn open_sqlite(path: &Path, options: AuthjsOptions) -> Result<Self, StoreError> {
        let beside = Side::file(path, options.side.as_deref());
        let file = Arc::new(sqlite::File::new(path, beside));
        let reader = Arc::clone(&file);
        let read = tokio::task::spawn_blocking(move || {
            let connection = reader.open_application().map_err(|fault| fault.explained(reader.place()))?;
            let catalogue = Catalogue::of_sqlite(&connection).map_err(|error| {
                StoreError::unavailable(format!("{}: its tables cannot be read: {error}", reader.place()))
            })?;
            let layout = recognise(&catalogue, reader.place())?;
            let side = reader.side().map_err(|fault| fault.explained(reader.place()))?;
            Ok::<_, StoreError>((layout, side))
        });
        let (layout, side) = read.await.map_err(|error| StoreError::unavailable(error.to_string()))??;
        let dialect = Dialect::new(layout, Some("main"), ATTACHED);
        Self::begin(dialect, file, options, side).await
    }

    /// Connects to the database of PostgreSQL that a URL names: one of libpq, with `schema=` for another schema of the application's tables than `public`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the URL is wrong, or the server cannot be reached in time or refuses; [`StoreError::Corrupt`] when it has no tables of
    /// Auth.js, with what was found, or when the place of our own tables is the application's or another application's; [`StoreError::NotWritable`], [`StoreError::TooNew`] as for every store. No message holds the password.
    pub async fn connect_postgres(url: &str, options: AuthjsOptions) -> Result<Self, StoreError> {
        let address = hallpass_postgres::Address::parse(url).map_err(|error| unusable(&error))?;
        let server = Arc::new(postgres::Server::new(&address)?);
        let schema = address.schema().unwrap_or("public");
        let reading = async {
            let link = server.link().await?;
            Catalogue::of_postgres(&link.client, schema).await.map_err(|error| link.explain(&error))
        };
        let catalogue = in_time(server.place(), reading).await?;
        let layout = recognise(&catalogue, server.place())?;
        let name = Side::schema(schema, options.side.as_deref());
        let dialect = Dialect::new(layout, Some(schema), &name);
        Self::begin(dialect, server, options, Place::schema(name, schema)?).await
    }

    /// Connects to the database of MariaDB or MySQL that a URL names, with the parameters of
    /// [`hallpass_mysql`](hallpass_mysql::MysqlStore::connect).
    ///
    /// # Errors
    /// As [`AuthjsStore::connect_postgres`].
    pub async fn connect_mysql(url: &str, options: AuthjsOptions) -> Result<Self, StoreError> {
        let address = hallpass_mysql::Address::parse(url).map_err(|error| unusable(&error))?;
        let database = address.database().to_owned();
        let server = Arc::new(mysql::Server::new(address));
        let reading = async {
            let mut link = server.link().await?;
            let catalogue = Catalogue::of_mysql(&mut link.conn).await.map_err(|error| link.explain(&error))?;
            Ok((catalogue, link.database().await?))
        };
        let (catalogue, known_as) = in_time(server.place(), reading).await?;
        let layout = recognise(&catalogue, server.place())?;
        let name = Side::database(&database, options.side.as_deref());
        let dialect = Dialect::new(layout, Some(&database), &name);
        Self::begin(dialect, server, options, Place::database(name, &known_as)?).await
    }

    async fn begin(
        dialect: Dialect,
        connector: Arc<dyn Connector>,
        options: AuthjsOptions,
        side: Place,
    ) -> Result<Self, StoreError> {
        let table = Table {
            dialect,
            max_age: options.max_age,
            absolute_timeout: match options.absolute_timeout {
                AbsoluteTimeout::After(timeout) => Some(timeout),
                AbsoluteTimeout::Never => None,
            },
            hashes_tokens: options.hashes_tokens,
        };
        let pool = Pool::new(connector, options.connections);
        let store = Self { table, pool, side, reached: Reached::default() };
        store.migrate().await?;
        Ok(store)
    }

    /// The application's tables.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.table.dialect.layout
    }

    /// Gives the sessions that the application made an id, of a user or of everybody. One read; a commit for each five hundred.
    async fn adopt(&self, user: Option<&UserId>, now: Timestamp) -> Result<(), StoreError> {
        let table = &self.table;
        if !self.pool.read(PATIENCE, &AnyUnknown { table, user }).await? {
            return Ok(());
        }
        while Adopt::is_whole_batch(self.pool.write(PATIENCE, &Adopt { table, user, now }).await?) {}
        Ok(())
    }
}

fn unusable(error: &dyn std::fmt::Display) -> StoreError {
    StoreError::unavailable(format!("the database URL cannot be used: {error}"))
}

fn recognise(catalogue: &Catalogue, place: &str) -> Result<Layout, StoreError> {
    Layout::recognise(catalogue).map_err(|error| {
        corrupt(format!("{place} is no database of Auth.js: {error}; `hallpass doctor --authjs` says more"))
    })
}

async fn in_time<T>(
    place: &str,
    reading: impl Future<Output = Result<T, crate::connection::Fault>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(PATIENCE, reading).await {
        Ok(read) => read.map_err(|fault| fault.explained(place)),
        Err(_) => Err(StoreError::unavailable(format!(
            "{place}: no answer within {PATIENCE:?}; check that it can be reached"
        ))),
    }
}

#[async_trait]
impl SharedTokens for AuthjsStore {
    async fn create_with(
        &self,
        new: &Record,
        token: &Token,
        now: Timestamp,
        limit: Option<Limit>,
    ) -> Result<Created, StoreError> {
        let (table, key) = (&self.table, self.table.key(token));
        self.pool.write(PATIENCE, &Create { table, new, key: &key, now, limit }).await
    }

    async fn find_by_token(&self, token: &Token, now: Timestamp) -> Result<Option<Record>, StoreError> {
        let (table, find) = (&self.table, Find { table: &self.table, by: By::Hash(token.digest()) });
        if let Some(found) = self.pool.read(PATIENCE, &find).await? {
            return Ok(Some(found));
        }
        // Guesses must not cost a write each.
        if !self.pool.read(PATIENCE, &IsThere { table, token }).await? {
            return Ok(None);
        }
        if !self.pool.write(PATIENCE, &AdoptToken { table, token, now }).await? {
            return Ok(None);
        }
        self.pool.read(PATIENCE, &find).await
    }

    async fn rotate_with(&self, rotation: &Rotation, token: &Token) -> Result<Write<()>, StoreError> {
        let key = self.table.key(token);
        self.pool.write(PATIENCE, &Rotate { table: &self.table, rotation, key: &key }).await
    }

    fn lacks_client(&self, session: &Session) -> bool {
        session.client == Client::default() && session.authentication.source == SOURCE
    }

    async fn note_clients(&self, notes: &[ClientNote], now: Timestamp) -> Result<u64, StoreError> {
        if notes.is_empty() {
            return Ok(0);
        }
        self.pool.write(PATIENCE, &NoteClients { table: &self.table, notes, now }).await
    }
}

#[async_trait]
impl Store for AuthjsStore {
    fn shared_tokens(&self) -> Option<&dyn SharedTokens> {
        Some(self)
    }

    async fn create(&self, new: &Record, now: Timestamp, limit: Option<Limit>) -> Result<Created, StoreError> {
        let (table, key) = (&self.table, self.table.key_of(&new.token_hash)?);
        self.pool.write(PATIENCE, &Create { table, new, key: &key, now, limit }).await
    }

    async fn find(&self, id: SessionId) -> Result<Option<Record>, StoreError> {
        self.pool.read(PATIENCE, &Find { table: &self.table, by: By::Id(id) }).await
    }

    async fn renew(&self, renewal: &Renewal) -> Result<Renewed, StoreError> {
        self.pool.write(PATIENCE, &Renew { table: &self.table, renewal }).await
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<Write<()>, StoreError> {
        let key = self.table.key_of(&rotation.new_hash)?;
        self.pool.write(PATIENCE, &Rotate { table: &self.table, rotation, key: &key }).await
    }

    async fn set_label(
        &self,
        id: SessionId,
        owner: &UserId,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<Write<()>, StoreError> {
        self.pool.write(PATIENCE, &SetLabel { table: &self.table, session: id, owner, label, now }).await
    }

    async fn set_attributes(
        &self,
        id: SessionId,
        expected: u64,
        attributes: &Attributes,
        now: Timestamp,
    ) -> Result<Write<u64>, StoreError> {
        self.pool.write(PATIENCE, &SetAttributes { table: &self.table, session: id, expected, attributes, now }).await
    }

    async fn list(&self, filter: &Filter, page: Page, now: Timestamp) -> Result<Listing, StoreError> {
        self.adopt(filter.user.as_ref(), now).await?;
        self.pool.read(PATIENCE, &List { table: &self.table, filter, page, now }).await
    }

    async fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, StoreError> {
        self.adopt(filter.user.as_ref(), now).await?;
        self.pool.read(LONG_PATIENCE, &Count { table: &self.table, filter, now }).await
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<RevokeOutcome, StoreError> {
        self.pool.write(LONG_PATIENCE, &Revoke { table: &self.table, revocation }).await
    }

    /// There are no marks: what has ended is deleted at once.
    async fn settle(&self, _batch: u32, _now: Timestamp) -> Result<Settled, StoreError> {
        Ok(Settled { rows: 0, more: false })
    }

    async fn touch(&self, seen: &[LastSeen], now: Timestamp) -> Result<u64, StoreError> {
        if seen.is_empty() {
            return Ok(0);
        }
        self.pool.write(PATIENCE, &Touch { table: &self.table, seen, now }).await
    }

    async fn sweep(&self, sweep: &Sweep) -> Result<Swept, StoreError> {
        self.pool.write(LONG_PATIENCE, &Step { table: &self.table, sweep, reached: &self.reached }).await
    }

    async fn sweepable(&self, sweep: &Sweep) -> Result<u64, StoreError> {
        self.pool.read(LONG_PATIENCE, &Sweepable { table: &self.table, sweep }).await
    }

    async fn changes_since(&self, position: u64, limit: u32) -> Result<Changes, StoreError> {
        self.pool.read(PATIENCE, &ChangesSince { table: &self.table, position, limit }).await
    }

    async fn register_node(&self, node: &Node) -> Result<(), StoreError> {
        self.pool.write(PATIENCE, &Change { table: &self.table, change: Registry::Register(node) }).await.map(drop)
    }

    async fn heartbeat(&self, node: &Node) -> Result<bool, StoreError> {
        self.pool.write(PATIENCE, &Change { table: &self.table, change: Registry::Heartbeat(node) }).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        self.pool.read(PATIENCE, &Nodes(&self.table)).await
    }

    async fn forget_node(&self, id: NodeId, beats: u64) -> Result<bool, StoreError> {
        self.pool.write(PATIENCE, &Change { table: &self.table, change: Registry::Forget(id, beats) }).await
    }

    async fn migrate(&self) -> Result<(u32, u32), StoreError> {
        let work = Migrate {
            dialect: &self.table.dialect,
            side: &self.side,
            connected_to: self.pool.place(),
            hashes_tokens: self.table.hashes_tokens,
        };
        self.pool.write(LONG_PATIENCE, &work).await
    }

    async fn health(&self, now: Timestamp) -> Result<Health, StoreError> {
        self.pool.read(LONG_PATIENCE, &Ask { table: &self.table, now, place: self.pool.place() }).await
    }
}
