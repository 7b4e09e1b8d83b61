//! What a strict check costs beside a bare prepared read of two columns, in one process and one run:
//! `cargo run --release -p hallpass-sqlite --example read_cost`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use hallpass_core::{Class, Client, Sessions, SignIn, Store as _, Token, UserId, Validation};
use hallpass_sqlite::{SqliteOptions, SqliteStore};
use rusqlite::Connection;
use tokio::time::Instant;

const SESSIONS: usize = 100_000;
const READS: usize = 100_000;
const ROUNDS: usize = 15;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("hallpass.db");
    let store = Arc::new(SqliteStore::open(&path, SqliteOptions::default()).await?);
    let sessions = Sessions::builder(store.clone()).build()?;
    let mut tokens: Vec<Token> = Vec::with_capacity(SESSIONS);
    let begun = Instant::now();
    while tokens.len() < SESSIONS {
        let made: Vec<_> = (0..500).map(|n| tokio::spawn(sign_in(sessions.clone(), tokens.len() + n))).collect();
        for one in made {
            tokens.push(one.await??);
        }
    }
    let stats = store.write_stats();
    println!("{SESSIONS} durable creations in {:?}, {} commits", begun.elapsed(), stats.commits);
    // Deterministic and without order.
    let order: Vec<usize> = (0..READS).map(|n| n.wrapping_mul(48_271) % SESSIONS).collect();

    let mapped = SqliteStore::open(&path, SqliteOptions { mmap_bytes: 1 << 30, ..SqliteOptions::default() }).await?;
    let bare = Connection::open(&path)?;
    bare.pragma_update(None, "cache_size", -32_768)?;
    let mut statement = bare.prepare("SELECT user_id, idle_expires_at FROM hallpass_sessions WHERE id = ?1")?;
    let mut best = [Duration::MAX; 4];
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for n in &order {
            let id = tokens[*n].id();
            let bound = [id.as_bytes().as_slice()];
            let row: (String, i64) = statement.query_row(bound, |row| Ok((row.get(0)?, row.get(1)?)))?;
            black_box(row);
        }
        best[0] = best[0].min(begun.elapsed());
        let begun = Instant::now();
        for n in &order {
            black_box(store.find(tokens[*n].id()).await?);
        }
        best[1] = best[1].min(begun.elapsed());
        let begun = Instant::now();
        for n in &order {
            let live = matches!(sessions.validate(&tokens[*n]).await?, Validation::Live { .. });
            assert!(live);
        }
        best[2] = best[2].min(begun.elapsed());
        let begun = Instant::now();
        for n in &order {
            black_box(mapped.find(tokens[*n].id()).await?);
        }
        best[3] = best[3].min(begun.elapsed());
    }
    for (name, time) in ["bare prepared read of 2 columns", "find", "validate", "find, mapped file"].iter().zip(best) {
        let each = time.as_secs_f64() / READS as f64 * 1e6;
        println!("{name:32} {each:6.2} us  {:5.2} times the bare read", time.as_secs_f64() / best[0].as_secs_f64());
    }
    Ok(())
}

async fn sign_in(sessions: Sessions, n: usize) -> Result<Token, Failure> {
    let mut sign_in = SignIn::new(UserId::new(format!("user-{n}"))?);
    sign_in.class = Class::WEB;
    let agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36";
    sign_in.client = Client::new(Some("203.0.113.7".parse()?), Some(agent.as_bytes()));
    sign_in.authentication.methods = vec![String::from("pwd")];
    sign_in.authentication.source = String::from("credentials");
    Ok(sessions.create(sign_in).await?.token)
}
