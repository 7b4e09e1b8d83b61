//! Transactions that meet, held open on purpose.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::instance::Instance;
use common::{NOW, beside, hold, open_transactions, record, revocation, small, until, user, waiting};
use hallpass_core::store::{Created, Record, Renewal, Sweep, Target};
use hallpass_core::{State, Store as _, StoreError};
use hallpass_mysql::{MysqlOptions, MysqlStore};
use mysql_async::prelude::Queryable as _;
use tokio::time::Instant;

async fn created(store: &MysqlStore, name: &str) -> Record {
    let new = record(&user(name), NOW);
    assert_eq!(store.create(&new, NOW, None).await.unwrap(), Created::Created { evicted: Vec::new() });
    new
}

/// A creation that has read the log's position and is not committed, across a revocation and its settling: either the session is made after the
/// revocation, or it is ended by it. Never is its mark gone and the session left alive below it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a41_a_creation_held_open_across_a_revocation_does_not_outlive_the_mark() {
    for target in [Target::User(user("alice")), Target::Everyone] {
        let (url, store) = common::store().await;
        let store = Arc::new(store);
        let mut holder = beside(&url).await;
        created(&store, "alice").await;
        let late = record(&user("alice"), NOW);
        hold(&mut holder, &late).await;
        let creating = tokio::spawn({
            let (store, late) = (Arc::clone(&store), late.clone());
            async move { store.create(&late, NOW, None).await }
        });
        until("the creation waits", async || waiting(&mut holder).await == 1).await;
        let revoking = tokio::spawn({
            let (store, target) = (Arc::clone(&store), target.clone());
            async move { store.revoke(&revocation(target, NOW)).await }
        });
        // A revocation that did not wait for the creation would be done now, and could be settled.
        until("the revocation is done or waits", async || revoking.is_finished() || waiting(&mut holder).await == 2)
            .await;
        let settling = async { while store.settle(10, NOW).await.unwrap().more {} };
        settling.await;
        holder.query_drop("ROLLBACK").await.unwrap();
        assert_eq!(creating.await.unwrap().unwrap(), Created::Created { evicted: Vec::new() });
        let position = revoking.await.unwrap().unwrap().position;
        while store.settle(10, NOW).await.unwrap().more {}
        let marks: Option<u64> = holder.query_first("SELECT COUNT(*) FROM hallpass_marks").await.unwrap();
        assert_eq!(marks, Some(0), "settled");
        let sql = "SELECT epoch FROM hallpass_sessions WHERE id = ?";
        let epoch: Option<u64> = holder.exec_first(sql, (late.session.id.as_bytes().as_slice(),)).await.unwrap();
        let state = store.find(late.session.id).await.unwrap().unwrap().session.state;
        assert!(
            epoch.unwrap() >= position || state != State::Live,
            "{target:?}: made at position {epoch:?}, revoked at {position}, and alive"
        );
    }
}

/// Rule 9: what waits for a lock is not done later for a caller that has gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_whose_caller_has_gone_is_not_made() {
    let (url, store) = common::store().await;
    let store = Arc::new(store);
    let mut holder = beside(&url).await;
    let new = record(&user("alice"), NOW);
    hold(&mut holder, &new).await;
    let creating = tokio::spawn({
        let (store, new) = (Arc::clone(&store), new.clone());
        async move { store.create(&new, NOW, None).await }
    });
    until("the creation waits", async || waiting(&mut holder).await == 1).await;
    creating.abort();
    assert!(creating.await.unwrap_err().is_cancelled());
    holder.query_drop("ROLLBACK").await.unwrap();
    until("its transaction is undone", async || open_transactions(&mut holder).await == 0).await;
    assert_eq!(store.find(new.session.id).await.unwrap(), None);
    assert_eq!(store.create(&new, NOW, None).await.unwrap(), Created::Created { evicted: Vec::new() });
}

/// Somebody else's long transaction: the call answers in its time, and nothing of it is done later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_stays_locked_is_unavailable_in_time() {
    let url = common::fresh_database().await;
    let options = MysqlOptions { call_timeout: Duration::from_secs(2), ..small() };
    let store = MysqlStore::connect(&url, options).await.unwrap();
    let old = created(&store, "alice").await;
    let mut holder = beside(&url).await;
    holder.query_drop("START TRANSACTION").await.unwrap();
    holder.query_drop("UPDATE hallpass_sessions SET source = 'held'").await.unwrap();
    let renewal = Renewal {
        id: old.session.id,
        token_hash: old.token_hash,
        now: NOW,
        due_before: NOW,
        idle_expires_at: NOW.plus(common::DAY),
    };
    let begun = Instant::now();
    let error = store.renew(&renewal).await.unwrap_err();
    let took = begun.elapsed();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(took < Duration::from_millis(2_500), "{took:?}");
    assert_eq!(store.find(old.session.id).await.unwrap(), Some(old.clone()), "reading waits for nobody");
    until("nobody waits any more", async || open_transactions(&mut holder).await == 0).await;
    holder.query_drop("ROLLBACK").await.unwrap();
    assert_eq!(store.find(old.session.id).await.unwrap(), Some(old));
}

/// A table that somebody alters or locks: the call answers in its time, and the server gives up before it does: nothing waits on for a caller that has gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_stays_locked_is_unavailable_in_time() {
    let url = common::fresh_database().await;
    let options = MysqlOptions { call_timeout: Duration::from_secs(6), ..small() };
    let store = Arc::new(MysqlStore::connect(&url, options).await.unwrap());
    let old = created(&store, "alice").await;
    let (mut holder, mut observer) = (beside(&url).await, beside(&url).await);
    holder.query_drop("LOCK TABLES hallpass_sessions WRITE").await.unwrap();
    let begun = Instant::now();
    let creating = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.create(&record(&user("bob"), NOW), NOW, None).await }
    });
    // The longest that one statement was seen to wait.
    let sql = "SELECT COALESCE(MAX(TIME_MS), 0) FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND STATE LIKE '%metadata lock%'";
    let mut longest = 0.0_f64;
    while !creating.is_finished() {
        longest = longest.max(observer.query_first(sql).await.unwrap().unwrap());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = begun.elapsed();
    let error = creating.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(took < Duration::from_millis(6_500), "{took:?}");
    assert!((500.0..4_500.0).contains(&longest), "the server let a statement wait for {longest} ms");
    holder.query_drop("UNLOCK TABLES").await.unwrap();
    assert_eq!(store.find(old.session.id).await.unwrap(), Some(old));
}

/// A node that stands still, or is cut off, in the middle of a creation holds up the revocations of the others for a bounded time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_in_a_transaction_does_not_hold_up_revocations() {
    let instance = Instance::start().await;
    let direct = common::fresh_database_at(&instance.direct).await;
    let name = direct.rsplit('/').next().unwrap();
    let well = Arc::new(MysqlStore::connect(&direct, small()).await.unwrap());
    let cut_off = MysqlStore::connect(&common::with_database(&instance.url, name), small()).await.unwrap();
    created(&well, "alice").await;
    let mut holder = beside(&direct).await;
    let late = record(&user("alice"), NOW);
    hold(&mut holder, &late).await;
    let creating = tokio::spawn({
        let late = late.clone();
        async move { cut_off.create(&late, NOW, None).await }
    });
    until("the creation waits", async || waiting(&mut holder).await == 1).await;
    instance.cut().await;
    holder.query_drop("ROLLBACK").await.unwrap();
    // The row is written, the counter is locked, and nobody will commit.
    until("the creation holds its locks", async || {
        waiting(&mut holder).await == 0 && open_transactions(&mut holder).await == 1
    })
    .await;
    let begun = Instant::now();
    let outcome = well.revoke(&revocation(Target::User(user("alice")), NOW)).await.unwrap();
    assert_eq!(outcome.ended, Some(1));
    let quick = MysqlOptions::default();
    // The time-out of the transaction is half of a call's, here a minute's: at most ten seconds.
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}; a call has {:?}", begun.elapsed(), quick.call_timeout);
    assert_eq!(well.find(late.session.id).await.unwrap(), None, "undone by the server");
    creating.abort();
}

/// Each of three sweepers, settlers and many writers at once: whatever waits for whom, nobody fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sweeping_settling_and_writing_at_once_fail_nobody() {
    let url = common::fresh_database().await;
    let mut stores = Vec::new();
    for _ in 0..3 {
        stores.push(Arc::new(MysqlStore::connect(&url, small()).await.unwrap()));
    }
    let mut made = Vec::new();
    for n in 0..180_u32 {
        let mut new = record(&user(&format!("user-{}", n % 9)), NOW);
        // A third is dead, a third looks dead until its row is read, a third lives.
        if n % 3 == 0 {
            new.session.idle_expires_at = NOW.plus(Duration::from_millis(u64::from(n)));
        }
        stores[0].create(&new, NOW, None).await.unwrap();
        made.push(new);
    }
    let later = NOW.plus(common::DAY);
    let mut tasks = Vec::new();
    for store in &stores {
        let store_of = || Arc::clone(store);
        let sweeper = store_of();
        tasks.push(tokio::spawn(async move {
            let sweep = Sweep { expired_before: later, ended_before: NOW, log_before: NOW, batch: 7, commits: 1 };
            let mut removed = 0;
            for _ in 0..60 {
                let swept = sweeper.sweep(&sweep).await.unwrap();
                removed += swept.expired;
            }
            removed
        }));
        let (writer, rows) = (store_of(), made.clone());
        tasks.push(tokio::spawn(async move {
            for record in rows.iter().skip(1).step_by(3) {
                let (id, token_hash) = (record.session.id, record.token_hash);
                let renewal =
                    Renewal { id, token_hash, now: NOW, due_before: NOW, idle_expires_at: NOW.plus(2 * common::DAY) };
                writer.renew(&renewal).await.unwrap();
                writer.touch(&[hallpass_core::store::LastSeen { id, at: later }], NOW).await.unwrap();
            }
            0
        }));
        let revoker = store_of();
        tasks.push(tokio::spawn(async move {
            for n in 0..9 {
                revoker.revoke(&revocation(Target::User(user(&format!("user-{n}"))), later)).await.unwrap();
                revoker.settle(5, NOW).await.unwrap();
                let again = record(&user(&format!("user-{n}")), later);
                revoker.create(&again, later, None).await.unwrap();
            }
            0
        }));
    }
    let mut removed = 0;
    for task in tasks {
        removed += task.await.unwrap();
    }
    assert!(removed <= 60, "{removed} counted, 60 expired");
}
