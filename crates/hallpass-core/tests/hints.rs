//! Hints: other nodes learn of a change at once as a rule, and nothing rests on it. The timers run by themselves here, the clock of the leases when told.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what should not fail")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hallpass_core::{
    Actor, Attributes, CacheSettings, Class, EndReason, Issued, Label, OnLimit, Policies, SignIn, ValidationMode,
};
use support::{House, Probe, house_on, user};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

fn cached() -> ValidationMode {
    ValidationMode::Cached(CacheSettings::default())
}

fn sent(house: &House) -> u64 {
    house.probe.hints_sent.load(Ordering::SeqCst)
}

fn follows(house: &House) -> u64 {
    house.probe.follows.load(Ordering::SeqCst)
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("not within 100 seconds: {what}");
}

type Change = fn(&House, Issued) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>>;

/// Every change that another node may have in memory.
const CHANGES: [(&str, Change); 9] = [
    ("revoke", |house, issued| {
        Box::pin(async move {
            let by = Actor::operator("test");
            house.sessions.revoke(issued.session.id, None, &by, EndReason::Revoked).await.unwrap();
        })
    }),
    ("end", |house, issued| Box::pin(async move { assert!(house.sessions.end(&issued.token).await.unwrap()) })),
    ("revoke_user", |house, issued| {
        Box::pin(async move {
            let by = Actor::operator("test");
            house.sessions.revoke_user(&issued.session.user, &by, EndReason::RevokedUser).await.unwrap();
        })
    }),
    ("revoke_others", |house, issued| {
        Box::pin(async move {
            house.sessions.create(SignIn::new(issued.session.user.clone())).await.unwrap();
            let by = Actor::operator("test");
            house.sessions.revoke_others(&issued.session, &by, EndReason::RevokedOthers).await.unwrap();
        })
    }),
    ("revoke_everyone", |house, _| {
        Box::pin(async move {
            house.sessions.revoke_everyone(&Actor::operator("test")).await.unwrap();
        })
    }),
    ("rotate", |house, issued| Box::pin(async move { drop(house.sessions.rotate(&issued.token).await.unwrap()) })),
    ("set_label", |house, issued| {
        Box::pin(async move {
            let label = Label::new("Kitchen").unwrap();
            assert!(house.sessions.set_label(issued.session.id, &issued.session.user, label.as_ref()).await.unwrap());
        })
    }),
    ("set_attributes", |house, issued| {
        Box::pin(async move {
            let attributes = Attributes::from_json(r#"{"role":"admin"}"#).unwrap();
            house.sessions.set_attributes(&issued.session, &attributes).await.unwrap();
        })
    }),
    ("the limit", |house, issued| {
        Box::pin(async move {
            let mut policy = house.sessions.policies().of(&Class::WEB).clone();
            (policy.max_per_user, policy.on_limit) = (Some(1), OnLimit::EvictOldest);
            house.sessions.set_policies(Policies::default().with(Class::WEB, policy).unwrap());
            let again = house.sessions.create(SignIn::new(issued.session.user.clone())).await.unwrap();
            assert_eq!(again.evicted, [issued.session.id]);
        })
    }),
];

#[tokio::test(start_paused = true)]
async fn every_change_is_hinted_and_heard_at_once() {
    for (name, change) in CHANGES {
        let probe = Arc::new(Probe::default());
        let here = house_on(&probe, Policies::default(), cached());
        let there = house_on(&probe, Policies::default(), cached());
        let _background = [here.sessions.start_background(), there.sessions.start_background()];
        let position = || there.sessions.cache_status().unwrap().position;
        until("a beginning", || position().is_some()).await;
        let issued = here.sign_in("alice").await;
        tokio::time::sleep(SECOND).await;
        assert_eq!(sent(&here), 0, "a creation concerns nobody's memory");
        let (before, begun) = (position(), Instant::now());
        change(&here, issued).await;
        until("the other one has followed", || position() > before).await;
        assert!(begun.elapsed() <= Duration::from_millis(25), "{name}: {:?}", begun.elapsed());
        // Where its own turn came first, the hint is heard after it.
        until("the hint is heard", || there.sessions.cache_status().unwrap().hints > 0).await;
        assert!(there.sessions.cache_status().unwrap().last_hint.is_some(), "{name}");
        assert_eq!(sent(&here), 1, "{name}");
    }
}

/// A node that reads the store for each check may have others beside it that do not.
#[tokio::test(start_paused = true)]
async fn a_strict_node_hints_too_and_what_changes_nothing_is_not_hinted() {
    let probe = Arc::new(Probe::default());
    let here = house_on(&probe, Policies::default(), cached());
    let strict = house_on(&probe, Policies::default(), ValidationMode::Strict);
    let background = [here.sessions.start_background(), strict.sessions.start_background()];
    let by = Actor::operator("test");
    let issued = here.sign_in("alice").await;
    here.check(&issued.token).await.unwrap();
    here.sessions.revoke(issued.session.id, Some(&user("bob")), &by, EndReason::Revoked).await.unwrap();
    here.sessions.revoke_user(&user("bob"), &by, EndReason::RevokedUser).await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(sent(&here), 0);
    assert!(strict.sessions.end(&issued.token).await.unwrap());
    tokio::time::sleep(SECOND).await;
    assert_eq!(sent(&here), 1);
    drop(background);
    // Without background tasks it takes a word.
    let again = strict.sign_in("alice").await;
    assert!(strict.sessions.end(&again.token).await.unwrap());
    tokio::time::sleep(SECOND).await;
    assert_eq!(sent(&here), 1);
    strict.sessions.hint().await;
    strict.sessions.hint().await;
    assert_eq!(sent(&here), 2, "once, for what there is to tell");
}

/// R7: a storm of hints is no storm of readings, and no hint, forged or not, moves a node's place or its lease.
#[tokio::test(start_paused = true)]
async fn r7_a_storm_of_hints_costs_little_and_moves_nothing() {
    let probe = Arc::new(Probe::default());
    let house = house_on(&probe, Policies::default(), cached());
    let _background = house.sessions.start_background();
    let status = || house.sessions.cache_status().unwrap();
    until("a lease", || !status().lease_left.is_zero()).await;
    let (before, begun) = (follows(&house), Instant::now());
    while begun.elapsed() < 10 * SECOND {
        for _ in 0..100 {
            probe.hints.heard();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let readings = follows(&house) - before;
    assert!((400..=501).contains(&readings), "{readings} readings in ten seconds");
    assert_eq!(status().position, Some(0));
    probe.down.store(true, Ordering::SeqCst);
    let left = status().lease_left;
    house.clock.advance(SECOND);
    for _ in 0..100 {
        probe.hints.heard();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(status().lease_left, left - SECOND, "the lease goes on running out");
}

/// Many changes at once are few hints.
#[tokio::test(start_paused = true)]
async fn hints_are_sent_together() {
    let probe = Arc::new(Probe::default());
    let house = house_on(&probe, Policies::default(), cached());
    let _background = house.sessions.start_background();
    for _ in 0..1_000 {
        let issued = house.sign_in("alice").await;
        house.sessions.end(&issued.token).await.unwrap();
        // The task that hints may go on.
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(SECOND).await;
    assert!((1..=3).contains(&sent(&house)), "{} hints", sent(&house));
}

/// A store that cannot hear of hints any more costs nothing but time.
#[tokio::test(start_paused = true)]
async fn r7_without_hints_the_log_is_read_at_its_pace() {
    let probe = Arc::new(Probe::default());
    let there = house_on(&probe, Policies::default(), cached());
    let _background = there.sessions.start_background();
    let position = || there.sessions.cache_status().unwrap().position;
    until("a beginning", || position().is_some()).await;
    let strict = house_on(&probe, Policies::default(), ValidationMode::Strict);
    let issued = strict.sign_in("alice").await;
    let begun = Instant::now();
    strict.sessions.end(&issued.token).await.unwrap();
    until("the other one has followed", || position() == Some(1)).await;
    assert!(begun.elapsed() <= Duration::from_millis(560), "{:?}", begun.elapsed());
    assert_eq!(there.sessions.cache_status().unwrap().hints, 0);
}
