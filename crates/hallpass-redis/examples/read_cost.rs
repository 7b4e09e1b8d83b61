//! What a check's read costs beside the same driver used by hand: `find` against one `GET` of one key on one connection, whose answer is
//! looked at: the deadline and the digest. One worker thread, as one core has; the sides take turns, so that only the ratios count. The
//! time is that of the processor in this program, which other load on the machine disturbs less than the rate.
//!
//! ```text
//! cargo run --release -p hallpass-redis --example read_cost -- redis://127.0.0.1:6379 [ROUNDS]
//! ```
#![expect(clippy::print_stdout, reason = "it is a program that prints figures")]

use std::error::Error;
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
const ROUNDS: usize = 9;
const TURN: Duration = Duration::from_millis(400);

/// A session as both sides know it.
struct Known {
    id: SessionId,
    digest: [u8; 32],
    key: Vec<u8>,
}

/// Who reads.
#[derive(Clone)]
enum Side {
    ByHand(MultiplexedConnection),
    Store(Arc<RedisStore>),
}

impl Side {
    /// Fails for a session that is not there or does not match.
    async fn read(&mut self, known: &Known) -> Result<(), Failure> {
        let live = match self {
            Self::ByHand(connection) => {
                let found: Option<Vec<u8>> = redis::cmd("GET").arg(&known.key).query_async(connection).await?;
                let found = found.ok_or("no session")?;
                let (deadline, rest) = found.split_first_chunk::<8>().ok_or("no deadline")?;
                i64::from_be_bytes(*deadline) > T0.as_millis() && rest.starts_with(&known.digest)
            }
            Self::Store(store) => {
                let found = store.find(known.id).await?.ok_or("no session")?;
                found.session.is_live_at(T0) && *found.token_hash.as_bytes() == known.digest
            }
        };
        if live { Ok(()) } else { Err("not live".into()) }
    }
}

/// What one turn measured.
#[derive(Clone, Copy)]
struct Taken {
    /// Reads in a second.
    rate: f64,
    /// Microseconds of the processor for each; 0 where the system does not tell.
    cost: f64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| String::from("redis://127.0.0.1:6379"));
    let rounds = arguments.next().map_or(Ok(ROUNDS), |rounds| rounds.parse())?;
    let connection = redis::Client::open(url.as_str())?.get_multiplexed_async_connection().await?;
    let prefix = format!("read-cost-{}:", std::process::id());
    let options = |connections| RedisOptions { prefix: prefix.clone(), connections, ..RedisOptions::default() };
    let one = Arc::new(RedisStore::open(&url, options(1)).await?);
    let two = Arc::new(RedisStore::open(&url, options(2)).await?);
    let known = filled(&one, &connection, &prefix).await?;
    let sides = [
        ("GET by hand", Side::ByHand(connection)),
        ("find, 1 connection", Side::Store(one)),
        ("find, 2 connections", Side::Store(two)),
    ];
    for tasks in [1, 16, 64] {
        let mut taken = vec![Vec::new(); sides.len()];
        for _ in 0..rounds {
            for ((_, side), taken) in sides.iter().zip(&mut taken) {
                taken.push(turn(tasks, side, &known).await?);
            }
        }
        println!("{tasks} at once:");
        let get = (median(&taken[0], |taken| taken.rate), median(&taken[0], |taken| taken.cost));
        for ((name, _), taken) in sides.iter().zip(&taken) {
            let (rate, cost) = (median(taken, |taken| taken.rate), median(taken, |taken| taken.cost));
            println!(
                "  {name:20} {rate:8.0}/s, {:.2} of GET; {cost:6.2} us each, {:.2} of GET",
                rate / get.0,
                cost / get.1
            );
        }
    }
    Ok(())
}

/// Sessions, and what a peer would keep of them.
async fn filled(store: &RedisStore, connection: &MultiplexedConnection, prefix: &str) -> Result<Arc<[Known]>, Failure> {
    let records = Records::seeded(1);
    let mut known = Vec::with_capacity(SESSIONS);
    for n in 0..SESSIONS {
        let user = format!("user-{n:07}");
        let record = records.record(&user, T0);
        store.create(&record, T0, None).await?;
        let digest = *record.token_hash.as_bytes();
        let key = [prefix.as_bytes(), b"by_hand:", &digest].concat();
        let value = [&record.session.idle_expires_at.as_millis().to_be_bytes()[..], &digest, user.as_bytes()].concat();
        redis::cmd("SET").arg(&key).arg(value).exec_async(&mut connection.clone()).await?;
        known.push(Known { id: record.session.id, digest, key });
    }
    Ok(known.into())
}

/// So many tasks, each reading one session after another, for one turn.
async fn turn(tasks: usize, side: &Side, known: &Arc<[Known]>) -> Result<Taken, Failure> {
    let (begun, cpu) = (Instant::now(), cpu_nanoseconds());
    let mut readers = JoinSet::new();
    for task in 0..tasks {
        let (mut side, known) = (side.clone(), Arc::clone(known));
        readers.spawn(async move {
            let (mut n, mut count) = (task * 97 % SESSIONS, 0_u32);
            while begun.elapsed() < TURN {
                side.read(&known[n]).await?;
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
    let count = f64::from(count);
    Ok(Taken { rate: count / begun.elapsed().as_secs_f64(), cost: (cpu_nanoseconds() - cpu) / 1_000.0 / count })
}

/// Of all threads of this program so far, as Linux tells; 0 elsewhere.
fn cpu_nanoseconds() -> f64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let of_thread = |thread: std::io::Result<std::fs::DirEntry>| {
        let told = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        told.split(' ').next()?.parse::<f64>().ok()
    };
    threads.filter_map(of_thread).sum()
}

fn median(taken: &[Taken], figure: impl Fn(&Taken) -> f64) -> f64 {
    let mut figures: Vec<f64> = taken.iter().map(figure).collect();
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}
