//! What the benchmarks share: databases with many sessions, the hand-written peers that read one row of them, and signed tokens.

pub mod by_hand;
pub mod jwt;
pub mod server_cost;

use std::sync::Arc;

use hallpass::mysql::{MysqlOptions, MysqlStore};
use hallpass::postgres::{PostgresOptions, PostgresStore};
use hallpass::redis::{RedisOptions, RedisStore};
use hallpass::sqlite::{SqliteOptions, SqliteStore};
use hallpass::{Attributes, Class, Client, Policies, Policy, Sessions, SignIn, Store, UserId, ValidationMode};

pub type Error = Box<dyn std::error::Error + Send + Sync>;

pub const USER_AGENT: &[u8] = b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// The store that a URL names: `sqlite:PATH`, `postgres://`, `mysql://`, `redis://`.
pub async fn store(url: &str) -> Result<Arc<dyn Store>, Error> {
    Ok(match url.split_once(':').ok_or("no URL")? {
        ("sqlite", path) => Arc::new(SqliteStore::open(path, SqliteOptions::default()).await?),
        ("postgres", _) => Arc::new(PostgresStore::connect(url, PostgresOptions::default()).await?),
        ("mysql", _) => Arc::new(MysqlStore::connect(url, MysqlOptions::default()).await?),
        ("redis", _) => Arc::new(RedisStore::open(url, RedisOptions::default()).await?),
        (scheme, _) => return Err(format!("no store for {scheme}").into()),
    })
}

/// Sessions over it, with a limit that lets one user have many.
pub async fn open(url: &str, mode: ValidationMode) -> Result<Sessions, Error> {
    let policies = Policies::default();
    let mut web: Policy = policies.of(&Class::WEB).clone();
    web.max_per_user = None;
    Ok(Sessions::builder(store(url).await?).policies(policies.with(Class::WEB, web)?).validation(mode).build()?)
}

/// Creates `count` sessions, one for each user, and returns their tokens.
pub async fn fill(sessions: &Sessions, count: usize) -> Result<Vec<String>, Error> {
    let mut tokens = Vec::with_capacity(count);
    let mut running = tokio::task::JoinSet::new();
    for number in 0..count {
        let sessions = sessions.clone();
        running.spawn(async move {
            let client = Client::new(Some([192, 0, 2, (number % 250) as u8].into()), Some(USER_AGENT));
            let attributes = Attributes::from_json(r#"{"tenant":"acme"}"#)?;
            let sign_in = SignIn::new(UserId::new(format!("user-{number:07}"))?)
                .client(client)
                .method("pwd")
                .source("credentials")
                .attributes(attributes);
            let issued = sessions.create(sign_in).await?;
            Ok::<String, Error>(issued.token.expose().as_str().to_owned())
        });
        if running.len() >= 48 && let Some(done) = running.join_next().await {
            tokens.push(done??);
        }
    }
    while let Some(done) = running.join_next().await {
        tokens.push(done??);
    }
    Ok(tokens)
}
