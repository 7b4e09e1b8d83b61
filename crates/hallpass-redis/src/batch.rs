//! Reads that come at once leave as one.
//!
//! A read that finds none under way lets the tasks run that are ready, and if none of them reads, it leaves alone. The others gather: the
//! first one begins a task that does the same and then takes all along that came meanwhile. When there are many, some leave before, so that
//! the server works while the rest gathers. Nobody joins a batch that has left: each reading begins after its request, so a check sees
//! every revocation that was acknowledged before (G1). The task of a batch belongs to no request: none that is dropped, or not looked at
//! any more, keeps others waiting, and one time-out is that of all.
//!
//! What is not answered here, for whatever reason, is read again with all that may be needed: a connection, redirections, the reason.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use hallpass_core::SessionId;
use redis::{Cmd, Pipeline, Value};
use tokio::sync::oneshot;

use crate::answer::{Read, array, next, optional};
use crate::database::Database;
use crate::keys::Place;
use crate::newest::Newest;
use crate::node::Node;

/// So many leave at once: the server is not idle while more gather.
const ENOUGH: usize = 8;
/// In a Cluster they go to several servers.
const ENOUGH_IN_A_CLUSTER: usize = 32;

/// The requests that wait for the next batch.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    waiting: Mutex<Vec<Waiting>>,
    under_way: AtomicUsize,
}

#[derive(Debug)]
struct Waiting {
    id: SessionId,
    answer: oneshot::Sender<Reading>,
}

/// What a request is to do.
#[derive(Debug)]
enum Turn {
    /// Nobody is there to share with.
    Alone,
    /// A task has to be begun that the batch waits for.
    Lead(oneshot::Receiver<Reading>),
    /// These are enough to leave.
    Leave(oneshot::Receiver<Reading>, Vec<Waiting>),
    Wait(oneshot::Receiver<Reading>),
}

/// What one command read.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The session as it is stored; `None` if it is not there.
    pub(crate) row: Option<Vec<u8>>,
    /// The newest mark of its shard that is not settled; 0 without one.
    pub(crate) newest: u64,
}

impl Batch {
    /// The session and the newest mark of its shard, read by one command within `patience`; `None` when it must be read again.
    pub(crate) async fn read(database: &Arc<Database>, id: SessionId, patience: Duration) -> Option<Reading> {
        let batch = &database.reads;
        let enough = if database.is_direct() { ENOUGH } else { ENOUGH_IN_A_CLUSTER };
        let mut turn = batch.join(id, enough, batch.under_way.load(Ordering::Relaxed) > 0);
        let mut alone = None;
        if matches!(turn, Turn::Alone) {
            alone = Some(UnderWay::new(batch));
            tokio::task::yield_now().await;
            turn = batch.join(id, enough, false);
        }
        let answer = match turn {
            Turn::Alone => {
                let node = database.topology.serving(Place::of_session(id))?;
                let values = node.send_at_once(&command(database, [id]), patience).await?;
                return readings(database, [id], values).ok()?.next()?.ok();
            }
            Turn::Lead(answer) => {
                let leading = Leading { batch: Arc::clone(batch), left: false };
                tokio::spawn(lead(leading, Arc::clone(database), patience));
                answer
            }
            Turn::Leave(answer, batch) => {
                tokio::spawn(send(Arc::clone(database), batch, patience));
                answer
            }
            Turn::Wait(answer) => answer,
        };
        drop(alone);
        answer.await.ok()
    }

    fn all(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins those that wait. Where nobody does, it is the first, if it is to `begin`.
    fn join(&self, id: SessionId, enough: usize, begin: bool) -> Turn {
        let mut all = self.all();
        if all.is_empty() && !begin {
            return Turn::Alone;
        }
        let (answer, answered) = oneshot::channel();
        all.push(Waiting { id, answer });
        match all.len() {
            1 => Turn::Lead(answered),
            waiting if waiting >= enough => Turn::Leave(answered, taken(&mut all)),
            _ => Turn::Wait(answered),
        }
    }

    fn take(&self) -> Vec<Waiting> {
        taken(&mut self.all())
    }
}

fn taken(all: &mut Vec<Waiting>) -> Vec<Waiting> {
    // About as many come again.
    let room = Vec::with_capacity(all.len());
    std::mem::replace(all, room)
}

/// A reading that has left and has no answer yet.
struct UnderWay<'a>(&'a Batch);

impl<'a> UnderWay<'a> {
    fn new(batch: &'a Batch) -> Self {
        batch.under_way.fetch_add(1, Ordering::Relaxed);
        Self(batch)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a batch waits for. When it is dropped before the batch has left, as with its runtime, nobody waits for it.
struct Leading {
    batch: Arc<Batch>,
    left: bool,
}

impl Leading {
    fn take(&mut self) -> Vec<Waiting> {
        self.left = true;
        self.batch.take()
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        if !self.left {
            drop(self.batch.take());
        }
    }
}

async fn lead(mut leading: Leading, database: Arc<Database>, patience: Duration) {
    tokio::task::yield_now().await;
    let batch = leading.take();
    if !batch.is_empty() {
        send(database, batch, patience).await;
    }
}

/// Whoever gets no answer reads again.
async fn send(database: Arc<Database>, mut batch: Vec<Waiting>, patience: Duration) {
    let (database, _under_way) = (&*database, UnderWay::new(&database.reads));
    if database.is_direct() {
        let Some(node) = database.topology.serving(Place::LOG) else { return };
        if let Some(values) = node.send_at_once(&command(database, ids(&batch)), patience).await {
            give(database, batch, values);
        }
        return;
    }
    // No command reads keys of two slots.
    batch.sort_unstable_by_key(|waiting| waiting.id.shard());
    let mut by_node: Vec<(Arc<Node>, Vec<Vec<Waiting>>)> = Vec::new();
    for waiting in batch {
        let Some(node) = database.topology.serving(Place::of_session(waiting.id)) else { continue };
        let groups = match by_node.iter().position(|(known, _)| Arc::ptr_eq(known, &node)) {
            Some(at) => &mut by_node[at].1,
            None => &mut by_node.push_mut((node, Vec::new())).1,
        };
        match groups.last_mut() {
            Some(group) if group.first().is_some_and(|first| first.id.shard() == waiting.id.shard()) => {
                group.push(waiting);
            }
            _ => groups.push(vec![waiting]),
        }
    }
    join_all(by_node.into_iter().map(|(node, groups)| async move {
        let mut pipeline = Pipeline::with_capacity(groups.len());
        for group in &groups {
            pipeline.add_command(command(database, ids(group)));
        }
        let answers = node.send_together_at_once(&pipeline, patience).await.unwrap_or_default();
        for (group, values) in groups.into_iter().zip(answers) {
            give(database, group, values);
        }
    }))
    .await;
}

fn ids(batch: &[Waiting]) -> impl ExactSizeIterator<Item = SessionId> {
    batch.iter().map(|waiting| waiting.id)
}

fn give(database: &Database, batch: Vec<Waiting>, values: Value) {
    let ids: Vec<SessionId> = ids(&batch).collect();
    let Ok(readings) = readings(database, ids, values) else { return };
    for (waiting, reading) in batch.into_iter().zip(readings) {
        if let Ok(reading) = reading {
            // Fails when the request was dropped.
            let _ = waiting.answer.send(reading);
        }
    }
}

/// Reads sessions, in a Cluster of one shard, and what is marked there.
pub(crate) fn command(
    database: &Database,
    ids: impl IntoIterator<Item = SessionId, IntoIter: ExactSizeIterator>,
) -> Cmd {
    const KEY: usize = 64;
    let ids = ids.into_iter();
    let mut command = Cmd::with_capacity(2 + ids.len(), 4 + KEY * (1 + ids.len()));
    command.arg("MGET");
    let mut ids = ids.peekable();
    match ids.peek() {
        Some(id) if !database.is_direct() => command.arg(database.keys.of(Place::of_session(*id), "mx")),
        _ => command.arg(database.keys.newest_of_all()),
    };
    let mut key = Vec::new();
    for id in ids {
        database.keys.write_session(id, &mut key);
        command.arg(key.as_slice());
    }
    command
}

/// What a server answers to [`command`].
pub(crate) fn readings(
    database: &Database,
    ids: impl IntoIterator<Item = SessionId>,
    values: Value,
) -> Read<impl Iterator<Item = Read<Reading>>> {
    let mut values = array(values)?.into_iter();
    let newest = next(&mut values)?;
    let newest = if database.is_direct() { Newest::read(newest) } else { Newest::read_one(newest) }?;
    Ok(ids
        .into_iter()
        .zip(values)
        .map(move |(id, row)| Ok(Reading { row: optional(row)?, newest: newest.of(Place::of_session(id)) })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> SessionId {
        SessionId::from_bytes([n; 16])
    }

    #[test]
    fn a_reading_that_is_alone_does_not_wait_and_others_share() {
        let batch = Batch::default();
        assert!(matches!(batch.join(id(1), 4, false), Turn::Alone));
        assert!(matches!(batch.join(id(2), 4, true), Turn::Lead(_)));
        assert!(matches!(batch.join(id(3), 4, false), Turn::Wait(_)), "a batch that gathers is joined");
        assert!(matches!(batch.join(id(4), 4, true), Turn::Wait(_)));
        assert!(matches!(batch.join(id(5), 4, true), Turn::Leave(_, some) if some.len() == 4), "enough leave");
        assert!(matches!(batch.join(id(6), 4, true), Turn::Lead(_)), "and the next one begins anew");
    }

    #[test]
    fn a_batch_whose_task_is_dropped_leaves_nobody_waiting() {
        let batch = Arc::new(Batch::default());
        let (Turn::Lead(mut first), leading, Turn::Wait(mut second)) = (
            batch.join(id(1), 4, true),
            Leading { batch: Arc::clone(&batch), left: false },
            batch.join(id(2), 4, true),
        ) else {
            panic!("the first one leads, the second one waits");
        };
        drop(leading);
        let closed = Err(oneshot::error::TryRecvError::Closed);
        assert_eq!(first.try_recv().map(drop), closed, "it is told to read again");
        assert_eq!(second.try_recv().map(drop), closed, "it too");
    }

    #[test]
    fn nobody_joins_a_batch_that_has_left() {
        let batch = Arc::new(Batch::default());
        let _first = batch.join(id(1), 4, true);
        let mut leading = Leading { batch: Arc::clone(&batch), left: false };
        let left = leading.take();
        assert!(matches!(batch.join(id(2), 4, true), Turn::Lead(_)));
        drop(leading);
        assert_eq!((left.len(), batch.take().len()), (1, 1), "and its end takes nobody along");
    }
}
