//! A server that cannot be reached is not asked by every call at once.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The first pause after a failed connection; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: a server that is back is noticed within it.
const LONGEST_PAUSE: Duration = Duration::from_millis(800);

/// What is known of failed connections.
#[derive(Debug, Default)]
pub(crate) struct Outage(Mutex<Option<Failed>>);

#[derive(Debug)]
struct Failed {
    times: u32,
    again_at: Instant,
    message: String,
}

impl Outage {
    /// Why no connection is tried just now; `None` when one should be.
    pub(crate) fn holds(&self, now: Instant) -> Option<String> {
        let failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed.as_ref().filter(|failed| now < failed.again_at).map(|failed| failed.message.clone())
    }

    /// A connection failed.
    pub(crate) fn failed(&self, now: Instant, message: String) {
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = failed.as_ref().map_or(0, |failed| failed.times).saturating_add(1);
        let pause = FIRST_PAUSE.saturating_mul(1 << times.min(5).saturating_sub(1)).min(LONGEST_PAUSE);
        *failed = Some(Failed { times, again_at: now + jittered(pause), message });
    }

    /// A connection was made.
    pub(crate) fn over(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Between a half and the whole of `pause`, so that programs do not knock in step.
pub(crate) fn jittered(pause: Duration) -> Duration {
    // Keys of a hasher are random and differ from one to the next; nothing here is secret.
    let share = RandomState::new().build_hasher().finish() % 512;
    pause.mul_f64(0.5 + share as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_a_bound_and_end_with_a_connection() {
        let outage = Outage::default();
        assert_eq!(outage.holds(Instant::now()), None);
        for n in 0..40 {
            let now = Instant::now();
            outage.failed(now, String::from("refused"));
            assert_eq!(outage.holds(now).as_deref(), Some("refused"));
            let pause = FIRST_PAUSE.saturating_mul(1 << n.min(4)).min(LONGEST_PAUSE);
            assert!(outage.holds(now + pause / 2 - Duration::from_millis(1)).is_some(), "failure {n}");
            assert_eq!(outage.holds(now + pause), None, "failure {n}");
        }
        outage.over();
        assert_eq!(outage.holds(Instant::now()), None);
        outage.failed(Instant::now(), String::from("again"));
        assert_eq!(outage.holds(Instant::now() + FIRST_PAUSE), None, "it begins anew");
    }
}
