//! How work reaches the database: time-outs, tries, and the words for what went wrong.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use hallpass_core::group_commit::Queue;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_postgres::{Error, Row};

use crate::checks::Checks;
use crate::connector::Connector;
use crate::failure::{Failure, Failures, is_conflict, is_lost, is_unprepared};
use crate::keys::Keys;
use crate::lanes::{Lane, Lanes};
use crate::series::Bounds;
use crate::session::{Change, Durability, Session, Step};
use crate::sweep::Places;

/// How often work is tried that the server rolled back because of others.
const ATTEMPTS: u32 = 5;

/// The connections of a store.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) connector: Arc<Connector>,
    pub(crate) checks: Checks,
    pub(crate) lanes: Lanes,
    pub(crate) keys: Keys,
    pub(crate) swept: Places,
    /// Those that wait for a commit.
    pub(crate) revocations: Queue<Self>,
}

/// Why work was not done.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The server's own answer, rolled back.
    Server(Error),
    Failure(Failure),
}

/// The rows of each statement.
pub(crate) type Rows = Vec<Vec<Row>>;

/// One piece of work.
#[derive(Debug, Clone, Copy)]
enum Work {
    Read,
    Write(Change),
}

impl Database {
    pub(crate) fn failures(&self) -> &Failures {
        self.connector.failures()
    }

    /// When a verb that begins now has to be over.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.connector.statement_timeout()
    }

    /// Reads; a lost connection is no reason to fail, since reading again is as good.
    pub(crate) async fn read(&self, steps: &[Step<'_>]) -> Result<Rows, Failure> {
        self.read_until(self.deadline(), steps).await
    }

    /// [`Self::read`] as a part of a verb that began before.
    pub(crate) async fn read_until(&self, deadline: Instant, steps: &[Step<'_>]) -> Result<Rows, Failure> {
        self.run(Work::Read, deadline, steps).await.map_err(|refusal| self.explain(&refusal))
    }

    /// [`Self::read`] with the server's own answer to a refusal.
    pub(crate) async fn try_read(&self, steps: &[Step<'_>]) -> Result<Rows, Refusal> {
        self.run(Work::Read, self.deadline(), steps).await
    }

    /// Changes something in one transaction. Never tried again once it may have been committed.
    pub(crate) async fn write(&self, durability: Durability, steps: &[Step<'_>]) -> Result<Rows, Failure> {
        self.write_until(self.deadline(), durability, steps).await.map_err(|refusal| self.explain(&refusal))
    }

    /// [`Self::write`] as a part of a verb that began before, with the server's own answer to a refusal.
    pub(crate) async fn write_until(
        &self,
        deadline: Instant,
        durability: Durability,
        steps: &[Step<'_>],
    ) -> Result<Rows, Refusal> {
        self.run(Work::Write(Change { durability, ..Change::RELAXED }), deadline, steps).await
    }

    /// Durable changes of several callers in one transaction, which waits for each lock only so long. Never tried again: some of the callers may be gone by then.
    pub(crate) async fn write_together(
        &self,
        lane: &Lane<'_>,
        deadline: Instant,
        patience: Duration,
        steps: &[Step<'_>],
    ) -> Result<Rows, Refusal> {
        let change = Change { durability: Durability::Durable, lock_patience: Some(patience), ..Change::RELAXED };
        self.attempt(lane, Work::Write(change), deadline, steps).await
    }

    /// A change that is not durable, by a plan that is made once for all values.
    pub(crate) async fn write_by_one_plan(&self, steps: &[Step<'_>]) -> Result<Rows, Failure> {
        let work = Work::Write(Change { by_one_plan: true, ..Change::RELAXED });
        self.run(work, self.deadline(), steps).await.map_err(|refusal| self.explain(&refusal))
    }

    /// Commits that are not durable, each of the same statement, within bounds ([`Session::series`]). Nothing where that cannot be done: a
    /// commit of its own does it then, and tells what is wrong. Not tried again: commits that were made would be made
    /// twice.
    pub(crate) async fn series(&self, step: Step<'_>, bounds: Bounds) -> Result<Option<[i64; 3]>, Failure> {
        let deadline = self.deadline();
        let lane = self.lanes.take(deadline).await?;
        // The server's own bound is for a whole statement; one that had to wait for its turn would be given up in the middle.
        if deadline.saturating_duration_since(Instant::now()) < 2 * bounds.time {
            return Ok(None);
        }
        let watched = Watched { session: Some(Arc::clone(&lane.session)), deadline };
        let waited = tokio::time::timeout_at(deadline, lane.session.series(&step, bounds)).await;
        watched.over();
        match waited {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if is_conflict(&error) => Ok(None),
            Ok(Err(error)) => Err(self.failures().explain(&error)),
            Err(_) => {
                lane.session.give_up();
                Err(self.failures().unavailable("a sweep had no answer in time; its connection is given up"))
            }
        }
    }

    /// A change that waits for locks only so long, and is not durable.
    pub(crate) async fn write_if_unlocked(&self, patience: Duration, steps: &[Step<'_>]) -> Result<Rows, Refusal> {
        let work = Work::Write(Change { lock_patience: Some(patience), ..Change::RELAXED });
        self.run(work, self.deadline(), steps).await
    }

    async fn run(&self, work: Work, deadline: Instant, steps: &[Step<'_>]) -> Result<Rows, Refusal> {
        let mut attempt = 1;
        loop {
            let lane = self.lanes.take(deadline).await.map_err(Refusal::Failure)?;
            let error = match self.attempt(&lane, work, deadline, steps).await {
                Err(Refusal::Server(error)) => error,
                outcome => return outcome,
            };
            drop(lane);
            let again = is_conflict(&error) || is_unprepared(&error) || (matches!(work, Work::Read) && is_lost(&error));
            if !again || attempt >= ATTEMPTS {
                return Err(Refusal::Server(error));
            }
            attempt += 1;
            tokio::time::sleep(pause(attempt)).await;
        }
    }

    async fn attempt(
        &self,
        lane: &Lane<'_>,
        work: Work,
        deadline: Instant,
        steps: &[Step<'_>],
    ) -> Result<Rows, Refusal> {
        let patience = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let running = async {
            match work {
                Work::Read => lane.session.read(steps, patience).await,
                Work::Write(change) => lane.session.write(change, steps, patience).await,
            }
        };
        let watched = Watched { session: Some(Arc::clone(&lane.session)), deadline };
        let waited = tokio::time::timeout_at(deadline, running).await;
        watched.over();
        let Ok(outcome) = waited else {
            lane.session.give_up();
            return Err(Refusal::Failure(self.failures().unavailable(
                "no answer in time; what was under way may or may not have happened, and its connection is given up",
            )));
        };
        if lane.session.lacked_a_standby() {
            return Err(Refusal::Failure(self.failures().unavailable(
                "the change is stored, but its wait for the synchronous standby was cut short: a failover may undo it; look after the standby",
            )));
        }
        outcome.map_err(Refusal::Server)
    }

    pub(crate) fn explain(&self, refusal: &Refusal) -> Failure {
        match refusal {
            Refusal::Server(error) => self.failures().explain(error),
            Refusal::Failure(failure) => failure.clone(),
        }
    }
}

/// Work under way. A caller who goes away in the middle of it leaves a connection of which nobody knows whether the server still answers on it; then
/// somebody else waits for that, as long as the caller might have, and gives it up otherwise. Without that, callers who are less patient than the
/// store would find the same silent connections again and again.
struct Watched {
    session: Option<Arc<Session>>,
    deadline: Instant,
}

impl Watched {
    fn over(mut self) {
        self.session = None;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let (Some(session), Ok(runtime)) = (self.session.take(), Handle::try_current()) else { return };
        let deadline = self.deadline;
        runtime.spawn(async move {
            if tokio::time::timeout_at(deadline, session.answers()).await.is_err() {
                session.give_up();
            }
        });
    }
}

/// Those that ran into each other do not meet again.
fn pause(attempt: u32) -> Duration {
    Duration::from_micros(RandomState::new().hash_one(attempt) % (u64::from(attempt) * 10_000))
}
