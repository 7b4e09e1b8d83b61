//! What a check's read costs beside the same driver used by hand: `find` against one `GET` of one key, and against the other ways to read
//! what `find` reads. Both sides take turns, so that only the ratio counts.
//!
//! ```text
//! cargo run --release -p hallpass-redis --example read_cost -- redis://127.0.0.1:6379
//! ```
#![expect(clippy::print_stdout, reason = "it is a program that prints figures")]

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hallpass_conformance::builders::{Records, T0};
use hallpass_core::SessionId;
use hallpass_core::store::Store;
use hallpass_redis::{RedisOptions, RedisStore};
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;
use tokio::time::Instant;

type Failure = Box<dyn Error + Send + Sync>;

const SESSIONS: usize = 10_000;
const ROUNDS: usize = 7;
const TURN: Duration = Duration::from_millis(700);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let url = std::env::args().nth(1).unwrap_or_else(|| String::from("redis://127.0.0.1:6379"));
    let prefix = String::from("read-cost:");
    let connection = redis::Client::open(url.as_str())?.get_multiplexed_async_connection().await?;
    let options = |connections| RedisOptions { prefix: prefix.clone(), connections, ..RedisOptions::default() };
    let one = Arc::new(RedisStore::open(&url, options(1)).await?);
    let two = Arc::new(RedisStore::open(&url, options(2)).await?);
    let records = Records::seeded(1);
    let mut ids = Vec::with_capacity(SESSIONS);
    for n in 0..SESSIONS {
        let record = records.record(&format!("user-{n}"), T0);
        one.create(&record, T0, None).await?;
        ids.push(record.session.id);
    }
    let ids: Arc<[SessionId]> = ids.into();
    let keys = |id: &SessionId| {
        let tag = format!("{prefix}{{hp:{:02x}}}:", id.shard());
        [format!("{tag}s:{id}"), format!("{tag}t:{id}"), format!("{tag}mx")]
    };
    let keys: Arc<[[String; 3]]> = ids.iter().map(keys).collect();
    let script = "return redis.call('MGET', KEYS[1], KEYS[2], KEYS[3])";
    let hash: String = redis::cmd("SCRIPT").arg("LOAD").arg(script).query_async(&mut connection.clone()).await?;

    for tasks in [1, 64] {
        let mut rates: [Vec<f64>; 5] = Default::default();
        for _ in 0..ROUNDS {
            let (by_hand_connection, by_hand_keys) = (connection.clone(), Arc::clone(&keys));
            let get = move |n: usize| {
                let (connection, keys) = (by_hand_connection.clone(), Arc::clone(&by_hand_keys));
                async move { by_hand(connection, redis::cmd("GET").arg(&keys[n][0])).await }
            };
            rates[0].push(rate(tasks, get).await?);
            for (at, store) in [(1, &one), (2, &two)] {
                let (store, ids) = (Arc::clone(store), Arc::clone(&ids));
                let find = move |n: usize| {
                    let (store, ids) = (Arc::clone(&store), Arc::clone(&ids));
                    async move {
                        store.find(ids[n]).await?;
                        Ok(())
                    }
                };
                rates[at].push(rate(tasks, find).await?);
            }
            let (script_connection, script_keys, script_hash) = (connection.clone(), Arc::clone(&keys), hash.clone());
            let by_script = move |n: usize| {
                let (connection, keys, hash) =
                    (script_connection.clone(), Arc::clone(&script_keys), script_hash.clone());
                async move { by_hand(connection, redis::cmd("EVALSHA_RO").arg(hash).arg(3).arg(&keys[n])).await }
            };
            rates[3].push(rate(tasks, by_script).await?);
            let (multi_connection, multi_keys) = (connection.clone(), Arc::clone(&keys));
            let transaction = move |n: usize| {
                let (mut connection, keys) = (multi_connection.clone(), Arc::clone(&multi_keys));
                async move {
                    let mut pipeline = redis::pipe();
                    pipeline.atomic().get(&keys[n][0]).get(&keys[n][1]).get(&keys[n][2]);
                    pipeline.query_async::<redis::Value>(&mut connection).await?;
                    Ok(())
                }
            };
            rates[4].push(rate(tasks, transaction).await?);
        }
        let names =
            ["GET by hand", "find, 1 connection", "find, 2 connections", "read script by hand", "MULTI by hand"];
        let base = median(&rates[0]);
        println!("{tasks} at once:");
        for (name, rates) in names.iter().zip(&rates) {
            let (low, high) =
                (rates.iter().copied().fold(f64::MAX, f64::min), rates.iter().copied().fold(0.0, f64::max));
            let median = median(rates);
            println!("  {name:20} {median:8.0}/s ({low:.0} to {high:.0}), {:.2} of GET", median / base);
        }
    }
    Ok(())
}

async fn by_hand(mut connection: MultiplexedConnection, command: &redis::Cmd) -> Result<(), Failure> {
    command.query_async::<redis::Value>(&mut connection).await?;
    Ok(())
}

/// So many tasks, each reading one session after another, for one turn.
async fn rate<F, Fut>(tasks: usize, read: F) -> Result<f64, Failure>
where
    F: Fn(usize) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let begun = Instant::now();
    let mut readers = JoinSet::new();
    for task in 0..tasks {
        let read = read.clone();
        readers.spawn(async move {
            let (mut n, mut count) = (task * 97 % SESSIONS, 0_u32);
            while begun.elapsed() < TURN {
                read(n).await?;
                n = (n + 7919) % SESSIONS;
                count += 1;
            }
            Ok::<u32, Failure>(count)
        });
    }
    let mut count = 0;
    while let Some(read) = readers.join_next().await {
        count += read??;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

fn median(rates: &[f64]) -> f64 {
    let mut rates = rates.to_vec();
    rates.sort_unstable_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(0.0)
}
