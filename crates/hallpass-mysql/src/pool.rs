//! A bounded number of connections, opened as needed.
//!
//! The driver has a pool of its own; it cleans returned connections in a task without a time-out, so one that hangs would hold its place for
//! ever. Here a connection comes back only when its work ended well. Every other one is closed: the server then undoes what it had begun.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hallpass_core::StoreError;
use mysql_async::{Opts, OptsBuilder};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use crate::address::Address;
use crate::connection::Connection;
use crate::failure::{Failures, Fault};
use crate::options::MysqlOptions;
use crate::outage::Outage;

/// A connection unused for so long is asked whether it still works before it is trusted with a call.
const UNUSED: Duration = Duration::from_secs(10);
/// How long that, or saying good-bye, may take.
const COURTESY: Duration = Duration::from_secs(1);

pub(crate) struct Pool {
    pub(crate) address: Address,
    /// The address with what the store sets beside.
    pub(crate) opts: Opts,
    pub(crate) options: MysqlOptions,
    pub(crate) failures: Failures,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    /// Grows when connections are distrusted: those of an earlier generation are not used again.
    generation: AtomicU64,
    outage: Outage,
    opened: AtomicU64,
}

struct Idle {
    connection: Connection,
    since: Instant,
    generation: u64,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("address", &self.address).field("options", &self.options).finish_non_exhaustive()
    }
}

/// How many connections there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) most: usize,
    pub(crate) in_use: usize,
    pub(crate) idle: usize,
    pub(crate) opened: u64,
}

impl Pool {
    pub(crate) fn new(address: Address, options: MysqlOptions, failures: Failures) -> Self {
        let opts = OptsBuilder::from_opts(address.opts().clone())
            // More than there are statements: none is ever prepared twice on a connection.
            .stmt_cache_size(Some(128))
            .max_allowed_packet(Some(16 << 20))
            .wait_timeout(Some(usize::try_from(options.idle_timeout.as_secs()).unwrap_or(usize::MAX).max(1)));
        Self {
            places: Arc::new(Semaphore::new(options.connections())),
            opts: opts.into(),
            address,
            options,
            failures,
            idle: Mutex::default(),
            generation: AtomicU64::new(0),
            outage: Outage::default(),
            opened: AtomicU64::new(0),
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        let most = self.options.connections();
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).len();
        Usage {
            most,
            in_use: most.saturating_sub(self.places.available_permits()),
            idle,
            opened: self.opened.load(Ordering::Relaxed),
        }
    }

    /// A connection for one piece of work, by `deadline` at the latest.
    pub(crate) async fn take(self: &Arc<Self>, deadline: Instant) -> Result<Lease, StoreError> {
        let deadline = deadline.min(Instant::now() + self.options.acquire_timeout);
        let place = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => match timeout_at(deadline, Arc::clone(&self.places).acquire_owned()).await {
                Ok(Ok(place)) => place,
                Ok(Err(_)) => return Err(self.failures.unavailable("this store was closed")),
                Err(_) => {
                    return Err(self.failures.unavailable(&format!(
                        "all {} connections stayed in use; raise `connections`, or look for slow statements",
                        self.options.connections()
                    )));
                }
            },
        };
        let lease = |connection, generation, reused| Lease {
            connection: Some(connection),
            generation,
            reused,
            pool: Arc::clone(self),
            _place: place,
        };
        if let Some((connection, generation)) = self.reuse(deadline).await {
            return Ok(lease(connection, generation, true));
        }
        let generation = self.generation.load(Ordering::Acquire);
        let connection = self.open(deadline).await?;
        Ok(lease(connection, generation, false))
    }

    /// The connection that was used last, if it is still good.
    async fn reuse(&self, deadline: Instant) -> Option<(Connection, u64)> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            let Idle { mut connection, since, generation } = idle;
            if generation != self.generation.load(Ordering::Acquire) {
                part(connection);
                continue;
            }
            if since.elapsed() < UNUSED {
                return Some((connection, generation));
            }
            let by = deadline.min(Instant::now() + COURTESY);
            match timeout_at(by, connection.ping()).await {
                Ok(Ok(())) => return Some((connection, generation)),
                // The others were unused for longer still.
                Ok(Err(_)) | Err(_) => self.distrust(generation),
            }
        }
    }

    async fn open(&self, deadline: Instant) -> Result<Connection, StoreError> {
        let now = Instant::now();
        if let Some(message) = self.outage.holds(now) {
            return Err(StoreError::unavailable(message));
        }
        let opening = Connection::open(self.opts.clone(), self.options.lock_wait_seconds());
        let limit = self.options.connect_timeout.min(deadline.saturating_duration_since(now));
        let error = match timeout(limit, opening).await {
            Ok(Ok(connection)) => {
                self.outage.over();
                self.opened.fetch_add(1, Ordering::Relaxed);
                return Ok(connection);
            }
            Ok(Err(fault)) => self.failures.explain(fault),
            Err(_) => self.failures.timed_out("connecting", limit),
        };
        if let StoreError::Unavailable { message, .. } = &error {
            self.outage.failed(Instant::now(), message.clone());
        }
        Err(error)
    }

    /// No connection as old as `generation` is used again.
    pub(crate) fn distrust(&self, generation: u64) {
        // The first one that notices is enough: later ones would distrust connections made since.
        let _ = self.generation.compare_exchange(generation, generation + 1, Ordering::AcqRel, Ordering::Relaxed);
    }

    fn put_back(&self, connection: Connection, generation: u64) {
        if generation != self.generation.load(Ordering::Acquire) || self.places.is_closed() {
            return part(connection);
        }
        let now = Instant::now();
        let mut old = Vec::new();
        {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(Idle { connection, since: now, generation });
            // The longest unused ones lie at the bottom.
            let kept = idle.iter().position(|one| now.duration_since(one.since) < self.options.idle_timeout);
            old.extend(idle.drain(..kept.unwrap_or(0)));
        }
        old.into_iter().for_each(|idle| part(idle.connection));
    }

    /// Closes every connection; calls are refused from now on.
    pub(crate) async fn close(&self) {
        self.places.close();
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        let parting = async {
            for idle in idle {
                idle.connection.disconnect().await;
            }
        };
        // A server that does not answer notices the closed sockets.
        let _ = timeout(COURTESY, parting).await;
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        idle.into_iter().for_each(|idle| part(idle.connection));
    }
}

/// Says good-bye in the background, for a bounded time. Without a runtime the socket is just closed.
fn part(connection: Connection) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move {
            let _ = timeout(COURTESY, connection.disconnect()).await;
        });
    }
}

/// A connection in use. Unless it is given back it is closed, and the server undoes what it had begun.
pub(crate) struct Lease {
    connection: Option<Connection>,
    generation: u64,
    /// It was used before, so that it may have been closed by the server meanwhile.
    pub(crate) reused: bool,
    pool: Arc<Pool>,
    _place: OwnedSemaphorePermit,
}

impl Lease {
    /// The connection; there is one until the lease ends.
    pub(crate) fn connection(&mut self) -> Result<&mut Connection, Fault> {
        self.connection.as_mut().ok_or_else(|| Fault::Other(String::from("the connection was given up")))
    }

    /// The work ended well.
    pub(crate) fn give_back(mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.put_back(connection, self.generation);
        }
    }

    /// The connection broke, or its server did not answer: others as old are not to be trusted either.
    pub(crate) fn distrust(self) {
        self.pool.distrust(self.generation);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            part(connection);
        }
    }
}
