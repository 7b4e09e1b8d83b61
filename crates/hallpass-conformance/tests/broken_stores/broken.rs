//! A store in memory with one defect.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hallpass_conformance::MemoryStore;
use hallpass_core::store::{
    ChangeKind, Changes, Created, Filter, Health, LastSeen, Limit, Listing, Page, Record, Renewal, Renewed, Revocation,
    RevokeOutcome, Rotation, Settled, Store, Sweep, Swept, Write,
};
use hallpass_core::{Attributes, Ended, Label, Node, NodeId, SessionId, State, StoreError, Timestamp, UserId};

use crate::defect::{Defect, Defect as D};
use crate::likeness::normalised;

/// A handle on a [`MemoryStore`] with a defect.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) defect: Defect,
    pub(crate) data: Arc<Data>,
    /// Held by this handle while it creates.
    pub(crate) creating: tokio::sync::Mutex<()>,
    /// What this handle found, listed and read of the log since it last wrote.
    found: Mutex<BTreeMap<SessionId, Option<Record>>>,
    listed: Mutex<BTreeMap<String, Listing>>,
    log: Mutex<BTreeMap<(u64, u32), Changes>>,
    /// What the registry held when this handle first looked.
    pub(crate) nodes: Mutex<Option<Vec<Node>>>,
    /// The head of the log when this handle last revoked.
    pub(crate) head: AtomicU64,
}

/// What all handles share.
#[derive(Debug, Default)]
pub(crate) struct Data {
    pub(crate) inner: MemoryStore,
    /// Every record as it was created.
    copies: Mutex<BTreeMap<SessionId, Record>>,
    /// What the latest mark says of each session that lay behind one and is not settled.
    pub(crate) marked: Mutex<BTreeMap<SessionId, Ended>>,
    /// The latest mark of each user, and its position.
    pub(crate) marks: Mutex<BTreeMap<UserId, (u64, Ended)>>,
    /// Whether a sweep is under way.
    pub(crate) sweeping: AtomicBool,
}

impl Broken {
    /// A fresh, empty store with the defect.
    pub(crate) fn store(defect: Defect) -> Arc<dyn Store> {
        Self::handles(defect, 1).remove(0)
    }

    /// So many handles on one fresh, empty store with the defect.
    pub(crate) fn handles(defect: Defect, n: usize) -> Vec<Arc<dyn Store>> {
        let data = Arc::new(Data::default());
        let handle = || -> Arc<dyn Store> {
            Arc::new(Self {
                defect,
                data: Arc::clone(&data),
                creating: tokio::sync::Mutex::default(),
                found: Mutex::default(),
                listed: Mutex::default(),
                log: Mutex::default(),
                nodes: Mutex::default(),
                head: AtomicU64::new(0),
            })
        };
        (0..n).map(|_| handle()).collect()
    }

    /// A write through a handle that remembers: it has to look again.
    pub(crate) fn forget(&self) {
        lock(&self.found).clear();
        lock(&self.listed).clear();
        lock(&self.log).clear();
    }

    pub(crate) fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    /// The last entry was never written.
    fn unlog(&self) {
        let mut tables = self.data.inner.tables();
        tables.log.pop_back();
        tables.head -= 1;
    }

    fn row(&self, id: SessionId) -> Option<Record> {
        self.data.inner.tables().rows.get(&id).cloned()
    }

    /// Changes a row behind the back of the model.
    pub(crate) fn tamper(&self, id: SessionId, change: impl FnOnce(&mut Record)) {
        if let Some(row) = self.data.inner.tables().rows.get_mut(&id) {
            change(row);
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Store for Broken {
    async fn create(&self, new: &Record, now: Timestamp, limit: Option<Limit>) -> Result<Created, StoreError> {
        self.forget();
        let id = new.session.id;
        let existing = self.row(id);
        let ended = existing.as_ref().is_some_and(|row| row.session.state != State::Live);
        if self.is(D::CreateOverwritesDuplicates) || (self.is(D::CreateIgnoresThatTheFirstEnded) && ended) {
            self.data.inner.tables().rows.remove(&id);
        }
        lock(&self.data.copies).entry(id).or_insert_with(|| new.clone());
        let mut new = new.clone();
        if let Some(user_agent) = &mut new.session.client.user_agent
            && self.is(D::CreateCutsTheUserAgent)
        {
            *user_agent = user_agent[..user_agent.floor_char_boundary(255)].into();
        }
        if self.is(D::TextIsNormalised) {
            let session = &mut new.session;
            let mut authentication = (*session.authentication).clone();
            authentication.source = normalised(&authentication.source);
            session.authentication = authentication.into();
            session.client.user_agent = session.client.user_agent.as_deref().map(normalised).map(Into::into);
        }
        if let Some(limit) = limit
            && existing.is_none()
            && let Some(created) = self.create_within(&new, now, limit).await
        {
            return created;
        }
        let created = self.data.inner.create(&new, now, limit).await?;
        let (position, mark) = lock(&self.data.marks).get(&new.session.user).cloned().unzip();
        let position = position.unwrap_or(0);
        if let Some(mark) = &mark
            && self.is(D::MarkEndsNewerSessions)
            && new.session.created_at < mark.at
            && matches!(created, Created::Created { .. })
        {
            self.tamper(id, |row| row.session.state = State::Ended(mark.clone()));
        } else if let Some(mark) = mark
            && self.is(D::EpochIsRemembered)
            && position > self.head.load(Ordering::SeqCst)
            && matches!(created, Created::Created { .. })
        {
            self.tamper(id, |row| row.session.state = State::Ended(mark));
        }
        Ok(created)
    }

    async fn find(&self, id: SessionId) -> Result<Option<Record>, StoreError> {
        if self.is(D::FindIsRemembered) {
            let found = self.row(id);
            return Ok(lock(&self.found).entry(id).or_insert(found).clone());
        }
        self.data.inner.find(id).await
    }

    fn find_now(&self, id: SessionId) -> Option<Result<Option<Record>, StoreError>> {
        let mut found = self.row(id);
        if self.is(D::FindNowIsRemembered) {
            found = lock(&self.found).entry(id).or_insert(found).clone();
        }
        if let Some(found) = &mut found
            && self.is(D::FindNowIgnoresMarks)
            && lock(&self.data.marked).contains_key(&id)
        {
            found.session.state = State::Live;
        }
        Some(Ok(found))
    }

    async fn renew(&self, renewal: &Renewal) -> Result<Renewed, StoreError> {
        self.forget();
        let id = renewal.id;
        let before = self.row(id);
        let mut renewal = *renewal;
        match (self.defect, &before) {
            (D::RenewUpserts, _) => {
                let answer = self.data.inner.renew(&renewal).await?;
                let copy = lock(&self.data.copies).get(&id).cloned();
                return Ok(match copy {
                    Some(mut copy) if answer == Renewed::Gone => {
                        copy.session.idle_expires_at = renewal.idle_expires_at;
                        self.data.inner.tables().rows.insert(id, copy);
                        Renewed::Renewed { idle_expires_at: renewal.idle_expires_at }
                    }
                    _ => answer,
                });
            }
            (D::RenewIgnoresEnded, Some(before)) => {
                self.tamper(id, |row| row.session.state = State::Live);
                let answer = self.data.inner.renew(&renewal).await;
                self.tamper(id, |row| row.session.state = before.session.state.clone());
                return answer;
            }
            (D::RenewWritesTheWholeRowBack, Some(before)) => {
                let answer = self.data.inner.renew(&renewal).await?;
                let written = self.row(id);
                if let (Renewed::Renewed { .. }, Some(mut written)) = (answer, written) {
                    written.session.state = before.session.state.clone();
                    tokio::task::yield_now().await;
                    self.data.inner.tables().rows.insert(id, written);
                }
                return Ok(answer);
            }
            (D::RenewIgnoresTheHash, Some(before)) => renewal.token_hash = before.token_hash,
            (D::RenewLivesAtTheDeadline, Some(before)) if before.session.idle_expires_at == renewal.now => {
                renewal.now = renewal.now.minus(Duration::from_millis(1));
            }
            (D::RenewIsNotAtomic, Some(before)) if before.session.renewed_at <= renewal.due_before => {
                tokio::task::yield_now().await;
                renewal.due_before = Timestamp::NEVER;
            }
            _ => {}
        }
        let answer = self.data.inner.renew(&renewal).await?;
        let asked = renewal.idle_expires_at;
        if let (Renewed::Renewed { .. }, Some(before)) = (answer, before) {
            if self.is(D::RenewPassesAbsolute) {
                self.tamper(id, |row| row.session.idle_expires_at = asked);
                return Ok(Renewed::Renewed { idle_expires_at: asked });
            }
            if self.is(D::RenewKeepsRenewedAtWhenShortening) && asked < before.session.idle_expires_at {
                self.tamper(id, |row| row.session.renewed_at = before.session.renewed_at);
            }
        }
        Ok(answer)
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<Write<()>, StoreError> {
        let mut rotation = rotation.clone();
        if let Some(row) = self.row(rotation.id)
            && self.is(D::RotateWithoutCompare)
        {
            rotation.old_hash = row.token_hash;
        }
        self.forget();
        let marked = lock(&self.data.marked).contains_key(&rotation.id);
        let before = self.row(rotation.id);
        if self.is(D::RotateIgnoresMarks) && marked {
            self.tamper(rotation.id, |row| row.session.state = State::Live);
        }
        if self.is(D::RotateAnswersForMarkedOnes)
            && marked
            && before.as_ref().is_some_and(|row| row.token_hash == rotation.old_hash)
        {
            return Ok(Write::Done(()));
        }
        let answer = self.data.inner.rotate(&rotation).await?;
        if let Some(mut before) = before
            && self.is(D::RotateWritesTheWholeRowBack)
            && answer == Write::Done(())
        {
            before.token_hash = rotation.new_hash;
            tokio::task::yield_now().await;
            self.data.inner.tables().rows.insert(rotation.id, before);
        }
        if self.is(D::RotateIsLoggedLater) && answer == Write::Done(()) {
            let kind = ChangeKind::Changed(rotation.id);
            let taken = {
                let mut tables = self.data.inner.tables();
                let last = tables.log.back().is_some_and(|change| change.kind == kind);
                if last {
                    tables.log.pop_back();
                    tables.head -= 1;
                }
                last
            };
            if taken {
                tokio::task::yield_now().await;
                self.data.inner.tables().append(kind, rotation.now);
            }
        }
        if self.is(D::RotateIsNotLogged) && answer == Write::Done(()) {
            self.unlog();
        }
        Ok(answer)
    }

    async fn set_label(
        &self,
        id: SessionId,
        owner: &UserId,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<Write<()>, StoreError> {
        self.forget();
        match self.row(id) {
            Some(row) if self.is(D::LabelOfForeignSession) => {
                self.data.inner.set_label(id, &row.session.user, label, now).await
            }
            _ => {
                let answer = self.data.inner.set_label(id, owner, label, now).await;
                if self.is(D::LabelIsNotLogged) && matches!(answer, Ok(Write::Done(()))) {
                    self.unlog();
                }
                answer
            }
        }
    }

    async fn set_attributes(
        &self,
        id: SessionId,
        expected: u64,
        attributes: &Attributes,
        now: Timestamp,
    ) -> Result<Write<u64>, StoreError> {
        self.forget();
        let mut expected = expected;
        if let Some(row) = self.row(id) {
            let version = row.session.attributes_version;
            if self.is(D::AttributesWithoutCompare) {
                expected = version;
            }
            if self.is(D::AttributesDecidedOutsideTheLock) && version == expected {
                tokio::task::yield_now().await;
                expected = self.row(id).map_or(expected, |row| row.session.attributes_version);
            }
        }
        self.data.inner.set_attributes(id, expected, attributes, now).await
    }

    async fn list(&self, filter: &Filter, page: Page, now: Timestamp) -> Result<Listing, StoreError> {
        let (mut filter, mut page) = (filter.clone(), page);
        filter.include_ended |= self.is(D::ListLeaksEnded);
        if let Some(after) = page.after
            && self.is(D::ListRepeatsTheLastOfAPage)
        {
            let next = u128::from_be_bytes(*after.as_bytes()).saturating_add(1);
            page.after = Some(SessionId::from_bytes(next.to_be_bytes()));
        }
        let mut listing = self.list_of_all_taken_for(&filter, page, now).await?;
        if self.is(D::ListIsRemembered) {
            let key = format!("{filter:?} {page:?} {now:?}");
            listing = lock(&self.listed).entry(key).or_insert(listing).clone();
        }
        if self.is(D::ListIsOldestFirst) {
            listing.sessions.reverse();
        }
        Ok(listing)
    }

    async fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, StoreError> {
        let mut filter = filter.clone();
        if self.is(D::CountIgnoresTheClass) {
            filter.class = None;
        }
        let mut page = Page::first(Page::MAX_LIMIT);
        let mut count = 0;
        loop {
            let listing = self.list_of_all_taken_for(&filter, page, now).await?;
            count += listing.sessions.len() as u64;
            match listing.next {
                Some(next) => page.after = Some(next),
                None => return Ok(count),
            }
        }
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<RevokeOutcome, StoreError> {
        self.end(revocation).await
    }

    async fn settle(&self, batch: u32, now: Timestamp) -> Result<Settled, StoreError> {
        self.write_ends(batch, now).await
    }

    async fn touch(&self, seen: &[LastSeen], now: Timestamp) -> Result<u64, StoreError> {
        self.forget();
        let mut changed = 0;
        for one in seen {
            let Some(row) = self.row(one.id) else { continue };
            match self.defect {
                D::TouchMovesBack if row.session.is_live_at(now) => {
                    changed += u64::from(row.session.last_seen_at != one.at);
                    self.tamper(one.id, |row| row.session.last_seen_at = one.at);
                }
                D::TouchReachesTheDead => {
                    changed += u64::from(row.session.last_seen_at < one.at);
                    self.tamper(one.id, |row| row.session.last_seen_at = one.at.max(row.session.last_seen_at));
                }
                D::TouchExtends => {
                    let moved = self.data.inner.touch(std::slice::from_ref(one), now).await?;
                    if moved > 0 {
                        self.tamper(one.id, |row| {
                            let by = Duration::from_secs(30 * 86_400);
                            row.session.idle_expires_at = one.at.plus(by).min(row.session.absolute_expires_at);
                        });
                    }
                    changed += moved;
                }
                _ => changed += self.data.inner.touch(std::slice::from_ref(one), now).await?,
            }
        }
        Ok(changed)
    }

    async fn sweep(&self, sweep: &Sweep) -> Result<Swept, StoreError> {
        self.remove(sweep).await
    }

    async fn sweepable(&self, sweep: &Sweep) -> Result<u64, StoreError> {
        self.data.inner.sweepable(sweep).await
    }

    async fn changes_since(&self, position: u64, limit: u32) -> Result<Changes, StoreError> {
        let changes = self.data.inner.changes_since(position, limit).await?;
        if self.is(D::LogIsRemembered) {
            return Ok(lock(&self.log).entry((position, limit)).or_insert(changes).clone());
        }
        Ok(changes)
    }

    async fn register_node(&self, node: &Node) -> Result<(), StoreError> {
        if self.is(D::RegisterLeavesWhatIsThere) {
            self.data.inner.tables().nodes.entry(node.id).or_insert(*node);
            return Ok(());
        }
        self.data.inner.register_node(node).await
    }

    async fn heartbeat(&self, node: &Node) -> Result<bool, StoreError> {
        if self.is(D::HeartbeatEnters) {
            return self.data.inner.register_node(node).await.map(|()| true);
        }
        if self.is(D::HeartbeatChangesNothing) {
            return Ok(self.data.inner.tables().nodes.contains_key(&node.id));
        }
        self.data.inner.heartbeat(node).await
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        let nodes = self.data.inner.nodes().await?;
        if self.is(D::NodesAreRemembered) {
            return Ok(lock(&self.nodes).get_or_insert(nodes).clone());
        }
        Ok(nodes)
    }

    async fn forget_node(&self, id: NodeId, beats: u64) -> Result<bool, StoreError> {
        if self.is(D::ForgetIgnoresTheBeats) {
            return Ok(self.data.inner.tables().nodes.remove(&id).is_some());
        }
        self.data.inner.forget_node(id, beats).await
    }

    async fn migrate(&self) -> Result<(u32, u32), StoreError> {
        self.data.inner.migrate().await
    }

    async fn health(&self, now: Timestamp) -> Result<Health, StoreError> {
        let mut health = self.data.inner.health(now).await?;
        if self.is(D::HealthCountsTheExpired) {
            health.live = self.data.inner.count(&Filter::default(), Timestamp::EPOCH).await?;
        }
        Ok(health)
    }
}
