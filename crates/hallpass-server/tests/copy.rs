//! `hallpass copy`: from one engine to the next, and nobody has to sign in again.

#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hallpass_core::{Policies, Sessions, SignIn, Store, Token, UserId, Validation};
use hallpass_postgres::{PostgresOptions, PostgresStore};
use hallpass_server::accounts::sqlite::SqliteAccounts;
use hallpass_server::accounts::{Accounts as _, DisplayName, Email, NewAccount, postgres};
use hallpass_sqlite::{SqliteOptions, SqliteStore};
use reqwest::Method;
use serde_json::{Value, json};
use support::databases::{self, engine::Engine};
use support::{Browser, PATIENCE, Place, Server, new_password};
use tokio::time::Instant;

const ALICE: &str = "alice@example.org";
const BOB: &str = "bob@example.org";
const CAROL: &str = "carol@example.org";

fn copied(place: &Place, args: &[&str]) -> Value {
    serde_json::from_str(&place.done(&[&["copy", "--json"], args].concat())).unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A browser that brings a token along.
fn with_token(server: &Server, token: &str) -> Browser {
    let browser = server.browser();
    browser.set_cookie("session", token);
    browser
}

/// Whether the sign-in form turns them away.
async fn turned_away(server: &Server, email: &str, password: &str) -> bool {
    let browser = server.browser();
    browser.sign_in(email, password).await;
    browser.session_token().is_none()
}

/// What a person sees of their sessions that must not change on the way.
async fn seen(browser: &Browser) -> Vec<Value> {
    let mut listed = browser.get("/api/sessions").await.json();
    let mut sessions: Vec<Value> = listed.as_array_mut().unwrap().drain(..).collect();
    for session in &mut sessions {
        session.as_object_mut().unwrap().remove("lastSeenAt");
    }
    sessions
}

/// Through all engines and back into a file: what was signed in stays so, and what was not stays out.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_signs_in_again_on_the_way_through_every_engine() {
    let place = Place::new();
    let password = new_password();
    for (user, more) in [(ALICE, &["--operator"][..]), (BOB, &[]), (CAROL, &[])] {
        place.add_user_with(user, &password, more);
    }
    let server = place.serve().await;
    let (first, second, bob) = (
        server.sign_in(ALICE, &password).await,
        server.sign_in(ALICE, &password).await,
        server.sign_in(BOB, &password).await,
    );
    let remembered = server.browser();
    remembered.sign_in_with(ALICE, &password, &[("remember", "true")]).await;
    let own = first.get("/api/sessions").await.json();
    let own = own.as_array().unwrap().iter().find(|session| session["isCurrent"] == true).unwrap()["id"].clone();
    let label = first.request(Method::PATCH, &format!("/api/sessions/{}", own.as_str().unwrap()));
    assert_eq!(Browser::send(label.json(&json!({"label": "Zoë's 📱"}))).await.status, 200);
    let ended = second.session_token().unwrap();
    second.post("/api/auth/signout", &[("csrfToken", &second.csrf().await)]).await;
    assert!(!with_token(&server, &ended).is_signed_in().await);
    let before = seen(&first).await;
    assert_eq!(before.len(), 2);
    let tokens = [&first, &remembered, &bob].map(|browser| browser.session_token().unwrap());
    let mut place = server.stop().await;
    place.done(&["user", "disable", CAROL]);

    let mut from = format!("sqlite:{}", place.database().display());
    let mut accounts = from.clone();
    for engine in [
        Engine::Postgres,
        Engine::Mariadb,
        Engine::Redis,
        Engine::RedisCluster,
        Engine::Valkey,
        Engine::Postgres,
        Engine::Sqlite,
    ] {
        let Some(to) = engine.fresh(&place.path().join("another.db")).await else {
            eprintln!("left out: {engine:?} cannot be had here");
            continue;
        };
        // As the operator had it until now.
        let report = copied(&place, &["--database-url", &from, "--to", &to]);
        assert_eq!(report["sessions"]["created"], 3, "{report}");
        assert_eq!((&report["sessions"]["inSource"], &report["sessions"]["inTarget"]), (&json!(3), &json!(3)));
        assert_eq!(report["accounts"].is_null(), !engine.holds_accounts(), "{report}");
        if engine.holds_accounts() {
            assert_eq!((&report["accounts"]["inTarget"], &report["accounts"]["inSource"]), (&json!(3), &json!(3)));
            accounts.clone_from(&to);
        }
        // A second run has nothing to do.
        let again = copied(&place, &["--from", &from, "--to", &to]);
        assert_eq!((&again["sessions"]["created"], &again["sessions"]["present"]), (&json!(0), &json!(3)), "{again}");

        let server = place
            .serve_with(|command| {
                command.env("HALLPASS_DATABASE_URL", &to).env("HALLPASS_ACCOUNTS_URL", &accounts);
            })
            .await;
        for token in &tokens {
            assert!(with_token(&server, token).is_signed_in().await, "{engine:?}");
        }
        assert!(!with_token(&server, &ended).is_signed_in().await, "{engine:?}: an ended session stays ended");
        assert_eq!(seen(&with_token(&server, &tokens[0])).await, before, "{engine:?}");
        assert!(turned_away(&server, CAROL, &password).await, "{engine:?}: a disabled account stays disabled");
        place = server.stop().await;
        from = to;
    }
    // The passwords went along.
    let server = place
        .serve_with(|command| {
            command.env("HALLPASS_DATABASE_URL", &from);
        })
        .await;
    assert!(server.sign_in(BOB, &password).await.is_signed_in().await);
    server.stop().await;
}

const MANY: u32 = 6_000;

/// Tokens of as many sessions, made by the library.
async fn many(store: Arc<dyn Store>) -> Vec<Token> {
    let sessions = Sessions::builder(store).policies(Policies::default()).build().unwrap();
    let mut tokens = Vec::new();
    let mut running = tokio::task::JoinSet::new();
    for n in 0..MANY {
        let sessions = sessions.clone();
        running.spawn(async move {
            sessions.create(SignIn::new(UserId::new(format!("user-{}", n % 100)).unwrap())).await.unwrap().token
        });
        if running.len() >= 128 {
            tokens.push(running.join_next().await.unwrap().unwrap());
        }
    }
    while let Some(token) = running.join_next().await {
        tokens.push(token.unwrap());
    }
    tokens
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_killed_goes_on_with_a_progress_bar_and_loses_nobody() {
    let place = Place::new();
    let from = format!("sqlite:{}", place.database().display());
    let source = SqliteStore::open(&place.database(), SqliteOptions::default()).await.unwrap();
    let tokens = many(Arc::new(source)).await;
    let to = databases::fresh_postgres();
    let target: Arc<dyn Store> = Arc::new(PostgresStore::connect(&to, PostgresOptions::default()).await.unwrap());
    let there = Sessions::builder(Arc::clone(&target)).build().unwrap();

    let mut first = place
        .command(&["copy", "--from", &from, "--to", &to])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while there.health().await.unwrap().live < u64::from(MANY / 10) {
        assert!(begun.elapsed() < PATIENCE, "the copy makes no way");
        assert!(first.try_wait().unwrap().is_none(), "the copy ended before it could be interrupted");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let left = there.health().await.unwrap().live;
    assert!(left < u64::from(MANY), "nothing was left to do");

    let line = format!("{} copy --from {from} --to '{to}'", env!("CARGO_BIN_EXE_hallpass"));
    let mut terminal = std::process::Command::new("script");
    terminal.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm-256color").current_dir(place.path());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HALLPASS_")) {
        terminal.env_remove(name);
    }
    let output = terminal.output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("copying sessions ["), "no progress bar: {shown:?}");
    assert!(shown.contains(&format!("{MANY} live in the source, {MANY} in the target")), "{shown}");
    // A write that was under way when the first run was killed may have been committed after the count.
    let present = shown.split(" copied, ").nth(1).unwrap().split(' ').next().unwrap().parse::<u64>().unwrap();
    assert!(present >= left, "{shown}");
    for token in &tokens {
        assert!(matches!(there.validate(token).await.unwrap(), Validation::Live { .. }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_lose_or_mix_something_is_refused_with_the_reason() {
    let place = Place::new();
    let password = new_password();
    place.add_user(ALICE, &password);
    let to = databases::fresh_postgres();
    let run = |args: &[&str]| place.run(&[&["copy"], args].concat());

    let itself = run(&["--to", "sqlite:./hallpass.db"]);
    assert_eq!(itself.status.code(), Some(1));
    assert!(error(&itself).contains("are the same database"), "{}", error(&itself));
    let nothing = run(&["--from", "sqlite:nowhere.db", "--to", &to]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(error(&nothing).contains("there is no database at sqlite:nowhere.db"), "{}", error(&nothing));
    assert!(!place.path().join("nowhere.db").exists());
    assert_eq!(run(&[]).status.code(), Some(2), "the target must be named");
    for (args, words) in [
        (&["--to", "postgre://u:hunter22@h/d"][..], "flag --to)"),
        (&["--to", "sqlite:x.db", "--from", "postgres://u:hunter22@h/d?sslmode=hunter22"], "flag --from)"),
        (&["--to-file", "missing"], "flag --to-file)"),
    ] {
        let refused = run(args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {}", error(&refused));
        assert!(error(&refused).contains(words) && !error(&refused).contains("hunter22"), "{}", error(&refused));
    }

    // A database that people use already: with an account of its own, and with a session of its own.
    let used = Place::on(&to);
    used.add_user(BOB, &password);
    let refused = run(&["--to", &to]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(error(&refused).contains("which the source does not have"), "{}", error(&refused));
    assert!(error(&refused).contains("hallpass user delete"), "{}", error(&refused));
    let server = used.serve().await;
    let bob = server.sign_in(BOB, &password).await;
    let refused = run(&["--sessions-only", "--to", &to]);
    assert!(error(&refused).contains("the target is in use: it has the session"), "{}", error(&refused));
    assert!(bob.is_signed_in().await);
    assert!(turned_away(&server, ALICE, &password).await, "nothing was written");
    server.stop().await;
}

/// An account that was changed in the target is not set back, and one that was changed in the source follows.
#[tokio::test(flavor = "multi_thread")]
async fn a09_a_second_copy_takes_changes_along_and_undoes_none() {
    let place = Place::new();
    let password = new_password();
    place.add_user(ALICE, &password);
    place.add_user(BOB, &password);
    let file = place.path().join("url");
    let to = databases::fresh_postgres();
    std::fs::write(&file, &to).unwrap();
    let args = ["--to-file", file.to_str().unwrap()];
    assert_eq!(copied(&place, &args)["accounts"]["created"], 2);

    let renewed = new_password();
    place.set_password(ALICE, &renewed);
    place.done(&["user", "disable", BOB]);
    let report = copied(&place, &args);
    assert_eq!((&report["accounts"]["present"], &report["accounts"]["updated"]), (&json!(2), &json!(2)));
    let server = Place::on(&to).serve().await;
    assert!(server.sign_in(ALICE, &renewed).await.is_signed_in().await);
    assert!(turned_away(&server, ALICE, &password).await && turned_away(&server, BOB, &password).await);

    // Now the target is the one in use.
    let there = server.stop().await;
    there.done(&["sessions", "revoke", "--everyone", "--yes"]);
    there.done(&["user", "disable", ALICE]);
    let refused = place.run(&[&["copy"], &args[..]].concat());
    assert_eq!(refused.status.code(), Some(1));
    assert!(error(&refused).contains("is disabled in the target and not in the source"), "{}", error(&refused));
    let server = there.serve().await;
    assert!(turned_away(&server, ALICE, &renewed).await, "it stays disabled");
    server.stop().await;
}

/// What changes in the source while its accounts are copied goes along, or the copy says that it is not complete.
#[tokio::test(flavor = "multi_thread")]
async fn a09_an_account_that_is_disabled_while_it_is_copied_is_disabled_there() {
    let place = Place::new();
    let password = new_password();
    let file = SqliteAccounts::open(&place.database()).unwrap();
    for number in 0..600 {
        let email = Email::parse(&format!("user-{number}@example.org")).unwrap();
        let name = DisplayName::parse("Somebody").unwrap();
        file.create(NewAccount { email, name, operator: false, password_hash: None }, support::now_ms()).await.unwrap();
    }
    place.add_user(ALICE, &password);
    let server = place.serve().await;
    let token = server.sign_in(ALICE, &password).await.session_token().unwrap();
    let place = server.stop().await;
    let to = databases::fresh_postgres();
    let there = postgres::connect(&to).await.unwrap();

    let mut copying =
        place.command(&["copy", "--to", &to]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while there.count().await.unwrap() < 50 {
        assert!(begun.elapsed() < PATIENCE, "the copy makes no way");
    }
    place.done(&["user", "disable", ALICE]);
    if !copying.wait().unwrap().success() {
        place.done(&["copy", "--to", &to]);
    }
    let server = Place::on(&to).serve().await;
    assert!(!with_token(&server, &token).is_signed_in().await, "an ended session lives there");
    assert!(turned_away(&server, ALICE, &password).await, "a disabled account is enabled there");
    assert_eq!(there.count().await.unwrap(), 601);
    server.stop().await;
}

/// The settings may name the target already: where the accounts are depends on where the sessions are.
#[tokio::test(flavor = "multi_thread")]
async fn accounts_beside_redis_are_found_whatever_the_settings_name() {
    let (redis, to) = (databases::fresh_redis(databases::REDIS), databases::fresh_postgres());
    let place = Place::on(&redis);
    let password = new_password();
    place.add_user(ALICE, &password);
    let server = place.serve().await;
    let token = server.sign_in(ALICE, &password).await.session_token().unwrap();
    let place = server.stop().await;
    let run = |place: &Place, more: &[&str]| {
        let args = [&["copy", "--json", "--from", &redis, "--to", &to], more].concat();
        place.command(&args).env("HALLPASS_DATABASE_URL", &to).output().unwrap()
    };
    let elsewhere = run(&Place::new(), &[]);
    assert_eq!(elsewhere.status.code(), Some(1));
    assert!(error(&elsewhere).contains("would be in sqlite:hallpass.db, which is not there"), "{}", error(&elsewhere));
    let output = run(&place, &[]);
    assert!(output.status.success(), "{}", error(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["accounts"]["created"], &report["complete"]), (&json!(1), &json!(true)), "{report}");
    let server = Place::on(&to).serve().await;
    assert!(with_token(&server, &token).is_signed_in().await);
    assert!(server.sign_in(ALICE, &password).await.is_signed_in().await);
    server.stop().await;
}

#[test]
fn a_source_with_nothing_in_it_is_most_likely_the_wrong_one() {
    let place = Place::on(&databases::fresh_redis(databases::REDIS));
    let output = place.run(&["copy", "--to", "sqlite:new.db", "--sessions-only"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(error(&output).contains("there is nothing to copy in redis://"), "{}", error(&output));
}
