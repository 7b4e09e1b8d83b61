//! Many sign-ins at once.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{NOW, beside, record, small, until, user, waiting};
use hallpass_core::store::{Created, Limit};
use hallpass_core::{Store as _, StoreError, Timestamp};
use hallpass_mysql::{MysqlOptions, MysqlStore};
use mysql_async::prelude::Queryable as _;
use tokio::task::JoinSet;
use tokio::time::Instant;

const AT_ONCE: usize = 64;
const SIGN_INS: usize = 3_000;

const LIMIT: Limit =
    Limit { max: 5, refuse: false, renewed_after: Timestamp::EPOCH, authenticated_after: Timestamp::EPOCH };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_signs_in_within_the_time_that_a_call_has() {
    let url = common::fresh_database().await;
    let store = Arc::new(MysqlStore::connect(&url, MysqlOptions::default()).await.unwrap());
    let (begun, mut running, mut slowest) = (Instant::now(), JoinSet::new(), Duration::ZERO);
    for n in 0..SIGN_INS {
        let store = Arc::clone(&store);
        // Each user has two sessions in the end, and nobody has to make room.
        let new = record(&user(&format!("user-{}", n % (SIGN_INS / 2))), NOW);
        running.spawn(async move {
            let begun = Instant::now();
            let outcome = store.create(&new, NOW, Some(LIMIT)).await.unwrap();
            assert_eq!(outcome, Created::Created { evicted: Vec::new() });
            begun.elapsed()
        });
        if running.len() >= AT_ONCE {
            slowest = slowest.max(running.join_next().await.unwrap().unwrap());
        }
    }
    while let Some(took) = running.join_next().await {
        slowest = slowest.max(took.unwrap());
    }
    let rate = SIGN_INS as f64 / begun.elapsed().as_secs_f64();
    println!("{rate:.0} sign-ins a second, {AT_ONCE} at once; the slowest took {slowest:?}");
}

/// A crowd that signs in as one user takes turns there, and takes no connection from others meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_one_user_leaves_the_connections_to_others() {
    let url = common::fresh_database().await;
    let options = MysqlOptions { acquire_timeout: Duration::from_secs(2), ..small() };
    let store = Arc::new(MysqlStore::connect(&url, options).await.unwrap());
    let other = record(&user("bob"), NOW);
    store.create(&other, NOW, None).await.unwrap();
    let (mut holder, mut observer) = (beside(&url).await, beside(&url).await);
    holder.query_drop("START TRANSACTION").await.unwrap();
    holder.query_drop("SELECT * FROM hallpass_limit_locks FOR UPDATE").await.unwrap();
    let mut crowd = JoinSet::new();
    for _ in 0..20 {
        let store = Arc::clone(&store);
        crowd.spawn(async move { store.create(&record(&user("alice"), NOW), NOW, Some(LIMIT)).await });
    }
    until("the crowd waits", async || waiting(&mut observer).await >= 2).await;
    // There are three connections.
    assert_eq!(store.find(other.session.id).await.unwrap().as_ref(), Some(&other));
    // Whoever does not get a turn in time is told so.
    let error = crowd.join_next().await.unwrap().unwrap().unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable { message, .. } if message.contains("for one user at once")),
        "{error:?}"
    );
    holder.query_drop("ROLLBACK").await.unwrap();
    let mut made = 0;
    while let Some(outcome) = crowd.join_next().await {
        made += usize::from(outcome.unwrap().is_ok());
    }
    assert!(made >= 2, "those whose turn it was go on");
}
