//! A store in memory with one defect.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hallpass_conformance::MemoryStore;
use hallpass_core::store::{
    ChangeKind, Changes, Created, Filter, Health, LastSeen, Limit, Listing, Page, Record, Renewal, Renewed, Revocation,
    RevokeOutcome, Rotation, Settled, Store, Sweep, Swept, Target, Write,
};
use hallpass_core::{
    Actor, Attributes, Class, EndReason, Ended, Label, SessionId, State, StoreError, Timestamp, UserId,
};

/// What is wrong with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Defect {
    /// Nothing: the wrapper itself passes.
    None,
    CreateOverwritesDuplicates,
    CreateIgnoresThatTheFirstEnded,
    CreateCutsTheUserAgent,
    RenewUpserts,
    RenewIgnoresEnded,
    RenewPassesAbsolute,
    RenewIgnoresTheHash,
    RenewKeepsRenewedAtWhenShortening,
    RenewLivesAtTheDeadline,
    RenewIsNotAtomic,
    RotateWithoutCompare,
    RotateIsNotLogged,
    LabelOfForeignSession,
    AttributesWithoutCompare,
    AttributesDecidedOutsideTheLock,
    RevokeIgnoresOwner,
    RevokeTwiceChangesTheReason,
    RevokeOthersEndsKeep,
    RevokeOthersWithoutKeep,
    RevokeOthersForgetsTheLog,
    MarkIgnoresOlderSessions,
    MarkEndsNewerSessions,
    MarkIsOfTheUserInAnyCase,
    MarkIsSweptTooEarly,
    SettleOverwritesTheFirstEnd,
    LimitCountedOutsideTheLock,
    LimitEndsTheNewOne,
    LimitCountsTheDead,
    LimitIgnoresTheClass,
    TouchMovesBack,
    TouchExtends,
    TouchReachesTheDead,
    SweepRemovesLiveRows,
    SweepRemovesEndedRowsWithTheirDeadline,
    SweepIgnoresTheBatch,
    LogHasGaps,
    LogNumbersStartAnewAfterASweep,
    LogIsSweptInTheMiddle,
    ListLeaksEnded,
    ListRepeatsTheLastOfAPage,
    ListIsOldestFirst,
    CountIgnoresTheClass,
    HealthCountsTheExpired,
}

use Defect as D;

/// A [`MemoryStore`] with a defect.
#[derive(Debug)]
pub(crate) struct Broken {
    defect: Defect,
    inner: MemoryStore,
    /// Every record as it was created.
    copies: Mutex<BTreeMap<SessionId, Record>>,
    /// What the latest mark says of each session that lay behind one and is not settled.
    marked: Mutex<BTreeMap<SessionId, Ended>>,
    /// The latest mark of each user.
    marks: Mutex<BTreeMap<UserId, Ended>>,
}

impl Broken {
    /// A fresh, empty store with the defect.
    pub(crate) fn store(defect: Defect) -> Arc<dyn Store> {
        Arc::new(Self {
            defect,
            inner: MemoryStore::new(),
            copies: Mutex::default(),
            marked: Mutex::default(),
            marks: Mutex::default(),
        })
    }

    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn row(&self, id: SessionId) -> Option<Record> {
        self.inner.tables().rows.get(&id).cloned()
    }

    /// Changes a row behind the back of the model.
    fn tamper(&self, id: SessionId, change: impl FnOnce(&mut Record)) {
        if let Some(row) = self.inner.tables().rows.get_mut(&id) {
            change(row);
        }
    }

    /// Makes room by ending these, and creates without a limit.
    async fn evict_and_create(
        &self,
        new: &Record,
        now: Timestamp,
        limit: Limit,
        counted: Vec<SessionId>,
    ) -> Result<Created, StoreError> {
        let excess = (counted.len() + 1).saturating_sub(limit.max as usize);
        if excess > 0 && limit.refuse {
            return Ok(Created::LimitReached { live: counted.len() as u32 });
        }
        let end = Ended { at: now, by: Actor::system("max_per_user"), reason: EndReason::Limit };
        let evicted: Vec<SessionId> = counted.into_iter().take(excess).collect();
        for id in &evicted {
            let mut tables = self.inner.tables();
            tables.end(&end, |session| session.id == *id);
            tables.append(ChangeKind::Ended(*id), now);
        }
        match self.inner.create(new, now, None).await? {
            Created::Created { .. } => Ok(Created::Created { evicted }),
            other => Ok(other),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Store for Broken {
    async fn create(&self, new: &Record, now: Timestamp, limit: Option<Limit>) -> Result<Created, StoreError> {
        let id = new.session.id;
        let existing = self.row(id);
        let ended = existing.as_ref().is_some_and(|row| row.session.state != State::Live);
        if self.is(D::CreateOverwritesDuplicates) || (self.is(D::CreateIgnoresThatTheFirstEnded) && ended) {
            self.inner.tables().rows.remove(&id);
        }
        lock(&self.copies).entry(id).or_insert_with(|| new.clone());
        let mut new = new.clone();
        if let Some(user_agent) = &mut new.session.client.user_agent
            && self.is(D::CreateCutsTheUserAgent)
        {
            user_agent.truncate(user_agent.floor_char_boundary(255));
        }
        if let Some(limit) = limit
            && existing.is_none()
        {
            if self.is(D::LimitCountedOutsideTheLock) {
                let counted = self.inner.tables().counted(&new.session, now, &limit);
                tokio::task::yield_now().await;
                return self.evict_and_create(&new, now, limit, counted).await;
            }
            if self.is(D::LimitEndsTheNewOne) && !limit.refuse {
                self.inner.create(&new, now, None).await?;
                let counted = self.inner.tables().counted(&new.session, now, &limit);
                let excess = counted.len().saturating_sub(limit.max as usize);
                let end = Ended { at: now, by: Actor::system("max_per_user"), reason: EndReason::Limit };
                let evicted: Vec<SessionId> = counted.into_iter().take(excess).collect();
                for id in &evicted {
                    let mut tables = self.inner.tables();
                    tables.end(&end, |session| session.id == *id);
                    tables.append(ChangeKind::Ended(*id), now);
                }
                return Ok(Created::Created { evicted });
            }
            if self.is(D::LimitCountsTheDead) {
                let limit = Limit { renewed_after: Timestamp::EPOCH, authenticated_after: Timestamp::EPOCH, ..limit };
                return self.inner.create(&new, now, Some(limit)).await;
            }
            if self.is(D::LimitIgnoresTheClass) {
                let mut counted = Vec::new();
                for class in [Class::WEB, Class::API] {
                    let of_class = hallpass_core::Session { class, ..new.session.clone() };
                    counted.extend(self.inner.tables().counted(&of_class, now, &limit));
                }
                return self.evict_and_create(&new, now, limit, counted).await;
            }
        }
        let created = self.inner.create(&new, now, limit).await?;
        let mark = lock(&self.marks).get(&new.session.user).cloned();
        if let Some(mark) = mark
            && self.is(D::MarkEndsNewerSessions)
            && new.session.created_at < mark.at
            && matches!(created, Created::Created { .. })
        {
            self.tamper(id, |row| row.session.state = State::Ended(mark));
        }
        Ok(created)
    }

    async fn find(&self, id: SessionId) -> Result<Option<Record>, StoreError> {
        self.inner.find(id).await
    }

    async fn renew(&self, renewal: &Renewal) -> Result<Renewed, StoreError> {
        let id = renewal.id;
        let before = self.row(id);
        let mut renewal = *renewal;
        match (self.defect, &before) {
            (D::RenewUpserts, _) => {
                let answer = self.inner.renew(&renewal).await?;
                let copy = lock(&self.copies).get(&id).cloned();
                return Ok(match copy {
                    Some(mut copy) if answer == Renewed::Gone => {
                        copy.session.idle_expires_at = renewal.idle_expires_at;
                        self.inner.tables().rows.insert(id, copy);
                        Renewed::Renewed { idle_expires_at: renewal.idle_expires_at }
                    }
                    _ => answer,
                });
            }
            (D::RenewIgnoresEnded, Some(before)) => {
                self.tamper(id, |row| row.session.state = State::Live);
                let answer = self.inner.renew(&renewal).await;
                self.tamper(id, |row| row.session.state = before.session.state.clone());
                return answer;
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
        let answer = self.inner.renew(&renewal).await?;
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
        let answer = self.inner.rotate(&rotation).await?;
        if self.is(D::RotateIsNotLogged) && answer == Write::Done(()) {
            let mut tables = self.inner.tables();
            tables.log.pop_back();
            tables.head -= 1;
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
        match self.row(id) {
            Some(row) if self.is(D::LabelOfForeignSession) => {
                self.inner.set_label(id, &row.session.user, label, now).await
            }
            _ => self.inner.set_label(id, owner, label, now).await,
        }
    }

    async fn set_attributes(
        &self,
        id: SessionId,
        expected: u64,
        attributes: &Attributes,
        now: Timestamp,
    ) -> Result<Write<u64>, StoreError> {
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
        self.inner.set_attributes(id, expected, attributes, now).await
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
        let mut listing = self.inner.list(&filter, page, now).await?;
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
        self.inner.count(&filter, now).await
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<RevokeOutcome, StoreError> {
        let mut revocation = revocation.clone();
        let end = Ended { at: revocation.now, by: revocation.by.clone(), reason: revocation.reason };
        let before = self.inner.tables().rows.clone();
        let is_mark = !matches!(revocation.target, Target::Session { .. });
        match &mut revocation.target {
            Target::Session { owner, .. } if self.is(D::RevokeIgnoresOwner) => *owner = None,
            Target::Session { id, .. } if self.is(D::RevokeTwiceChangesTheReason) => self.tamper(*id, |row| {
                if row.session.state != State::Live {
                    row.session.state = State::Ended(end.clone());
                }
            }),
            Target::User(user) if self.is(D::MarkIsOfTheUserInAnyCase) => {
                let mut tables = self.inner.tables();
                let ended = tables.end(&end, |session| session.user.as_str().eq_ignore_ascii_case(user.as_str()));
                let position =
                    if ended == 0 { 0 } else { tables.append(ChangeKind::User(user.clone()), revocation.now) };
                return Ok(RevokeOutcome { ended: Some(ended), position });
            }
            Target::Others { user, keep } if self.is(D::RevokeOthersWithoutKeep) => {
                let mut tables = self.inner.tables();
                let ended = tables.end(&end, |session| session.user == *user && session.id != *keep);
                let position =
                    if ended == 0 { 0 } else { tables.append(ChangeKind::User(user.clone()), revocation.now) };
                return Ok(RevokeOutcome { ended: Some(ended), position });
            }
            _ => {}
        }
        let outcome = self.inner.revoke(&revocation).await?;
        if outcome.position == 0 {
            return Ok(outcome);
        }
        if self.is(D::LogHasGaps) && outcome.position.is_multiple_of(2) {
            self.inner.tables().head += 1;
        }
        match &revocation.target {
            Target::Others { keep, .. } if self.is(D::RevokeOthersEndsKeep) => {
                self.tamper(*keep, |row| row.session.state = State::Ended(end.clone()));
            }
            Target::Others { .. } if self.is(D::RevokeOthersForgetsTheLog) => {
                let mut tables = self.inner.tables();
                tables.log.pop_back();
                tables.head -= 1;
            }
            Target::User(user) if self.is(D::MarkIgnoresOlderSessions) => {
                let oldest = before.values().find(|row| row.session.user == *user && row.session.is_live_at(end.at));
                if let Some(oldest) = oldest {
                    self.tamper(oldest.session.id, |row| row.session.state = State::Live);
                }
            }
            Target::User(user) => {
                lock(&self.marks).insert(user.clone(), end.clone());
            }
            _ => {}
        }
        if is_mark {
            for (id, row) in before {
                let kept = matches!(&revocation.target, Target::Others { keep, .. } if *keep == id);
                let of_user = match &revocation.target {
                    Target::User(user) | Target::Others { user, .. } => row.session.user == *user,
                    _ => true,
                };
                let live = row.session.state == State::Live;
                if of_user && !kept && (live || self.is(D::SettleOverwritesTheFirstEnd)) {
                    lock(&self.marked).insert(id, end.clone());
                }
            }
        }
        Ok(outcome)
    }

    async fn settle(&self, batch: u32, now: Timestamp) -> Result<Settled, StoreError> {
        let marked = std::mem::take(&mut *lock(&self.marked));
        if self.is(D::SettleOverwritesTheFirstEnd) {
            for (id, end) in marked {
                self.tamper(id, |row| row.session.state = State::Ended(end));
            }
        }
        self.inner.settle(batch, now).await
    }

    async fn touch(&self, seen: &[LastSeen], now: Timestamp) -> Result<u64, StoreError> {
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
                    let moved = self.inner.touch(std::slice::from_ref(one), now).await?;
                    if moved > 0 {
                        self.tamper(one.id, |row| {
                            let by = Duration::from_secs(30 * 86_400);
                            row.session.idle_expires_at = one.at.plus(by).min(row.session.absolute_expires_at);
                        });
                    }
                    changed += moved;
                }
                _ => changed += self.inner.touch(std::slice::from_ref(one), now).await?,
            }
        }
        Ok(changed)
    }

    async fn sweep(&self, sweep: &Sweep) -> Result<Swept, StoreError> {
        let mut sweep = *sweep;
        let mut removed = 0;
        match self.defect {
            D::SweepRemovesLiveRows => self.inner.tables().rows.retain(|_, row| {
                let stays = row.session.state != State::Live || row.session.renewed_at > sweep.ended_before;
                removed += u64::from(!stays);
                stays
            }),
            D::SweepRemovesEndedRowsWithTheirDeadline => self.inner.tables().rows.retain(|_, row| {
                let ended = row.session.state != State::Live;
                let stays = !(ended && row.session.idle_expires_at <= sweep.expired_before);
                removed += u64::from(!stays);
                stays
            }),
            D::SweepIgnoresTheBatch => sweep.batch = u32::MAX,
            D::LogIsSweptInTheMiddle => self.inner.tables().log.retain(|change| change.at > sweep.log_before),
            D::MarkIsSweptTooEarly => {
                let marked = std::mem::take(&mut *lock(&self.marked));
                for (id, end) in marked {
                    if end.at <= sweep.ended_before {
                        self.tamper(id, |row| row.session.state = State::Live);
                    }
                }
            }
            _ => {}
        }
        let mut swept = self.inner.sweep(&sweep).await?;
        swept.expired += removed;
        let mut tables = self.inner.tables();
        if self.is(D::LogNumbersStartAnewAfterASweep) && tables.log.is_empty() {
            tables.head = 0;
        }
        Ok(swept)
    }

    async fn sweepable(&self, sweep: &Sweep) -> Result<u64, StoreError> {
        self.inner.sweepable(sweep).await
    }

    async fn changes_since(&self, position: u64, limit: u32) -> Result<Changes, StoreError> {
        self.inner.changes_since(position, limit).await
    }

    async fn migrate(&self) -> Result<(u32, u32), StoreError> {
        self.inner.migrate().await
    }

    async fn health(&self, now: Timestamp) -> Result<Health, StoreError> {
        let mut health = self.inner.health(now).await?;
        if self.is(D::HealthCountsTheExpired) {
            health.live = self.inner.count(&Filter::default(), Timestamp::EPOCH).await?;
        }
        Ok(health)
    }
}
