//! Hints that the revocation log has got something new.
//!
//! A node that is told so asks the log at once instead of at its next turn, which is how other nodes learn of a revocation within milliseconds as a rule. Nothing rests on hints: one that
//! is lost, late, doubled or forged costs a reading at most. None moves a node's place in the log or extends its lease.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::{Sessions, Timestamp, shim};

/// How long sending one may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two of them; what happens meanwhile goes with the next one.
const PAUSE: Duration = Duration::from_millis(10);

/// What a store hears of hints, for one node.
#[derive(Debug)]
pub struct Hints(watch::Receiver<u64>);

/// The store's end of [`Hints`]: hears while somebody wants to know. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct HintSource(Arc<Mutex<Option<watch::Sender<u64>>>>);

impl HintSource {
    /// What is heard from now on. Calls `start`, which begins to listen, unless that goes on already. It ends when [`HintSource::is_wanted`] says so.
    #[must_use]
    pub fn listen(&self, start: impl FnOnce()) -> Hints {
        let mut sender = self.lock();
        if let Some(sender) = &*sender {
            return Hints(sender.subscribe());
        }
        let (new, hints) = watch::channel(0);
        *sender = Some(new);
        start();
        Hints(hints)
    }

    /// Somebody may have changed the log. Those that come before a node has looked are one.
    pub fn heard(&self) {
        if let Some(sender) = &*self.lock() {
            sender.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Whether anybody still wants to hear. Where not, whoever listens must end; the next one begins anew.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        let mut sender = self.lock();
        let is_wanted = sender.as_ref().is_some_and(|sender| !sender.is_closed());
        if !is_wanted {
            *sender = None;
        }
        is_wanted
    }

    /// Waits until nobody wants to hear; then [`HintSource::is_wanted`] says whether that is still so.
    pub async fn unwanted(&self) {
        let sender = self.lock().clone();
        if let Some(sender) = sender {
            sender.closed().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<watch::Sender<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hints {
    /// Waits for the next hint since the last call; for ever, once the store listens no more.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What is to be told, and what was heard.
#[derive(Debug, Default)]
pub(crate) struct Hinting {
    is_due: AtomicBool,
    due: Notify,
    heard: AtomicU64,
    last: AtomicI64,
}

impl Hinting {
    pub(crate) fn is_due(&self) {
        self.is_due.store(true, Ordering::Relaxed);
        self.due.notify_one();
    }

    pub(crate) fn has_heard(&self, now: Timestamp) {
        self.heard.fetch_add(1, Ordering::Relaxed);
        self.last.store(now.as_millis(), Ordering::Relaxed);
    }

    /// How many, and when the last one was.
    pub(crate) fn heard(&self) -> (u64, Option<Timestamp>) {
        let last = self.last.load(Ordering::Relaxed);
        (self.heard.load(Ordering::Relaxed), (last > 0).then(|| Timestamp::from_millis(last)))
    }
}

/// Tells other nodes, soon after each change, until told to stop.
pub(crate) async fn run(sessions: Sessions, mut stopped: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            () = sessions.inner.hinting.due.notified() => {}
        }
        tokio::select! {
            _ = stopped.changed() => return,
            () = sessions.hint() => {}
        }
        tokio::select! {
            _ = stopped.changed() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

impl Sessions {
    /// Tells other nodes what this one has changed since it last told them, so that they need not wait until they read the log anyway. Best effort: a hint that fails
    /// is none. The background tasks do this after each change; a program that starts none and ends soon may do it itself.
    pub async fn hint(&self) {
        if !self.inner.hinting.is_due.swap(false, Ordering::Relaxed) {
            return;
        }
        match shim::within(PATIENCE, self.inner.store.hint()).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::debug!(%error, "a hint could not be sent"),
            None => tracing::debug!("a hint could not be sent in time"),
        }
    }
}
