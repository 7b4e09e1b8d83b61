//! At most N sessions of a class for one user (G10).

#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::sync::Arc;

use hallpass_core::store::{Filter, Page};
use hallpass_core::{AbsoluteTimeout, Class, CreateError, EndReason, Event, OnLimit, Policies, Policy, SignIn};
use support::{DAY, HOUR, House, house, seconds, user};

fn at_most(max: u32, on_limit: OnLimit) -> Policies {
    let mut policy = Policies::default().of(&Class::WEB).clone();
    policy.max_per_user = Some(max);
    policy.on_limit = on_limit;
    Policies::default().with(Class::WEB, policy).unwrap()
}

async fn live(house: &House) -> usize {
    let filter = Filter { user: Some(user("alice")), ..Filter::default() };
    house.sessions.list(&filter, Page::first(500)).await.unwrap().sessions.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a27_64_sign_ins_at_once_never_leave_more_than_the_limit_and_each_survives_its_own() {
    let house = Arc::new(house(at_most(5, OnLimit::EvictOldest)));
    let old = house.sign_in("alice").await;
    house.clock.advance(seconds(1));
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let house = Arc::clone(&house);
            tokio::spawn(async move {
                let issued = house.sign_in("alice").await;
                assert!(!issued.evicted.contains(&issued.session.id));
                assert!(live(&house).await <= 5);
                issued
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    let mut survivors = 0;
    for issued in &all {
        survivors += usize::from(house.live(&issued.token).await.is_some());
    }
    assert_eq!(survivors, 5, "the newest are kept");
    assert!(house.live(&old.token).await.is_none(), "the oldest went first");
    let newest = house.sign_in("alice").await;
    assert!(house.live(&newest.token).await.is_some());
    let evicted = house.events.count(|event| matches!(event, Event::Ended { reason: EndReason::Limit, .. }));
    assert_eq!(evicted, 61, "66 created, 5 left, each end told once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a27_64_sign_ins_at_once_are_refused_beyond_the_limit() {
    let house = Arc::new(house(at_most(5, OnLimit::Refuse)));
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let house = Arc::clone(&house);
            tokio::spawn(async move { house.sessions.create(SignIn::new(user("alice"))).await })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => created += 1,
            Err(CreateError::LimitReached { live }) => assert_eq!(live, 5),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((created, live(&house).await), (5, 5));
    assert!(house.sessions.create(SignIn::new(user("bob"))).await.is_ok(), "other users are unaffected");
    let remembered = SignIn::new(user("alice")).class(Class::REMEMBERED);
    assert!(house.sessions.create(remembered).await.is_ok(), "each class has its own limit");
}

#[tokio::test]
async fn sessions_that_the_policy_in_force_has_ended_take_nobodys_place() {
    let house = house(at_most(2, OnLimit::Refuse));
    house.sign_in("alice").await;
    house.sign_in("alice").await;
    house.at(seconds(2 * HOUR));
    assert!(house.sessions.create(SignIn::new(user("alice"))).await.is_err());
    // Renewed two hours ago: dead under a limit of one hour, though the stored deadline is weeks away.
    let shorter = |max_age, absolute| {
        let mut policy = Policy::new(seconds(max_age), seconds(60), AbsoluteTimeout::After(seconds(absolute)));
        policy.max_per_user = Some(2);
        policy.on_limit = OnLimit::Refuse;
        Policies::default().with(Class::WEB, policy).unwrap()
    };
    house.sessions.set_policies(shorter(HOUR, 90 * DAY));
    assert!(house.sessions.create(SignIn::new(user("alice"))).await.is_ok());
    assert!(house.sessions.create(SignIn::new(user("alice"))).await.is_ok());
    assert!(house.sessions.create(SignIn::new(user("alice"))).await.is_err());
    house.at(seconds(3 * HOUR - 1));
    house.sessions.set_policies(shorter(30 * DAY, HOUR - 1));
    assert!(house.sessions.create(SignIn::new(user("alice"))).await.is_ok(), "dead under the absolute limit");
}
