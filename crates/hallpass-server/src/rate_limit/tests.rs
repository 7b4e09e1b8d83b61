use std::net::Ipv4Addr;

use super::*;

const NOW: i64 = 1_700_000_000_000;

fn rate(burst: u32, refill_ms: u64) -> Rate {
    Rate { burst, refill: Duration::from_millis(refill_ms) }
}

fn limits(address: u32, account: u32) -> SignInLimits {
    SignInLimits::new(SignInRates::new(rate(address, 1_000), rate(1_000, 1_000), rate(account, 1_000), 100))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn fail(limits: &SignInLimits, address: &str, account: &str, now_ms: i64) -> Result<(), Limited> {
    limits.attempt(ip(address), account, now_ms).map(drop)
}

#[test]
fn burst_then_one_for_each_interval() {
    let mut buckets = Buckets::new(rate(3, 1_000), 10);
    let mut attempt = |now| {
        let wait = buckets.wait('k', now);
        if wait.is_none() {
            buckets.take('k', now);
        }
        wait
    };
    for _ in 0..3 {
        assert_eq!(attempt(NOW), None);
    }
    assert_eq!(attempt(NOW), Some(Duration::from_millis(1_000)));
    assert_eq!(attempt(NOW + 999), Some(Duration::from_millis(1)));
    assert_eq!(attempt(NOW + 1_000), None);
    assert_eq!(attempt(NOW + 1_000), Some(Duration::from_millis(1_000)));
    // Full again after the whole span, and not more than full.
    for _ in 0..3 {
        assert_eq!(attempt(NOW + 1_000_000), None);
    }
    assert!(attempt(NOW + 1_000_000).is_some());
}

#[test]
fn a19_an_address_is_limited_and_others_are_not() {
    let limits = limits(5, 1_000);
    for n in 0..5 {
        fail(&limits, "192.0.2.1", &format!("user{n}@example.com"), NOW).unwrap();
    }
    let limited = fail(&limits, "192.0.2.1", "other@example.com", NOW).unwrap_err();
    assert_eq!(limited.by, LimitedBy::Address);
    assert_eq!(limited.retry_after_secs(), 1);
    fail(&limits, "192.0.2.2", "other@example.com", NOW).unwrap();
}

#[test]
fn a19_an_account_is_limited_over_all_addresses() {
    let limits = limits(1_000, 5);
    for n in 0..5 {
        fail(&limits, &format!("192.0.2.{n}"), "alice@example.com", NOW).unwrap();
    }
    let limited = fail(&limits, "198.51.100.1", "alice@example.com", NOW).unwrap_err();
    assert_eq!(limited.by, LimitedBy::Account);
    fail(&limits, "198.51.100.1", "bob@example.com", NOW).unwrap();
}

#[test]
fn a19_one_attacker_with_one_address_does_not_keep_the_owner_out() {
    let limits = SignInLimits::new(SignInRates::default());
    let mut refused_to_the_owner = 0;
    // Two guesses a second for ten minutes; the owner tries every five seconds, with the right password.
    for half_second in 0..1_200_i64 {
        let now = NOW + half_second * 500;
        let _ = fail(&limits, "203.0.113.9", "alice@example.com", now);
        if half_second % 10 == 0 {
            match limits.attempt(ip("192.0.2.1"), "alice@example.com", now) {
                Ok(attempt) => limits.give_back(attempt, now),
                Err(_) => refused_to_the_owner += 1,
            }
        }
    }
    assert_eq!(refused_to_the_owner, 0);
    // At most one guess has come back since.
    let _ = fail(&limits, "203.0.113.9", "alice@example.com", NOW + 600_000);
    let limited = fail(&limits, "203.0.113.9", "alice@example.com", NOW + 600_000).unwrap_err();
    assert_eq!(limited.by, LimitedBy::Pair);
}

#[test]
fn a36_rotation_inside_a_slash_64_does_not_evade() {
    let limits = limits(3, 1_000);
    for n in 0..3 {
        fail(&limits, &format!("2001:db8:0:1::{n}"), &format!("{n}@example.com"), NOW).unwrap();
    }
    assert!(fail(&limits, "2001:db8:0:1:ffff::1", "x@example.com", NOW).is_err());
    fail(&limits, "2001:db8:0:2::1", "x@example.com", NOW).unwrap();
    // IPv4 in IPv6 form is the same address, and not one /64 for all of IPv4.
    for n in 0..3 {
        fail(&limits, "192.0.2.1", &format!("{n}@example.net"), NOW).unwrap();
    }
    assert!(fail(&limits, "::ffff:192.0.2.1", "x@example.net", NOW).is_err());
    fail(&limits, "::ffff:192.0.2.2", "x@example.net", NOW).unwrap();
}

#[test]
fn success_costs_nothing() {
    let limits = limits(3, 3);
    for _ in 0..100 {
        let attempt = limits.attempt(ip("192.0.2.1"), "alice@example.com", NOW).unwrap();
        limits.give_back(attempt, NOW);
    }
    assert_eq!(limits.remembered(), (0, 0));
}

#[test]
fn success_does_not_forgive_earlier_failures() {
    let limits = limits(3, 1_000);
    for _ in 0..2 {
        fail(&limits, "192.0.2.1", "victim@example.com", NOW).unwrap();
    }
    let own = limits.attempt(ip("192.0.2.1"), "attacker@example.com", NOW).unwrap();
    limits.give_back(own, NOW);
    fail(&limits, "192.0.2.1", "victim@example.com", NOW).unwrap();
    assert!(fail(&limits, "192.0.2.1", "victim@example.com", NOW).is_err());
}

#[test]
fn parallel_attempts_pay_before_they_are_judged() {
    let limits = limits(1_000, 5);
    let admitted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..50).map(|_| scope.spawn(|| fail(&limits, "192.0.2.1", "alice@example.com", NOW).is_ok())).collect();
        threads.into_iter().filter(|_| true).map(|thread| usize::from(thread.join().unwrap())).sum()
    });
    assert_eq!(admitted, 5);
}

#[test]
fn a_refused_attempt_takes_from_neither_bucket() {
    let limits = limits(2, 1);
    fail(&limits, "192.0.2.1", "alice@example.com", NOW).unwrap();
    for _ in 0..10 {
        assert!(fail(&limits, "192.0.2.1", "alice@example.com", NOW).is_err());
    }
    fail(&limits, "192.0.2.1", "bob@example.com", NOW).unwrap();
}

#[test]
fn the_map_is_bounded_and_keeps_the_limited_key() {
    let capacity = 100;
    let limits = SignInLimits::new(SignInRates::new(rate(5, 1_000), rate(5, 1_000), rate(100_000, 1_000), capacity));
    for _ in 0..5 {
        fail(&limits, "203.0.113.9", "a@example.com", NOW).unwrap();
    }
    for n in 0..10_000_u32 {
        let address = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n));
        drop(limits.attempt(address, &n.to_string(), NOW + 1).unwrap());
        let (addresses, accounts) = limits.remembered();
        assert!(addresses <= capacity && accounts <= capacity);
    }
    assert_eq!(limits.remembered().0, capacity);
    assert!(fail(&limits, "203.0.113.9", "a@example.com", NOW + 1).is_err());
}

#[test]
fn eviction_takes_the_bucket_that_is_full_first() {
    let mut buckets = Buckets::new(rate(10, 1_000), 2);
    buckets.take('a', NOW);
    buckets.take('a', NOW);
    buckets.take('b', NOW);
    buckets.take('c', NOW);
    assert_eq!(buckets.len(), 2);
    assert!(buckets.full_at.contains_key(&'a') && buckets.full_at.contains_key(&'c'));
    assert_eq!(buckets.full_at.len(), buckets.by_time.len());
}

#[test]
fn a_clock_set_back_limits_nobody_for_longer_than_an_empty_bucket() {
    let mut buckets = Buckets::new(rate(3, 1_000), 10);
    for _ in 0..3 {
        buckets.take('k', NOW);
    }
    let year = 365 * 24 * 60 * 60 * 1_000;
    assert_eq!(buckets.wait('k', NOW - year), Some(Duration::from_millis(1_000)));
}

#[test]
fn accounts_are_not_kept_in_the_clear() {
    let limits = limits(5, 5);
    fail(&limits, "192.0.2.1", "alice@example.com", NOW).unwrap();
    assert!(!format!("{limits:?}").contains("alice"));
}
