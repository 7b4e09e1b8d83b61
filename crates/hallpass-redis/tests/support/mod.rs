//! What the tests of this crate share.
#![allow(dead_code, reason = "each test file uses a part")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what should not fail")]

pub(crate) mod instance;

use std::future::Future;
use std::time::Duration;

use hallpass_conformance::builders::{Records, T0};
use hallpass_core::store::{Created, Record, Revocation, RevokeOutcome, Store, Target};
use hallpass_core::{Actor, EndReason, Entropy as _, OsEntropy, SessionId, State, StoreError};
use hallpass_redis::{RedisOptions, RedisStore};

/// Redis on one server.
pub(crate) const REDIS: &str = "HALLPASS_TEST_REDIS";
/// Redis Cluster.
pub(crate) const CLUSTER: &str = "HALLPASS_TEST_REDIS_CLUSTER";
/// Valkey on one server.
pub(crate) const VALKEY: &str = "HALLPASS_TEST_VALKEY";

/// Where the test services are, if `scripts/services run` says so.
#[expect(clippy::disallowed_methods, reason = "the address of the test services")]
pub(crate) fn service(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// As [`service`], for what must be there.
pub(crate) fn needed(name: &str) -> String {
    service(name).unwrap_or_else(|| panic!("{name} is not set: run the tests by `scripts/services run -- cargo test`"))
}

/// A prefix that no other test has: an empty database.
pub(crate) fn fresh_prefix() -> String {
    let mut bytes = [0; 8];
    OsEntropy.fill(&mut bytes).unwrap();
    format!("t{:016x}:", u64::from_be_bytes(bytes))
}

/// Options under that prefix, with more patience than a service needs: the machine may be busy with other tests.
pub(crate) fn options(prefix: &str) -> RedisOptions {
    RedisOptions {
        prefix: prefix.to_owned(),
        connect_timeout: Duration::from_secs(10),
        response_timeout: Duration::from_secs(20),
        verb_timeout: Duration::from_secs(60),
        ..RedisOptions::default()
    }
}

/// A store on an empty database.
pub(crate) async fn fresh(url: &str) -> RedisStore {
    RedisStore::open(url, options(&fresh_prefix())).await.expect("the service answers")
}

/// So many stores on one empty database.
pub(crate) async fn handles(url: &str, n: usize) -> Vec<RedisStore> {
    let prefix = fresh_prefix();
    let mut handles = Vec::new();
    for _ in 0..n {
        handles.push(RedisStore::open(url, options(&prefix)).await.expect("the service answers"));
    }
    handles
}

/// The waits that an application has by default, for tests of failures.
pub(crate) fn impatient(prefix: &str) -> RedisOptions {
    RedisOptions { prefix: prefix.to_owned(), ..RedisOptions::default() }
}

/// A little longer than these options let any verb take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);

/// A verb that ends within [`PATIENCE`], whatever it answers.
pub(crate) async fn soon<T>(verb: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, verb).await.expect("no verb hangs")
}

/// Asks until it is answered, for at most so long.
pub(crate) async fn until<T, F, Fut>(limit: Duration, what: &str, mut ask: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(limit, asking).await.unwrap_or_else(|_| panic!("{what}: not within {limit:?}"))
}

/// Records that no other test makes.
pub(crate) fn records() -> Records {
    let mut bytes = [0; 8];
    OsEntropy.fill(&mut bytes).unwrap();
    Records::seeded(u64::from_be_bytes(bytes))
}

/// A live session of the user.
pub(crate) async fn created(store: &dyn Store, records: &Records, user: &str) -> Record {
    let record = records.record(user, T0);
    let created = store.create(&record, T0, None).await.unwrap();
    assert_eq!(created, Created::Created { evicted: Vec::new() });
    record
}

pub(crate) async fn revoke(store: &dyn Store, target: Target) -> Result<RevokeOutcome, StoreError> {
    store.revoke(&Revocation { target, now: T0, by: Actor::operator("tests"), reason: EndReason::Revoked }).await
}

pub(crate) fn one(id: SessionId) -> Target {
    Target::Session { id, owner: None }
}

/// Whether a session is found and has ended; `None` when it is not found.
pub(crate) async fn has_ended(store: &dyn Store, id: SessionId) -> Option<bool> {
    store.find(id).await.unwrap().map(|found| matches!(found.session.state, State::Ended(_)))
}

/// A user whose shard is this one.
pub(crate) fn user_in(shard: u8) -> String {
    let records = Records::seeded(1);
    let mut names = (0..100_000).map(|n| format!("user-{n}"));
    names.find(|name| records.record(name, T0).session.id.shard() == shard).expect("every shard has users")
}

/// The whole log, which has no gap.
pub(crate) async fn whole_log(store: &dyn Store) -> Vec<hallpass_core::store::Change> {
    let changes = store.changes_since(0, 10_000).await.unwrap();
    let positions: Vec<u64> = changes.entries.iter().map(|entry| entry.position).collect();
    assert_eq!(positions, (1..=changes.head).collect::<Vec<_>>(), "the log has no gap");
    changes.entries
}
