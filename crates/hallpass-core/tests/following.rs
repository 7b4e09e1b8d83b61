//! The task that follows the revocation log. The timers run by themselves here, the clock of the leases when told.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what should not fail")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use hallpass_core::{CacheSettings, Event, Policies, TaskStatus, ValidationMode};
use support::{House, house, house_with};

const LEASE: Duration = Duration::from_secs(2);

fn cached() -> House {
    house_with(Policies::default(), ValidationMode::Cached(CacheSettings::default()))
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if is_so() {
            return;
        }
        // Of the timers' time, which passes at once.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 100 seconds: {what}");
}

impl House {
    fn has_lease(&self) -> bool {
        self.sessions.cache_status().is_some_and(|status| !status.lease_left.is_zero())
    }

    fn followed(&self) -> TaskStatus {
        self.sessions.background_status().follow.unwrap()
    }

    fn lost(&self) -> usize {
        self.events.count(|event| matches!(event, Event::LeaseLost { error: Some(_) }))
    }

    fn regained(&self) -> usize {
        self.events.count(|event| matches!(event, Event::LeaseRegained { after } if *after < Duration::from_secs(60)))
    }

    /// The lease is lost by what `fault` does, and comes back by itself.
    async fn loses_and_regains(&self, fault: impl Fn(bool)) {
        let (lost, regained, failures) = (self.lost(), self.regained(), self.followed().failures);
        fault(true);
        self.clock.advance(LEASE);
        until("the lease is lost", || self.lost() > lost && !self.has_lease()).await;
        until("it is tried again", || self.followed().failures > failures + 1).await;
        assert_eq!(self.lost(), lost + 1, "said once");
        fault(false);
        until("it is regained", || self.regained() > regained && self.has_lease()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_taken_kept_lost_and_regained() {
    let house = cached();
    assert!(!house.has_lease(), "nobody follows yet");
    let background = house.sessions.start_background();
    until("a lease", || house.has_lease()).await;
    for _ in 0..20 {
        house.clock.advance(LEASE / 2);
        let turns = house.probe.follows.load(Ordering::SeqCst);
        until("the next turn", || house.probe.follows.load(Ordering::SeqCst) > turns).await;
        assert!(house.has_lease());
    }
    assert_eq!((house.lost(), house.regained(), house.followed().failures), (0, 0, 0));
    let probe = &house.probe;
    house.loses_and_regains(|down| probe.down.store(down, Ordering::SeqCst)).await;
    house.loses_and_regains(|silent| probe.log_is_silent.store(silent, Ordering::SeqCst)).await;
    house.loses_and_regains(|panics| probe.panic_in_follow.store(panics, Ordering::SeqCst)).await;
    assert!(house.followed().last_success.is_some());
    background.shutdown().await;
    let turns = probe.follows.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(probe.follows.load(Ordering::SeqCst), turns, "it has stopped");
}

/// The log is asked about every 500 ms, never by the clock alone, so that nodes which began together do not ask together.
#[tokio::test(start_paused = true)]
async fn the_log_is_read_at_its_own_pace() {
    let house = cached();
    let background = house.sessions.start_background();
    until("a lease", || house.has_lease()).await;
    let begun = house.probe.follows.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(100)).await;
    let turns = house.probe.follows.load(Ordering::SeqCst) - begun;
    assert!((180..=225).contains(&turns), "{turns} readings in 100 seconds");
    drop(background);
}

/// A node whose store does not answer at the start says so, and serves from the store when it is there.
#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_read_at_the_start_is_said_once() {
    let house = cached();
    house.probe.down.store(true, Ordering::SeqCst);
    let background = house.sessions.start_background();
    until("it is said", || house.lost() == 1).await;
    house.probe.down.store(false, Ordering::SeqCst);
    until("it is regained", || house.regained() == 1 && house.has_lease()).await;
    drop(background);
}

/// An application's own reading that hangs is given up after a lease, so that the task goes on.
#[tokio::test(start_paused = true)]
async fn a_reading_that_hangs_is_given_up() {
    let house = cached();
    house.probe.log_is_silent.store(true, Ordering::SeqCst);
    let begun = tokio::time::Instant::now();
    let error = house.sessions.follow().await.unwrap_err();
    assert!(begun.elapsed() <= LEASE + Duration::from_millis(10), "{:?}", begun.elapsed());
    assert!(error.to_string().contains("within 2s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_strict_mode_follows_nothing() {
    let house = house(Policies::default());
    let background = house.sessions.start_background();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(house.probe.follows.load(Ordering::SeqCst), 0);
    assert!(house.sessions.cache_status().is_none() && house.sessions.background_status().follow.is_none());
    background.shutdown().await;
}
