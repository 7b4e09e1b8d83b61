//! What accounts in a database server must survive and refuse.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed helper fails its test")]

#[path = "databases/mod.rs"]
mod databases;

use std::sync::Arc;
use std::time::Duration;

use hallpass_server::accounts::{
    Accounts, AccountsError, Created, DisplayName, Email, FirstCreated, NewAccount, SqlAccounts, mysql, postgres,
};
use hallpass_server::password::PasswordHash;
use mysql_async::prelude::Queryable as _;
use tokio::time::Instant;

const NOW: i64 = 1_700_000_000_000;

fn new(email: &str) -> NewAccount {
    NewAccount {
        email: Email::parse(email).unwrap(),
        name: DisplayName::parse("Somebody").unwrap(),
        operator: true,
        password_hash: Some(hash("$argon2id$hash")),
    }
}

fn hash(text: &str) -> PasswordHash {
    PasswordHash::from_stored(text.to_owned())
}

/// An empty database of one engine, and a connection beside the accounts to look and to disturb.
enum Base {
    Postgres { url: String, beside: tokio_postgres::Client, name: String },
    Mariadb { url: String, beside: mysql_async::Conn, name: String },
}

impl Base {
    async fn postgres() -> Self {
        let name = databases::fresh_name();
        let url = databases::fresh_postgres();
        let beside = databases::beside_postgres(&url).await;
        // By this name its connections are known from those of other tests.
        Self::Postgres { url: databases::with_parameter(&url, &format!("application_name={name}")), beside, name }
    }

    async fn mariadb() -> Self {
        let url = databases::fresh_mariadb().await;
        let name = url::Url::parse(&url).unwrap().path()[1..].to_owned();
        Self::Mariadb { beside: databases::beside_mariadb(&url).await, url, name }
    }

    async fn open(&self) -> Result<SqlAccounts, AccountsError> {
        match self {
            Self::Postgres { url, .. } => postgres::connect(url).await,
            Self::Mariadb { url, .. } => mysql::connect(url).await,
        }
    }

    fn schema_version(&self) -> u32 {
        match self {
            Self::Postgres { .. } => postgres::schema_version(),
            Self::Mariadb { .. } => mysql::schema_version(),
        }
    }

    async fn run(&mut self, sql: &str) {
        match self {
            Self::Postgres { beside, .. } => beside.batch_execute(sql).await.unwrap(),
            Self::Mariadb { beside, .. } => beside.query_drop(sql).await.unwrap(),
        }
    }

    async fn count(&mut self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        match self {
            Self::Postgres { beside, .. } => beside.query_one(&sql, &[]).await.unwrap().get(0),
            Self::Mariadb { beside, .. } => beside.query_first(&sql).await.unwrap().unwrap(),
        }
    }

    /// How many connections of the accounts wait for a lock.
    async fn waiting(&mut self) -> usize {
        match self {
            Self::Postgres { beside, name, .. } => {
                let sql = "SELECT 1 FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'";
                beside.query(sql, &[name]).await.unwrap().len()
            }
            Self::Mariadb { beside, name, .. } => {
                let sql = "SELECT id FROM information_schema.processlist WHERE db = ? AND state LIKE 'Waiting for%'";
                beside.exec::<u64, _, _>(sql, (&*name,)).await.unwrap().len()
            }
        }
    }

    /// Ends the connections of the accounts; how many there were.
    async fn end_connections(&mut self) -> usize {
        match self {
            Self::Postgres { beside, name, .. } => {
                let sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = $1";
                beside.query(sql, &[name]).await.unwrap().len()
            }
            Self::Mariadb { beside, name, .. } => {
                let sql = "SELECT id FROM information_schema.processlist WHERE db = ? AND id <> CONNECTION_ID()";
                let ids: Vec<u64> = beside.exec(sql, (&*name,)).await.unwrap();
                for id in &ids {
                    beside.query_drop(format!("KILL {id}")).await.unwrap();
                }
                ids.len()
            }
        }
    }
}

/// They act as several processes: each has connections of its own.
async fn several_can_open_one_new_database_at_once(mut base: Base) {
    let opening = (0..6).map(|_| base.open());
    let opened: Vec<Arc<SqlAccounts>> =
        futures_util::future::join_all(opening).await.into_iter().map(|opened| Arc::new(opened.unwrap())).collect();
    assert_eq!(base.count("hallpass_account_migrations").await, i64::from(base.schema_version()));
    for accounts in &opened[..2] {
        assert!(accounts.offer_setup([7; 32], NOW + 1).await.unwrap(), "an offer replaces the one before");
    }
    let tasks: Vec<_> = (0..18)
        .map(|n| {
            let accounts = Arc::clone(&opened[n % opened.len()]);
            tokio::spawn(async move {
                let first = accounts.create_first([7; 32], new(&format!("u{n}@example.com")), NOW).await.unwrap();
                matches!(first, FirstCreated::Account(_))
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        won += usize::from(task.await.unwrap());
    }
    assert_eq!(won, 1, "a42");
    let tasks: Vec<_> = (0..18)
        .map(|n| {
            let accounts = Arc::clone(&opened[n % opened.len()]);
            tokio::spawn(async move {
                matches!(accounts.create(new("same@example.com"), NOW).await.unwrap(), Created::Account(_))
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += usize::from(task.await.unwrap());
    }
    assert_eq!(made, 1);
    assert_eq!(base.count("hallpass_account_users").await, 2);
}

async fn a_newer_database_is_refused_and_left_alone(mut base: Base) {
    drop(base.open().await.unwrap());
    drop(base.open().await.unwrap());
    base.run("INSERT INTO hallpass_account_migrations (number, name, checksum) VALUES (99, 'later', 'x')").await;
    let error = base.open().await.unwrap_err();
    assert!(matches!(error, AccountsError::Newer { found: 99, .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("127.0.0.1:") && text.contains("newer hallpass"), "{text}");
}

async fn a_changed_migration_is_noticed(mut base: Base) {
    drop(base.open().await.unwrap());
    base.run("UPDATE hallpass_account_migrations SET checksum = 'x'").await;
    assert!(matches!(base.open().await, Err(AccountsError::Damaged(what)) if what.contains("127.0.0.1:")));
}

async fn a_row_nobody_here_wrote_is_damage_not_absence(mut base: Base) {
    let accounts = base.open().await.unwrap();
    let Created::Account(account) = accounts.create(new("a@example.com"), NOW).await.unwrap() else { panic!() };
    base.run("UPDATE hallpass_account_users SET email = 'A@B@C'").await;
    assert!(matches!(accounts.find(&account.id).await, Err(AccountsError::Damaged(_))));
    base.run("DELETE FROM hallpass_account_setup").await;
    assert!(matches!(accounts.offer_setup([7; 32], NOW).await, Ok(false) | Err(AccountsError::Damaged(_))));
    base.run("DROP TABLE hallpass_account_session_ends").await;
    let error = accounts.pending_ends(1).await.unwrap_err();
    assert!(matches!(&error, AccountsError::Damaged(what) if what.contains("migrate")), "{error}");
}

async fn connections_that_ended_are_replaced_unnoticed(mut base: Base) {
    let accounts = Arc::new(base.open().await.unwrap());
    for round in 0..3 {
        // Several at once, so that there are several connections.
        let tasks: Vec<_> = (0..8)
            .map(|n| {
                let accounts = Arc::clone(&accounts);
                tokio::spawn(async move { accounts.create(new(&format!("u{round}-{n}@example.com")), NOW).await })
            })
            .collect();
        for task in tasks {
            assert!(matches!(task.await.unwrap().unwrap(), Created::Account(_)));
        }
        let ended = base.end_connections().await;
        assert!((1..=4).contains(&ended), "bounded: {ended}");
        assert_eq!(accounts.count().await.unwrap(), 8 * (round + 1));
        base.end_connections().await;
        assert!(matches!(accounts.create(new(&format!("u{round}-0@example.com")), NOW).await, Ok(Created::Duplicate)));
    }
}

async fn a_row_that_stays_locked_is_unavailable_in_time_and_nothing_happens_later(mut base: Base) {
    let accounts = base.open().await.unwrap();
    let Created::Account(account) = accounts.create(new("a@example.com"), NOW).await.unwrap() else { panic!() };
    base.run("BEGIN").await;
    base.run("UPDATE hallpass_account_users SET name = 'locked'").await;
    let begun = Instant::now();
    let error = accounts.set_password(&account.id, hash("$argon2id$two"), NOW).await.unwrap_err();
    assert!(matches!(&error, AccountsError::Unavailable(what) if what.contains("127.0.0.1:")), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    // Reading goes on meanwhile.
    assert_eq!(accounts.count().await.unwrap(), 1);
    base.run("ROLLBACK").await;
    let found = accounts.find(&account.id).await.unwrap().unwrap();
    assert_eq!((found.credentials_version, found.name.as_str()), (1, "Somebody"));
    assert!(accounts.pending_ends(1).await.unwrap().is_empty());
    let changed = accounts.set_password(&account.id, hash("$argon2id$two"), NOW).await.unwrap().unwrap();
    assert_eq!(changed.credentials_version, 2);
}

/// The server gives up before the caller does: no statement of a caller that was told no waits on there.
async fn a_table_that_stays_locked_is_unavailable_in_time_and_nobody_waits_on(mut base: Base) {
    let accounts = base.open().await.unwrap();
    assert_eq!(accounts.count().await.unwrap(), 0);
    match base {
        Base::Postgres { .. } => base.run("BEGIN; LOCK TABLE hallpass_account_users IN ACCESS EXCLUSIVE MODE").await,
        Base::Mariadb { .. } => base.run("LOCK TABLES hallpass_account_users WRITE").await,
    }
    let begun = Instant::now();
    let (read, written) = tokio::join!(accounts.count(), accounts.create(new("a@example.com"), NOW));
    assert!(matches!(read, Err(AccountsError::Unavailable(_))), "{read:?}");
    assert!(matches!(written, Err(AccountsError::Unavailable(_))), "{written:?}");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(base.waiting().await, 0);
    match base {
        Base::Postgres { .. } => base.run("ROLLBACK").await,
        Base::Mariadb { .. } => base.run("UNLOCK TABLES").await,
    }
    assert_eq!(accounts.count().await.unwrap(), 0);
}

async fn errors_and_debug_show_no_hash_and_no_password(base: Base) {
    let accounts = base.open().await.unwrap();
    let Created::Account(account) = accounts.create(new("a@example.com"), NOW).await.unwrap() else { panic!() };
    let shown = format!("{account:?} {accounts:?} {accounts:#?}");
    assert!(!shown.contains("$argon2id"), "{shown}");
    for place in ["u:hunter2@127.0.0.1:1/app", "u:hunter2@127.0.0.1:port/app", "u:hunter2@/app"] {
        let error = match base {
            Base::Postgres { .. } => postgres::connect(&format!("postgres://{place}")).await,
            Base::Mariadb { .. } => mysql::connect(&format!("mysql://{place}")).await,
        };
        let error = error.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(super::Base::postgres().await).await;
            })*
        }
        mod on_mariadb {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(super::Base::mariadb().await).await;
            })*
        }
    };
}

on_both!(
    several_can_open_one_new_database_at_once,
    a_newer_database_is_refused_and_left_alone,
    a_changed_migration_is_noticed,
    a_row_nobody_here_wrote_is_damage_not_absence,
    connections_that_ended_are_replaced_unnoticed,
    a_row_that_stays_locked_is_unavailable_in_time_and_nothing_happens_later,
    a_table_that_stays_locked_is_unavailable_in_time_and_nobody_waits_on,
    errors_and_debug_show_no_hash_and_no_password,
);

#[tokio::test]
async fn postgres_commits_durably_whatever_the_server_prefers() {
    let Base::Postgres { url, beside, .. } = Base::postgres().await else { panic!() };
    let accounts = postgres::connect(&format!("{url}&options=-c%20synchronous_commit%3Doff")).await.unwrap();
    beside
        .batch_execute(
            "CREATE TABLE seen (level text, isolation text);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               INSERT INTO seen VALUES (current_setting('synchronous_commit'), current_setting('transaction_isolation')); RETURN NEW; END $$;
             ALTER FUNCTION note() SET search_path FROM CURRENT;
             CREATE TRIGGER note AFTER INSERT OR UPDATE ON hallpass_account_users FOR EACH ROW EXECUTE FUNCTION note();",
        )
        .await
        .unwrap();
    let Created::Account(account) = accounts.create(new("a@example.com"), NOW).await.unwrap() else { panic!() };
    accounts.disable(&account.id, NOW).await.unwrap();
    let rows = beside.query("SELECT DISTINCT level, isolation FROM seen", &[]).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].get::<_, &str>(0), rows[0].get::<_, &str>(1)), ("on", "read committed"));
}

/// Comparisons and limits do not depend on what the server or its operator prefers.
#[tokio::test]
async fn mariadb_is_set_up_the_same_way_whatever_the_server_prefers() {
    let Base::Mariadb { url, mut beside, name } = Base::mariadb().await else { panic!() };
    beside.query_drop(format!("ALTER DATABASE {name} CHARACTER SET latin1 COLLATE latin1_swedish_ci")).await.unwrap();
    let accounts = mysql::connect(&url).await.unwrap();
    let Created::Account(account) = accounts.create(new("zo\u{eb}@example.com"), NOW).await.unwrap() else { panic!() };
    assert!(accounts.find_by_email(&Email::parse("zoe@example.com").unwrap()).await.unwrap().is_none());
    assert!(accounts.find(&account.id).await.unwrap().is_some());
    // Text that does not fit is refused, never cut.
    let long = hash(&"x".repeat(2_000));
    assert!(accounts.set_password(&account.id, long, NOW).await.is_err());
    assert_eq!(accounts.find(&account.id).await.unwrap().unwrap().credentials_version, 1);
}
