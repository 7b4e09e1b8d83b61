//! Revocations that come while one is under way go together in the next transaction.
//!
//! The counter's lock is held to the commit, so revocations follow each other at the pace of the disk, one sync for each. Together they take one sync, each with
//! an entry of its own in the log. One that comes alone goes at once, as it would without this.
//!
//! - Who gave up while it waited here is left out: nothing is done later for it.
//! - One that has to wait for a lock of others must not hold up the rest: a transaction of many waits for locks only briefly, and where that is not enough each goes
//!   alone. And nobody waits here for long: what is under way may be stuck, then the next transaction begins beside it.
//! - Where nobody knows whether the transaction was committed, each is told so, and none is tried again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hallpass_core::store::Revocation;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Row;

use crate::database::{Database, Refusal};
use crate::failure::{Failure, is_lost};
use crate::lanes::Lane;
use crate::revoke::{self, Parts};
use crate::session::Step;
use crate::statements::LOCK_ALONE;
use crate::value::Value;

/// In one transaction.
const MOST: usize = 64;
/// Waiting here at once; more go alone, and wait for a connection.
const MOST_WAITING: usize = 4096;
/// How long one waits for what is under way.
const BESIDE_AFTER: Duration = Duration::from_millis(50);
/// How long a transaction of many waits for one lock.
const LOCK_PATIENCE: Duration = Duration::from_millis(250);

/// What is under way, and who waits.
#[derive(Debug, Default)]
pub(crate) struct SharedCommits(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    under_way: usize,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    revocation: Revocation,
    deadline: Instant,
    tell: oneshot::Sender<Told>,
}

/// What became of one that waited.
#[derive(Debug)]
enum Told {
    /// What its last statement answered.
    Done(Option<Row>),
    /// Nothing was done, for a reason that may concern another one.
    Alone,
    Failed(Failure),
}

enum Place {
    First(Turn),
    Waits(oneshot::Receiver<Told>),
    /// There are too many.
    Full,
}

impl SharedCommits {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to [`MOST`] of those that still wait for their answer.
    fn take(&self) -> Vec<Waiting> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        while taken.len() < MOST
            && let Some(next) = state.waiting.pop_front()
        {
            if !next.tell.is_closed() {
                taken.push(next);
            }
        }
        taken
    }
}

/// One that is under way. At its end, however it comes, those that wait are next.
struct Turn {
    database: Arc<Database>,
    /// Not in a task that was never run: then there is nobody to go on.
    begun: bool,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let left = {
            let mut state = self.database.shared_commits.lock();
            state.under_way = state.under_way.saturating_sub(1);
            if self.begun { VecDeque::new() } else { std::mem::take(&mut state.waiting) }
        };
        // Told that nobody answers.
        drop(left);
        if self.begun {
            start(&self.database, |under_way| under_way == 0);
        }
    }
}

/// Begins with those that wait, if there are any and this holds of how many are under way: in a task that none of them can take along when it gives up.
fn start(database: &Arc<Database>, may: impl FnOnce(usize) -> bool) {
    {
        let mut state = database.shared_commits.lock();
        if state.waiting.is_empty() || !may(state.under_way) {
            return;
        }
        state.under_way += 1;
    }
    let mut turn = Turn { database: Arc::clone(database), begun: false };
    // Without a runtime the turn ends here.
    let Ok(runtime) = Handle::try_current() else { return };
    runtime.spawn(async move {
        turn.begun = true;
        // First the connection: who gives up while waiting for it is left out too.
        let lane = turn.database.lanes.take(turn.database.deadline()).await;
        let waiting = turn.database.shared_commits.take();
        match lane {
            Ok(_) if waiting.is_empty() => {}
            Ok(lane) => together(&turn.database, &lane, waiting).await,
            Err(failure) => {
                for one in waiting {
                    let _ = one.tell.send(Told::Failed(failure.clone()));
                }
            }
        }
    });
}

/// Runs a revocation; what its last statement answered.
pub(crate) async fn run(
    database: &Arc<Database>,
    deadline: Instant,
    revocation: &Revocation,
) -> Result<Option<Row>, Failure> {
    match join(database, deadline, revocation) {
        Place::First(turn) => {
            let row = revoke::alone(database, deadline, revocation).await;
            drop(turn);
            row
        }
        Place::Full => revoke::alone(database, deadline, revocation).await,
        Place::Waits(told) => match wait(database, deadline, told).await? {
            Told::Done(row) => Ok(row),
            Told::Failed(failure) => Err(failure),
            Told::Alone => revoke::alone(database, deadline, revocation).await,
        },
    }
}

fn join(database: &Arc<Database>, deadline: Instant, revocation: &Revocation) -> Place {
    let mut state = database.shared_commits.lock();
    // Those that wait already come first.
    if state.under_way == 0 && state.waiting.is_empty() {
        state.under_way = 1;
        return Place::First(Turn { database: Arc::clone(database), begun: true });
    }
    if state.waiting.len() >= MOST_WAITING {
        return Place::Full;
    }
    let (tell, told) = oneshot::channel();
    state.waiting.push_back(Waiting { revocation: revocation.clone(), deadline, tell });
    Place::Waits(told)
}

async fn wait(database: &Arc<Database>, deadline: Instant, mut told: oneshot::Receiver<Told>) -> Result<Told, Failure> {
    while Instant::now() < deadline {
        match timeout_at(deadline.min(Instant::now() + BESIDE_AFTER), &mut told).await {
            Ok(Ok(told)) => return Ok(told),
            Ok(Err(_)) => break,
            // Again and again: of those that were under way another one may be over by now.
            Err(_) => start(database, |under_way| under_way < database.lanes.count()),
        }
    }
    Err(database.failures().unavailable("no answer in time; the revocation may or may not have happened: ask again"))
}

/// In one transaction.
async fn together(database: &Database, lane: &Lane<'_>, waiting: Vec<Waiting>) {
    let mut all: Vec<(Parts<'_>, usize)> = Vec::with_capacity(waiting.len());
    for (at, one) in waiting.iter().enumerate() {
        match Parts::of(database, &one.revocation) {
            Ok(parts) => all.push((parts, at)),
            // It is told why when it goes alone.
            Err(_) => continue,
        }
    }
    // In the order of locks that everybody keeps: users, the counter, sessions by id.
    all.sort_by_key(|(parts, _)| parts.row);
    let mut users: Vec<i64> = all.iter().filter_map(|(parts, _)| parts.user).collect();
    users.sort_unstable();
    users.dedup();
    let mut steps: Vec<Step<'_>> =
        users.into_iter().map(|key| Step::new(LOCK_ALONE, vec![Value::Integer(key)])).collect();
    let (mut acts, mut order) = (Vec::with_capacity(all.len()), Vec::with_capacity(all.len()));
    for (parts, at) in all {
        steps.extend(parts.lock);
        acts.push(parts.act);
        order.push(at);
    }
    steps.append(&mut acts);
    // Whoever has less time left stops waiting by itself, and costs the others nothing.
    let deadline = waiting.iter().map(|one| one.deadline).max().unwrap_or_else(Instant::now);
    let outcome = database.write_together(lane, deadline, LOCK_PATIENCE, &steps).await;
    drop(steps);
    let mut told: Vec<Option<Told>> = waiting.iter().map(|_| Some(Told::Alone)).collect();
    match outcome {
        Ok(rows) => {
            // The last statements are the revocations.
            for (at, mut rows) in order.into_iter().rev().zip(rows.into_iter().rev()) {
                told[at] = Some(Told::Done(rows.pop()));
            }
        }
        // Rolled back.
        Err(Refusal::Server(error)) if error.as_db_error().is_some() && !is_lost(&error) => {
            tracing::debug!(%error, "revocations go one by one");
        }
        Err(refusal) => {
            for at in order {
                told[at] = Some(Told::Failed(database.explain(&refusal)));
            }
        }
    }
    for (one, told) in waiting.into_iter().zip(told) {
        // Who has gone away meanwhile needs no answer.
        let _ = told.map(|told| one.tell.send(told));
    }
}
