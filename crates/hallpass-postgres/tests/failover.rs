//! The primary away, and its synchronous standby in its place: the store's URL names both.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::load::{Acknowledged, Load, log_has_no_gap};
use common::services::Service;
use common::{NOW, TIMEOUT, impatient, record, revocation, user};
use hallpass_core::store::{Record, Target};
use hallpass_core::{Store as _, StoreError};
use hallpass_postgres::{PostgresOptions, PostgresStore};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_postgres::NoTls;

/// No call takes longer, whatever becomes of the servers.
const BOUND: Duration = TIMEOUT.saturating_add(Duration::from_millis(500));

/// One URL for both servers, as an operator writes it who wants to have nothing to do after a failover.
fn url_of_both(pair: &Service) -> String {
    let [primary, standby] = pair.members.as_slice() else { panic!("a pair is {:?}", pair.members) };
    let authority = |url: &str| url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let first = authority(primary);
    common::with_schema(&primary.replacen(&first, &format!("{first},{}", authority(standby)), 1), "t")
}

/// One check after the other. The longest that one took, and how many there were.
fn check_on_and_on(
    store: &Arc<PostgresStore>,
    known: &Record,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<(Duration, usize)> {
    let (store, known, stop) = (Arc::clone(store), known.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let (mut slowest, mut count) = (Duration::ZERO, 0);
        while !stop.load(Ordering::SeqCst) {
            let begun = Instant::now();
            match store.find(known.session.id).await {
                // Never "there is no such session": that would be a silent sign-out.
                Ok(found) => assert_eq!(found.as_ref(), Some(&known)),
                Err(StoreError::Unavailable { .. }) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(error) => panic!("{error:?}"),
            }
            slowest = slowest.max(begun.elapsed());
            count += 1;
        }
        (slowest, count)
    })
}

/// How long until checks and changes are answered again.
async fn back_after(store: &PostgresStore, known: &Record) -> Duration {
    let begun = Instant::now();
    loop {
        let checked = store.find(known.session.id).await.is_ok();
        if checked && store.create(&record(&user("bob"), NOW), NOW, None).await.is_ok() {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not come back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Takes the primary away under load and has its standby take over; the store is the same one all the time.
async fn acknowledged_before_it_holds_after_it(lose_the_primary: fn(&Service)) {
    let pair = Service::start("postgres-pair", &[]);
    let options = PostgresOptions { connections: 6, ..impatient() };
    let store = Arc::new(PostgresStore::connect(&url_of_both(&pair), options).await.unwrap());
    let known = record(&user("alice"), NOW);
    store.create(&known, NOW, None).await.unwrap();
    let before = store.changes_since(0, 1).await.unwrap().incarnation;
    let stop = Arc::new(AtomicBool::new(false));
    let checks = check_on_and_on(&store, &known, &stop);
    let load = Load::start(&store, "user");
    load.goes_on(30).await;
    // The standby is behind when the primary is lost: whatever was acknowledged without it would be missing.
    pair.cut_off_standby();
    load.everybody_was_answered().await;
    lose_the_primary(&pair);
    pair.mend_standby();
    pair.promote();
    let took = back_after(&store, &known).await;
    // The new primary takes all kinds of changes.
    load.goes_on(30).await;
    stop.store(true, Ordering::SeqCst);
    let (slowest_check, count) = checks.await.unwrap();
    let new_primary = common::connect(&common::with_schema(&pair.members[1], "t")).await;
    let (mut acknowledged, mut unanswered, mut slowest) = (Acknowledged::default(), 0, Duration::ZERO);
    for journal in load.end().await {
        acknowledged += journal.holds(&new_primary).await;
        unanswered += journal.unanswered;
        slowest = slowest.max(journal.slowest);
    }
    println!(
        "back {took:?} after the promotion; {acknowledged:?}; {unanswered} calls not answered, the slowest took {slowest:?}; \
         {count} checks, the slowest took {slowest_check:?}"
    );
    assert!(took < Duration::from_secs(2), "back only {took:?} after the promotion");
    assert!(slowest < BOUND && slowest_check < BOUND, "a call hung: {slowest:?}, {slowest_check:?}");
    assert!(unanswered > 0, "nobody noticed that the standby was cut off");
    let head = log_has_no_gap(&new_primary).await;
    assert!(head >= acknowledged.rotated as u64, "{head} entries for {acknowledged:?}");
    assert_ne!(store.changes_since(0, 1).await.unwrap().incarnation, before, "a cache would not start over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn g5_after_a_failover_to_the_synchronous_standby_every_acknowledged_revocation_holds() {
    acknowledged_before_it_holds_after_it(Service::kill_primary).await;
}

/// As when its machine loses power: no connection is refused, and none is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn g5_a_primary_that_went_silent_is_replaced_by_its_synchronous_standby_as_well() {
    acknowledged_before_it_holds_after_it(Service::freeze_primary).await;
}

/// PostgreSQL answers a commit with success, and a warning, when its wait for the standby is cancelled. That is no acknowledgement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_whose_wait_for_the_standby_is_cancelled_is_not_acknowledged() {
    let pair = Service::start("postgres-pair", &[]);
    let url = common::with_schema(&pair.members[0], "t");
    let operator = {
        let (client, connection) = tokio_postgres::connect(&pair.members[0], NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    };
    // Whoever does not want to hear of warnings has to be told of this one.
    operator.batch_execute("ALTER DATABASE postgres SET client_min_messages = 'error'").await.unwrap();
    let store = Arc::new(common::connect(&url).await);
    let known = record(&user("alice"), NOW);
    store.create(&known, NOW, None).await.unwrap();
    pair.cut_off_standby();
    for target in [Target::Session { id: known.session.id, owner: None }, Target::Everyone] {
        let revoking = {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.revoke(&revocation(target, NOW)).await })
        };
        let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        let begun = Instant::now();
        while operator.query_one(cancel, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not wait for the standby");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let outcome = revoking.await.unwrap();
        assert!(
            matches!(&outcome, Err(StoreError::Unavailable { message, .. }) if message.contains("standby")),
            "{outcome:?}"
        );
    }
    pair.mend_standby();
    // The connections are as good as before.
    assert!(store.revoke(&revocation(Target::Everyone, NOW)).await.is_ok());
}
