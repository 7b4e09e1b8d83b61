//! What a strict check costs beside a hand-written read of two columns by the same driver and its pool, in one process and one run:
//! `cargo run --release -p hallpass-mysql --example read_cost -- mysql://root@127.0.0.1:3306/an_empty_database`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use hallpass_core::{Class, Client, Sessions, SignIn, Store as _, Token, UserId, Validation};
use hallpass_mysql::{MysqlOptions, MysqlStore};
use mysql_async::prelude::Queryable as _;
use mysql_async::{OptsBuilder, Pool, PoolConstraints, PoolOpts};
use tokio::time::Instant;

const SESSIONS: usize = 10_000;
const READS: usize = 10_000;
const ROUNDS: usize = 9;
const TASKS: usize = 64;
const CONNECTIONS: usize = 8;
const READ: &str = "SELECT user_id, idle_expires_at FROM hallpass_sessions WHERE id = ?";

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let url = std::env::args().nth(1).ok_or("name the URL of an empty database")?;
    let options = MysqlOptions { connections: CONNECTIONS, ..MysqlOptions::default() };
    let store = Arc::new(MysqlStore::connect(&url, options).await?);
    let sessions = Sessions::builder(store.clone()).build()?;
    let begun = Instant::now();
    let mut tokens: Vec<Token> = Vec::with_capacity(SESSIONS);
    while tokens.len() < SESSIONS {
        let made: Vec<_> = (0..TASKS).map(|n| tokio::spawn(sign_in(sessions.clone(), tokens.len() + n))).collect();
        for one in made {
            tokens.push(one.await??);
        }
    }
    println!("{} durable creations in {:?} over {CONNECTIONS} connections", tokens.len(), begun.elapsed());
    let tokens = Arc::new(tokens);

    // As an application would: no reset between uses, which would forget prepared statements.
    let pool_opts = PoolOpts::new().with_reset_connection(false);
    let pool_opts = pool_opts.with_constraints(PoolConstraints::new(CONNECTIONS, CONNECTIONS).ok_or("a pool")?);
    let opts = OptsBuilder::from_opts(mysql_async::Opts::from_url(&url)?).prefer_socket(false).pool_opts(pool_opts);
    let pool = Pool::new(opts);

    let mut best = [[Duration::MAX; 3]; 2];
    for _ in 0..ROUNDS {
        for (at_once, best) in [1, TASKS].into_iter().zip(&mut best) {
            let (pool, store, sessions) = (pool.clone(), store.clone(), sessions.clone());
            best[0] = best[0].min(timed(&tokens, at_once, move |token| by_hand(pool.clone(), token.id())).await?);
            best[1] = best[1].min(timed(&tokens, at_once, move |token| find(store.clone(), token.id())).await?);
            let of = Arc::clone(&tokens);
            let validate = move |n: usize| validate(sessions.clone(), Arc::clone(&of), n);
            best[2] = best[2].min(timed_by_number(at_once, validate).await?);
        }
    }
    for (at_once, best) in [1, TASKS].into_iter().zip(best) {
        println!("{at_once} at once:");
        for (name, time) in ["hand-written read of 2 columns", "find", "validate"].iter().zip(best) {
            let each = time.as_secs_f64() / READS as f64 * 1e6;
            let ratio = time.as_secs_f64() / best[0].as_secs_f64();
            println!("  {name:32} {each:7.2} us  {ratio:5.2} times the hand-written read");
        }
    }
    pool.disconnect().await?;
    Ok(())
}

async fn timed<F, Fut>(tokens: &Arc<Vec<Token>>, at_once: usize, read: F) -> Result<Duration, Failure>
where
    F: Fn(&Token) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<(), Failure>> + Send,
{
    let tokens = Arc::clone(tokens);
    timed_by_number(at_once, move |n| read(&tokens[n])).await
}

async fn timed_by_number<F, Fut>(at_once: usize, read: F) -> Result<Duration, Failure>
where
    F: Fn(usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<(), Failure>> + Send,
{
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for task in 0..at_once {
        let read = read.clone();
        tasks.push(tokio::spawn(async move {
            for n in (task..READS).step_by(at_once) {
                // Deterministic and without order.
                read(n.wrapping_mul(48_271) % SESSIONS).await?;
            }
            Ok::<_, Failure>(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(begun.elapsed())
}

async fn by_hand(pool: Pool, id: hallpass_core::SessionId) -> Result<(), Failure> {
    let mut conn = pool.get_conn().await?;
    let row: Option<(Vec<u8>, i64)> = conn.exec_first(READ, (id.as_bytes().as_slice(),)).await?;
    black_box(row.ok_or("it is there")?);
    Ok(())
}

async fn find(store: Arc<MysqlStore>, id: hallpass_core::SessionId) -> Result<(), Failure> {
    black_box(store.find(id).await?.ok_or("it is there")?);
    Ok(())
}

async fn validate(sessions: Sessions, tokens: Arc<Vec<Token>>, n: usize) -> Result<(), Failure> {
    match sessions.validate(&tokens[n]).await? {
        Validation::Live { .. } => Ok(()),
        _ => Err("it lives".into()),
    }
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
