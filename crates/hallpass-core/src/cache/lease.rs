//! How long this node may answer from memory.

use std::time::Duration;

use crate::clock::Reading;
use crate::shim::{AtomicI64, AtomicU64, Ordering, Rule, keeps};

/// The right to answer from memory, as the follower extends it and checks look at it.
///
/// It counts from the moment at which the log was asked, on a clock that nobody sets and that goes on in suspend: what was acknowledged before that moment
/// is in the answer, so whatever this node does not know of was acknowledged less than a lease ago.
#[derive(Debug)]
pub(crate) struct Lease {
    length: Duration,
    /// The end, in nanoseconds of uptime; 0 for none.
    until: AtomicU64,
    /// How far the wall clock was ahead of the uptime when the log was asked, in milliseconds.
    offset: AtomicI64,
}

/// A lease as a check found it, to be compared with the clock after the session was looked up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    until: u64,
    offset: i64,
    tolerance: i64,
}

impl Lease {
    pub(crate) fn new(length: Duration) -> Self {
        Self { length, until: AtomicU64::new(0), offset: AtomicI64::new(0) }
    }

    /// The lease as it is. Two loads, in the opposite order of [`Lease::extend`]: with an older end and a newer offset a check lets the lease end early.
    pub(crate) fn held(&self) -> Held {
        let until = self.until.load(Ordering::SeqCst);
        let offset = self.offset.load(Ordering::SeqCst);
        let quarter = self.length.as_millis() / 4;
        Held { until, offset, tolerance: i64::try_from(quarter).unwrap_or(i64::MAX) }
    }

    /// To be called after all was applied that the log had answered when it was asked at `sent`.
    pub(crate) fn extend(&self, sent: Reading) {
        self.offset.store(sent.offset(), Ordering::SeqCst);
        self.until.store(sent.uptime.plus(self.length).as_nanos(), Ordering::SeqCst);
    }

    /// From now on checks read the store.
    pub(crate) fn end(&self) {
        self.until.store(0, Ordering::SeqCst);
    }
}

impl Held {
    /// Whether it is still good at this moment. A wall clock that jumped against the uptime since the log was asked shortens it by as much, and ends it if that is
    /// more than a quarter: a machine that was paused or restored may not have counted that time.
    pub(crate) fn covers(self, now: Reading) -> bool {
        let jump = if keeps(Rule::NoticeJumps) { now.offset().saturating_sub(self.offset).saturating_abs() } else { 0 };
        jump <= self.tolerance && now.uptime.plus(Duration::from_millis(jump.unsigned_abs())).as_nanos() < self.until
    }

    /// How much of it is left; zero when it is over.
    pub(crate) fn left(self, now: Reading) -> Duration {
        if self.covers(now) { Duration::from_nanos(self.until - now.uptime.as_nanos()) } else { Duration::ZERO }
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use super::*;
    use crate::{Clock as _, ManualClock};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_ends_a_length_after_the_log_was_asked() {
        let clock = ManualClock::default();
        let lease = Lease::new(2 * SECOND);
        assert!(!lease.held().covers(Reading::of(&clock)), "none at the beginning");
        let sent = Reading::of(&clock);
        clock.advance(SECOND);
        lease.extend(sent);
        assert_eq!(lease.held().left(Reading::of(&clock)), SECOND);
        clock.advance(SECOND - Duration::from_millis(1));
        assert!(lease.held().covers(Reading::of(&clock)));
        clock.advance(Duration::from_millis(1));
        assert!(!lease.held().covers(Reading::of(&clock)), "at the very end");
        lease.extend(Reading::of(&clock));
        lease.end();
        assert_eq!(lease.held().left(Reading::of(&clock)), Duration::ZERO);
    }

    /// R21: a wall clock that moves against the other one tells of time that the other one may have missed.
    #[test]
    fn r21_a_jump_of_the_wall_clock_ends_it_until_the_log_is_asked_again() {
        let clock = ManualClock::default();
        let lease = Lease::new(2 * SECOND);
        for forward in [true, false] {
            lease.extend(Reading::of(&clock));
            let moved = |by: Duration| if forward { clock.now().plus(by) } else { clock.now().minus(by) };
            clock.set(moved(Duration::from_millis(500)));
            assert!(lease.held().covers(Reading::of(&clock)), "a quarter of the lease");
            clock.advance(Duration::from_millis(1_500));
            assert!(!lease.held().covers(Reading::of(&clock)), "shorter by as much");
            lease.extend(Reading::of(&clock));
            clock.set(moved(Duration::from_millis(500)));
            clock.set(moved(Duration::from_millis(2)));
            assert!(!lease.held().covers(Reading::of(&clock)), "more than a quarter");
            lease.extend(Reading::of(&clock));
            assert!(lease.held().covers(Reading::of(&clock)));
        }
    }
}
