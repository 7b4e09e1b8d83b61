//! Which store the application under test has: the model, or with `HALLPASS_TEST_ENGINE` an empty database of its own on a server that
//! `scripts/services run` started.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hallpass_conformance::MemoryStore;
use hallpass_core::Store;
use hallpass_mysql::{MysqlOptions, MysqlStore};
use hallpass_postgres::{PostgresOptions, PostgresStore};
use hallpass_redis::{RedisOptions, RedisStore};
use hallpass_sqlite::{SqliteOptions, SqliteStore};
use mysql_async::prelude::Queryable as _;

/// The store, and what has to stay as long as it is in use.
pub(crate) async fn fresh() -> (Arc<dyn Store>, Option<tempfile::TempDir>) {
    let engine = variable("HALLPASS_TEST_ENGINE").unwrap_or_default();
    let store: Arc<dyn Store> = match engine.as_str() {
        "" | "memory" => Arc::new(MemoryStore::new()),
        "sqlite" => {
            let directory = tempfile::tempdir().unwrap();
            let store = SqliteStore::open(directory.path().join("http.db"), SqliteOptions::default()).await.unwrap();
            return (Arc::new(store), Some(directory));
        }
        "postgres" => {
            let url = server("HALLPASS_TEST_POSTGRES");
            let url = format!("{url}{}schema={}", if url.contains('?') { '&' } else { '?' }, fresh_name());
            let patience = Duration::from_secs(60);
            let options = PostgresOptions { connections: 2, statement_timeout: patience, ..PostgresOptions::default() };
            Arc::new(PostgresStore::connect(&url, options).await.unwrap())
        }
        "mariadb" => Arc::new(MysqlStore::connect(&fresh_mariadb().await, MysqlOptions::default()).await.unwrap()),
        "redis" => redis("HALLPASS_TEST_REDIS").await,
        "redis-cluster" => redis("HALLPASS_TEST_REDIS_CLUSTER").await,
        "valkey" => redis("HALLPASS_TEST_VALKEY").await,
        other => panic!("HALLPASS_TEST_ENGINE names {other}, which is no engine"),
    };
    (store, None)
}

async fn redis(service: &str) -> Arc<dyn Store> {
    let options = RedisOptions { prefix: format!("{}:", fresh_name()), ..RedisOptions::default() };
    Arc::new(RedisStore::open(&server(service), options).await.unwrap())
}

async fn fresh_mariadb() -> String {
    let (server, name) = (server("HALLPASS_TEST_MARIADB"), fresh_name());
    let mut url = url::Url::parse(&server).unwrap();
    url.set_path("");
    let mut connection = mysql_async::Conn::from_url(url.as_str()).await.unwrap();
    connection.query_drop(format!("CREATE DATABASE {name}")).await.unwrap();
    connection.disconnect().await.unwrap();
    url.set_path(&name);
    url.to_string()
}

/// A name that no other test has, in this run or an earlier one.
fn fresh_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let run = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
    format!("h{:08x}_{}", run as u32, COUNT.fetch_add(1, Ordering::Relaxed))
}

fn server(name: &str) -> String {
    variable(name).unwrap_or_else(|| {
        panic!("{name} is not set: run the tests by `scripts/services run -- cargo test -p hallpass-axum`")
    })
}

#[expect(clippy::disallowed_methods, reason = "tests are told by the environment where their server is")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
