//! A few connections, opened as calls need them, and how work runs on them: within a time, tried again where that is right, and only there.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::connection::{Columns, Connection, Connector, Fault, Value};
use super::{CONNECT_PATIENCE, PATIENCE};
use crate::accounts::AccountsError;

/// The most connections of this process.
const CONNECTIONS: usize = 4;
/// How often one call is tried at most.
const MOST_ATTEMPTS: u32 = 8;
/// The pause after the first conflict with others; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(4);

/// What runs on a connection, for as long as that is lent.
type Running<'c, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'c>>;

pub(super) struct Pool {
    connector: Arc<dyn Connector>,
    places: Semaphore,
    idle: Mutex<Vec<Box<dyn Connection>>>,
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
    pub(super) fn new(connector: Arc<dyn Connector>) -> Self {
        Self { connector, places: Semaphore::new(CONNECTIONS), idle: Mutex::default() }
    }

    /// Runs one statement that reads. A lost connection is no reason to fail: reading again is as good.
    pub(super) async fn read(&self, sql: &str, values: &[Value]) -> Result<Vec<Columns>, AccountsError> {
        let deadline = Instant::now() + PATIENCE;
        let mut attempt = 1;
        loop {
            let mut lease = self.take(deadline).await?;
            let Ok(outcome) = timeout_at(deadline, lease.connection.read(sql, values)).await else {
                return Err(self.timed_out());
            };
            let fault = match outcome {
                Ok(rows) => {
                    self.give_back(lease);
                    return Ok(rows);
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
                return Err(fault.into());
            }
            pause(&fault, attempt).await;
            attempt += 1;
        }
    }

    /// Runs `work` in one transaction and commits it; anew from its beginning after a conflict. Never again once it may have been committed.
    pub(super) async fn write<'s, T: Send>(
        &'s self,
        work: impl for<'c> Fn(&'c mut (dyn Connection + 's)) -> Running<'c, T> + Send + Sync + 's,
    ) -> Result<T, Fault> {
        let deadline = Instant::now() + PATIENCE;
        let mut attempt = 1;
        loop {
            let mut lease = self.take(deadline).await?;
            let Ok(outcome) = timeout_at(deadline, in_transaction(&mut *lease.connection, &work)).await else {
                return Err(self.timed_out().into());
            };
            let fault = match outcome {
                Ok(answer) => {
                    self.give_back(lease);
                    return Ok(answer);
                }
                Err(Failed::Unknown(fault)) => {
                    self.distrust();
                    return Err(fault);
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
                return Err(fault);
            }
            pause(&fault, attempt).await;
            attempt += 1;
        }
    }

    async fn take(&self, deadline: Instant) -> Result<Lease<'_>, AccountsError> {
        let place = match timeout_at(deadline, self.places.acquire()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(self.unavailable("it is closed")),
            Err(_) => {
                return Err(self.unavailable(&format!("all {CONNECTIONS} connections stayed in use for {PATIENCE:?}")));
            }
        };
        while let Some(connection) = self.last_idle() {
            if connection.is_usable() {
                return Ok(Lease { connection, reused: true, _place: place });
            }
        }
        let limit = CONNECT_PATIENCE.min(deadline.saturating_duration_since(Instant::now()));
        match timeout(limit, self.connector.connect()).await {
            Ok(Ok(connection)) => Ok(Lease { connection, reused: false, _place: place }),
            Ok(Err(fault)) => Err(fault.into()),
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

    fn timed_out(&self) -> AccountsError {
        self.distrust();
        self.unavailable(&format!(
            "no answer within {PATIENCE:?}; check that the server can be reached and is not overloaded"
        ))
    }

    fn unavailable(&self, what: &str) -> AccountsError {
        AccountsError::Unavailable(format!("{}: {what}", self.connector.place()))
    }
}

async fn in_transaction<'s, T>(
    connection: &mut (dyn Connection + 's),
    work: &impl for<'c> Fn(&'c mut (dyn Connection + 's)) -> Running<'c, T>,
) -> Result<T, Failed> {
    connection.begin().await.map_err(Failed::Before)?;
    let answer = work(&mut *connection).await.map_err(Failed::Before)?;
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
