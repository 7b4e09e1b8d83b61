//! Extending the idle deadline.

use std::sync::Arc;

use hallpass_core::store::{Record, Renewal, Renewed, Target};
use hallpass_core::{EndReason, Store, Timestamp};

use super::attempt::Attempt;
use super::given::{Given, at_once, everything};
use crate::builders::{DAY, HOUR, MILLISECOND, Records, T0, user};

/// A renewal of the record at `now`, due when it was last renewed a day ago or earlier.
fn renewal(record: &Record, now: Timestamp) -> Renewal {
    Renewal {
        id: record.session.id,
        token_hash: record.token_hash,
        now,
        due_before: now.minus(DAY),
        idle_expires_at: now.plus(30 * DAY),
    }
}

/// A due session is extended: the idle deadline, `renewed_at` and `last_seen_at` move, and nothing else does.
pub async fn a_due_session_is_extended(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let before = given.live("alice").await;
    let other = given.live("alice").await;
    let now = T0.plus(2 * DAY);
    let deadline = now.plus(30 * DAY);
    let renewed = given.store.renew(&renewal(&before, now)).await.unwrap();
    assert_eq!(renewed, Renewed::Renewed { idle_expires_at: deadline });
    let mut after = before.clone();
    after.session.renewed_at = now;
    after.session.last_seen_at = now;
    after.session.idle_expires_at = deadline;
    assert_eq!(given.found(before.session.id).await, after);
    assert_eq!(given.found(other.session.id).await, other, "the other session is untouched");
    assert_eq!(given.head().await, 0, "a renewal is not logged");
}

/// Due is "last renewed at or before", to the millisecond.
pub async fn due_is_exact_at_the_boundary(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    let early = T0.plus(DAY).minus(MILLISECOND);
    assert_eq!(given.store.renew(&renewal(&record, early)).await.unwrap(), Renewed::NotDue);
    assert_eq!(given.found(record.session.id).await, record, "what was not due is unchanged");
    let due = T0.plus(DAY);
    assert!(matches!(given.store.renew(&renewal(&record, due)).await.unwrap(), Renewed::Renewed { .. }));
    let again = given.store.renew(&renewal(&record, due.plus(DAY).minus(MILLISECOND))).await.unwrap();
    assert_eq!(again, Renewed::NotDue, "the next one is counted from the renewal");
}

/// A session is dead at the millisecond of its deadline and lives the one before.
pub async fn a_deadline_is_dead_at_its_own_millisecond(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let deadline = T0.plus(5 * DAY);
    let mut idle = given.records.record("alice", T0);
    idle.session.idle_expires_at = deadline;
    let mut absolute = given.records.record("alice", T0);
    absolute.session.idle_expires_at = deadline;
    absolute.session.absolute_expires_at = deadline;
    for before in [idle, absolute] {
        given.create(&before).await;
        for now in [deadline, deadline.plus(MILLISECOND), deadline.plus(30 * DAY)] {
            assert_eq!(given.store.renew(&renewal(&before, now)).await.unwrap(), Renewed::Gone, "dead at {now:?}");
            assert_eq!(given.found(before.session.id).await, before, "a dead session is left alone");
        }
        let alive = deadline.minus(MILLISECOND);
        let renewed = given.store.renew(&renewal(&before, alive)).await.unwrap();
        assert!(matches!(renewed, Renewed::Renewed { .. }), "alive at {alive:?}: {renewed:?}");
    }
}

/// No renewal passes the absolute deadline, neither in the answer nor in the row (A51).
pub async fn a51_the_absolute_deadline_is_never_passed(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let mut record = given.records.record("alice", T0);
    record.session.absolute_expires_at = T0.plus(40 * DAY);
    given.create(&record).await;
    let absolute = record.session.absolute_expires_at;
    for (now, asked, expected) in [
        (T0.plus(10 * DAY).minus(MILLISECOND), absolute.minus(MILLISECOND), absolute.minus(MILLISECOND)),
        (T0.plus(12 * DAY), absolute, absolute),
        (T0.plus(20 * DAY), absolute.plus(MILLISECOND), absolute),
        (T0.plus(30 * DAY), Timestamp::NEVER, absolute),
        (absolute.minus(MILLISECOND), Timestamp::NEVER, absolute),
    ] {
        let renewal = Renewal { idle_expires_at: asked, ..renewal(&record, now) };
        let renewed = given.store.renew(&renewal).await.unwrap();
        assert_eq!(renewed, Renewed::Renewed { idle_expires_at: expected }, "asked for {asked:?} at {now:?}");
        let session = given.found(record.session.id).await.session;
        assert_eq!((session.idle_expires_at, session.absolute_expires_at), (expected, absolute), "at {now:?}");
    }
    assert_eq!(given.store.renew(&renewal(&record, absolute)).await.unwrap(), Renewed::Gone);
}

/// A session without an absolute deadline can be renewed up to the end of time.
pub async fn without_an_absolute_deadline_it_goes_on(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let mut record = given.records.record("alice", T0);
    record.session.absolute_expires_at = Timestamp::NEVER;
    given.create(&record).await;
    let renewal = Renewal { idle_expires_at: Timestamp::NEVER, ..renewal(&record, T0.plus(DAY)) };
    let renewed = given.store.renew(&renewal).await.unwrap();
    assert_eq!(renewed, Renewed::Renewed { idle_expires_at: Timestamp::NEVER });
    assert_eq!(given.found(record.session.id).await.session.idle_expires_at, Timestamp::NEVER);
    assert!(given.is_live(record.session.id, Timestamp::NEVER.minus(MILLISECOND)).await);
}

/// Who does not hold the current token extends nothing.
pub async fn another_hash_changes_nothing(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    let wrong = Renewal { token_hash: given.records.hash(), ..renewal(&record, T0.plus(2 * DAY)) };
    assert_eq!(given.store.renew(&wrong).await.unwrap(), Renewed::NotDue);
    assert_eq!(given.found(record.session.id).await, record);
    Attempt::Rotate.run(&given, &record, T0.plus(DAY)).await;
    let rotated = given.found(record.session.id).await;
    let old = renewal(&record, T0.plus(2 * DAY));
    assert_eq!(given.store.renew(&old).await.unwrap(), Renewed::NotDue, "the hash before the rotation");
    assert_eq!(given.found(record.session.id).await, rotated);
}

/// `last_seen_at` moves forward only, also when another node's clock was ahead.
pub async fn last_seen_never_moves_back(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let mut record = given.records.record("alice", T0);
    record.session.last_seen_at = T0.plus(3 * DAY);
    given.create(&record).await;
    given.store.renew(&renewal(&record, T0.plus(2 * DAY))).await.unwrap();
    let session = given.found(record.session.id).await.session;
    assert_eq!(session.renewed_at, T0.plus(2 * DAY), "it was renewed");
    assert_eq!(session.last_seen_at, T0.plus(3 * DAY), "and not seen earlier than before");
}

/// A clock that moved back finds nothing due and changes nothing (A51).
pub async fn a51_an_earlier_clock_finds_nothing_due(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    for now in [T0.minus(HOUR), T0.minus(365 * DAY), Timestamp::EPOCH] {
        assert_eq!(given.store.renew(&renewal(&record, now)).await.unwrap(), Renewed::NotDue, "at {now:?}");
        assert_eq!(given.found(record.session.id).await, record);
    }
}

/// A shorter policy shortens, and `renewed_at` moves with it.
pub async fn a_shorter_deadline_is_taken(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    let now = T0.plus(DAY);
    let shorter = Renewal { idle_expires_at: now.plus(HOUR), ..renewal(&record, now) };
    let renewed = given.store.renew(&shorter).await.unwrap();
    assert_eq!(renewed, Renewed::Renewed { idle_expires_at: now.plus(HOUR) });
    let session = given.found(record.session.id).await.session;
    assert_eq!((session.idle_expires_at, session.renewed_at), (now.plus(HOUR), now));
    assert_eq!(given.store.renew(&renewal(&record, now.plus(HOUR))).await.unwrap(), Renewed::Gone);
}

/// Ended, marked, expired and unknown sessions are all gone, and stay as they are (A06).
pub async fn a06_the_dead_and_the_unknown_are_gone(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let marked = given.live("bob").await;
    given.revoke(Target::User(user("bob")), T0, EndReason::RevokedUser).await;
    let dead = [given.signed_out("alice").await, given.expired("alice").await, given.found(marked.session.id).await];
    for before in &dead {
        assert_eq!(given.store.renew(&renewal(before, T0.plus(2 * DAY))).await.unwrap(), Renewed::Gone);
        assert_eq!(given.found(before.session.id).await, *before);
    }
    let kept = given.ids(&everything(), T0).await.len();
    let unknown = Records::seeded(2).record("alice", T0);
    assert_eq!(given.store.renew(&renewal(&unknown, T0.plus(2 * DAY))).await.unwrap(), Renewed::Gone);
    assert_eq!(given.store.find(unknown.session.id).await.unwrap(), None, "a renewal creates nothing");
    assert_eq!(given.ids(&everything(), T0).await.len(), kept);
}

/// Of 32 requests that find a session due at once, one extends it.
pub async fn thirty_two_at_once_renew_once(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    let renewed = at_once(32, |i| {
        let now = T0.plus(2 * DAY).plus(u32::try_from(i).unwrap() * MILLISECOND);
        let (given, renewal) = (given.clone(), renewal(&record, now));
        async move { given.store.renew(&renewal).await.unwrap() }
    })
    .await;
    let wins = renewed.iter().filter(|renewed| matches!(renewed, Renewed::Renewed { .. })).count();
    let not_due = renewed.iter().filter(|renewed| **renewed == Renewed::NotDue).count();
    assert_eq!((wins, not_due), (1, 31), "{renewed:?}");
}
