//! One server, and the connections to it: made when they are needed, again after they ended, with a pause that grows between attempts
//! that fail.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hallpass_core::{Entropy as _, OsEntropy};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, PushInfo, PushKind, RedisError, TlsCertificates, Value};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::failure::Failure;
use crate::location::{Location, address};
use crate::options::RedisOptions;

/// The first pause after a failed attempt, and the longest: a server is found again soon after its return.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Requests that may wait for their turn to be written; more wait in their own tasks.
const QUEUE: usize = 1024;

/// One server.
pub(crate) struct Node {
    host: String,
    address: String,
    client: Client,
    connect_timeout: Duration,
    response_timeout: Duration,
    wait_timeout: Duration,
    links: Vec<Link>,
    turn: AtomicUsize,
    /// For writes that wait for replicas: a server serves nothing else on a connection while `WAIT` waits on it.
    waiting: Link,
    /// For what asks many shards at once.
    bulk: Link,
}

/// One connection, or the place for one.
#[derive(Default)]
struct Link {
    current: RwLock<Option<Live>>,
    connecting: Mutex<Attempts>,
}

#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    closed: Arc<AtomicBool>,
}

#[derive(Default)]
struct Attempts {
    failed: u32,
    again_at: Option<Instant>,
    why: Option<RedisError>,
}

/// Which connection a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Any that many share.
    Shared,
    /// The one for writes that wait for replicas.
    Waiting,
    /// The one for many commands at once.
    Bulk,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.address)
    }
}

impl Node {
    pub(crate) fn new(location: &Location, host: &str, port: u16, options: &RedisOptions) -> redis::RedisResult<Self> {
        let info = location.connection(host, port)?;
        let client = match (&options.authority, location.is_encrypted()) {
            (Some(authority), true) => {
                Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(authority.clone()) })?
            }
            _ => Client::open(info)?,
        };
        Ok(Self {
            host: host.to_owned(),
            address: address(host, port),
            client,
            connect_timeout: options.connect_timeout(),
            response_timeout: options.response_timeout(),
            wait_timeout: options.wait_timeout(),
            links: (0..options.connections()).map(|_| Link::default()).collect(),
            turn: AtomicUsize::new(0),
            waiting: Link::default(),
            bulk: Link::default(),
        })
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Sends one command. Its answer may be an error of the server's, which is [`Failure::Refused`].
    pub(crate) async fn send(&self, lane: Lane, command: &Cmd) -> Result<Value, Failure> {
        let link = self.link(lane);
        let mut live = self.connected(link).await?;
        let sent = timeout(self.patience(lane), live.connection.send_packed_command(command)).await;
        let value = self.received(link, &live, sent)?;
        value.extract_error().map_err(Failure::Refused)
    }

    /// Sends commands together; each answer stands for itself.
    pub(crate) async fn send_together(&self, lane: Lane, commands: &Pipeline) -> Result<Vec<Value>, Failure> {
        let link = self.link(lane);
        let mut live = self.connected(link).await?;
        let count = commands.len();
        let sent = timeout(self.patience(lane), live.connection.send_packed_commands(commands, 0, count)).await;
        self.received(link, &live, sent)
    }

    /// As [`Node::send`] on a connection that is there already, within this time; `None` when there is none or no answer. For one who
    /// then asks again by [`Node::send`] and is told why.
    pub(crate) async fn send_at_once(&self, command: &Cmd, patience: Duration) -> Option<Value> {
        let link = self.link(Lane::Shared);
        let mut live = link.live()?;
        let sent = timeout(patience, live.connection.send_packed_command(command)).await;
        self.received(link, &live, sent).ok()
    }

    /// As [`Node::send_at_once`], for commands sent together.
    pub(crate) async fn send_together_at_once(&self, commands: &Pipeline, patience: Duration) -> Option<Vec<Value>> {
        let link = self.link(Lane::Shared);
        let mut live = link.live()?;
        let sent = timeout(patience, live.connection.send_packed_commands(commands, 0, commands.len())).await;
        self.received(link, &live, sent).ok()
    }

    /// Uses none of its connections again: behind the same name there may be another server now.
    pub(crate) fn hang_up(&self) {
        for link in self.links.iter().chain([&self.waiting, &self.bulk]) {
            *link.current.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// How long an answer may take.
    pub(crate) const fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    fn patience(&self, lane: Lane) -> Duration {
        match lane {
            Lane::Shared | Lane::Bulk => self.response_timeout,
            Lane::Waiting => self.response_timeout + self.wait_timeout,
        }
    }

    fn link(&self, lane: Lane) -> &Link {
        let shared = || {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.links.len();
            self.links.get(turn).unwrap_or(&self.bulk)
        };
        match lane {
            Lane::Shared => shared(),
            Lane::Waiting => &self.waiting,
            Lane::Bulk => &self.bulk,
        }
    }

    /// A connection that is silent or broken is not used again: the next request makes another one.
    fn received<T>(
        &self,
        link: &Link,
        live: &Live,
        sent: Result<redis::RedisResult<T>, tokio::time::error::Elapsed>,
    ) -> Result<T, Failure> {
        let failure = match sent {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) if !error.is_io_error() && !error.is_unrecoverable_error() => Failure::Refused(error),
            Ok(Err(error)) => {
                Failure::Lost { what: format!("the connection to {} ended", self.address), source: Some(error) }
            }
            Err(_) => Failure::Lost { what: format!("{} did not answer within its time", self.address), source: None },
        };
        if matches!(failure, Failure::Lost { .. }) {
            live.closed.store(true, Ordering::Release);
            link.forget(live);
        }
        Err(failure)
    }

    async fn connected(&self, link: &Link) -> Result<Live, Failure> {
        if let Some(live) = link.live() {
            return Ok(live);
        }
        let mut attempts = link.connecting.lock().await;
        if let Some(live) = link.live() {
            return Ok(live);
        }
        let refuse = |why: Option<RedisError>| Failure::NotSent {
            what: format!(
                "no connection to {}{}",
                self.address,
                why.as_ref().map_or_else(String::new, |e| format!(" ({e})"))
            ),
            source: why,
        };
        if attempts.again_at.is_some_and(|at| at > Instant::now()) {
            return Err(refuse(attempts.why.clone()));
        }
        match self.connect().await {
            Ok(live) => {
                *attempts = Attempts::default();
                *link.current.write().unwrap_or_else(PoisonError::into_inner) = Some(live.clone());
                Ok(live)
            }
            Err(why) => {
                let longest = PAUSE.saturating_mul(1 << attempts.failed.min(8)).min(LONGEST_PAUSE);
                attempts.failed = attempts.failed.saturating_add(1);
                attempts.again_at = Some(Instant::now() + jittered(longest));
                attempts.why.clone_from(&why);
                Err(refuse(why))
            }
        }
    }

    /// A connection of the caller's own, and what the server says on it unasked. `None` for a server that took too long.
    pub(crate) async fn open(
        &self,
        pushed: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, Option<RedisError>> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            // Each request has a time-out of its own.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE)
            .set_push_sender(move |push: PushInfo| -> Result<(), ()> {
                pushed(push);
                Ok(())
            });
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        timeout(self.connect_timeout, connecting).await.map_err(|_| None)?.map_err(Some)
    }

    async fn connect(&self) -> Result<Live, Option<RedisError>> {
        let closed = Arc::new(AtomicBool::new(false));
        let notice = Arc::clone(&closed);
        let connection = self.open(move |push| {
            if push.kind == PushKind::Disconnection {
                notice.store(true, Ordering::Release);
            }
        });
        Ok(Live { connection: connection.await?, closed })
    }
}

impl Link {
    fn live(&self) -> Option<Live> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().filter(|live| !live.closed.load(Ordering::Acquire)).cloned()
    }

    fn forget(&self, live: &Live) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|now| Arc::ptr_eq(&now.closed, &live.closed)) {
            *current = None;
        }
    }
}

/// Between half of it and all of it, so that many nodes do not knock at once.
pub(crate) fn jittered(longest: Duration) -> Duration {
    let mut byte = [0];
    // Without random bytes there is no jitter, which harms nobody.
    let _ = OsEntropy.fill(&mut byte);
    longest / 2 + longest / 512 * u32::from(byte[0])
}
