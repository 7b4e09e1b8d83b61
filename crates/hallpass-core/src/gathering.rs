//! Questions to a database that are sent together.
//!
//! A question that comes while fewer than a number of sendings are under way goes at once. The others wait, and go together with the next one. None joins a sending that has left: its answer
//! may be older than a revocation that was acknowledged since (G1). So under load sendings grow instead of queueing.

use std::fmt;
use std::sync::{Arc, PoisonError};

use tokio::sync::oneshot;

use crate::shim::{Mutex, MutexGuard, Rule, keeps};

/// The questions that wait. `Q` is a question, `A` its answer.
pub struct Gathering<Q, A> {
    queue: Mutex<Queue<Q, A>>,
    senders: usize,
    at_most: usize,
}

struct Queue<Q, A> {
    waiting: Vec<Waiting<Q, A>>,
    /// Those at work.
    senders: usize,
}

struct Waiting<Q, A> {
    question: Q,
    answer: oneshot::Sender<A>,
}

/// Too many wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// A question that waits.
#[derive(Debug)]
pub struct Joined<Q, A> {
    /// What it is answered; closed when its sender was dropped.
    pub answer: oneshot::Receiver<A>,
    /// A sender that the caller must set to work, in a task that belongs to no caller.
    pub sender: Option<Sender<Q, A>>,
}

impl<Q, A> fmt::Debug for Gathering<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gathering").field("senders", &self.senders).finish_non_exhaustive()
    }
}

impl<Q, A> Gathering<Q, A> {
    /// With so many sendings under way at once, and so many questions that may wait; more are refused.
    #[must_use]
    pub fn new(senders: usize, at_most: usize) -> Self {
        Self { queue: Mutex::new(Queue { waiting: Vec::new(), senders: 0 }), senders, at_most }
    }

    /// Joins the next sending. One lock, no wait.
    ///
    /// # Errors
    /// When too many wait.
    pub fn join(self: &Arc<Self>, question: Q) -> Result<Joined<Q, A>, TooMany> {
        let (caller, answer) = oneshot::channel();
        let mut queue = self.lock();
        if queue.waiting.len() >= self.at_most {
            // Those that went away leave room.
            queue.waiting.retain(|waiting| !waiting.answer.is_closed());
            if queue.waiting.len() >= self.at_most {
                return Err(TooMany);
            }
        }
        queue.waiting.push(Waiting { question, answer: caller });
        let is_needed = queue.senders < self.senders;
        queue.senders += usize::from(is_needed);
        drop(queue);
        let sender = is_needed.then(|| Sender { gathering: Arc::clone(self), is_counted: true });
        Ok(Joined { answer, sender })
    }

    fn lock(&self) -> MutexGuard<'_, Queue<Q, A>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends one batch after the other while somebody waits.
pub struct Sender<Q, A> {
    gathering: Arc<Gathering<Q, A>>,
    /// Among the senders of the queue; until it finds the queue empty.
    is_counted: bool,
}

impl<Q, A> fmt::Debug for Sender<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<Q, A> Sender<Q, A> {
    /// The questions of the next sending, at most so many. When nobody waits this is no sender any more, in the same moment: whoever asks next gets another one.
    pub fn next(&mut self, at_most: usize) -> Option<Leaving<Q, A>> {
        let mut queue = self.gathering.lock();
        let mut batch = Vec::new();
        while batch.is_empty() && !queue.waiting.is_empty() {
            let take = queue.waiting.len().min(at_most.max(1));
            batch.extend(queue.waiting.drain(..take).filter(|waiting| !waiting.answer.is_closed()));
        }
        if batch.is_empty() {
            queue.senders -= usize::from(self.is_counted);
            self.is_counted = false;
            return None;
        }
        drop(queue);
        Some(Leaving { gathering: Arc::clone(&self.gathering), batch })
    }
}

impl<Q, A> Drop for Sender<Q, A> {
    /// One that panicked, or was stopped with its runtime.
    fn drop(&mut self) {
        if self.is_counted {
            self.gathering.lock().senders -= 1;
        }
    }
}

/// Questions that leave now. When dropped, those who wait for them find their answers closed.
pub struct Leaving<Q, A> {
    gathering: Arc<Gathering<Q, A>>,
    batch: Vec<Waiting<Q, A>>,
}

impl<Q, A> fmt::Debug for Leaving<Q, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaving").field("questions", &self.batch.len()).finish_non_exhaustive()
    }
}

impl<Q, A> Leaving<Q, A> {
    /// The questions.
    pub fn questions(&self) -> impl ExactSizeIterator<Item = &Q> {
        self.batch.iter().map(|waiting| &waiting.question)
    }

    /// Answers each.
    pub fn answer(mut self, mut answer: impl FnMut(&Q) -> A) {
        if !keeps(Rule::JoinTheNextReading) {
            self.batch.append(&mut self.gathering.lock().waiting);
        }
        for Waiting { question, answer: caller } in self.batch {
            // A caller that went away is nobody's loss.
            let _ = caller.send(answer(&question));
        }
    }
}
