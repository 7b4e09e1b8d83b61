//! Removing dead rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hallpass_core::store::{Created, Filter, Record, Sweep, Swept, Target};
use hallpass_core::{EndReason, SessionId, State, Store, Timestamp};

use super::attempt::{Answer, Attempt};
use super::given::{Given, SWEEP_NOTHING, at_once, everything, of_user};
use crate::builders::{DAY, HOUR, MILLISECOND, T0, user};

/// When the sweeps of these cases happen: expired rows have a grace of an hour, ended ones are kept for ten days.
const NOW: Timestamp = Timestamp::from_millis(T0.as_millis() + 20 * 86_400_000);

fn sweep_at(now: Timestamp, batch: u32) -> Sweep {
    Sweep { expired_before: now.minus(HOUR), ended_before: now.minus(10 * DAY), batch, ..SWEEP_NOTHING }
}

/// A session with these deadlines, ended at that time if there is one.
async fn with(given: &Given, idle: Timestamp, absolute: Timestamp, end: Option<Timestamp>) -> SessionId {
    let mut record = given.records.record("alice", T0);
    record.session.idle_expires_at = idle;
    record.session.absolute_expires_at = absolute;
    given.create(&record).await;
    if let Some(at) = end {
        assert_eq!(given.end(record.session.id, at, EndReason::SignedOut).await.ended, Some(1));
    }
    record.session.id
}

/// Exactly the dead go, by table and to the millisecond (A64).
pub async fn a64_exactly_the_dead_go(store: Arc<dyn Store>) {
    exactly_the_dead_go(store, 1).await;
}

/// The same if a step may make many commits.
pub async fn a64_exactly_the_dead_go_in_steps_of_many_commits(store: Arc<dyn Store>) {
    exactly_the_dead_go(store, 5).await;
}

async fn exactly_the_dead_go(store: Arc<dyn Store>, commits: u32) {
    let given = Given::new(store);
    let (grace, retention) = (NOW.minus(HOUR), NOW.minus(10 * DAY));
    let later = NOW.plus(DAY);
    let (stays, goes) = (true, false);
    let table = [
        ("live", NOW.plus(DAY), Timestamp::NEVER, None, stays),
        ("expired this moment", NOW, NOW, None, stays),
        ("idle within the grace", grace.plus(MILLISECOND), later, None, stays),
        ("idle at the grace", grace, later, None, goes),
        ("idle long ago", T0.plus(HOUR), later, None, goes),
        ("absolute within the grace", grace.plus(MILLISECOND), grace.plus(MILLISECOND), None, stays),
        ("absolute at the grace", grace, grace, None, goes),
        ("absolute long ago", T0.plus(HOUR), T0.plus(HOUR), None, goes),
        ("ended just now", later, later, Some(NOW), stays),
        ("ended within the retention", later, later, Some(retention.plus(MILLISECOND)), stays),
        ("ended at the retention", later, later, Some(retention), goes),
        ("ended long ago", later, Timestamp::NEVER, Some(T0), goes),
        ("ended lately, and its deadline is long past", T0.plus(15 * DAY), later, Some(T0.plus(14 * DAY)), stays),
        ("ended long ago, and its deadline is long past", T0.plus(2 * HOUR), later, Some(T0.plus(HOUR)), goes),
    ];
    let mut rows = Vec::new();
    for (what, idle, absolute, end, outcome) in table {
        rows.push((what, with(&given, idle, absolute, end).await, outcome));
    }
    let sweep = Sweep { commits, ..sweep_at(NOW, 3) };
    assert_eq!(given.store.sweepable(&sweep).await.unwrap(), 7, "as many as will go");
    let swept = given.sweep(&sweep).await;
    assert_eq!((swept.expired, swept.ended), (4, 3), "by kind");
    for (what, id, outcome) in rows {
        assert_eq!(given.store.find(id).await.unwrap().is_some(), outcome, "{what}");
    }
    assert_eq!(given.ids(&everything(), NOW).await.len(), 7, "the others are listed");
    assert_eq!(given.store.sweepable(&sweep).await.unwrap(), 0);
    assert_eq!(given.sweep(&sweep).await, Swept::default(), "a second sweep finds nothing");
    let log = given.log().await.len();
    assert_eq!(log, 6, "sweeping is not logged, and keeps the log that it was not told to remove");
}

/// A removed session is unknown to every verb, and its id may be used again for a new one.
pub async fn what_is_removed_is_unknown(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let ended = given.signed_out("alice").await;
    let expired = given.expired("alice").await;
    given.sweep(&sweep_at(NOW, 100)).await;
    for before in [ended, expired] {
        let id = before.session.id;
        assert_eq!(given.store.find(id).await.unwrap(), None);
        for attempt in Attempt::ALL {
            if attempt.writes_to_the_living() {
                assert_eq!(attempt.run(&given, &before, NOW).await, Answer::Refused, "{attempt:?}");
            }
        }
        assert_eq!(given.end(id, NOW, EndReason::Revoked).await.position, 0);
        assert_eq!(given.store.find(id).await.unwrap(), None, "nothing brought it back");
        assert_eq!(Attempt::CreateAgain.run(&given, &before, NOW).await, Answer::Written, "as a new session");
    }
}

/// Each step removes at most a batch, something in every step but the last, and all of it in the end, although it was interrupted.
pub async fn steps_are_bounded_and_can_be_resumed(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let mut records = Vec::new();
    for n in 0..47_u32 {
        let mut record = given.records.record("alice", T0);
        record.session.idle_expires_at = T0.plus(HOUR).plus(n * MILLISECOND);
        records.push(record);
    }
    given.create_all(&records).await;
    for _ in 0..5 {
        given.signed_out("bob").await;
    }
    let live = given.records.record("carol", NOW);
    given.create(&live).await;
    let sweep = sweep_at(NOW, 10);
    let first = given.store.sweep(&sweep).await.unwrap();
    assert_eq!((first.expired + first.ended, first.more), (10, true), "a full step with more to come: {first:?}");
    assert_eq!(given.store.sweepable(&sweep).await.unwrap(), 42, "what is removed is removed");
    let (mut removed, mut steps) = (10, 1);
    loop {
        let swept = given.store.sweep(&sweep).await.unwrap();
        let rows = swept.expired + swept.ended;
        assert!(rows <= 10, "{swept:?}");
        assert!(rows > 0 || !swept.more, "a step that promises more removes something: {swept:?}");
        removed += rows;
        steps += 1;
        if !swept.more {
            break;
        }
        assert!(steps < 20, "53 rows do not need {steps} steps of 10");
    }
    assert_eq!(removed, 52);
    assert_eq!(given.ids(&everything(), NOW).await, [live.session.id]);
}

/// The oldest go first.
pub async fn the_oldest_go_first(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let (mut expired, mut ended) = (Vec::new(), Vec::new());
    for hours in [4_u32, 1, 3, 2] {
        expired.push((hours, with(&given, T0.plus(hours * HOUR), Timestamp::NEVER, None).await));
        ended.push((hours, with(&given, Timestamp::NEVER, Timestamp::NEVER, Some(T0.plus(hours * HOUR))).await));
    }
    for rows in [&mut expired, &mut ended] {
        rows.sort_unstable();
    }
    for _ in 0..8 {
        given.store.sweep(&sweep_at(NOW, 1)).await.unwrap();
        for rows in [&expired, &ended] {
            let mut gone = Vec::new();
            for (_, id) in rows {
                gone.push(given.store.find(*id).await.unwrap().is_none());
            }
            assert!(gone.is_sorted_by(|a, b| a >= b), "removed out of order: {gone:?}");
        }
    }
    assert_eq!(given.ids(&everything(), NOW).await, []);
}

/// Two sweepers at once count each row once and touch no live one, while sessions are renewed and created (A64).
pub async fn a64_two_sweepers_count_each_row_once(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let mut records: Vec<Record> = (0..120)
        .map(|_| {
            let mut record = given.records.record("alice", T0);
            record.session.idle_expires_at = T0.plus(HOUR);
            record
        })
        .collect();
    records.extend((0..20).map(|_| given.records.record("bob", NOW)));
    given.create_all(&records).await;
    let done = Arc::new(AtomicBool::new(false));
    let removed: u64 = at_once(3, |i| {
        let (given, done, living) = (given.clone(), Arc::clone(&done), records[120..].to_vec());
        async move {
            if i < 2 {
                let swept = given.sweep(&sweep_at(NOW, 7)).await;
                done.store(true, Ordering::SeqCst);
                return swept.expired + swept.ended;
            }
            for record in living.iter().cycle().take(200) {
                assert_eq!(Attempt::Renew.run(&given, record, NOW.plus(HOUR)).await, Answer::Written);
                given.create(&given.records.record("bob", NOW)).await;
                if done.load(Ordering::SeqCst) {
                    break;
                }
            }
            0
        }
    })
    .await
    .into_iter()
    .sum();
    assert_eq!(removed, 120, "each dead row is counted by one of them");
    assert_eq!(given.ids(&of_user("alice"), T0).await, [], "all of them are gone");
    for record in &records[120..] {
        assert!(given.is_live(record.session.id, NOW.plus(HOUR)).await, "a live session was removed or ended");
    }
}

/// Rows behind a mark never live again while they are swept, settled or not: the mark stays as long as it is needed (A41).
pub async fn a41_a_mark_outlives_the_rows_behind_it(store: Arc<dyn Store>) {
    let given = Given::new(store);
    for target in [Target::User(user("alice")), Target::Everyone] {
        let mut old = Vec::new();
        for _ in 0..5 {
            old.push(given.live("alice").await);
        }
        given.revoke(target.clone(), T0, EndReason::RevokedUser).await;
        let newer = given.live("alice").await;
        // Everything that ended up to now may go, the marks included; nothing was settled.
        let sweep =
            Sweep { expired_before: Timestamp::EPOCH, ended_before: NOW, log_before: NOW, batch: 2, commits: 1 };
        for step in 0..8 {
            given.store.sweep(&sweep).await.unwrap();
            for record in &old {
                let found = given.store.find(record.session.id).await.unwrap();
                let dead = found.is_none_or(|found| matches!(found.session.state, State::Ended(_)));
                assert!(dead, "{target:?}, step {step}: a session woke while it was swept");
                assert_eq!(Attempt::Renew.run(&given, record, T0.plus(HOUR)).await, Answer::Refused);
            }
            assert_eq!(given.ids(&of_user("alice"), T0).await, [newer.session.id], "{target:?}, step {step}");
            if step == 3 {
                given.store.settle(2, NOW).await.unwrap();
            }
        }
        given.settle(100).await;
        given.sweep(&sweep).await;
        for record in &old {
            assert_eq!(given.store.find(record.session.id).await.unwrap(), None, "settled, then swept");
        }
        assert_eq!(given.found(newer.session.id).await, newer, "{target:?}");
        given.end(newer.session.id, T0, EndReason::SignedOut).await;
    }
}

/// Expired rows behind a mark leave in the end, whichever way, and are never shown as live before.
pub async fn what_expires_behind_a_mark_leaves(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let id = with(&given, T0.plus(HOUR), T0.plus(HOUR), None).await;
    given.revoke(Target::User(user("alice")), T0, EndReason::RevokedUser).await;
    let expired = with(&given, T0.plus(HOUR), T0.plus(HOUR), None).await;
    given.settle(100).await;
    let swept = given.sweep(&sweep_at(NOW, 100)).await;
    assert_eq!((swept.expired, swept.ended), (1, 1));
    for id in [id, expired] {
        assert_eq!(given.store.find(id).await.unwrap(), None);
    }
    assert_eq!(given.count(&Filter { include_ended: true, ..Filter::default() }, NOW).await, 0);
}

/// A sweep never ends a live session, whatever its times are.
pub async fn the_living_stay_at_every_time(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    let mut endless = given.records.record("alice", T0);
    endless.session.idle_expires_at = Timestamp::NEVER;
    endless.session.absolute_expires_at = Timestamp::NEVER;
    given.create(&endless).await;
    let sweep = Sweep {
        expired_before: record.session.idle_expires_at.minus(MILLISECOND),
        ended_before: Timestamp::NEVER,
        log_before: Timestamp::NEVER,
        batch: 100,
        commits: 1,
    };
    assert_eq!(given.sweep(&sweep).await, Swept::default());
    for record in [&record, &endless] {
        assert_eq!(given.found(record.session.id).await, *record);
        assert_eq!(given.store.create(record, T0, None).await.unwrap(), Created::Duplicate);
    }
}
