//! What the tests of this crate share.
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod load;
pub(crate) mod proxy;
pub(crate) mod services;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hallpass_core::store::{Record, Revocation, Target};
use hallpass_core::{
    Actor, Attributes, Authentication, Class, Client, EndReason, OsEntropy, Session, SessionId, State, Timestamp,
    TokenHash, UserId,
};
use hallpass_postgres::{PostgresOptions, PostgresStore};
use tokio_postgres::NoTls;

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// Where the server for tests is.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment where their server is")]
pub(crate) fn url() -> String {
    std::env::var("HALLPASS_TEST_POSTGRES").expect(
        "HALLPASS_TEST_POSTGRES names no server; run the tests with: scripts/services run --only postgres -- cargo test -p hallpass-postgres",
    )
}

/// A schema that no other store uses, in the URL of a server.
pub(crate) fn fresh_schema() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    // A run may meet the schemas that an earlier one left.
    let run = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
    format!("t{:08x}_{n}", run as u32)
}

pub(crate) fn with_schema(url: &str, schema: &str) -> String {
    // The name tells the store's connections from those of others.
    format!("{url}{}schema={schema}&application_name={schema}", if url.contains('?') { '&' } else { '?' })
}

/// A fresh schema's URL.
pub(crate) fn fresh_url() -> String {
    with_schema(&url(), &fresh_schema())
}

/// As few connections as possible, since many stores are alive at once, and patience with a machine that has other things to do.
pub(crate) fn small() -> PostgresOptions {
    let (connect_timeout, statement_timeout) = (Duration::from_secs(30), Duration::from_secs(60));
    PostgresOptions { connections: 2, connect_timeout, statement_timeout, ..PostgresOptions::default() }
}

/// How long a call of an [`impatient`] store may take.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(700);

/// For servers that a test takes away.
pub(crate) fn impatient() -> PostgresOptions {
    PostgresOptions { statement_timeout: TIMEOUT, connect_timeout: Duration::from_millis(500), ..small() }
}

pub(crate) async fn connect(url: &str) -> PostgresStore {
    PostgresStore::connect(url, small()).await.unwrap()
}

/// A store in a schema of its own, and its URL.
pub(crate) async fn store() -> (String, PostgresStore) {
    let url = fresh_url();
    let store = connect(&url).await;
    (url, store)
}

/// A plain connection beside the store, whose tables are on the search path.
pub(crate) async fn plain(url: &str) -> tokio_postgres::Client {
    let (server, query) = url.split_once('?').unwrap();
    let schema = query.split('&').find_map(|pair| pair.strip_prefix("schema=")).unwrap();
    let (client, connection) = tokio_postgres::connect(server, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("SET search_path = {schema}")).await.unwrap();
    client
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// A session that lives for 30 days from `now`.
pub(crate) fn record(user: &UserId, now: Timestamp) -> Record {
    let id = SessionId::generate(user, now, &OsEntropy).unwrap();
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(id.as_bytes());
    let session = Session {
        id,
        user: user.clone(),
        class: Class::WEB,
        created_at: now,
        authenticated_at: now,
        renewed_at: now,
        last_seen_at: now,
        idle_expires_at: now.plus(30 * DAY),
        absolute_expires_at: now.plus(90 * DAY),
        client: Client::new(
            Some("203.0.113.7".parse().unwrap()),
            Some(b"Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"),
        ),
        label: None,
        authentication: std::sync::Arc::new(Authentication {
            methods: vec![String::from("pwd")],
            source: String::from("credentials"),
        }),
        attributes: Attributes::default(),
        attributes_version: 0,
        state: State::Live,
    };
    Record { session, token_hash: TokenHash::from_bytes(hash) }
}

pub(crate) fn revocation(target: Target, now: Timestamp) -> Revocation {
    Revocation { target, now, by: Actor::operator("root"), reason: EndReason::RevokedUser }
}
