//! A clock that somebody sets, on a machine that somebody pauses.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use hallpass_core::{Clock, SystemClock, Timestamp, Uptime};

/// The machine's clocks, moved. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct JumpingClock(Arc<Moved>);

#[derive(Debug, Default)]
struct Moved {
    /// How far the wall clock is ahead of the machine's, in milliseconds.
    wall: AtomicI64,
    /// How much time the uptime has missed, in nanoseconds.
    missed: AtomicU64,
    /// Where the uptime stands still; 0 while it runs.
    stands_at: AtomicU64,
}

impl JumpingClock {
    /// Somebody sets the wall clock.
    pub(crate) fn jump(&self, millis: i64) {
        self.0.wall.fetch_add(millis, Ordering::SeqCst);
    }

    /// From now on the uptime stands still while the time goes on, as in a virtual machine that is paused; only that this one works on all the same.
    pub(crate) fn pause(&self) {
        self.0.stands_at.store(self.uptime().as_nanos(), Ordering::SeqCst);
    }

    /// The uptime runs again, and has missed the time in between.
    pub(crate) fn resume(&self) {
        let stood_at = self.0.stands_at.load(Ordering::SeqCst);
        self.0.missed.store(SystemClock.uptime().as_nanos() - stood_at, Ordering::SeqCst);
        self.0.stands_at.store(0, Ordering::SeqCst);
    }
}

impl Clock for JumpingClock {
    fn now(&self) -> Timestamp {
        let moved = self.0.wall.load(Ordering::SeqCst);
        let now = SystemClock.now();
        let by = Duration::from_millis(moved.unsigned_abs());
        if moved < 0 { now.minus(by) } else { now.plus(by) }
    }

    fn uptime(&self) -> Uptime {
        match self.0.stands_at.load(Ordering::SeqCst) {
            0 => Uptime::from_nanos(SystemClock.uptime().as_nanos() - self.0.missed.load(Ordering::SeqCst)),
            at => Uptime::from_nanos(at),
        }
    }
}
