//! The reads of checks: gathered, so that one query answers all that wait.
//!
//! [`Gathering`] has the rule: none joins a query that was already sent. So under load queries grow instead of queueing, and each session costs the server a fraction
//! of a query.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hallpass_core::SessionId;
use hallpass_core::gathering::{Gathering, Joined, Leaving, Sender, TooMany};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::connector::{Connector, Purpose};
use crate::failure::{Failure, is_conflict, is_lost, is_unprepared};
use crate::link::Link;
use crate::row::Reader;
use crate::session::{Session, Step};
use crate::statements::{FIND, FIND_WITH_ENDS, Sql};
use crate::value::{Value, uuid};

/// Queries under way at once: while the server works on one, the next one is on its way.
const IN_FLIGHT: usize = 2;
/// Sessions in one query.
const MAX_BATCH: usize = 256;
/// Reads that may wait; more are refused.
const MAX_WAITING: usize = 16_384;
/// How often a query is sent that a lost connection or a conflict left unanswered.
const ATTEMPTS: u32 = 3;

/// A session's row, which waiting callers may share.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// By [`FIND`], and it has not ended.
    Unended(Arc<Row>),
    /// By [`FIND_WITH_ENDS`].
    WithEnd(Arc<Row>),
}

type Answer = Result<Option<Found>, Failure>;

#[derive(Debug)]
pub(crate) struct Checks(Arc<Inner>);

struct Inner {
    gathering: Arc<Gathering<Uuid, Answer>>,
    link: Link,
    turn: tokio::sync::Mutex<()>,
    connector: Arc<Connector>,
    queries: AtomicU64,
    reads: AtomicU64,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checks").field("link", &self.link).finish_non_exhaustive()
    }
}

impl Checks {
    pub(crate) fn start(connector: &Arc<Connector>) -> Self {
        Self(Arc::new(Inner {
            gathering: Arc::new(Gathering::new(IN_FLIGHT, MAX_WAITING)),
            link: Link::start(connector, Purpose::Checks),
            turn: tokio::sync::Mutex::default(),
            connector: Arc::clone(connector),
            queries: AtomicU64::new(0),
            reads: AtomicU64::new(0),
        }))
    }

    /// The row of a session, as the database holds it at some moment after the call.
    pub(crate) async fn find(&self, id: SessionId) -> Answer {
        let deadline = Instant::now() + self.0.connector.statement_timeout();
        let answer = self.0.enqueue(id)?;
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(self.0.unavailable("the query was given up; its task ended")),
            Err(_) => Err(self.0.unavailable("no answer in time")),
        }
    }

    /// Waits until the connection is open, or known to be impossible.
    pub(crate) async fn ready(&self, deadline: Instant) -> Result<Arc<Session>, Failure> {
        self.0.link.session(deadline).await
    }

    pub(crate) fn is_up(&self) -> bool {
        self.0.link.is_up()
    }

    /// How often the connection was opened.
    pub(crate) fn opened(&self) -> u64 {
        self.0.link.opened()
    }

    /// How many queries answered how many reads.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.0.queries.load(Ordering::Relaxed), self.0.reads.load(Ordering::Relaxed))
    }

    /// Closes the connection, unless a read is still under way: then its task does, soon.
    pub(crate) async fn close(self) {
        if let Ok(inner) = Arc::try_unwrap(self.0) {
            inner.link.close().await;
        }
    }
}

impl Inner {
    fn enqueue(self: &Arc<Self>, id: SessionId) -> Result<oneshot::Receiver<Answer>, Failure> {
        let joined = self.gathering.join(uuid(id));
        let Joined { answer, sender } = joined.map_err(|TooMany| {
            self.unavailable("too many checks are waiting; the database is too slow for this load")
        })?;
        if let Some(sender) = sender {
            tokio::spawn(Arc::clone(self).send(sender));
        }
        Ok(answer)
    }

    async fn send(self: Arc<Self>, mut sender: Sender<Uuid, Answer>) {
        loop {
            // Lets those that are ready to ask now come along.
            tokio::task::yield_now().await;
            let Some(leaving) = sender.next(MAX_BATCH) else { return };
            self.answer(leaving).await;
        }
    }

    fn unavailable(&self, what: &str) -> Failure {
        self.connector.failures().unavailable(what)
    }

    /// One query for the whole batch.
    async fn answer(&self, leaving: Leaving<Uuid, Answer>) {
        let mut ids: Vec<Uuid> = leaving.questions().copied().collect();
        self.reads.fetch_add(ids.len() as u64, Ordering::Relaxed);
        ids.sort_unstable();
        ids.dedup();
        let found = self.found(ids).await;
        leaving.answer(|asked| match &found {
            Ok(rows) => Ok(rows.binary_search_by_key(asked, |(id, _)| *id).ok().map(|index| rows[index].1.clone())),
            Err(failure) => Err(failure.clone()),
        });
    }

    /// What there is of these sessions, by id. A second query for those that may have ended: its later snapshot is as good, it sees what the
    /// first one saw and more.
    async fn found(&self, ids: Vec<Uuid>) -> Result<Vec<(Uuid, Found)>, Failure> {
        let rows = self.read(FIND, ids).await?;
        let mut found = Vec::with_capacity(rows.len());
        let mut may_have_ended = Vec::new();
        for row in rows {
            let reader = Reader::new(&row, self.connector.failures());
            let id = reader.get(0)?;
            if reader.get(17)? {
                may_have_ended.push(id);
            } else {
                found.push((id, Found::Unended(Arc::new(row))));
            }
        }
        if !may_have_ended.is_empty() {
            for row in self.read(FIND_WITH_ENDS, may_have_ended).await? {
                let id = Reader::new(&row, self.connector.failures()).get(0)?;
                found.push((id, Found::WithEnd(Arc::new(row))));
            }
        }
        found.sort_unstable_by_key(|(id, _)| *id);
        Ok(found)
    }

    async fn read(&self, sql: Sql, ids: Vec<Uuid>) -> Result<Vec<Row>, Failure> {
        let deadline = Instant::now() + self.connector.statement_timeout();
        let steps = [Step::new(sql, vec![Value::Ids(ids)])];
        let mut attempt = 1;
        loop {
            let session = self.link.session(deadline).await?;
            self.queries.fetch_add(1, Ordering::Relaxed);
            let patience = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let read = async {
                // The messages of a transaction must not mix with those of the other sender.
                let _turn = if session.is_direct() { None } else { Some(self.turn.lock().await) };
                session.read(&steps, patience).await
            };
            match tokio::time::timeout_at(deadline, read).await {
                Ok(Ok(mut rows)) => return Ok(rows.pop().unwrap_or_default()),
                // Reading once more is as good: a later snapshot sees all that the first one had to.
                Ok(Err(error))
                    if attempt < ATTEMPTS && (is_lost(&error) || is_conflict(&error) || is_unprepared(&error)) =>
                {
                    attempt += 1;
                }
                Ok(Err(error)) => return Err(self.connector.failures().explain(&error)),
                Err(_) => {
                    session.give_up();
                    return Err(self.unavailable("a check got no answer in time; the connection is given up"));
                }
            }
        }
    }
}
