//! The schema: made once, by whoever comes first; never by a program that does not know it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what should not fail")]

mod common;

use common::{NOW, record, small, user};
use hallpass_core::{Store as _, StoreError};
use hallpass_postgres::{PostgresStore, SCHEMA_VERSION};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_that_open_a_new_schema_at_once_make_it_once() {
    let url = common::fresh_url();
    let opening: Vec<_> = (0..8)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { PostgresStore::connect(&url, small()).await })
        })
        .collect();
    let mut made = 0;
    for opened in opening {
        let store = opened.await.unwrap().unwrap();
        made += u32::from(store.migrated_at_connect() == (0, SCHEMA_VERSION));
        store.create(&record(&user("alice"), NOW), NOW, None).await.unwrap();
        assert_eq!(store.migrate().await.unwrap(), (SCHEMA_VERSION, SCHEMA_VERSION));
        assert_eq!(store.health(NOW).await.unwrap().schema, SCHEMA_VERSION);
        store.close().await;
    }
    assert_eq!(made, 1, "one migrated, the others found it done");
    let client = common::plain(&url).await;
    let rows: i64 = client.query_one("SELECT count(*) FROM hallpass_migrations", &[]).await.unwrap().get(0);
    let sessions: i64 = client.query_one("SELECT count(*) FROM hallpass_sessions", &[]).await.unwrap().get(0);
    assert_eq!((rows, sessions), (i64::from(SCHEMA_VERSION), 8));
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_alone() {
    let (url, store) = common::store().await;
    store.close().await;
    let client = common::plain(&url).await;
    let newer = SCHEMA_VERSION + 1;
    let insert = format!("INSERT INTO hallpass_migrations VALUES ({newer}, 'future', '\\x00')");
    client.batch_execute(&insert).await.unwrap();
    let error = PostgresStore::connect(&url, small()).await.unwrap_err();
    assert!(
        matches!(error, StoreError::TooNew { found, known } if found == newer && known == SCHEMA_VERSION),
        "{error:?}"
    );
    let rows: i64 = client.query_one("SELECT count(*) FROM hallpass_migrations", &[]).await.unwrap().get(0);
    assert_eq!(rows, i64::from(newer));
}

#[tokio::test]
async fn a_step_that_is_not_ours_is_refused() {
    let (url, store) = common::store().await;
    store.close().await;
    common::plain(&url).await.batch_execute("UPDATE hallpass_migrations SET checksum = '\\x00'").await.unwrap();
    let error = PostgresStore::connect(&url, small()).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("checksum") && text.contains("backup") && text.contains("PostgreSQL at"), "{text}");
}

#[tokio::test]
async fn tables_of_others_under_our_names_are_refused_and_left_alone() {
    for (table, columns) in
        [("hallpass_sessions", "mine text"), ("hallpass_migrations", "mine text"), ("hallpass_marks", "n int")]
    {
        let schema = common::fresh_schema();
        let url = common::with_schema(&common::url(), &schema);
        let (client, connection) = tokio_postgres::connect(&common::url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
            .batch_execute(&format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.{table} ({columns})"))
            .await
            .unwrap();
        let error = PostgresStore::connect(&url, small()).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{table}: {error:?}");
        assert!(error.to_string().contains("hallpass"), "{error}");
        let tables = format!("SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}'");
        let count: i64 = client.query_one(&tables, &[]).await.unwrap().get(0);
        assert_eq!(count, 1, "{table}: nothing half made is left");
    }
}

#[tokio::test]
async fn a_database_of_the_application_can_be_shared() {
    let schema = common::fresh_schema();
    let url = common::with_schema(&common::url(), &schema);
    let (client, connection) = tokio_postgres::connect(&common::url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
        .batch_execute(&format!(
            "CREATE SCHEMA {schema}; CREATE TABLE {schema}.sessions (mine text); INSERT INTO {schema}.sessions VALUES ('x')"
        ))
        .await
        .unwrap();
    let store = common::connect(&url).await;
    store.create(&record(&user("alice"), NOW), NOW, None).await.unwrap();
    let mine: String = client.query_one(&format!("SELECT mine FROM {schema}.sessions"), &[]).await.unwrap().get(0);
    assert_eq!(mine, "x");
}

#[tokio::test]
async fn a_role_that_may_not_is_told_so() {
    let schema = common::fresh_schema();
    let role = format!("role_{schema}");
    let (client, connection) = tokio_postgres::connect(&common::url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("CREATE ROLE {role} LOGIN")).await.unwrap();
    let url = common::with_schema(&common::url(), &schema).replacen("postgres@", &format!("{role}@"), 1);
    let error = PostgresStore::connect(&url, small()).await.unwrap_err();
    assert!(matches!(error, StoreError::NotWritable { .. }), "{error:?}");
    assert!(error.to_string().contains("grant"), "{error}");
    client.batch_execute(&format!("DROP ROLE {role}")).await.unwrap();
}
