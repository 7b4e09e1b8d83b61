//! The tasks that run beside the requests: writing last-seen times and sweeping.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Event, Sessions, Timestamp, following, hints};

/// How often last-seen times are written.
const FLUSH_INTERVAL: Duration = Duration::from_secs(15);
/// How long shutting down may take for each task.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);

/// How a background task is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskStatus {
    /// When it last succeeded; `None` if never.
    pub last_success: Option<Timestamp>,
    /// How often it has failed.
    pub failures: u64,
}

/// How the background tasks are doing, for health checks and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackgroundStatus {
    /// Writing last-seen times.
    pub last_seen: TaskStatus,
    /// Removing dead rows.
    pub sweep: TaskStatus,
    /// Following the revocation log; `None` in the strict mode.
    pub follow: Option<TaskStatus>,
}

#[derive(Debug, Default)]
pub(crate) struct TaskRecord {
    last_success: AtomicI64,
    failures: AtomicU64,
}

impl TaskRecord {
    pub(crate) fn status(&self) -> TaskStatus {
        let at = self.last_success.load(Ordering::Relaxed);
        TaskStatus {
            last_success: (at > 0).then(|| Timestamp::from_millis(at)),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn succeeded(&self, now: Timestamp) {
        self.last_success.store(now.as_millis(), Ordering::Relaxed);
    }
}

/// The running background tasks. Call [`Background::shutdown`] when the program ends, or the last seconds of last-seen times are
/// lost (and nothing else). Dropping it stops the tasks.
#[derive(Debug)]
pub struct Background {
    sessions: Sessions,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Background {
    pub(crate) fn start(sessions: Sessions) -> Self {
        let (stop, stopped) = watch::channel(false);
        let flush = tokio::spawn(supervise(
            "last_seen",
            FLUSH_INTERVAL,
            sessions.clone(),
            stopped.clone(),
            |sessions| async move { sessions.flush_last_seen().await.map(drop).map_err(|error| error.to_string()) },
            |sessions| &sessions.inner.last_seen_task,
        ));
        let interval = sessions.inner.sweep.interval.max(Duration::from_secs(1));
        let sweep = tokio::spawn(supervise(
            "sweep",
            interval,
            sessions.clone(),
            stopped.clone(),
            |sessions| async move { sessions.sweep_in_background().await.map(drop).map_err(|error| error.to_string()) },
            |sessions| &sessions.inner.sweep_task,
        ));
        // A node that reads the store for each check may have others beside it that do not.
        let hint = tokio::spawn(hints::run(sessions.clone(), stopped.clone()));
        let mut tasks = vec![flush, sweep, hint];
        if sessions.inner.cache.is_some() {
            tasks.push(tokio::spawn(following::run(sessions.clone(), stopped)));
        }
        Self { sessions, stop, tasks }
    }

    /// Stops the tasks, writes the last-seen times that are still in memory, and leaves the registry of nodes. Takes at most about 30 seconds.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        for mut task in std::mem::take(&mut self.tasks) {
            if tokio::time::timeout(SHUTDOWN_PATIENCE, &mut task).await.is_err() {
                task.abort();
            }
        }
        let flushed = tokio::time::timeout(SHUTDOWN_PATIENCE, self.sessions.flush_last_seen()).await;
        if let Ok(Err(error)) = flushed {
            self.sessions.emit(&Event::TaskFailed { task: "last_seen", error: error.to_string() });
        }
        // Where that fails nobody is harmed: revocations that wait do so for a lease, until others remove the row.
        let left = tokio::time::timeout(SHUTDOWN_PATIENCE, self.sessions.leave()).await;
        if let Ok(Err(error)) = left {
            self.sessions.emit(&Event::TaskFailed { task: "follow", error: error.to_string() });
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Runs `turn` again and again until told to stop. A failing or panicking turn is reported and followed by the next: a
/// background task that dies of its first error is how other systems fill their disks.
async fn supervise<F>(
    task: &'static str,
    interval: Duration,
    sessions: Sessions,
    mut stopped: watch::Receiver<bool>,
    turn: impl Fn(Sessions) -> F + Send + Sync + 'static,
    record: impl Fn(&Sessions) -> &TaskRecord + Send + Sync + 'static,
) where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    // Nodes that start together should not sweep together.
    let mut pause = interval.mul_f64(0.5 + f64::from(Arc::as_ptr(&sessions.inner).addr() as u8) / 512.0);
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = interval;
        let mut running = tokio::spawn(turn(sessions.clone()));
        let outcome = tokio::select! {
            outcome = &mut running => outcome,
            _ = stopped.changed() => {
                // Every step of a turn is a commit of its own, so stopping between them loses nothing.
                running.abort();
                return;
            }
        };
        let record = record(&sessions);
        match outcome {
            Ok(Ok(())) => record.succeeded(sessions.now()),
            Ok(Err(error)) => fail(task, &sessions, record, error),
            Err(panic) => fail(task, &sessions, record, format!("it panicked: {panic}")),
        }
    }
}

fn fail(task: &'static str, sessions: &Sessions, record: &TaskRecord, error: String) {
    record.failed();
    sessions.emit(&Event::TaskFailed { task, error });
}
