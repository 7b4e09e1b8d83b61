//! Revocations that come at once share their commits, and nothing else.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{NOW, record, revocation, small, user};
use hallpass_core::store::{Record, RevokeOutcome, Target};
use hallpass_core::{SessionId, State, Store as _};
use hallpass_postgres::{PostgresOptions, PostgresStore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_postgres::Client;

const LONG: Duration = Duration::from_secs(30);

/// With several connections for changes.
async fn store() -> (String, Arc<PostgresStore>) {
    let url = common::fresh_url();
    let options = PostgresOptions { connections: 4, ..small() };
    let store = PostgresStore::connect(&url, options).await.unwrap();
    (url, Arc::new(store))
}

async fn sessions(store: &PostgresStore, count: usize) -> Vec<Record> {
    let mut all = Vec::new();
    for n in 0..count {
        let new = record(&user(&format!("user {n}")), NOW);
        store.create(&new, NOW, None).await.unwrap();
        all.push(new);
    }
    all
}

fn one(id: SessionId) -> Target {
    Target::Session { id, owner: None }
}

async fn has_ended(store: &PostgresStore, id: SessionId) -> bool {
    matches!(store.find(id).await.unwrap().unwrap().session.state, State::Ended(_))
}

/// How many transactions wrote the log.
async fn transactions(client: &Client) -> i64 {
    client.query_one("SELECT count(DISTINCT xmin::text) FROM hallpass_revocations", &[]).await.unwrap().get(0)
}

fn revoking(store: &Arc<PostgresStore>, target: Target) -> JoinHandle<RevokeOutcome> {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.revoke(&revocation(target, NOW)).await.unwrap() })
}

/// Keeps everything that is logged from going on.
async fn lock_counter(client: &Client) {
    client.batch_execute("BEGIN; SELECT n FROM hallpass_counter FOR UPDATE").await.unwrap();
}

/// Waits until so many connections of the store wait for a lock.
async fn until_waiting(client: &Client, url: &str, count: i64) {
    let name = url.rsplit_once("application_name=").unwrap().1;
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'";
    let waiting = async {
        while client.query_one(sql, &[&name]).await.unwrap().get::<_, i64>(0) < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LONG, waiting).await.expect("they wait");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_take_few_commits_and_a_position_each() {
    let (url, store) = store().await;
    let client = common::plain(&url).await;
    let all = sessions(&store, 64).await;
    let mut running = JoinSet::new();
    for (n, record) in all.iter().enumerate() {
        let (store, session) = (Arc::clone(&store), record.session.clone());
        running.spawn(async move {
            let target = match n % 4 {
                0 => Target::User(session.user),
                1 => Target::Session { id: session.id, owner: Some(session.user) },
                _ => one(session.id),
            };
            store.revoke(&revocation(target, NOW)).await.unwrap()
        });
    }
    let mut positions: Vec<u64> = Vec::new();
    while let Some(outcome) = running.join_next().await {
        let outcome = outcome.unwrap();
        assert_eq!(outcome.ended, Some(1));
        positions.push(outcome.position);
    }
    positions.sort_unstable();
    assert_eq!(positions, (1..=64).collect::<Vec<u64>>(), "each has its own");
    let log = store.changes_since(0, 100).await.unwrap();
    assert_eq!(log.entries.iter().map(|change| change.position).collect::<Vec<_>>(), positions, "and no gap");
    for record in &all {
        assert!(has_ended(&store, record.session.id).await);
    }
    let commits = transactions(&client).await;
    assert!(commits <= 16, "{commits} commits for 64 revocations");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_told_what_became_of_it() {
    let (url, store) = store().await;
    let (client, watching) = (common::plain(&url).await, common::plain(&url).await);
    let all = sessions(&store, 4).await;
    let (alice, other) = (user("alice"), record(&user("alice"), NOW));
    let keep = record(&alice, NOW);
    for new in [&keep, &other] {
        store.create(new, NOW, None).await.unwrap();
    }
    lock_counter(&client).await;
    let first = revoking(&store, one(all[0].session.id));
    until_waiting(&watching, &url, 1).await;
    let unknown = record(&alice, NOW).session.id;
    let same = [revoking(&store, one(all[1].session.id)), revoking(&store, one(all[1].session.id))];
    let others = revoking(&store, Target::Others { user: alice.clone(), keep: keep.session.id });
    let nothing = [revoking(&store, one(unknown)), revoking(&store, Target::User(user("nobody")))];
    let foreign = revoking(&store, Target::Session { id: all[2].session.id, owner: Some(alice.clone()) });
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(first.await.unwrap().ended, Some(1));
    let mut ended = Vec::new();
    for same in same {
        ended.push(same.await.unwrap().ended);
    }
    ended.sort_unstable();
    assert_eq!(ended, [Some(0), Some(1)], "one of them ended it");
    assert_eq!(others.await.unwrap().ended, Some(1));
    for nothing in nothing.into_iter().chain([foreign]) {
        assert_eq!(nothing.await.unwrap(), RevokeOutcome { ended: Some(0), position: 0 });
    }
    assert!(has_ended(&store, other.session.id).await && !has_ended(&store, keep.session.id).await);
    assert!(!has_ended(&store, all[2].session.id).await && !has_ended(&store, all[3].session.id).await);
    assert_eq!(store.changes_since(0, 10).await.unwrap().head, 3);
    let everyone = revoking(&store, Target::Everyone).await.unwrap();
    assert_eq!(everyone, RevokeOutcome { ended: None, position: 4 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gave_up_while_waiting_is_left_out() {
    let (url, store) = store().await;
    let (client, watching) = (common::plain(&url).await, common::plain(&url).await);
    let all = sessions(&store, 3).await;
    lock_counter(&client).await;
    let first = revoking(&store, one(all[0].session.id));
    until_waiting(&watching, &url, 1).await;
    let second = revocation(one(all[1].session.id), NOW);
    let gave_up = timeout(Duration::ZERO, store.revoke(&second)).await;
    assert!(gave_up.is_err());
    let third = revoking(&store, one(all[2].session.id));
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!((first.await.unwrap().position, third.await.unwrap().position), (1, 2));
    assert!(!has_ended(&store, all[1].session.id).await, "nothing is done later");
    assert_eq!(store.revoke(&second).await.unwrap(), RevokeOutcome { ended: Some(1), position: 3 });
}

/// Whoever begins with one that is stuck goes on without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_stuck_does_not_hold_up_the_others() {
    let (url, store) = store().await;
    let (client, watching) = (common::plain(&url).await, common::plain(&url).await);
    let all = sessions(&store, 12).await;
    // As a creation of this user that hangs in another process.
    let schema = url.rsplit_once("application_name=").unwrap().1;
    client
        .batch_execute(&format!(
            "BEGIN; SELECT pg_advisory_xact_lock_shared(('x' || encode(substring(sha256('hallpass/{schema}/user/user 0'::bytea) from 1 for 8), \
             'hex'))::bit(64)::bigint)"
        ))
        .await
        .unwrap();
    let stuck = revoking(&store, Target::User(all[0].session.user.clone()));
    until_waiting(&watching, &url, 1).await;
    let others: Vec<_> = all[1..].iter().map(|record| revoking(&store, one(record.session.id))).collect();
    for other in others {
        let outcome = timeout(Duration::from_secs(5), other).await.expect("it goes on").unwrap();
        assert_eq!(outcome.ended, Some(1));
    }
    assert!(!stuck.is_finished());
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(stuck.await.unwrap(), RevokeOutcome { ended: Some(1), position: 12 });
}
