//! The task that follows the revocation log.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::Reading;
use crate::{Event, Followed, Sessions, StoreError, Uptime};

/// Follows the log until told to stop. A turn that fails or panics is followed by the next.
pub(crate) async fn run(sessions: Sessions, mut stopped: watch::Receiver<bool>) {
    let Some(settings) = sessions.inner.cache.as_ref().map(|cache| *cache.settings()) else { return };
    let mut lost: Option<Uptime> = None;
    let mut has_begun = false;
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
        tokio::select! {
            _ = stopped.changed() => return,
            () = tokio::time::sleep_until(begun + pause(settings.poll)) => {}
        }
    }
}

async fn turn(sessions: Sessions) -> Result<Followed, String> {
    sessions.follow().await.map_err(|error| error.to_string())
}

/// An answer later than a lease after the question gives none, and whoever waits for it keeps others from asking.
#[cfg(not(feature = "shuttle"))]
pub(crate) async fn within_a_lease(
    lease: Duration,
    turn: impl Future<Output = Result<Followed, StoreError>>,
) -> Result<Followed, StoreError> {
    match tokio::time::timeout(lease, turn).await {
        Ok(outcome) => outcome,
        Err(_) => Err(StoreError::unavailable(format!("the revocation log was not read within {lease:?}"))),
    }
}

/// The schedules have no timers.
#[cfg(feature = "shuttle")]
pub(crate) async fn within_a_lease(
    _: Duration,
    turn: impl Future<Output = Result<Followed, StoreError>>,
) -> Result<Followed, StoreError> {
    turn.await
}

/// A tenth shorter or longer, or nodes that began together would ask together for ever.
fn pause(poll: Duration) -> Duration {
    let random = RandomState::new().hash_one(poll) as u8;
    poll.mul_f64(0.9 + f64::from(random) / 1280.0)
}
