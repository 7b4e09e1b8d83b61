//! One connection to the database: what runs on it, and how it is opened.
//!
//! # One round trip
//!
//! The messages of a change (`BEGIN` with its settings, the statements, `COMMIT`) are sent one after the other without waiting, and the answers
//! are read together. Nothing else is sent in between: whoever writes has the connection for itself ([`Lanes`](crate::lanes::Lanes)). If a
//! statement fails, the server skips the rest and the `COMMIT` rolls back. A caller that goes away leaves a connection in order: all its messages
//! are already sent, and the server ends what it was told to do within the statement timeout.
//!
//! # Poolers
//!
//! A pooler in transaction mode gives each transaction another connection of its own. So nothing may last beyond a transaction: statements go
//! unnamed, settings are `SET LOCAL`, locks are those of the transaction, and a read too is wrapped in one. Directly connected, statements are
//! prepared once, and the settings for reads are made when the connection starts. Which of the two it is, is found out by a random value among
//! the startup options: only a direct connection shows it again.

use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{CancelToken, Client, Error, Row, Statement};

use crate::failure::is_not_allowed;
use crate::series::{self, Bounds};
use crate::statements::Sql;
use crate::texts::Texts;
use crate::value::Value;

/// A statement with its values.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    pub(crate) sql: Sql,
    pub(crate) values: Vec<Value<'a>>,
}

impl<'a> Step<'a> {
    pub(crate) const fn new(sql: Sql, values: Vec<Value<'a>>) -> Self {
        Self { sql, values }
    }
}

/// How safe a change has to be when it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// May be lost with the server's last fraction of a second.
    Relaxed,
    /// On stable storage.
    Durable,
}

/// How a change is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) durability: Durability,
    /// How long it waits for locks; without a bound of its own, as long as its caller does.
    pub(crate) lock_patience: Option<Duration>,
    /// By a plan that is made once, through the indexes in their order.
    pub(crate) by_one_plan: bool,
}

impl Change {
    pub(crate) const RELAXED: Self = Self { durability: Durability::Relaxed, lock_patience: None, by_one_plan: false };
}

/// What the server said when the connection was opened.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) version: String,
    /// The level of `synchronous_commit` for durable changes: `on`, or more if the server was set so.
    pub(crate) durable: &'static str,
    /// Which of the URL's hosts it is.
    pub(crate) host: usize,
}

/// Pages of a list come in the order of an index: PostgreSQL would rather gather and sort the rows of a user who, like most, has a few, and does so
/// for the one who has thousands too. Compiling a statement costs more than any of ours can gain. And the one that counts all rows leaves the other
/// processors to the checks.
pub(crate) const PLANS: [&str; 3] = ["enable_bitmapscan=off", "jit=off", "max_parallel_workers_per_gather=0"];

/// For a statement whose limit is a parameter: the server would plan it anew each time, since it takes an unknown limit for a large one, and would then read
/// and sort the whole table.
const ONE_PLAN: &str =
    "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; ";

/// Whatever the server's default is: that a commit lacked its standby is told by a warning.
const WARNINGS: &str = "SET LOCAL client_min_messages = warning; ";

type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<Row>, Error>> + Send + 'a>>;

/// An open connection.
pub(crate) struct Session {
    client: Client,
    texts: Texts,
    server: Server,
    direct: AtomicBool,
    /// The server refused to run a series.
    has_no_series: AtomicBool,
    prepared: Mutex<HashMap<&'static str, Statement>>,
    given_up: Notify,
    is_given_up: AtomicBool,
    /// Set by whoever drives the connection, before the answer to the commit comes.
    unreplicated: Arc<AtomicBool>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("server", &self.server).field("direct", &self.direct).finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(
        client: Client,
        texts: Texts,
        server: Server,
        direct: bool,
        unreplicated: Arc<AtomicBool>,
    ) -> Self {
        Self {
            client,
            texts,
            server,
            direct: AtomicBool::new(direct),
            has_no_series: AtomicBool::new(false),
            prepared: Mutex::default(),
            given_up: Notify::new(),
            is_given_up: AtomicBool::new(false),
            unreplicated,
        }
    }

    /// For work of another kind on a connection of its own.
    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// Waits until everything that was sent before is answered. An error is an answer: the connection is known to have ended then.
    pub(crate) async fn answers(&self) {
        let _ = self.client.simple_query("").await;
    }

    pub(crate) const fn server(&self) -> &Server {
        &self.server
    }

    /// Whether nothing stands between that could change the server's side of the connection.
    pub(crate) fn is_direct(&self) -> bool {
        self.direct.load(Ordering::Relaxed)
    }

    pub(crate) fn is_usable(&self) -> bool {
        !self.is_given_up.load(Ordering::Relaxed) && !self.client.is_closed()
    }

    /// Whether a change was committed since it was last asked without the synchronous standby that it had to wait for.
    pub(crate) fn lacked_a_standby(&self) -> bool {
        self.unreplicated.swap(false, Ordering::AcqRel)
    }

    /// Nothing comes back any more: whoever drives the connection cancels what is under way, closes it and opens another one.
    pub(crate) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
        self.given_up.notify_one();
    }

    /// Waits until somebody gives it up.
    pub(crate) async fn was_given_up(&self) {
        self.given_up.notified().await;
    }

    pub(crate) fn cancel_token(&self) -> CancelToken {
        self.client.cancel_token()
    }

    /// Runs statements that only read, each seeing what was committed before it was sent. One round trip.
    pub(crate) async fn read(&self, steps: &[Step<'_>], patience: Duration) -> Result<Vec<Vec<Row>>, Error> {
        if self.is_direct() {
            let prepared = self.prepared(steps).await?;
            let answers = steps.iter().zip(prepared).map(|(step, statement)| self.answer(step, statement)).collect();
            return self.noticing_poolers(in_order(answers).await.into_iter().collect());
        }
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY NOT DEFERRABLE; SET LOCAL lock_timeout = 0; {}",
            bounds(patience)
        );
        self.transaction(&begin, steps).await
    }

    /// Runs statements that change something, in one transaction. One round trip.
    pub(crate) async fn write(
        &self,
        change: Change,
        steps: &[Step<'_>],
        patience: Duration,
    ) -> Result<Vec<Vec<Row>>, Error> {
        let commit = match change.durability {
            Durability::Relaxed => "off",
            Durability::Durable => self.server.durable,
        };
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL synchronous_commit = {commit}; SET LOCAL lock_timeout = {}; {WARNINGS}{}{}",
            change.lock_patience.map_or(0, millis),
            if change.by_one_plan { ONE_PLAN } else { "" },
            bounds(patience)
        );
        self.transaction(&begin, steps).await
    }

    /// Commits a statement again and again within bounds: how many rows that removed, the value to go on from, and whether the last commit was full. One
    /// round trip. Nothing where the server cannot do it: behind a pooler, and without the right to use `PL/pgSQL`.
    pub(crate) async fn series(&self, step: &Step<'_>, bounds: Bounds) -> Result<Option<[i64; 3]>, Error> {
        let number = (RandomState::new().hash_one(step.sql.name) >> 1).cast_signed();
        let block = series::block(self.texts.get(step.sql), step, bounds, number);
        let Some(block) = block.filter(|_| self.is_direct() && !self.has_no_series.load(Ordering::Relaxed)) else {
            return Ok(None);
        };
        let work = Box::pin(async { self.client.batch_execute(&block).await.map(|()| Vec::new()) });
        let answer = Box::pin(async { self.client.query_typed(series::ANSWER, &[]).await });
        let all: Result<Vec<Vec<Row>>, Error> = in_order(vec![work, answer]).await.into_iter().collect();
        let rows = match all {
            Err(error) if is_not_allowed(&error) => {
                tracing::info!(%error, "this role cannot use PL/pgSQL; sweeps make one commit at a time, which the checks notice more");
                self.has_no_series.store(true, Ordering::Relaxed);
                return Ok(None);
            }
            all => all?,
        };
        let left: Option<Vec<i64>> = rows.last().and_then(|rows| rows.first()).and_then(|row| row.try_get(0).ok());
        let answer = series::answer(left.as_deref(), number);
        if answer.is_none() {
            self.direct.store(false, Ordering::Relaxed);
        }
        Ok(answer)
    }

    async fn transaction(&self, begin: &str, steps: &[Step<'_>]) -> Result<Vec<Vec<Row>>, Error> {
        let prepared = self.prepared(steps).await?;
        let mut answers: Vec<Answer<'_>> = Vec::with_capacity(steps.len() + 2);
        answers.push(Box::pin(async { self.client.batch_execute(begin).await.map(|()| Vec::new()) }));
        answers.extend(steps.iter().zip(prepared).map(|(step, statement)| self.answer(step, statement)));
        answers.push(Box::pin(async { self.client.batch_execute("COMMIT").await.map(|()| Vec::new()) }));
        // The first error is the cause of those after it.
        let all: Result<Vec<Vec<Row>>, Error> = in_order(answers).await.into_iter().collect();
        let mut rows = self.noticing_poolers(all)?;
        rows.pop();
        rows.remove(0);
        Ok(rows)
    }

    fn answer<'a>(&'a self, step: &'a Step<'_>, statement: Option<Statement>) -> Answer<'a> {
        Box::pin(async move {
            if let Some(statement) = statement {
                let values: Vec<&(dyn ToSql + Sync)> = step.values.iter().map(Value::bound).collect();
                return self.client.query(&statement, &values).await;
            }
            let values: Vec<(&(dyn ToSql + Sync), Type)> =
                step.values.iter().map(|value| (value.bound(), value.pg_type())).collect();
            self.client.query_typed(self.texts.get(step.sql), &values).await
        })
    }

    /// The prepared statements of a direct connection, made at their first use.
    async fn prepared(&self, steps: &[Step<'_>]) -> Result<Vec<Option<Statement>>, Error> {
        let mut all = Vec::with_capacity(steps.len());
        for step in steps {
            all.push(if self.is_direct() { Some(self.prepare(step).await?) } else { None });
        }
        Ok(all)
    }

    async fn prepare(&self, step: &Step<'_>) -> Result<Statement, Error> {
        let known = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).get(step.sql.name).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let types: Vec<Type> = step.values.iter().map(Value::pg_type).collect();
        let made = self.noticing_poolers(self.client.prepare_typed(self.texts.get(step.sql), &types).await)?;
        let mut prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(prepared.entry(step.sql.name).or_insert(made).clone())
    }

    /// A statement that is not there although it was prepared: there is a pooler after all. Nothing was run, and the next try goes unnamed.
    fn noticing_poolers<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        outcome.inspect_err(|error| {
            if crate::failure::is_unprepared(error) {
                self.direct.store(false, Ordering::Relaxed);
            }
        })
    }
}

/// The last one is for a network that delivers the first messages of a transaction and never the last one: locks do not outlive the caller's
/// patience.
fn bounds(patience: Duration) -> String {
    let patience = millis(patience);
    let [scans, jit, parallel] = PLANS;
    format!(
        "SET LOCAL {scans}; SET LOCAL {jit}; SET LOCAL {parallel}; SET LOCAL statement_timeout = {patience}; \
         SET LOCAL idle_in_transaction_session_timeout = {patience}"
    )
}

fn millis(duration: Duration) -> u128 {
    // 0 would be no bound.
    duration.as_millis().clamp(1, 1 << 30)
}

/// Sends what each future sends first in their order, and then waits for all.
async fn in_order(mut answers: Vec<Answer<'_>>) -> Vec<Result<Vec<Row>, Error>> {
    let mut done: Vec<Option<Result<Vec<Row>, Error>>> = answers.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut waiting = false;
        for (answer, done) in answers.iter_mut().zip(&mut done) {
            if done.is_none() {
                match answer.as_mut().poll(context) {
                    Poll::Ready(outcome) => *done = Some(outcome),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    done.into_iter().flatten().collect()
}
