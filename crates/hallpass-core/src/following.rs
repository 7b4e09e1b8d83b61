//! The task that follows the revocation log.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::Reading;
use crate::nodes::GONE_AFTER;
use crate::{Event, Followed, Hints, Node, Sessions, StoreError, Uptime};

/// The shortest time between two readings of the log that hints cause.
const BETWEEN_HINTS: Duration = Duration::from_millis(20);

/// Follows the log until told to stop. A turn that fails or panics is followed by the next.
pub(crate) async fn run(sessions: Sessions, mut stopped: watch::Receiver<bool>) {
    let Some(settings) = sessions.inner.cache.as_ref().map(|cache| *cache.settings()) else { return };
    let mut lost: Option<Uptime> = None;
    let mut has_begun = false;
    let mut hints = sessions.inner.store.hints();
    let mut others = Others::default();
    loop {
        let begun = Instant::now();
        let mut turn = tokio::spawn(turn(sessions.clone()));
        let outcome = tokio::select! {
            outcome = &mut turn => outcome.unwrap_or_else(|panic| Err(format!("it panicked: {panic}"))),
            _ = stopped.changed() => {
                turn.abort();
                return;
            }
        };
        let record = &sessions.inner.follow_task;
        let now = Reading::of(&*sessions.inner.clock);
        let error = match outcome {
            Ok(_) => {
                record.succeeded(now.wall);
                None
            }
            Err(error) => {
                record.failed();
                Some(error)
            }
        };
        let error_free = error.is_none();
        let has_lease = sessions.cache_status().is_some_and(|status| !status.lease_left.is_zero());
        match (has_lease, lost) {
            (true, Some(since)) => {
                lost = None;
                sessions.emit(&Event::LeaseRegained { after: now.uptime.since(since) });
            }
            // At the beginning there is nothing to lose, unless the store does not answer.
            (false, None) if has_begun || error.is_some() => {
                lost = Some(now.uptime);
                sessions.emit(&Event::LeaseLost { error });
            }
            _ => {}
        }
        has_begun |= has_lease;
        if error_free {
            others.remove_gone(&sessions, settings.poll).await;
        }
        tokio::select! {
            _ = stopped.changed() => return,
            () = tokio::time::sleep_until(begun + pause(settings.poll)) => {}
            () = hinted(&mut hints, begun + BETWEEN_HINTS) => sessions.inner.hinting.has_heard(sessions.now()),
        }
    }
}

/// When a hint came, but not before this time: a storm of them is no storm of readings.
async fn hinted(hints: &mut Option<Hints>, not_before: Instant) {
    match hints {
        Some(hints) => {
            tokio::time::sleep_until(not_before).await;
            hints.next().await;
        }
        None => std::future::pending().await,
    }
}

/// What the registry said of other nodes a while ago.
#[derive(Default)]
struct Others {
    looked: Option<Uptime>,
    nodes: Vec<Node>,
}

impl Others {
    /// Removes nodes whose rows have not changed for [`GONE_AFTER`], by this node's clock. One reading in that time.
    async fn remove_gone(&mut self, sessions: &Sessions, patience: Duration) {
        let now = sessions.inner.clock.uptime();
        if self.looked.is_some_and(|looked| now.since(looked) < GONE_AFTER) {
            return;
        }
        let store = &sessions.inner.store;
        // Whatever comes of it; what was seen before is only older.
        self.looked = Some(now);
        let looked = tokio::time::timeout(patience, async {
            let nodes = store.nodes().await?;
            for gone in nodes.iter().filter(|node| self.nodes.contains(node)) {
                store.forget_node(gone.id, gone.beats).await?;
            }
            Ok::<_, StoreError>(nodes)
        });
        if let Ok(Ok(nodes)) = looked.await {
            self.nodes = nodes;
        }
    }
}

async fn turn(sessions: Sessions) -> Result<Followed, String> {
    sessions.follow().await.map_err(|error| error.to_string())
}

/// A tenth shorter or longer, or nodes that began together would ask together for ever.
fn pause(poll: Duration) -> Duration {
    let random = RandomState::new().hash_one(poll) as u8;
    poll.mul_f64(0.9 + f64::from(random) / 1280.0)
}
