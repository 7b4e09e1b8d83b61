//! Finishes what a command could not: ends the sessions of accounts that were changed (see [`crate::session_ends`]), at the start and
//! again and again. The same of what a provider's logout left behind (see [`crate::provider_logouts`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use hallpass_core::{Clock, SystemClock, TaskStatus, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::engine::Engine;
use crate::provider_logouts;
use crate::session_ends::finish;

/// A disabled account must not keep its sessions for the whole of a long sweep interval. With nothing to do a turn is one small read.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long one turn may take.
const TURN_PATIENCE: Duration = Duration::from_secs(60);

/// How the task is doing.
#[derive(Debug, Default)]
pub(super) struct Status {
    last_success: AtomicI64,
    failures: AtomicU64,
}

impl Status {
    pub(super) fn read(&self) -> TaskStatus {
        let at = self.last_success.load(Ordering::Relaxed);
        TaskStatus {
            last_success: (at > 0).then(|| Timestamp::from_millis(at)),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }
}

/// The running task.
#[derive(Debug)]
pub(super) struct PendingEnds {
    status: Arc<Status>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl PendingEnds {
    /// Starts with a turn at once.
    pub(super) fn start(engine: &Engine, sweep_interval: Duration) -> Self {
        let status = Arc::new(Status::default());
        let (stop, stopped) = watch::channel(false);
        let pause = sweep_interval.min(LONGEST_PAUSE);
        let task = tokio::spawn(run(engine.clone(), pause, Arc::clone(&status), stopped));
        Self { status, stop, task }
    }

    pub(super) fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Stops after the step it is at; what remains is for the next start.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        // The task only ends; if it panicked, its turns have said so.
        let _ = self.task.await;
    }
}

async fn run(engine: Engine, pause: Duration, status: Arc<Status>, mut stopped: watch::Receiver<bool>) {
    let mut after: Option<String> = None;
    loop {
        // A task of its own, so that a panic ends the turn and not the turns.
        let turn = engine.clone();
        let from = after.take();
        let mut turn = tokio::spawn(async move {
            let work = async {
                let ended = finish(&*turn.accounts, &turn.sessions).await.map_err(|error| error.to_string())?;
                let logouts = provider_logouts::turn(&*turn.accounts, &turn.sessions, from.as_deref()).await;
                let logouts = logouts.map_err(|error| error.to_string())?;
                Ok((ended.saturating_add(logouts.ended), logouts.after))
            };
            let finished = tokio::time::timeout(TURN_PATIENCE, work).await;
            finished.unwrap_or_else(|_| Err(format!("no end after {TURN_PATIENCE:?}")))
        });
        let outcome = tokio::select! {
            outcome = &mut turn => outcome.unwrap_or_else(|panic| Err(format!("it panicked: {panic}"))),
            _ = stopped.wait_for(|stop| *stop) => {
                // Each step is a commit of its own and may be repeated.
                turn.abort();
                return;
            }
        };
        match outcome {
            Ok((ended, next)) => {
                after = next;
                status.last_success.store(SystemClock.now().as_millis(), Ordering::Relaxed);
                if ended > 0 {
                    tracing::info!(target: "hallpass", ended, "sessions of changed accounts and of logouts were ended");
                }
            }
            Err(error) => {
                status.failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!(target: "hallpass", error = %error, "sessions of changed accounts or of logouts could not be ended; tried again soon");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}
