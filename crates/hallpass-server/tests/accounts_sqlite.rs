//! What the SQLite file itself must survive and refuse.

#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::path::Path;
use std::sync::Arc;

use hallpass_server::accounts::sqlite::SqliteAccounts;
use hallpass_server::accounts::{Accounts, AccountsError, Created, DisplayName, Email, FirstCreated, NewAccount};
use hallpass_server::password::PasswordHash;
use rusqlite::Connection;

const NOW: i64 = 1_700_000_000_000;

fn new(email: &str) -> NewAccount {
    NewAccount {
        email: Email::parse(email).unwrap(),
        name: DisplayName::parse("Somebody").unwrap(),
        operator: true,
        password_hash: Some(PasswordHash::from_stored("$argon2id$hash".to_owned())),
    }
}

fn raw(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

#[tokio::test]
async fn accounts_survive_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hallpass.db");
    SqliteAccounts::open(&path).unwrap().create(new("a@example.com"), NOW).await.unwrap();
    let again = SqliteAccounts::open(&path).unwrap();
    assert_eq!(again.count().await.unwrap(), 1);
    let steps: u32 = raw(&path).query_row("SELECT count(*) FROM account_migrations", [], |row| row.get(0)).unwrap();
    assert_eq!(steps, SqliteAccounts::schema_version());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_can_open_one_new_file_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hallpass.db");
    let opened: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| SqliteAccounts::open(&path).map(Arc::new))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
    });
    // They act as several processes: each has connections of its own.
    opened[0].offer_setup([7; 32], NOW + 1).await.unwrap();
    let tasks: Vec<_> = opened
        .iter()
        .enumerate()
        .map(|(n, accounts)| {
            let accounts = Arc::clone(accounts);
            tokio::spawn(async move {
                accounts.create_first([7; 32], new(&format!("u{n}@example.com")), NOW).await.unwrap()
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        won += usize::from(matches!(task.await.unwrap(), FirstCreated::Account(_)));
    }
    assert_eq!(won, 1, "a42");
}

#[test]
fn a_newer_database_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hallpass.db");
    drop(SqliteAccounts::open(&path).unwrap());
    raw(&path).execute("INSERT INTO account_migrations VALUES (99, 'later', x'00', 0)", []).unwrap();
    let error = SqliteAccounts::open(&path).unwrap_err();
    assert!(matches!(error, AccountsError::Newer { found: 99, .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("hallpass.db") && text.contains("newer hallpass"), "{text}");
}

#[test]
fn a_changed_migration_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hallpass.db");
    drop(SqliteAccounts::open(&path).unwrap());
    raw(&path).execute("UPDATE account_migrations SET checksum = x'00'", []).unwrap();
    assert!(matches!(SqliteAccounts::open(&path), Err(AccountsError::Damaged(_))));
}

#[test]
fn no_database_and_no_directory_are_clear_errors() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text.db");
    std::fs::write(&text, "this is no database at all, but long enough to be read as one".repeat(20)).unwrap();
    let error = SqliteAccounts::open(&text).unwrap_err();
    assert!(matches!(&error, AccountsError::Damaged(what) if what.contains("text.db")), "{error}");
    let error = SqliteAccounts::open(&directory.path().join("none/x.db")).unwrap_err().to_string();
    assert!(error.contains("none/x.db") && error.contains("check the path"), "{error}");
}

#[tokio::test]
async fn a_row_nobody_here_wrote_is_damage_not_absence() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hallpass.db");
    let accounts = SqliteAccounts::open(&path).unwrap();
    let Created::Account(account) = accounts.create(new("a@example.com"), NOW).await.unwrap() else { panic!() };
    raw(&path).execute("UPDATE account_users SET email = 'A@B@C'", []).unwrap();
    assert!(matches!(accounts.find(&account.id).await, Err(AccountsError::Damaged(_))));
}

#[cfg(unix)]
#[test]
fn the_file_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hallpass.db");
    let _open = SqliteAccounts::open(&path).unwrap();
    for file in ["hallpass.db", "hallpass.db-wal"] {
        let mode = std::fs::metadata(directory.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn the_file_has_a_log_and_can_shrink() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hallpass.db");
    drop(SqliteAccounts::open(&path).unwrap());
    let raw = raw(&path);
    let pragma =
        |name: &str| raw.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0)).unwrap();
    assert_eq!(pragma("journal_mode"), rusqlite::types::Value::Text("wal".into()));
    assert_eq!(pragma("auto_vacuum"), rusqlite::types::Value::Integer(2));
}

#[tokio::test]
async fn errors_and_debug_show_no_hash() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hallpass.db");
    let accounts = SqliteAccounts::open(&path).unwrap();
    let Created::Account(account) = accounts.create(new("a@example.com"), NOW).await.unwrap() else { panic!() };
    let shown = format!("{account:?} {accounts:?} {:?}", new("b@example.com"));
    assert!(!shown.contains("$argon2id"), "{shown}");
}

#[tokio::test]
async fn a_database_that_stays_locked_is_unavailable_within_seconds_and_then_fine() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hallpass.db");
    let accounts = SqliteAccounts::open(&path).unwrap();
    let other = raw(&path);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let blocked = accounts.create(new("a@example.com"), NOW);
    let error = tokio::time::timeout(std::time::Duration::from_secs(30), blocked).await.unwrap().unwrap_err();
    assert!(matches!(&error, AccountsError::Unavailable(why) if why.contains("another process")), "{error}");
    // Reading goes on meanwhile.
    assert_eq!(accounts.count().await.unwrap(), 0);
    other.execute_batch("ROLLBACK").unwrap();
    assert!(matches!(accounts.create(new("a@example.com"), NOW).await.unwrap(), Created::Account(_)));
}
