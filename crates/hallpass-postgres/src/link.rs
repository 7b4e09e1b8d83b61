//! A connection that comes back by itself.
//!
//! A task opens it, drives it, and opens another one when it ends: at once the first time, then with pauses that grow to a second and are
//! jittered, so that many programs do not fall upon a server that just started. Callers wait for the first attempt, and are refused at once
//! while the server is known to be away.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::connector::{Connector, Driver, Purpose};
use crate::failure::Failure;
use crate::session::Session;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
enum State {
    /// An attempt is under way, and the one before did not fail.
    Opening,
    Up(Arc<Session>),
    /// The last attempt failed; the next one comes by itself.
    Down(Failure),
}

/// One supervised connection.
#[derive(Debug)]
pub(crate) struct Link {
    state: watch::Receiver<State>,
    opened: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    connector: Arc<Connector>,
}

impl Link {
    pub(crate) fn start(connector: &Arc<Connector>, purpose: Purpose) -> Self {
        let (publish, state) = watch::channel(State::Opening);
        let (stop, stopped) = watch::channel(false);
        let opened = Arc::new(AtomicU64::new(0));
        let keeper =
            Keeper { connector: Arc::clone(connector), purpose, publish, stopped, opened: Arc::clone(&opened) };
        let task = tokio::spawn(supervise(keeper));
        Self { state, opened, stop, task, connector: Arc::clone(connector) }
    }

    /// The open connection; waits for one that is being opened.
    pub(crate) async fn session(&self, deadline: Instant) -> Result<Arc<Session>, Failure> {
        if let State::Up(session) = &*self.state.borrow()
            && session.is_usable()
        {
            return Ok(Arc::clone(session));
        }
        let mut state = self.state.clone();
        loop {
            match &*state.borrow_and_update() {
                State::Up(session) if session.is_usable() => return Ok(Arc::clone(session)),
                State::Down(failure) => return Err(failure.clone()),
                State::Up(_) | State::Opening => {}
            }
            match tokio::time::timeout_at(deadline, state.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(self.connector.failures().unavailable("the store is closed")),
                Err(_) => {
                    return Err(self
                        .connector
                        .failures()
                        .unavailable("no connection in time; the server does not answer"));
                }
            }
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(&*self.state.borrow(), State::Up(session) if session.is_usable())
    }

    /// How often a connection was opened.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Says goodbye to the server; nothing may be under way.
    pub(crate) async fn close(mut self) {
        let _ = self.stop.send(true);
        let _ = tokio::time::timeout(LONGEST_PAUSE, &mut self.task).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends with the task that waits for it.
#[derive(Debug)]
pub(crate) struct AbortedWithUs(pub(crate) JoinHandle<()>);

impl Drop for AbortedWithUs {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A panic, in the driver for instance, costs a connection and not the store.
async fn supervise(keeper: Keeper) {
    loop {
        let mut task = AbortedWithUs(tokio::spawn(keeper.clone().keep()));
        let Err(error) = (&mut task.0).await else { return };
        tracing::error!(%error, "the task of a database connection ended; starting another one");
        let failure = keeper.connector.failures().unavailable("the connection's task ended; another one is started");
        keeper.publish.send_replace(State::Down(failure));
        tokio::time::sleep(pause(u32::MAX)).await;
    }
}

/// How a connection ended.
enum End {
    /// By itself.
    Lost,
    /// It did not answer.
    GivenUp,
    /// The store is closed.
    Stopped,
}

#[derive(Clone)]
struct Keeper {
    connector: Arc<Connector>,
    purpose: Purpose,
    publish: watch::Sender<State>,
    stopped: watch::Receiver<bool>,
    opened: Arc<AtomicU64>,
}

impl Keeper {
    async fn keep(mut self) {
        let mut failures: u32 = 0;
        loop {
            let opened = tokio::select! {
                opened = self.connector.open(self.purpose) => opened,
                _ = self.stopped.changed() => return,
            };
            match opened {
                Ok((session, driver)) => {
                    if failures > 0 {
                        tracing::info!(database = self.connector.target().place, "the database is back");
                    }
                    self.opened.fetch_add(1, Ordering::Relaxed);
                    let since = Instant::now();
                    if matches!(self.drive(session, driver).await, End::Stopped) {
                        return;
                    }
                    // One that ends at once again and again is no connection.
                    failures = if since.elapsed() < LONGEST_PAUSE { failures.saturating_add(1) } else { 0 };
                    if failures <= 1 {
                        continue;
                    }
                }
                Err(failure) => {
                    if failures == 0 {
                        tracing::warn!(error = failure.message(), "the database cannot be reached; trying again");
                    }
                    failures = failures.saturating_add(1);
                    self.publish.send_replace(State::Down(failure));
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause(failures)) => {}
                _ = self.stopped.changed() => return,
            }
        }
    }

    /// Until the connection ends.
    async fn drive(&mut self, session: Session, mut driver: Driver) -> End {
        let session = Arc::new(session);
        self.publish.send_replace(State::Up(Arc::clone(&session)));
        let end = tokio::select! {
            ended = &mut driver => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection to the database ended");
                }
                End::Lost
            }
            () = session.was_given_up() => End::GivenUp,
            _ = self.stopped.changed() => End::Stopped,
        };
        self.publish.send_replace(State::Opening);
        match end {
            End::Lost => {}
            End::GivenUp => {
                self.connector.is_silent(session.server().host);
                let token = session.cancel_token();
                // Whoever still waits on it gets an error.
                drop(driver);
                self.connector.cancel(token).await;
            }
            End::Stopped => {
                // With the last client gone the driver tells the server and ends.
                drop(session);
                let _ = tokio::time::timeout(LONGEST_PAUSE, driver).await;
            }
        }
        end
    }
}

/// Half of it is by chance.
pub(crate) fn pause(failures: u32) -> Duration {
    let whole = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(8)).min(LONGEST_PAUSE);
    let chance = RandomState::new().hash_one(failures) % 1000;
    whole.mul_f64(0.5 + chance as f64 / 2000.0)
}
