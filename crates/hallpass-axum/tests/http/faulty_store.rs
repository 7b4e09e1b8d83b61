//! A store that fails or stalls on command.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use async_trait::async_trait;
use hallpass_conformance::MemoryStore;
use hallpass_core::store::{
    Changes, ClientNote, Created, Filter, Health, LastSeen, Limit, Listing, Page, Record, Renewal, Renewed, Revocation,
    RevokeOutcome, Rotation, Settled, SharedTokens, Sweep, Swept, Write,
};
use hallpass_core::{Attributes, Label, Node, NodeId, Session, SessionId, Store, StoreError, Timestamp, Token, UserId};
use tokio::sync::Notify;

/// What the broken database says; must never reach a client (A46).
pub(crate) const DETAIL: &str = "connection to db.internal:5432 refused for user hallpass_rw";

#[derive(Debug)]
pub(crate) struct FaultyStore {
    pub(crate) inner: Arc<dyn Store>,
    mode: AtomicU8,
    pub(crate) reads: AtomicUsize,
    /// Signalled when a stalled call has arrived.
    pub(crate) arrived: Notify,
    /// Lets one stalled call go on.
    pub(crate) release: Notify,
}

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    Works = 0,
    Fails = 1,
    Stalls = 2,
    StallsSweep = 3,
    FailsWrites = 4,
    StallsRevoke = 5,
    StallsList = 6,
    /// Reads need waiting, as in a store behind a network.
    AnswersLater = 7,
}

impl FaultyStore {
    pub(crate) fn new() -> Arc<Self> {
        Self::over(Arc::new(MemoryStore::new()))
    }

    pub(crate) fn over(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            mode: AtomicU8::new(0),
            reads: AtomicUsize::new(0),
            arrived: Notify::new(),
            release: Notify::new(),
        })
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Every session there is, ended ones too.
    pub(crate) async fn everything(&self, now: Timestamp) -> Vec<Session> {
        let filter = Filter { include_ended: true, ..Filter::default() };
        self.inner.list(&filter, Page::first(500), now).await.unwrap().sessions
    }

    fn is(&self, mode: Mode) -> bool {
        self.mode.load(Ordering::SeqCst) == mode as u8
    }

    async fn gate(&self, write: bool) -> Result<(), StoreError> {
        if self.is(Mode::Fails) || (write && self.is(Mode::FailsWrites)) {
            return Err(StoreError::unavailable(DETAIL));
        }
        if self.is(Mode::Stalls) {
            self.stall().await;
        }
        if self.is(Mode::AnswersLater) {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn stall(&self) {
        self.arrived.notify_one();
        self.release.notified().await;
    }

    fn shared(&self) -> Result<&dyn SharedTokens, StoreError> {
        self.inner.shared_tokens().ok_or_else(|| StoreError::unavailable("the store inside shares nothing"))
    }
}

#[async_trait]
impl SharedTokens for FaultyStore {
    async fn create_with(
        &self,
        new: &Record,
        token: &Token,
        now: Timestamp,
        limit: Option<Limit>,
    ) -> Result<Created, StoreError> {
        self.gate(true).await?;
        self.shared()?.create_with(new, token, now, limit).await
    }
    async fn find_by_token(&self, token: &Token, now: Timestamp) -> Result<Option<Record>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.gate(false).await?;
        self.shared()?.find_by_token(token, now).await
    }
    async fn rotate_with(&self, rotation: &Rotation, token: &Token) -> Result<Write<()>, StoreError> {
        self.gate(true).await?;
        self.shared()?.rotate_with(rotation, token).await
    }
    fn lacks_client(&self, session: &Session) -> bool {
        self.shared().is_ok_and(|shared| shared.lacks_client(session))
    }
    async fn note_clients(&self, notes: &[ClientNote], now: Timestamp) -> Result<u64, StoreError> {
        self.gate(true).await?;
        self.shared()?.note_clients(notes, now).await
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn create(&self, new: &Record, now: Timestamp, limit: Option<Limit>) -> Result<Created, StoreError> {
        self.gate(true).await?;
        self.inner.create(new, now, limit).await
    }
    async fn find(&self, id: SessionId) -> Result<Option<Record>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.gate(false).await?;
        self.inner.find(id).await
    }
    fn shared_tokens(&self) -> Option<&dyn SharedTokens> {
        self.inner.shared_tokens().map(|_| self as &dyn SharedTokens)
    }
    fn find_now(&self, id: SessionId) -> Option<Result<Option<Record>, StoreError>> {
        if self.is(Mode::Stalls) || self.is(Mode::AnswersLater) {
            return None;
        }
        let found = self.inner.find_now(id)?;
        self.reads.fetch_add(1, Ordering::SeqCst);
        Some(if self.is(Mode::Fails) { Err(StoreError::unavailable(DETAIL)) } else { found })
    }
    async fn renew(&self, renewal: &Renewal) -> Result<Renewed, StoreError> {
        self.gate(true).await?;
        self.inner.renew(renewal).await
    }
    async fn rotate(&self, rotation: &Rotation) -> Result<Write<()>, StoreError> {
        self.gate(true).await?;
        self.inner.rotate(rotation).await
    }
    async fn set_label(
        &self,
        id: SessionId,
        owner: &UserId,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<Write<()>, StoreError> {
        self.gate(true).await?;
        self.inner.set_label(id, owner, label, now).await
    }
    async fn set_attributes(
        &self,
        id: SessionId,
        expected: u64,
        attributes: &Attributes,
        now: Timestamp,
    ) -> Result<Write<u64>, StoreError> {
        self.gate(true).await?;
        self.inner.set_attributes(id, expected, attributes, now).await
    }
    async fn list(&self, filter: &Filter, page: Page, now: Timestamp) -> Result<Listing, StoreError> {
        self.gate(false).await?;
        if self.is(Mode::StallsList) {
            self.stall().await;
        }
        self.inner.list(filter, page, now).await
    }
    async fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, StoreError> {
        self.gate(false).await?;
        self.inner.count(filter, now).await
    }
    async fn revoke(&self, revocation: &Revocation) -> Result<RevokeOutcome, StoreError> {
        self.gate(true).await?;
        if self.is(Mode::StallsRevoke) {
            self.stall().await;
        }
        self.inner.revoke(revocation).await
    }
    async fn settle(&self, batch: u32, now: Timestamp) -> Result<Settled, StoreError> {
        self.gate(true).await?;
        self.inner.settle(batch, now).await
    }
    async fn touch(&self, seen: &[LastSeen], now: Timestamp) -> Result<u64, StoreError> {
        self.gate(true).await?;
        self.inner.touch(seen, now).await
    }
    async fn sweep(&self, sweep: &Sweep) -> Result<Swept, StoreError> {
        self.gate(true).await?;
        if self.is(Mode::StallsSweep) {
            self.stall().await;
        }
        self.inner.sweep(sweep).await
    }
    async fn sweepable(&self, sweep: &Sweep) -> Result<u64, StoreError> {
        self.gate(false).await?;
        self.inner.sweepable(sweep).await
    }
    async fn changes_since(&self, position: u64, limit: u32) -> Result<Changes, StoreError> {
        self.gate(false).await?;
        self.inner.changes_since(position, limit).await
    }
    async fn register_node(&self, node: &Node) -> Result<(), StoreError> {
        self.gate(true).await?;
        self.inner.register_node(node).await
    }
    async fn heartbeat(&self, node: &Node) -> Result<bool, StoreError> {
        self.gate(true).await?;
        self.inner.heartbeat(node).await
    }
    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        self.gate(false).await?;
        self.inner.nodes().await
    }
    async fn forget_node(&self, id: NodeId, beats: u64) -> Result<bool, StoreError> {
        self.gate(true).await?;
        self.inner.forget_node(id, beats).await
    }
    async fn migrate(&self) -> Result<(u32, u32), StoreError> {
        self.inner.migrate().await
    }
    async fn health(&self, now: Timestamp) -> Result<Health, StoreError> {
        self.inner.health(now).await
    }
}
