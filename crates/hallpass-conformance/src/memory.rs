//! The model: a store in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use hallpass_core::store::{
    Change, ChangeKind, Changes, Created, Filter, Health, LastSeen, Limit, Listing, Page, Record, Renewal, Renewed,
    Revocation, RevokeOutcome, Rotation, Settled, Store, Sweep, Swept, Target, Write,
};
use hallpass_core::{
    Actor, Attributes, EndReason, Ended, Entropy as _, Label, Node, NodeId, OsEntropy, Session, SessionId, State,
    StoreError, Timestamp, UserId,
};

/// A store in memory, for tests and examples. It keeps nothing: what it holds is gone with it.
///
/// It is the model that other stores are compared with, so it is as plain as it can be: one lock around ordered maps. A
/// revocation writes the end into every row at once instead of leaving a mark, so there is never anything to settle.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use hallpass_conformance::MemoryStore;
/// use hallpass_core::{Sessions, SignIn, UserId};
///
/// let sessions = Sessions::builder(Arc::new(MemoryStore::new())).build()?;
/// let issued = sessions.create(SignIn::new(UserId::new("alice")?)).await?;
/// assert!(sessions.end(&issued.token).await?);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct MemoryStore(Mutex<Tables>);

/// What a [`MemoryStore`] holds. Open to the tests of the suite, which build wrong stores from it.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct Tables {
    pub rows: BTreeMap<SessionId, Record>,
    pub log: VecDeque<Change>,
    pub head: u64,
    pub incarnation: [u8; 16],
    pub nodes: BTreeMap<NodeId, Node>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store.
    ///
    /// # Panics
    /// When the operating system has no random bytes for the incarnation of its log.
    #[must_use]
    pub fn new() -> Self {
        let mut incarnation = [0; 16];
        OsEntropy.fill(&mut incarnation).expect("the operating system gives random bytes");
        Self(Mutex::new(Tables {
            rows: BTreeMap::new(),
            log: VecDeque::new(),
            head: 0,
            incarnation,
            nodes: BTreeMap::new(),
        }))
    }

    /// The tables themselves.
    #[doc(hidden)]
    pub fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn live(&mut self, id: SessionId, now: Timestamp) -> Option<&mut Record> {
        self.rows.get_mut(&id).filter(|row| row.session.is_live_at(now))
    }

    /// Appends to the log and answers the position.
    #[doc(hidden)]
    pub fn append(&mut self, kind: ChangeKind, at: Timestamp) -> u64 {
        self.head += 1;
        self.log.push_back(Change { position: self.head, kind, at });
        self.head
    }

    /// Ends all rows that match and had not ended, and answers how many of them were live.
    #[doc(hidden)]
    pub fn end(&mut self, end: &Ended, matches: impl Fn(&Session) -> bool) -> u64 {
        let mut live = 0;
        for Record { session, .. } in self.rows.values_mut().filter(|row| matches(&row.session)) {
            if session.state == State::Live {
                live += u64::from(session.is_live_at(end.at));
                session.state = State::Ended(end.clone());
            }
        }
        live
    }

    /// As [`Tables::end`]; `None` when none that matches had not ended.
    fn end_any(&mut self, end: &Ended, matches: impl Fn(&Session) -> bool) -> Option<u64> {
        let any = self.rows.values().any(|row| row.session.state == State::Live && matches(&row.session));
        any.then(|| self.end(end, matches))
    }

    /// The ids of the live sessions that count for a limit, oldest first.
    #[doc(hidden)]
    #[must_use]
    pub fn counted(&self, new: &Session, now: Timestamp, limit: &Limit) -> Vec<SessionId> {
        let mut live: Vec<(Timestamp, SessionId)> = self
            .rows
            .values()
            .map(|row| &row.session)
            .filter(|old| old.user == new.user && old.class == new.class && old.is_live_at(now))
            .filter(|old| old.renewed_at > limit.renewed_after && old.authenticated_at > limit.authenticated_after)
            .map(|old| (old.created_at, old.id))
            .collect();
        live.sort_unstable();
        live.into_iter().map(|(_, id)| id).collect()
    }

    fn matching(&self, filter: &Filter, now: Timestamp) -> impl DoubleEndedIterator<Item = &Session> {
        self.rows
            .values()
            .map(|row| &row.session)
            .filter(move |session| filter.include_ended || session.is_live_at(now))
            .filter(|session| filter.user.as_ref().is_none_or(|user| *user == session.user))
            .filter(|session| filter.class.as_ref().is_none_or(|class| *class == session.class))
    }

    /// The rows to sweep, expired ones first, each kind oldest first: when it died, its id, and whether it had expired.
    fn dead(&self, sweep: &Sweep) -> Vec<(SessionId, bool)> {
        let (mut expired, mut ended) = (Vec::new(), Vec::new());
        for Record { session, .. } in self.rows.values() {
            let deadline = session.idle_expires_at.min(session.absolute_expires_at);
            match &session.state {
                State::Live if deadline <= sweep.expired_before => expired.push((deadline, session.id)),
                State::Ended(end) if end.at <= sweep.ended_before => ended.push((end.at, session.id)),
                _ => {}
            }
        }
        expired.sort_unstable();
        ended.sort_unstable();
        let expired = expired.into_iter().map(|(_, id)| (id, true));
        expired.chain(ended.into_iter().map(|(_, id)| (id, false))).collect()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn create(&self, new: &Record, now: Timestamp, limit: Option<Limit>) -> Result<Created, StoreError> {
        let mut tables = self.tables();
        if tables.rows.contains_key(&new.session.id) {
            return Ok(Created::Duplicate);
        }
        let mut evicted = Vec::new();
        if let Some(limit) = limit {
            let counted = tables.counted(&new.session, now, &limit);
            let excess = (counted.len() + 1).saturating_sub(limit.max as usize);
            if excess > 0 && limit.refuse {
                return Ok(Created::LimitReached { live: u32::try_from(counted.len()).unwrap_or(u32::MAX) });
            }
            evicted.extend(counted.into_iter().take(excess));
        }
        let end = Ended { at: now, by: Actor::system("max_per_user"), reason: EndReason::Limit };
        for id in &evicted {
            tables.end(&end, |session| session.id == *id);
            tables.append(ChangeKind::Ended(*id), now);
        }
        tables.rows.insert(new.session.id, new.clone());
        Ok(Created::Created { evicted })
    }

    async fn find(&self, id: SessionId) -> Result<Option<Record>, StoreError> {
        Ok(self.tables().rows.get(&id).cloned())
    }

    fn find_now(&self, id: SessionId) -> Option<Result<Option<Record>, StoreError>> {
        Some(Ok(self.tables().rows.get(&id).cloned()))
    }

    async fn renew(&self, renewal: &Renewal) -> Result<Renewed, StoreError> {
        let mut tables = self.tables();
        let Some(Record { session, token_hash }) = tables.live(renewal.id, renewal.now) else {
            return Ok(Renewed::Gone);
        };
        if *token_hash != renewal.token_hash || session.renewed_at > renewal.due_before {
            return Ok(Renewed::NotDue);
        }
        session.renewed_at = renewal.now;
        session.last_seen_at = session.last_seen_at.max(renewal.now);
        session.idle_expires_at = renewal.idle_expires_at.min(session.absolute_expires_at);
        Ok(Renewed::Renewed { idle_expires_at: session.idle_expires_at })
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<Write<()>, StoreError> {
        let mut tables = self.tables();
        let Some(Record { session, token_hash }) = tables.live(rotation.id, rotation.now) else {
            return Ok(Write::Gone);
        };
        if *token_hash != rotation.old_hash {
            return Ok(Write::Conflict);
        }
        *token_hash = rotation.new_hash;
        if let Some(fresh) = rotation.reauthentication.clone() {
            session.authenticated_at = rotation.now;
            session.renewed_at = rotation.now;
            session.last_seen_at = session.last_seen_at.max(rotation.now);
            session.idle_expires_at = fresh.idle_expires_at;
            session.absolute_expires_at = fresh.absolute_expires_at;
            session.authentication = fresh.authentication;
            session.client = fresh.client;
        }
        tables.append(ChangeKind::Changed(rotation.id), rotation.now);
        Ok(Write::Done(()))
    }

    async fn set_label(
        &self,
        id: SessionId,
        owner: &UserId,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<Write<()>, StoreError> {
        let mut tables = self.tables();
        let Some(row) = tables.live(id, now).filter(|row| row.session.user == *owner) else {
            return Ok(Write::Gone);
        };
        row.session.label = label.cloned();
        tables.append(ChangeKind::Changed(id), now);
        Ok(Write::Done(()))
    }

    async fn set_attributes(
        &self,
        id: SessionId,
        expected: u64,
        attributes: &Attributes,
        now: Timestamp,
    ) -> Result<Write<u64>, StoreError> {
        let mut tables = self.tables();
        let Some(Record { session, .. }) = tables.live(id, now) else {
            return Ok(Write::Gone);
        };
        if session.attributes_version != expected {
            return Ok(Write::Conflict);
        }
        session.attributes = attributes.clone();
        session.attributes_version += 1;
        let version = session.attributes_version;
        tables.append(ChangeKind::Changed(id), now);
        Ok(Write::Done(version))
    }

    async fn list(&self, filter: &Filter, page: Page, now: Timestamp) -> Result<Listing, StoreError> {
        let limit = page.limit.min(Page::MAX_LIMIT) as usize;
        let tables = self.tables();
        let mut newest_first =
            tables.matching(filter, now).rev().filter(|session| page.after.is_none_or(|after| session.id < after));
        let sessions: Vec<Session> = newest_first.by_ref().take(limit).cloned().collect();
        let more = newest_first.next().is_some();
        let next = sessions.last().map(|session| session.id).filter(|_| more);
        Ok(Listing { sessions, next })
    }

    async fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, StoreError> {
        Ok(self.tables().matching(filter, now).count() as u64)
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<RevokeOutcome, StoreError> {
        let Revocation { target, now, by, reason } = revocation.clone();
        let end = Ended { at: now, by, reason };
        let mut tables = self.tables();
        let (ended, kind) = match target {
            Target::Session { id, owner } => {
                let matches =
                    |session: &Session| session.id == id && owner.as_ref().is_none_or(|owner| *owner == session.user);
                (tables.end_any(&end, matches), ChangeKind::Ended(id))
            }
            Target::Others { user, keep } => {
                if tables.live(keep, now).is_none_or(|row| row.session.user != user) {
                    return Ok(RevokeOutcome { ended: None, position: 0 });
                }
                (tables.end_any(&end, |session| session.user == user && session.id != keep), ChangeKind::User(user))
            }
            Target::User(user) => (tables.end_any(&end, |session| session.user == user), ChangeKind::User(user)),
            Target::Everyone => {
                tables.end(&end, |_| true);
                let position = tables.append(ChangeKind::Everyone, now);
                return Ok(RevokeOutcome { ended: None, position });
            }
            other => panic!("the model does not know the target {other:?}"),
        };
        Ok(match ended {
            Some(live) => RevokeOutcome { ended: Some(live), position: tables.append(kind, now) },
            None => RevokeOutcome { ended: Some(0), position: 0 },
        })
    }

    async fn settle(&self, _batch: u32, _now: Timestamp) -> Result<Settled, StoreError> {
        Ok(Settled { rows: 0, more: false })
    }

    async fn touch(&self, seen: &[LastSeen], now: Timestamp) -> Result<u64, StoreError> {
        let mut tables = self.tables();
        let mut changed = 0;
        for LastSeen { id, at } in seen {
            if let Some(row) = tables.live(*id, now).filter(|row| row.session.last_seen_at < *at) {
                row.session.last_seen_at = *at;
                changed += 1;
            }
        }
        Ok(changed)
    }

    async fn sweep(&self, sweep: &Sweep) -> Result<Swept, StoreError> {
        let mut tables = self.tables();
        let dead = tables.dead(sweep);
        let batch = sweep.batch as usize;
        let mut swept = Swept { more: dead.len() > batch, ..Swept::default() };
        for (id, expired) in dead.into_iter().take(batch) {
            tables.rows.remove(&id);
            if expired { swept.expired += 1 } else { swept.ended += 1 }
        }
        while tables.log.front().is_some_and(|change| change.at <= sweep.log_before) {
            tables.log.pop_front();
        }
        Ok(swept)
    }

    async fn sweepable(&self, sweep: &Sweep) -> Result<u64, StoreError> {
        Ok(self.tables().dead(sweep).len() as u64)
    }

    async fn changes_since(&self, position: u64, limit: u32) -> Result<Changes, StoreError> {
        let tables = self.tables();
        let after = tables.log.iter().filter(|change| change.position > position);
        Ok(Changes {
            incarnation: tables.incarnation,
            head: tables.head,
            oldest: tables.log.front().map_or(tables.head + 1, |change| change.position),
            entries: after.take(limit as usize).cloned().collect(),
        })
    }

    async fn register_node(&self, node: &Node) -> Result<(), StoreError> {
        self.tables().nodes.insert(node.id, *node);
        Ok(())
    }

    async fn heartbeat(&self, node: &Node) -> Result<bool, StoreError> {
        Ok(self.tables().nodes.get_mut(&node.id).map(|row| *row = *node).is_some())
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        Ok(self.tables().nodes.values().copied().collect())
    }

    async fn forget_node(&self, id: NodeId, beats: u64) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        let is_same = tables.nodes.get(&id).is_some_and(|row| row.beats == beats);
        if is_same {
            tables.nodes.remove(&id);
        }
        Ok(is_same)
    }

    async fn migrate(&self) -> Result<(u32, u32), StoreError> {
        Ok((1, 1))
    }

    async fn health(&self, now: Timestamp) -> Result<Health, StoreError> {
        let live = self.count(&Filter::default(), now).await?;
        Ok(Health {
            engine: String::from("memory"),
            schema: 1,
            clock: None,
            live,
            details: Vec::new(),
            warnings: Vec::new(),
        })
    }
}
