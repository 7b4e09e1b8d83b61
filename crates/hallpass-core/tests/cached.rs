//! Checks from memory: what they cost, what they never do, and when they read the store again.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hallpass_core::store::{Sweep, Target};
use hallpass_core::{
    Actor, Attributes, Authentication, CacheSettings, Checked, Class, Client, Clock, EndReason, Event, FlushReason,
    Invalid, Issued, Label, ManualClock, OnLimit, Policies, RotateError, Session, SessionId, Sessions, SignIn, Store,
    Timestamp, Token, Validation, ValidationMode,
};
use support::{DAY, HOUR, House, Probe, house_on, house_with, seconds, user};

const LEASE: Duration = Duration::from_secs(2);

fn cached() -> ValidationMode {
    ValidationMode::Cached(CacheSettings::default())
}

/// A node that has its lease.
async fn node() -> House {
    let house = house_with(Policies::default(), cached());
    house.sessions.follow().await.unwrap();
    house
}

/// With so many bytes for sessions.
async fn small_node(bytes: u64) -> House {
    let mut settings = CacheSettings::default();
    settings.bytes = bytes;
    let house = house_with(Policies::default(), ValidationMode::Cached(settings));
    house.sessions.follow().await.unwrap();
    house
}

/// Another one on the same store.
async fn neighbour(house: &House) -> House {
    let other = house_on(&house.probe, Policies::default(), cached());
    other.sessions.follow().await.unwrap();
    other
}

fn finds(house: &House) -> u64 {
    house.probe.finds.load(Ordering::SeqCst)
}

/// How often a check of the token reads the store, and whether it is accepted.
async fn reads(house: &House, issued: &Issued) -> (u64, bool) {
    let before = finds(house);
    let accepted = house.live(&issued.token).await.is_some();
    (finds(house) - before, accepted)
}

const FROM_MEMORY: (u64, bool) = (0, true);
const FROM_THE_STORE: (u64, bool) = (1, true);

#[tokio::test]
async fn a_session_in_memory_costs_no_reading_and_no_write() {
    let house = node().await;
    let issued = house.sign_in("alice").await;
    assert_eq!(reads(&house, &issued).await, FROM_THE_STORE);
    for second in 1..10 * HOUR {
        house.clock.advance(seconds(1));
        house.sessions.follow().await.unwrap();
        if second % 600 == 0 {
            house.sessions.flush_last_seen().await.unwrap();
        }
        assert_eq!(reads(&house, &issued).await, FROM_MEMORY, "second {second}");
    }
    assert_eq!(house.probe.renewals.load(Ordering::SeqCst), 0);
    assert_eq!(house.probe.touches.load(Ordering::SeqCst), 59, "one batch of last-seen times a flush");
    let shown = house.sessions.show(issued.session.id).await.unwrap().unwrap();
    assert_eq!(shown.last_seen_at, house.start.plus(seconds(10 * HOUR - 660)), "what was noted is written");
    let status = house.sessions.cache_status().unwrap();
    assert_eq!((status.hits, status.misses, status.entries), (10 * HOUR - 1, 1, 1));
}

#[tokio::test]
async fn a_renewal_is_made_when_it_is_due_and_remembered() {
    let house = node().await;
    let issued = house.sign_in("alice").await;
    reads(&house, &issued).await;
    house.clock.advance(seconds(DAY));
    house.sessions.follow().await.unwrap();
    let (session, renewed) = house.live(&issued.token).await.unwrap();
    assert!(renewed);
    assert_eq!(session.idle_expires_at, house.start.plus(seconds(31 * DAY)));
    assert_eq!(reads(&house, &issued).await, FROM_MEMORY);
    let (again, renewed) = house.live(&issued.token).await.unwrap();
    assert!(!renewed && again.idle_expires_at == session.idle_expires_at);
    assert_eq!(house.probe.renewals.load(Ordering::SeqCst), 1);
}

/// A policy that is put in force counts for what is in memory too.
#[tokio::test]
async fn a_longer_policy_is_seen_by_what_is_in_memory() {
    let house = node().await;
    let mut short = house.sessions.policies().of(&Class::WEB).clone();
    short.max_age = seconds(2 * DAY);
    house.sessions.set_policies(Policies::default().with(Class::WEB, short).unwrap());
    let issued = house.sign_in("alice").await;
    let ends = async || house.live(&issued.token).await.unwrap().0.idle_expires_at;
    assert_eq!((ends().await, ends().await), (house.start.plus(seconds(2 * DAY)), house.start.plus(seconds(2 * DAY))));
    house.probe.store.tables().rows.get_mut(&issued.session.id).unwrap().session.idle_expires_at =
        house.start.plus(seconds(30 * DAY));
    house.sessions.set_policies(Policies::default());
    assert_eq!(ends().await, house.start.plus(seconds(30 * DAY)));
}

/// What memory answers is what the store would.
#[tokio::test]
async fn the_session_from_memory_is_the_one_of_the_store() {
    let house = node().await;
    let mut sign_in = SignIn::new(user("älice")).class(Class::REMEMBERED);
    sign_in.client = Client::new(Some("2001:db8::1".parse().unwrap()), Some(b"Browser/1.0"));
    sign_in.authentication = Authentication { methods: vec!["pwd".into(), "otp".into()], source: "test".into() };
    sign_in.attributes = Some(Attributes::from_json(r#"{"tenant":"acme"}"#).unwrap());
    let issued = house.sessions.create(sign_in).await.unwrap();
    let label = Label::new("Kitchen tablet").unwrap();
    assert!(house.sessions.set_label(issued.session.id, &user("älice"), label.as_ref()).await.unwrap());
    let from_store = house.live(&issued.token).await.unwrap();
    let before = finds(&house);
    assert_eq!(house.live(&issued.token).await.unwrap(), from_store);
    assert_eq!(finds(&house), before);
    assert_eq!(from_store.0.label, label);
}

/// However late it is looked at, it is the session that was accepted.
#[tokio::test]
async fn a_session_from_memory_is_unpacked_as_it_was_when_it_was_accepted() {
    let house = node().await;
    let issued = house.sign_in("alice").await;
    let mut short = house.sessions.policies().of(&Class::WEB).clone();
    short.max_age = seconds(2 * DAY);
    house.sessions.set_policies(Policies::default().with(Class::WEB, short).unwrap());
    house.live(&issued.token).await.unwrap();
    let mut accepted = Vec::new();
    for minutes in [0, 10] {
        house.clock.advance(seconds(60 * minutes));
        house.sessions.follow().await.unwrap();
        let Some(Ok(Checked::Cached(cached))) = house.sessions.check_now(&issued.token) else {
            panic!("not from memory")
        };
        assert_eq!(cached.id(), issued.session.id);
        accepted.push(cached);
    }
    house.sessions.set_policies(Policies::default());
    house.sessions.set_label(issued.session.id, &user("alice"), Label::new("Later").unwrap().as_ref()).await.unwrap();
    house.sessions.revoke(issued.session.id, None, &Actor::system("test"), EndReason::Revoked).await.unwrap();
    let then = Session { idle_expires_at: house.start.plus(seconds(2 * DAY)), ..issued.session };
    for cached in &accepted {
        // The check of ten minutes later noted a use, of which neither was to know: what it shows is the use before.
        let session = cached.session().unwrap();
        assert_eq!(**session, then);
        assert!(Arc::ptr_eq(session, cached.session().unwrap()), "unpacked once");
        assert!(Arc::ptr_eq(session, cached.clone().session().unwrap()));
    }
}

#[tokio::test]
async fn g3_without_a_lease_each_check_reads_the_store() {
    let house = house_with(Policies::default(), cached());
    let issued = house.sign_in("alice").await;
    for _ in 0..2 {
        assert_eq!(reads(&house, &issued).await, FROM_THE_STORE, "the log was never read");
    }
    house.sessions.follow().await.unwrap();
    assert_eq!(reads(&house, &issued).await, FROM_THE_STORE, "what was read before the lease began is not used");
    assert_eq!(reads(&house, &issued).await, FROM_MEMORY);
    house.clock.advance(LEASE - Duration::from_millis(1));
    assert_eq!(reads(&house, &issued).await, FROM_MEMORY);
    house.clock.advance(Duration::from_millis(1));
    for _ in 0..2 {
        assert_eq!(reads(&house, &issued).await, FROM_THE_STORE, "the lease is over");
    }
    house.sessions.follow().await.unwrap();
    assert_eq!(reads(&house, &issued).await, FROM_MEMORY, "nothing was revoked meanwhile");
}

/// R24: an unreachable store is an error once the lease is over, never "signed in" and never "signed out".
#[tokio::test]
async fn r24_without_its_store_a_node_answers_for_one_lease_and_then_not_at_all() {
    let house = node().await;
    let issued = house.sign_in("alice").await;
    reads(&house, &issued).await;
    house.probe.down.store(true, Ordering::SeqCst);
    house.clock.advance(LEASE / 2);
    assert!(house.sessions.follow().await.is_err());
    assert_eq!(reads(&house, &issued).await, FROM_MEMORY);
    house.clock.advance(LEASE / 2);
    assert!(house.check(&issued.token).await.is_err());
    house.probe.down.store(false, Ordering::SeqCst);
    assert_eq!(reads(&house, &issued).await, FROM_THE_STORE);
}

#[tokio::test]
async fn a_strict_check_reads_the_store_whatever_is_in_memory() {
    let (house, by) = (node().await, Actor::operator("test"));
    let other = neighbour(&house).await;
    let issued = house.sign_in("alice").await;
    assert!(other.live(&issued.token).await.is_some());
    house.sessions.revoke(issued.session.id, None, &by, EndReason::Revoked).await.unwrap();
    assert_eq!(reads(&other, &issued).await, FROM_MEMORY, "the other node has not heard of it");
    let strict = other.sessions.strictly();
    assert!(matches!(strict.validate(&issued.token).await.unwrap(), Validation::Invalid(Invalid::Ended(_))));
    assert!(matches!(strict.validate_now(&issued.token), Some(Ok(Validation::Invalid(_)))));
}

/// Somebody who was refused once is not accepted by the next request, though the log has not told yet.
#[tokio::test]
async fn g5_who_was_refused_by_the_store_is_refused_by_memory_too() {
    let (house, by) = (node().await, Actor::operator("test"));
    for ask in ["strict check", "sign out", "sign in again"] {
        let other = neighbour(&house).await;
        let issued = house.sign_in("alice").await;
        assert!(other.live(&issued.token).await.is_some());
        house.sessions.revoke(issued.session.id, None, &by, EndReason::Revoked).await.unwrap();
        assert_eq!(reads(&other, &issued).await, FROM_MEMORY, "{ask}");
        match ask {
            "strict check" => drop(other.sessions.strictly().validate(&issued.token).await.unwrap()),
            "sign out" => assert!(!other.sessions.end(&issued.token).await.unwrap()),
            _ => {
                let token = hallpass_core::Token::parse(issued.token.expose().as_str().as_bytes()).unwrap();
                drop(other.sessions.sign_in(&[token], SignIn::new(user("alice"))).await.unwrap());
            }
        }
        assert_eq!(reads(&other, &issued).await, (1, false), "{ask}");
    }
}

type Change = fn(&House, &Issued);

fn row(house: &House, issued: &Issued, change: fn(&mut Session)) {
    change(&mut house.probe.store.tables().rows.get_mut(&issued.session.id).unwrap().session);
}

/// What the log does not tell, or has not told yet.
const UNTOLD: [(&str, Change); 4] = [
    ("r5: it is not in the database that went back", |house, issued| {
        house.probe.store.tables().rows.remove(&issued.session.id).unwrap();
    }),
    ("r5: nor is its last extension", |house, issued| {
        row(house, issued, |session| session.idle_expires_at = session.created_at);
    }),
    ("r5: nor is its last authentication", |house, issued| {
        row(house, issued, |session| session.absolute_expires_at = session.created_at);
    }),
    ("another node has replaced its secret", |house, issued| {
        house.probe.store.tables().rows.get_mut(&issued.session.id).unwrap().token_hash =
            hallpass_core::TokenHash::from_bytes([7; 32]);
    }),
];

/// Whoever the store has refused is refused by memory too, whichever verb has found it out, and nobody else loses his place.
#[tokio::test]
async fn g5_r5_whichever_verb_was_refused_the_next_check_is_refused_too() {
    for (way, change) in UNTOLD {
        for ask in ["strict check", "sign out", "rotate", "sign in again"] {
            let house = node().await;
            let (issued, other) = (house.sign_in("alice").await, house.sign_in("alice").await);
            assert!(house.live(&issued.token).await.is_some() && house.live(&other.token).await.is_some());
            change(&house, &issued);
            assert_eq!(reads(&house, &issued).await, FROM_MEMORY, "{way}: nothing has told of it");
            let (sessions, token) = (&house.sessions, &issued.token);
            match ask {
                "strict check" => {
                    let strict = sessions.strictly().validate(token).await.unwrap();
                    assert!(matches!(strict, Validation::Invalid(_)), "{way}");
                }
                "sign out" => assert!(!sessions.end(token).await.unwrap(), "{way}"),
                "rotate" => assert!(matches!(sessions.rotate(token).await, Err(RotateError::Gone)), "{way}"),
                _ => {
                    let again = [Token::parse(token.expose().as_str().as_bytes()).unwrap()];
                    let new = sessions.sign_in(&again, SignIn::new(user("alice"))).await.unwrap();
                    assert_ne!(new.session.id, issued.session.id, "{way}");
                }
            }
            assert_eq!(reads(&house, &issued).await, (1, false), "{way}, {ask}");
            assert_eq!(reads(&house, &other).await, FROM_MEMORY, "{way}, {ask}: the others stay");
        }
    }
}

/// Anybody may send ids that are nowhere, and check his own dead tokens as often as he likes.
#[tokio::test]
async fn what_anybody_may_send_costs_no_session_its_place_in_memory() {
    // The least: 64 fences.
    let house = small_node(64 << 10).await;
    let issued = house.sign_in("alice").await;
    assert!(house.live(&issued.token).await.is_some());
    for n in 0..5_000_u32 {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let made_up = Token::generate(SessionId::from_bytes(id), &hallpass_core::OsEntropy).unwrap();
        assert!(matches!(house.sessions.validate_now(&made_up), Some(Ok(Validation::Invalid(Invalid::Unknown)))));
    }
    let mut dead = Vec::new();
    for _ in 0..500 {
        let issued = house.sign_in("mallory").await;
        house.sessions.end(&issued.token).await.unwrap();
        dead.push(issued.token);
    }
    assert!(house.live(&issued.token).await.is_some());
    for token in dead.iter().chain(&dead) {
        assert!(matches!(house.refused(token).await, Invalid::Ended(_)));
    }
    assert_eq!(reads(&house, &issued).await, FROM_MEMORY);
}

type Act = for<'a> fn(&'a House, &'a Issued) -> std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Every way in which a session ends or changes.
const ACTS: [(&str, bool, Act); 11] = [
    ("revoke", true, |house, issued| {
        Box::pin(async {
            let by = Actor::operator("test");
            house.sessions.revoke(issued.session.id, None, &by, EndReason::Revoked).await.unwrap();
        })
    }),
    ("sign out", true, |house, issued| Box::pin(async { assert!(house.sessions.end(&issued.token).await.unwrap()) })),
    ("revoke a user", true, |house, issued| {
        Box::pin(async {
            let by = Actor::operator("test");
            house.sessions.revoke_user(&issued.session.user, &by, EndReason::Revoked).await.unwrap();
        })
    }),
    ("revoke others", true, |house, _| {
        Box::pin(async {
            let keep = house.sign_in("alice").await.session;
            house.sessions.revoke_others(&keep, &Actor::operator("test"), EndReason::Revoked).await.unwrap();
        })
    }),
    ("revoke everyone", true, |house, _| {
        Box::pin(async {
            house.sessions.revoke_everyone(&Actor::operator("test")).await.unwrap();
        })
    }),
    ("the limit", true, |house, issued| {
        Box::pin(async {
            let mut policy = house.sessions.policies().of(&issued.session.class).clone();
            policy.max_per_user = Some(1);
            policy.on_limit = OnLimit::EvictOldest;
            house.sessions.set_policies(Policies::default().with(Class::WEB, policy).unwrap());
            assert_eq!(house.sign_in("alice").await.evicted, [issued.session.id]);
        })
    }),
    ("another user signs in over it", true, |house, issued| {
        Box::pin(async {
            let tokens = [hallpass_core::Token::parse(issued.token.expose().as_str().as_bytes()).unwrap()];
            drop(house.sessions.sign_in(&tokens, SignIn::new(user("bob"))).await.unwrap());
        })
    }),
    ("rotate", true, |house, issued| Box::pin(async { drop(house.sessions.rotate(&issued.token).await.unwrap()) })),
    ("authenticate again", true, |house, issued| {
        Box::pin(async {
            let sessions = &house.sessions;
            drop(sessions.reauthenticate(&issued.token, Authentication::default(), Client::default()).await.unwrap());
        })
    }),
    ("attributes", false, |house, issued| {
        Box::pin(async {
            let attributes = Attributes::from_json(r#"{"role":"admin"}"#).unwrap();
            house.sessions.set_attributes(&issued.session, &attributes).await.unwrap();
        })
    }),
    ("a label", false, |house, issued| {
        Box::pin(async {
            let label = Label::new("Laptop").unwrap();
            house.sessions.set_label(issued.session.id, &issued.session.user, label.as_ref()).await.unwrap();
        })
    }),
];

/// R10, R22: on the node that did it, from the answer on (G4).
#[tokio::test]
async fn r10_every_change_is_in_effect_at_once_where_it_was_made() {
    for (name, ends, act) in ACTS {
        let house = node().await;
        let issued = house.sign_in("alice").await;
        reads(&house, &issued).await;
        assert_eq!(reads(&house, &issued).await, FROM_MEMORY, "{name}");
        act(&house, &issued).await;
        assert_eq!(reads(&house, &issued).await, (1, !ends), "{name}");
    }
}

/// R22: on another node, when it has read the log (G3): each of them is in the log.
#[tokio::test]
async fn r22_every_change_reaches_the_other_nodes_by_the_log() {
    for (name, ends, act) in ACTS {
        let house = node().await;
        let other = neighbour(&house).await;
        let issued = house.sign_in("alice").await;
        reads(&other, &issued).await;
        act(&house, &issued).await;
        assert_eq!(reads(&other, &issued).await, FROM_MEMORY, "{name}: it has not read the log");
        other.sessions.follow().await.unwrap();
        assert_eq!(reads(&other, &issued).await, (1, !ends), "{name}");
    }
}

/// R23: nobody knows whether it was made, so it is not answered from memory.
#[tokio::test]
async fn r23_a_revocation_whose_answer_was_lost_is_forgotten_all_the_same() {
    let house = node().await;
    let issued = house.sign_in("alice").await;
    reads(&house, &issued).await;
    house.probe.answers_get_lost.store(true, Ordering::SeqCst);
    let by = Actor::operator("test");
    assert!(house.sessions.revoke(issued.session.id, None, &by, EndReason::Revoked).await.is_err());
    assert_eq!(reads(&house, &issued).await, (1, false));
    house.probe.answers_get_lost.store(false, Ordering::SeqCst);
    assert_eq!(house.sessions.revoke(issued.session.id, None, &by, EndReason::Revoked).await.unwrap(), 0);
}

/// Another node has replaced the secret. Whoever was refused with the old one is not accepted with it from memory afterwards.
#[tokio::test]
async fn g5_a_secret_that_was_refused_is_refused_by_memory_too() {
    let house = node().await;
    let other = neighbour(&house).await;
    let issued = house.sign_in("alice").await;
    reads(&house, &issued).await;
    other.sessions.rotate(&issued.token).await.unwrap();
    assert!(house.live(&issued.token).await.is_some(), "from memory, for a lease");
    let refused = house.sessions.strictly().validate(&issued.token).await.unwrap();
    assert!(matches!(refused, Validation::Invalid(Invalid::WrongSecret)));
    assert!(house.live(&issued.token).await.is_none(), "refused once and accepted again");
}

#[tokio::test]
async fn a_wrong_secret_is_asked_of_the_store_and_changes_nothing_in_memory() {
    let house = node().await;
    let issued = house.sign_in("alice").await;
    reads(&house, &issued).await;
    let forged = hallpass_core::Token::generate(issued.session.id, &hallpass_core::OsEntropy).unwrap();
    for _ in 0..3 {
        let before = finds(&house);
        assert_eq!(house.refused(&forged).await, Invalid::WrongSecret);
        assert_eq!(finds(&house), before + 1);
    }
    assert_eq!(reads(&house, &issued).await, FROM_MEMORY);
    let unknown =
        hallpass_core::Token::generate(hallpass_core::SessionId::from_bytes([9; 16]), &hallpass_core::OsEntropy);
    assert_eq!(house.refused(&unknown.unwrap()).await, Invalid::Unknown);
    assert_eq!(house.sessions.cache_status().unwrap().entries, 1, "what is not there takes no memory");
}

/// A session that another node extended lives on here, past the deadline that this one had read.
#[tokio::test]
async fn a_deadline_in_memory_refuses_nobody() {
    let house = node().await;
    let other = neighbour(&house).await;
    let issued = house.sign_in("alice").await;
    reads(&other, &issued).await;
    house.clock.advance(seconds(20 * DAY));
    assert!(house.live(&issued.token).await.unwrap().1, "extended");
    other.clock.advance(seconds(40 * DAY));
    other.sessions.follow().await.unwrap();
    assert!(reads(&other, &issued).await.1);
}

async fn flushed_by(act: impl AsyncFnOnce(&House, &Arc<Probe>), reason: FlushReason) {
    let house = node().await;
    let other = neighbour(&house).await;
    let issued = house.sign_in("alice").await;
    reads(&other, &issued).await;
    act(&house, &house.probe).await;
    other.sessions.follow().await.unwrap();
    assert_eq!(other.events.count(|event| *event == Event::CacheFlushed { reason }), 1, "{:?}", other.events.all());
    assert_eq!(reads(&other, &issued).await, FROM_THE_STORE);
    assert_eq!(reads(&other, &issued).await, FROM_MEMORY, "and it goes on");
}

async fn revoke_some(house: &House, count: usize) {
    for _ in 0..count {
        house.sign_in("bob").await;
        house.sessions.revoke_user(&user("bob"), &Actor::operator("test"), EndReason::Revoked).await.unwrap();
    }
}

/// No entry of the log is old enough to be kept.
async fn trim(house: &House, probe: &Arc<Probe>) {
    let sweep = Sweep {
        expired_before: Timestamp::EPOCH,
        ended_before: Timestamp::EPOCH,
        log_before: house.sessions.now(),
        batch: 100,
        commits: 1,
    };
    while probe.store.sweep(&sweep).await.unwrap().more {}
}

/// R19: entries that are not kept any more may have named any session.
#[tokio::test]
async fn r19_a_log_that_was_trimmed_beyond_the_place_of_a_node_empties_it() {
    let trimmed = async |house: &House, probe: &Arc<Probe>| {
        revoke_some(house, 3).await;
        trim(house, probe).await;
    };
    flushed_by(trimmed, FlushReason::Trimmed).await;
}

#[tokio::test]
async fn r5_another_incarnation_of_the_log_empties_a_node() {
    flushed_by(
        async |_: &House, probe: &Arc<Probe>| probe.store.tables().incarnation = [7; 16],
        FlushReason::Incarnation,
    )
    .await;
}

#[tokio::test]
async fn r5_a_log_that_went_back_empties_a_node() {
    let house = node().await;
    let other = neighbour(&house).await;
    let issued = house.sign_in("alice").await;
    let backup = house.probe.store.tables().clone();
    revoke_some(&house, 2).await;
    other.sessions.follow().await.unwrap();
    reads(&other, &issued).await;
    *house.probe.store.tables() = backup;
    other.sessions.follow().await.unwrap();
    assert_eq!(other.events.count(|event| matches!(event, Event::CacheFlushed { reason: FlushReason::WentBack })), 1);
    assert_eq!(reads(&other, &issued).await, FROM_THE_STORE);
}

/// The node was away for longer than entries are kept, the store went back and counted on, and what it counted anew was trimmed before the node came back.
#[tokio::test]
async fn r5_a_log_that_was_counted_anew_and_trimmed_meanwhile_empties_a_node() {
    counted_anew_and_trimmed(|clock| clock.advance(seconds(2 * HOUR))).await;
}

/// One of its clocks has missed that time: the machine slept, or its wall clock was set back.
#[tokio::test]
async fn r5_either_clock_is_enough_to_know_that_a_node_was_away() {
    counted_anew_and_trimmed(|clock| clock.set(clock.now().plus(seconds(2 * HOUR)))).await;
    counted_anew_and_trimmed(|clock| {
        let before = clock.now();
        clock.advance(seconds(2 * HOUR));
        clock.set(before);
    })
    .await;
}

async fn counted_anew_and_trimmed(time_passes: fn(&ManualClock)) {
    let house = node().await;
    let other = neighbour(&house).await;
    let issued = house.sign_in("alice").await;
    reads(&other, &issued).await;
    let backup = house.probe.store.tables().clone();
    revoke_some(&house, 3).await;
    other.sessions.follow().await.unwrap();
    assert_eq!(reads(&other, &issued).await, FROM_MEMORY);
    *house.probe.store.tables() = backup;
    house.sessions.revoke(issued.session.id, None, &Actor::operator("test"), EndReason::Revoked).await.unwrap();
    revoke_some(&house, 2).await;
    house.clock.advance(seconds(2 * HOUR));
    time_passes(&other.clock);
    trim(&house, &house.probe).await;
    revoke_some(&house, 1).await;
    other.sessions.follow().await.unwrap();
    assert_eq!(reads(&other, &issued).await, (1, false), "the entry was skipped");
}

/// Entries that are trimmed while the node follows are no reason to forget anything.
#[tokio::test]
async fn a_log_that_is_trimmed_up_to_the_place_of_a_node_costs_it_nothing() {
    let house = node().await;
    let other = neighbour(&house).await;
    let issued = house.sign_in("alice").await;
    reads(&other, &issued).await;
    revoke_some(&house, 3).await;
    other.sessions.follow().await.unwrap();
    trim(&house, &house.probe).await;
    for _ in 0..2 {
        other.sessions.follow().await.unwrap();
        assert_eq!(reads(&other, &issued).await, FROM_MEMORY);
        revoke_some(&house, 1).await;
    }
    assert_eq!(other.events.count(|event| matches!(event, Event::CacheFlushed { .. })), 0);
}

/// A node that began on a log without entries remembers that there were none.
#[tokio::test]
async fn r5_a_log_that_was_empty_at_the_beginning_and_has_an_entry_there_now_empties_a_node() {
    let house = node().await;
    let issued = house.sign_in("alice").await;
    let backup = house.probe.store.tables().clone();
    revoke_some(&house, 1).await;
    trim(&house, &house.probe).await;
    let other = neighbour(&house).await;
    reads(&other, &issued).await;
    assert_eq!(reads(&other, &issued).await, FROM_MEMORY);
    *house.probe.store.tables() = backup;
    house.sessions.revoke(issued.session.id, None, &Actor::operator("test"), EndReason::Revoked).await.unwrap();
    other.sessions.follow().await.unwrap();
    assert_eq!(reads(&other, &issued).await, (1, false));
}

/// The entry at the place of the node is another one of the same kind: it was written at another time.
#[tokio::test]
async fn r5_an_entry_that_differs_in_its_time_alone_is_another_one() {
    let house = node().await;
    let other = neighbour(&house).await;
    let everyone = async || house.sessions.revoke_everyone(&Actor::operator("test")).await.unwrap();
    let backup = house.probe.store.tables().clone();
    everyone().await;
    other.sessions.follow().await.unwrap();
    let issued = house.sign_in("alice").await;
    let row = house.probe.store.tables().rows[&issued.session.id].clone();
    reads(&other, &issued).await;
    *house.probe.store.tables() = backup;
    house.probe.store.tables().rows.insert(issued.session.id, row);
    house.clock.advance(Duration::from_millis(1));
    everyone().await;
    other.sessions.follow().await.unwrap();
    assert_eq!(reads(&other, &issued).await, (1, false));
}

/// The contract has no gaps; a store that has one all the same loses no revocation here.
#[tokio::test]
async fn a_log_with_a_gap_empties_a_node() {
    let gap = async |house: &House, probe: &Arc<Probe>| {
        revoke_some(house, 3).await;
        probe.store.tables().log.remove(1);
    };
    flushed_by(gap, FlushReason::WentBack).await;
}

/// The same number of entries, but others.
#[tokio::test]
async fn r5_a_log_that_went_back_and_counted_on_empties_a_node() {
    let house = node().await;
    let other = neighbour(&house).await;
    let issued = house.sign_in("alice").await;
    reads(&other, &issued).await;
    let backup = house.probe.store.tables().clone();
    revoke_some(&house, 1).await;
    other.sessions.follow().await.unwrap();
    assert_eq!(reads(&other, &issued).await, FROM_MEMORY);
    *house.probe.store.tables() = backup;
    house.sessions.revoke(issued.session.id, None, &Actor::operator("test"), EndReason::Revoked).await.unwrap();
    other.sessions.follow().await.unwrap();
    assert_eq!(reads(&other, &issued).await, (1, false), "the entry at the place that was reached is another one");
}

#[tokio::test]
async fn a_node_that_is_far_behind_forgets_everything_and_one_that_is_not_catches_up() {
    let far = async |house: &House, probe: &Arc<Probe>| {
        let mut tables = probe.store.tables();
        for _ in 0..20_001 {
            tables.append(hallpass_core::store::ChangeKind::User(user("bob")), house.sessions.now());
        }
    };
    flushed_by(far, FlushReason::FarBehind).await;
    let house = node().await;
    let other = neighbour(&house).await;
    let issued = house.sign_in("alice").await;
    reads(&other, &issued).await;
    for _ in 0..5_000 {
        let now = house.sessions.now();
        house.probe.store.tables().append(hallpass_core::store::ChangeKind::User(user("bob")), now);
    }
    house.sessions.revoke(issued.session.id, None, &Actor::operator("test"), EndReason::Revoked).await.unwrap();
    assert_eq!(other.sessions.follow().await.unwrap().applied, 5_001);
    assert_eq!(reads(&other, &issued).await, (1, false));
}

/// R20: it does not look at the sessions.
#[tokio::test]
async fn r20_the_end_of_a_hundred_thousand_sessions_in_memory_takes_no_longer_than_of_one() {
    let house = node().await;
    let mut policy = house.sessions.policies().of(&Class::WEB).clone();
    policy.max_per_user = None;
    house.sessions.set_policies(Policies::default().with(Class::WEB, policy).unwrap());
    let mut issued = Vec::new();
    for _ in 0..100_000 {
        let one = house.sign_in("alice").await;
        assert!(house.live(&one.token).await.is_some());
        issued.push(one);
    }
    assert_eq!(house.sessions.cache_status().unwrap().entries, 100_000);
    let revocation = hallpass_core::store::Revocation {
        target: Target::User(user("alice")),
        now: house.sessions.now(),
        by: Actor::operator("test"),
        reason: EndReason::Revoked,
    };
    // By another node, so that what is measured is the following alone.
    house.probe.store.revoke(&revocation).await.unwrap();
    let mut took = Vec::new();
    for _ in 0..5 {
        let begun = tokio::time::Instant::now();
        assert_eq!(house.sessions.follow().await.unwrap().applied, 1);
        took.push(begun.elapsed());
        let now = house.sessions.now();
        house.probe.store.tables().append(hallpass_core::store::ChangeKind::User(user("alice")), now);
    }
    // The shortest: looking at all of them would take longer each time, whatever else this machine does.
    assert!(took.iter().min().unwrap() < &Duration::from_millis(5), "{took:?}");
    for one in issued.iter().step_by(997) {
        assert!(house.live(&one.token).await.is_none());
    }
}

#[tokio::test]
async fn memory_is_bounded() {
    const BYTES: u64 = 256 << 10;
    let house = small_node(BYTES).await;
    for n in 0..5_000 {
        let mut sign_in = SignIn::new(user(&format!("user {n}")));
        sign_in.client = Client::new(None, Some(format!("Browser {n} {}", "x".repeat(300)).as_bytes()));
        let issued = house.sessions.create(sign_in).await.unwrap();
        // Read anew, as after each renewal, it costs the same.
        for _ in 0..3 {
            assert!(matches!(house.sessions.strictly().validate(&issued.token).await, Ok(Validation::Live { .. })));
        }
    }
    let status = house.sessions.cache_status().unwrap();
    assert!(status.bytes <= BYTES && status.bytes > BYTES / 2, "{status:?}");
    assert!((200..1_000).contains(&status.entries), "{status:?}");
}

#[test]
fn settings_that_contradict_each_other_are_refused_by_name() {
    let build = |change: fn(&mut CacheSettings)| {
        let mut settings = CacheSettings::default();
        change(&mut settings);
        let store = Arc::new(Probe::default()) as Arc<dyn Store>;
        Sessions::builder(store).validation(ValidationMode::Cached(settings)).build().map(drop).map_err(|e| e.0)
    };
    assert_eq!(build(|_| ()), Ok(()));
    assert!(build(|settings| settings.lease = Duration::from_millis(99)).unwrap_err().contains("lease"));
    assert!(build(|settings| settings.lease = Duration::from_secs(301)).unwrap_err().contains("lease"));
    assert!(build(|settings| settings.poll = Duration::from_millis(700)).unwrap_err().contains("666"));
    assert!(build(|settings| settings.poll = Duration::ZERO).unwrap_err().contains("10ms"));
    assert!(build(|settings| settings.bytes = 1).unwrap_err().contains("65536"));
}
