//! Cached validation in the program: two servers on one database.

mod support;

use std::time::Duration;

use serde_json::Value;
use support::{Browser, Place, Server, new_password};
use tokio::time::Instant;

const LEASE: Duration = Duration::from_secs(2);

async fn server(url: &str) -> Server {
    let cached = |command: &mut std::process::Command| {
        command.env("HALLPASS_VALIDATION", "cached");
    };
    Place::on(url).serve_with(cached).await
}

async fn validation(server: &Server) -> Value {
    server.browser().get("/healthz").await.json()["validation"].clone()
}

/// Whether a request without side effects is answered as signed in; by memory, where the server may.
async fn is_known(browser: &Browser) -> bool {
    let answer = browser.get("/api/auth/session").await;
    assert_eq!(answer.status, 200);
    !answer.json().is_null()
}

/// Asks until the server no longer knows the session. No request that starts a lease or more after the acknowledgement may be accepted.
async fn refused_within_a_lease(browser: &Browser, acknowledged: Instant) {
    loop {
        let started = acknowledged.elapsed();
        if !is_known(browser).await {
            return;
        }
        assert!(started < LEASE, "accepted by a request that started {started:?} after the acknowledgement");
    }
}

#[tokio::test]
async fn g3_two_servers_answer_from_memory_and_hear_of_each_others_revocations() {
    let place = Place::new();
    let url = format!("sqlite:{}", place.database().display());
    let password = new_password();
    let account = place.add_user("alice@example.org", &password);
    let (first, second) = (server(&url).await, server(&url).await);
    let alice = first.sign_in("alice@example.org", &password).await;
    // The same browser at the other server.
    let elsewhere = second.browser();
    elsewhere.set_cookie("session", &alice.session_token().unwrap());
    let begun = Instant::now();
    let before = loop {
        assert!(is_known(&elsewhere).await && is_known(&alice).await);
        let health = validation(&second).await;
        if health["hits"].as_u64().unwrap() >= 5 {
            break health;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing is answered from memory: {health}");
    };
    assert_eq!((before["mode"].as_str(), before["leaseMs"].as_u64()), (Some("cached"), Some(2_000)));
    assert!(before["leaseLeftMs"].as_u64().unwrap() > 0, "{before}");

    assert_eq!(alice.submit("/sessions/sign-out", &[]).await.status, 303);
    let acknowledged = Instant::now();
    assert!(!is_known(&alice).await, "the server that ended it refuses at once");
    refused_within_a_lease(&elsewhere, acknowledged).await;

    // The same from the command line, which is a program of its own.
    let again = second.sign_in("alice@example.org", &password).await;
    assert!(is_known(&again).await && is_known(&again).await);
    place.done(&["--database-url", &url, "sessions", "revoke", "--user", &account]);
    refused_within_a_lease(&again, Instant::now()).await;
    let doctor = place.done(&["--database-url", &url, "--validation", "cached", "doctor"]);
    assert!(doctor.contains("up to 2s"), "{doctor}");
}
