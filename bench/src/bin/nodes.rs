//! Several nodes with cached validation on one database: what following the log costs, how soon the others refuse what one has revoked, and how often the store is read.
//!
//! `scripts/services run -- bench/target/release/nodes postgres|mysql|redis|sqlite`. The nodes are as many `Sessions`, each with a store and connections of its own, in one process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hallpass::mysql::{MysqlOptions, MysqlStore};
use hallpass::postgres::{PostgresOptions, PostgresStore};
use hallpass::redis::{RedisOptions, RedisStore};
use hallpass::sqlite::{SqliteOptions, SqliteStore};
use hallpass::{
    Actor, Background, CacheSettings, EndReason, Sessions, SignIn, Store, Token, UserId, Validation, ValidationMode,
};
use hallpass_bench::server_cost::ServerCost;
use hallpass_bench::{Error, fill};

const IDLE: Duration = Duration::from_secs(20);
const REVOCATIONS: usize = 300;
const WATCHERS: usize = 9;
const REQUESTS: usize = 1_000_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Error> {
    let engine = std::env::args().nth(1).ok_or("usage: nodes postgres|mysql|redis|sqlite")?;
    let directory = std::env::temp_dir().join(format!("hallpass-nodes-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let url = match engine.as_str() {
        "sqlite" => format!("{}", directory.join("hallpass.db").display()),
        "postgres" => std::env::var("HALLPASS_TEST_POSTGRES")?,
        "mysql" => std::env::var("HALLPASS_TEST_MARIADB")?,
        "redis" => std::env::var("HALLPASS_TEST_REDIS")?,
        other => return Err(format!("no engine {other}").into()),
    };
    // Makes the tables.
    drop(store(&engine, &url).await?);
    let cost = ServerCost::of(&engine, &url).await?;
    println!("### {engine}\n");
    idle(&engine, &url, &cost).await?;
    visibility(&engine, &url).await?;
    readings(&engine, &url, &cost).await?;
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

async fn store(engine: &str, url: &str) -> Result<Arc<dyn Store>, Error> {
    // As few connections as there may be: a node that only answers from memory needs no more.
    let postgres = PostgresOptions { connections: 2, ..PostgresOptions::default() };
    Ok(match engine {
        "sqlite" => Arc::new(SqliteStore::open(url, SqliteOptions::default()).await?),
        "postgres" => Arc::new(PostgresStore::connect(url, postgres).await?),
        "mysql" => Arc::new(MysqlStore::connect(url, MysqlOptions { connections: 2, ..MysqlOptions::default() }).await?),
        _ => Arc::new(RedisStore::open(url, RedisOptions::default()).await?),
    })
}

async fn nodes(engine: &str, url: &str, count: usize) -> Result<Vec<(Sessions, Background)>, Error> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        let mode = ValidationMode::Cached(CacheSettings::default());
        let sessions = Sessions::builder(store(engine, url).await?).validation(mode).build()?;
        let background = sessions.start_background();
        nodes.push((sessions, background));
    }
    for (sessions, _) in &nodes {
        let begun = Instant::now();
        while sessions.cache_status().is_none_or(|status| status.lease_left.is_zero()) {
            if begun.elapsed() > Duration::from_secs(20) {
                return Err("a node gets no lease".into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(nodes)
}

async fn leave(nodes: Vec<(Sessions, Background)>) {
    for (_, background) in nodes {
        background.shutdown().await;
    }
}

async fn idle(engine: &str, url: &str, cost: &ServerCost) -> Result<(), Error> {
    println!("| nodes, idle | statements a second | of one core at the database | of one core in the nodes |");
    println!("|---|---|---|---|");
    for count in [1, 10, 50] {
        let nodes = nodes(engine, url, count).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (before, own) = (cost.now().await?, own_cpu()?);
        tokio::time::sleep(IDLE).await;
        let (after, own_after) = (cost.now().await?, own_cpu()?);
        let seconds = IDLE.as_secs_f64();
        println!(
            "| {count} | {:.1} | {:.2} % | {:.2} % |",
            (after.statements - before.statements) as f64 / seconds,
            100.0 * (after.cpu - before.cpu) / seconds,
            100.0 * (own_after - own) / seconds,
        );
        leave(nodes).await;
    }
    println!();
    Ok(())
}

async fn visibility(engine: &str, url: &str) -> Result<(), Error> {
    let mut nodes = nodes(engine, url, WATCHERS + 1).await?;
    let (revoking, background) = nodes.remove(0);
    let watchers: Vec<Sessions> = nodes.iter().map(|(sessions, _)| sessions.clone()).collect();
    let (mut seen, mut waits) = (Vec::new(), Vec::new());
    for number in 0..REVOCATIONS {
        let issued = revoking.create(SignIn::new(UserId::new(format!("watched-{engine}-{number}"))?)).await?;
        for node in &watchers {
            node.validate(&issued.token).await?;
        }
        // In no step with the nodes' own turns.
        tokio::time::sleep(Duration::from_millis(17 + (number as u64 * 7_919) % 61)).await;
        let text = issued.token.expose().as_str().to_owned();
        let by = Actor::operator("bench");
        if number % 3 == 2 {
            let begun = Instant::now();
            revoking.waiting().revoke(issued.session.id, None, &by, EndReason::Revoked).await?;
            waits.push(begun.elapsed());
            continue;
        }
        revoking.revoke(issued.session.id, None, &by, EndReason::Revoked).await?;
        let acknowledged = Instant::now();
        let watching = watchers.iter().cloned().map(|node| tokio::spawn(until_refused(node, text.clone(), acknowledged)));
        for watching in watching.collect::<Vec<_>>() {
            seen.push(watching.await??);
        }
    }
    println!("| {WATCHERS} other nodes | half | 9 of 10 | 99 of 100 | longest |");
    println!("|---|---|---|---|---|");
    println!("| refuse after the acknowledgement | {} |", shares(&mut seen));
    println!("| `revoke` with a wait returns after | {} |", shares(&mut waits));
    println!("\nHow long it took (ms): {}\n", histogram(&seen));
    leave(nodes).await;
    background.shutdown().await;
    Ok(())
}

/// How long after the acknowledgement the node no longer accepts from memory: looked at about every millisecond.
async fn until_refused(node: Sessions, token: String, acknowledged: Instant) -> Result<Duration, Error> {
    let token = Token::parse(token.as_bytes())?;
    loop {
        let begun = acknowledged.elapsed();
        if !matches!(node.validate_now(&token), Some(Ok(Validation::Live { .. }))) {
            return Ok(begun);
        }
        if begun > Duration::from_secs(10) {
            return Err("accepted for ten seconds".into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn shares(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    format!("{:.1} ms | {:.1} ms | {:.1} ms | {:.1} ms", at(0.5), at(0.9), at(0.99), at(1.0))
}

fn histogram(times: &[Duration]) -> String {
    const EDGES: [u64; 9] = [2, 5, 10, 20, 50, 100, 200, 500, 1_000];
    let mut counts = [0_usize; EDGES.len() + 1];
    for time in times {
        let millis = time.as_millis() as u64;
        counts[EDGES.iter().position(|edge| millis < *edge).unwrap_or(EDGES.len())] += 1;
    }
    let share = |count: usize| 100.0 * count as f64 / times.len() as f64;
    let mut parts: Vec<String> =
        EDGES.iter().zip(counts).filter(|(_, count)| *count > 0).map(|(edge, count)| format!("under {edge}: {:.1} %", share(count))).collect();
    if counts[EDGES.len()] > 0 {
        parts.push(format!("longer: {:.1} %", share(counts[EDGES.len()])));
    }
    parts.join(", ")
}

async fn readings(engine: &str, url: &str, cost: &ServerCost) -> Result<(), Error> {
    let nodes = nodes(engine, url, 1).await?;
    let node = &nodes[0].0;
    let tokens = fill(node, 10_000).await?;
    let tokens: Vec<Token> = tokens.iter().map(|text| Token::parse(text.as_bytes())).collect::<Result<_, _>>()?;
    for token in &tokens {
        node.validate(token).await?;
    }
    // Its connections tell PostgreSQL's counts of what they did when they have been idle for ten seconds, at the latest.
    let told = Duration::from_secs(if engine == "postgres" { 12 } else { 1 });
    tokio::time::sleep(told).await;
    let (before, status) = (cost.now().await?, node.cache_status().ok_or("no cache")?);
    let begun = Instant::now();
    for number in 0..REQUESTS {
        node.validate(&tokens[number * 61_803 % tokens.len()]).await?;
        // About 100,000 a second, so that the node follows the log meanwhile as it would.
        if number % 200 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let took = begun.elapsed();
    tokio::time::sleep(told).await;
    let (after, status_after) = (cost.now().await?, node.cache_status().ok_or("no cache")?);
    println!(
        "{REQUESTS} checks in {:.1} s: {} read the store, {:.3} statements for 1,000 checks (the node's turns in these and {} more seconds and its last-seen times included)\n",
        took.as_secs_f64(),
        status_after.misses - status.misses,
        (after.statements - before.statements) as f64 / (REQUESTS as f64 / 1_000.0),
        told.as_secs(),
    );
    leave(nodes).await;
    Ok(())
}

/// Seconds of processor time of this process.
fn own_cpu() -> Result<f64, Error> {
    hallpass_bench::server_cost::cpu_of("self")
}
