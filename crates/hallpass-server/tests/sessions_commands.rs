//! The command line beside a running server: two processes on one file.

#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use serde_json::Value;
use support::{Browser, Place, Server, new_password};

struct House {
    server: Server,
    alice: String,
    password: String,
}

async fn house() -> House {
    let place = Place::new();
    let password = new_password();
    let alice = place.add_user("alice@example.org", &password);
    place.add_user("bob@example.org", &password);
    House { server: place.serve().await, alice, password }
}

impl House {
    async fn sign_in(&self, name: &str) -> Browser {
        self.server.sign_in(&format!("{name}@example.org"), &self.password).await
    }

    fn done(&self, args: &[&str]) -> String {
        self.server.place.done(args)
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.done(&[args, &["--json"]].concat())).unwrap()
    }
}

async fn own_id(browser: &Browser) -> String {
    let listed = browser.get("/api/sessions").await.json();
    let current = listed.as_array().unwrap().iter().find(|session| session["isCurrent"] == true).unwrap();
    current["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_revocation_from_the_shell_is_refused_by_the_server_at_the_next_request() {
    let house = house().await;
    let (first, second, bob) = (house.sign_in("alice").await, house.sign_in("alice").await, house.sign_in("bob").await);
    let id = own_id(&first).await;

    assert_eq!(house.json(&["sessions", "revoke", &id, "--dry-run"])["matched"], 1);
    assert!(first.is_signed_in().await, "a dry run ends nothing");
    assert_eq!(house.done(&["sessions", "revoke", &id]).trim(), "ended 1 session");
    assert!(!first.is_signed_in().await);
    assert_eq!(house.done(&["sessions", "revoke", &id]).trim(), "ended 0 sessions", "idempotent");
    assert!(second.is_signed_in().await && bob.is_signed_in().await);

    let again = house.sign_in("alice").await;
    assert_eq!(house.json(&["sessions", "revoke", "--user", "alice@example.org"])["revoked"], 2);
    assert!(!second.is_signed_in().await && !again.is_signed_in().await);
    assert!(bob.is_signed_in().await);

    let third = house.sign_in("alice").await;
    assert_eq!(house.json(&["sessions", "revoke", "--everyone", "--dry-run"])["matched"], 2);
    assert!(third.is_signed_in().await);
    assert_eq!(house.json(&["sessions", "revoke", "--everyone", "--yes"])["revoked"], 2);
    assert!(!third.is_signed_in().await && !bob.is_signed_in().await);
    assert!(house.sign_in("bob").await.is_signed_in().await, "a sign-in afterwards holds");
}

#[tokio::test]
async fn a13_lists_show_who_where_and_until_when_but_no_token() {
    let house = house().await;
    let (first, second) = (house.sign_in("alice").await, house.sign_in("alice").await);
    let (id, ended) = (own_id(&first).await, own_id(&second).await);
    house.done(&["sessions", "revoke", &ended]);

    let listed = house.json(&["sessions", "list", "--user", "alice@example.org"]);
    let sessions = listed["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 1);
    assert_eq!(sessions[0]["id"], id.as_str());
    assert_eq!(sessions[0]["user"], house.alice.as_str());
    assert_eq!(sessions[0]["email"], "alice@example.org");
    assert_eq!(sessions[0]["device"]["name"], "Firefox on Linux");
    assert_eq!(sessions[0]["live"], true);

    let all = house.json(&["sessions", "list", "--all"]);
    let gone = all["sessions"].as_array().unwrap().iter().find(|session| session["id"] == ended.as_str()).unwrap();
    assert_eq!(gone["ended"]["reason"], "revoked");
    assert_eq!(gone["ended"]["by"]["kind"], "operator");

    let shown = [
        house.done(&["sessions", "list", "--all"]),
        house.done(&["sessions", "show", &id]),
        house.done(&["sessions", "show", &ended, "--json"]),
        all.to_string(),
    ]
    .concat();
    assert!(shown.contains("Firefox on Linux") && shown.contains("alice@example.org"));
    for browser in [&first, &second] {
        let token = browser.session_token().unwrap();
        assert!(!shown.contains(&token) && !shown.contains(&token[25..50]));
    }
}

#[tokio::test]
async fn lists_come_in_pages() {
    let house = house().await;
    for _ in 0..3 {
        house.sign_in("alice").await;
    }
    let first = house.json(&["sessions", "list", "--limit", "2"]);
    let next = first["next"].as_str().unwrap();
    let second = house.json(&["sessions", "list", "--limit", "2", "--after", next]);
    let ids: std::collections::BTreeSet<&str> = [&first, &second]
        .iter()
        .flat_map(|page| page["sessions"].as_array().unwrap())
        .map(|session| session["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 3);
    assert_eq!(second["next"], Value::Null);
}

#[tokio::test]
async fn what_cannot_be_done_says_why_and_echoes_no_token() {
    let house = house().await;
    let token = house.sign_in("alice").await.session_token().unwrap();
    let table: [(&[&str], &str); 7] = [
        (&["sessions", "show", "not-an-id"], "sessions list"),
        (&["sessions", "revoke", &token], "sessions list"),
        (&["sessions", "show", "00000000-0000-7000-8000-000000000000"], "no session"),
        (&["sessions", "revoke", "00000000-0000-7000-8000-000000000000"], "no session"),
        (&["sessions", "revoke", "--user", "nobody@example.org"], "no account"),
        (&["sessions", "revoke", "--user", "alice"], "no account alice"),
        (&["sessions", "list", "--user", "alice"], "no account alice"),
    ];
    for (args, wanted) in table {
        let output = house.server.place.run(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert!(error.contains(wanted), "{args:?}: {error}");
        assert!(!error.contains(&token), "a token was echoed");
    }
    assert!(house.server.browser().get("/api/sessions").await.status == 401);
}

#[tokio::test]
async fn policy_doctor_cleanup_and_migrate_answer_for_people_and_programs() {
    let house = house().await;
    let policy = house.json(&["policy"]);
    assert_eq!(policy["classes"][0]["class"], "web");
    assert_eq!(policy["classes"][0]["maxAgeSeconds"], 30 * 86_400);
    assert_eq!(policy["deviations"].as_array().unwrap().len(), 3);
    assert!(house.done(&["policy"]).contains("NIST SP 800-63B-4"));

    let aal2 = house.server.command(&["policy", "--json"]).env("HALLPASS_POLICY_PRESET", "aal2").output().unwrap();
    let aal2: Value = serde_json::from_slice(&aal2.stdout).unwrap();
    assert_eq!(aal2["classes"][0]["maxAgeSeconds"], 3600);
    assert!(aal2["deviations"].as_array().unwrap().is_empty());

    let contradiction =
        house.server.command(&["policy"]).env("HALLPASS_POLICY_WEB_UPDATE_AGE", "40d").output().unwrap();
    assert!(!contradiction.status.success());
    assert!(String::from_utf8_lossy(&contradiction.stderr).contains("update_age must be shorter than max_age"));

    let findings = house.json(&["doctor"]);
    let of =
        |check: &str| findings["findings"].as_array().unwrap().iter().find(|f| f["check"] == check).unwrap().clone();
    assert_eq!(of("configuration")["verdict"], "ok");
    assert_eq!(of("public URL")["verdict"], "warning");
    let database = of("database")["found"].as_str().unwrap().to_owned();
    assert_eq!(of("servers")["found"], "none answers from memory");
    assert_eq!(of("server")["found"], "none listens on 127.0.0.1:1");
    let listen = house.server.address().to_string();
    let running = house.json(&["doctor", "--listen", &listen]);
    let running = running["findings"].as_array().unwrap().iter().find(|f| f["check"] == "server").unwrap().clone();
    assert_eq!((&running["verdict"], &running["found"]), (&"ok".into(), &"strict".into()));
    assert!(["SQLite 3.", "PostgreSQL 1"].iter().any(|engine| database.starts_with(engine)), "{database}");

    assert_eq!(house.json(&["cleanup"])["cleaned"], 0);
    assert_eq!(house.json(&["cleanup", "--dry-run"])["matched"], 0);
    assert_eq!(house.json(&["migrate"])["schema"], 2);
}

/// What looks into the file, or is about it: not for the runs on other engines.
mod sqlite_file {
    use super::*;

    #[test]
    fn doctor_creates_no_database_and_says_what_is_missing() {
        let place = Place::new();
        let found = place.done(&["doctor"]);
        assert!(found.contains("does not exist yet") && found.contains("fix: `hallpass serve` creates it"), "{found}");
        assert!(!place.database().exists());

        std::fs::write(place.database(), "this is no database, whatever its name says, and it stays as it is").unwrap();
        let output = place.run(&["doctor"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stdout).contains("failed   database: "), "{output:?}");
        for args in [&["serve"][..], &["sessions", "list"], &["cleanup"]] {
            let output = place.run(args);
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{args:?}");
            assert!(error.contains("hallpass.db"), "{args:?}: {error}");
        }
        assert!(std::fs::read_to_string(place.database()).unwrap().ends_with("it stays as it is"));
    }

    #[test]
    fn commands_in_the_wrong_directory_make_no_database_and_say_so() {
        let place = Place::new();
        let commands: [&[&str]; 5] = [
            &["sessions", "revoke", "--everyone", "--yes"],
            &["sessions", "list"],
            &["user", "list"],
            &["user", "disable", "alice@example.org"],
            &["cleanup"],
        ];
        for args in commands {
            let output = place.run(args);
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{args:?}");
            assert!(
                error.contains("there is no database") && error.contains("HALLPASS_DATABASE_URL"),
                "{args:?}: {error}"
            );
            assert!(!place.database().exists(), "{args:?}");
        }
    }

    #[test]
    fn a_database_of_a_newer_program_is_left_alone() {
        let place = Place::new();
        place.done(&["migrate"]);
        let database = rusqlite::Connection::open(place.database()).unwrap();
        database
            .execute(
                "INSERT INTO hallpass_migrations SELECT 42, name, checksum FROM hallpass_migrations WHERE version = 1",
                [],
            )
            .unwrap();
        drop(database);
        for args in [&["serve"][..], &["sessions", "list"], &["doctor"]] {
            let output = place.run(args);
            let text =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
            assert!(text.contains("schema version 42") && text.contains("newer hallpass"), "{args:?}: {text}");
        }
    }
}
