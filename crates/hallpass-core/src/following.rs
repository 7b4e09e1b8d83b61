//! The task that follows the revocation log.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::Reading;
use crate::{Event, Followed, Sessions, Uptime};

/// Follows the log until told to stop. A turn that fails or panics is followed by the next.
pub(crate) async fn run(sessions: Sessions, mut stopped: watch::Receiver<bool>) {
    let Some(settings) = sessions.inner.cache.as_ref().map(|cache| *cache.settings()) else { return };
    let mut lost: Option<Uptime> = None;
    let mut has_begun = false;
    loop {
        let begun = Instant::now();
        let mut turn = tokio::spawn(turn(sessions.clone(), settings.lease));
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

async fn turn(sessions: Sessions, longest: Duration) -> Result<Followed, String> {
    // An answer later than a lease after the question gives none.
    match tokio::time::timeout(longest, sessions.follow()).await {
        Ok(Ok(followed)) => Ok(followed),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("the revocation log was not read within {longest:?}")),
    }
}

/// A tenth shorter or longer, or nodes that began together would ask together for ever.
fn pause(poll: Duration) -> Duration {
    let random = RandomState::new().hash_one(poll) as u8;
    poll.mul_f64(0.9 + f64::from(random) / 1280.0)
}
