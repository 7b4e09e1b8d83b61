//! A file that is moved, deleted or replaced under an open store.
#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what should not fail")]

mod common;

use std::time::Duration;

use common::{NOW, quick, record, revocation, user};
use hallpass_core::store::Target;
use hallpass_core::{Store as _, StoreError};
use hallpass_sqlite::SqliteStore;

/// Checks look at a flag that is at most a second old: asks until it says so.
async fn refused(store: &SqliteStore, id: hallpass_core::SessionId) {
    let asking = async {
        loop {
            match store.find(id).await {
                Err(StoreError::Unavailable { message, .. }) => return message,
                Err(other) => panic!("{other}"),
                Ok(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let message = tokio::time::timeout(Duration::from_secs(10), asking).await.unwrap();
    assert!(message.contains("moved, deleted or replaced") && message.contains("restart"), "{message}");
}

#[tokio::test]
async fn g8_a_store_whose_file_was_replaced_accepts_nobody_and_acknowledges_nothing() {
    let (directory, store) = common::store().await;
    let path = directory.path().join("hallpass.db");
    let alice = record(&user("alice"), NOW);
    store.create(&alice, NOW, None).await.unwrap();

    // A backup is made, the session is ended in it, and it takes the place of the file.
    let backup = directory.path().join("backup.db");
    rusqlite::Connection::open(&path).unwrap().execute("VACUUM INTO ?1", [backup.to_str().unwrap()]).unwrap();
    let other = SqliteStore::open(&backup, quick()).await.unwrap();
    other.revoke(&revocation(Target::Everyone, NOW)).await.unwrap();
    other.close().await;
    let aside = directory.path().join("aside.db");
    std::fs::rename(&path, &aside).unwrap();
    std::fs::rename(&backup, &path).unwrap();

    let lost = store.create(&record(&user("bob"), NOW), NOW, None).await;
    assert!(matches!(lost, Err(StoreError::Unavailable { .. })), "a creation in no file is not acknowledged: {lost:?}");
    let lost = store.revoke(&revocation(Target::User(user("alice")), NOW)).await;
    assert!(matches!(lost, Err(StoreError::Unavailable { .. })), "{lost:?}");
    refused(&store, alice.session.id).await;
    assert!(store.health(NOW).await.is_err());

    std::fs::remove_file(&path).unwrap();
    assert!(store.health(NOW).await.is_err(), "nor without any file");
    std::fs::rename(&aside, &path).unwrap();
    store.health(NOW).await.unwrap();
    assert!(store.find(alice.session.id).await.unwrap().is_some(), "back in its place it goes on");
}
