//! Time: integer milliseconds since the Unix epoch, read from one injected [`Clock`].

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::shim::{AtomicI64, AtomicU64, Ordering};

/// An instant in milliseconds since 1970-01-01T00:00:00Z.
///
/// All arithmetic saturates, so no policy and no clock reading can overflow a deadline (abuse case A51).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 9999-12-31T23:59:59.999Z: the deadline of what has none.
    pub const NEVER: Self = Self(253_402_300_799_999);
    /// The epoch itself.
    pub const EPOCH: Self = Self(0);

    /// An instant from milliseconds, clamped to the range from the epoch to [`Timestamp::NEVER`].
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        if millis < 0 {
            Self::EPOCH
        } else if millis > Self::NEVER.0 {
            Self::NEVER
        } else {
            Self(millis)
        }
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Later by `duration`, at most [`Timestamp::NEVER`].
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(millis(duration)))
    }

    /// Earlier by `duration`, at least the epoch.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self::from_millis(self.0.saturating_sub(millis(duration)))
    }

    /// How long ago `earlier` was; zero when it lies in the future (a clock that moved back).
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// How long the machine has been running, in nanoseconds from some fixed moment. Nobody sets it, and it goes on while the machine sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Uptime(u64);

impl Uptime {
    /// An uptime from nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Later by `duration`.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero when it was not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Where the current time comes from. One clock decides every deadline of a node.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;

    /// How long the machine has been running, sleep included. The lease of cached validation counts on it: between two nodes, and on one, it must run
    /// at the true rate, however the wall clock is set.
    fn uptime(&self) -> Uptime;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn uptime(&self) -> Uptime {
        (**self).uptime()
    }
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) wall: Timestamp,
    pub(crate) uptime: Uptime,
}

impl Reading {
    /// The uptime last: it is the one that a lease is compared with.
    pub(crate) fn of(clock: &dyn Clock) -> Self {
        let wall = clock.now();
        Self { wall, uptime: clock.uptime() }
    }

    /// How far the wall clock is ahead of the uptime, in milliseconds: it changes only when somebody sets the clock, or the machine loses time.
    pub(crate) fn offset(self) -> i64 {
        let uptime = i64::try_from(self.uptime.0 / 1_000_000).unwrap_or(i64::MAX);
        self.wall.0.saturating_sub(uptime)
    }
}

/// The machine's own clocks: the wall clock, and one that counts sleep (`CLOCK_BOOTTIME` on Linux, `CLOCK_MONOTONIC` on other Unix systems, of which
/// macOS counts sleep; elsewhere `Instant`).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH.plus(since_epoch)
    }

    /// `Instant` would not do: on Linux and macOS it stands still while the machine sleeps.
    #[cfg(unix)]
    fn uptime(&self) -> Uptime {
        use rustix::time::{ClockId, clock_gettime};
        #[cfg(any(target_os = "linux", target_os = "android"))]
        const GOES_ON: ClockId = ClockId::Boottime;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        const GOES_ON: ClockId = ClockId::Monotonic;
        let time = clock_gettime(GOES_ON);
        Uptime(
            u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000)
                + u64::try_from(time.tv_nsec).unwrap_or(0),
        )
    }

    #[cfg(not(unix))]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clocks")]
    fn uptime(&self) -> Uptime {
        static BEGAN: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
        // Not 0, which would be no lease.
        Uptime(1).plus(BEGAN.elapsed())
    }
}

/// A clock that moves only when told, for tests. Clones share the same time. Its uptime moves with [`ManualClock::advance`] alone, as the one of a machine
/// whose wall clock is set.
///
/// ```
/// use hallpass_core::{Clock, ManualClock, Timestamp};
/// use std::time::Duration;
///
/// let clock = ManualClock::at(Timestamp::from_millis(1_000));
/// clock.advance(Duration::from_secs(2));
/// assert_eq!(clock.now().as_millis(), 3_000);
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Manual>);

#[derive(Debug)]
struct Manual {
    wall: AtomicI64,
    uptime: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(Manual { wall: AtomicI64::new(now.0), uptime: AtomicU64::new(1) }))
    }

    /// Moves forward, the uptime too.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
        self.0.uptime.store(self.uptime().plus(by).0, Ordering::SeqCst);
    }

    /// Jumps to `now`, backwards too. The uptime stays.
    pub fn set(&self, now: Timestamp) {
        self.0.wall.store(now.0, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::at(Timestamp::from_millis(1_767_225_600_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.wall.load(Ordering::SeqCst))
    }

    fn uptime(&self) -> Uptime {
        Uptime(self.0.uptime.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a51_arithmetic_saturates_instead_of_overflowing() {
        let now = Timestamp::from_millis(1_767_225_600_000);
        assert_eq!(now.plus(Duration::MAX), Timestamp::NEVER);
        assert_eq!(now.minus(Duration::MAX), Timestamp::EPOCH);
        assert_eq!(Timestamp::from_millis(i64::MIN), Timestamp::EPOCH);
        assert_eq!(now.since(Timestamp::NEVER), Duration::ZERO);
    }
}
