//! Revocations that come while one is under way go together in the next transaction ([`group_commit`](hallpass_core::group_commit)).
//!
//! The counter's lock is held to the commit, so revocations follow each other at the pace of the disk, one sync for each. Together they take one sync, each with
//! an entry of its own in the log.
//!
//! - One that has to wait for a lock of others must not hold up the rest: a transaction of many waits for locks only briefly, and where that is not enough each goes
//!   alone.
//! - Where nobody knows whether the transaction was committed, each is told so, and none is tried again.

use std::time::Duration;

use hallpass_core::group_commit::{Committer, Queue, Told, Waiting};
use hallpass_core::store::Revocation;
use tokio::time::Instant;
use tokio_postgres::Row;

use crate::database::{Database, Refusal};
use crate::failure::{Failure, is_lost};
use crate::lanes::Lane;
use crate::revoke::{self, Parts};
use crate::session::Step;
use crate::statements::LOCK_ALONE;
use crate::value::Value;

/// How long a transaction of many waits for one lock.
const LOCK_PATIENCE: Duration = Duration::from_millis(250);

impl Committer for Database {
    type Change = Revocation;
    /// What the last statement answered.
    type Answer = Option<Row>;
    type Failure = Failure;

    fn queue(&self) -> &Queue<Self> {
        &self.revocations
    }

    fn at_once(&self) -> usize {
        self.lanes.count()
    }

    fn alone(
        &self,
        revocation: &Revocation,
        deadline: Instant,
    ) -> impl Future<Output = Result<Option<Row>, Failure>> + Send {
        revoke::alone(self, deadline, revocation)
    }

    async fn together(&self) {
        // First the connection: who gives up while waiting for it is left out too.
        let lane = self.lanes.take(self.deadline()).await;
        let waiting = self.revocations.next();
        match lane {
            Ok(_) if waiting.is_empty() => {}
            Ok(lane) => together(self, &lane, waiting).await,
            Err(failure) => waiting.into_iter().for_each(|one| one.tell(Told::Failed(failure.clone()))),
        }
    }

    fn unanswered(&self) -> Failure {
        self.failures().unavailable("no answer in time; the revocation may or may not have happened: ask again")
    }
}

/// In one transaction.
async fn together(database: &Database, lane: &Lane<'_>, waiting: Vec<Waiting<Database>>) {
    let mut all: Vec<(Parts<'_>, usize)> = Vec::with_capacity(waiting.len());
    for (at, one) in waiting.iter().enumerate() {
        match Parts::of(database, one.change()) {
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
    let deadline = waiting.iter().map(Waiting::deadline).max().unwrap_or_else(Instant::now);
    let outcome = database.write_together(lane, deadline, LOCK_PATIENCE, &steps).await;
    drop(steps);
    let mut told: Vec<Option<Told<Option<Row>, Failure>>> = waiting.iter().map(|_| Some(Told::Alone)).collect();
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
        let _ = told.map(|told| one.tell(told));
    }
}
