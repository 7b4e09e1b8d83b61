//! What is acknowledged is synced, and many writes share a commit.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;

use common::{DAY, NOW, record, revocation, user};
use hallpass_core::store::{LastSeen, Renewal, Rotation, Settled, Sweep, Target};
use hallpass_core::{Attributes, Store as _, TokenHash};
use hallpass_sqlite::SqliteStore;

/// How many commits and how many synced ones `write` made.
async fn commits<F: Future>(store: &SqliteStore, write: F) -> (u64, u64) {
    let before = store.write_stats();
    write.await;
    let after = store.write_stats();
    (after.commits - before.commits, after.durable_commits - before.durable_commits)
}

#[tokio::test]
async fn create_rotate_and_revoke_are_synced_and_the_rest_is_not() {
    let (_directory, store) = common::store().await;
    let alice = user("alice");
    let (one, two) = (record(&alice, NOW), record(&alice, NOW));
    let id = one.session.id;
    let later = NOW.plus(DAY);
    let new_hash = TokenHash::from_bytes([9; 32]);
    let rotation = Rotation { id, old_hash: one.token_hash, new_hash, now: later, reauthentication: None };
    let renewal =
        Renewal { id, token_hash: new_hash, now: later, due_before: later, idle_expires_at: later.plus(30 * DAY) };
    let sweep = Sweep { expired_before: NOW, ended_before: NOW, log_before: NOW, batch: 10, commits: 1 };
    let synced = (1, 1);
    let relaxed = (1, 0);
    assert_eq!(commits(&store, async { store.create(&one, NOW, None).await.unwrap() }).await, synced);
    assert_eq!(commits(&store, async { store.create(&two, NOW, None).await.unwrap() }).await, synced);
    assert_eq!(commits(&store, async { store.rotate(&rotation).await.unwrap() }).await, synced);
    assert_eq!(commits(&store, async { store.renew(&renewal).await.unwrap() }).await, relaxed);
    let seen = [LastSeen { id, at: later }];
    assert_eq!(commits(&store, async { store.touch(&seen, later).await.unwrap() }).await, relaxed);
    assert_eq!(commits(&store, async { store.set_label(id, &alice, None, later).await.unwrap() }).await, relaxed);
    let attributes = Attributes::from_json(r#"{"a":1}"#).unwrap();
    assert_eq!(
        commits(&store, async { store.set_attributes(id, 0, &attributes, later).await.unwrap() }).await,
        relaxed
    );
    for target in [Target::Session { id: two.session.id, owner: None }, Target::User(alice.clone()), Target::Everyone] {
        let revocation = revocation(target, later);
        assert_eq!(commits(&store, async { store.revoke(&revocation).await.unwrap() }).await, synced);
    }
    let settled = async { assert_eq!(store.settle(10, later).await.unwrap(), Settled { rows: 1, more: false }) };
    assert_eq!(commits(&store, settled).await, relaxed);
    assert_eq!(commits(&store, async { store.sweep(&sweep).await.unwrap() }).await, relaxed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_share_few_synced_commits() {
    let (_directory, store) = common::store().await;
    let store = Arc::new(store);
    let before = store.write_stats();
    let tasks: Vec<_> = (0..640)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let new = record(&user(&format!("user-{n}")), NOW);
                store.create(&new, NOW, None).await.unwrap();
                assert!(store.find(new.session.id).await.unwrap().is_some(), "answered after its commit");
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let after = store.write_stats();
    let commits = after.commits - before.commits;
    assert_eq!(after.commands - before.commands, 640);
    assert_eq!(after.durable_commits - before.durable_commits, commits, "each was synced");
    assert!(commits <= 320, "640 creations took {commits} commits");
}

#[tokio::test]
async fn closing_copies_the_log_into_the_file() {
    let (directory, store) = common::store().await;
    let new = record(&user("alice"), NOW);
    store.create(&new, NOW, None).await.unwrap();
    assert!(directory.path().join("hallpass.db-wal").exists());
    store.close().await;
    assert!(!directory.path().join("hallpass.db-wal").exists(), "the file alone is whole: it can be copied");
    let store = SqliteStore::open(directory.path().join("hallpass.db"), common::quick()).await.unwrap();
    assert!(store.find(new.session.id).await.unwrap().is_some());
}
