//! Pieces of work on a connection: with a time limit, tried again where that is right, and only there.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hallpass_core::StoreError;
use tokio::time::{Instant, sleep, timeout_at};

use crate::connection::Connection;
use crate::failure::Fault;
use crate::outage::jittered;
use crate::pool::{Lease, Pool};

/// How often one call is tried at most.
const MOST_ATTEMPTS: u32 = 8;
/// The pause after the first conflict with others; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(4);

/// Something to read. Each statement sees what was committed before it began.
pub(crate) trait Read: Sync {
    type Answer: Send;

    fn run(&self, connection: &mut Connection) -> impl Future<Output = Result<Self::Answer, Fault>> + Send;
}

/// How a transaction is to end, and the answer that it then gives.
pub(crate) enum Ending<T> {
    Commit(T),
    RollBack(T),
}

/// Something to write, in a transaction of its own. Runs anew from the beginning after a conflict.
///
/// Single writes have a transaction too: the commit is sent only while the caller waits, so nothing that waited for a lock is done for a caller that
/// has gone.
pub(crate) trait Transaction: Sync {
    type Answer: Send;

    fn run(&self, connection: &mut Connection) -> impl Future<Output = Result<Ending<Self::Answer>, Fault>> + Send;
}

/// How long a call may take in all.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    /// Work of bounded size.
    Call,
    /// Work that grows with the number of sessions.
    Long,
}

/// Where a transaction failed.
enum Failed {
    /// Nothing of it holds: it was not committed.
    Before(Fault),
    /// It may have been committed.
    Unknown(Fault),
    /// There was no answer in time. Unless the commit was on its way, the server undoes it when the connection is closed.
    TimedOut,
}

/// Why a transaction that is tried only once has no answer.
pub(crate) enum Refusal {
    /// Nothing of it holds.
    Undone(Fault),
    /// It may hold.
    Unknown(StoreError),
}

/// The pool, and how work runs on it.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) pool: Arc<Pool>,
}

impl Database {
    pub(crate) fn limit(&self, patience: Patience) -> Duration {
        match patience {
            Patience::Call => self.pool.options.call_timeout,
            Patience::Long => self.pool.options.long_call_timeout,
        }
    }

    pub(crate) async fn read<R: Read>(&self, patience: Patience, read: &R) -> Result<R::Answer, StoreError> {
        let limit = self.limit(patience);
        let deadline = Instant::now() + limit;
        let mut attempt = 1;
        loop {
            let mut lease = self.pool.take(deadline).await?;
            let outcome = match lease.connection() {
                Ok(connection) => timeout_at(deadline, read.run(connection)).await,
                Err(fault) => Ok(Err(fault)),
            };
            let fault = match outcome {
                Ok(Ok(answer)) => {
                    lease.give_back();
                    return Ok(answer);
                }
                Ok(Err(fault)) => fault,
                Err(_) => {
                    lease.distrust();
                    return Err(self.pool.failures.timed_out("reading", limit));
                }
            };
            let again = self.may_try_again(&fault, &lease, attempt);
            self.end(lease, &fault);
            if !again {
                return Err(self.pool.failures.explain(fault));
            }
            self.pause(&fault, attempt).await;
            attempt += 1;
        }
    }

    pub(crate) async fn write<T: Transaction>(&self, patience: Patience, work: &T) -> Result<T::Answer, StoreError> {
        let deadline = Instant::now() + self.limit(patience);
        self.write_until(deadline, patience, work).await
    }

    /// [`Self::write`] as a part of a call that began before.
    pub(crate) async fn write_until<T: Transaction>(
        &self,
        deadline: Instant,
        patience: Patience,
        work: &T,
    ) -> Result<T::Answer, StoreError> {
        let mut attempt = 1;
        loop {
            let mut lease = self.pool.take(deadline).await?;
            let fault = match attempted(&mut lease, deadline, work).await {
                Ok(answer) => {
                    lease.give_back();
                    return Ok(answer);
                }
                Err(Failed::Before(fault)) => fault,
                Err(failed) => {
                    lease.distrust();
                    return Err(self.unknown(failed, patience));
                }
            };
            let again = self.may_try_again(&fault, &lease, attempt);
            self.undo(lease, &fault, deadline).await;
            if !again {
                return Err(self.pool.failures.explain(fault));
            }
            self.pause(&fault, attempt).await;
            attempt += 1;
        }
    }

    /// Writes for several callers. Never tried again, since each of them can do so alone; what the server undid, it tells.
    pub(crate) async fn write_once<T: Transaction>(
        &self,
        mut lease: Lease,
        deadline: Instant,
        work: &T,
    ) -> Result<T::Answer, Refusal> {
        match attempted(&mut lease, deadline, work).await {
            Ok(answer) => {
                lease.give_back();
                Ok(answer)
            }
            Err(Failed::Before(fault)) => {
                self.undo(lease, &fault, deadline).await;
                Err(Refusal::Undone(fault))
            }
            Err(failed) => {
                lease.distrust();
                Err(Refusal::Unknown(self.unknown(failed, Patience::Call)))
            }
        }
    }

    fn unknown(&self, failed: Failed, patience: Patience) -> StoreError {
        match failed {
            Failed::Before(fault) | Failed::Unknown(fault) => self.pool.failures.explain(fault),
            Failed::TimedOut => self.pool.failures.timed_out("writing", self.limit(patience)),
        }
    }

    /// A conflict, or a connection that the server closed: while it was not used, or as it stood still in a transaction. Nothing was committed.
    fn may_try_again(&self, fault: &Fault, lease: &Lease, attempt: u32) -> bool {
        let lost = fault.is_connection_lost() && (lease.reused || attempt == 1);
        attempt < MOST_ATTEMPTS && (fault.is_conflict() || lost)
    }

    async fn pause(&self, fault: &Fault, attempt: u32) {
        if fault.is_conflict() {
            sleep(jittered(FIRST_PAUSE.saturating_mul(1 << attempt.min(6)))).await;
        }
    }

    fn end(&self, lease: Lease, fault: &Fault) {
        if fault.is_connection_lost() {
            lease.distrust();
        } else {
            lease.give_back();
        }
    }

    /// Undoes what a failed transaction wrote, by which the connection is good for other work; otherwise it is closed.
    async fn undo(&self, mut lease: Lease, fault: &Fault, deadline: Instant) {
        if fault.is_connection_lost() {
            return lease.distrust();
        }
        let Ok(connection) = lease.connection() else { return };
        if matches!(timeout_at(deadline, connection.roll_back()).await, Ok(Ok(()))) {
            lease.give_back();
        }
    }
}

async fn attempted<T: Transaction>(lease: &mut Lease, deadline: Instant, work: &T) -> Result<T::Answer, Failed> {
    let connection = lease.connection().map_err(Failed::Before)?;
    timeout_at(deadline, in_transaction(connection, work)).await.unwrap_or(Err(Failed::TimedOut))
}

async fn in_transaction<T: Transaction>(connection: &mut Connection, work: &T) -> Result<T::Answer, Failed> {
    connection.begin().await.map_err(Failed::Before)?;
    match work.run(connection).await.map_err(Failed::Before)? {
        Ending::Commit(answer) => match connection.commit().await {
            Ok(()) => Ok(answer),
            // The server says that it undid it.
            Err(fault) if fault.is_conflict() => Err(Failed::Before(fault)),
            Err(fault) => Err(Failed::Unknown(fault)),
        },
        Ending::RollBack(answer) => {
            connection.roll_back().await.map_err(Failed::Before)?;
            Ok(answer)
        }
    }
}
