//! Revocations that come at once share their commits, and nothing else.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::at_once::{
    NOTHING, Revoking, all_at_once, are_logged, each, ended, has_ended, in_two_transactions, lock_counter, log, one,
    revoking, sessions, several, store, until_waiting,
};
use common::instance::Instance;
use common::{DAY, NOW, beside, fresh_database_at, record, revocation, small, until, user};
use hallpass_core::store::{ChangeKind, Record, Revocation, RevokeOutcome, Target};
use hallpass_core::{Actor, EndReason, State, Store as _};
use hallpass_mysql::{MysqlOptions, MysqlStore};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// How many transactions a server of one's own has committed.
async fn commits(conn: &mut Conn) -> u64 {
    let row: Option<(String, u64)> = conn.query_first("SHOW GLOBAL STATUS LIKE 'Com_commit'").await.unwrap();
    row.unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_take_few_commits_and_a_position_each() {
    let instance = Instance::start().await;
    let url = fresh_database_at(&instance.direct).await;
    let store = Arc::new(MysqlStore::connect(&url, several()).await.unwrap());
    let mut conn = beside(&url).await;
    let all = sessions(&store, 200).await;
    let before = commits(&mut conn).await;
    let revoking: Vec<Revoking> = all.iter().map(|record| revoking(&store, one(record))).collect();
    let mut outcomes = Vec::new();
    for (record, revoking) in all.iter().zip(revoking) {
        let outcome = revoking.await.unwrap().unwrap();
        assert_eq!(outcome.ended, Some(1));
        outcomes.push((record.session.id, outcome));
    }
    let took = commits(&mut conn).await - before;
    println!("{took} commits");
    assert!((4..=20).contains(&took), "{took} commits for 200 revocations, 64 in one at most");
    are_logged(&store, &outcomes).await;
}

/// What each asks for: the number of a session, whether as its owner, and what it is told.
#[derive(Clone, Copy)]
enum Asks {
    Anybody(usize),
    Owner(usize),
    Stranger(usize),
    Unknown,
}

async fn outcomes(
    store: &Arc<MysqlStore>,
    all: &[Record],
    asked: &[Asks],
    at_once: Option<&mut Conn>,
) -> Vec<RevokeOutcome> {
    let target = |asks: &Asks| match asks {
        Asks::Anybody(n) => one(&all[*n]),
        Asks::Owner(n) => Target::Session { id: all[*n].session.id, owner: Some(all[*n].session.user.clone()) },
        Asks::Stranger(n) => Target::Session { id: all[*n].session.id, owner: Some(user("stranger")) },
        Asks::Unknown => one(&record(&user("nobody"), NOW)),
    };
    let mut outcomes = Vec::new();
    if let Some(holder) = at_once {
        let revocations = [one(&all[0])].into_iter().chain(asked.iter().map(target));
        let revocations = revocations.map(|target| revocation(target, NOW));
        let running = in_two_transactions(store, holder, revocations).await;
        holder.query_drop("COMMIT").await.unwrap();
        for one in running {
            outcomes.push(one.await.unwrap().unwrap());
        }
    } else {
        outcomes.push(store.revoke(&revocation(one(&all[0]), NOW)).await.unwrap());
        for asks in asked {
            outcomes.push(store.revoke(&revocation(target(asks), NOW)).await.unwrap());
        }
    }
    outcomes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_told_what_it_would_be_told_alone() {
    use Asks::{Anybody, Owner, Stranger, Unknown};
    // 4 has ended, 5 is behind a mark, 6 is past its idle deadline and 7 past its absolute one.
    let asked = [
        Unknown,
        Stranger(1),
        Owner(1),
        Anybody(1),
        Anybody(2),
        Stranger(2),
        Stranger(3),
        Anybody(4),
        Owner(5),
        Owner(6),
        Anybody(7),
        Anybody(2),
        Stranger(8),
        Anybody(8),
    ];
    let mut told = Vec::new();
    for together in [false, true] {
        let (url, store) = store().await;
        let mut holder = beside(&url).await;
        let mut all = sessions(&store, 6).await;
        for (idle, absolute) in [(NOW, NOW.plus(DAY)), (NOW, NOW), (NOW.plus(DAY), NOW.plus(DAY))] {
            let mut new = record(&user("expires"), NOW);
            (new.session.idle_expires_at, new.session.absolute_expires_at) = (idle, absolute);
            store.create(&new, NOW, None).await.unwrap();
            all.push(new);
        }
        // A deadline that a stored row cannot have otherwise: the idle one lies ahead and the absolute one does not.
        holder
            .exec_drop(
                "UPDATE hallpass_sessions SET idle_expires_at = ? WHERE id = ?",
                (NOW.plus(DAY).as_millis(), all[7].session.id.as_bytes().as_slice()),
            )
            .await
            .unwrap();
        store.revoke(&revocation(one(&all[4]), NOW)).await.unwrap();
        store.revoke(&revocation(Target::User(all[5].session.user.clone()), NOW)).await.unwrap();
        let outcomes = outcomes(&store, &all, &asked, together.then_some(&mut holder)).await;
        let mut kinds = Vec::new();
        for change in log(&store).await {
            kinds.push(match change.kind {
                ChangeKind::Ended(id) => all.iter().position(|record| record.session.id == id),
                _ => None,
            });
        }
        let mut states = Vec::new();
        for record in &all {
            states.push(store.find(record.session.id).await.unwrap().unwrap().session.state);
        }
        told.push((outcomes, kinds, states));
    }
    let (alone, together) = (&told[0], &told[1]);
    let expected = [
        ended(3),
        NOTHING,
        NOTHING,
        ended(4),
        NOTHING,
        ended(5),
        NOTHING,
        NOTHING,
        NOTHING,
        NOTHING,
        RevokeOutcome { ended: Some(0), position: 6 },
        RevokeOutcome { ended: Some(0), position: 7 },
        NOTHING,
        NOTHING,
        ended(8),
    ];
    assert_eq!(alone.0, expected);
    assert_eq!(together, alone);
}

/// By whom, why and when: of each its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_end_keeps_its_own_time_actor_and_reason() {
    let (url, store) = store().await;
    let mut holder = beside(&url).await;
    let all = sessions(&store, 4).await;
    let reasons = [EndReason::SignedOut, EndReason::RevokedUser, EndReason::Limit, EndReason::Revoked];
    let mut revocations = Vec::new();
    for (n, (record, reason)) in all.iter().zip(reasons).enumerate() {
        let now = NOW.plus(Duration::from_secs(n as u64));
        let by = Actor::operator(format!("{n}'); --"));
        revocations.push(Revocation { target: one(record), now, by, reason });
    }
    let running = in_two_transactions(&store, &mut holder, revocations.clone()).await;
    holder.query_drop("COMMIT").await.unwrap();
    for ((record, revocation), running) in all.iter().zip(revocations).zip(running) {
        let outcome = running.await.unwrap().unwrap();
        let State::Ended(end) = store.find(record.session.id).await.unwrap().unwrap().session.state else {
            unreachable!("it ended")
        };
        assert_eq!((end.at, &end.by, end.reason), (revocation.now, &revocation.by, revocation.reason));
        let entry = &log(&store).await[usize::try_from(outcome.position).unwrap() - 1];
        assert_eq!((entry.at, &entry.kind), (revocation.now, &ChangeKind::Ended(record.session.id)));
        let at: Option<u64> = holder
            .exec_first(
                "SELECT ended_position FROM hallpass_sessions WHERE id = ? AND due_at IS NULL",
                (record.session.id.as_bytes().as_slice(),),
            )
            .await
            .unwrap();
        assert_eq!(at, Some(outcome.position));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gave_up_while_waiting_is_left_out() {
    let (url, store) = store().await;
    let mut holder = beside(&url).await;
    let all = sessions(&store, 3).await;
    let second = revocation(one(&all[1]), NOW);
    lock_counter(&mut holder).await;
    let mut running = all_at_once(&store, each(&all[..1])).await;
    assert!(timeout(Duration::ZERO, store.revoke(&second)).await.is_err());
    running.extend(all_at_once(&store, each(&all[2..])).await);
    until_waiting(&mut holder, 2).await;
    // Not even its row is locked.
    let mut locked = beside(&url).await;
    let sql = "SELECT 1 FROM hallpass_sessions WHERE id = ? FOR UPDATE NOWAIT";
    let free: Option<u8> = locked.exec_first(sql, (all[1].session.id.as_bytes().as_slice(),)).await.unwrap();
    assert_eq!(free, Some(1));
    // Those of the others are, before the counter is: it is taken last, and for the shortest time.
    let free: Result<Option<u8>, _> = locked.exec_first(sql, (all[2].session.id.as_bytes().as_slice(),)).await;
    assert!(free.is_err(), "{free:?}");
    holder.query_drop("COMMIT").await.unwrap();
    for one in running {
        assert_eq!(one.await.unwrap().unwrap().ended, Some(1));
    }
    assert!(!has_ended(&store, all[1].session.id).await, "nothing is done later");
    assert_eq!(store.revoke(&second).await.unwrap(), ended(3));
}

/// As one that is alone: what waited for a lock is not done for a caller that has gone. The others are not stopped by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gives_up_while_the_transaction_waits_for_the_counter_is_left_out() {
    let (url, store) = store().await;
    let mut holder = beside(&url).await;
    let all = sessions(&store, 6).await;
    // One that stays asks for what one that gives up asked for before.
    let asked = [0, 1, 3, 4, 2, 3];
    let revocations = asked.map(|n: usize| revocation(one(&all[n]), NOW));
    let running = in_two_transactions(&store, &mut holder, revocations).await;
    running[1..4].iter().for_each(JoinHandle::abort);
    let mut told = Vec::new();
    // They are gone before the counter is free.
    until("they are gone", async || running[1..4].iter().all(JoinHandle::is_finished)).await;
    holder.query_drop("COMMIT").await.unwrap();
    for (at, (n, revoking)) in asked.into_iter().zip(running).enumerate() {
        if !(1..4).contains(&at) {
            told.push((all[n].session.id, revoking.await.unwrap().unwrap()));
        }
    }
    are_logged(&store, &told).await;
    assert!(!has_ended(&store, all[1].session.id).await && !has_ended(&store, all[4].session.id).await);
    assert_eq!(store.revoke(&revocation(one(&all[1]), NOW)).await.unwrap(), ended(4), "their positions were put back");
}

/// When all of them give up, the transaction ends with nothing, and the next ones go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_nobody_wants_any_more_changes_nothing() {
    let (url, store) = store().await;
    let mut holder = beside(&url).await;
    let all = sessions(&store, 4).await;
    let running = in_two_transactions(&store, &mut holder, each(&all[..3])).await;
    running.iter().for_each(JoinHandle::abort);
    until("they are gone", async || running.iter().all(JoinHandle::is_finished)).await;
    holder.query_drop("COMMIT").await.unwrap();
    until("it is over", async || common::open_transactions(&mut holder).await == 0).await;
    assert!(log(&store).await.is_empty());
    assert_eq!(store.revoke(&revocation(one(&all[3]), NOW)).await.unwrap(), ended(1));
}

/// Somebody's long transaction on one row holds up whoever ends that session, and nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_row_is_held_does_not_hold_up_the_others() {
    let (url, store) = store().await;
    let (mut holder, mut row_holder) = (beside(&url).await, beside(&url).await);
    let all = sessions(&store, 12).await;
    row_holder.query_drop("START TRANSACTION").await.unwrap();
    let sql = "UPDATE hallpass_sessions SET source = 'held' WHERE id = ?";
    row_holder.exec_drop(sql, (all[5].session.id.as_bytes().as_slice(),)).await.unwrap();
    // With the held one among the others.
    let mut others = in_two_transactions(&store, &mut holder, each(&all)).await;
    let held = others.remove(5);
    holder.query_drop("COMMIT").await.unwrap();
    let begun = Instant::now();
    for other in others {
        assert_eq!(other.await.unwrap().unwrap().ended, Some(1));
    }
    // A lock is waited for for ten seconds here.
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(!held.is_finished());
    row_holder.query_drop("COMMIT").await.unwrap();
    assert_eq!(held.await.unwrap().unwrap(), ended(12), "it goes alone");
}

/// A row that is held when it ends a session that was asked for alone, at first: the rest go on beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_one_whose_row_is_held_does_not_hold_up_the_others() {
    let (url, store) = store().await;
    let mut holder = beside(&url).await;
    let all = sessions(&store, 40).await;
    holder.query_drop("START TRANSACTION").await.unwrap();
    let sql = "UPDATE hallpass_sessions SET source = 'held' WHERE id = ?";
    holder.exec_drop(sql, (all[0].session.id.as_bytes().as_slice(),)).await.unwrap();
    let held = revoking(&store, one(&all[0]));
    until_waiting(&mut holder, 1).await;
    let begun = Instant::now();
    for record in &all[1..] {
        // One after the other: if each had to wait for the one that is stuck, it would take 2 s.
        assert_eq!(store.revoke(&revocation(one(record), NOW)).await.unwrap().ended, Some(1));
    }
    println!("{:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    assert!(!held.is_finished());
    holder.query_drop("COMMIT").await.unwrap();
    assert_eq!(held.await.unwrap().unwrap(), ended(40));
}

/// However many revocations come while the counter is not to be had: half of the connections are for others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocations_that_are_stuck_leave_connections_to_checks() {
    let url = common::fresh_database().await;
    let store = Arc::new(MysqlStore::connect(&url, MysqlOptions { connections: 4, ..small() }).await.unwrap());
    let mut holder = beside(&url).await;
    let all = sessions(&store, 80).await;
    lock_counter(&mut holder).await;
    let mut running = Vec::new();
    for wave in all.chunks(10) {
        running.extend(all_at_once(&store, each(wave)).await);
        // Longer than they wait for what is under way.
        tokio::time::sleep(Duration::from_millis(70)).await;
    }
    until_waiting(&mut holder, 2).await;
    let found = timeout(Duration::from_secs(5), store.find(all[0].session.id)).await;
    assert!(found.is_ok_and(|found| found.unwrap().is_some()));
    holder.query_drop("COMMIT").await.unwrap();
    let mut told = Vec::new();
    for (record, running) in all.iter().zip(running) {
        told.push((record.session.id, running.await.unwrap().unwrap()));
    }
    are_logged(&store, &told).await;
}
