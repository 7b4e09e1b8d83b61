//! The one thread that writes, and its queue.
//!
//! Whatever waits is committed together: while one commit reaches the disk the next commands gather. Each runs in a savepoint of its own,
//! so one that fails fails alone. Nobody is answered before the commit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use hallpass_core::StoreError;
use rusqlite::{Connection, Error, ErrorCode, ffi};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::anchor::Anchor;
use crate::failure::Failures;
use crate::place::{ELSEWHERE, Place};
use crate::upkeep;
use crate::write_stats::Counters;

/// Commands in one commit.
const MAX_BATCH: usize = 128;
/// Upkeep begins after this long without a write.
const QUIET: Duration = Duration::from_millis(250);
/// Between two steps of upkeep: a command that comes meanwhile goes first.
const BETWEEN_STEPS: Duration = Duration::from_millis(1);
/// Under a steady stream of writes upkeep takes a turn after this many commits.
const COMMITS_BETWEEN_STEPS: u32 = 64;

/// Whether a commit must have reached stable storage before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Durability {
    /// May be lost in a power cut.
    Relaxed,
    /// Must not be.
    Durable,
}

/// Hands commands to the thread. Dropping it ends the thread once the queue is empty.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Sender<Command>,
    places: Arc<Semaphore>,
    patience: Duration,
    failures: Failures,
    thread: JoinHandle<()>,
}

struct Command {
    durability: Durability,
    work: Box<dyn Work>,
    /// Held until the command is answered: it bounds the queue.
    place: OwnedSemaphorePermit,
}

trait Work: Send {
    /// Whether nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool;
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Task<T, F> {
    work: Option<F>,
    value: Option<T>,
    caller: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Work for Task<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
{
    fn is_abandoned(&self) -> bool {
        self.caller.is_closed()
    }

    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if let Some(work) = self.work.take() {
            self.value = Some(work(connection)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { value, caller, .. } = *self;
        let answer = committed.and_then(|()| value.ok_or_else(|| StoreError::unavailable("a write did not run")));
        // Whoever asked may have gone away; the write stands.
        let _ = caller.send(answer);
    }
}

impl Writer {
    pub(crate) fn start(
        connection: Connection,
        anchor: Option<Anchor>,
        place: Place,
        failures: Failures,
        counters: Arc<Counters>,
        queue: usize,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        let (sender, receiver) = channel();
        let thread = Thread { connection, anchor, place, receiver, failures: failures.clone(), counters, level: None };
        let thread = std::thread::Builder::new()
            .name(String::from("hallpass-writer"))
            .spawn(move || thread.run())
            .map_err(|error| failures.unavailable(&format!("the writer thread cannot be started: {error}")))?;
        Ok(Self { queue: sender, places: Arc::new(Semaphore::new(queue)), patience, failures, thread })
    }

    /// Runs `work` in a transaction and answers after its commit.
    pub(crate) async fn write<T, F>(&self, durability: Durability, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let place = self.place().await?;
        let (caller, answer) = oneshot::channel();
        let work = Box::new(Task { work: Some(work), value: None, caller });
        let gone = || self.failures.unavailable("the writer thread has ended; restart the program");
        self.queue.send(Command { durability, work, place }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        let full = || self.failures.unavailable("too many writes are waiting; the disk is too slow for this load");
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => Ok(place),
            Err(_) => match tokio::time::timeout(self.patience, Arc::clone(&self.places).acquire_owned()).await {
                Ok(Ok(place)) => Ok(place),
                Ok(Err(_)) | Err(_) => Err(full()),
            },
        }
    }

    /// Waits until the queue is empty and the thread has closed its connection.
    pub(crate) fn finish(self) {
        drop(self.queue);
        // A panic of the thread was already answered with errors.
        let _ = self.thread.join();
    }
}

struct Thread {
    connection: Connection,
    /// Holds the lock that the readers share; none for a database in memory.
    anchor: Option<Anchor>,
    place: Place,
    receiver: Receiver<Command>,
    failures: Failures,
    counters: Arc<Counters>,
    /// The level of `synchronous` in force, as SQLite reported it.
    level: Option<Durability>,
}

impl Thread {
    fn run(mut self) {
        // How long the writer has been quiet since there was something to tidy up after; `None` once that is done.
        let mut quiet: Option<Duration> = None;
        let mut commits = 0;
        loop {
            self.place.look();
            let anchored = self.anchor.as_ref().map(Anchor::turn);
            let tidy = quiet.map(|so_far| QUIET.saturating_sub(so_far).max(BETWEEN_STEPS));
            let first = match anchored.into_iter().chain(tidy).min() {
                None => self.receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(wait) => match self.receiver.recv_timeout(wait) {
                    Err(RecvTimeoutError::Timeout) => {
                        quiet = quiet.map(|so_far| so_far + wait);
                        if quiet.is_some_and(|so_far| so_far >= QUIET) {
                            commits = 0;
                            // More to do: after the shortest pause. Nothing more: not before the next write.
                            quiet = self.upkeep().then_some(QUIET);
                        }
                        continue;
                    }
                    first => first,
                },
            };
            match first {
                Ok(first) => {
                    self.commit_with(first);
                    quiet = Some(Duration::ZERO);
                    commits += 1;
                    // A count that cannot be read is no reason to stop: the next pause is soon enough.
                    if commits >= COMMITS_BETWEEN_STEPS || upkeep::is_pressing(&self.connection).unwrap_or(false) {
                        commits = 0;
                        self.upkeep();
                    }
                }
                Err(_) => return,
            }
        }
    }

    fn upkeep(&mut self) -> bool {
        // A checkpoint passes no reader.
        if let Some(anchor) = &self.anchor {
            anchor.let_go();
        }
        let step = self.set_level(Durability::Relaxed).and_then(|()| upkeep::step(&self.connection));
        step.unwrap_or_else(|error| {
            // Another process may hold the lock; the next pause is soon enough.
            tracing::debug!(%error, "upkeep of the database waits");
            false
        })
    }

    fn commit_with(&mut self, first: Command) {
        let mut batch = vec![first];
        batch.extend(self.receiver.try_iter().take(MAX_BATCH - 1));
        let durability = batch.iter().map(|command| command.durability).max().unwrap_or(Durability::Durable);
        if let Err(error) = self.begin(durability) {
            if is_busy(&error) {
                // Whoever waits behind would wait the whole time-out again.
                batch.extend(self.receiver.try_iter());
            }
            return self.fail(batch, &error);
        }
        // Whoever gave up while this waited for the lock was told that nothing happened (G8): let it be so.
        batch.retain(|command| !command.work.is_abandoned());
        let mut ran = Vec::with_capacity(batch.len());
        let mut commands = batch.into_iter();
        for mut command in commands.by_ref() {
            let outcome = self.run_in_savepoint(&mut *command.work);
            ran.push((command, outcome));
            if self.connection.is_autocommit() {
                // The error took the whole transaction with it (a full disk does).
                return self.fail_all(ran, commands.collect());
            }
        }
        match self.commit() {
            Ok(()) if !self.place.look() => {
                // What was committed is in a file that nobody will open again.
                for (command, _) in ran {
                    command.work.answer(Err(self.failures.unavailable(ELSEWHERE)));
                }
            }
            Ok(()) => {
                self.count(durability, ran.len());
                for (command, outcome) in ran {
                    let outcome = outcome.map_err(|error| self.failures.explain(&error));
                    command.work.answer(outcome);
                    drop(command.place);
                }
            }
            Err(error) => {
                let commands = ran.into_iter().map(|(command, _)| command).collect();
                self.fail(commands, &error);
            }
        }
    }

    fn begin(&mut self, durability: Durability) -> rusqlite::Result<()> {
        self.set_level(durability)?;
        self.execute("BEGIN IMMEDIATE")
    }

    /// Outside of a transaction, where alone it takes effect.
    fn set_level(&mut self, durability: Durability) -> rusqlite::Result<()> {
        if self.level == Some(durability) {
            return Ok(());
        }
        let wanted = match durability {
            Durability::Relaxed => 1,
            Durability::Durable => 2,
        };
        self.level = None;
        self.connection.pragma_update(None, "synchronous", wanted)?;
        let level: i64 = self.connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
        if level != wanted {
            return Err(internal("synchronous could not be set"));
        }
        self.level = Some(durability);
        Ok(())
    }

    fn run_in_savepoint(&self, work: &mut dyn Work) -> rusqlite::Result<()> {
        self.execute("SAVEPOINT command")?;
        // The connection is only reached through SQLite's own calls, which a panic in between leaves whole.
        let outcome = catch_unwind(AssertUnwindSafe(|| work.run(&self.connection)))
            .unwrap_or_else(|_| Err(internal("the command panicked; see the log")));
        if outcome.is_err() && !self.connection.is_autocommit() {
            self.execute("ROLLBACK TO command")?;
        }
        if !self.connection.is_autocommit() {
            self.execute("RELEASE command")?;
        }
        outcome
    }

    fn commit(&self) -> rusqlite::Result<()> {
        self.execute("COMMIT").inspect_err(|_| self.roll_back())
    }

    fn roll_back(&self) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// The transaction is gone: the command that broke it answers its own error, the others the same cause.
    fn fail_all(&self, ran: Vec<(Command, rusqlite::Result<()>)>, waiting: Vec<Command>) {
        let mut commands = Vec::with_capacity(ran.len() + waiting.len());
        let mut cause = internal("the transaction was rolled back");
        for (command, outcome) in ran {
            if let Err(error) = outcome {
                cause = error;
            }
            commands.push(command);
        }
        commands.extend(waiting);
        self.fail(commands, &cause);
    }

    fn fail(&self, commands: Vec<Command>, error: &Error) {
        self.counters.failed_commits.fetch_add(1, Ordering::Relaxed);
        for command in commands {
            command.work.answer(Err(self.failures.explain(error)));
        }
    }

    fn count(&self, durability: Durability, commands: usize) {
        self.counters.commands.fetch_add(commands as u64, Ordering::Relaxed);
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
        if durability == Durability::Durable && self.level == Some(Durability::Durable) {
            self.counters.durable_commits.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn is_busy(error: &Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn internal(message: &str) -> Error {
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_INTERNAL), Some(message.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(queue: usize) -> Writer {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY)").unwrap();
        let patience = Duration::from_millis(50);
        Writer::start(connection, None, Place::of(None), Failures::in_memory(), Arc::default(), queue, patience)
            .unwrap()
    }

    async fn insert(writer: &Writer, n: i64) -> Result<usize, StoreError> {
        writer.write(Durability::Durable, move |connection| connection.execute("INSERT INTO t VALUES (?1)", [n])).await
    }

    #[tokio::test]
    async fn a_command_that_panics_or_fails_writes_nothing_and_stops_nobody() {
        let writer = writer(8);
        let panicked: Result<(), _> = writer
            .write(Durability::Durable, |connection| {
                connection.execute("INSERT INTO t VALUES (1)", [])?;
                panic!("of the test");
            })
            .await;
        assert!(matches!(panicked, Err(StoreError::Unavailable { .. })), "{panicked:?}");
        assert_eq!(insert(&writer, 1).await.unwrap(), 1, "the panicking command was rolled back");
        insert(&writer, 1).await.unwrap_err();
        assert_eq!(insert(&writer, 2).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn those_that_fail_together_with_others_fail_alone_and_commits_are_shared() {
        let writer = writer(256);
        let (opened, gate) = std::sync::mpsc::channel::<()>();
        let held = writer.write(Durability::Relaxed, move |_| Ok(gate.recv().is_ok()));
        let mut held = Box::pin(held);
        assert!(futures_poll(&mut held).await.is_none(), "the writer is held");
        let waiting: Vec<_> = (0..64).map(|n| insert(&writer, n % 63)).collect();
        let mut waiting: Vec<_> = waiting.into_iter().map(Box::pin).collect();
        for one in &mut waiting {
            assert!(futures_poll(one).await.is_none());
        }
        opened.send(()).unwrap();
        assert!(held.await.unwrap());
        let mut failed = Vec::new();
        for (n, one) in waiting.into_iter().enumerate() {
            if one.await.is_err() {
                failed.push(n);
            }
        }
        assert_eq!(failed, [63], "0 was inserted twice");
        let count: i64 = writer
            .write(Durability::Relaxed, |c| c.query_row("SELECT count(*) FROM t", [], |r| r.get(0)))
            .await
            .unwrap();
        assert_eq!(count, 63);
    }

    #[tokio::test]
    async fn durable_commands_run_under_full_and_relaxed_ones_under_normal() {
        let writer = writer(8);
        let level =
            |connection: &Connection| connection.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0));
        for _ in 0..2 {
            assert_eq!(writer.write(Durability::Durable, level).await.unwrap(), 2, "FULL");
            assert_eq!(writer.write(Durability::Relaxed, level).await.unwrap(), 1, "NORMAL");
        }
        // One durable command makes the whole batch durable.
        let (opened, gate) = std::sync::mpsc::channel::<()>();
        let mut held = Box::pin(writer.write(Durability::Relaxed, move |_| Ok(gate.recv().is_ok())));
        let mut relaxed = Box::pin(writer.write(Durability::Relaxed, level));
        let mut durable = Box::pin(writer.write(Durability::Durable, level));
        assert!(futures_poll(&mut held).await.is_none());
        assert!(futures_poll(&mut relaxed).await.is_none());
        assert!(futures_poll(&mut durable).await.is_none());
        opened.send(()).unwrap();
        assert!(held.await.unwrap());
        // The held one may have been taken alone or with the others; the last two were together in any case.
        assert_eq!((relaxed.await.unwrap(), durable.await.unwrap()), (2, 2));
    }

    #[tokio::test]
    async fn g8_a_write_whose_caller_gave_up_while_it_waited_does_not_happen_later() {
        let writer = writer(8);
        let (opened, gate) = std::sync::mpsc::channel::<()>();
        let mut held = Box::pin(writer.write(Durability::Relaxed, move |_| Ok(gate.recv().is_ok())));
        assert!(futures_poll(&mut held).await.is_none(), "the writer is held");
        let mut given_up = Box::pin(insert(&writer, 1));
        let mut patient = Box::pin(insert(&writer, 2));
        assert!(futures_poll(&mut given_up).await.is_none() && futures_poll(&mut patient).await.is_none());
        drop(given_up);
        opened.send(()).unwrap();
        assert!(held.await.unwrap());
        assert_eq!(patient.await.unwrap(), 1);
        assert_eq!(insert(&writer, 1).await.unwrap(), 1, "the abandoned one was not run");
    }

    #[tokio::test]
    async fn a_full_queue_is_unavailable_and_not_a_growing_one() {
        let writer = writer(1);
        let (opened, gate) = std::sync::mpsc::channel::<()>();
        let mut held = Box::pin(writer.write(Durability::Relaxed, move |_| Ok(gate.recv().is_ok())));
        assert!(futures_poll(&mut held).await.is_none());
        let refused = insert(&writer, 1).await;
        assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
        opened.send(()).unwrap();
        assert!(held.await.unwrap());
        insert(&writer, 1).await.unwrap();
    }

    /// Polls once.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }
}
