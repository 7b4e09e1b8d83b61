//! Revocations that shared a commit which did not come about: what went wrong for one costs the others nothing, and nobody waits for ever.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::at_once::{
    NOTHING, all_at_once, all_succeed, are_logged, each, in_two_transactions, lock_counter, log, one, revoking,
    sessions, several, store,
};
use common::instance::Instance;
use common::{beside, fresh_database_at, until};
use hallpass_core::{State, Store as _, StoreError};
use hallpass_mysql::{MysqlOptions, MysqlStore};
use mysql_async::prelude::Queryable as _;
use tokio::time::{Instant, timeout};

/// A mark that is set while the transaction waits for the counter ends one of its sessions first: that one has nothing left to do, and the others do what they would alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mark_that_comes_first_costs_the_others_nothing() {
    let (url, store) = store().await;
    let mut holder = beside(&url).await;
    let all = sessions(&store, 6).await;
    let running = in_two_transactions(&store, &mut holder, each(&all)).await;
    // As another node does when it ends all sessions of this user.
    holder.query_drop("UPDATE hallpass_counter SET n = n + 1").await.unwrap();
    holder
        .query_drop("INSERT INTO hallpass_revocations (n, kind, user_id, nonce, at) VALUES (1, 'user', 'user 3', 'nonce---', 0)")
        .await
        .unwrap();
    holder
        .query_drop("INSERT INTO hallpass_marks VALUES (1, 'user 3', 0, 'operator', 'another', 'revoked_user', '')")
        .await
        .unwrap();
    holder.query_drop("COMMIT").await.unwrap();
    for (n, one) in running.into_iter().enumerate() {
        let outcome = one.await.unwrap().unwrap();
        assert_eq!(outcome.ended, Some(u64::from(n != 3)), "{n}");
        assert_eq!(outcome.position == 0, n == 3, "{n}");
    }
    assert_eq!(log(&store).await.len(), 6, "one of them by the mark");
    let State::Ended(end) = store.find(all[3].session.id).await.unwrap().unwrap().session.state else {
        unreachable!("it ended")
    };
    assert_eq!(end.by.name, "another");
}

/// The server closes the connection before the commit was sent: nothing of it holds, and each goes alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_lost_before_the_commit_costs_nobody_the_answer() {
    let (url, store) = store().await;
    let mut holder = beside(&url).await;
    let all = sessions(&store, 6).await;
    let running = in_two_transactions(&store, &mut holder, each(&all)).await;
    let sql = "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID() \
               AND COMMAND IN ('Query', 'Execute')";
    let threads: Vec<u64> = holder.query(sql).await.unwrap();
    assert_eq!(threads.len(), 2);
    for thread in threads {
        holder.query_drop(format!("KILL CONNECTION {thread}")).await.unwrap();
    }
    holder.query_drop("COMMIT").await.unwrap();
    all_succeed(&store, &all, running).await;
}

/// The counter is not had in the time that the server lets a statement wait: each goes alone, and has it a little later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_not_had_in_time_is_waited_for_once_more() {
    let url = common::fresh_database().await;
    // A second for one statement.
    let options = MysqlOptions { call_timeout: Duration::from_millis(3_900), ..several() };
    let store = Arc::new(MysqlStore::connect(&url, options).await.unwrap());
    let mut holder = beside(&url).await;
    let all = sessions(&store, 6).await;
    lock_counter(&mut holder).await;
    let begun = Instant::now();
    let running = all_at_once(&store, each(&all)).await;
    tokio::time::sleep_until(begun + Duration::from_millis(1_500)).await;
    holder.query_drop("COMMIT").await.unwrap();
    all_succeed(&store, &all, running).await;
}

/// Two nodes end the same sessions, one from the front and one from the back: nobody fails, and each session is ended by one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_end_the_same_sessions_in_opposite_orders_both_succeed() {
    let (url, here) = store().await;
    let there = Arc::new(MysqlStore::connect(&url, several()).await.unwrap());
    let all = sessions(&here, 120).await;
    let mut running = Vec::new();
    for n in 0..all.len() {
        running.push((n, revoking(&here, one(&all[n]))));
        let back = all.len() - 1 - n;
        running.push((back, revoking(&there, one(&all[back]))));
    }
    let (mut told, mut nothing) = (Vec::new(), 0);
    for (n, running) in running {
        match running.await.unwrap().unwrap() {
            NOTHING => nothing += 1,
            outcome => told.push((all[n].session.id, outcome)),
        }
    }
    assert_eq!((told.len(), nothing), (120, 120));
    are_logged(&here, &told).await;
}

/// Short, so that the test is.
fn quick() -> MysqlOptions {
    MysqlOptions {
        connect_timeout: Duration::from_secs(1),
        acquire_timeout: Duration::from_millis(1500),
        call_timeout: Duration::from_secs(2),
        ..several()
    }
}

/// A server that stops in the middle of it: everybody is told so in time, nobody is kept waiting, and nothing is done later, since no commit was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_frozen_or_killed_keeps_nobody_waiting() {
    let instance = Instance::start().await;
    let url = fresh_database_at(&instance.direct).await;
    let store = Arc::new(MysqlStore::connect(&url, quick()).await.unwrap());
    let all = sessions(&store, 150).await;
    for frozen in [true, false] {
        let mut holder = beside(&url).await;
        lock_counter(&mut holder).await;
        let begun = Instant::now();
        let running = all_at_once(&store, each(&all)).await;
        // A transaction of many waits for the counter, and others for it.
        tokio::time::sleep_until(begun + Duration::from_millis(120)).await;
        if frozen {
            instance.freeze().await;
        } else {
            instance.kill().await;
        }
        for running in running {
            let answer = running.await.unwrap();
            assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "frozen {frozen}: {answer:?}");
        }
        assert!(begun.elapsed() < Duration::from_millis(3_500), "{:?}", begun.elapsed());
        if frozen {
            instance.thaw().await;
        } else {
            instance.restart().await;
        }
        // What the holder locked is free as well.
        let _ = timeout(Duration::from_secs(1), holder.disconnect()).await;
        let begun = Instant::now();
        while store.changes_since(0, 1).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(5), "it does not recover");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut observer = beside(&url).await;
        until("they are undone", async || common::open_transactions(&mut observer).await == 0).await;
        assert!(log(&store).await.is_empty(), "nothing is done later");
    }
    all_succeed(&store, &all, all_at_once(&store, each(&all)).await).await;
}
