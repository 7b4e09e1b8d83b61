//! Opening connections.

use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hallpass_core::StoreError;
use tokio_postgres::error::SqlState;
use tokio_postgres::{CancelToken, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::PostgresOptions;
use crate::failure::{Failure, Failures};
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

    pub(crate) const fn failures(&self) -> &Failures {
        &self.failures
    }

    pub(crate) const fn statement_timeout(&self) -> Duration {
        self.statement_timeout
    }

    /// Opens a connection, within the connect timeout.
    pub(crate) async fn open(&self, purpose: Purpose) -> Result<(Session, Driver), Failure> {
        let patience = self.target.connect_timeout;
        let opened = tokio::time::timeout(patience, self.open_as_it_is(purpose)).await;
        opened.unwrap_or_else(|_| {
            Err(self
                .failures
                .unavailable(&format!("no connection within {patience:?}; check that the server can be reached")))
        })
    }

    async fn open_as_it_is(&self, purpose: Purpose) -> Result<(Session, Driver), Failure> {
        let direct = !self.pooler && !self.refused.load(Ordering::Relaxed);
        match self.open_once(purpose, direct).await {
            Err(Opening::Refused) => {
                self.refused.store(true, Ordering::Relaxed);
                self.open_once(purpose, false).await
            }
            outcome => outcome,
        }
        .map_err(|opening| match opening {
            Opening::Failed(failure) => failure,
            Opening::Refused => self.failures.unavailable("the pooler refuses a plain connection"),
        })
    }

    async fn open_once(&self, purpose: Purpose, direct: bool) -> Result<(Session, Driver), Opening> {
        let mut config = self.target.config.clone();
        let link = RandomState::new().hash_one("link").to_string();
        if direct {
            config.options(self.startup_options(purpose, &link));
        }
        let (client, connection) = config.connect(self.tls.clone()).await.map_err(|error| {
            let pooler = direct && error.code() == Some(&SqlState::PROTOCOL_VIOLATION);
            if pooler { Opening::Refused } else { self.failed(&error) }
        })?;
        let mut driver: Driver = Box::pin(connection);
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
        let server = Server { version, durable };
        let direct = direct && seen.as_deref() == Some(link.as_str());
        Ok((Session::new(client, self.texts.clone(), server, direct), driver))
    }

    /// The URL's own options come first, so that ours hold.
    fn startup_options(&self, purpose: Purpose, link: &str) -> String {
        let before = self.target.config.get_options().unwrap_or_default();
        let plans = match purpose {
            Purpose::Checks => " -c plan_cache_mode=force_generic_plan",
            Purpose::Anything => "",
        };
        let [scans, jit] = PLANS;
        format!(
            "{before} -c hallpass.link={link} -c default_transaction_isolation=read\\ committed -c lock_timeout=0 -c {scans} -c {jit} \
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

enum Opening {
    Failed(Failure),
    /// By a pooler that knows no startup options.
    Refused,
}
