//! Hints to other nodes by `PUBLISH`, and hearing them.
//!
//! A message reaches whoever listens to any node of a Cluster, so a connection of its own to one node that is up is enough. Nobody tells the listener of what was published while
//! it was not connected, or of a node that is cut off from the others: the log is read at its interval all the same.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hallpass_core::{HintSource, Hints, StoreError};
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::database::Database;
use crate::keys::Place;
use crate::node::{Node, jittered};

/// How often a silent connection is asked whether it is still there.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// The first pause after a connection that failed or was short, and the longest.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A connection that ends sooner counts as one that failed.
const SHORT: Duration = Duration::from_secs(1);

/// Tells whoever listens.
pub(crate) async fn send(database: &Database) -> Result<(), StoreError> {
    let command = redis::cmd("PUBLISH").arg(database.keys.channel()).arg("").to_owned();
    database.write(Place::LOG, &command).await.map(drop)
}

/// Hears what other nodes tell, while somebody wants to know.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    source: HintSource,
    task: Mutex<Option<AbortedWithUs>>,
}

impl Ear {
    pub(crate) fn listen(&self, database: &Arc<Database>) -> Hints {
        self.source.listen(|| {
            let listener = Listener { source: self.source.clone(), database: Arc::clone(database) };
            let task = AbortedWithUs(tokio::spawn(supervise(listener)));
            *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        })
    }
}

/// Ends with the store, or with the task that waits for it.
#[derive(Debug)]
struct AbortedWithUs(JoinHandle<()>);

impl Drop for AbortedWithUs {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Clone)]
struct Listener {
    source: HintSource,
    database: Arc<Database>,
}

/// A panic costs a connection and not the hints.
async fn supervise(listener: Listener) {
    loop {
        let mut task = AbortedWithUs(tokio::spawn(listener.clone().keep()));
        let Err(error) = (&mut task.0).await else { return };
        tracing::error!(%error, "the task that hears hints ended; starting another one");
        sleep(jittered(LONGEST_PAUSE)).await;
    }
}

impl Listener {
    async fn keep(self) {
        let mut failures = 0_u32;
        while self.source.is_wanted() {
            let since = Instant::now();
            tokio::select! {
                () = self.hear(failures) => {}
                () = self.over() => return,
            }
            failures = if since.elapsed() < SHORT { failures.saturating_add(1) } else { 1 };
            let pause = PAUSE.saturating_mul(1 << (failures - 1).min(8)).min(LONGEST_PAUSE);
            tokio::select! {
                () = sleep(jittered(pause)) => {}
                () = self.over() => return,
            }
        }
    }

    /// When nobody wants to hear any more.
    async fn over(&self) {
        loop {
            self.source.unwanted().await;
            if !self.source.is_wanted() {
                return;
            }
        }
    }

    /// On one connection, until it ends; to another node than the last time, where there are several.
    async fn hear(&self, failures: u32) {
        if failures > 0 {
            // A map that cannot be had leaves the old one.
            let _ = self.database.topology.refresh(None).await;
        }
        let Some(node) = self.database.topology.any(failures as usize) else { return };
        let lost = Arc::new(Notify::new());
        let pushed = {
            let (source, lost) = (self.source.clone(), Arc::clone(&lost));
            move |push: PushInfo| match push.kind {
                PushKind::Message => source.heard(),
                PushKind::Disconnection => lost.notify_one(),
                _ => {}
            }
        };
        match node.open(pushed).await {
            Ok(connection) => tokio::select! {
                () = lost.notified() => {}
                () = self.attend(&node, connection) => {}
            },
            Err(error) => tracing::debug!(node = node.address(), ?error, "no connection to hear hints on"),
        }
    }

    /// Until the connection does not answer.
    async fn attend(&self, node: &Node, mut connection: MultiplexedConnection) {
        let patience = node.response_timeout();
        match timeout(patience, connection.subscribe(self.database.keys.channel())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return tracing::debug!(node = node.address(), %error, "hints cannot be heard"),
            Err(_) => return,
        }
        // Whatever was published while nobody listened.
        self.source.heard();
        loop {
            sleep(ASK_EVERY).await;
            let asked = redis::cmd("PING");
            let answered = timeout(patience, connection.send_packed_command(&asked)).await;
            if !matches!(answered, Ok(Ok(value)) if !matches!(value, Value::ServerError(_))) {
                return;
            }
        }
    }
}
