//! The files stay small.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{DAY, NOW, record, user};
use hallpass_core::Store as _;
use hallpass_core::store::{Sweep, Swept};

fn bytes(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

#[tokio::test]
async fn the_file_shrinks_after_a_sweep_and_checks_go_on() {
    let (directory, store) = common::store().await;
    let path = directory.path().join("hallpass.db");
    store.create(&record(&user("alice"), NOW), NOW, None).await.unwrap();
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch(
            "INSERT INTO hallpass_sessions SELECT NULL, randomblob(16), randomblob(32), user_id || n, class, created_at, authenticated_at, \
             renewed_at, last_seen_at, idle_expires_at, absolute_expires_at, epoch, ended_at, ended_position, ended_by_kind, ended_by, \
             ended_reason, label, sign_in, attributes_version, attributes FROM hallpass_sessions, \
             (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 20000) SELECT n FROM c); \
             PRAGMA wal_checkpoint(TRUNCATE);",
        )
        .unwrap();
    let full = bytes(&path);
    let later = NOW.plus(31 * DAY);
    let living = record(&user("alice"), later);
    store.create(&living, later, None).await.unwrap();
    let sweep = Sweep { expired_before: later, ended_before: later, log_before: later, batch: 500 };
    assert_eq!(store.sweepable(&sweep).await.unwrap(), 20_001);
    let mut total = Swept::default();
    loop {
        let step = store.sweep(&sweep).await.unwrap();
        assert!(step.expired <= 500);
        total.expired += step.expired;
        assert!(store.find(living.session.id).await.unwrap().is_some());
        if !step.more {
            break;
        }
    }
    assert_eq!(total.expired, 20_001);
    let shrunk = async {
        while bytes(&path) > full / 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(30), shrunk).await;
    assert!(done.is_ok(), "{} of {full} bytes are left", bytes(&path));
    assert!(store.find(living.session.id).await.unwrap().is_some());
    assert_eq!(store.check_integrity().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn memory_needs_no_file() {
    let store = hallpass_sqlite::SqliteStore::in_memory().await.unwrap();
    let other = hallpass_sqlite::SqliteStore::in_memory().await.unwrap();
    let new = record(&user("alice"), NOW);
    store.create(&new, NOW, None).await.unwrap();
    assert_eq!(store.find(new.session.id).await.unwrap(), Some(new.clone()));
    assert_eq!(other.find(new.session.id).await.unwrap(), None, "each is its own");
    assert_eq!(store.path(), None);
}
