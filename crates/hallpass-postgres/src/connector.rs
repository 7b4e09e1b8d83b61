//! Opening connections.

use std::future::poll_fn;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hallpass_core::StoreError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, CancelToken, Config, Connection, Error, Notification};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::PostgresOptions;
use crate::failure::{Failure, Failures};
use crate::hosts;
use crate::session::{PLANS, Server, Session};
use crate::target::Target;
use crate::texts::Texts;

/// `gen_random_uuid` and `NOT DEFERRABLE` apart, what the statements need was there long before.
const OLDEST_SERVER: i32 = 130_000;

const CANCEL_PATIENCE: Duration = Duration::from_millis(500);

const SETUP: &str = "SELECT current_setting('server_version_num')::int4, current_setting('server_version'), \
     current_setting('server_encoding'), current_setting('synchronous_commit'), current_setting('hallpass.link', true)";

/// What keeps a connection going: to be awaited until it ends.
pub(crate) type Driver = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// What is done with each notification that a connection gets.
pub(crate) type Heard = Arc<dyn Fn(&Notification) + Send + Sync>;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Reads by id alone, by one plan: the server would plan anew each time, because it thinks that fewer ids than it guessed are worth it. That
    /// costs more than the read.
    Checks,
    Anything,
}

/// Opens connections to one database.
pub(crate) struct Connector {
    target: Target,
    hosts: Vec<Config>,
    /// Which of the hosts is tried first: the one that worked last.
    first: AtomicUsize,
    tls: MakeRustlsConnect,
    texts: Texts,
    failures: Failures,
    statement_timeout: Duration,
    pooler: bool,
    /// A pooler refused what only a server takes: the next connection does not try.
    refused: AtomicBool,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Connector {
    pub(crate) fn new(target: Target, options: &PostgresOptions) -> Result<Self, StoreError> {
        let tls = target.tls()?;
        Ok(Self {
            hosts: hosts::each(&target.config),
            first: AtomicUsize::new(0),
            tls,
            texts: Texts::of(&target.schema),
            failures: target.failures(),
            statement_timeout: options.statement_timeout(),
            pooler: options.pooler,
            refused: AtomicBool::new(false),
            target,
        })
    }

    pub(crate) const fn target(&self) -> &Target {
        &self.target
    }

    /// Whether the options say that there is a pooler.
    pub(crate) const fn has_pooler(&self) -> bool {
        self.pooler
    }

    pub(crate) const fn failures(&self) -> &Failures {
        &self.failures
    }

    pub(crate) const fn statement_timeout(&self) -> Duration {
        self.statement_timeout
    }

    /// Opens a connection to one of the hosts, each within the connect timeout: one that is silent does not keep the others from being tried.
    pub(crate) async fn open(&self, purpose: Purpose) -> Result<(Session, Driver), Failure> {
        self.open_hearing(purpose, None).await
    }

    /// As [`Connector::open`], a connection for one who listens.
    pub(crate) async fn open_hearing(
        &self,
        purpose: Purpose,
        heard: Option<&Heard>,
    ) -> Result<(Session, Driver), Failure> {
        let (patience, count) = (self.target.connect_timeout, self.hosts.len());
        let first = self.first.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        for host in (0..count).map(|next| (first + next) % count) {
            match tokio::time::timeout(patience, self.open_as_it_is(purpose, host, heard)).await {
                Ok(Ok(opened)) => {
                    self.first.store(host, Ordering::Relaxed);
                    return Ok(opened);
                }
                Ok(Err(failure)) => failures.push(failure),
                Err(_) => {
                    self.is_silent(host);
                    failures.push(self.failures.unavailable(&format!(
                        "no connection within {patience:?}; check that the server can be reached"
                    )));
                }
            }
        }
        // That of the one that should have worked: the others may be standbys.
        Err(failures.into_iter().next().unwrap_or_else(|| self.failures.unavailable("the URL names no host")))
    }

    /// The next host is tried before this one.
    pub(crate) fn is_silent(&self, host: usize) {
        // Those that notice it later must not pass over the one that has come into its place.
        let next = (host + 1) % self.hosts.len();
        let _ = self.first.compare_exchange(host, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    async fn open_as_it_is(
        &self,
        purpose: Purpose,
        host: usize,
        heard: Option<&Heard>,
    ) -> Result<(Session, Driver), Failure> {
        let direct = !self.pooler && !self.refused.load(Ordering::Relaxed);
        match self.open_once(purpose, host, direct, heard).await {
            Err(Opening::Refused) => {
                self.refused.store(true, Ordering::Relaxed);
                self.open_once(purpose, host, false, heard).await
            }
            outcome => outcome,
        }
        .map_err(|opening| match opening {
            Opening::Failed(failure) => failure,
            Opening::Refused => self.failures.unavailable("the pooler refuses a plain connection"),
        })
    }

    async fn open_once(
        &self,
        purpose: Purpose,
        host: usize,
        direct: bool,
        heard: Option<&Heard>,
    ) -> Result<(Session, Driver), Opening> {
        let mut config = self.hosts[host].clone();
        let link = RandomState::new().hash_one("link").to_string();
        if direct {
            config.options(self.startup_options(purpose, &link));
        }
        let (client, connection) = config.connect(self.tls.clone()).await.map_err(|error| {
            let pooler = direct && error.code() == Some(&SqlState::PROTOCOL_VIOLATION);
            if pooler { Opening::Refused } else { self.failed(&error) }
        })?;
        let unreplicated = Arc::new(AtomicBool::new(false));
        let mut driver: Driver = Box::pin(drive(connection, Arc::clone(&unreplicated), heard.cloned()));
        let row = tokio::select! {
            row = client.query_typed_one(SETUP, &[]) => row.map_err(|error| self.failed(&error))?,
            ended = &mut driver => {
                let lost = self.failures.unavailable("the connection ended while it was being set up");
                return Err(Opening::Failed(ended.err().map_or(lost, |error| self.failures.explain(&error))));
            }
        };
        let (number, version): (i32, String) = self.columns(&row)?;
        let encoding: String = row.try_get(2).map_err(|error| self.failed(&error))?;
        let level: String = row.try_get(3).map_err(|error| self.failed(&error))?;
        let seen: Option<String> = row.try_get(4).map_err(|error| self.failed(&error))?;
        if number < OLDEST_SERVER {
            let what = format!("the server is PostgreSQL {version}; hallpass needs 13 or later");
            return Err(Opening::Failed(self.failures.unavailable(&what)));
        }
        if encoding != "UTF8" {
            let what = format!("the database is encoded as {encoding}; create one with ENCODING 'UTF8'");
            return Err(Opening::Failed(self.failures.corrupt(&what)));
        }
        // A standby that has applied a commit has also stored it.
        let durable = if level == "remote_apply" { "remote_apply" } else { "on" };
        let server = Server { version, durable, host };
        let direct = direct && seen.as_deref() == Some(link.as_str());
        Ok((Session::new(client, self.texts.clone(), server, direct, unreplicated), driver))
    }

    /// The URL's own options come first, so that ours hold.
    fn startup_options(&self, purpose: Purpose, link: &str) -> String {
        let before = self.target.config.get_options().unwrap_or_default();
        let plans = match purpose {
            Purpose::Checks => " -c plan_cache_mode=force_generic_plan",
            Purpose::Anything => "",
        };
        let [scans, jit, parallel] = PLANS;
        format!(
            "{before} -c hallpass.link={link} -c default_transaction_isolation=read\\ committed -c lock_timeout=0 -c {scans} -c {jit} -c {parallel} \
             -c statement_timeout={}{plans}",
            self.statement_timeout.as_millis()
        )
    }

    fn columns(&self, row: &tokio_postgres::Row) -> Result<(i32, String), Opening> {
        let number = row.try_get(0).map_err(|error| self.failed(&error))?;
        Ok((number, row.try_get(1).map_err(|error| self.failed(&error))?))
    }

    fn failed(&self, error: &Error) -> Opening {
        Opening::Failed(self.failures.explain(error))
    }

    /// Asks the server to stop what runs on a connection that does not answer. Best effort, and brief: a new connection waits for it.
    pub(crate) async fn cancel(&self, token: CancelToken) {
        let asked = tokio::time::timeout(CANCEL_PATIENCE, token.cancel_query(self.tls.clone())).await;
        if !matches!(asked, Ok(Ok(()))) {
            tracing::debug!("a statement that took too long could not be cancelled; the server's own time-out will");
        }
    }
}

/// The function of the server that waits for synchronous standbys; its name comes with a warning in whatever language.
const WAITS_FOR_STANDBYS: &str = "SyncRepWaitForLSN";

/// Keeps a connection going, and notes when a commit was answered that no synchronous standby has: its wait was cancelled, by a time-out of the server or by
/// an operator, and the server then reports success and a warning before it.
async fn drive<S, T>(
    mut connection: Connection<S, T>,
    unreplicated: Arc<AtomicBool>,
    heard: Option<Heard>,
) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        match message? {
            AsyncMessage::Notice(notice) => {
                if notice.routine() == Some(WAITS_FOR_STANDBYS) {
                    unreplicated.store(true, Ordering::Release);
                }
                tracing::debug!(severity = notice.severity(), message = notice.message(), "the database says");
            }
            AsyncMessage::Notification(notification) => {
                if let Some(heard) = &heard {
                    heard(&notification);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

enum Opening {
    Failed(Failure),
    /// By a pooler that knows no startup options.
    Refused,
}
