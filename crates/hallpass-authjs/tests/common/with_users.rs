//! The store as the conformance suite knows one: with users who are there when a session is made for them, and tokens of which only digests are told.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use async_trait::async_trait;
use hallpass_authjs::{AuthjsStore, Engine};
use hallpass_core::store::{
    Changes, Created, Filter, Health, LastSeen, Limit, Listing, Page, Record, Renewal, Renewed, Revocation,
    RevokeOutcome, Rotation, Settled, SharedTokens as _, Store, Sweep, Swept, Write,
};
use hallpass_core::{Attributes, Label, Node, NodeId, SessionId, StoreError, Timestamp, Token, TokenHash, UserId};

use super::Application;

/// A handle of the store.
pub(crate) struct WithUsers {
    pub(crate) store: AuthjsStore,
    pub(crate) application: Arc<Application>,
    pub(crate) users: Arc<tokio::sync::Mutex<BTreeSet<String>>>,
    /// Whether the table holds tokens, as a digest alone makes none.
    pub(crate) plain: bool,
}

impl std::fmt::Debug for WithUsers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.store.fmt(f)
    }
}

/// What the suite calls the digest of a token, by the digest that it really has.
static TOLD: LazyLock<Mutex<HashMap<[u8; 32], [u8; 32]>>> = LazyLock::new(Mutex::default);

/// A token for what the suite calls its digest.
fn token_of(hash: &TokenHash) -> Token {
    let text: String = hash.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let token = Token::parse_foreign(text.as_bytes()).unwrap();
    TOLD.lock().unwrap().insert(*token.digest().as_bytes(), *hash.as_bytes());
    token
}

impl WithUsers {
    fn hash(&self, told: TokenHash) -> TokenHash {
        if self.plain { token_of(&told).digest() } else { told }
    }

    async fn sign_up(&self, user: &UserId) {
        let mut users = self.users.lock().await;
        if users.insert(user.as_str().to_owned()) {
            let (table, id) = (self.application.q(&self.store.layout().users), self.application.q("id"));
            let hex: String = user.as_str().bytes().map(|byte| format!("{byte:02x}")).collect();
            let text = match self.application.engine {
                Engine::Sqlite => format!("CAST(x'{hex}' AS TEXT)"),
                Engine::Postgres => format!("convert_from('\\x{hex}', 'UTF8')"),
                _ => format!("CONVERT(x'{hex}' USING utf8mb4)"),
            };
            let mut sql = format!("INSERT INTO {table} ({id}) VALUES ({text})");
            if self.application.texts(&self.has_updated_at()).await == ["1"] {
                let at = "'2026-01-01 00:00:00'";
                sql = format!("INSERT INTO {table} ({id}, {}) VALUES ({text}, {at})", self.application.q("updatedAt"));
            }
            self.application.run(&sql).await;
        }
    }

    fn has_updated_at(&self) -> String {
        let users = &self.store.layout().users;
        match self.application.engine {
            Engine::Sqlite => format!("SELECT count(*) FROM pragma_table_info('{users}') WHERE name = 'updatedAt'"),
            Engine::Postgres => format!(
                "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' AND table_name = '{users}' AND column_name = 'updatedAt'"
            ),
            _ => format!(
                "SELECT count(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = '{users}' AND column_name = 'updatedAt'"
            ),
        }
    }
}

#[async_trait]
impl Store for WithUsers {
    async fn create(&self, new: &Record, now: Timestamp, limit: Option<Limit>) -> Result<Created, StoreError> {
        self.sign_up(&new.session.user).await;
        if self.plain {
            let token = token_of(&new.token_hash);
            let record = Record { token_hash: token.digest(), ..new.clone() };
            return self.store.create_with(&record, &token, now, limit).await;
        }
        self.store.create(new, now, limit).await
    }

    async fn find(&self, id: SessionId) -> Result<Option<Record>, StoreError> {
        let found = self.store.find(id).await?;
        Ok(found.map(|record| {
            let told = TOLD.lock().unwrap().get(record.token_hash.as_bytes()).copied();
            let token_hash = told.filter(|_| self.plain).map_or(record.token_hash, TokenHash::from_bytes);
            Record { token_hash, ..record }
        }))
    }

    async fn renew(&self, renewal: &Renewal) -> Result<Renewed, StoreError> {
        self.store.renew(&Renewal { token_hash: self.hash(renewal.token_hash), ..*renewal }).await
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<Write<()>, StoreError> {
        if !self.plain {
            return self.store.rotate(rotation).await;
        }
        let token = token_of(&rotation.new_hash);
        let old_hash = self.hash(rotation.old_hash);
        let rotation = Rotation { old_hash, new_hash: token.digest(), ..rotation.clone() };
        self.store.rotate_with(&rotation, &token).await
    }

    async fn set_label(
        &self,
        id: SessionId,
        owner: &UserId,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<Write<()>, StoreError> {
        self.store.set_label(id, owner, label, now).await
    }

    async fn set_attributes(
        &self,
        id: SessionId,
        expected: u64,
        attributes: &Attributes,
        now: Timestamp,
    ) -> Result<Write<u64>, StoreError> {
        self.store.set_attributes(id, expected, attributes, now).await
    }

    async fn list(&self, filter: &Filter, page: Page, now: Timestamp) -> Result<Listing, StoreError> {
        self.store.list(filter, page, now).await
    }

    async fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, StoreError> {
        self.store.count(filter, now).await
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<RevokeOutcome, StoreError> {
        self.store.revoke(revocation).await
    }

    async fn settle(&self, batch: u32, now: Timestamp) -> Result<Settled, StoreError> {
        self.store.settle(batch, now).await
    }

    async fn touch(&self, seen: &[LastSeen], now: Timestamp) -> Result<u64, StoreError> {
        self.store.touch(seen, now).await
    }

    async fn sweep(&self, sweep: &Sweep) -> Result<Swept, StoreError> {
        self.store.sweep(sweep).await
    }

    async fn sweepable(&self, sweep: &Sweep) -> Result<u64, StoreError> {
        self.store.sweepable(sweep).await
    }

    async fn changes_since(&self, position: u64, limit: u32) -> Result<Changes, StoreError> {
        self.store.changes_since(position, limit).await
    }

    async fn register_node(&self, node: &Node) -> Result<(), StoreError> {
        self.store.register_node(node).await
    }

    async fn heartbeat(&self, node: &Node) -> Result<bool, StoreError> {
        self.store.heartbeat(node).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        self.store.nodes().await
    }

    async fn forget_node(&self, id: NodeId, beats: u64) -> Result<bool, StoreError> {
        self.store.forget_node(id, beats).await
    }

    async fn migrate(&self) -> Result<(u32, u32), StoreError> {
        self.store.migrate().await
    }

    async fn health(&self, now: Timestamp) -> Result<Health, StoreError> {
        self.store.health(now).await
    }
}
