//! What the tests of this crate share.
#![allow(dead_code, reason = "each test file uses its own part")]
#![expect(clippy::expect_used, clippy::panic, reason = "a test stops at what should not fail")]

pub(crate) mod at_once;
pub(crate) mod instance;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hallpass_core::store::{Record, Revocation, Target};
use hallpass_core::{
    Actor, Attributes, Authentication, Class, Client, EndReason, OsEntropy, Session, SessionId, State, Timestamp,
    TokenHash, UserId,
};
use hallpass_mysql::{MysqlOptions, MysqlStore};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// A session that lives for 30 days from `now`.
pub(crate) fn record(user: &UserId, now: Timestamp) -> Record {
    let id = SessionId::generate(user, now, &OsEntropy).unwrap();
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(id.as_bytes());
    let session = Session {
        id,
        user: user.clone(),
        class: Class::WEB,
        created_at: now,
        authenticated_at: now,
        renewed_at: now,
        last_seen_at: now,
        idle_expires_at: now.plus(30 * DAY),
        absolute_expires_at: now.plus(90 * DAY),
        client: Client::new(
            Some("203.0.113.7".parse().unwrap()),
            Some(b"Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"),
        ),
        label: None,
        authentication: std::sync::Arc::new(Authentication {
            methods: vec![String::from("pwd")],
            source: String::from("credentials"),
        }),
        attributes: Attributes::default(),
        attributes_version: 0,
        state: State::Live,
    };
    Record { session, token_hash: TokenHash::from_bytes(hash) }
}

pub(crate) fn revocation(target: Target, now: Timestamp) -> Revocation {
    Revocation { target, now, by: Actor::operator("root"), reason: EndReason::RevokedUser }
}

/// Few connections, since many stores live at once, and patience, since the tests share the machine.
pub(crate) fn small() -> MysqlOptions {
    MysqlOptions {
        connections: 3,
        connect_timeout: Duration::from_secs(60),
        acquire_timeout: Duration::from_secs(60),
        call_timeout: Duration::from_secs(60),
        ..MysqlOptions::default()
    }
}

/// The instance for the tests.
#[expect(clippy::disallowed_methods, reason = "the address of the server under test")]
pub(crate) fn instance() -> String {
    std::env::var("HALLPASS_TEST_MARIADB").expect(
        "HALLPASS_TEST_MARIADB is not set: run `scripts/services run --only mariadb -- cargo test -p hallpass-mysql`",
    )
}

/// The same server with another database.
pub(crate) fn with_database(url: &str, database: &str) -> String {
    let mut url = url::Url::parse(url).unwrap();
    url.set_path(database);
    url.to_string()
}

/// A new, empty database; its URL.
pub(crate) async fn fresh_database() -> String {
    fresh_database_at(&instance()).await
}

pub(crate) async fn fresh_database_at(server: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!("hallpass_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut conn = Conn::from_url(with_database(server, "")).await.unwrap();
    // Whatever this server's defaults are.
    conn.query_drop("SET SESSION TRANSACTION READ WRITE").await.unwrap();
    conn.query_drop(format!("DROP DATABASE IF EXISTS {name}")).await.unwrap();
    conn.query_drop(format!("CREATE DATABASE {name}")).await.unwrap();
    conn.disconnect().await.unwrap();
    with_database(server, &name)
}

/// A connection beside the store, to look and to disturb.
pub(crate) async fn beside(url: &str) -> Conn {
    Conn::from_url(url).await.unwrap()
}

/// A store on a new database, and its URL.
pub(crate) async fn store() -> (String, MysqlStore) {
    let url = fresh_database().await;
    let store = MysqlStore::connect(&url, small()).await.unwrap();
    (url, store)
}

/// How many transactions of others in that database wait for a lock.
pub(crate) async fn waiting(conn: &mut Conn) -> u64 {
    let sql = "SELECT COUNT(*) FROM information_schema.INNODB_TRX t JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id \
               WHERE p.DB = DATABASE() AND p.ID <> CONNECTION_ID() AND t.trx_state = 'LOCK WAIT'";
    conn.query_first::<u64, _>(sql).await.unwrap().unwrap()
}

/// How many transactions of others are open in that database.
pub(crate) async fn open_transactions(conn: &mut Conn) -> u64 {
    let sql = "SELECT COUNT(*) FROM information_schema.INNODB_TRX t JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id \
               WHERE p.DB = DATABASE() AND p.ID <> CONNECTION_ID()";
    conn.query_first::<u64, _>(sql).await.unwrap().unwrap()
}

/// Looks again until it is so, for ten seconds at most.
pub(crate) async fn until<F: AsyncFnMut() -> bool>(what: &str, mut so: F) {
    for _ in 0..66 {
        if so().await {
            return;
        }
        // The server answers INNODB_TRX from a copy that it renews when nobody has looked for a tenth of a second.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    panic!("{what}: not within ten seconds");
}

/// Makes a row of a session that is not committed: whoever creates the same session waits for it.
pub(crate) async fn hold(conn: &mut Conn, record: &Record) {
    conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.unwrap();
    conn.query_drop("START TRANSACTION").await.unwrap();
    let sql = "INSERT INTO hallpass_sessions (id, token_hash, user_id, class, created_at, authenticated_at, renewed_at, last_seen_at, \
               idle_expires_at, absolute_expires_at, epoch, ended, attributes_version, methods, source, attributes) \
               VALUES (?, REPEAT('x', 32), 'nobody', 'web', 0, 0, 0, 0, 0, 0, 0, 0, 0, '[]', '', '{}')";
    conn.exec_drop(sql, (record.session.id.as_bytes().as_slice(),)).await.unwrap();
}
