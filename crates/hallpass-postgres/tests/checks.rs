//! The gathered reads of checks.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::proxy::{Network, Proxy};
use common::{NOW, record, revocation, user};
use hallpass_core::store::{Record, Target};
use hallpass_core::{SessionId, State, Store as _, StoreError};
use hallpass_postgres::{PostgresOptions, PostgresStore};
use tokio::task::JoinHandle;

type Finding = JoinHandle<Result<Option<Record>, StoreError>>;

fn finding(store: &Arc<PostgresStore>, id: SessionId) -> Finding {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.find(id).await })
}

/// Waits until the store has sent so many queries for checks.
async fn sent(store: &PostgresStore, queries: u64) {
    for _ in 0..500 {
        if store.check_counts().0 >= queries {
            // The messages of the last one are on their way to the proxy, which passes them on.
            tokio::time::sleep(Duration::from_millis(50)).await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{queries} queries should have been sent: {:?}", store.check_counts());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_a_check_that_begins_after_a_revocation_never_gets_the_answer_of_an_earlier_query() {
    for pooler in [false, true] {
        let (proxy, server) = Proxy::before(&common::url()).await;
        let url = common::with_schema(&server, &common::fresh_schema());
        let options = PostgresOptions { pooler, ..common::small() };
        let one = Arc::new(PostgresStore::connect(&url, options).await.unwrap());
        let direct = url.replacen(&proxy.address.to_string(), &address_of(&common::url()), 1);
        let two = common::connect(&direct).await;
        let session = record(&user("alice"), NOW);
        two.create(&session, NOW, None).await.unwrap();
        let id = session.session.id;
        // Prepares what there is to prepare.
        assert!(one.find(id).await.unwrap().is_some());
        let (before, _) = one.check_counts();
        proxy.set(Network::HoldsAnswers);
        let early = finding(&one, id);
        sent(&one, before + 1).await;
        let ended = two.revoke(&revocation(Target::Session { id, owner: None }, NOW)).await.unwrap();
        assert_eq!(ended.ended, Some(1));
        // While the first answer, which says that it lives, is on its way.
        let late: Vec<Finding> = (0..8).map(|_| finding(&one, id)).collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.set(Network::Open);
        let state = early.await.unwrap().unwrap().unwrap().session.state;
        assert!(pooler || state == State::Live, "its query was answered before the revocation");
        for late in late {
            let state = late.await.unwrap().unwrap().unwrap().session.state;
            assert_ne!(state, State::Live, "it began after the revocation was acknowledged");
        }
    }
}

fn address_of(url: &str) -> String {
    url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_wait_go_together_and_each_gets_its_own() {
    let (proxy, server) = Proxy::before(&common::url()).await;
    let one = Arc::new(common::connect(&common::with_schema(&server, &common::fresh_schema())).await);
    let mut sessions = Vec::new();
    for n in 0..200 {
        let session = record(&user(&format!("user-{n}")), NOW);
        if n % 3 > 0 {
            one.create(&session, NOW, None).await.unwrap();
        }
        sessions.push((session, n % 3 > 0));
    }
    let revoked = revocation(Target::Session { id: sessions[1].0.session.id, owner: None }, NOW);
    one.revoke(&revoked).await.unwrap();
    let (before, _) = one.check_counts();
    proxy.set(Network::HoldsAnswers);
    // Each twice; some go away before they are answered.
    let mut finding_all = Vec::new();
    for (n, (session, exists)) in sessions.iter().chain(&sessions).enumerate() {
        let found = finding(&one, session.session.id);
        if n % 5 == 0 {
            found.abort();
        } else {
            finding_all.push((found, session, *exists));
        }
    }
    sent(&one, before + 2).await;
    proxy.set(Network::Open);
    for (found, session, exists) in finding_all {
        let found = found.await.unwrap().unwrap();
        match found {
            None => assert!(!exists),
            Some(found) => {
                assert!(exists);
                assert_eq!((found.session.id, &found.session.user), (session.session.id, &session.session.user));
                assert_eq!(found.session.state == State::Live, session.session.id != sessions[1].0.session.id);
            }
        }
    }
    let (after, _) = one.check_counts();
    assert!(after - before <= 8, "{} queries for 320 reads", after - before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_cannot_be_read_fails_alone_and_is_an_error() {
    let (url, one) = common::store().await;
    let one = Arc::new(one);
    let (good, bad) = (record(&user("good"), NOW), record(&user("bad"), NOW));
    for session in [&good, &bad] {
        one.create(session, NOW, None).await.unwrap();
    }
    common::plain(&url)
        .await
        .batch_execute("UPDATE hallpass_sessions SET methods = 'nonsense' WHERE user_id = 'bad'")
        .await
        .unwrap();
    for _ in 0..20 {
        let (fine, broken) = (finding(&one, good.session.id), finding(&one, bad.session.id));
        assert_eq!(fine.await.unwrap().unwrap().as_ref(), Some(&good));
        let error = broken.await.unwrap().unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().contains("methods") && !error.to_string().contains("nonsense"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_that_went_away_hold_nobody_up() {
    let (proxy, server) = Proxy::before(&common::url()).await;
    let one = Arc::new(common::connect(&common::with_schema(&server, &common::fresh_schema())).await);
    let session = record(&user("alice"), NOW);
    one.create(&session, NOW, None).await.unwrap();
    proxy.set(Network::HoldsAnswers);
    let patience = Duration::from_millis(200);
    let all: Vec<_> = (0..10_000)
        .map(|_| {
            let one = Arc::clone(&one);
            let id = session.session.id;
            tokio::spawn(async move { tokio::time::timeout(patience, one.find(id)).await.is_err() })
        })
        .collect();
    for gave_up in all {
        assert!(gave_up.await.unwrap());
    }
    let (before, read_before) = one.check_counts();
    proxy.set(Network::Open);
    assert_eq!(one.find(session.session.id).await.unwrap(), Some(session));
    let (queries, reads) = one.check_counts();
    assert!(
        queries - before <= 2 && reads - read_before <= 300,
        "{} queries, {} reads",
        queries - before,
        reads - read_before
    );
}
