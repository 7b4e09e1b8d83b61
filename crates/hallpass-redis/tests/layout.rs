//! What lies in the database: its version, its expiry, and what is found when somebody else wrote there.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod support;

use std::time::Duration;

use hallpass_conformance::builders::{DAY, HOUR, T0, user};
use hallpass_core::store::{Filter, LastSeen, Limit, Page, Renewal, Rotation, Store, Sweep, Target};
use hallpass_core::{Attributes, Label, StoreError, Timestamp};
use hallpass_redis::{LAYOUT_VERSION, RedisOptions, RedisStore};
use redis::Value;
use redis::aio::MultiplexedConnection;
use support::instance::Instance;
use support::{REDIS, created, fresh_prefix, needed, one, options, records, revoke};

async fn connection() -> MultiplexedConnection {
    redis::Client::open(needed(REDIS)).unwrap().get_multiplexed_async_connection().await.unwrap()
}

async fn ask(words: &[&str]) -> Value {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(&mut connection().await).await.unwrap()
}

async fn keys_of(prefix: &str) -> Vec<String> {
    let mut keys: Vec<String> = redis::from_redis_value(ask(&["KEYS", &format!("{prefix}*")]).await).unwrap();
    keys.sort_unstable();
    keys
}

/// A newer layout is refused by name, and one that is no number is somebody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_layouts_are_refused() {
    let prefix = fresh_prefix();
    let store = RedisStore::open(&needed(REDIS), options(&prefix)).await.unwrap();
    assert_eq!(store.migrated_at_open(), (0, LAYOUT_VERSION));
    let again = RedisStore::open(&needed(REDIS), options(&prefix)).await.unwrap();
    assert_eq!(again.migrated_at_open(), (LAYOUT_VERSION, LAYOUT_VERSION));
    let layout = format!("{prefix}{{hp:log}}:layout");
    ask(&["SET", &layout, &(LAYOUT_VERSION + 1).to_string()]).await;
    for refused in [RedisStore::open(&needed(REDIS), options(&prefix)).await.map(drop), store.migrate().await.map(drop)]
    {
        let refused = refused.unwrap_err();
        assert!(matches!(refused, StoreError::TooNew { found, known } if found == known + 1), "{refused}");
    }
    for (kind, value) in [("SET", "hello"), ("SET", "0"), ("SET", "")] {
        ask(&[kind, &layout, value]).await;
        if !value.is_empty() {
            let refused = store.migrate().await.unwrap_err();
            assert!(
                matches!(refused, StoreError::Corrupt { .. }) && refused.to_string().contains("prefix"),
                "{refused}"
            );
        }
    }
    ask(&["DEL", &layout]).await;
    ask(&["RPUSH", &layout, "x"]).await;
    let refused = store.migrate().await.unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused}");
}

/// A database of the first layout gets the registry of nodes and keeps what it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_layout_is_raised() {
    let prefix = fresh_prefix();
    let store = RedisStore::open(&needed(REDIS), options(&prefix)).await.unwrap();
    let record = created(&store, &records(), "alice").await;
    let before = store.changes_since(0, 10).await.unwrap();
    let layout = format!("{prefix}{{hp:log}}:layout");
    ask(&["SET", &layout, "1"]).await;
    let opened = RedisStore::open(&needed(REDIS), options(&prefix)).await.unwrap();
    assert_eq!(opened.migrated_at_open(), (1, LAYOUT_VERSION));
    assert_eq!(opened.find(record.session.id).await.unwrap(), Some(record));
    assert_eq!(opened.changes_since(0, 10).await.unwrap(), before);
    assert_eq!(opened.nodes().await.unwrap(), []);
    assert_eq!(store.migrate().await.unwrap(), (LAYOUT_VERSION, LAYOUT_VERSION));
}

/// A prefix with braces would tear a user's keys apart in a Cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_with_braces_is_refused() {
    for prefix in ["{a}", "a{", "a}"] {
        let refused = RedisStore::open(&needed(REDIS), options(prefix)).await.unwrap_err();
        assert!(refused.to_string().contains("braces"), "{refused}");
    }
}

/// What is no session, or a damaged one, is told as that, and never as none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_session_is_no_missing_one() {
    let prefix = fresh_prefix();
    let store = RedisStore::open(&needed(REDIS), options(&prefix)).await.unwrap();
    let record = created(&store, &records(), "alice").await;
    let id = record.session.id;
    let key = format!("{prefix}{{hp:{:02x}}}:s:{id}", id.shard());
    let whole: Vec<u8> = redis::from_redis_value(ask(&["GET", &key]).await).unwrap();
    let renewal = Renewal { id, token_hash: record.token_hash, now: T0, due_before: T0, idle_expires_at: T0.plus(DAY) };
    let filter = Filter { user: Some(user("alice")), ..Filter::default() };
    for damaged in [&b""[..], b"\x02", &whole[..40], &whole[..whole.len() - 1], b"{\"user\":\"alice\"}"] {
        redis::cmd("SET").arg(&key).arg(damaged).exec_async(&mut connection().await).await.unwrap();
        for refused in [
            store.find(id).await.map(drop),
            store.renew(&renewal).await.map(drop),
            store.list(&filter, Page::first(10), T0).await.map(drop),
            revoke(&store, Target::Session { id, owner: Some(user("alice")) }).await.map(drop),
        ] {
            let refused = refused.unwrap_err();
            assert!(matches!(refused, StoreError::Corrupt { .. }), "{damaged:?}: {refused:?}");
            assert!(!refused.to_string().contains("alice\""), "nothing of it is repeated: {refused}");
        }
    }
    redis::cmd("SET").arg(&key).arg(&whole).exec_async(&mut connection().await).await.unwrap();
    assert_eq!(store.find(id).await.unwrap(), Some(record));
}

/// The server's own expiry comes an hour after the deadline, which is far from the server's clock in this test; what has no deadline has no
/// expiry, and an ended session is kept for its retention.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_expiry_is_relative_and_late() {
    let prefix = fresh_prefix();
    let set = RedisOptions {
        expiry_grace: Duration::from_secs(7_200),
        ended_retention: Duration::from_secs(100_000),
        ..options(&prefix)
    };
    let store = RedisStore::open(&needed(REDIS), set).await.unwrap();
    let records = records();
    let record = created(&store, &records, "alice").await;
    let id = record.session.id;
    let tag = format!("{prefix}{{hp:{:02x}}}:", id.shard());
    let left = async |id| -> i64 { redis::from_redis_value(ask(&["TTL", &format!("{tag}s:{id}")]).await).unwrap() };
    let near = |seconds: i64, expected: u64| (i64::try_from(expected).unwrap() - seconds).abs() < 100;
    let day = 86_400;
    assert!(near(left(id).await, 30 * day + 7_200), "the idle deadline");
    let renewal = Renewal {
        id,
        token_hash: record.token_hash,
        now: T0.plus(DAY),
        due_before: T0,
        idle_expires_at: T0.plus(3 * DAY),
    };
    store.renew(&renewal).await.unwrap();
    assert!(near(left(id).await, 2 * day + 7_200), "as long as the renewal says");
    store.set_label(id, &user("alice"), Label::new("Kitchen").unwrap().as_ref(), T0).await.unwrap();
    store.touch(&[LastSeen { id, at: T0.plus(HOUR) }], T0).await.unwrap();
    store.set_attributes(id, 0, &Attributes::default(), T0).await.unwrap();
    assert!(near(left(id).await, 2 * day + 7_200), "other writes keep it");
    let late =
        Renewal { idle_expires_at: T0.plus(1_000 * DAY), now: T0.plus(2 * DAY), due_before: T0.plus(DAY), ..renewal };
    store.renew(&late).await.unwrap();
    assert!(near(left(id).await, 88 * day + 7_200), "at most as long as the absolute deadline");
    revoke(&store, one(id)).await.unwrap();
    assert!(near(left(id).await, 100_000), "the retention");
    let mut endless = records.record("alice", T0);
    endless.session.idle_expires_at = Timestamp::NEVER;
    endless.session.absolute_expires_at = Timestamp::NEVER;
    store.create(&endless, T0, None).await.unwrap();
    assert_eq!(left(endless.session.id).await, -1, "no deadline, no expiry");
    let mut past = records.record("alice", T0.minus(DAY));
    past.session.idle_expires_at = T0.minus(HOUR);
    store.create(&past, T0, None).await.unwrap();
    assert!(near(left(past.session.id).await, 7_200), "never at once");
}

/// A session that the server removed by itself is found nowhere, ends nowhere, and leaves the indexes with a sweep or a creation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expired_natively_leaves_the_indexes() {
    let prefix = fresh_prefix();
    let store = RedisStore::open(&needed(REDIS), options(&prefix)).await.unwrap();
    let mut empty = keys_of(&prefix).await;
    empty.push(format!("{prefix}{{hp:log}}:used"));
    empty.sort_unstable();
    let records = records();
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(created(&store, &records, "alice").await.session.id);
    }
    let tag = format!("{prefix}{{hp:{:02x}}}:", ids[0].shard());
    let expire = async |id| {
        ask(&["DEL", &format!("{tag}s:{id}")]).await;
    };
    for id in &ids[..3] {
        expire(*id).await;
    }
    let filter = Filter { user: Some(user("alice")), ..Filter::default() };
    let listed = store.list(&filter, Page::first(10), T0).await.unwrap();
    assert_eq!(listed.sessions.iter().map(|session| session.id).collect::<Vec<_>>(), [ids[3]]);
    assert_eq!(store.count(&filter, T0).await.unwrap(), 1);
    assert_eq!(revoke(&store, one(ids[0])).await.unwrap().position, 0);
    // A creation that counts tidies up.
    let limit = Limit { max: 2, refuse: true, renewed_after: Timestamp::EPOCH, authenticated_after: Timestamp::EPOCH };
    let new = records.record("alice", T0);
    store.create(&new, T0, Some(limit)).await.unwrap();
    let card: u64 = redis::from_redis_value(ask(&["ZCARD", &format!("{tag}u:alice")]).await).unwrap();
    assert_eq!(card, 2, "what no row stands behind is gone");
    // So does a sweep, of everything.
    expire(new.session.id).await;
    let sweep = Sweep {
        expired_before: Timestamp::NEVER,
        ended_before: Timestamp::EPOCH,
        log_before: Timestamp::EPOCH,
        batch: 10,
        commits: 1,
    };
    assert_eq!(store.sweep(&sweep).await.unwrap().expired, 2);
    assert_eq!(keys_of(&prefix).await, empty, "no index and no mark is left behind");
}

/// What was revoked and has expired since is history to keep, however small the steps are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_settles_before_it_removes() {
    let store = RedisStore::open(&needed(REDIS), options(&fresh_prefix())).await.unwrap();
    let records = records();
    for _ in 0..4 {
        let mut record = records.record("alice", T0);
        record.session.idle_expires_at = T0.plus(HOUR);
        store.create(&record, T0, None).await.unwrap();
    }
    revoke(&store, Target::User(user("alice"))).await.unwrap();
    let sweep = Sweep {
        expired_before: T0.plus(DAY),
        ended_before: Timestamp::EPOCH,
        log_before: Timestamp::EPOCH,
        batch: 1,
        commits: 1,
    };
    for step in 0..10 {
        assert_eq!(store.sweep(&sweep).await.unwrap().expired, 0, "step {step}");
    }
    let everything = Filter { include_ended: true, ..Filter::default() };
    assert_eq!(store.list(&everything, Page::first(10), T0).await.unwrap().sessions.len(), 4);
}

/// When everything has ended and was swept, nothing but the layout is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_leaves_nothing_behind() {
    let prefix = fresh_prefix();
    let store = RedisStore::open(&needed(REDIS), options(&prefix)).await.unwrap();
    let mut empty = keys_of(&prefix).await;
    let records = records();
    for name in ["alice", "alice", "bob", "carol"] {
        created(&store, &records, name).await;
    }
    let id = created(&store, &records, "dave").await.session.id;
    revoke(&store, one(id)).await.unwrap();
    revoke(&store, Target::User(user("alice"))).await.unwrap();
    revoke(&store, Target::Everyone).await.unwrap();
    while store.settle(2, T0).await.unwrap().more {}
    let sweep = Sweep { expired_before: T0, ended_before: T0, log_before: T0, batch: 3, commits: 1 };
    while store.sweep(&sweep).await.unwrap().more {}
    // A stream keeps its last number, and it is remembered which shards were in use.
    empty.extend(["log", "used"].map(|name| format!("{prefix}{{hp:log}}:{name}")));
    empty.sort_unstable();
    assert_eq!(keys_of(&prefix).await, empty);
}

/// No verb looks through the keys of the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_verb_scans() {
    let instance = Instance::start("redis").await;
    let store = RedisStore::open(&instance.direct, options(&fresh_prefix())).await.unwrap();
    let records = records();
    let limit = Limit { max: 3, refuse: false, renewed_after: Timestamp::EPOCH, authenticated_after: Timestamp::EPOCH };
    for _ in 0..5 {
        store.create(&records.record("alice", T0), T0, Some(limit)).await.unwrap();
    }
    let record = created(&store, &records, "bob").await;
    let id = record.session.id;
    let renewal = Renewal { id, token_hash: record.token_hash, now: T0, due_before: T0, idle_expires_at: T0.plus(DAY) };
    store.renew(&renewal).await.unwrap();
    let rotation =
        Rotation { id, old_hash: record.token_hash, new_hash: records.hash(), now: T0, reauthentication: None };
    store.rotate(&rotation).await.unwrap();
    store.set_label(id, &user("bob"), None, T0).await.unwrap();
    store.set_attributes(id, 0, &Attributes::default(), T0).await.unwrap();
    store.touch(&[LastSeen { id, at: T0.plus(HOUR) }], T0).await.unwrap();
    revoke(&store, Target::User(user("alice"))).await.unwrap();
    store.find(id).await.unwrap();
    for filter in [Filter::default(), Filter { user: Some(user("bob")), include_ended: true, ..Filter::default() }] {
        store.list(&filter, Page::first(10), T0).await.unwrap();
        store.count(&filter, T0).await.unwrap();
    }
    revoke(&store, Target::Others { user: user("bob"), keep: id }).await.unwrap();
    revoke(&store, one(id)).await.unwrap();
    revoke(&store, Target::Everyone).await.unwrap();
    store.settle(10, T0).await.unwrap();
    let sweep = Sweep { expired_before: T0, ended_before: T0, log_before: T0, batch: 10, commits: 1 };
    store.sweepable(&sweep).await.unwrap();
    store.sweep(&sweep).await.unwrap();
    store.changes_since(0, 10).await.unwrap();
    store.migrate().await.unwrap();
    store.health(T0).await.unwrap();
    let stats = instance.ask("primary", &["INFO", "commandstats"]).await.unwrap();
    let stats: String = redis::from_redis_value(stats).unwrap();
    assert!(stats.contains("cmdstat_evalsha:"), "{stats}");
    for command in ["keys", "scan", "hscan", "zscan", "sscan", "smembers", "hgetall", "sort", "dbsize", "flushall"] {
        assert!(!stats.contains(&format!("cmdstat_{command}:")), "{command} was used");
    }
}
