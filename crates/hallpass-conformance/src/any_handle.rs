//! Several handles on one database as one store: each call goes to any of them.

use std::sync::Arc;

use async_trait::async_trait;
use hallpass_core::store::{
    Changes, Created, Filter, Health, LastSeen, Limit, Listing, Page, Record, Renewal, Renewed, Revocation,
    RevokeOutcome, Rotation, Settled, Store, Sweep, Swept, Write,
};
use hallpass_core::{Attributes, Hints, Label, Node, NodeId, SessionId, StoreError, Timestamp, UserId};

use crate::builders::SeededEntropy;

/// What one handle wrote is read through another one, so that every answer shows whether they agree. The choice repeats from run to
/// run; taking turns would give the same verb of a history to the same handle again and again.
#[derive(Debug)]
pub(crate) struct AnyHandle {
    handles: Vec<Arc<dyn Store>>,
    choices: SeededEntropy,
}

impl AnyHandle {
    pub(crate) fn new(handles: Vec<Arc<dyn Store>>) -> Self {
        assert!(!handles.is_empty(), "there is a handle to choose");
        Self { handles, choices: SeededEntropy::new(1) }
    }

    fn any(&self) -> &dyn Store {
        let choice = self.choices.next_u64() % self.handles.len() as u64;
        &*self.handles[choice as usize]
    }
}

#[async_trait]
impl Store for AnyHandle {
    async fn create(&self, new: &Record, now: Timestamp, limit: Option<Limit>) -> Result<Created, StoreError> {
        self.any().create(new, now, limit).await
    }

    async fn find(&self, id: SessionId) -> Result<Option<Record>, StoreError> {
        self.any().find(id).await
    }

    fn find_now(&self, id: SessionId) -> Option<Result<Option<Record>, StoreError>> {
        self.any().find_now(id)
    }

    async fn renew(&self, renewal: &Renewal) -> Result<Renewed, StoreError> {
        self.any().renew(renewal).await
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<Write<()>, StoreError> {
        self.any().rotate(rotation).await
    }

    async fn set_label(
        &self,
        id: SessionId,
        owner: &UserId,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<Write<()>, StoreError> {
        self.any().set_label(id, owner, label, now).await
    }

    async fn set_attributes(
        &self,
        id: SessionId,
        expected: u64,
        attributes: &Attributes,
        now: Timestamp,
    ) -> Result<Write<u64>, StoreError> {
        self.any().set_attributes(id, expected, attributes, now).await
    }

    async fn list(&self, filter: &Filter, page: Page, now: Timestamp) -> Result<Listing, StoreError> {
        self.any().list(filter, page, now).await
    }

    async fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, StoreError> {
        self.any().count(filter, now).await
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<RevokeOutcome, StoreError> {
        self.any().revoke(revocation).await
    }

    async fn settle(&self, batch: u32, now: Timestamp) -> Result<Settled, StoreError> {
        self.any().settle(batch, now).await
    }

    async fn touch(&self, seen: &[LastSeen], now: Timestamp) -> Result<u64, StoreError> {
        self.any().touch(seen, now).await
    }

    async fn sweep(&self, sweep: &Sweep) -> Result<Swept, StoreError> {
        self.any().sweep(sweep).await
    }

    async fn sweepable(&self, sweep: &Sweep) -> Result<u64, StoreError> {
        self.any().sweepable(sweep).await
    }

    async fn changes_since(&self, position: u64, limit: u32) -> Result<Changes, StoreError> {
        self.any().changes_since(position, limit).await
    }

    async fn register_node(&self, node: &Node) -> Result<(), StoreError> {
        self.any().register_node(node).await
    }

    async fn heartbeat(&self, node: &Node) -> Result<bool, StoreError> {
        self.any().heartbeat(node).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        self.any().nodes().await
    }

    async fn forget_node(&self, id: NodeId, beats: u64) -> Result<bool, StoreError> {
        self.any().forget_node(id, beats).await
    }

    async fn hint(&self) -> Result<(), StoreError> {
        self.any().hint().await
    }

    fn hints(&self) -> Option<Hints> {
        self.any().hints()
    }

    async fn migrate(&self) -> Result<(u32, u32), StoreError> {
        self.any().migrate().await
    }

    async fn health(&self, now: Timestamp) -> Result<Health, StoreError> {
        self.any().health(now).await
    }
}
