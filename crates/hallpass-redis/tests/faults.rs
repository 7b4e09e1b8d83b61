//! What happens when a server dies, hangs, or refuses. Each test has a server of its own.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hallpass_conformance::builders::{DAY, T0, user};
use hallpass_core::store::{ChangeKind, Created, Renewal, Store, Sweep, Target, Write};
use hallpass_core::{Attributes, SessionId, StoreError};
use hallpass_redis::{LAYOUT_VERSION, RedisOptions, RedisStore};
use support::instance::Instance;
use support::{created, fresh_prefix, has_ended, impatient, one, options, records, revoke, soon, until, whole_log};

const SERVER: &str = "primary";

fn is_unavailable(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable { .. })
}

/// With `appendfsync always`, what was acknowledged before the server was killed is there when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_that_was_acknowledged() {
    let instance = Instance::start("redis").await;
    let prefix = fresh_prefix();
    let store = Arc::new(RedisStore::open(&instance.direct, impatient(&prefix)).await.unwrap());
    let killed = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let (store, killed) = (Arc::clone(&store), Arc::clone(&killed));
        tasks.spawn(async move {
            let records = records();
            let (mut live, mut ended): (Vec<SessionId>, Vec<(SessionId, u64)>) = (Vec::new(), Vec::new());
            for n in 0..100_000 {
                let record = records.record(&format!("user-{task}-{}", n % 3), T0);
                let Ok(Created::Created { .. }) = store.create(&record, T0, None).await else { break };
                if n % 2 == 0 {
                    live.push(record.session.id);
                    continue;
                }
                match revoke(&*store, one(record.session.id)).await {
                    Ok(outcome) => ended.push((record.session.id, outcome.position)),
                    Err(error) => assert!(is_unavailable(&error), "{error}"),
                }
            }
            assert!(killed.load(Ordering::SeqCst), "nothing fails while the server runs");
            (live, ended)
        });
    }
    // Enough has been acknowledged.
    until(Duration::from_secs(30), "300 entries", || async {
        store.changes_since(0, 0).await.ok().filter(|changes| changes.head > 300)
    })
    .await;
    killed.store(true, Ordering::SeqCst);
    instance.kill(SERVER).await;
    let acknowledged = tasks.join_all().await;
    instance.restart(SERVER).await;
    let store = RedisStore::open(&instance.direct, options(&prefix)).await.unwrap();
    let log = whole_log(&store).await;
    let mut count = 0;
    for (live, ended) in acknowledged {
        for id in live {
            assert_eq!(has_ended(&store, id).await, Some(false), "an acknowledged session is there");
        }
        for (id, position) in ended {
            count += 1;
            assert_eq!(has_ended(&store, id).await, Some(true), "an acknowledged end holds");
            let entry = &log[usize::try_from(position).unwrap() - 1];
            assert_eq!(entry.kind, ChangeKind::Ended(id), "its entry is where it was said to be");
        }
    }
    assert!(count > 200, "{count} ends were acknowledged");
}

/// A server that is away is answered with *unavailable* at once, every verb, and found again soon after its return.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_unavailable_and_found_again() {
    let instance = Instance::start("redis").await;
    let store = RedisStore::open(&instance.direct, impatient(&fresh_prefix())).await.unwrap();
    let records = records();
    let record = created(&store, &records, "alice").await;
    for round in 0..2 {
        instance.kill(SERVER).await;
        let id = record.session.id;
        let renewal = Renewal { id, token_hash: record.token_hash, now: T0, due_before: T0, idle_expires_at: T0 };
        let sweep = Sweep { expired_before: T0, ended_before: T0, log_before: T0, batch: 10, commits: 1 };
        for _ in 0..3 {
            let failures = [
                soon(store.find(id)).await.unwrap_err(),
                soon(store.create(&records.record("bob", T0), T0, None)).await.unwrap_err(),
                soon(store.renew(&renewal)).await.unwrap_err(),
                soon(revoke(&store, one(id))).await.unwrap_err(),
                soon(revoke(&store, Target::Everyone)).await.unwrap_err(),
                soon(store.sweep(&sweep)).await.unwrap_err(),
                soon(store.changes_since(0, 1)).await.unwrap_err(),
                soon(store.health(T0)).await.unwrap_err(),
            ];
            for failure in failures {
                assert!(is_unavailable(&failure), "round {round}: {failure}");
                assert!(failure.to_string().contains("127.0.0.1:"), "it says where: {failure}");
            }
        }
        instance.restart(SERVER).await;
        let found = until(Duration::from_secs(2), "found again", || async { store.find(id).await.ok() }).await;
        assert_eq!(found.as_ref(), Some(&record), "round {round}");
    }
}

/// A way that swallows everything lets no verb hang, and after it opens again all is well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_lets_no_verb_hang() {
    let instance = Instance::start("redis").await;
    let store = RedisStore::open(&instance.url, impatient(&fresh_prefix())).await.unwrap();
    let record = created(&store, &records(), "alice").await;
    let id = record.session.id;
    instance.cut(SERVER, "--black-hole").await;
    for _ in 0..3 {
        let found = soon(store.find(id)).await.unwrap_err();
        let revoked = soon(revoke(&store, one(id))).await.unwrap_err();
        assert!(is_unavailable(&found) && is_unavailable(&revoked), "{found}, {revoked}");
    }
    instance.mend(SERVER).await;
    until(Duration::from_secs(2), "found again", || async { store.find(id).await.ok() }).await;
}

/// What was done although its answer was lost is answered with *unavailable* and never done a second time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lost_its_answer_is_not_done_twice() {
    let instance = Instance::start("redis").await;
    let prefix = fresh_prefix();
    // A connection that loses an answer is not used again, and none can be made meanwhile: each verb has one of its own, and the server knows all
    // scripts.
    let mut stores = Vec::new();
    for _ in 0..3 {
        // Time enough for a second try, which would be answered after the mending.
        let single = RedisOptions {
            connections: 1,
            connect_timeout: Duration::from_secs(3),
            response_timeout: Duration::from_millis(300),
            verb_timeout: Duration::from_secs(4),
            ..options(&prefix)
        };
        stores.push(RedisStore::open(&instance.url, single).await.unwrap());
    }
    let records = records();
    let record = created(&stores[0], &records, "alice").await;
    let other = created(&stores[1], &records, "bob").await;
    let attributes = Attributes::from_json(r#"{"a":1}"#).unwrap();
    assert_eq!(stores[1].set_attributes(record.session.id, 0, &attributes, T0).await.unwrap(), Write::Done(1));
    let spare = created(&stores[2], &records, "carol").await.session.id;
    revoke(&stores[2], one(spare)).await.unwrap();
    let target = Target::Session { id: other.session.id, owner: Some(user("bob")) };
    instance.cut(SERVER, "--lose-answers").await;
    let new = records.record("alice", T0);
    let mending = async {
        tokio::time::sleep(Duration::from_millis(600)).await;
        instance.mend(SERVER).await;
    };
    let (created, changed, revoked, ()) = tokio::join!(
        stores[0].create(&new, T0, None),
        stores[1].set_attributes(record.session.id, 1, &attributes, T0),
        revoke(&stores[2], target),
        mending
    );
    for lost in [created.map(drop), changed.map(drop), revoked.map(drop)] {
        assert!(is_unavailable(&lost.unwrap_err()), "nobody knows what came of it");
    }
    let store = RedisStore::open(&instance.direct, options(&prefix)).await.unwrap();
    let log = whole_log(&store).await;
    let times = |kind: ChangeKind| log.iter().filter(|change| change.kind == kind).count();
    assert_eq!(times(ChangeKind::Changed(record.session.id)), 2, "once before and once now");
    assert_eq!(times(ChangeKind::Ended(other.session.id)), 1);
    assert_eq!(log.len(), 4, "{log:?}");
    assert_eq!(store.find(new.session.id).await.unwrap().as_ref(), Some(&new), "it had been done");
    assert_eq!(store.find(record.session.id).await.unwrap().unwrap().session.attributes_version, 2);
    assert_eq!(has_ended(&store, other.session.id).await, Some(true));
    assert_eq!(revoke(&store, Target::User(user("bob"))).await.unwrap().position, 0, "asking again is safe");
}

/// An emptied database, and a server that came back, have logs of another incarnation: caches begin anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_database_has_another_incarnation() {
    let instance = Instance::start("redis").await;
    let prefix = fresh_prefix();
    let store = RedisStore::open(&instance.direct, options(&prefix)).await.unwrap();
    let records = records();
    let record = created(&store, &records, "alice").await;
    revoke(&store, one(record.session.id)).await.unwrap();
    let before = store.changes_since(0, 10).await.unwrap();
    instance.ask(SERVER, &["FLUSHALL"]).await.unwrap();
    let emptied = store.changes_since(0, 10).await.unwrap();
    assert_ne!(emptied.incarnation, before.incarnation, "emptied");
    assert_eq!((emptied.head, emptied.oldest, emptied.entries), (0, 1, Vec::new()));
    assert_eq!(store.changes_since(0, 0).await.unwrap().incarnation, emptied.incarnation, "and stays");
    // The store goes on as on an empty database.
    let second = created(&store, &records, "alice").await;
    instance.ask(SERVER, &["FLUSHALL"]).await.unwrap();
    // Emptied again, and the first to notice is a revocation that finds nothing.
    assert_eq!(revoke(&store, Target::User(user("alice"))).await.unwrap().position, 0);
    assert_eq!(store.find(second.session.id).await.unwrap(), None);
    let again = store.changes_since(0, 0).await.unwrap();
    assert_ne!(again.incarnation, emptied.incarnation, "emptied again");
    assert_eq!(store.migrate().await.unwrap().1, LAYOUT_VERSION);
    // A server that was restarted may have lost the end of its log and use positions twice.
    let third = created(&store, &records, "alice").await;
    revoke(&store, one(third.session.id)).await.unwrap();
    let running = store.changes_since(0, 0).await.unwrap().incarnation;
    instance.restart(SERVER).await;
    let store = RedisStore::open(&instance.direct, options(&prefix)).await.unwrap();
    let fourth = created(&store, &records, "alice").await;
    revoke(&store, one(fourth.session.id)).await.unwrap();
    let restarted = store.changes_since(0, 10).await.unwrap();
    assert_ne!(restarted.incarnation, running, "restarted");
    assert_eq!(restarted.head, 2, "with its data");
}

/// When the memory is full no session begins, and every one can be ended and removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_memory_refuses_new_sessions_and_no_end() {
    let instance = Instance::start("redis").await;
    let store = RedisStore::open(&instance.direct, options(&fresh_prefix())).await.unwrap();
    let records = records();
    let mut made = Vec::new();
    for user in ["alice", "alice", "bob", "carol"] {
        made.push(created(&store, &records, user).await);
    }
    instance.ask(SERVER, &["CONFIG", "SET", "maxmemory", "100kb"]).await.unwrap();
    let refused = store.create(&records.record("dave", T0), T0, None).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotWritable { .. }), "{refused}");
    assert!(refused.to_string().contains("maxmemory"), "{refused}");
    let renewal = Renewal {
        id: made[0].session.id,
        token_hash: made[0].token_hash,
        now: T0,
        due_before: T0,
        idle_expires_at: T0.plus(DAY),
    };
    store.renew(&renewal).await.unwrap();
    assert_eq!(revoke(&store, one(made[2].session.id)).await.unwrap().ended, Some(1));
    assert_eq!(revoke(&store, Target::User(user("alice"))).await.unwrap().ended, Some(2));
    revoke(&store, Target::Everyone).await.unwrap();
    store.settle(100, T0).await.unwrap();
    let sweep = Sweep { expired_before: T0, ended_before: T0, log_before: T0, batch: 100, commits: 1 };
    assert_eq!(store.sweep(&sweep).await.unwrap().ended, 4);
    instance.ask(SERVER, &["CONFIG", "SET", "maxmemory", "0"]).await.unwrap();
    created(&store, &records, "dave").await;
}

/// A server that became a replica says so, and what it is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_is_not_writable() {
    let instance = Instance::start("redis").await;
    let store = RedisStore::open(&instance.direct, options(&fresh_prefix())).await.unwrap();
    let records = records();
    let record = created(&store, &records, "alice").await;
    instance.ask(SERVER, &["REPLICAOF", "127.0.0.1", "1"]).await.unwrap();
    let refused = store.create(&records.record("bob", T0), T0, None).await.unwrap_err();
    assert!(matches!(refused, StoreError::NotWritable { .. }) && refused.to_string().contains("replica"), "{refused}");
    instance.ask(SERVER, &["REPLICAOF", "NO", "ONE"]).await.unwrap();
    assert_eq!(revoke(&store, one(record.session.id)).await.unwrap().ended, Some(1));
}

/// Without the replicas that the options ask for, a durable write is done and not acknowledged; what need not wait does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_replicas_are_told() {
    let instance = Instance::start("redis").await;
    let prefix = fresh_prefix();
    let waiting =
        RedisOptions { replicas_to_wait_for: 1, wait_timeout: Duration::from_millis(100), ..options(&prefix) };
    let store = RedisStore::open(&instance.direct, waiting).await.unwrap();
    let record = records().record("alice", T0);
    let id = record.session.id;
    let told = |error: StoreError| {
        assert!(is_unavailable(&error) && error.to_string().contains("only 0 of 1 replicas"), "{error}");
    };
    told(store.create(&record, T0, None).await.unwrap_err());
    assert_eq!(store.find(id).await.unwrap(), Some(record.clone()), "it was written");
    let attributes = Attributes::default();
    assert_eq!(store.set_attributes(id, 0, &attributes, T0).await.unwrap(), Write::Done(1), "not waited for");
    told(revoke(&store, one(id)).await.unwrap_err());
    assert_eq!(has_ended(&store, id).await, Some(true), "it is in effect");
    told(revoke(&store, Target::Everyone).await.unwrap_err());
    assert_eq!(whole_log(&store).await.len(), 3, "and in the log");
}

/// A server that forgot the scripts is given them again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_scripts_are_sent_again() {
    let instance = Instance::start("redis").await;
    let store = RedisStore::open(&instance.direct, options(&fresh_prefix())).await.unwrap();
    let record = created(&store, &records(), "alice").await;
    instance.ask(SERVER, &["SCRIPT", "FLUSH"]).await.unwrap();
    assert_eq!(revoke(&store, one(record.session.id)).await.unwrap().position, 1);
    instance.ask(SERVER, &["SCRIPT", "FLUSH"]).await.unwrap();
    assert_eq!(whole_log(&store).await.len(), 1);
    assert_eq!(store.health(T0).await.unwrap().live, 0);
}

/// A connection that the server closed while nobody used it costs no request its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_ended_costs_no_request() {
    let instance = Instance::start("redis").await;
    let store = RedisStore::open(&instance.direct, options(&fresh_prefix())).await.unwrap();
    let records = records();
    let mut failures = 0;
    for _ in 0..10 {
        created(&store, &records, "alice").await;
        instance.ask(SERVER, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await.unwrap();
        // The end reaches this program before the next answer of the server does.
        instance.ask(SERVER, &["PING"]).await.unwrap();
        let created = store.create(&records.record("alice", T0), T0, None).await;
        failures += u32::from(created.is_err());
        // A write that met the end is unavailable; a machine that is busy may be late to notice.
        created_again(&store, &records).await;
    }
    assert!(failures < 5, "{failures} of 10 requests noticed");
}

async fn created_again(store: &RedisStore, records: &hallpass_conformance::builders::Records) {
    until(Duration::from_secs(5), "created", || async {
        store.create(&records.record("alice", T0), T0, None).await.ok()
    })
    .await;
}

/// Health names what can lose data.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_tells_what_can_be_lost() {
    let instance = Instance::start("redis").await;
    let store = RedisStore::open(&instance.direct, options(&fresh_prefix())).await.unwrap();
    let detail = |details: &[(String, String)], name: &str| {
        details.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let health = store.health(T0).await.unwrap();
    assert!(health.engine.starts_with("Redis "), "{}", health.engine);
    assert!(health.clock.is_some());
    assert_eq!(detail(&health.details, "durability"), "appendonly yes, appendfsync always");
    assert_eq!(detail(&health.details, "eviction"), "noeviction");
    assert_eq!(detail(&health.details, "replicas"), "0");
    assert_eq!(health.warnings, [] as [String; 0]);
    for (count, (setting, value, name, told)) in (1..).zip([
        ("maxmemory-policy", "allkeys-lru", "eviction", "set maxmemory-policy noeviction"),
        ("appendfsync", "everysec", "durability", "set appendfsync always"),
        ("appendonly", "no", "durability", "set appendonly yes"),
    ]) {
        instance.ask(SERVER, &["CONFIG", "SET", setting, value]).await.unwrap();
        let health = store.health(T0).await.unwrap();
        let shown = detail(&health.details, name);
        assert!(shown.ends_with(value), "{setting}: {shown}");
        assert!(health.warnings.iter().any(|warning| warning.contains(told)), "{setting}: {:?}", health.warnings);
        // The last two are of one fact.
        assert_eq!(health.warnings.len(), count.min(2));
    }
}
