//! Stores that get revocations wrong.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hallpass_conformance::MemoryStore;
use hallpass_core::store::{ChangeKind, Revocation, RevokeOutcome, Store as _, Target};
use hallpass_core::{Ended, State, StoreError, UserId};

use crate::broken::{Broken, lock};
use crate::defect::Defect as D;

impl Broken {
    /// What `revoke` does.
    pub(crate) async fn end(&self, revocation: &Revocation) -> Result<RevokeOutcome, StoreError> {
        self.forget();
        let mut revocation = revocation.clone();
        if self.is(D::RevokeIsAcknowledgedEarly) {
            return self.acknowledge_early(revocation).await;
        }
        let end = Ended { at: revocation.now, by: revocation.by.clone(), reason: revocation.reason };
        let before = self.data.inner.tables().rows.clone();
        let is_mark = !matches!(revocation.target, Target::Session { .. });
        match &mut revocation.target {
            Target::Session { owner, .. } if self.is(D::RevokeIgnoresOwner) => *owner = None,
            Target::Session { id, .. } if self.is(D::RevokeTwiceChangesTheReason) => self.tamper(*id, |row| {
                if row.session.state != State::Live {
                    row.session.state = State::Ended(end.clone());
                }
            }),
            Target::User(user) if self.is(D::MarkIsOfTheUserInAnyCase) => {
                let mut tables = self.data.inner.tables();
                let ended = tables.end(&end, |session| session.user.as_str().eq_ignore_ascii_case(user.as_str()));
                let position =
                    if ended == 0 { 0 } else { tables.append(ChangeKind::User(user.clone()), revocation.now) };
                return Ok(RevokeOutcome { ended: Some(ended), position });
            }
            Target::User(user) if self.is_of_text() => {
                let mut tables = self.data.inner.tables();
                let ended = tables.end(&end, |session| self.is_taken_for(user, &session.user));
                let named = if self.is(D::LogNamesUsersInLowerCase) {
                    user.as_str().to_lowercase()
                } else {
                    user.as_str().to_owned()
                };
                let named = UserId::new(named).unwrap_or_else(|_| user.clone());
                let position = if ended == 0 { 0 } else { tables.append(ChangeKind::User(named), revocation.now) };
                return Ok(RevokeOutcome { ended: Some(ended), position });
            }
            Target::Others { user, keep } if self.is(D::RevokeOthersWithoutKeep) => {
                let mut tables = self.data.inner.tables();
                let ended = tables.end(&end, |session| session.user == *user && session.id != *keep);
                let position =
                    if ended == 0 { 0 } else { tables.append(ChangeKind::User(user.clone()), revocation.now) };
                return Ok(RevokeOutcome { ended: Some(ended), position });
            }
            _ => {}
        }
        let head = self.data.inner.tables().head;
        let counted = before.values().filter(|row| {
            let of_user = matches!(&revocation.target, Target::User(user) if *user == row.session.user);
            of_user && row.session.is_live_at(revocation.now)
        });
        let counted = counted.count() as u64;
        if self.is(D::LogIsNumberedOutsideTheLock) || self.is(D::RevokeCountsOutsideTheLock) {
            tokio::task::yield_now().await;
        }
        let mut outcome = self.data.inner.revoke(&revocation).await?;
        if outcome.position == 0 {
            return Ok(outcome);
        }
        self.head.fetch_max(outcome.position, Ordering::SeqCst);
        if self.is(D::LogIsNumberedOutsideTheLock) {
            let mut tables = self.data.inner.tables();
            if let Some(change) = tables.log.iter_mut().find(|change| change.position == outcome.position) {
                change.position = head + 1;
            }
            tables.head = head + 1;
            outcome.position = head + 1;
        }
        if self.is(D::RevokeCountsOutsideTheLock) && matches!(revocation.target, Target::User(_)) {
            outcome.ended = Some(counted);
        }
        if self.is(D::LogHasGaps) && outcome.position.is_multiple_of(2) {
            self.data.inner.tables().head += 1;
        }
        match &revocation.target {
            Target::Others { keep, .. } if self.is(D::RevokeOthersEndsKeep) => {
                self.tamper(*keep, |row| row.session.state = State::Ended(end.clone()));
            }
            Target::Others { .. } if self.is(D::RevokeOthersForgetsTheLog) => {
                let mut tables = self.data.inner.tables();
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
                lock(&self.data.marks).insert(user.clone(), (outcome.position, end.clone()));
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
                    lock(&self.data.marked).insert(id, end.clone());
                }
            }
        }
        Ok(outcome)
    }

    /// Answers what the revocation will do, which is done a little later.
    async fn acknowledge_early(&self, revocation: Revocation) -> Result<RevokeOutcome, StoreError> {
        let copy = MemoryStore::new();
        let tables = self.data.inner.tables().clone();
        *copy.tables() = tables;
        let outcome = copy.revoke(&revocation).await;
        let data = Arc::clone(&self.data);
        tokio::spawn(async move {
            tokio::task::yield_now().await;
            data.inner.revoke(&revocation).await
        });
        outcome
    }
}
