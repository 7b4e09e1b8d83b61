//! The schema: made once, by whoever comes first; never by a program that does not know it.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use common::{NOW, quick, record, user};
use hallpass_core::{Store as _, StoreError};
use hallpass_sqlite::{SCHEMA_VERSION, SqliteStore};
use rusqlite::Connection;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_that_open_a_new_file_at_once_make_one_schema() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hallpass.db");
    let opening: Vec<_> = (0..8)
        .map(|_| tokio::spawn(SqliteStore::open(path.clone(), hallpass_sqlite::SqliteOptions::default())))
        .collect();
    let mut made = 0;
    for opened in opening {
        let store = opened.await.unwrap().unwrap();
        made += u32::from(store.migrated_at_open() == (0, SCHEMA_VERSION));
        store.create(&record(&user("alice"), NOW), NOW, None).await.unwrap();
        assert_eq!(store.migrate().await.unwrap(), (SCHEMA_VERSION, SCHEMA_VERSION));
        assert_eq!(store.health(NOW).await.unwrap().schema, SCHEMA_VERSION);
    }
    assert_eq!(made, 1, "one migrated, the others found it done");
    let connection = Connection::open(&path).unwrap();
    let rows: u32 = connection.query_row("SELECT count(*) FROM hallpass_migrations", [], |row| row.get(0)).unwrap();
    let sessions: u32 = connection.query_row("SELECT count(*) FROM hallpass_sessions", [], |row| row.get(0)).unwrap();
    assert_eq!((rows, sessions), (SCHEMA_VERSION, 8));
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hallpass.db");
    SqliteStore::open(&path, quick()).await.unwrap().close().await;
    let connection = Connection::open(&path).unwrap();
    let newer = SCHEMA_VERSION + 1;
    connection.execute("INSERT INTO hallpass_migrations VALUES (?1, 'future', x'00')", [newer]).unwrap();
    let error = SqliteStore::open(&path, quick()).await.unwrap_err();
    assert!(
        matches!(error, StoreError::TooNew { found, known } if found == newer && known == SCHEMA_VERSION),
        "{error:?}"
    );
    assert!(error.to_string().contains("start the newer hallpass"), "{error}");
    let rows: u32 = connection.query_row("SELECT count(*) FROM hallpass_migrations", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, newer);
}

#[tokio::test]
async fn a_step_that_is_not_ours_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hallpass.db");
    SqliteStore::open(&path, quick()).await.unwrap().close().await;
    Connection::open(&path).unwrap().execute("UPDATE hallpass_migrations SET checksum = x'00'", []).unwrap();
    let error = SqliteStore::open(&path, quick()).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("checksum") && text.contains("hallpass.db") && text.contains("backup"), "{text}");
}

#[tokio::test]
async fn a_database_of_the_application_can_be_shared() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE sessions (mine TEXT); INSERT INTO sessions VALUES ('x')")
        .unwrap();
    let store = SqliteStore::open(&path, quick()).await.unwrap();
    store.create(&record(&user("alice"), NOW), NOW, None).await.unwrap();
    let mine: String =
        Connection::open(&path).unwrap().query_row("SELECT mine FROM sessions", [], |row| row.get(0)).unwrap();
    assert_eq!(mine, "x");
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (directory, store) = common::store().await;
    store.create(&record(&user("alice"), NOW), NOW, None).await.unwrap();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["hallpass.db", "hallpass.db-shm", "hallpass.db-wal"]);
}
