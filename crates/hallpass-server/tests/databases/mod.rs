//! A database of its own for each test, on the servers that `scripts/services run` starts.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed helper fails its test")]

pub(crate) mod engine;
pub(crate) mod instance;

use std::sync::atomic::{AtomicU64, Ordering};

use mysql_async::prelude::Queryable as _;

pub(crate) const POSTGRES: &str = "HALLPASS_TEST_POSTGRES";
pub(crate) const MARIADB: &str = "HALLPASS_TEST_MARIADB";
pub(crate) const REDIS: &str = "HALLPASS_TEST_REDIS";
pub(crate) const REDIS_CLUSTER: &str = "HALLPASS_TEST_REDIS_CLUSTER";
pub(crate) const VALKEY: &str = "HALLPASS_TEST_VALKEY";

/// Where the server is that this variable names.
pub(crate) fn service(name: &str) -> String {
    optional_service(name).unwrap_or_else(|| {
        panic!("{name} is not set: run the tests by `scripts/services run -- cargo test -p hallpass-server`")
    })
}

/// As [`service`], for one that cannot be had everywhere.
#[expect(clippy::disallowed_methods, reason = "the address of the test services")]
pub(crate) fn optional_service(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A name that no other test has, in this run or an earlier one.
pub(crate) fn fresh_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let run = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
    format!("t{:08x}_{}", run as u32, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The URL with one more parameter.
pub(crate) fn with_parameter(url: &str, parameter: &str) -> String {
    format!("{url}{}{parameter}", if url.contains('?') { '&' } else { '?' })
}

/// An empty schema of the PostgreSQL server, which does not exist yet.
pub(crate) fn fresh_postgres() -> String {
    with_parameter(&service(POSTGRES), &format!("schema={}", fresh_name()))
}

/// A new database of the MariaDB server.
pub(crate) async fn fresh_mariadb() -> String {
    let server = service(MARIADB);
    let name = fresh_name();
    let mut connection = mysql_async::Conn::from_url(with_database(&server, "")).await.unwrap();
    connection.query_drop(format!("CREATE DATABASE {name}")).await.unwrap();
    connection.disconnect().await.unwrap();
    with_database(&server, &name)
}

/// A server's URL with this database.
pub(crate) fn with_database(url: &str, database: &str) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.set_path(database);
    url.to_string()
}

/// A prefix of the keys that is not in use, on that Redis.
pub(crate) fn fresh_redis(service_name: &str) -> String {
    with_parameter(&service(service_name), &format!("prefix={}:", fresh_name()))
}

/// A plain connection to PostgreSQL, whose tables are on the search path.
pub(crate) async fn beside_postgres(url: &str) -> tokio_postgres::Client {
    let (server, schema) = url.split_once("?schema=").or_else(|| url.split_once("&schema=")).unwrap();
    let (client, connection) = tokio_postgres::connect(server, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("SET search_path = {schema}")).await.unwrap();
    client
}

/// A plain connection to MariaDB.
pub(crate) async fn beside_mariadb(url: &str) -> mysql_async::Conn {
    mysql_async::Conn::from_url(url).await.unwrap()
}
