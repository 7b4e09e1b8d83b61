//! Stores that get the limit wrong.

use hallpass_core::store::{ChangeKind, Created, Limit, Record, Store as _};
use hallpass_core::{Actor, Class, EndReason, Ended, SessionId, StoreError, Timestamp};

use crate::broken::Broken;
use crate::defect::Defect as D;

impl Broken {
    /// Creates within the limit, by the defect; `None` when there is none in it.
    pub(crate) async fn create_within(
        &self,
        new: &Record,
        now: Timestamp,
        limit: Limit,
    ) -> Option<Result<Created, StoreError>> {
        if self.is(D::LimitCountedOutsideTheLock) {
            let counted = self.data.inner.tables().counted(&new.session, now, &limit);
            tokio::task::yield_now().await;
            return Some(self.evict_and_create(new, now, limit, counted).await);
        }
        if self.is(D::LimitLockIsOfTheHandle) {
            let _creating = self.creating.lock().await;
            let counted = self.data.inner.tables().counted(&new.session, now, &limit);
            tokio::task::yield_now().await;
            return Some(self.evict_and_create(new, now, limit, counted).await);
        }
        if self.is(D::LimitIsKeptAfterwards) {
            let creating = self.creating.lock().await;
            let counted = self.data.inner.tables().counted(&new.session, now, &limit);
            if limit.refuse && counted.len() >= limit.max as usize {
                drop(creating);
                return Some(Ok(Created::LimitReached { live: counted.len() as u32 }));
            }
            if let Err(error) = self.data.inner.create(new, now, None).await {
                return Some(Err(error));
            }
            tokio::task::yield_now().await;
            return Some(Ok(self.evict(now, limit, counted)));
        }
        if self.is(D::LimitEndsTheNewest) && !limit.refuse {
            let mut tables = self.data.inner.tables();
            let mut evicted = tables.counted(&new.session, now, &limit);
            evicted.reverse();
            evicted.truncate((evicted.len() + 1).saturating_sub(limit.max as usize));
            let end = Ended { at: now, by: Actor::system("max_per_user"), reason: EndReason::Limit };
            for id in &evicted {
                tables.end(&end, |session| session.id == *id);
                tables.append(ChangeKind::Ended(*id), now);
            }
            tables.rows.insert(new.session.id, new.clone());
            return Some(Ok(Created::Created { evicted }));
        }
        if self.is(D::LimitEndsTheNewOne) && !limit.refuse {
            if let Err(error) = self.data.inner.create(new, now, None).await {
                return Some(Err(error));
            }
            let counted = self.data.inner.tables().counted(&new.session, now, &limit);
            let excess = counted.len().saturating_sub(limit.max as usize);
            let end = Ended { at: now, by: Actor::system("max_per_user"), reason: EndReason::Limit };
            let evicted: Vec<SessionId> = counted.into_iter().take(excess).collect();
            for id in &evicted {
                let mut tables = self.data.inner.tables();
                tables.end(&end, |session| session.id == *id);
                tables.append(ChangeKind::Ended(*id), now);
            }
            return Some(Ok(Created::Created { evicted }));
        }
        if self.is(D::LimitCountsTheDead) {
            let limit = Limit { renewed_after: Timestamp::EPOCH, authenticated_after: Timestamp::EPOCH, ..limit };
            return Some(self.data.inner.create(new, now, Some(limit)).await);
        }
        if self.is(D::LimitIgnoresTheClass) {
            let mut counted = Vec::new();
            for class in [Class::WEB, Class::API] {
                let of_class = hallpass_core::Session { class, ..new.session.clone() };
                counted.extend(self.data.inner.tables().counted(&of_class, now, &limit));
            }
            return Some(self.evict_and_create(new, now, limit, counted).await);
        }
        None
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
        let evicted = self.evict(now, limit, counted);
        match self.data.inner.create(new, now, None).await? {
            Created::Created { .. } => Ok(evicted),
            other => Ok(other),
        }
    }

    /// Ends as many of these as are too many beside a new one.
    fn evict(&self, now: Timestamp, limit: Limit, counted: Vec<SessionId>) -> Created {
        let excess = (counted.len() + 1).saturating_sub(limit.max as usize);
        let end = Ended { at: now, by: Actor::system("max_per_user"), reason: EndReason::Limit };
        let evicted: Vec<SessionId> = counted.into_iter().take(excess).collect();
        for id in &evicted {
            let mut tables = self.data.inner.tables();
            tables.end(&end, |session| session.id == *id);
            tables.append(ChangeKind::Ended(*id), now);
        }
        Created::Created { evicted }
    }
}
