//! Hints to other nodes by `NOTIFY`, and hearing them.
//!
//! Never in the transaction of a revocation: a transaction with a `NOTIFY` holds a lock of the whole cluster until it is durable, so that revocations would follow each
//! other at the pace of the disk. A hint has a transaction of its own, after the commit, which is not durable and holds that lock for microseconds.
//!
//! Listening takes a connection of its own. Whoever listens through a pooler in transaction mode hears nothing and is not told: the `LISTEN` stays with a connection that others
//! use. So what is heard is tried with a word of one's own, sent on another connection, before anybody counts on it.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hallpass_core::{HintSource, Hints};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::connector::{Connector, Driver, Heard, Purpose};
use crate::database::Database;
use crate::failure::Failure;
use crate::keys::Keys;
use crate::link::{AbortedWithUs, pause};
use crate::session::{Change, Durability, Session, Step};
use crate::statements::HINT;
use crate::value::Value;

/// How long one's own word may take.
const TRIAL: Duration = Duration::from_secs(2);
/// Until it is tried again where it did not come.
const DEAF: Duration = Duration::from_secs(60);
/// How often a silent connection is asked whether it is still there, and how long the answer may take.
const ASK_EVERY: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(5);
/// For saying goodbye.
const COURTESY: Duration = Duration::from_secs(1);
/// A connection that ends sooner counts as one that failed.
const SHORT: Duration = Duration::from_secs(1);

/// Tells whoever listens.
pub(crate) async fn send(database: &Database) -> Result<(), Failure> {
    let channel = database.keys.channel();
    let step = Step::new(HINT, vec![Value::text(&channel), Value::text("")]);
    database.write(Durability::Relaxed, &[step]).await.map(drop)
}

/// Hears what other nodes tell, while somebody wants to know.
#[derive(Debug)]
pub(crate) struct Ear {
    source: HintSource,
    connector: Arc<Connector>,
    channel: Arc<str>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<AbortedWithUs>>,
}

impl Ear {
    pub(crate) fn new(connector: &Arc<Connector>, keys: &Keys) -> Self {
        Self {
            source: HintSource::default(),
            connector: Arc::clone(connector),
            channel: keys.channel().into(),
            stop: watch::Sender::new(false),
            task: Mutex::default(),
        }
    }

    /// Nothing where the options say that a pooler is in the way.
    pub(crate) fn listen(&self) -> Option<Hints> {
        if self.connector.has_pooler() {
            return None;
        }
        Some(self.source.listen(|| {
            let listener = Listener {
                source: self.source.clone(),
                connector: Arc::clone(&self.connector),
                channel: Arc::clone(&self.channel),
                stopped: self.stop.subscribe(),
            };
            let task = AbortedWithUs(tokio::spawn(supervise(listener)));
            *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        }))
    }

    /// Says goodbye to the server.
    pub(crate) async fn close(self) {
        let _ = self.stop.send(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut task) = task {
            let _ = timeout(COURTESY, &mut task.0).await;
        }
    }
}

#[derive(Clone)]
struct Listener {
    source: HintSource,
    connector: Arc<Connector>,
    channel: Arc<str>,
    stopped: watch::Receiver<bool>,
}

/// A panic costs a connection and not the hints.
async fn supervise(listener: Listener) {
    loop {
        let mut task = AbortedWithUs(tokio::spawn(listener.clone().keep()));
        let Err(error) = (&mut task.0).await else { return };
        tracing::error!(%error, "the task that hears hints ended; starting another one");
        sleep(pause(u32::MAX)).await;
    }
}

/// How listening ended.
enum End {
    /// Nobody wants to hear any more, or the store is closed.
    Over,
    /// The connection was lost, or could not be had.
    Lost,
    /// One's own word did not come.
    Deaf,
}

impl Listener {
    async fn keep(self) {
        let (mut failures, mut was_told) = (0_u32, false);
        while !self.is_closed() && self.source.is_wanted() {
            let since = Instant::now();
            let next = match self.hear().await {
                End::Over => continue,
                End::Lost => {
                    failures = if since.elapsed() < SHORT { failures.saturating_add(1) } else { 1 };
                    pause(failures)
                }
                End::Deaf => {
                    if !was_told {
                        tracing::warn!(
                            database = self.connector.target().place,
                            "hints of other nodes are not heard here: something between, such as a pooler in transaction mode, gives each transaction another \
                             connection; the revocation log is read at its interval all the same"
                        );
                        was_told = true;
                    }
                    failures = 0;
                    DEAF
                }
            };
            tokio::select! {
                () = sleep(next) => {}
                () = self.over() => {}
            }
        }
    }

    /// Whether the store is closed, or gone.
    fn is_closed(&self) -> bool {
        *self.stopped.borrow() || self.stopped.has_changed().is_err()
    }

    /// When nobody wants to hear any more, or the store is closed.
    async fn over(&self) {
        let mut stopped = self.stopped.clone();
        let unwanted = async {
            loop {
                self.source.unwanted().await;
                if !self.source.is_wanted() {
                    return;
                }
            }
        };
        tokio::select! {
            // An error says that the store is gone.
            _ = stopped.wait_for(|stopped| *stopped) => {}
            () = unwanted => {}
        }
    }

    /// On one connection.
    async fn hear(&self) -> End {
        let word = RandomState::new().hash_one(&*self.channel).to_string();
        let came = Arc::new(Notify::new());
        let heard: Heard = {
            let (source, channel, word, came) =
                (self.source.clone(), Arc::clone(&self.channel), word.clone(), Arc::clone(&came));
            Arc::new(move |notification| match notification.payload() {
                _ if notification.channel() != &*channel => {}
                "" => source.heard(),
                payload if payload == word => came.notify_one(),
                // The word of another node.
                _ => {}
            })
        };
        let opened = tokio::select! {
            opened = self.connector.open_hearing(Purpose::Anything, Some(&heard)) => opened,
            () = self.over() => return End::Over,
        };
        let (session, mut driver) = match opened {
            Ok(opened) => opened,
            Err(failure) => {
                tracing::debug!(error = failure.message(), "no connection to hear hints on");
                return End::Lost;
            }
        };
        let end = tokio::select! {
            _ = &mut driver => return End::Lost,
            end = self.attend(&session, &word, &came) => end,
            () = self.over() => End::Over,
        };
        part(session, driver).await;
        end
    }

    /// Until the connection is of no use.
    async fn attend(&self, session: &Session, word: &str, came: &Notify) -> End {
        let (listen, unlisten) = (format!("LISTEN \"{}\"", self.channel), format!("UNLISTEN \"{}\"", self.channel));
        if !matches!(timeout(PATIENCE, session.client().batch_execute(&listen)).await, Ok(Ok(()))) {
            return End::Lost;
        }
        if let Err(failure) = self.say(word).await {
            tracing::debug!(error = failure.message(), "whether hints are heard could not be tried");
            return End::Lost;
        }
        if timeout(TRIAL, came.notified()).await.is_err() {
            // A pooler has most likely given it to the same connection of the server, which others use after us.
            let _ = timeout(PATIENCE, session.client().batch_execute(&unlisten)).await;
            return End::Deaf;
        }
        // Whatever was told while nobody listened.
        self.source.heard();
        loop {
            sleep(ASK_EVERY).await;
            if timeout(PATIENCE, session.answers()).await.is_err() {
                self.connector.is_silent(session.server().host);
                return End::Lost;
            }
        }
    }

    /// On another connection: on the same one the word would come back through a pooler too.
    async fn say(&self, word: &str) -> Result<(), Failure> {
        let (session, mut driver) = self.connector.open(Purpose::Anything).await?;
        let steps = [Step::new(HINT, vec![Value::text(&self.channel), Value::text(word)])];
        let lost = || self.connector.failures().unavailable("the connection was lost");
        let said = tokio::select! {
            _ = &mut driver => return Err(lost()),
            said = timeout(PATIENCE, session.write(Change::RELAXED, &steps, PATIENCE)) => said,
        };
        part(session, driver).await;
        match said {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.connector.failures().explain(&error)),
            Err(_) => Err(lost()),
        }
    }
}

/// With the client gone the driver tells the server and ends.
async fn part(session: Session, driver: Driver) {
    drop(session);
    let _ = timeout(COURTESY, driver).await;
}
