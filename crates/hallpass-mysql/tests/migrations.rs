//! The schema: made once, by whoever comes first; never by a program that does not know it.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use common::{NOW, beside, fresh_database, record, small, user};
use hallpass_core::{Store as _, StoreError};
use hallpass_mysql::{MysqlOptions, MysqlStore, SCHEMA_VERSION};
use mysql_async::prelude::Queryable as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_that_open_a_new_database_at_once_make_one_schema() {
    let url = fresh_database().await;
    let opening: Vec<_> = (0..8)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { MysqlStore::connect(&url, small()).await })
        })
        .collect();
    let mut made = 0;
    for opened in opening {
        let store = opened.await.unwrap().unwrap();
        made += u32::from(store.migrated_at_connect() == (0, SCHEMA_VERSION));
        store.create(&record(&user("alice"), NOW), NOW, None).await.unwrap();
        assert_eq!(store.migrate().await.unwrap(), (SCHEMA_VERSION, SCHEMA_VERSION));
        assert_eq!(store.health(NOW).await.unwrap().schema, SCHEMA_VERSION);
    }
    assert_eq!(made, 1, "one migrated, the others found it done");
    let mut conn = beside(&url).await;
    let counts: Option<(u32, u32, u32)> = conn
        .query_first(
            "SELECT (SELECT COUNT(*) FROM hallpass_migrations), (SELECT COUNT(*) FROM hallpass_sessions), \
             (SELECT COUNT(*) FROM hallpass_limit_locks)",
        )
        .await
        .unwrap();
    assert_eq!(counts, Some((SCHEMA_VERSION, 8, 256)));
}

#[tokio::test]
async fn a_migration_that_was_cut_off_is_finished_by_the_next() {
    let url = fresh_database().await;
    let before = {
        let store = MysqlStore::connect(&url, small()).await.unwrap();
        let new = record(&user("alice"), NOW);
        store.create(&new, NOW, None).await.unwrap();
        (new, store.changes_since(0, 0).await.unwrap().incarnation)
    };
    let mut conn = beside(&url).await;
    conn.query_drop("DELETE FROM hallpass_migrations WHERE version > 1").await.unwrap();
    conn.query_drop("UPDATE hallpass_migrations SET complete = 0").await.unwrap();
    conn.query_drop("DROP TABLE hallpass_limit_locks, hallpass_marks, hallpass_nodes").await.unwrap();
    let store = MysqlStore::connect(&url, small()).await.unwrap();
    assert_eq!(store.migrated_at_connect(), (0, SCHEMA_VERSION));
    assert_eq!(store.find(before.0.session.id).await.unwrap(), Some(before.0));
    assert_eq!(store.changes_since(0, 0).await.unwrap().incarnation, before.1);
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_alone() {
    let url = fresh_database().await;
    MysqlStore::connect(&url, small()).await.unwrap().close().await;
    let mut conn = beside(&url).await;
    let newer = SCHEMA_VERSION + 1;
    let sql = format!("INSERT INTO hallpass_migrations VALUES ({newer}, 'future', REPEAT('x', 32), 1)");
    conn.query_drop(sql).await.unwrap();
    let error = MysqlStore::connect(&url, small()).await.unwrap_err();
    assert!(
        matches!(error, StoreError::TooNew { found, known } if found == newer && known == SCHEMA_VERSION),
        "{error:?}"
    );
    let rows: Option<u32> = conn.query_first("SELECT COUNT(*) FROM hallpass_migrations").await.unwrap();
    assert_eq!(rows, Some(newer));
}

#[tokio::test]
async fn a_step_that_is_not_ours_is_refused() {
    let url = fresh_database().await;
    MysqlStore::connect(&url, small()).await.unwrap().close().await;
    beside(&url).await.query_drop("UPDATE hallpass_migrations SET checksum = REPEAT('x', 32)").await.unwrap();
    let error = MysqlStore::connect(&url, small()).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("checksum") && text.contains("database hallpass_") && text.contains("backup"), "{text}");
}

#[tokio::test]
async fn tables_of_somebody_else_are_refused_and_left_alone() {
    for (table, columns) in [
        ("hallpass_sessions", "mine VARCHAR(10)"),
        ("hallpass_counter", "mine VARCHAR(10)"),
        ("hallpass_migrations", "mine VARCHAR(10)"),
        ("hallpass_migrations", "id INT, name VARCHAR(255), executed_at DATETIME"),
    ] {
        let url = fresh_database().await;
        let mut conn = beside(&url).await;
        conn.query_drop(format!("CREATE TABLE {table} ({columns})")).await.unwrap();
        let error = MysqlStore::connect(&url, small()).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{table}: {error:?}");
        let sql = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME <> 'hallpass_migrations'";
        let others: Option<u32> = conn.query_first(sql).await.unwrap();
        assert_eq!(others, Some(u32::from(table != "hallpass_migrations")), "{table}: nothing was made beside it");
    }
}

#[tokio::test]
async fn a_database_of_the_application_can_be_shared() {
    let url = fresh_database().await;
    let mut conn = beside(&url).await;
    conn.query_drop("CREATE TABLE sessions (mine VARCHAR(10)); INSERT INTO sessions VALUES ('x')").await.unwrap();
    conn.query_drop("CREATE TABLE hallpass_accounts (id INT)").await.unwrap();
    let store = MysqlStore::connect(&url, small()).await.unwrap();
    store.create(&record(&user("alice"), NOW), NOW, None).await.unwrap();
    let mine: Option<String> = conn.query_first("SELECT mine FROM sessions").await.unwrap();
    assert_eq!(mine.as_deref(), Some("x"));
}

/// No error of connecting shows the password, in whatever form.
#[tokio::test]
async fn errors_name_the_place_and_never_the_password() {
    let url = fresh_database().await;
    let mut parts = url::Url::parse(&url).unwrap();
    let name = parts.path().trim_start_matches('/').to_owned();
    let mut conn = beside(&url).await;
    let account = format!("{}@'%'", &name[name.len().saturating_sub(30)..]);
    conn.query_drop(format!("CREATE OR REPLACE USER {account} IDENTIFIED BY 'hunter2'")).await.unwrap();
    let user_name = account.trim_end_matches("@'%'").to_owned();
    parts.set_username(&user_name).unwrap();
    let quick = MysqlOptions { connect_timeout: std::time::Duration::from_millis(500), ..small() };
    let check = async |url: &url::Url, words: &str| {
        let error = MysqlStore::connect(url.as_str(), quick.clone()).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(words), "{words}: {shown}");
        assert!(!shown.contains("hunter") && !shown.contains("swordfish"), "{shown}");
        error
    };
    parts.set_password(Some("swordfish")).unwrap();
    check(&parts, "check user and password").await;
    parts.set_password(Some("hunter2")).unwrap();
    check(&parts, "check user and password").await;
    conn.query_drop(format!("GRANT SELECT ON {name}.* TO {account}")).await.unwrap();
    let error = check(&parts, "lacks a privilege").await;
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error:?}");
    conn.query_drop(format!("GRANT ALL ON {name}.* TO {account}")).await.unwrap();
    MysqlStore::connect(parts.as_str(), small()).await.unwrap().close().await;
    conn.query_drop(format!("REVOKE ALL ON {name}.* FROM {account}")).await.unwrap();
    conn.query_drop(format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO {account}")).await.unwrap();
    // A new connection has the new rights; the schema is made, so these are enough.
    let store = MysqlStore::connect(parts.as_str(), small()).await.unwrap();
    store.create(&record(&user("alice"), NOW), NOW, None).await.unwrap();
    assert!(!format!("{store:?}").contains("hunter2"), "{store:?}");
    let health = store.health(NOW).await.unwrap();
    assert!(!format!("{health:?}").contains("hunter2"), "{health:?}");
    parts.set_query(Some("ssl-mode=REQUIRED"));
    check(&parts, "offers no encryption").await;
    parts.set_query(None);
    parts.set_path("there_is_none");
    check(&parts, "there_is_none").await;
    parts.set_path(&name);
    parts.set_port(Some(9)).unwrap();
    check(&parts, ":9").await;
    conn.query_drop(format!("DROP USER {account}")).await.unwrap();
}
