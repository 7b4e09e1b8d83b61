//! What only shows when a transaction is held open in the middle.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{NOW, record, revocation, user};
use hallpass_core::store::{Created, Limit, Record, RevokeOutcome, Target};
use hallpass_core::{SessionId, State, Store as _, Timestamp};
use hallpass_postgres::{PostgresOptions, PostgresStore};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// Creations of the user `slow` stop after they have read the log's position and before they commit, while somebody holds this lock.
const GATE: i64 = 42;

struct Gate {
    client: Client,
}

impl Gate {
    async fn closed(url: &str) -> Self {
        let client = common::plain(url).await;
        client
            .batch_execute(&format!(
                "CREATE FUNCTION stop_at_gate() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN PERFORM pg_advisory_xact_lock({GATE}, hashtext(TG_TABLE_SCHEMA)); RETURN NEW; END $$; \
                 CREATE TRIGGER gate BEFORE INSERT ON hallpass_sessions FOR EACH ROW WHEN (NEW.user_id = 'slow') \
                 EXECUTE FUNCTION stop_at_gate(); \
                 SELECT pg_advisory_lock({GATE}, hashtext(current_schema()))"
            ))
            .await
            .unwrap();
        Self { client }
    }

    /// Waits until so many of the stores' transactions wait for a lock.
    async fn waiting(&self, count: i64) {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = current_schema() AND wait_event_type = 'Lock'";
        for _ in 0..500 {
            let now: i64 = self.client.query_one(sql, &[]).await.unwrap().get(0);
            if now == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{count} transactions should wait for a lock");
    }

    async fn open(&self) {
        self.client.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
    }
}

fn creating(store: &Arc<PostgresStore>, new: &Record, limit: Option<Limit>) -> JoinHandle<Created> {
    let (store, new) = (Arc::clone(store), new.clone());
    tokio::spawn(async move { store.create(&new, NOW, limit).await.unwrap() })
}

async fn is_live(store: &PostgresStore, id: SessionId) -> bool {
    store.find(id).await.unwrap().unwrap().session.state == State::Live
}

async fn settle(store: &PostgresStore) {
    for _ in 0..100 {
        if !store.settle(10, NOW).await.unwrap().more {
            return;
        }
    }
    panic!("settling has no end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_held_open_across_a_revocation_of_everyone_and_its_settling_stays_dead() {
    let (url, one) = common::store().await;
    let (one, two) = (Arc::new(one), common::connect(&url).await);
    let old = record(&user("alice"), NOW);
    two.create(&old, NOW, None).await.unwrap();
    let gate = Gate::closed(&url).await;
    let slow = record(&user("slow"), NOW);
    let held = creating(&one, &slow, None);
    gate.waiting(1).await;
    // Revoking everyone does not wait for it.
    let outcome = two.revoke(&revocation(Target::Everyone, NOW)).await.unwrap();
    assert_eq!(outcome, RevokeOutcome { ended: None, position: 1 });
    settle(&two).await;
    assert!(!is_live(&two, old.session.id).await);
    let between = record(&user("bob"), NOW);
    two.create(&between, NOW, None).await.unwrap();
    gate.open().await;
    assert_eq!(held.await.unwrap(), Created::Created { evicted: Vec::new() });
    let seen_dead = !is_live(&two, slow.session.id).await;
    settle(&two).await;
    settle(&one).await;
    assert!(seen_dead, "its position is from before the revocation");
    assert!(!is_live(&two, slow.session.id).await, "a session that was seen dead woke when the mark was removed");
    assert!(is_live(&two, between.session.id).await, "made after the revocation");
    let marks: i64 = gate.client.query_one("SELECT count(*) FROM hallpass_marks", &[]).await.unwrap().get(0);
    assert_eq!(marks, 0, "and the mark is gone in the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_of_a_user_waits_for_the_users_creations_and_counts_them() {
    let (url, one) = common::store().await;
    let (one, two) = (Arc::new(one), Arc::new(common::connect(&url).await));
    let three = common::connect(&url).await;
    let gate = Gate::closed(&url).await;
    let slow = record(&user("slow"), NOW);
    let held = creating(&one, &slow, None);
    gate.waiting(1).await;
    let revoking = {
        let two = Arc::clone(&two);
        tokio::spawn(async move { two.revoke(&revocation(Target::User(user("slow")), NOW)).await.unwrap() })
    };
    gate.waiting(2).await;
    // Nobody else waits.
    let other = record(&user("bob"), NOW);
    three.create(&other, NOW, None).await.unwrap();
    let ended = three.revoke(&revocation(Target::User(user("bob")), NOW)).await.unwrap();
    assert_eq!(ended, RevokeOutcome { ended: Some(1), position: 1 });
    gate.open().await;
    held.await.unwrap();
    assert_eq!(revoking.await.unwrap(), RevokeOutcome { ended: Some(1), position: 2 });
    assert!(!is_live(&three, slow.session.id).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a43_creations_within_a_limit_wait_for_each_other_in_all_processes() {
    let (url, one) = common::store().await;
    let (one, two) = (Arc::new(one), Arc::new(common::connect(&url).await));
    let gate = Gate::closed(&url).await;
    let limit = Limit { max: 1, refuse: true, renewed_after: Timestamp::EPOCH, authenticated_after: Timestamp::EPOCH };
    let (first, second) = (record(&user("slow"), NOW), record(&user("slow"), NOW));
    let held = creating(&one, &first, Some(limit));
    gate.waiting(1).await;
    let counting = creating(&two, &second, Some(limit));
    gate.waiting(2).await;
    gate.open().await;
    assert_eq!(held.await.unwrap(), Created::Created { evicted: Vec::new() });
    assert_eq!(counting.await.unwrap(), Created::LimitReached { live: 1 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_a_creation_whose_caller_gave_up_while_it_waited_for_a_connection_does_not_happen_later() {
    let (url, one) = common::store().await;
    // One connection for changes.
    let one = Arc::new(one);
    let gate = Gate::closed(&url).await;
    let held = creating(&one, &record(&user("slow"), NOW), None);
    gate.waiting(1).await;
    let given_up = record(&user("alice"), NOW);
    let waiting = one.create(&given_up, NOW, None);
    assert!(tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err(), "it has to wait");
    gate.open().await;
    held.await.unwrap();
    let patient = record(&user("alice"), NOW);
    one.create(&patient, NOW, None).await.unwrap();
    assert_eq!(one.find(given_up.session.id).await.unwrap(), None, "the caller was told that nothing happened");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_in_the_middle_leaves_the_connection_in_order() {
    let (url, one) = common::store().await;
    let one = Arc::new(one);
    let gate = Gate::closed(&url).await;
    let slow = record(&user("slow"), NOW);
    let held = creating(&one, &slow, None);
    gate.waiting(1).await;
    held.abort();
    assert!(held.await.unwrap_err().is_cancelled());
    gate.open().await;
    // The same connection, the only one for changes, serves the next ones; its answers are not mixed up.
    for n in 0..20 {
        let new = record(&user("alice"), NOW);
        assert_eq!(one.create(&new, NOW, None).await.unwrap(), Created::Created { evicted: Vec::new() }, "{n}");
        assert_eq!(one.create(&new, NOW, None).await.unwrap(), Created::Duplicate, "{n}");
        let target = Target::Session { id: new.session.id, owner: None };
        assert_eq!(one.revoke(&revocation(target, NOW)).await.unwrap().position, n + 1);
    }
    // It was on its way.
    assert!(one.find(slow.session.id).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_waits_too_long_is_refused_in_time_and_does_not_happen_later() {
    let (url, one) = common::store().await;
    one.close().await;
    let options = PostgresOptions { statement_timeout: Duration::from_millis(500), ..common::small() };
    let one = Arc::new(PostgresStore::connect(&url, options).await.unwrap());
    let gate = Gate::closed(&url).await;
    let slow = record(&user("slow"), NOW);
    let begun = tokio::time::Instant::now();
    let error = one.create(&slow, NOW, None).await.unwrap_err();
    assert!(matches!(error, hallpass_core::StoreError::Unavailable { .. }), "{error:?}");
    assert!(begun.elapsed() < Duration::from_millis(1000), "{:?}", begun.elapsed());
    // Whoever was at the gate has left it.
    gate.waiting(0).await;
    gate.open().await;
    one.create(&record(&user("alice"), NOW), NOW, None).await.unwrap();
    assert_eq!(one.find(slow.session.id).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_held_up_holds_up_no_other_connection() {
    let (url, one) = common::store().await;
    one.close().await;
    let options = PostgresOptions { connections: 4, ..PostgresOptions::default() };
    let one = Arc::new(PostgresStore::connect(&url, options).await.unwrap());
    // Every connection has had its turn.
    for _ in 0..10 {
        one.create(&record(&user("alice"), NOW), NOW, None).await.unwrap();
    }
    let gate = Gate::closed(&url).await;
    let held = [record(&user("slow"), NOW), record(&user("slow"), NOW)].map(|slow| creating(&one, &slow, None));
    gate.waiting(2).await;
    for _ in 0..10 {
        one.create(&record(&user("alice"), NOW), NOW, None).await.unwrap();
    }
    gate.open().await;
    for held in held {
        assert_eq!(held.await.unwrap(), Created::Created { evicted: Vec::new() });
    }
}
