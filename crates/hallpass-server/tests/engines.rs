//! The program on every engine: the same steps for each. `scripts/services run -- cargo test -p hallpass-server --test engines`

#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use support::databases::engine::Engine;
use support::databases::instance::Instance;
use support::{Browser, PATIENCE, Place, Server, new_password};
use tokio::time::Instant;

const ALICE: &str = "alice@example.org";
const BOB: &str = "bob@example.org";

fn json_of(place: &Place, args: &[&str]) -> Value {
    serde_json::from_str(&place.done(&[args, &["--json"]].concat())).unwrap()
}

async fn own_id(browser: &Browser) -> String {
    let listed = browser.get("/api/sessions").await.json();
    let current = listed.as_array().unwrap().iter().find(|session| session["isCurrent"] == true).unwrap();
    current["id"].as_str().unwrap().to_owned()
}

/// Sign-in over HTTP, listing and revoking from both sides, accounts, clean-up, a restart, and what the commands print.
async fn whole_life(engine: Engine) {
    let place = Place::new();
    let Some(url) = engine.fresh(&place.database()).await else {
        eprintln!("not tested: {engine:?} cannot be had here");
        return;
    };
    let place = Place::on(&url);
    let migrated = json_of(&place, &["migrate"]);
    assert!(migrated["schema"].as_u64().unwrap() >= 1, "{migrated}");
    assert!(!migrated["database"].as_str().unwrap().contains('?'), "{migrated}");
    // Accounts beside Redis are in a file of this directory.
    assert_eq!(place.database().exists(), !engine.holds_accounts(), "where the accounts are");

    let password = new_password();
    let alice = place.add_user(ALICE, &password);
    place.add_user(BOB, &password);
    let duplicate = place.run_with_input(
        &["user", "add", ALICE, "--name", "Other", "--password-stdin"],
        &format!("{}\n", new_password()),
    );
    assert_eq!(duplicate.status.code(), Some(1));
    assert_eq!(json_of(&place, &["user", "list"])["users"].as_array().unwrap().len(), 2);

    let server = place.serve().await;
    let health = server.browser().get("/healthz").await;
    assert_eq!((health.status, &health.json()["stores"]), (200, &json!({"sessions": true, "accounts": true})));
    let sign_in = |email| server.sign_in(email, &password);
    let (first, second, bob) = (sign_in(ALICE).await, sign_in(ALICE).await, sign_in(BOB).await);
    assert_eq!(first.get("/api/auth/session").await.json()["user"]["email"], ALICE);
    let page = first.visit("/sessions").await;
    assert!(page.body.contains("Firefox on Linux"), "{} {}\n{}", page.status, page.body, server.log());
    assert_eq!(first.get("/api/sessions").await.json().as_array().unwrap().len(), 2);
    let wrong = server.browser().sign_in(ALICE, &new_password()).await;
    assert!(wrong.status == 401 || wrong.url().contains("error="), "{wrong:?}");

    // From the shell, seen at the next request.
    let of_alice = json_of(&server.place, &["sessions", "list", "--user", ALICE]);
    assert_eq!(of_alice["sessions"].as_array().unwrap().len(), 2);
    assert_eq!(of_alice["sessions"][0]["user"], alice.as_str());
    let id = own_id(&first).await;
    assert_eq!(json_of(&server.place, &["sessions", "revoke", &id])["revoked"], 1);
    assert_eq!(first.get("/api/sessions").await.status, 401);
    assert_eq!(json_of(&server.place, &["sessions", "revoke", &id])["revoked"], 0, "idempotent");
    assert!(second.is_signed_in().await && bob.is_signed_in().await);
    assert_eq!(json_of(&server.place, &["sessions", "show", &id])["ended"]["reason"], "revoked");

    // From the browser: all others, never somebody else's.
    let third = sign_in(ALICE).await;
    let label = third.request(Method::PATCH, &format!("/api/sessions/{}", own_id(&third).await));
    assert_eq!(Browser::send(label.json(&json!({"label": "Zoë's 📱"}))).await.status, 200);
    let foreign = third.request(Method::DELETE, "/api/sessions").json(&json!({"sessionToken": own_id(&bob).await}));
    assert_eq!(Browser::send(foreign).await.json()["revoked"], 0);
    let others = third.request(Method::DELETE, "/api/sessions").json(&json!({"all": true}));
    assert_eq!(Browser::send(others).await.json()["revoked"], 1);
    assert!(!second.is_signed_in().await && third.is_signed_in().await && bob.is_signed_in().await);
    assert_eq!(third.get("/api/sessions").await.json()[0]["label"], "Zoë's 📱");

    // Changed accounts end their sessions.
    let renewed = new_password();
    server.place.set_password(ALICE, &renewed);
    assert!(!third.is_signed_in().await);
    let alice_again = server.sign_in(ALICE, &renewed).await;
    assert_eq!(json_of(&server.place, &["user", "disable", ALICE])["sessionsEnded"], 1);
    assert!(!alice_again.is_signed_in().await);
    json_of(&server.place, &["user", "enable", ALICE]);
    let alice_again = server.sign_in(ALICE, &renewed).await;
    assert_eq!(json_of(&server.place, &["sessions", "revoke", "--user", ALICE])["revoked"], 1);
    assert!(!alice_again.is_signed_in().await);

    // Sessions outlive the process.
    let server = server.stop().await.serve().await;
    let again = server.browser();
    again.set_cookie("session", &bob.session_token().unwrap());
    assert!(again.is_signed_in().await);

    doctor_tells_of(engine, &server.place, 1);

    // Ended ones go when their retention is over: a second, for this command.
    let begun = Instant::now();
    let mut cleaned = 0;
    while cleaned < 5 {
        let command = ["cleanup", "--json"];
        let output = server.command(&command).env("HALLPASS_ENDED_RETENTION", "1s").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        cleaned += serde_json::from_slice::<Value>(&output.stdout).unwrap()["cleaned"].as_u64().unwrap();
        assert!(begun.elapsed() < PATIENCE, "only {cleaned} of 5 were removed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(cleaned, 5);
    assert!(again.is_signed_in().await, "a live one stays");

    let everyone = ["sessions", "revoke", "--everyone"];
    assert_eq!(json_of(&server.place, &[&everyone[..], &["--dry-run"]].concat())["matched"], 1);
    assert!(again.is_signed_in().await);
    assert_eq!(json_of(&server.place, &[&everyone[..], &["--yes"]].concat())["revoked"], 1);
    assert!(!again.is_signed_in().await);
    assert!(server.sign_in(BOB, &password).await.is_signed_in().await, "a sign-in afterwards holds");
    assert_eq!(json_of(&server.place, &["user", "delete", BOB])["sessionsEnded"], 1);
    server.stop().await;
}

fn doctor_tells_of(engine: Engine, place: &Place, live: u64) {
    let findings = json_of(place, &["doctor"]);
    let found = |check: &str| -> Vec<(String, String)> {
        let of = findings["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == check);
        let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
        of.map(|finding| (text(finding, "verdict"), text(finding, "found"))).collect()
    };
    let database = found("database");
    let (verdict, first) = &database[0];
    assert!(verdict == "ok" && first.starts_with(engine.name()), "{first}");
    assert!(first.ends_with(&format!("{live} live sessions")), "{first}");
    assert!(database.len() > 1, "facts of the engine follow: {database:?}");
    assert_eq!(found("clock")[0].0, "ok");
    let accounts = &found("accounts")[0].1;
    assert!(
        accounts.starts_with("2 in ")
            && accounts.contains("sqlite:") != (engine != Engine::Sqlite && engine.holds_accounts()),
        "{accounts}"
    );
}

/// A52: nothing that signs in stands in the log, however much of it is asked for; the drivers' own included.
async fn a52_the_log_at_its_most_talkative_holds_no_secret(engine: Engine) {
    let place = Place::new();
    let Some(url) = engine.fresh(&place.database()).await else { return };
    let server = Place::on(&url)
        .serve_with(|command| {
            command.env("HALLPASS_LOG", "trace");
        })
        .await;
    let password = new_password();
    server.add_user(ALICE, &password);
    let browser = server.sign_in(ALICE, &password).await;
    let token = browser.session_token().unwrap();
    assert!(browser.is_signed_in().await);
    let place = server.stop().await;
    let log = std::fs::read_to_string(place.path().join("server.log")).unwrap();
    assert!(log.contains("DEBUG") && log.contains("/api/sessions"), "{log}");
    for secret in [password.as_str(), token.as_str(), &token[25..], "argon2id"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

/// The server of the database is away: 503 in time, nothing is taken for signed out, and all is well soon after it is back.
async fn away_and_back(kind: &str) {
    let instance = Instance::start(kind, &[]);
    let place = Place::on(&instance.url);
    let password = new_password();
    place.add_user(ALICE, &password);
    let server = place.serve().await;
    let browser = server.sign_in(ALICE, &password).await;

    instance.cut();
    unavailable_in_time(&server, &browser, &password).await;
    instance.mend();
    back(&browser, kind, "the line is mended", BACK).await;

    instance.kill();
    unavailable_in_time(&server, &browser, &password).await;
    instance.restart();
    back(&browser, kind, "the server runs again", BACK).await;

    let id = own_id(&browser).await;
    assert_eq!(json_of(&server.place, &["sessions", "revoke", &id])["revoked"], 1);
    assert!(!browser.is_signed_in().await);
    server.sign_in(ALICE, &password).await;
}

/// How soon the program works again by itself once its database does.
const BACK: Duration = Duration::from_secs(2);

/// How soon where the database did not refuse its connections but went silent: three of them each wait for 5 seconds at most.
const SILENCE: Duration = Duration::from_secs(20);

/// Stores answer within 5 seconds; the rest is for a busy machine.
const IN_TIME: Duration = Duration::from_secs(9);

async fn unavailable_in_time(server: &Server, browser: &Browser, password: &str) {
    for path in ["/api/sessions", "/api/auth/session", "/sessions", "/healthz"] {
        let begun = Instant::now();
        let answer = browser.get(path).await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.body);
        assert!(answer.set_cookies().is_empty(), "{path}: nobody is signed out");
        assert!(begun.elapsed() < IN_TIME, "{path}: {:?}", begun.elapsed());
    }
    let begun = Instant::now();
    let refused = server.browser().sign_in(ALICE, password).await;
    assert_eq!((refused.status, refused.set_cookie("session")), (503, None), "{refused:?}");
    assert!(begun.elapsed() < IN_TIME, "{:?}", begun.elapsed());
    // The commands say so too.
    let begun = Instant::now();
    let output = server.place.run(&["sessions", "list"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && error.contains("127.0.0.1:"), "{error}");
    assert!(begun.elapsed() < IN_TIME, "{:?}", begun.elapsed());
}

async fn back(browser: &Browser, kind: &str, when: &str, within: Duration) {
    let begun = Instant::now();
    loop {
        let answer = browser.get("/api/sessions").await;
        let health = browser.get("/healthz").await;
        if answer.status == 200 && health.status == 200 {
            break;
        }
        assert_eq!(answer.status, 503, "{}", answer.body);
        assert!(begun.elapsed() < within, "{kind}: not back {:?} after {when}: {}", begun.elapsed(), answer.body);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eprintln!("{kind}: back {:?} after {when}", begun.elapsed());
}

macro_rules! on {
    ($($name:ident: $engine:ident),* $(,)?) => {$(
        mod $name {
            use super::Engine;

            #[tokio::test(flavor = "multi_thread")]
            async fn whole_life() {
                super::whole_life(Engine::$engine).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a52_the_log_at_its_most_talkative_holds_no_secret() {
                super::a52_the_log_at_its_most_talkative_holds_no_secret(Engine::$engine).await;
            }
        }
    )*};
}

on!(sqlite: Sqlite, postgres: Postgres, mariadb: Mariadb, redis: Redis, redis_cluster: RedisCluster, valkey: Valkey);

#[tokio::test(flavor = "multi_thread")]
async fn postgres_away_and_back() {
    away_and_back("postgres").await;
}

/// The URL names both servers, sessions and accounts alike: after the promotion nobody has to do anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_went_silent_is_left_for_its_promoted_standby() {
    let pair = Instance::start("postgres-pair", &[]);
    let authority = |url: &str| url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let (primary, standby) = (authority(&pair.members[0]), authority(&pair.members[1]));
    let place = Place::on(&pair.members[0].replacen(&primary, &format!("{primary},{standby}"), 1));
    let password = new_password();
    place.add_user(ALICE, &password);
    let server = place.serve().await;
    let (kept, ended) = (server.sign_in(ALICE, &password).await, server.sign_in(ALICE, &password).await);
    let id = own_id(&ended).await;
    assert_eq!(json_of(&server.place, &["sessions", "revoke", &id])["revoked"], 1);

    pair.freeze("primary");
    unavailable_in_time(&server, &kept, &password).await;
    pair.promote();
    // Each connection to a host that says nothing is given up by itself, after its time.
    let begun = Instant::now();
    while server.browser().sign_in(ALICE, &password).await.status != 200 {
        assert!(begun.elapsed() < SILENCE, "no sign-in {:?} after the promotion", begun.elapsed());
    }
    back(&kept, "postgres-pair", "the first sign-in", SILENCE).await;
    assert!(!ended.is_signed_in().await, "an acknowledged revocation is gone");
    assert!(server.sign_in(ALICE, &password).await.is_signed_in().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_away_and_back() {
    away_and_back("mariadb").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_away_and_back() {
    away_and_back("redis").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_cluster_away_and_back() {
    away_and_back("redis-cluster").await;
}

#[test]
fn a52_a_server_that_cannot_be_reached_is_named_with_what_to_do_and_without_the_password() {
    for (url, place) in [
        ("postgres://u:hunter22@127.0.0.1:1/app", "127.0.0.1:1/app"),
        ("mysql://u:hunter22@127.0.0.1:1/app", "127.0.0.1:1/app"),
        ("redis://u:hunter22@127.0.0.1:1/3", "127.0.0.1:1/3"),
        ("redis+cluster://u:hunter22@127.0.0.1:1,127.0.0.1:2", "127.0.0.1:1,127.0.0.1:2"),
    ] {
        let directory = Place::on(url);
        for args in [
            &["serve"][..],
            &["sessions", "list"],
            &["user", "list", "--json"],
            &["migrate"],
            &["doctor"],
            &["doctor", "--json"],
        ] {
            if url.starts_with("redis") && args[0] != "serve" {
                // The accounts' file is there, as where the server runs.
                std::fs::write(directory.database(), "").unwrap();
            }
            let output = directory.run(args);
            let printed =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert_eq!(output.status.code(), Some(1), "{url} {args:?}: {printed}");
            assert!(printed.contains(place) && printed.contains("can be reached"), "{url} {args:?}: {printed}");
            assert!(!printed.contains("hunter22"), "{url} {args:?}: {printed}");
        }
    }
    // Wrong settings are another exit code.
    let output = Place::on("postgre://u:hunter22@127.0.0.1:1/app").run(&["serve"]);
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{printed}");
    assert!(printed.contains("HALLPASS_DATABASE_URL") && printed.contains("did you mean postgres:?"), "{printed}");
    assert!(!printed.contains("hunter22"), "{printed}");
}

#[test]
fn doctor_warns_of_a_server_that_can_lose_what_was_acknowledged() {
    let instance = Instance::start("redis", &[]);
    let place = Place::on(&instance.url);
    place.done(&["migrate"]);
    assert!(!place.done(&["doctor"]).contains("warning  database"));
    let port = instance.url.rsplit(':').next().unwrap().split('/').next().unwrap().to_owned();
    let set = ["-p", &port, "config", "set", "appendfsync", "everysec"];
    assert!(std::process::Command::new("redis-cli").args(set).status().unwrap().success());
    let printed = place.done(&["doctor"]);
    let warning = printed.lines().find(|line| line.starts_with("warning  database")).unwrap();
    assert!(warning.contains("live again") && warning.contains("set appendfsync always"), "{warning}");
}

#[test]
fn a_password_on_the_command_line_is_warned_of() {
    let place = Place::new();
    let output = place.run(&["doctor", "--database-url", "postgres://u:hunter22@127.0.0.1:1/app"]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(printed.contains("warning  password: database_url is given as a flag"), "{printed}");
    assert!(!printed.contains("hunter22"), "{printed}");
    let silent = Place::on("postgres://u:hunter22@127.0.0.1:1/app").run(&["doctor"]);
    assert!(!String::from_utf8_lossy(&silent.stdout).contains("given as a flag"));
}

#[test]
fn commands_in_the_wrong_directory_make_no_accounts_beside_redis() {
    let place = Place::on("redis://127.0.0.1:1");
    for args in [&["sessions", "revoke", "--everyone", "--yes"][..], &["user", "list"], &["cleanup"]] {
        let output = place.run(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(error.contains("there is no database at sqlite:hallpass.db"), "{args:?}: {error}");
        assert!(error.contains("HALLPASS_ACCOUNTS_URL"), "{args:?}: {error}");
        assert!(!place.database().exists(), "{args:?}");
    }
}
