//! Hearing of what others committed to the file.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

use std::sync::Arc;
use std::time::Duration;

use hallpass_core::store::{Revocation, Target};
use hallpass_core::{Actor, EndReason, Hints, Node, NodeId, Store, Timestamp};
use hallpass_sqlite::{SqliteOptions, SqliteStore};

/// The count is read every 20 ms.
const PATIENCE: Duration = Duration::from_secs(2);

async fn open(directory: &tempfile::TempDir) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(directory.path().join("hallpass.db"), SqliteOptions::default()).await.unwrap())
}

async fn revoke_everyone(store: &SqliteStore) {
    let now = Timestamp::from_millis(1_767_225_600_000);
    let by = Actor::operator("test");
    let reason = EndReason::RevokedEveryone;
    store.revoke(&Revocation { target: Target::Everyone, now, by, reason }).await.unwrap();
}

async fn is_heard(hints: &mut Hints) -> bool {
    tokio::time::timeout(PATIENCE, hints.next()).await.is_ok()
}

/// A listener that begins has no commit to hear of. What it was told while it began is taken away here.
async fn settled(hints: &mut Hints) {
    while tokio::time::timeout(Duration::from_millis(100), hints.next()).await.is_ok() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_through_another_handle_is_heard() {
    let directory = tempfile::tempdir().unwrap();
    let (here, there) = (open(&directory).await, open(&directory).await);
    let mut hints = there.hints().unwrap();
    settled(&mut hints).await;
    for _ in 0..5 {
        revoke_everyone(&here).await;
        assert!(is_heard(&mut hints).await, "a revocation through another handle");
        settled(&mut hints).await;
    }
    revoke_everyone(&there).await;
    assert!(is_heard(&mut hints).await, "one through this handle");
}

/// R7: nobody listens, and whoever does so afterwards hears; two hear each for itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_listening_ends_with_its_listeners_and_begins_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (here, there) = (open(&directory).await, open(&directory).await);
    for _ in 0..3 {
        let (mut first, mut second) = (there.hints().unwrap(), there.hints().unwrap());
        settled(&mut first).await;
        settled(&mut second).await;
        revoke_everyone(&here).await;
        assert!(is_heard(&mut first).await && is_heard(&mut second).await);
        drop((first, second));
        // Longer than the task needs to notice.
        let node = Node { id: NodeId::from_bytes([1; 16]), lease: PATIENCE, reached: 0, digest: 0, beats: 1 };
        tokio::time::sleep(Duration::from_millis(60)).await;
        here.register_node(&node).await.unwrap();
    }
}

#[tokio::test]
async fn a_database_in_memory_has_no_other_program_to_hear_of() {
    assert!(SqliteStore::in_memory().await.unwrap().hints().is_none());
}
