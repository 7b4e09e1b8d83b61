//! What the benchmarks share: a database with many sessions, and the hand-written peer that reads one row of it.

use std::path::Path;
use std::sync::Arc;

use hallpass::sqlite::{SqliteOptions, SqliteStore};
use hallpass::{Attributes, Client, Policies, Policy, Class, Sessions, SignIn, UserId};
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

pub type Error = Box<dyn std::error::Error + Send + Sync>;

pub const USER_AGENT: &[u8] = b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// Sessions over the file, with a limit that lets one user have many.
pub async fn open(path: &Path) -> Result<Sessions, Error> {
    let store = SqliteStore::open(path, SqliteOptions::default()).await?;
    let policies = Policies::default();
    let mut web: Policy = policies.of(&Class::WEB).clone();
    web.max_per_user = None;
    Ok(Sessions::builder(Arc::new(store)).policies(policies.with(Class::WEB, web)?).build()?)
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
        if running.len() >= 256 && let Some(done) = running.join_next().await {
            tokens.push(done??);
        }
    }
    while let Some(done) = running.join_next().await {
        tokens.push(done??);
    }
    Ok(tokens)
}

/// The table that somebody would write by hand: a digest, a user, an expiry.
pub fn fill_by_hand(path: &Path, tokens: &[String]) -> Result<(), Error> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS by_hand (digest BLOB PRIMARY KEY, user_id TEXT NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID, STRICT",
    )?;
    for (number, token) in tokens.iter().enumerate() {
        transaction.prepare_cached("INSERT INTO by_hand VALUES (?1, ?2, ?3)")?.execute((
            digest(token),
            format!("user-{number:07}"),
            i64::MAX,
        ))?;
    }
    transaction.commit()?;
    Ok(())
}

pub fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// A reading connection with the statement prepared once.
pub fn reader(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

/// The hand-written check: digest, one point read, one comparison.
pub fn check_by_hand(connection: &Connection, token: &str, now: i64) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare_cached("SELECT user_id, expires FROM by_hand WHERE digest = ?1")?;
    let mut rows = statement.query([digest(token)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let expires: i64 = row.get(1)?;
    if expires > now { Ok(Some(row.get(0)?)) } else { Ok(None) }
}
