//! The whole life of a session under an injected clock: sliding, idle and absolute limits, freshness.

#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use hallpass_core::{
    AbsoluteTimeout, Authentication, CacheSettings, Class, Client, Event, Invalid, Policies, Policy, SignIn, Timestamp,
    ValidationMode,
};
use proptest::prelude::*;
use support::{DAY, HOUR, House, house, house_with, seconds, user};

const MS: Duration = Duration::from_millis(1);

fn policy(max_age: u64, update_age: u64, absolute: u64) -> Policy {
    Policy::new(seconds(max_age), seconds(update_age), AbsoluteTimeout::After(seconds(absolute)))
}

fn web(policy: Policy) -> Policies {
    Policies::default().with(Class::WEB, policy).unwrap()
}

#[tokio::test]
async fn a_session_in_use_is_renewed_once_per_update_age_and_never_past_the_absolute_limit() {
    let house = house(Policies::default());
    let token = house.sign_in("alice").await.token;
    // (time of the request, renewed?, idle deadline afterwards), all counted from the sign-in.
    let table = [
        (seconds(0), false, seconds(30 * DAY)),
        (seconds(1), false, seconds(30 * DAY)),
        (seconds(DAY) - MS, false, seconds(30 * DAY)),
        (seconds(DAY), true, seconds(31 * DAY)),
        (seconds(DAY) + MS, false, seconds(31 * DAY)),
        (seconds(2 * DAY) - MS, false, seconds(31 * DAY)),
        (seconds(2 * DAY), true, seconds(32 * DAY)),
        (seconds(32 * DAY) - MS, true, seconds(62 * DAY) - MS),
        (seconds(61 * DAY), true, seconds(90 * DAY)),
        (seconds(89 * DAY), true, seconds(90 * DAY)),
        (seconds(90 * DAY) - MS, false, seconds(90 * DAY)),
    ];
    let mut writes = 0;
    for (at, renewed, idle) in table {
        house.at(at);
        for repeat in 0..3 {
            let (session, was_renewed) = house.live(&token).await.unwrap_or_else(|| panic!("dead at {at:?}"));
            assert_eq!(was_renewed, renewed && repeat == 0, "at {at:?}, request {repeat}");
            assert_eq!(session.idle_expires_at, house.start.plus(idle), "at {at:?}");
            assert_eq!(session.absolute_expires_at, house.start.plus(seconds(90 * DAY)));
        }
        writes += u64::from(renewed);
        assert_eq!(house.probe.renewals.load(Ordering::SeqCst), writes, "a write that was not due, at {at:?}");
        let stored = house.sessions.show(token.id()).await.unwrap().unwrap();
        assert_eq!(stored.idle_expires_at, house.start.plus(idle), "stored, at {at:?}");
    }
    house.at(seconds(90 * DAY));
    assert_eq!(house.refused(&token).await, Invalid::AbsoluteTimeout);
    assert_eq!(house.events.count(|event| matches!(event, Event::Renewed { .. })), 5);
}

#[tokio::test]
async fn a44_an_unused_session_ends_at_its_idle_limit_though_nobody_swept() {
    let house = house(Policies::default());
    let token = house.sign_in("alice").await.token;
    house.at(seconds(30 * DAY) - MS);
    let copy = house.sessions.show(token.id()).await.unwrap().unwrap();
    assert!(copy.is_live_at(house.sessions.now()));
    house.at(seconds(30 * DAY));
    assert_eq!(house.refused(&token).await, Invalid::IdleTimeout);
    house.at(seconds(300 * DAY));
    assert_eq!(house.refused(&token).await, Invalid::AbsoluteTimeout);
    // It is still in the database: the deadline alone refused it, and going back does not help a dead one that was swept.
    assert!(house.sessions.show(token.id()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_policy_that_is_shortened_at_run_time_ends_old_sessions_at_once() {
    let house = house(Policies::default());
    let token = house.sign_in("alice").await.token;
    house.at(seconds(2 * HOUR));
    assert!(house.live(&token).await.is_some());

    house.sessions.set_policies(web(policy(2 * HOUR, HOUR, 90 * DAY)));
    assert_eq!(house.refused(&token).await, Invalid::IdleTimeout, "renewed two hours ago, max_age now two hours");
    let filter = hallpass_core::store::Filter { user: Some(user("alice")), ..Default::default() };
    let listed = house.sessions.list(&filter, hallpass_core::store::Page::first(10)).await.unwrap();
    assert!(listed.sessions.is_empty(), "what a check refuses is not listed as live");

    house.sessions.set_policies(web(policy(30 * DAY, DAY, 2 * HOUR)));
    assert_eq!(house.refused(&token).await, Invalid::AbsoluteTimeout);
    house.sessions.set_policies(web(policy(2 * HOUR + 1, HOUR, 90 * DAY)));
    assert!(house.live(&token).await.is_some(), "one second of the shorter life is left");
}

#[tokio::test]
async fn a_session_in_use_survives_a_shorter_idle_limit_and_slides_under_it() {
    let house = house(Policies::default());
    let token = house.sign_in("alice").await.token;
    house.sessions.set_policies(web(policy(2 * HOUR, HOUR, 90 * DAY)));
    for hours in 1..30 {
        house.at(seconds(hours * HOUR));
        let (session, renewed) = house.live(&token).await.unwrap_or_else(|| panic!("dead after {hours} h"));
        assert!(renewed);
        assert_eq!(session.idle_expires_at, house.start.plus(seconds((hours + 2) * HOUR)));
    }
    house.at(seconds(31 * HOUR));
    assert_eq!(house.refused(&token).await, Invalid::IdleTimeout);
}

#[tokio::test]
async fn a_longer_policy_never_lengthens_the_absolute_limit_that_was_given() {
    let house = house(web(policy(DAY, HOUR, 2 * DAY)));
    let token = house.sign_in("alice").await.token;
    house.sessions.set_policies(Policies::default());
    house.at(seconds(DAY) - MS);
    assert!(house.live(&token).await.is_some());
    house.sessions.set_policies(web(policy(30 * DAY, HOUR, 90 * DAY)));
    house.at(seconds(DAY) - MS);
    let (session, renewed) = house.live(&token).await.unwrap();
    assert!(renewed);
    assert_eq!(session.idle_expires_at, house.start.plus(seconds(2 * DAY)));
    house.at(seconds(2 * DAY));
    assert_eq!(house.refused(&token).await, Invalid::AbsoluteTimeout);
}

#[tokio::test]
async fn classes_have_their_own_times_and_only_remembered_ones_a_lasting_cookie() {
    let house = house(Policies::default());
    let sign_in = SignIn::new(user("alice"));
    let web = house.sessions.create(sign_in.clone()).await.unwrap();
    let remembered = house.sessions.create(sign_in.class(Class::REMEMBERED)).await.unwrap();
    assert_eq!(house.sessions.cookie_expires_at(&web.session), None);
    assert_eq!(
        house.sessions.cookie_expires_at(&remembered.session),
        Some(house.start.plus(seconds(90 * DAY))),
        "90 days idle"
    );
    house.at(seconds(31 * DAY));
    assert_eq!(house.refused(&web.token).await, Invalid::IdleTimeout);
    let (session, renewed) = house.live(&remembered.token).await.unwrap();
    assert!(renewed);
    assert_eq!(house.sessions.cookie_expires_at(&session), Some(house.start.plus(seconds(121 * DAY))));
}

#[tokio::test]
async fn a11_freshness_counts_from_the_authentication_and_not_from_use() {
    let house = house(Policies::default());
    let issued = house.sign_in("alice").await;
    let fresh = |session: &hallpass_core::Session| house.sessions.is_fresh(session);
    house.at(seconds(15 * 60));
    assert!(fresh(&house.live(&issued.token).await.unwrap().0));
    house.at(seconds(15 * 60) + MS);
    let (session, _) = house.live(&issued.token).await.unwrap();
    assert!(!fresh(&session));
    house.at(seconds(DAY));
    let (session, renewed) = house.live(&issued.token).await.unwrap();
    assert!(renewed && !fresh(&session), "a renewal is no authentication");

    let rotated = house.sessions.rotate(&issued.token).await.unwrap();
    assert!(!fresh(&house.live(&rotated.token).await.unwrap().0), "a rotation is no authentication");
    let again = house
        .sessions
        .reauthenticate(
            &rotated.token,
            Authentication { methods: vec!["pwd".into()], source: "test".into() },
            Client::default(),
        )
        .await
        .unwrap();
    let (session, _) = house.live(&again.token).await.unwrap();
    assert!(fresh(&session));
    assert_eq!(session.absolute_expires_at, house.start.plus(seconds(91 * DAY)), "both clocks start anew");
    assert_eq!(session.created_at, house.start);
}

#[tokio::test]
async fn a11_a_sign_in_made_elsewhere_is_as_old_as_the_authentication_there() {
    let house = house(Policies::default());
    let at = |time| SignIn::new(user("alice")).authenticated_at(time);
    let hour_ago = house.start.minus(seconds(3_600));
    let first = house.sessions.create(at(hour_ago)).await.unwrap();
    let (session, _) = house.live(&first.token).await.unwrap();
    assert_eq!((session.authenticated_at, session.created_at), (hour_ago, house.start));
    assert!(!house.sessions.is_fresh(&session));
    assert_eq!(session.absolute_expires_at, hour_ago.plus(seconds(90 * DAY)), "the absolute timeout counts from there");
    assert_eq!(session.idle_expires_at, house.start.plus(seconds(30 * DAY)));

    // Over a live session of the same user: what it replaces must not make it fresh.
    let presented = std::slice::from_ref(&first.token);
    let second = house.sessions.sign_in(presented, at(hour_ago)).await.unwrap();
    assert_eq!(house.live(&second.token).await.unwrap().0.authenticated_at, hour_ago);
    assert!(house.live(&first.token).await.is_none());

    // A provider whose clock is ahead makes nothing fresher than now.
    let ahead = house.sessions.create(at(house.start.plus(seconds(600)))).await.unwrap();
    assert_eq!(ahead.session.authenticated_at, house.start);
    // One that knows its user for longer than a session may live vouches for none.
    let old = house.sessions.create(at(house.start.minus(seconds(91 * DAY)))).await.unwrap();
    assert!(house.live(&old.token).await.is_none());
}

#[tokio::test]
async fn a59_a_clock_that_moves_back_renews_nothing_and_makes_nothing_fresh_for_ever() {
    let house = house(Policies::default());
    let issued = house.sign_in("alice").await;
    house.clock.set(house.start.minus(seconds(400 * DAY)));
    let (session, renewed) = house.live(&issued.token).await.unwrap();
    assert!(!renewed);
    assert_eq!(session.idle_expires_at, house.start.plus(seconds(30 * DAY)));
    assert!(!house.sessions.is_fresh(&session));
}

#[tokio::test]
async fn g8_a_store_that_is_down_is_an_error_and_a_renewal_that_fails_costs_no_request() {
    let house = house(Policies::default());
    let token = house.sign_in("alice").await.token;
    house.at(seconds(DAY));
    house.probe.read_only.store(true, Ordering::SeqCst);
    let (session, renewed) = house.live(&token).await.unwrap();
    assert!(!renewed);
    assert_eq!(session.idle_expires_at, house.start.plus(seconds(30 * DAY)));
    assert_eq!(house.events.count(|event| matches!(event, Event::RenewalFailed { .. })), 1);
    house.probe.read_only.store(false, Ordering::SeqCst);
    assert!(house.live(&token).await.unwrap().1, "made good at the next request");
    house.probe.down.store(true, Ordering::SeqCst);
    assert!(house.sessions.validate(&token).await.is_err());
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    Back(u64),
    Request,
    Reauthenticate,
    Policy(u64, u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..40 * HOUR).prop_map(Step::Wait),
        1 => (0..10 * HOUR).prop_map(Step::Back),
        5 => Just(Step::Request),
        1 => Just(Step::Reauthenticate),
        1 => (2..72_u64, 0..71_u64, 1..400_u64).prop_map(|(max, update, absolute)| {
            Step::Policy(max * HOUR, update.min(max - 1) * HOUR, absolute * HOUR)
        }),
    ]
}

/// What a session's deadlines must be, written as plainly as possible.
struct Model {
    authenticated: Timestamp,
    renewed: Timestamp,
    idle: Timestamp,
    absolute: Timestamp,
}

async fn agree(house: &House, steps: Vec<Step>) {
    let mut issued = house.sign_in("alice").await;
    let mut rules = (30 * DAY, DAY, 90 * DAY);
    let mut model = Model {
        authenticated: house.start,
        renewed: house.start,
        idle: house.start.plus(seconds(rules.0)),
        absolute: house.start.plus(seconds(rules.2)),
    };
    for step in steps {
        let now = house.sessions.now();
        let alive = now < model.idle.min(model.renewed.plus(seconds(rules.0)))
            && now < model.absolute.min(model.authenticated.plus(seconds(rules.2)));
        match step {
            Step::Wait(by) => house.clock.advance(seconds(by)),
            Step::Back(by) => house.clock.set(now.minus(seconds(by))),
            Step::Policy(max, update, absolute) => {
                rules = (max, update, absolute);
                house.sessions.set_policies(web(policy(max, update, absolute)));
            }
            Step::Request => {
                house.sessions.follow().await.unwrap();
                let answer = house.live(&issued.token).await;
                assert_eq!(answer.is_some(), alive, "at {now:?}");
                let Some((session, renewed)) = answer else { continue };
                let due = now >= model.renewed && now.since(model.renewed) >= seconds(rules.1);
                assert_eq!(renewed, due, "at {now:?}");
                if due {
                    model.renewed = now;
                    model.idle =
                        now.plus(seconds(rules.0)).min(model.absolute).min(model.authenticated.plus(seconds(rules.2)));
                }
                assert!(session.idle_expires_at <= session.absolute_expires_at);
                assert!(session.idle_expires_at <= model.idle, "longer than allowed");
                assert!(session.absolute_expires_at <= model.absolute, "past the absolute limit");
            }
            Step::Reauthenticate => {
                let answer =
                    house.sessions.reauthenticate(&issued.token, Authentication::default(), Client::default()).await;
                assert_eq!(answer.is_ok(), alive, "at {now:?}");
                if let Ok(again) = answer {
                    issued = again;
                    model = Model {
                        authenticated: now,
                        renewed: now,
                        absolute: now.plus(seconds(rules.2)),
                        idle: now.plus(seconds(rules.0.min(rules.2))),
                    };
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A51: whatever the clock and the policies do, a session lives exactly as long as the plainest reading of the rules says.
    #[test]
    fn a51_every_history_agrees_with_the_rules(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for mode in [ValidationMode::Strict, ValidationMode::Cached(CacheSettings::default())] {
            runtime.block_on(agree(&house_with(Policies::default(), mode), steps.clone()));
        }
    }
}
