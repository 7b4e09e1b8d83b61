//! A few connections, opened as calls need them, and how work runs on them: within a time, tried again where that is right, and only there.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use hallpass_core::StoreError;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::connection::{Connection, Connector, Fault};

/// How long a call may take in all: waiting for a connection, every statement, and trying again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// The same for what looks at many rows: counting, and sweeping.
pub(crate) const LONG_PATIENCE: Duration = Duration::from_secs(30);
/// How long a server lets one statement run, or wait for a lock: it gives up before the caller does, so that nothing goes on for a caller that was told no.
pub(crate) const SERVER_PATIENCE: Duration = Duration::from_secs(4);
/// How long opening a connection may take, TLS and sign-in included.
pub(crate) const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// How often one call is tried at most.
const MOST_ATTEMPTS: u32 = 8;
/// The pause after the first conflict with others; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(4);

/// How a transaction is to end.
pub(crate) enum Ending<T> {
    /// With a commit.
    Commit(T),
    /// With nothing written.
    RollBack(T),
}

/// Work in one transaction. It may run again from its beginning, after a conflict with others.
#[async_trait]
pub(crate) trait Transaction: Sync {
    /// What it answers.
    type Answer: Send;

    async fn run(&self, connection: &mut dyn Connection) -> Result<Ending<Self::Answer>, Fault>;
}

/// One statement that reads, and what its rows say. Read again as often as is right.
#[async_trait]
pub(crate) trait Read: Sync {
    /// What it answers.
    type Answer: Send;

    async fn run(&self, connection: &mut dyn Connection) -> Result<Self::Answer, Fault>;
}

pub(crate) struct Pool {
    connector: Arc<dyn Connector>,
    places: Semaphore,
    idle: Mutex<Vec<Box<dyn Connection>>>,
    /// Writes take turns in the database; those of this process here already, so that none of them holds a connection while it waits.
    turn: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("connector", &self.connector).finish_non_exhaustive()
    }
}

/// Where a transaction failed.
enum Failed {
    /// Nothing of it holds.
    Before(Fault),
    /// Its commit was sent, and it may have happened.
    Unknown(Fault),
}

/// A connection in use. Unless it is given back it is closed.
struct Lease<'a> {
    connection: Box<dyn Connection>,
    /// It was used before, so the server may have closed it meanwhile.
    reused: bool,
    _place: SemaphorePermit<'a>,
}

impl Pool {
    pub(crate) fn new(connector: Arc<dyn Connector>, connections: usize) -> Self {
        Self {
            connector,
            places: Semaphore::new(connections.max(1)),
            idle: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Where the database is.
    pub(crate) fn place(&self) -> &str {
        self.connector.place()
    }

    /// A lost connection is no reason to fail: reading again is as good.
    pub(crate) async fn read<R: Read>(&self, patience: Duration, work: &R) -> Result<R::Answer, StoreError> {
        let deadline = Instant::now() + patience;
        let mut attempt = 1;
        loop {
            let mut lease = self.take(deadline).await?;
            let Ok(outcome) = timeout_at(deadline, work.run(&mut *lease.connection)).await else {
                return Err(self.timed_out(patience));
            };
            let fault = match outcome {
                Ok(answer) => {
                    self.give_back(lease);
                    return Ok(answer);
                }
                Err(fault) => fault,
            };
            let again = may_try_again(&fault, lease.reused, attempt);
            if matches!(fault, Fault::Lost(_)) {
                self.distrust();
            } else {
                self.give_back(lease);
            }
            if !again {
                return Err(fault.explained(self.place()));
            }
            pause(&fault, attempt).await;
            attempt += 1;
        }
    }

    /// One transaction, anew from its beginning after a conflict. Never again once it may have been committed.
    pub(crate) async fn write<T: Transaction>(&self, patience: Duration, work: &T) -> Result<T::Answer, StoreError> {
        let deadline = Instant::now() + patience;
        let Ok(_turn) = timeout_at(deadline, self.turn.lock()).await else {
            return Err(self.timed_out(patience));
        };
        let mut attempt = 1;
        loop {
            let mut lease = self.take(deadline).await?;
            let Ok(outcome) = timeout_at(deadline, in_transaction(&mut *lease.connection, work)).await else {
                return Err(self.timed_out(patience));
            };
            let fault = match outcome {
                Ok(answer) => {
                    self.give_back(lease);
                    return Ok(answer);
                }
                Err(Failed::Unknown(fault)) => {
                    self.distrust();
                    return Err(fault.explained(self.place()));
                }
                Err(Failed::Before(fault)) => fault,
            };
            let again = may_try_again(&fault, lease.reused, attempt);
            if matches!(fault, Fault::Lost(_)) {
                self.distrust();
            } else if matches!(timeout_at(deadline, lease.connection.roll_back()).await, Ok(Ok(()))) {
                self.give_back(lease);
            }
            if !again {
                return Err(fault.explained(self.place()));
            }
            pause(&fault, attempt).await;
            attempt += 1;
        }
    }

    async fn take(&self, deadline: Instant) -> Result<Lease<'_>, StoreError> {
        let place = match timeout_at(deadline, self.places.acquire()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(self.unavailable("it is closed")),
            Err(_) => return Err(self.unavailable("all connections stayed in use; it is overloaded, or give it more")),
        };
        while let Some(connection) = self.last_idle() {
            if connection.is_usable() {
                return Ok(Lease { connection, reused: true, _place: place });
            }
        }
        let limit = CONNECT_PATIENCE.min(deadline.saturating_duration_since(Instant::now()));
        match timeout(limit, self.connector.connect()).await {
            Ok(Ok(connection)) => Ok(Lease { connection, reused: false, _place: place }),
            Ok(Err(fault)) => Err(fault.explained(self.place())),
            Err(_) => {
                Err(self.unavailable(&format!("no connection within {limit:?}; check that the server can be reached")))
            }
        }
    }

    fn last_idle(&self) -> Option<Box<dyn Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, lease: Lease<'_>) {
        // Before the place is free, so that there are never more connections than places.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(lease.connection);
    }

    /// A connection broke or did not answer: others as old are not to be trusted either.
    fn distrust(&self) {
        let old = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        drop(old);
    }

    fn timed_out(&self, patience: Duration) -> StoreError {
        self.distrust();
        self.unavailable(&format!(
            "no answer within {patience:?}; check that the server can be reached and is not overloaded"
        ))
    }

    fn unavailable(&self, what: &str) -> StoreError {
        StoreError::unavailable(format!("{}: {what}", self.place()))
    }
}

async fn in_transaction<T: Transaction>(connection: &mut dyn Connection, work: &T) -> Result<T::Answer, Failed> {
    connection.begin().await.map_err(Failed::Before)?;
    let answer = match work.run(connection).await.map_err(Failed::Before)? {
        Ending::Commit(answer) => answer,
        Ending::RollBack(answer) => {
            connection.roll_back().await.map_err(Failed::Before)?;
            return Ok(answer);
        }
    };
    match connection.commit().await {
        Ok(()) => Ok(answer),
        // The server says that it undid it.
        Err(fault @ Fault::Conflict(_)) => Err(Failed::Before(fault)),
        Err(fault) => Err(Failed::Unknown(fault)),
    }
}

/// After a conflict, and on a connection that the server had closed while it was not used. Nothing was committed.
fn may_try_again(fault: &Fault, reused: bool, attempt: u32) -> bool {
    attempt < MOST_ATTEMPTS && (matches!(fault, Fault::Conflict(_)) || (matches!(fault, Fault::Lost(_)) && reused))
}

async fn pause(fault: &Fault, attempt: u32) {
    if matches!(fault, Fault::Conflict(_)) {
        let whole = FIRST_PAUSE.saturating_mul(1 << attempt.min(6));
        // By chance, so that those that met do not meet again.
        let chance = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), attempt) % 512;
        sleep(whole.mul_f64(0.5 + chance as f64 / 1024.0)).await;
    }
}
