//! What a strict check costs beside a hand-written prepared read of two columns by the same driver, over 4 connections that take turns, in one
//! process and one run. The database is named by the first argument; a schema `read_cost` is made in it and removed:
//! `cargo run --release -p hallpass-postgres --example read_cost -- postgres://postgres@127.0.0.1/postgres`.

use std::sync::Arc;
use std::time::Duration;

use hallpass_core::{Class, Client, Sessions, SignIn, Store as _, Token, UserId, Validation};
use hallpass_postgres::{PostgresOptions, PostgresStore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_postgres::NoTls;
use uuid::Uuid;

const SESSIONS: usize = 100_000;
const READS: usize = 40_000;
const ROUNDS: usize = 7;
const PLAIN_CONNECTIONS: usize = 4;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Reads by one way of reading.
#[derive(Clone)]
enum Way {
    Plain(Arc<Vec<(tokio_postgres::Client, tokio_postgres::Statement)>>),
    Find(Arc<PostgresStore>),
    Validate(Sessions),
}

impl Way {
    async fn read(&self, n: usize, token: &Token) -> Result<(), Failure> {
        match self {
            Self::Plain(connections) => {
                let (client, statement) = &connections[n % connections.len()];
                let row = client.query_one(statement, &[&Uuid::from_bytes(*token.id().as_bytes())]).await?;
                let _: (String, i64) = (row.try_get(0)?, row.try_get(1)?);
            }
            Self::Find(store) => {
                store.find(token.id()).await?.ok_or("a session is missing")?;
            }
            Self::Validate(sessions) => {
                if !matches!(sessions.validate(token).await?, Validation::Live { .. }) {
                    return Err("a session is not valid".into());
                }
            }
        }
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let url = std::env::args().nth(1).ok_or("the first argument is the URL of a database")?;
    let (admin, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    admin.batch_execute("DROP SCHEMA IF EXISTS read_cost CASCADE").await?;
    let options = PostgresOptions { schema: Some(String::from("read_cost")), ..PostgresOptions::default() };
    let store = Arc::new(PostgresStore::connect(&url, options).await?);
    let sessions = Sessions::builder(store.clone()).build()?;
    let tokens = Arc::new(prepare(&admin, &sessions).await?);

    let mut plain = Vec::new();
    for _ in 0..PLAIN_CONNECTIONS {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
        tokio::spawn(connection);
        let sql = "SELECT user_id, idle_expires_at FROM read_cost.hallpass_sessions WHERE id = $1";
        let statement = client.prepare(sql).await?;
        plain.push((client, statement));
    }
    let ways = [
        ("hand-written read", Way::Plain(Arc::new(plain))),
        ("find", Way::Find(store.clone())),
        ("validate", Way::Validate(sessions)),
    ];
    for tasks in [1, 8, 64, 256] {
        let reads = if tasks == 1 { READS / 10 } else { READS };
        let mut times: Vec<Vec<Duration>> = vec![Vec::new(); ways.len()];
        for _ in 0..ROUNDS {
            for ((_, way), times) in ways.iter().zip(&mut times) {
                times.push(round(way, &tokens, tasks, reads).await?);
            }
        }
        let bare = median(&mut times[0]);
        for ((name, _), times) in ways.iter().zip(&mut times) {
            let time = median(times);
            let rate = reads as f64 / time.as_secs_f64();
            let ratio = bare.as_secs_f64() / time.as_secs_f64();
            println!("{tasks:4} at once  {name:18} {rate:9.0} /s  {ratio:5.2} times the hand-written read");
        }
    }
    let (queries, reads) = store.check_counts();
    println!("{:.1} reads by each query on average", reads as f64 / queries as f64);
    drop(ways);
    admin.batch_execute("DROP SCHEMA read_cost CASCADE").await?;
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

async fn round(way: &Way, tokens: &Arc<Vec<Token>>, tasks: usize, reads: usize) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let (way, tokens) = (way.clone(), Arc::clone(tokens));
        running.spawn(async move {
            for n in 0..reads / tasks {
                // Walks over all of them without a pattern that caches know.
                let index = (task * 7919 + n * 104_729) % tokens.len();
                way.read(task + n, &tokens[index]).await?;
            }
            Ok::<(), Failure>(())
        });
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(begun.elapsed())
}

/// Signs some users in, and copies one session for the others.
async fn prepare(admin: &tokio_postgres::Client, sessions: &Sessions) -> Result<Vec<Token>, Failure> {
    let mut tokens = Vec::new();
    for n in 0..2000 {
        let mut sign_in = SignIn::new(UserId::new(format!("user-{n}"))?);
        sign_in.class = Class::WEB;
        let agent =
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36";
        sign_in.client = Client::new(Some("203.0.113.7".parse()?), Some(agent.as_bytes()));
        sign_in.authentication.methods = vec![String::from("pwd")];
        sign_in.authentication.source = String::from("credentials");
        tokens.push(sessions.create(sign_in).await?.token);
    }
    let columns = "class, created_at, authenticated_at, renewed_at, last_seen_at, idle_expires_at, absolute_expires_at, due_at, epoch, \
                   label, ip, methods, source, attributes_version, user_agent, attributes";
    let copies = SESSIONS / 2000 - 1;
    let copy = format!(
        "INSERT INTO read_cost.hallpass_sessions (id, token_hash, user_id, {columns}) SELECT gen_random_uuid(), token_hash, \
         user_id || '-' || n, {columns} FROM read_cost.hallpass_sessions, generate_series(1, {copies}) n"
    );
    admin.batch_execute(&copy).await?;
    admin.batch_execute("VACUUM read_cost.hallpass_sessions").await?;
    admin.batch_execute("ANALYZE read_cost.hallpass_sessions").await?;
    Ok(tokens)
}
