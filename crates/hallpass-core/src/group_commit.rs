//! Group commit: changes that come while one is being committed go together in the next transaction.
//!
//! Revocations hold the lock of the log's counter to their commit, so one after the other they go at the pace of the disk, with a sync for each. Together they
//! take one. A store whose server does not do that by itself implements [`Committer`] and calls [`commit`].
//!
//! - One that comes alone goes at once, as it would without this, and nobody waits for others to come: there is no timer.
//! - Who gave up while it waited here is left out: nothing is done later for it. A transaction of many belongs to none of them, so nobody takes it along.
//! - Nobody waits for long: what is under way may be stuck. After [`BESIDE_AFTER`] it counts no longer, and others go on beside it, for as long as
//!   the store has connections for that.
//! - What one of them runs into must not cost the others: whatever was surely not committed is tried by each alone.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// The most changes of one transaction.
pub const MOST: usize = 64;
/// How long changes wait for those under way, before they go on beside them.
pub const BESIDE_AFTER: Duration = Duration::from_millis(50);
/// How many may wait at once; more go alone.
const MOST_WAITING: usize = 4096;

/// What commits changes, each alone or several together.
pub trait Committer: Send + Sync + Sized + 'static {
    /// A change.
    type Change: Clone + Send + Sync + 'static;
    /// What its caller is answered.
    type Answer: Send + 'static;
    /// Why there is no answer.
    type Failure: Send + 'static;

    /// Where those wait that come while another one is under way.
    fn queue(&self) -> &Queue<Self>;

    /// How many transactions may be under way at once where some are stuck.
    fn at_once(&self) -> usize;

    /// Commits one change, by `deadline` at the latest, and does nothing of it later when it is dropped.
    fn alone(
        &self,
        change: &Self::Change,
        deadline: Instant,
    ) -> impl Future<Output = Result<Self::Answer, Self::Failure>> + Send;

    /// Takes a connection, then [`Queue::next`], commits them in one transaction and tells each what became of it. Who is not told anything finds out that
    /// nobody answers.
    fn together(&self) -> impl Future<Output = ()> + Send;

    /// There was no answer in time, and nobody knows whether the change happened.
    fn unanswered(&self) -> Self::Failure;
}

/// What became of a change that was to go with others.
#[derive(Debug)]
pub enum Told<A, F> {
    /// It is committed.
    Done(A),
    /// Nothing was done, for a reason that may concern another one: it goes alone.
    Alone,
    /// It failed, or nobody knows.
    Failed(F),
}

/// What is under way, and which changes wait.
pub struct Queue<C: Committer>(Mutex<State<C>>);

struct State<C: Committer> {
    /// When each of those under way began.
    turns: Vec<(u64, Instant)>,
    /// Of the next one.
    number: u64,
    waiting: VecDeque<Waiting<C>>,
}

impl<C: Committer> Default for Queue<C> {
    fn default() -> Self {
        Self(Mutex::new(State { turns: Vec::new(), number: 0, waiting: VecDeque::new() }))
    }
}

impl<C: Committer> fmt::Debug for Queue<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl<C: Committer> State<C> {
    /// Whether one may begin: nothing is under way that may soon be over, and not too much is stuck.
    fn may_begin(&self, at_once: usize, now: Instant) -> bool {
        self.turns.len() < at_once.max(1) && self.turns.iter().all(|(_, since)| now >= *since + BESIDE_AFTER)
    }

    fn begin(&mut self, now: Instant) -> u64 {
        self.number += 1;
        self.turns.push((self.number, now));
        self.number
    }
}

impl<C: Committer> Queue<C> {
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to [`MOST`] of those that still wait for their answer, in the order in which they came. For [`Committer::together`], once it has its connection.
    pub fn next(&self) -> Vec<Waiting<C>> {
        let mut state = self.lock();
        let mut next = Vec::new();
        while next.len() < MOST
            && let Some(one) = state.waiting.pop_front()
        {
            if one.is_wanted() {
                next.push(one);
            }
        }
        next
    }
}

/// A change that goes with others.
pub struct Waiting<C: Committer> {
    change: C::Change,
    deadline: Instant,
    tell: oneshot::Sender<Told<C::Answer, C::Failure>>,
}

impl<C: Committer> fmt::Debug for Waiting<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl<C: Committer> Waiting<C> {
    /// The change.
    pub const fn change(&self) -> &C::Change {
        &self.change
    }

    /// When its caller stops waiting.
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether its caller still waits.
    pub fn is_wanted(&self) -> bool {
        !self.tell.is_closed()
    }

    /// Tells what became of it.
    pub fn tell(self, told: Told<C::Answer, C::Failure>) {
        // Who has gone away meanwhile needs no answer.
        let _ = self.tell.send(told);
    }
}

enum Place<C: Committer> {
    First(Turn<C>),
    Waits(oneshot::Receiver<Told<C::Answer, C::Failure>>),
    /// There are too many.
    Full,
}

/// One that is under way. At its end, however it comes, those that wait are next.
struct Turn<C: Committer> {
    committer: Arc<C>,
    number: u64,
    /// Not in a task that was never run: then there is nobody to go on.
    begun: bool,
}

impl<C: Committer> Drop for Turn<C> {
    fn drop(&mut self) {
        let left = {
            let mut state = self.committer.queue().lock();
            state.turns.retain(|(number, _)| *number != self.number);
            if self.begun { VecDeque::new() } else { std::mem::take(&mut state.waiting) }
        };
        // Told that nobody answers.
        drop(left);
        if self.begun {
            start(&self.committer);
        }
    }
}

/// Begins with those that wait, if there are any and one may begin: in a task that none of them can take along when it gives up.
fn start<C: Committer>(committer: &Arc<C>) {
    let number = {
        let (mut state, now) = (committer.queue().lock(), Instant::now());
        if state.waiting.is_empty() || !state.may_begin(committer.at_once(), now) {
            return;
        }
        state.begin(now)
    };
    let mut turn = Turn { committer: Arc::clone(committer), number, begun: false };
    // Without a runtime the turn ends here.
    let Ok(runtime) = Handle::try_current() else { return };
    runtime.spawn(async move {
        turn.begun = true;
        turn.committer.together().await;
    });
}

/// Commits a change, by `deadline` at the latest: alone if it comes alone, and otherwise with those that come meanwhile.
///
/// # Errors
/// As [`Committer::alone`] has them, and [`Committer::unanswered`].
pub async fn commit<C: Committer>(
    committer: &Arc<C>,
    change: &C::Change,
    deadline: Instant,
) -> Result<C::Answer, C::Failure> {
    match join(committer, change, deadline) {
        Place::First(turn) => {
            let answer = committer.alone(change, deadline).await;
            drop(turn);
            answer
        }
        Place::Full => committer.alone(change, deadline).await,
        Place::Waits(told) => match wait(committer, deadline, told).await? {
            Told::Done(answer) => Ok(answer),
            Told::Failed(failure) => Err(failure),
            Told::Alone => committer.alone(change, deadline).await,
        },
    }
}

fn join<C: Committer>(committer: &Arc<C>, change: &C::Change, deadline: Instant) -> Place<C> {
    let (mut state, now) = (committer.queue().lock(), Instant::now());
    // Those that wait already come first.
    if state.waiting.is_empty() && state.may_begin(committer.at_once(), now) {
        let number = state.begin(now);
        return Place::First(Turn { committer: Arc::clone(committer), number, begun: true });
    }
    if state.waiting.len() >= MOST_WAITING {
        // Those that went away leave room.
        state.waiting.retain(Waiting::is_wanted);
        if state.waiting.len() >= MOST_WAITING {
            return Place::Full;
        }
    }
    let (tell, told) = oneshot::channel();
    state.waiting.push_back(Waiting { change: change.clone(), deadline, tell });
    Place::Waits(told)
}

async fn wait<C: Committer>(
    committer: &Arc<C>,
    deadline: Instant,
    mut told: oneshot::Receiver<Told<C::Answer, C::Failure>>,
) -> Result<Told<C::Answer, C::Failure>, C::Failure> {
    while Instant::now() < deadline {
        // Again and again: those that were under way may be stuck by now, or another one of them over.
        start(committer);
        match timeout_at(deadline.min(Instant::now() + BESIDE_AFTER), &mut told).await {
            Ok(Ok(told)) => return Ok(told),
            Ok(Err(_)) => break,
            Err(_) => {}
        }
    }
    Err(committer.unanswered())
}

#[cfg(test)]
mod tests;
