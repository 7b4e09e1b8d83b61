//! A store with what the cases ask of it again and again.

use std::future::Future;
use std::sync::Arc;

use hallpass_core::store::{
    Change, Created, Filter, Page, Record, Revocation, RevokeOutcome, Sweep, Swept, Target, Write,
};
use hallpass_core::{Actor, Attributes, EndReason, Ended, Session, SessionId, State, Store, Timestamp};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::builders::{DAY, Records, T0};

/// More rounds than any case needs: a store that promises `more` for ever fails instead of hanging.
const MAX_ROUNDS: u32 = 10_000;

#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) records: Arc<Records>,
}

impl Given {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, records: Arc::new(Records::seeded(1)) }
    }

    /// Each of the handles, with one maker of records for all.
    pub(crate) fn on(handles: Vec<Arc<dyn Store>>) -> Vec<Self> {
        assert!(!handles.is_empty(), "the case wants a handle");
        let records = Arc::new(Records::seeded(1));
        handles.into_iter().map(|store| Self { store, records: Arc::clone(&records) }).collect()
    }

    /// A live session of the user, created at [`T0`].
    pub(crate) async fn live(&self, user: &str) -> Record {
        let record = self.records.record(user, T0);
        self.create(&record).await;
        record
    }

    /// Creates the record at its own time.
    pub(crate) async fn create(&self, record: &Record) {
        let created = self.store.create(record, record.session.created_at, None).await.unwrap();
        assert_eq!(created, Created::Created { evicted: Vec::new() }, "a new id without a limit is created");
    }

    /// Creates many at once, so that a store that gathers commits is quick about it.
    pub(crate) async fn create_all(&self, records: &[Record]) {
        for chunk in records.chunks(64) {
            at_once(chunk.len(), |i| {
                let (given, record) = (self.clone(), chunk[i].clone());
                async move { given.create(&record).await }
            })
            .await;
        }
    }

    /// A session of the user that was signed out at [`T0`].
    pub(crate) async fn signed_out(&self, user: &str) -> Record {
        self.signed_out_at(user, T0).await
    }

    /// A session of the user that was signed out at that time.
    pub(crate) async fn signed_out_at(&self, user: &str, at: Timestamp) -> Record {
        let record = self.live(user).await;
        let outcome = self.end(record.session.id, at, EndReason::SignedOut).await;
        assert_eq!(outcome.ended, Some(1));
        self.found(record.session.id).await
    }

    /// A session of the user whose deadline is [`T0`], so that it is dead from then on without having been ended.
    pub(crate) async fn expired(&self, user: &str) -> Record {
        let mut record = self.records.record(user, T0.minus(DAY));
        record.session.idle_expires_at = T0;
        self.create(&record).await;
        record
    }

    pub(crate) async fn found(&self, id: SessionId) -> Record {
        self.store.find(id).await.unwrap().unwrap_or_else(|| panic!("session {id} is kept and should be found"))
    }

    /// As a check reads it: at once, if the store can.
    pub(crate) async fn check(&self, id: SessionId) -> Option<Record> {
        match self.store.find_now(id) {
            Some(found) => found.unwrap(),
            None => self.store.find(id).await.unwrap(),
        }
    }

    pub(crate) async fn state(&self, id: SessionId) -> State {
        self.found(id).await.session.state
    }

    pub(crate) async fn is_live(&self, id: SessionId, now: Timestamp) -> bool {
        self.found(id).await.session.is_live_at(now)
    }

    pub(crate) async fn revoke(&self, target: Target, now: Timestamp, reason: EndReason) -> RevokeOutcome {
        self.store.revoke(&Revocation { target, now, by: by_tests(), reason }).await.unwrap()
    }

    /// Ends one session, whoever it belongs to.
    pub(crate) async fn end(&self, id: SessionId, now: Timestamp, reason: EndReason) -> RevokeOutcome {
        self.revoke(Target::Session { id, owner: None }, now, reason).await
    }

    /// The whole log that is kept.
    pub(crate) async fn log(&self) -> Vec<Change> {
        self.log_after(0).await
    }

    /// The log that is kept of what came after the position.
    pub(crate) async fn log_after(&self, position: u64) -> Vec<Change> {
        let mut log: Vec<Change> = Vec::new();
        loop {
            let position = log.last().map_or(position, |change| change.position);
            let more = self.store.changes_since(position, 500).await.unwrap().entries;
            if more.is_empty() {
                return log;
            }
            assert!(more[0].position > position, "entries come after the asked position");
            log.extend(more);
        }
    }

    pub(crate) async fn head(&self) -> u64 {
        self.store.changes_since(0, 0).await.unwrap().head
    }

    /// Settles until nothing is left and answers how many rows that wrote.
    pub(crate) async fn settle(&self, batch: u32) -> u64 {
        let mut rows = 0;
        for _ in 0..MAX_ROUNDS {
            let settled = self.store.settle(batch, T0).await.unwrap();
            assert!(settled.rows <= u64::from(batch), "settle({batch}) wrote {} rows", settled.rows);
            rows += settled.rows;
            if !settled.more {
                return rows;
            }
        }
        panic!("settle still promises more after {MAX_ROUNDS} rounds");
    }

    /// Sweeps until nothing is left and answers the totals.
    pub(crate) async fn sweep(&self, sweep: &Sweep) -> Swept {
        let mut total = Swept::default();
        for _ in 0..MAX_ROUNDS {
            let swept = self.store.sweep(sweep).await.unwrap();
            assert!(
                swept.expired + swept.ended <= u64::from(sweep.batch) * u64::from(sweep.commits),
                "one step of {sweep:?} removed {swept:?}",
            );
            total.expired += swept.expired;
            total.ended += swept.ended;
            if !swept.more {
                return total;
            }
        }
        panic!("sweep still promises more after {MAX_ROUNDS} rounds");
    }

    /// Every session that matches, page by page.
    pub(crate) async fn list(&self, filter: &Filter, limit: u32, now: Timestamp) -> Vec<Session> {
        let mut sessions = Vec::new();
        let mut page = Page::first(limit);
        for _ in 0..MAX_ROUNDS {
            let listing = self.store.list(filter, page, now).await.unwrap();
            assert!(listing.sessions.len() <= limit as usize, "a page is longer than asked for");
            sessions.extend(listing.sessions);
            match listing.next {
                Some(next) => page.after = Some(next),
                None => return sessions,
            }
        }
        panic!("the list still promises a page after {MAX_ROUNDS} pages");
    }

    pub(crate) async fn ids(&self, filter: &Filter, now: Timestamp) -> Vec<SessionId> {
        self.list(filter, 100, now).await.into_iter().map(|session| session.id).collect()
    }

    pub(crate) async fn count(&self, filter: &Filter, now: Timestamp) -> u64 {
        self.store.count(filter, now).await.unwrap()
    }

    /// Reads, adds one to the attribute `n` and writes, until it was not too late.
    pub(crate) async fn increment(&self, id: SessionId, now: Timestamp) {
        for _ in 0..1_000 {
            let session = self.found(id).await.session;
            let n = session.attributes.get("n").and_then(|n| n.as_u64()).unwrap_or(0) + 1;
            match self.store.set_attributes(id, session.attributes_version, &attributes_n(n), now).await.unwrap() {
                Write::Done(version) => {
                    assert_eq!(version, session.attributes_version + 1, "the version grows by one");
                    return;
                }
                Write::Conflict => tokio::task::yield_now().await,
                Write::Gone => panic!("the session lives, yet its attributes answer Gone"),
            }
        }
        panic!("1,000 tries to change attributes all lost");
    }
}

/// Who revokes, unless a case says otherwise.
pub(crate) fn by_tests() -> Actor {
    Actor::operator("tests")
}

/// The state that a revocation by [`by_tests`] leaves.
pub(crate) fn ended(at: Timestamp, reason: EndReason) -> State {
    State::Ended(Ended { at, by: by_tests(), reason })
}

pub(crate) fn attributes_n(n: u64) -> Attributes {
    Attributes::from_json(&format!(r#"{{"n":{n}}}"#)).unwrap()
}

/// The user's live sessions.
pub(crate) fn of_user(user: &str) -> Filter {
    Filter { user: Some(crate::builders::user(user)), ..Filter::default() }
}

/// Everything that is kept.
pub(crate) fn everything() -> Filter {
    Filter { include_ended: true, ..Filter::default() }
}

/// Removes nothing before the tests begin, and no log entry: to be widened field by field.
pub(crate) const SWEEP_NOTHING: Sweep = Sweep {
    expired_before: Timestamp::EPOCH,
    ended_before: Timestamp::EPOCH,
    log_before: Timestamp::EPOCH,
    batch: 100,
    commits: 1,
};

/// Runs `n` tasks that all begin when the last one is ready, and collects what they answer.
pub(crate) async fn at_once<T, F, Fut>(n: usize, task: F) -> Vec<T>
where
    T: Send + 'static,
    F: Fn(usize) -> Fut,
    Fut: Future<Output = T> + Send + 'static,
{
    let ready = Arc::new(Barrier::new(n));
    let mut tasks = JoinSet::new();
    for i in 0..n {
        let (ready, task) = (Arc::clone(&ready), task(i));
        tasks.spawn(async move {
            ready.wait().await;
            task.await
        });
    }
    tasks.join_all().await
}
