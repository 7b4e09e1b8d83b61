//! At most so many sessions for each user and class (G10).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hallpass_core::store::{Change, ChangeKind, Created, Filter, Limit, Record, Target};
use hallpass_core::{Actor, Class, EndReason, Ended, SessionId, State, Store, Timestamp};

use super::given::{Given, at_once, of_user};
use crate::builders::{DAY, HOUR, MILLISECOND, T0, user};

fn at_most(max: u32) -> Limit {
    Limit { max, refuse: false, renewed_after: Timestamp::EPOCH, authenticated_after: Timestamp::EPOCH }
}

fn refusing(max: u32) -> Limit {
    Limit { refuse: true, ..at_most(max) }
}

fn evicted(ids: &[SessionId]) -> Created {
    Created::Created { evicted: ids.to_vec() }
}

fn pushed_out(at: Timestamp) -> State {
    State::Ended(Ended { at, by: Actor::system("max_per_user"), reason: EndReason::Limit })
}

/// The oldest makes room for the new one, by creation time and then by id; it is ended, logged, and reported.
pub async fn the_oldest_makes_room(store: Arc<dyn Store>) {
    let given = Given::new(store);
    // Created out of order, two of them at the same time.
    let mut old: Vec<Record> =
        [3_u32, 1, 2, 1].map(|hours| given.records.record("alice", T0.plus(hours * HOUR))).into();
    given.create_all(&old).await;
    old.sort_by_key(|record| (record.session.created_at, record.session.id));
    let now = T0.plus(DAY);
    for (n, oldest) in (0_u64..).zip(&old) {
        let new = given.records.record("alice", now);
        let created = given.store.create(&new, now, Some(at_most(4))).await.unwrap();
        assert_eq!(created, evicted(&[oldest.session.id]), "the oldest of four goes");
        let mut expected = oldest.clone();
        expected.session.state = pushed_out(now);
        assert_eq!(given.found(oldest.session.id).await, expected, "its state alone changed");
        let change = Change { position: n + 1, kind: ChangeKind::Ended(oldest.session.id), at: now };
        assert_eq!(given.log().await.last(), Some(&change));
        assert_eq!(given.found(new.session.id).await, new, "the new one lives");
        assert_eq!(given.count(&of_user("alice"), now).await, 4);
    }
}

/// The age that counts is `created_at`, not the id or the order of the creations.
pub async fn the_age_is_the_time_of_creation(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let mut first_id = given.records.record("alice", T0);
    first_id.session.created_at = T0.plus(5 * HOUR);
    let second_id = given.records.record("alice", T0.plus(HOUR));
    for record in [&first_id, &second_id] {
        given.create(record).await;
    }
    let new = given.records.record("alice", T0.plus(6 * HOUR));
    let created = given.store.create(&new, T0.plus(6 * HOUR), Some(at_most(2))).await.unwrap();
    assert_eq!(created, evicted(&[second_id.session.id]));
}

/// When the limit was lowered, as many go as are too many, oldest first, each with its entry.
pub async fn a_lowered_limit_ends_as_many_as_are_too_many(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let mut old = Vec::new();
    for hours in 0..6_u32 {
        let record = given.records.record("alice", T0.plus(hours * HOUR));
        given.create(&record).await;
        old.push(record.session.id);
    }
    let now = T0.plus(DAY);
    let new = given.records.record("alice", now);
    assert_eq!(given.store.create(&new, now, Some(at_most(2))).await.unwrap(), evicted(&old[..5]));
    let logged: Vec<ChangeKind> = given.log().await.into_iter().map(|change| change.kind).collect();
    assert_eq!(logged, old[..5].iter().map(|id| ChangeKind::Ended(*id)).collect::<Vec<_>>());
    assert_eq!(given.ids(&of_user("alice"), now).await, [new.session.id, old[5]]);
    let newest = given.records.record("alice", now.plus(HOUR));
    let created = given.store.create(&newest, now.plus(HOUR), Some(at_most(1))).await.unwrap();
    assert_eq!(created, evicted(&[old[5], new.session.id]), "a limit of one keeps the new one alone");
    assert_eq!(given.ids(&of_user("alice"), now).await, [newest.session.id]);
}

/// The session being created is never the one that goes, even when it is the oldest by its clock.
pub async fn the_new_one_is_never_ended(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let first = given.records.record("alice", T0.plus(HOUR));
    let second = given.records.record("alice", T0.plus(2 * HOUR));
    for record in [&first, &second] {
        given.create(record).await;
    }
    let behind = given.records.record("alice", T0);
    let created = given.store.create(&behind, T0, Some(at_most(2))).await.unwrap();
    assert_eq!(created, evicted(&[first.session.id]));
    assert_eq!(given.found(behind.session.id).await, behind);
}

/// In the refusing mode nothing is written, and the answer says how many live.
pub async fn refusing_writes_nothing(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let old = [given.live("alice").await, given.live("alice").await];
    for (max, live) in [(2, 2), (1, 2)] {
        let new = given.records.record("alice", T0.plus(HOUR));
        let created = given.store.create(&new, T0.plus(HOUR), Some(refusing(max))).await.unwrap();
        assert_eq!(created, Created::LimitReached { live });
        assert_eq!(given.store.find(new.session.id).await.unwrap(), None, "a refused session is not there");
    }
    for record in &old {
        assert_eq!(given.found(record.session.id).await, *record);
    }
    assert_eq!(given.head().await, 0);
    let third = given.records.record("alice", T0.plus(HOUR));
    let created = given.store.create(&third, T0.plus(HOUR), Some(refusing(3))).await.unwrap();
    assert_eq!(created, evicted(&[]), "below the limit it is created");
    given.end(third.session.id, T0.plus(HOUR), EndReason::SignedOut).await;
    let fourth = given.records.record("alice", T0.plus(HOUR));
    let created = given.store.create(&fourth, T0.plus(HOUR), Some(refusing(3))).await.unwrap();
    assert_eq!(created, evicted(&[]), "a sign-out makes room");
}

/// Other classes and other users neither count nor go.
pub async fn each_user_and_class_counts_alone(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let mut api = given.records.record("alice", T0);
    api.session.class = Class::API;
    given.create(&api).await;
    for name in ["Alice", "alice ", "bob"] {
        given.live(name).await;
    }
    let first = given.records.record("alice", T0.plus(HOUR));
    let created = given.store.create(&first, T0.plus(HOUR), Some(at_most(1))).await.unwrap();
    assert_eq!(created, evicted(&[]), "the first of its class and user");
    let second = given.records.record("alice", T0.plus(HOUR));
    let created = given.store.create(&second, T0.plus(HOUR), Some(refusing(1))).await.unwrap();
    assert_eq!(created, Created::LimitReached { live: 1 });
    let created = given.store.create(&second, T0.plus(HOUR), Some(at_most(1))).await.unwrap();
    assert_eq!(created, evicted(&[first.session.id]));
    assert!(given.is_live(api.session.id, T0.plus(HOUR)).await);
}

/// What is dead does not count and is not ended again: ended, expired, behind a mark, or past the policy in force.
pub async fn the_dead_do_not_count(store: Arc<dyn Store>) {
    let given = Given::new(store);
    given.live("alice").await;
    given.revoke(Target::User(user("alice")), T0, EndReason::RevokedUser).await;
    given.signed_out("alice").await;
    given.expired("alice").await;
    let now = T0.plus(DAY);
    let mut stale = given.records.record("alice", T0);
    stale.session.authenticated_at = now;
    let mut long_ago = given.records.record("alice", T0);
    long_ago.session.renewed_at = now;
    for record in [&stale, &long_ago] {
        given.create(record).await;
    }
    // Renewed, or authenticated, at exactly these times: dead under the policy in force.
    let policy = |refuse| Limit { max: 1, refuse, renewed_after: T0, authenticated_after: T0 };
    let head = given.head().await;
    let first = given.records.record("alice", now);
    let created = given.store.create(&first, now, Some(policy(true))).await.unwrap();
    assert_eq!(created, evicted(&[]), "none of the dead counts");
    let second = given.records.record("alice", now);
    let created = given.store.create(&second, now, Some(policy(true))).await.unwrap();
    assert_eq!(created, Created::LimitReached { live: 1 }, "the living one does");
    let created = given.store.create(&second, now, Some(policy(false))).await.unwrap();
    assert_eq!(created, evicted(&[first.session.id]), "and it alone makes room");
    assert_eq!(given.head().await, head + 1);
    for record in [&stale, &long_ago] {
        assert_eq!(given.found(record.session.id).await, *record, "what does not count is left alone");
    }
    let earlier = T0.minus(MILLISECOND);
    let limit = Limit { renewed_after: earlier, authenticated_after: earlier, ..refusing(1) };
    let third = given.records.record("alice", now);
    let created = given.store.create(&third, now, Some(limit)).await.unwrap();
    assert_eq!(created, Created::LimitReached { live: 3 }, "a millisecond later they count");
}

/// 64 sign-ins at once with a limit of 5: never more than 5 live, each creation keeps its own, each eviction is told and logged
/// once, and in the end there are exactly 5 (A43).
pub async fn a43_sixty_four_at_once_never_pass_the_limit(store: Arc<dyn Store>) {
    const SIGN_INS: usize = 64;
    let given = Given::new(store);
    let records: Vec<Record> = (0..SIGN_INS).map(|_| given.records.record("alice", T0)).collect();
    let left = Arc::new(AtomicUsize::new(SIGN_INS));
    let told = at_once(SIGN_INS + 1, |i| {
        let (given, left, new) = (given.clone(), Arc::clone(&left), records.get(i).cloned());
        async move {
            let Some(new) = new else {
                while left.load(Ordering::SeqCst) > 0 {
                    let live = given.count(&of_user("alice"), T0).await;
                    assert!(live <= 5, "{live} sessions live at once");
                    tokio::task::yield_now().await;
                }
                return Vec::new();
            };
            let created = given.store.create(&new, T0, Some(at_most(5))).await;
            left.fetch_sub(1, Ordering::SeqCst);
            match created.unwrap() {
                Created::Created { evicted } => {
                    assert!(!evicted.contains(&new.session.id), "a creation ends itself");
                    evicted
                }
                other => panic!("a creation with room by eviction answered {other:?}"),
            }
        }
    })
    .await
    .concat();
    let distinct: BTreeSet<SessionId> = told.iter().copied().collect();
    assert_eq!(distinct.len(), told.len(), "each eviction is told once");
    assert_eq!(told.len(), SIGN_INS - 5);
    let live: BTreeSet<SessionId> = given.ids(&of_user("alice"), T0).await.into_iter().collect();
    assert_eq!(live.len(), 5, "exactly as many as the limit");
    assert!(live.is_disjoint(&distinct), "what was told to have ended has ended");
    let logged: BTreeSet<SessionId> = given
        .log()
        .await
        .into_iter()
        .map(|change| match change.kind {
            ChangeKind::Ended(id) => id,
            other => panic!("an eviction is logged as {other:?}"),
        })
        .collect();
    assert_eq!(logged, distinct, "each eviction is logged");
    assert_eq!(given.log().await.len(), distinct.len(), "once");
    for id in distinct {
        assert_eq!(given.state(id).await, pushed_out(T0));
    }
}

/// In the refusing mode exactly 5 of 64 sign-ins at once get in (A43).
pub async fn a43_sixty_four_at_once_are_refused_beyond_the_limit(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let answers = at_once(64, |_| {
        let given = given.clone();
        async move {
            let new = given.records.record("alice", T0);
            (new.session.id, given.store.create(&new, T0, Some(refusing(5))).await.unwrap())
        }
    })
    .await;
    let mut made = BTreeSet::new();
    for (id, created) in answers {
        match created {
            Created::Created { evicted } => {
                assert_eq!(evicted, [], "the refusing mode ends nobody");
                made.insert(id);
            }
            Created::LimitReached { live } => assert_eq!(live, 5),
            Created::Duplicate => panic!("every id is new"),
        }
    }
    assert_eq!(made.len(), 5, "exactly as many as the limit");
    let live: BTreeSet<SessionId> = given.ids(&Filter::default(), T0).await.into_iter().collect();
    assert_eq!(live, made);
}
