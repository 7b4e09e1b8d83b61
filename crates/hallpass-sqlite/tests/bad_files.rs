//! Files that cannot be used: each a clear error, nothing lost, and never "no session".
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{NOW, quick, record, user};
use hallpass_core::store::Created;
use hallpass_core::{Store as _, StoreError};
use hallpass_sqlite::{SqliteOptions, SqliteStore};
use rusqlite::Connection;

#[tokio::test]
async fn garbage_is_no_database_and_stays_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    let garbage = b"these are notes, not a database\n".repeat(1000);
    std::fs::write(&path, &garbage).unwrap();
    let error = SqliteStore::open(&path, quick()).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("notes.txt") && text.contains("not an SQLite database") && text.contains("move"), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), garbage);
}

#[tokio::test]
async fn a_directory_or_a_missing_one_is_a_clear_error() {
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().to_owned(), directory.path().join("missing/hallpass.db")] {
        let error = SqliteStore::open(&path, quick()).await.unwrap_err();
        assert!(matches!(error, StoreError::NotWritable { .. }), "{error:?}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

/// Overwrites everything behind the first page, so that the file opens and its rows do not read.
fn damage(path: &Path) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0xa5; usize::try_from(length - 4096).unwrap()]).unwrap();
}

#[tokio::test]
async fn a_damaged_database_is_an_error_and_never_no_session() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hallpass.db");
    let store = SqliteStore::open(&path, quick()).await.unwrap();
    let known = record(&user("alice"), NOW);
    store.create(&known, NOW, None).await.unwrap();
    assert_eq!(store.check_integrity().await.unwrap(), Vec::<String>::new());
    store.close().await;
    // Everything into the file itself, so that the damage is what is read.
    Connection::open(&path).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    damage(&path);
    match SqliteStore::open(&path, quick()).await {
        Err(error) => assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}"),
        Ok(store) => {
            let error = store.find(known.session.id).await.unwrap_err();
            assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
            assert!(error.to_string().contains("restore a backup"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_truncated_database_is_an_error_and_never_no_session() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hallpass.db");
    let store = SqliteStore::open(&path, quick()).await.unwrap();
    let known = record(&user("alice"), NOW);
    store.create(&known, NOW, None).await.unwrap();
    store.close().await;
    Connection::open(&path).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(2 * 4096).unwrap();
    match SqliteStore::open(&path, quick()).await {
        Err(error) => assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}"),
        Ok(store) => {
            let error = store.find(known.session.id).await.unwrap_err();
            assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_corrupt_and_shows_nothing_of_its_content() {
    let (directory, store) = common::store().await;
    let known = record(&user("alice"), NOW);
    store.create(&known, NOW, None).await.unwrap();
    Connection::open(directory.path().join("hallpass.db"))
        .unwrap()
        .execute("UPDATE hallpass_sessions SET class = 'NOT A CLASS'", [])
        .unwrap();
    let error = store.find(known.session.id).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert!(!error.to_string().contains("NOT A CLASS"), "{error}");
}

/// Creates until the disk is full, then shows that what was acknowledged is there and that room helps.
async fn fills_up(path: PathBuf, options: SqliteOptions, make_room: impl FnOnce()) {
    let store = SqliteStore::open(&path, options).await.unwrap();
    let mut acknowledged = Vec::new();
    let error = loop {
        assert!(acknowledged.len() < 100_000, "the disk never fills");
        let batch: Vec<_> = (0..32).map(|_| record(&user("alice"), NOW)).collect();
        let mut refused = None;
        for new in &batch {
            match store.create(new, NOW, None).await {
                Ok(created) => {
                    assert_eq!(created, Created::Created { evicted: Vec::new() });
                    acknowledged.push(new.session.id);
                }
                Err(error) => refused = Some(error),
            }
        }
        if let Some(error) = refused {
            break error;
        }
    };
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error:?}");
    assert!(error.to_string().contains("no space is left"), "{error}");
    for id in &acknowledged {
        assert!(store.find(*id).await.unwrap().is_some(), "acknowledged, and readable on a full disk");
    }
    make_room();
    store.close().await;
    let store = SqliteStore::open(&path, quick()).await.unwrap();
    for id in &acknowledged {
        assert!(store.find(*id).await.unwrap().is_some());
    }
    store.create(&record(&user("alice"), NOW), NOW, None).await.unwrap();
    assert_eq!(store.check_integrity().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_file_at_its_bound_refuses_writes_and_keeps_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqliteOptions { max_pages: Some(64), ..quick() };
    fills_up(directory.path().join("hallpass.db"), options, || ()).await;
}

/// A file system mounted for one test; `None` where that is not allowed.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(directory.path()).output();
        done.is_ok_and(|output| output.status.success()).then(|| Self(directory))
    }

    fn remount(&self, options: &str) {
        let done = Command::new("mount").args(["-o", options]).arg(self.0.path()).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_keeps_what_it_has() {
    let Some(disk) = Mounted::new("size=1m") else {
        eprintln!("not allowed to mount a small tmpfs: covered by the bound on pages alone");
        return;
    };
    fills_up(disk.0.path().join("hallpass.db"), quick(), || disk.remount("remount,size=8m")).await;
}

/// Makes the directory and what is in it read-only for this process, even for root.
async fn refuses_a_read_only_file(path: &Path) {
    let error = SqliteStore::open(path, quick()).await.unwrap_err();
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("hallpass.db") && text.contains("writable"), "{text}");
}

#[tokio::test]
async fn a_read_only_file_system_is_a_clear_error() {
    let Some(disk) = Mounted::new("size=8m") else {
        eprintln!("not allowed to mount: covered by permissions");
        return;
    };
    let path = disk.0.path().join("hallpass.db");
    SqliteStore::open(&path, quick()).await.unwrap().close().await;
    disk.remount("remount,ro");
    refuses_a_read_only_file(&path).await;
    // Where there is no file yet.
    refuses_a_read_only_file(&disk.0.path().join("new-hallpass.db")).await;
    disk.remount("remount,rw");
    SqliteStore::open(&path, quick()).await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_read_only_file_or_directory_is_a_clear_error() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hallpass.db");
    SqliteStore::open(&path, quick()).await.unwrap().close().await;
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(&path, 0o400);
    if std::fs::OpenOptions::new().write(true).open(&path).is_ok() {
        eprintln!("permissions do not bind this user (root): covered by the read-only file system");
        return;
    }
    refuses_a_read_only_file(&path).await;
    mode(&path, 0o600);
    mode(directory.path(), 0o500);
    refuses_a_read_only_file(&path).await;
    mode(directory.path(), 0o700);
}

#[tokio::test]
async fn a_lock_held_by_another_process_is_unavailable_and_reads_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hallpass.db");
    let store = SqliteStore::open(&path, quick()).await.unwrap();
    let known = record(&user("alice"), NOW);
    store.create(&known, NOW, None).await.unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.create(&record(&user("alice"), NOW), NOW, None).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("locked by another process"), "{error}");
    assert!(store.find(known.session.id).await.unwrap().is_some());
    // Those that wait behind are refused together, not one time-out after the other.
    let before = store.write_stats().failed_commits;
    let store = std::sync::Arc::new(store);
    let waiting: Vec<_> = (0..640)
        .map(|_| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move { store.create(&record(&user("alice"), NOW), NOW, None).await })
        })
        .collect();
    for one in waiting {
        assert!(matches!(one.await.unwrap(), Err(StoreError::Unavailable { .. })));
    }
    assert!(store.write_stats().failed_commits - before <= 3);
    other.execute_batch("ROLLBACK").unwrap();
    store.create(&record(&user("alice"), NOW), NOW, None).await.unwrap();
}
