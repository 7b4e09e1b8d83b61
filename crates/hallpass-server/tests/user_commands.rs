//! `hallpass user ...` over a real account database, with the ending of sessions recorded.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed helper fails its test")]

use std::collections::VecDeque;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use hallpass_server::accounts::sqlite::SqliteAccounts;
use hallpass_server::accounts::{Account, AccountId, Accounts, Email, EndReason};
use hallpass_server::cli::{Cli, Command, parse};
use hallpass_server::commands::user::{Context, PasswordSource, read_line, run};
use hallpass_server::output::Output;
use hallpass_server::password::{Password, Passwords, Verdict};
use hallpass_server::session_ends::{EndFailed, EndSessions};
use hallpass_server::settings::PasswordCost;
use serde_json::Value;
use zeroize::Zeroizing;

const NOW: i64 = 1_700_000_000_000;

#[derive(Debug, Default)]
struct Sessions {
    down: AtomicBool,
    ended: Mutex<Vec<(AccountId, EndReason)>>,
}

#[async_trait]
impl EndSessions for Sessions {
    async fn end_all(&self, account: &AccountId, reason: EndReason) -> Result<u64, EndFailed> {
        if self.down.load(Ordering::SeqCst) {
            return Err(EndFailed("the session store is unavailable".to_owned()));
        }
        self.ended.lock().unwrap().push((account.clone(), reason));
        Ok(3)
    }

    async fn count_live(&self, _account: &AccountId) -> Result<u64, EndFailed> {
        Ok(3)
    }
}

/// Standard input, or a person at a terminal.
#[derive(Default)]
struct Typed {
    stdin: String,
    asked: Option<VecDeque<&'static str>>,
}

impl PasswordSource for Typed {
    fn first_line(&mut self) -> io::Result<Zeroizing<String>> {
        read_line(&mut self.stdin.as_bytes())
    }

    fn ask(&mut self, _prompt: &str) -> Option<io::Result<Zeroizing<String>>> {
        let answer = self.asked.as_mut()?.pop_front().unwrap_or_default();
        Some(Ok(Zeroizing::new(answer.to_owned())))
    }
}

struct House {
    _directory: tempfile::TempDir,
    accounts: SqliteAccounts,
    sessions: Sessions,
    passwords: Passwords,
}

fn house() -> House {
    let directory = tempfile::tempdir().unwrap();
    let cost = PasswordCost { memory_kib: 64, iterations: 1, parallelism: 1 };
    House {
        accounts: SqliteAccounts::open(&directory.path().join("hallpass.db")).unwrap(),
        _directory: directory,
        sessions: Sessions::default(),
        passwords: Passwords::new(cost, 2, 8).unwrap(),
    }
}

impl House {
    async fn run_with(&self, words: &[&str], mut typed: Typed) -> Result<String, String> {
        let args = ["hallpass", "user"].iter().chain(words).map(Into::into);
        let (cli, _) = parse(args).map_err(|error| error.to_string())?;
        let Cli { json, command: Some(Command::User { command }), .. } = cli else { panic!() };
        let context =
            Context { accounts: &self.accounts, sessions: &self.sessions, passwords: &self.passwords, now_ms: NOW };
        let mut printed = Vec::new();
        let mut output = Output::new(&mut printed, json, false);
        run(command, &context, &mut typed, &mut output).await.map_err(|error| format!("{error:#}"))?;
        Ok(String::from_utf8(printed).unwrap())
    }

    async fn run(&self, words: &[&str]) -> Result<String, String> {
        self.run_with(words, Typed::default()).await
    }

    async fn run_stdin(&self, words: &[&str], stdin: &str) -> Result<String, String> {
        let typed = Typed { stdin: stdin.to_owned(), asked: None };
        self.run_with(words, typed).await
    }

    async fn add(&self, email: &str) -> Account {
        self.run_stdin(&["add", email, "--name", "Somebody", "--password-stdin"], "correct horse\n").await.unwrap();
        self.account(email).await
    }

    async fn account(&self, email: &str) -> Account {
        self.accounts.find_by_email(&Email::parse(email).unwrap()).await.unwrap().unwrap()
    }

    async fn accepts(&self, email: &str, password: &str) -> bool {
        let hash = self.account(email).await.password_hash;
        let password = Password::new(password.to_owned()).unwrap();
        let verdict = self.passwords.verify(&password, hash.as_ref()).await.unwrap();
        matches!(verdict, Verdict::Right { .. })
    }

    fn ended(&self) -> Vec<(AccountId, EndReason)> {
        self.sessions.ended.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn add_creates_an_account_that_can_sign_in() {
    let house = house();
    let words = ["add", "Alice@Example.com", "--name", "Alice", "--operator", "--password-stdin", "--json"];
    let printed = house.run_stdin(&words, "correct horse\r\nsecond line").await.unwrap();
    let value: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(value["email"], "alice@example.com");
    assert_eq!(value["operator"], true);
    assert_eq!(value["createdAt"], "2023-11-14T22:13:20.000Z");
    assert_eq!(value["disabledAt"], Value::Null);
    assert!(!printed.contains("argon2") && !printed.contains("horse"));
    assert!(house.accepts("alice@example.com", "correct horse").await);
    assert!(house.account("alice@example.com").await.operator);
    assert!(!house.add("bob@example.com").await.operator);
}

#[tokio::test]
async fn add_refuses_what_is_no_account() {
    let house = house();
    house.add("a@example.com").await;
    for (email, name, stdin, why) in [
        ("A@EXAMPLE.com", "A", "correct horse", "exists already"),
        ("nonsense", "A", "correct horse", "one @"),
        ("b@example.com", " ", "correct horse", "name is empty"),
        ("b@example.com", "B", "short", "too short"),
        ("b@example.com", "B", "", "too short"),
        ("b@example.com", "B", &*"x".repeat(5_000), "too long"),
    ] {
        let words = ["add", email, "--name", name, "--password-stdin"];
        let error = house.run_stdin(&words, stdin).await.unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(house.accounts.count().await.unwrap(), 1);
}

#[tokio::test]
async fn the_password_is_asked_twice_at_a_terminal() {
    let house = house();
    let words = ["add", "a@example.com", "--name", "A"];
    let asked = |answers: &[&'static str]| Typed { asked: Some(answers.iter().copied().collect()), ..Typed::default() };
    let error = house.run_with(&words, asked(&["correct horse", "correct hors"])).await.unwrap_err();
    assert!(error.contains("differ"), "{error}");
    let error = house.run(&words).await.unwrap_err();
    assert!(error.contains("--password-stdin"), "{error}");
    assert_eq!(house.accounts.count().await.unwrap(), 0);
    house.run_with(&words, asked(&["correct horse", "correct horse"])).await.unwrap();
    assert!(house.accepts("a@example.com", "correct horse").await);
}

#[tokio::test]
async fn a53_list_shows_hostile_names_as_text() {
    let house = house();
    let account = house.add("a@example.com").await;
    // Our own door refuses such a name; a database that others write to may hold one.
    rusqlite::Connection::open(house._directory.path().join("hallpass.db"))
        .unwrap()
        .execute("UPDATE account_users SET name = ?1", ["<b>\u{1b}[31mred\u{9b}\nX"])
        .unwrap();
    let table = house.run(&["list"]).await.unwrap();
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.contains(r"<b>\u{1b}[31mred\u{9b}\nX"), "{table}");
    assert!(table.contains(account.id.as_str()) && table.contains("active"));
    let json = house.run(&["list", "--json"]).await.unwrap();
    assert!(!json.contains(['\u{1b}', '\u{9b}']));
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["users"][0]["name"], "<b>\u{1b}[31mred\u{9b}\nX");
}

#[tokio::test]
async fn list_pages() {
    let house = house();
    for n in 0..5 {
        house.add(&format!("u{n}@example.com")).await;
    }
    let mut seen = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..4 {
        let mut words = vec!["list", "--json", "--limit", "2"];
        if let Some(after) = &after {
            words.extend(["--after", after]);
        }
        let page: Value = serde_json::from_str(&house.run(&words).await.unwrap()).unwrap();
        seen.extend(page["users"].as_array().unwrap().iter().map(|user| user["email"].as_str().unwrap().to_owned()));
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    seen.sort();
    assert_eq!(seen, (0..5).map(|n| format!("u{n}@example.com")).collect::<Vec<_>>());
    let text = house.run(&["list", "--limit", "2"]).await.unwrap();
    assert!(text.lines().last().unwrap().starts_with("there may be more: --after "), "{text}");
}

#[tokio::test]
async fn a09_disable_and_delete_end_the_sessions() {
    let house = house();
    let account = house.add("a@example.com").await;
    house.add("b@example.com").await;
    let printed = house.run(&["disable", "A@example.com"]).await.unwrap();
    assert_eq!(printed, "disabled a@example.com, ended 3 sessions\n");
    assert_eq!(house.account("a@example.com").await.disabled_at, Some(NOW));
    assert_eq!(house.ended(), [(account.id.clone(), EndReason::UserDisabled)]);

    house.run(&["enable", account.id.as_str()]).await.unwrap();
    assert_eq!(house.account("a@example.com").await.disabled_at, None);
    assert_eq!(house.ended().len(), 1);

    let printed = house.run(&["delete", "a@example.com", "--dry-run"]).await.unwrap();
    assert!(printed.starts_with("would delete a@example.com"), "{printed}");
    assert_eq!(house.ended().len(), 1);
    assert_eq!(house.accounts.count().await.unwrap(), 2);

    let printed = house.run(&["delete", "a@example.com", "--json"]).await.unwrap();
    let value: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(value["sessionsEnded"], 3);
    assert_eq!(house.ended()[1..], [(account.id, EndReason::UserDeleted)]);
    assert_eq!(house.accounts.count().await.unwrap(), 1);
}

#[tokio::test]
async fn a08_a_new_password_ends_the_sessions() {
    let house = house();
    let account = house.add("a@example.com").await;
    house.run_stdin(&["passwd", "a@example.com", "--password-stdin"], "battery staple").await.unwrap();
    assert!(house.accepts("a@example.com", "battery staple").await);
    assert!(!house.accepts("a@example.com", "correct horse").await);
    assert_eq!(house.account("a@example.com").await.credentials_version, 2);
    assert_eq!(house.ended(), [(account.id, EndReason::CredentialsChanged)]);
}

#[tokio::test]
async fn a09_when_sessions_cannot_be_ended_the_command_fails_and_the_next_one_catches_up() {
    let house = house();
    let account = house.add("a@example.com").await;
    house.sessions.down.store(true, Ordering::SeqCst);
    let error = house.run(&["disable", "a@example.com"]).await.unwrap_err();
    assert!(error.contains("a@example.com is disabled") && error.contains("could not be ended yet"), "{error}");
    assert!(house.account("a@example.com").await.disabled_at.is_some());
    assert!(house.ended().is_empty());

    house.sessions.down.store(false, Ordering::SeqCst);
    house.run(&["disable", "a@example.com"]).await.unwrap();
    let ended = house.ended();
    assert_eq!(ended.len(), 2);
    assert!(ended.iter().all(|(id, _)| *id == account.id));
}

#[tokio::test]
async fn unknown_users_are_named() {
    let house = house();
    for words in [&["disable", "x@example.com"][..], &["enable", "some-id"], &["delete", "some-id"]] {
        let error = house.run(words).await.unwrap_err();
        assert!(error.contains(words[1]) && error.contains("user list"), "{error}");
    }
    let error = house.run_stdin(&["passwd", "some-id", "--password-stdin"], "correct horse").await.unwrap_err();
    assert!(error.contains("no account some-id"), "{error}");
}
