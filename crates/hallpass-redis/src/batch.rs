//! Reads that come at once leave as one.
//!
//! The first one yields to the tasks that are ready, and then takes all that came meanwhile along. Nobody joins a batch that has left: each
//! reading begins after its request, so a check sees every revocation that was acknowledged before (G1). A batch is sent by the task
//! of its first request; if that is dropped, the others read alone.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;
use hallpass_core::SessionId;
use redis::{Cmd, Pipeline, Value};
use tokio::sync::oneshot;

use crate::database::Database;
use crate::keys::Place;
use crate::node::{Lane, Node};

/// So many sessions in one command: a server does nothing else meanwhile.
const MOST: usize = 64;

/// The requests that wait for the next batch.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    waiting: Mutex<Vec<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    id: SessionId,
    answer: oneshot::Sender<[Value; 3]>,
}

impl Batch {
    /// The session, what renewals change of it, and the newest mark of its shard, read by one command; `None` when it must be read alone.
    pub(crate) async fn read(&self, database: &Database, id: SessionId) -> Option<[Value; 3]> {
        let (answer, answered) = oneshot::channel();
        if self.join(Waiting { id, answer }) {
            let leading = Leading(self);
            tokio::task::yield_now().await;
            let batch = leading.take();
            join_all(batch.into_iter().map(|part| send(database, part))).await;
        }
        answered.await.ok()
    }

    /// Whether it is the first.
    fn join(&self, waiting: Waiting) -> bool {
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(waiting);
        all.len() == 1
    }

    fn take(&self) -> Vec<Waiting> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The first one. When it is dropped before it has left, nobody waits for it.
struct Leading<'a>(&'a Batch);

impl Leading<'_> {
    fn take(self) -> Vec<Vec<Waiting>> {
        let mut rest = self.0.take();
        std::mem::forget(self);
        let mut parts = Vec::with_capacity(rest.len().div_ceil(MOST));
        while rest.len() > MOST {
            parts.push(rest.split_off(rest.len() - MOST));
        }
        parts.push(rest);
        parts
    }
}

impl Drop for Leading<'_> {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

/// Whoever gets no answer reads alone, and is told what is wrong there.
async fn send(database: &Database, batch: Vec<Waiting>) {
    if database.is_direct() {
        let Some(node) = database.topology.serving(Place::LOG) else { return };
        let mut command = redis::cmd("MGET");
        for waiting in &batch {
            name_keys(database, waiting.id, &mut command);
        }
        if let Ok(Value::Array(values)) = node.send(Lane::Shared, &command).await {
            let mut values = values.into_iter();
            for waiting in batch {
                let (Some(row), Some(touched), Some(newest)) = (values.next(), values.next(), values.next()) else {
                    return;
                };
                // Fails when the request was dropped.
                let _ = waiting.answer.send([row, touched, newest]);
            }
        }
        return;
    }
    let mut by_node: Vec<(Arc<Node>, Vec<Waiting>)> = Vec::new();
    for waiting in batch {
        let Some(node) = database.topology.serving(Place::of_session(waiting.id)) else { continue };
        match by_node.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &node)) {
            Some((_, batch)) => batch.push(waiting),
            None => by_node.push((node, vec![waiting])),
        }
    }
    // No command reads keys of two slots.
    join_all(by_node.into_iter().map(|(node, batch)| async move {
        let mut pipeline = Pipeline::with_capacity(batch.len());
        for waiting in &batch {
            let mut command = redis::cmd("MGET");
            name_keys(database, waiting.id, &mut command);
            pipeline.add_command(command);
        }
        let answers = node.send_together(Lane::Shared, &pipeline).await.unwrap_or_default();
        for (waiting, answer) in batch.into_iter().zip(answers) {
            if let Value::Array(values) = answer
                && let Ok(values) = <[Value; 3]>::try_from(values)
            {
                let _ = waiting.answer.send(values);
            }
        }
    }))
    .await;
}

pub(crate) fn name_keys(database: &Database, id: SessionId, command: &mut Cmd) {
    let keys = &database.keys;
    command.arg(keys.session(id)).arg(keys.touched(id)).arg(keys.of(Place::of_session(id), "mx"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> SessionId {
        SessionId::from_bytes([n; 16])
    }

    #[test]
    fn a_first_request_that_is_dropped_leaves_nobody_waiting() {
        let batch = Batch::default();
        let (first, second) = (oneshot::channel(), oneshot::channel());
        assert!(batch.join(Waiting { id: id(1), answer: first.0 }));
        let leading = Leading(&batch);
        assert!(!batch.join(Waiting { id: id(2), answer: second.0 }), "one leads");
        drop(leading);
        assert!(second.1.blocking_recv().is_err(), "it is told to read alone");
        let third = oneshot::channel();
        assert!(batch.join(Waiting { id: id(3), answer: third.0 }), "the next one leads");
    }

    #[test]
    fn large_batches_leave_in_parts_and_whole() {
        let batch = Batch::default();
        for n in 0..=u8::MAX {
            batch.join(Waiting { id: id(n), answer: oneshot::channel().0 });
        }
        let parts = Leading(&batch).take();
        assert!(parts.iter().all(|part| part.len() <= MOST));
        let mut ids: Vec<SessionId> = parts.into_iter().flatten().map(|waiting| waiting.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..=u8::MAX).map(id).collect::<Vec<_>>());
    }
}
