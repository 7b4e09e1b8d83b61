//! Every shard takes part: users of all 256 of them, on one server and in a Cluster.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod support;

use std::collections::BTreeMap;

use hallpass_conformance::builders::{HOUR, T0};
use hallpass_core::SessionId;
use hallpass_core::store::{Filter, LastSeen, Page, Store, Sweep, Target};
use hallpass_redis::RedisStore;
use support::{CLUSTER, REDIS, created, fresh, fresh_prefix, has_ended, needed, one, options, records, revoke};

/// A session in each shard.
async fn one_in_each(store: &dyn Store) -> Vec<SessionId> {
    let records = records();
    let mut by_shard = BTreeMap::new();
    for n in 0.. {
        let record = records.record(&format!("user-{n}"), T0);
        by_shard.entry(record.session.id.shard()).or_insert(record);
        if by_shard.len() == 256 {
            break;
        }
    }
    let mut ids = Vec::new();
    for record in by_shard.into_values() {
        store.create(&record, T0, None).await.unwrap();
        ids.push(record.session.id);
    }
    ids
}

async fn every_shard_takes_part(store: &dyn Store) {
    let ids = one_in_each(store).await;
    let count = async |include_ended| store.count(&Filter { include_ended, ..Filter::default() }, T0).await.unwrap();
    assert_eq!(count(false).await, 256);
    assert_eq!(store.health(T0).await.unwrap().live, 256);
    let mut listed = Vec::new();
    let mut page = Page::first(100);
    loop {
        let listing = store.list(&Filter::default(), page, T0).await.unwrap();
        listed.extend(listing.sessions.into_iter().map(|session| session.id));
        page.after = listing.next;
        if page.after.is_none() {
            break;
        }
    }
    let mut newest_first = ids.clone();
    newest_first.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(listed, newest_first);
    let seen: Vec<LastSeen> = ids.iter().map(|id| LastSeen { id: *id, at: T0.plus(HOUR) }).collect();
    assert_eq!(store.touch(&seen, T0).await.unwrap(), 256);
    let spare = created(store, &records(), "alice").await.session.id;
    revoke(store, one(spare)).await.unwrap();
    revoke(store, Target::Everyone).await.unwrap();
    for id in &ids {
        assert_eq!(has_ended(store, *id).await, Some(true), "shard {:02x}", id.shard());
    }
    assert_eq!(count(false).await, 0);
    let mut settled = 0;
    loop {
        let step = store.settle(100, T0).await.unwrap();
        settled += step.rows;
        if !step.more {
            break;
        }
    }
    assert_eq!(settled, 256);
    let sweep = Sweep { expired_before: T0, ended_before: T0, log_before: T0, batch: 100, commits: 1 };
    assert_eq!(store.sweepable(&sweep).await.unwrap(), 257);
    let mut swept = 0;
    loop {
        let step = store.sweep(&sweep).await.unwrap();
        swept += step.ended;
        if !step.more {
            break;
        }
    }
    assert_eq!((swept, count(true).await), (257, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_one_server() {
    every_shard_takes_part(&fresh(&needed(REDIS)).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster() {
    let (url, prefix) = (needed(CLUSTER), fresh_prefix());
    let store = RedisStore::open(&url, options(&prefix)).await.unwrap();
    every_shard_takes_part(&store).await;
    // What was on its way to the log has arrived, and nothing of it is left on the way.
    let mut left = keys_in_the_cluster(&url, &prefix).await;
    left.retain(|key| !key.ends_with("}:c") && !key.ends_with("}:ev") && !key.contains("{hp:log}:p:"));
    left.sort_unstable();
    let expected = ["inc", "layout", "log", "n", "rid", "ticket"].map(|name| format!("{prefix}{{hp:log}}:{name}"));
    assert_eq!(left, expected);
}

async fn keys_in_the_cluster(url: &str, prefix: &str) -> Vec<String> {
    let first = url.trim_start_matches("redis+cluster://").split(',').next().unwrap();
    let mut connection =
        redis::Client::open(format!("redis://{first}")).unwrap().get_multiplexed_async_connection().await.unwrap();
    let nodes: String = redis::cmd("CLUSTER").arg("NODES").query_async(&mut connection).await.unwrap();
    let mut keys = Vec::new();
    for primary in nodes.lines().filter(|line| line.contains("master")) {
        let address = primary.split(' ').nth(1).unwrap().split('@').next().unwrap();
        let client = redis::Client::open(format!("redis://{address}")).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let pattern = format!("{prefix}*");
        let some: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.unwrap();
        keys.extend(some);
    }
    keys
}
