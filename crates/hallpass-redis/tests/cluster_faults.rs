//! What happens when nodes of a Cluster die, hang, lose their data or hand slots over. Each test has a Cluster of its own.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hallpass_conformance::builders::{T0, user};
use hallpass_core::StoreError;
use hallpass_core::store::{ChangeKind, Store, Sweep, Target};
use hallpass_redis::{RedisOptions, RedisStore};
use redis::Value;
use support::instance::Instance;
use support::{
    created, fresh_prefix, has_ended, impatient, one, options, records, revoke, soon, until, user_in, whole_log,
};

/// Longer than a restarted node needs to serve again: a busy machine is slow.
const TAKE_OVER: Duration = Duration::from_secs(25);
/// What the Cluster itself may need until it has elected the replica of a dead primary. A node counts as dead after two seconds; an election
/// that got too few votes in time, for the voters had no turn on a busy machine, is held again after eight.
const ELECTION: Duration = Duration::from_secs(90);
/// What the store may need from then on: one verb that has begun before, which lasts at most its time, and one more.
const FOUND: Duration = Duration::from_secs(10);

fn is_unavailable(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable { .. })
}

/// A shard on each primary, and the primary of the log.
struct Places {
    log: String,
    shards: Vec<(String, u8)>,
}

impl Places {
    async fn of(instance: &Instance) -> Self {
        let log = Instance::primary_of(instance.slot("log").await);
        let mut shards: Vec<(String, u8)> = Vec::new();
        for shard in 0..=u8::MAX {
            let primary = Instance::primary_of(instance.slot(&format!("{shard:02x}")).await);
            if !shards.iter().any(|(known, _)| *known == primary) {
                shards.push((primary, shard));
            }
            if shards.len() == 3 {
                break;
            }
        }
        Self { log, shards }
    }

    fn elsewhere(&self) -> &(String, u8) {
        self.shards.iter().find(|(primary, _)| *primary != self.log).unwrap()
    }
}

/// A revocation whose entry could not reach the log is in effect and not acknowledged; whoever comes next brings it there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_did_not_reach_the_log_is_brought_there() {
    let instance = Instance::start("redis-cluster").await;
    let places = Places::of(&instance).await;
    let (_, shard) = places.elsewhere();
    let name = user_in(*shard);
    let prefix = fresh_prefix();
    let store = RedisStore::open(&instance.url, impatient(&prefix)).await.unwrap();
    let records = records();
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(created(&store, &records, &name).await.session.id);
    }
    let swept = Sweep { expired_before: T0, ended_before: T0, log_before: T0, batch: 1, commits: 1 };
    let expected = |kinds: &mut Vec<ChangeKind>, n: usize| kinds.push(ChangeKind::Ended(ids[n]));
    let mut kinds = Vec::new();
    for (n, next) in ["the same revocation", "a creation", "a sweep"].into_iter().enumerate() {
        instance.cut(&places.log, "--refuse").await;
        let unlogged = soon(revoke(&store, one(ids[n]))).await.unwrap_err();
        assert!(is_unavailable(&unlogged) && unlogged.to_string().contains("in effect"), "{unlogged}");
        assert_eq!(has_ended(&store, ids[n]).await, Some(true), "in effect");
        let again = soon(revoke(&store, one(ids[n]))).await.unwrap_err();
        assert!(is_unavailable(&again), "that it has ended is not acknowledged before the log can tell it: {again}");
        instance.mend(&places.log).await;
        // Another program, which knows nothing of it.
        let store = RedisStore::open(&instance.url, options(&prefix)).await.unwrap();
        assert_eq!(whole_log(&store).await.len(), kinds.len(), "the log knows nothing yet");
        match next {
            "the same revocation" => assert_eq!(revoke(&store, one(ids[n])).await.unwrap().position, 0, "it had ended"),
            "a creation" => drop(created(&store, &records, &name).await),
            _ => drop(
                store
                    .sweep(&Sweep {
                        ended_before: hallpass_core::Timestamp::EPOCH,
                        log_before: hallpass_core::Timestamp::EPOCH,
                        ..swept
                    })
                    .await
                    .unwrap(),
            ),
        }
        expected(&mut kinds, n);
        let log: Vec<ChangeKind> = whole_log(&store).await.into_iter().map(|change| change.kind).collect();
        assert_eq!(log, kinds, "after {next}");
    }
    // Nothing is brought twice.
    let store = RedisStore::open(&instance.url, options(&prefix)).await.unwrap();
    assert_eq!(revoke(&store, Target::User(user(&name))).await.unwrap().position, 4);
    assert_eq!(whole_log(&store).await.len(), 4);
}

/// A revocation of everyone that was interrupted is completed by the next program that relies on it, and told once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_of_everyone_that_was_interrupted_is_completed() {
    let instance = Instance::start("redis-cluster").await;
    let places = Places::of(&instance).await;
    let (away, _) = places.elsewhere();
    for next in ["a revocation of a user", "a sweep", "a revocation of everyone"] {
        let prefix = fresh_prefix();
        let store = RedisStore::open(&instance.url, impatient(&prefix)).await.unwrap();
        let records = records();
        let mut made = Vec::new();
        for (primary, shard) in &places.shards {
            made.push((primary, *shard, created(&store, &records, &user_in(*shard)).await.session.id));
        }
        instance.cut(away, "--refuse").await;
        let interrupted = soon(revoke(&store, Target::Everyone)).await.unwrap_err();
        assert!(is_unavailable(&interrupted), "{interrupted}");
        for (primary, _, id) in &made {
            if *primary != away {
                assert_eq!(has_ended(&store, *id).await, Some(true), "ended where it could be");
            }
        }
        instance.mend(away).await;
        let store = RedisStore::open(&instance.url, options(&prefix)).await.unwrap();
        let (_, shard, _) = made.iter().find(|(primary, ..)| *primary != away).unwrap();
        let mut entries = 1;
        match next {
            "a revocation of a user" => {
                let outcome = revoke(&store, Target::User(user(&user_in(*shard)))).await.unwrap();
                assert_eq!((outcome.ended, outcome.position), (Some(0), 0), "they had ended");
            }
            "a sweep" => {
                let epoch = hallpass_core::Timestamp::EPOCH;
                let sweep =
                    Sweep { expired_before: epoch, ended_before: epoch, log_before: epoch, batch: 1, commits: 1 };
                store.sweep(&sweep).await.unwrap();
            }
            _ => {
                entries = 2;
                assert_eq!(revoke(&store, Target::Everyone).await.unwrap().position, 2);
            }
        }
        let log = whole_log(&store).await;
        assert_eq!(log.iter().filter(|change| change.kind == ChangeKind::Everyone).count(), entries, "after {next}");
        assert_eq!(log.len(), entries, "after {next}");
        for (_, _, id) in &made {
            assert_eq!(has_ended(&store, *id).await, Some(true), "after {next}, everybody's");
        }
        // What began after it lives.
        let newer = created(&store, &records, &user_in(*shard)).await.session.id;
        store.settle(100, T0).await.unwrap();
        revoke(&store, Target::User(user("nobody"))).await.unwrap();
        assert_eq!(has_ended(&store, newer).await, Some(false), "after {next}");
    }
}

/// A log that handed out a number and lost it does not let the next revocation of everyone pass without effect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_was_lost_does_not_hide_a_revocation_of_everyone() {
    let instance = Instance::start("redis-cluster").await;
    let places = Places::of(&instance).await;
    let prefix = fresh_prefix();
    let store = RedisStore::open(&instance.direct, options(&prefix)).await.unwrap();
    let records = records();
    for _ in 0..3 {
        revoke(&store, Target::Everyone).await.unwrap();
    }
    let ticket = format!("{prefix}{{hp:log}}:ticket");
    instance.ask(&places.log, &["SET", &ticket, "1"]).await.unwrap();
    let id = created(&store, &records, "alice").await.session.id;
    assert_eq!(revoke(&store, Target::Everyone).await.unwrap().position, 4);
    assert_eq!(has_ended(&store, id).await, Some(true));
    instance.ask(&places.log, &["DEL", &ticket]).await.unwrap();
    let id = created(&store, &records, "alice").await.session.id;
    // Another program does not remember either.
    let store = RedisStore::open(&instance.direct, options(&prefix)).await.unwrap();
    assert_eq!(revoke(&store, Target::Everyone).await.unwrap().position, 5);
    assert_eq!(has_ended(&store, id).await, Some(true));
    assert_eq!(whole_log(&store).await.len(), 5);
}

/// A long outbox, and a note of a revocation of everyone that is complete, are what a program leaves that dies late. Both are cleared away, in
/// the program that remembers it as complete as well as in another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_left_behind_is_cleared_away() {
    let instance = Instance::start("redis-cluster").await;
    let places = Places::of(&instance).await;
    let (primary, shard) = places.elsewhere();
    let name = user_in(*shard);
    let prefix = fresh_prefix();
    let store = RedisStore::open(&instance.direct, options(&prefix)).await.unwrap();
    let records = records();
    revoke(&store, Target::Everyone).await.unwrap();
    let tag = format!("{prefix}{{hp:{shard:02x}}}:");
    let read: Vec<u8> =
        redis::from_redis_value(instance.ask(primary, &["GET", &format!("{tag}ev")]).await.unwrap()).unwrap();
    let mut noted = read;
    noted.extend_from_slice(&T0.as_millis().to_be_bytes());
    for text in ["operator", "tests", "revoked"] {
        noted.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
        noted.extend_from_slice(text.as_bytes());
    }
    let mut position = 1;
    for another in [false, true] {
        let other = RedisStore::open(&instance.direct, options(&prefix)).await.unwrap();
        let store = if another { &other } else { &store };
        created(store, &records, &name).await;
        let set = [b"SET", format!("{tag}eo").as_bytes(), noted.as_slice()].map(<[u8]>::to_vec);
        instance.ask_bytes(primary, &set).await;
        let mut push = vec![b"RPUSH".to_vec(), format!("{tag}o").into_bytes()];
        for n in 0..600_u16 {
            // A name, a number, a kind, a time, and a session.
            let mut entry = vec![u8::from(another); 14];
            entry.extend_from_slice(&n.to_be_bytes());
            entry.extend_from_slice(&1_u16.to_be_bytes());
            entry.push(b'e');
            entry.extend_from_slice(&T0.as_millis().to_be_bytes());
            entry.extend_from_slice(&[*shard; 16]);
            push.push(entry);
        }
        instance.ask_bytes(primary, &push).await;
        let outcome = revoke(store, Target::User(user(&name))).await.unwrap();
        position += 601;
        assert_eq!((outcome.ended, outcome.position), (Some(1), position), "another program: {another}");
        let left = instance.ask(primary, &["EXISTS", &format!("{tag}o"), &format!("{tag}eo")]).await.unwrap();
        assert_eq!(left, Value::Int(0), "another program: {another}");
    }
    let log = whole_log(&store).await;
    assert_eq!(log.iter().filter(|change| change.kind == ChangeKind::Everyone).count(), 1, "told once");
}

/// One primary is killed, or hangs: requests for other shards never fail, those for its shards are unavailable and none hangs, and its replica
/// takes over with what was acknowledged by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_over_and_other_shards_notice_nothing() {
    for how in ["kill", "freeze"] {
        let instance = Instance::start("redis-cluster").await;
        let places = Places::of(&instance).await;
        let (away, shard) = places.elsewhere().clone();
        let replica = away.replace("primary", "replica");
        // Elections are held until one succeeds, however long the primary has been away by then.
        instance.ask(&replica, &["CONFIG", "SET", "cluster-replica-validity-factor", "0"]).await.unwrap();
        let prefix = fresh_prefix();
        let replicated = RedisOptions { replicas_to_wait_for: 1, ..options(&prefix) };
        let store = RedisStore::open(&instance.direct, replicated).await.unwrap();
        let records = records();
        let mut before = Vec::new();
        for (primary, shard) in &places.shards {
            before.push((primary.clone(), created(&store, &records, &user_in(*shard)).await));
        }
        let ended = created(&store, &records, &user_in(shard)).await.session.id;
        revoke(&store, one(ended)).await.unwrap();

        let store = Arc::new(RedisStore::open(&instance.direct, impatient(&prefix)).await.unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let mut others = tokio::task::JoinSet::new();
        for (primary, shard) in places.shards.iter().filter(|(primary, _)| *primary != away) {
            let (store, stop, primary, name) =
                (Arc::clone(&store), Arc::clone(&stop), primary.clone(), user_in(*shard));
            others.spawn(async move {
                let records = support::records();
                let mut rounds = 0;
                while !stop.load(Ordering::SeqCst) {
                    let record = records.record(&name, T0);
                    store.create(&record, T0, None).await.unwrap_or_else(|error| panic!("{primary}: {error}"));
                    store.find(record.session.id).await.unwrap_or_else(|error| panic!("{primary}: {error}"));
                    revoke(&*store, one(record.session.id)).await.unwrap_or_else(|error| panic!("{primary}: {error}"));
                    rounds += 1;
                    // The voters need their turns, too.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                rounds
            });
        }
        if how == "kill" {
            instance.kill(&away).await;
        } else {
            instance.freeze(&away).await;
        }
        let kept = &before.iter().find(|(primary, _)| *primary == away).unwrap().1;
        let find = async || {
            let answer = soon(store.find(kept.session.id)).await;
            answer.map_err(|error| assert!(is_unavailable(&error), "{how}: {error}")).ok()
        };
        until(ELECTION, "elected", async || {
            find().await;
            instance.is_primary(&replica).await.then_some(())
        })
        .await;
        let found = until(FOUND, "taken over", find).await;
        assert_eq!(found.as_ref(), Some(kept), "{how}: what was replicated is there");
        assert_eq!(has_ended(&*store, ended).await, Some(true), "{how}: and so is the end");
        // Writes too; the first ones may still meet the old map.
        let name = user_in(shard);
        until(FOUND, "writable", || async {
            let record = records.record(&name, T0);
            soon(store.create(&record, T0, None)).await.ok()
        })
        .await;
        stop.store(true, Ordering::SeqCst);
        let rounds = others.join_all().await;
        assert!(rounds.iter().all(|rounds| *rounds > 20), "{how}: the others went on: {rounds:?}");
        if how == "freeze" {
            // It wakes as a replica, and nobody believes it.
            instance.thaw(&away).await;
            assert_eq!(soon(store.find(kept.session.id)).await.unwrap().as_ref(), Some(kept));
        }
        let log = whole_log(&*store).await;
        assert!(log.len() > 20, "{how}");
    }
}

/// A primary that came back without its data is noticed by the next revocation there: the log gets another incarnation, for caches may
/// hold sessions that no revocation finds any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_without_its_data_is_noticed() {
    let instance = Instance::start("redis-cluster").await;
    let places = Places::of(&instance).await;
    let (away, shard) = places.elsewhere();
    let store = RedisStore::open(&instance.direct, options(&fresh_prefix())).await.unwrap();
    let records = records();
    let name = user_in(*shard);
    let lost = created(&store, &records, &name).await.session.id;
    let before = store.changes_since(0, 0).await.unwrap().incarnation;
    instance.ask(away, &["FLUSHALL"]).await.unwrap();
    assert_eq!(store.find(lost).await.unwrap(), None);
    assert_eq!(revoke(&store, Target::User(user(&name))).await.unwrap().position, 0, "there is nothing to end");
    let after = store.changes_since(0, 0).await.unwrap().incarnation;
    assert_ne!(after, before);
    let again = created(&store, &records, &name).await.session.id;
    assert_eq!(revoke(&store, Target::Everyone).await.unwrap().position, 1);
    assert_eq!(has_ended(&store, again).await, Some(true), "and goes on");
    // And one whose data may be older than what it acknowledged: another server in its place.
    let again = created(&store, &records, &name).await.session.id;
    let before = store.changes_since(0, 0).await.unwrap().incarnation;
    instance.restart(away).await;
    until(TAKE_OVER, "revocable", || async { revoke(&store, one(again)).await.ok() }).await;
    assert_ne!(store.changes_since(0, 0).await.unwrap().incarnation, before, "restarted");
    // Also when that revocation finds nothing to end: it may have been lost.
    let before = store.changes_since(0, 0).await.unwrap().incarnation;
    instance.restart(away).await;
    let nothing =
        until(TAKE_OVER, "revocable", || async { revoke(&store, Target::User(user(&name))).await.ok() }).await;
    assert_eq!(nothing.position, 0);
    assert_ne!(store.changes_since(0, 0).await.unwrap().incarnation, before, "restarted again");
}

/// A shard moves from one primary to another, key by key, while it is in use: checks go on, writes are done or *unavailable*, and nothing is
/// lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_stops_no_check() {
    let instance = Instance::start("redis-cluster").await;
    let places = Places::of(&instance).await;
    let (from, shard) = places.elsewhere().clone();
    let to = places.shards.iter().find(|(primary, _)| *primary != from).unwrap().0.clone();
    let slot = instance.slot(&format!("{shard:02x}")).await.to_string();
    let prefix = fresh_prefix();
    let store = RedisStore::open(&instance.direct, impatient(&prefix)).await.unwrap();
    let records = records();
    let name = user_in(shard);
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(created(&store, &records, &name).await);
    }
    let ended = made.pop().unwrap().session.id;
    revoke(&store, one(ended)).await.unwrap();
    let text = |value: Value| -> String { redis::from_redis_value(value).unwrap() };
    let (from_id, to_id) = (
        text(instance.ask(&from, &["CLUSTER", "MYID"]).await.unwrap()),
        text(instance.ask(&to, &["CLUSTER", "MYID"]).await.unwrap()),
    );
    let port = instance.members.iter().find(|(name, _)| *name == to).unwrap().1.to_string();
    instance.ask(&to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await.unwrap();
    instance.ask(&from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await.unwrap();
    let (mut right, mut none) = (0, 0);
    loop {
        for record in &made {
            let found = soon(store.find(record.session.id)).await.unwrap();
            assert_eq!(found.as_ref(), Some(record), "checks go on");
        }
        assert_eq!(has_ended(&store, ended).await, Some(true), "checks go on");
        match soon(store.create(&records.record(&name, T0), T0, None)).await {
            Ok(_) => right += 1,
            Err(error) => {
                assert!(is_unavailable(&error), "{error}");
                none += 1;
            }
        }
        let keys: Vec<Vec<u8>> =
            redis::from_redis_value(instance.ask(&from, &["CLUSTER", "GETKEYSINSLOT", &slot, "6"]).await.unwrap())
                .unwrap();
        if keys.is_empty() {
            break;
        }
        for key in keys {
            let key = String::from_utf8(key).unwrap();
            instance.ask(&from, &["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"]).await.unwrap();
        }
    }
    for node in [&to, &from] {
        instance.ask(node, &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await.unwrap();
    }
    for record in &made {
        assert_eq!(soon(store.find(record.session.id)).await.unwrap().as_ref(), Some(record), "after the move");
    }
    created(&store, &records, &name).await;
    let outcome = revoke(&store, Target::User(user(&name))).await.unwrap();
    assert!(outcome.ended >= Some(5), "{outcome:?}");
    assert_eq!(whole_log(&store).await.len(), 2);
    assert!(none > 0, "the slot was seen on its way: {right} creations, {none} refused");
}
