//! What somebody would write by hand with the same driver: the digest of the token as key, a user and an expiry beside it, one read and one
//! comparison.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future;
use mysql_async::prelude::Queryable as _;
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use crate::Error;

/// Connections of the PostgreSQL peer; each carries several requests at once.
const CLIENTS: usize = 4;

/// A reader of the hand-made table.
pub enum ByHand {
    Sqlite(PathBuf),
    Postgres { clients: Vec<(tokio_postgres::Client, tokio_postgres::Statement)>, next: AtomicUsize },
    Mysql(mysql_async::Pool),
    Redis(redis::aio::MultiplexedConnection),
}

thread_local! {
    static CONNECTION: OnceCell<Connection> = const { OnceCell::new() };
}

impl ByHand {
    pub async fn open(url: &str) -> Result<Self, Error> {
        Ok(match url.split_once(':').ok_or("no URL")? {
            ("sqlite", path) => Self::Sqlite(path.into()),
            ("postgres", _) => {
                let mut clients = Vec::new();
                for _ in 0..CLIENTS {
                    let client = postgres(url).await?;
                    let read = client.prepare("SELECT user_id, expires FROM by_hand WHERE digest = $1").await?;
                    clients.push((client, read));
                }
                Self::Postgres { clients, next: AtomicUsize::new(0) }
            }
            ("mysql", _) => Self::Mysql(mysql(url)?),
            ("redis", _) => Self::Redis(redis::Client::open(url)?.get_multiplexed_async_connection().await?),
            (scheme, _) => return Err(format!("no peer for {scheme}").into()),
        })
    }

    /// Whose token it is, if it has not expired at `now`.
    pub async fn check(&self, token: &str, now: i64) -> Result<Option<String>, Error> {
        let found = match self {
            Self::Sqlite(path) => return read_on_this_thread(path, token, now),
            Self::Postgres { clients, next } => {
                let (client, read) = &clients[next.fetch_add(1, Ordering::Relaxed) % CLIENTS];
                let row = client.query_opt(read, &[&digest(token).as_slice()]).await?;
                row.map(|row| (row.get::<_, String>(0), row.get::<_, i64>(1)))
            }
            Self::Mysql(pool) => {
                let mut connection = pool.get_conn().await?;
                let read = "SELECT user_id, expires FROM by_hand WHERE digest = ?";
                connection.exec_first(read, (digest(token).as_slice(),)).await?
            }
            Self::Redis(connection) => {
                let mut connection = connection.clone();
                let found: Option<String> = redis::cmd("GET").arg(key(token)).query_async(&mut connection).await?;
                match found.as_deref().and_then(|text| text.split_once(' ')) {
                    Some((expires, user)) => Some((user.to_owned(), expires.parse()?)),
                    None => None,
                }
            }
        };
        Ok(found.filter(|(_, expires)| *expires > now).map(|(user, _)| user))
    }
}

/// Makes the table and a row for each token.
pub async fn fill(url: &str, tokens: &[String]) -> Result<(), Error> {
    let rows = tokens.iter().enumerate().map(|(number, token)| (token, format!("user-{number:07}")));
    match url.split_once(':').ok_or("no URL")? {
        ("sqlite", path) => {
            let mut connection = Connection::open(path)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            let transaction = connection.transaction()?;
            transaction.execute_batch(
                "CREATE TABLE IF NOT EXISTS by_hand \
                 (digest BLOB PRIMARY KEY, user_id TEXT NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID, STRICT",
            )?;
            for (token, user) in rows {
                let mut insert = transaction.prepare_cached("INSERT INTO by_hand VALUES (?1, ?2, ?3)")?;
                insert.execute((digest(token), user, i64::MAX))?;
            }
            transaction.commit()?;
        }
        ("postgres", _) => {
            let client = postgres(url).await?;
            client
                .batch_execute("CREATE TABLE by_hand (digest bytea PRIMARY KEY, user_id text NOT NULL, expires bigint NOT NULL)")
                .await?;
            let insert = client.prepare("INSERT INTO by_hand VALUES ($1, $2, $3)").await?;
            client.batch_execute("BEGIN").await?;
            let rows: Vec<_> = rows.map(|(token, user)| (digest(token), user)).collect();
            for some in rows.chunks(500) {
                let written = some.iter().map(|(digest, user)| {
                    let (client, insert) = (&client, &insert);
                    async move { client.execute(insert, &[&digest.as_slice(), user, &i64::MAX]).await }
                });
                future::try_join_all(written).await?;
            }
            client.batch_execute("COMMIT; ANALYZE by_hand").await?;
        }
        ("mysql", _) => {
            let pool = mysql(url)?;
            let mut connection = pool.get_conn().await?;
            connection
                .query_drop("CREATE TABLE by_hand (digest BINARY(32) PRIMARY KEY, user_id VARCHAR(255) NOT NULL, expires BIGINT NOT NULL)")
                .await?;
            let rows: Vec<_> = rows.map(|(token, user)| (digest(token).to_vec(), user, i64::MAX)).collect();
            connection.query_drop("BEGIN").await?;
            connection.exec_batch("INSERT INTO by_hand VALUES (?, ?, ?)", rows).await?;
            connection.query_drop("COMMIT").await?;
            drop(connection);
            pool.disconnect().await?;
        }
        ("redis", _) => {
            let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
            let rows: Vec<_> = rows.collect();
            for some in rows.chunks(1000) {
                let mut pipe = redis::pipe();
                for (token, user) in some {
                    pipe.cmd("SET").arg(key(token)).arg(format!("{} {user}", i64::MAX)).ignore();
                }
                pipe.query_async::<()>(&mut connection).await?;
            }
        }
        (scheme, _) => return Err(format!("no peer for {scheme}").into()),
    }
    Ok(())
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn key(token: &str) -> Vec<u8> {
    let mut key = b"by_hand:".to_vec();
    key.extend_from_slice(&digest(token));
    key
}

async fn postgres(url: &str) -> Result<tokio_postgres::Client, Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn mysql(url: &str) -> Result<mysql_async::Pool, Error> {
    let options = mysql_async::OptsBuilder::from_opts(mysql_async::Opts::from_url(url)?);
    let most = mysql_async::PoolConstraints::new(0, 16).ok_or("constraints")?;
    Ok(mysql_async::Pool::new(options.pool_opts(mysql_async::PoolOpts::default().with_constraints(most))))
}

/// A reading connection with the statement prepared once.
pub fn reader(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(connection)
}

/// The check on SQLite: digest, one point read, one comparison.
pub fn read(connection: &Connection, token: &str, now: i64) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare_cached("SELECT user_id, expires FROM by_hand WHERE digest = ?1")?;
    let mut rows = statement.query([digest(token)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let expires: i64 = row.get(1)?;
    if expires > now { Ok(Some(row.get(0)?)) } else { Ok(None) }
}

fn read_on_this_thread(path: &Path, token: &str, now: i64) -> Result<Option<String>, Error> {
    CONNECTION.with(|cell| {
        if cell.get().is_none() {
            cell.set(reader(path)?).map_err(|_| "set twice")?;
        }
        let connection = cell.get().ok_or("not set")?;
        Ok(read(connection, token, now)?)
    })
}
