//! A server whose defaults are not the usual ones, and a pooler in front: the same results.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;

use common::services::Service;
use common::{NOW, record, small, user};
use hallpass_conformance::{CASES, SHARED_CASES};
use hallpass_core::Store;
use hallpass_postgres::{PostgresOptions, PostgresStore};
use tokio::task::JoinSet;
use tokio_postgres::NoTls;

/// A database that sorts by a language, and whose connections begin with settings that no program expects.
async fn odd_database(statement_timeout: &str) -> String {
    let url = common::url();
    let (admin, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let name = common::fresh_schema();
    admin
        .batch_execute(&format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C.UTF-8'"
        ))
        .await
        .unwrap();
    let statement_timeout = format!("statement_timeout = '{statement_timeout}'");
    for setting in [
        &statement_timeout,
        "timezone = 'Asia/Kathmandu'",
        "default_transaction_isolation = 'serializable'",
        "default_transaction_deferrable = on",
        "synchronous_commit = off",
        "lock_timeout = '1ms'",
        "idle_in_transaction_session_timeout = '20ms'",
        "standard_conforming_strings = off",
        "bytea_output = escape",
        "datestyle = 'German, DMY'",
        "intervalstyle = iso_8601",
        "search_path = nowhere",
        "extra_float_digits = -10",
        "check_function_bodies = off",
        "plan_cache_mode = force_custom_plan",
        "client_encoding = latin1",
        "row_security = off",
        "array_nulls = off",
        "transform_null_equals = on",
        "default_tablespace = ''",
        "jit_above_cost = 0",
    ] {
        admin.batch_execute(&format!("ALTER DATABASE {name} SET {setting}")).await.unwrap();
    }
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

/// Cases that run at once: most of their time they wait for the disk.
const AT_ONCE: usize = 10;

/// Every case of the suite but the storms, which take long.
async fn passes_the_suite(url: &str, options: &PostgresOptions) {
    let mut running = JoinSet::new();
    for case in CASES.iter().filter(|case| !case.name.contains("storm")) {
        let (url, options) = (common::with_schema(url, &common::fresh_schema()), options.clone());
        let run = async move { (case.run)(Arc::new(PostgresStore::connect(&url, options).await.unwrap())).await };
        spawn(&mut running, case.name, run).await;
    }
    for case in SHARED_CASES.iter().filter(|case| !case.name.contains("storm")) {
        let (url, options) = (common::with_schema(url, &common::fresh_schema()), options.clone());
        let run = async move {
            let mut handles: Vec<Arc<dyn Store>> = Vec::new();
            for _ in 0..case.handles {
                handles.push(Arc::new(PostgresStore::connect(&url, options.clone()).await.unwrap()));
            }
            (case.run)(handles).await;
        };
        spawn(&mut running, case.name, run).await;
    }
    let left = running.len();
    for _ in 0..left {
        running.join_next().await.unwrap().unwrap();
    }
}

/// Starts a case once there is room for it; a case that fails is named.
async fn spawn(running: &mut JoinSet<()>, name: &'static str, case: impl Future<Output = ()> + Send + 'static) {
    if running.len() >= AT_ONCE {
        running.join_next().await.unwrap().unwrap();
    }
    running.spawn(async move { assert!(tokio::spawn(case).await.is_ok(), "{name} fails") });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_passes_whatever_the_servers_defaults() {
    passes_the_suite(&odd_database("50ms").await, &small()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_passes_whatever_the_servers_defaults_through_a_pooler() {
    // What asks for the server's version has to come through under it.
    passes_the_suite(&odd_database("2s").await, &PostgresOptions { pooler: true, ..small() }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_passes_behind_pgbouncer_in_transaction_mode() {
    let pooler = Service::start("pgbouncer", &["--postgres", &common::url()]);
    passes_the_suite(&pooler.url, &small()).await;
}

async fn connections(store: &PostgresStore) -> String {
    let health = store.health(NOW).await.unwrap();
    health.details.into_iter().find(|(name, _)| name == "connections").unwrap().1
}

#[tokio::test]
async fn a_pooler_is_noticed_and_left_as_it_was_found() {
    let pooler = Service::start("pgbouncer", &["--postgres", &common::url()]);
    let through =
        PostgresStore::connect(&common::with_schema(&pooler.url, &common::fresh_schema()), small()).await.unwrap();
    assert!(connections(&through).await.contains("pooler"));
    let (_, direct) = common::store().await;
    assert!(connections(&direct).await.contains("direct"));
    // Another client of the pooler gets the connections that we used, with nothing set or prepared on them.
    for _ in 0..5 {
        through.create(&record(&user("alice"), NOW), NOW, None).await.unwrap();
    }
    let (client, connection) = tokio_postgres::connect(&pooler.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    for sql in [
        "SELECT 1 FROM pg_prepared_statements",
        "SELECT 1 FROM pg_settings WHERE source = 'session' AND name IN ('synchronous_commit', 'statement_timeout', \
         'lock_timeout', 'enable_bitmapscan', 'default_transaction_isolation')",
    ] {
        let rows = client.simple_query(sql).await.unwrap();
        let count = rows.iter().filter(|row| matches!(row, tokio_postgres::SimpleQueryMessage::Row(_))).count();
        assert_eq!(count, 0, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_in_another_encoding_is_refused() {
    let (admin, connection) = tokio_postgres::connect(&common::url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let name = common::fresh_schema();
    admin
        .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"))
        .await
        .unwrap();
    let (server, _) =
        common::url().rsplit_once('/').map(|(server, rest)| (server.to_owned(), rest.to_owned())).unwrap();
    let error = PostgresStore::connect(&format!("{server}/{name}"), small()).await.unwrap_err();
    assert!(error.to_string().contains("ENCODING 'UTF8'"), "{error}");
}
