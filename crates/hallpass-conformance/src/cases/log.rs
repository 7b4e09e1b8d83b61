//! The revocation log.

use std::sync::Arc;

use hallpass_core::store::{Change, ChangeKind, Sweep, Target};
use hallpass_core::{EndReason, Store, Timestamp};

use super::attempt::{Answer, Attempt};
use super::given::{Given, SWEEP_NOTHING, at_once};
use crate::builders::{DAY, HOUR, MINUTE, T0, user};

/// A fresh log is empty, at position 0.
pub async fn a_fresh_log_is_empty(store: Arc<dyn Store>) {
    let changes = store.changes_since(0, 100).await.unwrap();
    assert_eq!((changes.head, changes.oldest, changes.entries), (0, 1, Vec::new()));
}

/// Every revocation, rotation and change of attributes has one entry, in the order of the commits.
pub async fn one_entry_for_each_in_order(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let (alice, bob) = (given.live("alice").await, given.live("bob").await);
    let (a, b) = (alice.session.id, bob.session.id);
    let spare = given.live("alice").await.session.id;
    let at = |n: u32| T0.plus(n * MINUTE);
    Attempt::Rotate.run(&given, &alice, at(1)).await;
    Attempt::SetAttributes.run(&given, &bob, at(2)).await;
    let third = given.end(spare, at(3), EndReason::Revoked).await.position;
    given.live("alice").await;
    let others = Target::Others { user: user("alice"), keep: a };
    let fourth = given.revoke(others, at(4), EndReason::RevokedOthers).await.position;
    let fifth = given.revoke(Target::User(user("bob")), at(5), EndReason::RevokedUser).await.position;
    let sixth = given.revoke(Target::Everyone, at(6), EndReason::RevokedEveryone).await.position;
    assert_eq!([third, fourth, fifth, sixth], [3, 4, 5, 6], "each answers its position");
    let kinds = [
        ChangeKind::Changed(a),
        ChangeKind::Changed(b),
        ChangeKind::Ended(spare),
        ChangeKind::User(user("alice")),
        ChangeKind::User(user("bob")),
        ChangeKind::Everyone,
    ];
    let expected: Vec<Change> =
        (1..).zip(kinds).map(|(n, kind)| Change { position: u64::from(n), kind, at: at(n) }).collect();
    assert_eq!(given.log().await, expected);
}

/// What changes nothing is not logged, and neither are writes that no cache needs to hear of.
pub async fn nothing_is_logged_for_nothing(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let dead = given.signed_out("alice").await;
    let head = given.head().await;
    for attempt in Attempt::ALL {
        assert_eq!(attempt.run(&given, &dead, T0.plus(HOUR)).await, Answer::Refused);
    }
    given.end(dead.session.id, T0, EndReason::Revoked).await;
    let live = given.live("alice").await;
    for attempt in [Attempt::Touch, Attempt::Renew, Attempt::CreateAgain, Attempt::Settle, Attempt::Sweep] {
        attempt.run(&given, &live, T0.plus(HOUR)).await;
    }
    let others = Target::Others { user: user("alice"), keep: live.session.id };
    given.revoke(others, T0, EndReason::RevokedOthers).await;
    given.revoke(Target::User(user("nobody")), T0, EndReason::RevokedUser).await;
    assert_eq!(given.head().await, head);
    assert_eq!(given.log().await.len() as u64, head);
}

/// Pages of the log begin after the asked position, hold at most what was asked for, and end at the head.
pub async fn it_is_read_in_pages(store: Arc<dyn Store>) {
    let given = Given::new(store);
    for n in 0..10 {
        given.signed_out(&format!("user-{n}")).await;
    }
    let whole = given.log().await;
    for (after, limit) in [(0, 10), (0, 3), (3, 3), (9, 5), (10, 5), (11, 5), (4, 0), (0, 1_000)] {
        let changes = given.store.changes_since(after, limit).await.unwrap();
        let expected: Vec<Change> =
            whole.iter().filter(|change| change.position > after).take(limit as usize).cloned().collect();
        assert_eq!(changes.entries, expected, "after {after}, at most {limit}");
        assert_eq!((changes.head, changes.oldest), (10, 1), "after {after}, at most {limit}");
    }
}

/// After eight tasks of mixed changes at once the log is whole: no gap, nothing twice, nothing missing.
pub async fn it_has_no_gaps_after_mixed_changes_at_once(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let mut expected: Vec<(u64, ChangeKind)> = at_once(8, |i| {
        let given = given.clone();
        async move {
            let mut made = Vec::new();
            let mut changed = Vec::new();
            for _ in 0..6 {
                let name = format!("user-{}", i % 4);
                let mut record = given.live(&name).await;
                let id = record.session.id;
                for attempt in [Attempt::Rotate, Attempt::SetAttributes] {
                    if attempt.run(&given, &record, T0).await == Answer::Written {
                        changed.push((0, ChangeKind::Changed(id)));
                        record = given.found(id).await;
                    }
                }
                let (target, kind) = match given.records.below(4) {
                    0 => (Target::User(user(&name)), ChangeKind::User(user(&name))),
                    1 => (Target::Others { user: user(&name), keep: id }, ChangeKind::User(user(&name))),
                    2 if i == 0 => (Target::Everyone, ChangeKind::Everyone),
                    _ => (Target::Session { id, owner: None }, ChangeKind::Ended(id)),
                };
                let outcome = given.revoke(target, T0, EndReason::Revoked).await;
                if outcome.position > 0 {
                    made.push((outcome.position, kind));
                }
            }
            made.extend(changed);
            made
        }
    })
    .await
    .into_iter()
    .flatten()
    .collect();
    let log = given.log().await;
    let positions: Vec<u64> = log.iter().map(|change| change.position).collect();
    assert_eq!(positions, (1..=log.len() as u64).collect::<Vec<_>>(), "positions without gaps");
    assert_eq!(given.head().await, log.len() as u64);
    assert_eq!(log.len(), expected.len(), "as many entries as acknowledged changes");
    for change in log {
        let known = expected
            .iter()
            .position(|(position, kind)| *kind == change.kind && (*position == change.position || *position == 0));
        let known = known.unwrap_or_else(|| panic!("nobody was told of {change:?}"));
        expected.swap_remove(known);
    }
}

/// The incarnation stays what it is, through changes, migrations and sweeps of the log.
pub async fn the_incarnation_is_stable(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let before = given.store.changes_since(0, 0).await.unwrap().incarnation;
    given.signed_out("alice").await;
    given.revoke(Target::Everyone, T0, EndReason::RevokedEveryone).await;
    given.store.migrate().await.unwrap();
    given.sweep(&Sweep { log_before: T0.plus(DAY), ..SWEEP_NOTHING }).await;
    assert_eq!(given.store.changes_since(0, 0).await.unwrap().incarnation, before);
    assert_ne!(before, [0; 16], "it is random");
}

/// Sweeping the log moves its oldest entry; the head and the numbering go on.
pub async fn head_and_oldest_hold_after_a_sweep(store: Arc<dyn Store>) {
    let given = Given::new(store);
    for n in 0..6_u32 {
        let id = given.live("alice").await.session.id;
        given.end(id, T0.plus(n * HOUR), EndReason::SignedOut).await;
    }
    let whole = given.log().await;
    given.sweep(&Sweep { log_before: T0.plus(2 * HOUR), ..SWEEP_NOTHING }).await;
    let changes = given.store.changes_since(0, 100).await.unwrap();
    assert_eq!((changes.head, changes.oldest), (6, 4), "entries at or before the time are removed");
    assert_eq!(changes.entries, whole[3..], "the later ones are kept");
    given.sweep(&Sweep { log_before: T0.plus(DAY), ..SWEEP_NOTHING }).await;
    let changes = given.store.changes_since(0, 100).await.unwrap();
    assert_eq!((changes.head, changes.oldest, changes.entries), (6, 7, Vec::new()), "all removed");
    let id = given.live("alice").await.session.id;
    assert_eq!(given.end(id, T0.plus(DAY), EndReason::Revoked).await.position, 7, "the numbering goes on");
    let changes = given.store.changes_since(6, 100).await.unwrap();
    assert_eq!((changes.head, changes.oldest, changes.entries.len()), (7, 7, 1));
}

/// Marks hold after the log is swept: a position is never used twice, so a new session never lies behind an old mark, nor the other
/// way round.
pub async fn marks_hold_after_a_sweep_of_the_log(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let old = given.live("alice").await;
    for _ in 0..3 {
        given.signed_out("bob").await;
    }
    given.revoke(Target::User(user("alice")), T0, EndReason::RevokedUser).await;
    given.sweep(&Sweep { log_before: T0.plus(DAY), ..SWEEP_NOTHING }).await;
    let newer = given.live("alice").await;
    assert!(!given.is_live(old.session.id, T0).await, "ended before");
    assert!(given.is_live(newer.session.id, T0).await, "created after");
    let outcome = given.revoke(Target::User(user("alice")), T0, EndReason::RevokedUser).await;
    assert_eq!((outcome.ended, outcome.position), (Some(1), 5));
    assert!(!given.is_live(newer.session.id, T0).await);
}

/// Writers whose clocks disagree leave times out of order; sweeping still leaves no gap.
pub async fn a_clock_that_was_behind_leaves_no_gap(store: Arc<dyn Store>) {
    let given = Given::new(store);
    for hours in [5_u32, 1, 6, 2, 7] {
        let id = given.live("alice").await.session.id;
        given.end(id, T0.plus(hours * HOUR), EndReason::SignedOut).await;
    }
    for hours in [0, 1, 2, 3, 5, 6, 9] {
        given.sweep(&Sweep { log_before: T0.plus(hours * HOUR), ..SWEEP_NOTHING }).await;
        let changes = given.store.changes_since(0, 100).await.unwrap();
        assert_eq!(changes.head, 5);
        let kept: Vec<u64> = changes.entries.iter().map(|change| change.position).collect();
        assert_eq!(kept, (changes.oldest..=5).collect::<Vec<_>>(), "all from the oldest on; swept to {hours} h");
        assert!(changes.oldest <= 1 || hours >= 5, "an entry later than {hours} h was removed");
    }
    assert_eq!(given.store.changes_since(0, 100).await.unwrap().oldest, 6, "everything is old now");
}

/// A log time may be any time.
pub async fn times_are_kept_to_the_millisecond(store: Arc<dyn Store>) {
    let given = Given::new(store);
    for at in [Timestamp::EPOCH, Timestamp::from_millis(1), Timestamp::from_millis(T0.as_millis() + 999)] {
        let mut record = given.records.record("alice", Timestamp::EPOCH);
        record.session.idle_expires_at = Timestamp::NEVER;
        record.session.absolute_expires_at = Timestamp::NEVER;
        given.create(&record).await;
        given.end(record.session.id, at, EndReason::SignedOut).await;
        assert_eq!(given.log().await.last().map(|change| change.at), Some(at));
    }
}
