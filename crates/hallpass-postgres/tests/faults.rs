//! The server away, silent, or killed in the middle of it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::load::{Acknowledged, Load, log_has_no_gap};
use common::proxy::{Loss, Network, Proxy};
use common::services::Service;
use common::{NOW, TIMEOUT, impatient, record, revocation, small, user};
use hallpass_core::store::{Created, Filter, LastSeen, Limit, Page, Record, Renewal, Rotation, Sweep, Target};
use hallpass_core::{Attributes, SessionId, Store, StoreError, Timestamp, TokenHash};
use hallpass_postgres::{PostgresOptions, PostgresStore};
use tokio::time::Instant;

/// Every verb, each by its name.
async fn each_verb(store: &dyn Store, known: &Record) -> Vec<(&'static str, Duration, Option<StoreError>)> {
    let id = known.session.id;
    let sweep = Sweep {
        expired_before: Timestamp::EPOCH,
        ended_before: Timestamp::EPOCH,
        log_before: Timestamp::EPOCH,
        batch: 10,
        commits: 1,
    };
    let limit = Limit { max: 3, refuse: false, renewed_after: Timestamp::EPOCH, authenticated_after: Timestamp::EPOCH };
    let renewal = Renewal {
        id,
        token_hash: known.token_hash,
        now: NOW,
        due_before: NOW,
        idle_expires_at: known.session.idle_expires_at,
    };
    let (old_hash, new_hash) = (known.token_hash, TokenHash::from_bytes([9; 32]));
    let rotation = Rotation { id, old_hash, new_hash, now: NOW, reauthentication: None };
    let mut outcomes = Vec::new();
    macro_rules! run {
        ($name:literal, $call:expr) => {
            let begun = Instant::now();
            let outcome = $call.await;
            outcomes.push(($name, begun.elapsed(), outcome.err()));
        };
    }
    run!("find", store.find(id));
    run!("create", store.create(&record(&user("bob"), NOW), NOW, None));
    run!("create within a limit", store.create(&record(&user("bob"), NOW), NOW, Some(limit)));
    run!("renew", store.renew(&renewal));
    run!("rotate", store.rotate(&rotation));
    run!("set_label", store.set_label(id, &known.session.user, None, NOW));
    run!("set_attributes", store.set_attributes(id, 0, &Attributes::default(), NOW));
    run!("list", store.list(&Filter::default(), Page::first(10), NOW));
    run!("count", store.count(&Filter::default(), NOW));
    run!("touch", store.touch(&[LastSeen { id, at: NOW.plus(TIMEOUT) }], NOW));
    run!("settle", store.settle(10, NOW));
    run!("sweep", store.sweep(&sweep));
    run!("sweepable", store.sweepable(&sweep));
    run!("changes_since", store.changes_since(0, 10));
    run!("migrate", store.migrate());
    run!("health", store.health(NOW));
    run!("revoke", store.revoke(&revocation(Target::Session { id, owner: None }, NOW)));
    outcomes
}

fn all_unavailable_in_time(outcomes: Vec<(&'static str, Duration, Option<StoreError>)>, bound: Duration) {
    for (verb, took, error) in outcomes {
        assert!(matches!(error, Some(StoreError::Unavailable { .. })), "{verb}: {error:?}");
        assert!(took < bound, "{verb} took {took:?}");
    }
}

/// How long until the store answers again.
async fn back_after(store: &dyn Store, id: SessionId) -> Duration {
    let begun = Instant::now();
    loop {
        let found = store.find(id).await.is_ok_and(|found| found.is_some());
        if found && store.create(&record(&user("bob"), NOW), NOW, None).await.is_ok() {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not come back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_unavailable_in_time_and_comes_back_by_itself() {
    let server = Service::start("postgres", &[]);
    let url = common::with_schema(&server.url, "t");
    let store = PostgresStore::connect(&url, impatient()).await.unwrap();
    let known = record(&user("alice"), NOW);
    store.create(&known, NOW, None).await.unwrap();
    for round in 0..2 {
        server.kill();
        all_unavailable_in_time(each_verb(&store, &known).await, TIMEOUT + Duration::from_millis(500));
        let error = PostgresStore::connect(&url, impatient()).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        server.restart();
        let took = back_after(&store, known.session.id).await;
        println!("round {round}: back after {took:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
        assert_eq!(store.find(known.session.id).await.unwrap(), Some(known.clone()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_network_is_unavailable_in_time_and_comes_back_by_itself() {
    let (proxy, server) = Proxy::before(&common::url()).await;
    let store =
        PostgresStore::connect(&common::with_schema(&server, &common::fresh_schema()), impatient()).await.unwrap();
    let known = record(&user("alice"), NOW);
    store.create(&known, NOW, None).await.unwrap();
    for network in [Network::BlackHole, Network::HoldsAnswers] {
        proxy.set(network);
        all_unavailable_in_time(each_verb(&store, &known).await, TIMEOUT + Duration::from_millis(500));
        proxy.set(Network::Open);
        let took = back_after(&store, known.session.id).await;
        println!("{network:?}: back after {took:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_a_firewall_forgot_are_given_up() {
    let (proxy, server) = Proxy::before(&common::url()).await;
    let store =
        PostgresStore::connect(&common::with_schema(&server, &common::fresh_schema()), impatient()).await.unwrap();
    let known = record(&user("alice"), NOW);
    store.create(&known, NOW, None).await.unwrap();
    proxy.lose(Loss::Forgotten);
    let find = store.find(known.session.id).await;
    assert!(matches!(find, Err(StoreError::Unavailable { .. })), "{find:?}");
    let count = store.count(&Filter::default(), NOW).await;
    assert!(matches!(count, Err(StoreError::Unavailable { .. })), "{count:?}");
    let took = back_after(&store, known.session.id).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_whose_answer_was_lost_is_an_error_and_is_not_tried_again() {
    let url = common::fresh_url();
    let beside = common::connect(&url).await;
    let (proxy, through) = Proxy::before(&url).await;
    let store = Arc::new(PostgresStore::connect(&through, small()).await.unwrap());
    // Prepares what there is to prepare.
    let known = record(&user("alice"), NOW);
    store.create(&known, NOW, None).await.unwrap();
    proxy.set(Network::HoldsAnswers);
    let new = record(&user("alice"), NOW);
    let creating = {
        let (store, new) = (Arc::clone(&store), new.clone());
        tokio::spawn(async move { store.create(&new, NOW, None).await })
    };
    let begun = Instant::now();
    while beside.find(new.session.id).await.unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(4), "it should be committed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    proxy.lose(Loss::Cut);
    // What is asked anew, over a new connection, is answered; the old ones are closed by then.
    tokio::time::sleep(Duration::from_millis(200)).await;
    proxy.set(Network::Open);
    let outcome = creating.await.unwrap();
    assert!(matches!(outcome, Err(StoreError::Unavailable { .. })), "{outcome:?}");
    assert!(back_after(&*store, new.session.id).await < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_an_operator_ends_are_replaced_and_no_check_fails() {
    let (url, store) = common::store().await;
    let known = record(&user("alice"), NOW);
    store.create(&known, NOW, None).await.unwrap();
    let client = common::plain(&url).await;
    for _ in 0..5 {
        let sql =
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = current_schema()";
        let ended: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
        assert_eq!(ended, 2);
        assert_eq!(store.find(known.session.id).await.unwrap().as_ref(), Some(&known));
        assert_eq!(store.count(&Filter::default(), NOW).await.unwrap(), 1);
        // One that just came is let live before it is ended again.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn g5_a_server_killed_under_load_loses_nothing_that_was_acknowledged() {
    let server = Service::start("postgres", &[]);
    let url = common::with_schema(&server.url, "t");
    for round in 0..3_u64 {
        let options = PostgresOptions { connections: 6, ..impatient() };
        let store = Arc::new(PostgresStore::connect(&url, options).await.unwrap());
        let load = Load::start(&store, &format!("round-{round}"));
        tokio::time::sleep(Duration::from_millis(700 + 130 * round)).await;
        server.kill();
        let journals = load.end().await;
        server.restart();
        drop(store);
        let store = common::connect(&url).await;
        let mut acknowledged = Acknowledged::default();
        for journal in journals {
            acknowledged += journal.holds(&store).await;
        }
        log_has_no_gap(&store).await;
        println!("round {round}: {acknowledged:?}");
        let Acknowledged { created, revoked, .. } = acknowledged;
        assert!(created > 20 && revoked > 5, "the load was too small to show anything: {acknowledged:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_some_connections_cannot_be_had_the_others_serve_all() {
    let schema = common::fresh_schema();
    let (admin, connection) = tokio_postgres::connect(&common::url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    // For the migration and one each for checks and for changes; the fourth is refused.
    admin
        .batch_execute(&format!(
            "CREATE ROLE {schema} LOGIN CONNECTION LIMIT 2; CREATE SCHEMA {schema} AUTHORIZATION {schema}"
        ))
        .await
        .unwrap();
    let url = common::with_schema(&common::url(), &schema).replacen("postgres@", &format!("{schema}@"), 1);
    let options = PostgresOptions { connections: 4, ..PostgresOptions::default() };
    let store = loop {
        // Whether checks get one of the two is a matter of chance.
        match PostgresStore::connect(&url, options.clone()).await {
            Ok(store) if store.find(record(&user("alice"), NOW).session.id).await.is_ok() => break Arc::new(store),
            Ok(store) => store.close().await,
            Err(error) => assert!(error.to_string().contains("too many connections"), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let creating: Vec<_> = (0..30)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.create(&record(&user("alice"), NOW), NOW, None).await })
        })
        .collect();
    for created in creating {
        assert_eq!(created.await.unwrap().unwrap(), Created::Created { evicted: Vec::new() });
    }
}
