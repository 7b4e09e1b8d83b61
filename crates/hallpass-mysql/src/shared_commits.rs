//! Revocations of single sessions that come while one is under way go together in the next transaction ([`group_commit`](hallpass_core::group_commit)).
//!
//! The counter's row is locked to the commit, so revocations follow each other at the pace of the disk. Together they take one sync and six statements, each with
//! an entry of its own in the log.
//!
//! - Nobody waits among many for the row of one: rows that others hold are passed over, and those who asked for them go alone. So two that end the same sessions
//!   cannot wait for each other either.
//! - The counter is taken last, by one statement for all. That is where such a transaction waits; who gave up until then is left out, and its position is put
//!   back. From there to the commit nothing waits for a lock.
//! - Of a transaction that the server undid, or whose commit was never sent, each tries again alone. Where nobody knows whether it was committed, each is told
//!   so, and none is tried again.
//!
//! Revocations of many sessions are one mark whatever their number, and go alone: what they have to look at before and after they have their position is another thing for each
//! kind.

use std::collections::{BTreeMap, BTreeSet};

use hallpass_core::group_commit::{Committer, Queue, Told, Waiting};
use hallpass_core::store::{Revocation, RevokeOutcome, Target};
use hallpass_core::{SessionId, StoreError, UserId};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::failure::Fault;
use crate::literal::{by_id, bytes, fill, ids};
use crate::revocation_log::{next_positions, nonce, return_positions};
use crate::revoke::Effect;
use crate::row::Columns;
use crate::statements::{END_EACH, LOCK_FREE, LOG_EACH, UNENDED};
use crate::work::{Database, Ending, Patience, Refusal, Transaction};

/// The revocations of a store, and how they are committed.
#[derive(Debug)]
pub(crate) struct SharedCommits {
    database: Database,
    queue: Queue<Self>,
}

impl SharedCommits {
    pub(crate) fn of(database: Database) -> Self {
        Self { database, queue: Queue::default() }
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.database.limit(Patience::Call)
    }
}

impl Committer for SharedCommits {
    type Change = Revocation;
    type Answer = Effect;
    type Failure = StoreError;

    fn queue(&self) -> &Queue<Self> {
        &self.queue
    }

    /// Half of the connections: checks use the same ones, and those that are stuck must not take them all.
    fn at_once(&self) -> usize {
        self.database.pool.options.connections().div_ceil(2)
    }

    fn alone(
        &self,
        revocation: &Revocation,
        deadline: Instant,
    ) -> impl Future<Output = Result<Effect, StoreError>> + Send {
        self.database.write_until(deadline, Patience::Call, revocation)
    }

    async fn together(&self) {
        // First the connection: who gives up while waiting for it is left out too.
        let lease = self.database.pool.take(self.deadline()).await;
        let waiting = self.queue.next();
        // Whoever has less time left stops waiting by itself, and costs the others nothing.
        let Some(deadline) = waiting.iter().map(Waiting::deadline).max() else {
            if let Ok(lease) = lease {
                lease.give_back();
            }
            return;
        };
        let outcome = match lease {
            Ok(lease) => self.database.write_once(lease, deadline, &Together(&waiting)).await,
            Err(error) => Err(Refusal::Unknown(error)),
        };
        match outcome {
            Ok(parts) => waiting.into_iter().zip(parts).for_each(|(one, part)| one.tell(part.told())),
            Err(Refusal::Undone(fault)) => {
                tracing::debug!(%fault, "revocations go one by one");
                waiting.into_iter().for_each(|one| one.tell(Told::Alone));
            }
            Err(Refusal::Unknown(error)) => {
                let failures = &self.database.pool.failures;
                waiting.into_iter().for_each(|one| one.tell(Told::Failed(failures.repeated(&error))));
            }
        }
    }

    fn unanswered(&self) -> StoreError {
        self.database.pool.failures.timed_out("writing", self.database.limit(Patience::Call))
    }
}

/// One of several, as the transaction of all saw it.
#[derive(Clone, Copy)]
enum Part {
    Ended(RevokeOutcome),
    /// There is no such session, or it has ended.
    Nothing,
    /// Its row is held by another transaction, or it is not wanted any more.
    Alone,
}

impl Part {
    fn told(self) -> Told<Effect, StoreError> {
        match self {
            Self::Ended(outcome) => Told::Done(Effect::Known(outcome)),
            Self::Nothing => Told::Done(Effect::Known(RevokeOutcome { ended: Some(0), position: 0 })),
            Self::Alone => Told::Alone,
        }
    }
}

/// A row that this transaction has locked.
struct Free {
    user: Vec<u8>,
    idle_expires_at: i64,
    absolute_expires_at: i64,
}

/// What the revocations of these callers do, each of its own session or not.
struct Together<'a>(&'a [Waiting<SharedCommits>]);

impl Transaction for Together<'_> {
    /// What became of each.
    type Answer = Vec<Part>;

    async fn run(&self, connection: &mut Connection) -> Result<Ending<Vec<Part>>, Fault> {
        let asked: BTreeSet<[u8; 16]> =
            self.0.iter().filter_map(|one| session(one.change())).map(|(id, _)| *id.as_bytes()).collect();
        if asked.is_empty() {
            return Ok(Ending::RollBack(vec![Part::Alone; self.0.len()]));
        }
        let mut free = lock_free(connection, &asked).await?;
        let held = held(connection, asked.iter().filter(|id| !free.contains_key(*id))).await?;
        let mut parts: Vec<Part> = self.0.iter().map(|one| unless_free(one.change(), &held)).collect();
        let most: BTreeSet<SessionId> = self.0.iter().filter_map(|one| ends(one.change(), &free)).collect();
        if most.is_empty() {
            return Ok(Ending::RollBack(parts));
        }
        let most = most.len() as u64;
        let first = next_positions(connection, most).await?;
        // The waiting is over. Of several for one session the first that is still wanted ends it.
        let mut ended: Vec<(&Revocation, [u8; 16], u64)> = Vec::new();
        for (one, part) in self.0.iter().zip(&mut parts) {
            let revocation = one.change();
            let Some(id) = ends(revocation, &free).filter(|_| one.is_wanted()) else { continue };
            let Some(row) = free.remove(id.as_bytes()) else { continue };
            let position = first + ended.len() as u64;
            let now = revocation.now.as_millis();
            let lives = row.idle_expires_at > now && row.absolute_expires_at > now;
            *part = Part::Ended(RevokeOutcome { ended: Some(u64::from(lives)), position });
            ended.push((revocation, *id.as_bytes(), position));
        }
        if ended.is_empty() {
            return Ok(Ending::RollBack(parts));
        }
        let spare = most.saturating_sub(ended.len() as u64);
        if spare > 0 {
            return_positions(connection, spare).await?;
        }
        end_each(connection, &ended).await?;
        Ok(Ending::Commit(parts))
    }
}

fn session(revocation: &Revocation) -> Option<(SessionId, Option<&UserId>)> {
    match &revocation.target {
        Target::Session { id, owner } => Some((*id, owner.as_ref())),
        _ => None,
    }
}

/// The session that a revocation ends, if its row is locked and the owner's.
fn ends(revocation: &Revocation, free: &BTreeMap<[u8; 16], Free>) -> Option<SessionId> {
    let (id, owner) = session(revocation)?;
    let row = free.get(id.as_bytes())?;
    owner.is_none_or(|owner| owner.as_str().as_bytes() == row.user).then_some(id)
}

/// What becomes of a revocation that does not end a row which is locked here.
fn unless_free(revocation: &Revocation, held: &BTreeSet<[u8; 16]>) -> Part {
    match session(revocation) {
        Some((id, _)) if !held.contains(id.as_bytes()) => Part::Nothing,
        _ => Part::Alone,
    }
}

async fn lock_free(connection: &mut Connection, asked: &BTreeSet<[u8; 16]>) -> Result<BTreeMap<[u8; 16], Free>, Fault> {
    let rows = connection.rows_of_text(fill(LOCK_FREE, &[("{ids}", &ids(asked))])).await?;
    let read = |mut columns: Columns| {
        let free = Free {
            user: columns.bytes(1, "user_id")?,
            idle_expires_at: columns.integer(2, "idle_expires_at")?,
            absolute_expires_at: columns.integer(3, "absolute_expires_at")?,
        };
        Ok((columns.array(0, "id")?, free))
    };
    rows.into_iter().map(read).collect()
}

/// Which of those that could not be locked are held by others; the rest are not there, or ended, and stay so.
async fn held(
    connection: &mut Connection,
    missing: impl Iterator<Item = &[u8; 16]>,
) -> Result<BTreeSet<[u8; 16]>, Fault> {
    let missing = ids(missing);
    if missing.is_empty() {
        return Ok(BTreeSet::new());
    }
    let held = connection.ids_of_text(fill(UNENDED, &[("{ids}", &missing)])).await?;
    Ok(held.into_iter().collect())
}

/// Writes the end into the rows, and the entries of the log.
async fn end_each(connection: &mut Connection, ended: &[(&Revocation, [u8; 16], u64)]) -> Result<(), Fault> {
    let each =
        |value: fn(&Revocation) -> String| by_id(ended.iter().map(|(revocation, id, _)| (id, value(revocation))));
    let values = [
        ("{ids}", ids(ended.iter().map(|(_, id, _)| id))),
        ("{n}", by_id(ended.iter().map(|(_, id, position)| (id, position.to_string())))),
        ("{at}", each(|revocation| revocation.now.as_millis().to_string())),
        ("{by_kind}", each(|revocation| bytes(revocation.by.kind.as_str().as_bytes()))),
        ("{by_name}", each(|revocation| bytes(revocation.by.name.as_bytes()))),
        ("{reason}", each(|revocation| bytes(revocation.reason.as_str().as_bytes()))),
    ];
    let values = values.each_ref().map(|(name, value)| (*name, value.as_str()));
    if connection.write_text(fill(END_EACH, &values)).await? != ended.len() as u64 {
        // One was behind a mark when the counter was had. Each finds out by itself whether it was the one.
        return Err(Fault::Other(String::from("a revocation of many sessions came first")));
    }
    let mut entries = Vec::with_capacity(ended.len());
    for (revocation, id, position) in ended {
        let (id, nonce, at) = (bytes(id), bytes(&nonce()?), revocation.now.as_millis());
        entries.push(format!("({position}, 'ended', {id}, {nonce}, {at})"));
    }
    connection.write_text(fill(LOG_EACH, &[("{entries}", &entries.join(","))])).await.map(drop)
}
