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

    // And with a wait: whoever asks afterwards is refused, whatever the servers have in memory.
    for _ in 0..5 {
        let again = second.sign_in("alice@example.org", &password).await;
        assert!(is_known(&again).await && is_known(&again).await);
        let printed = place.done(&["--database-url", &url, "sessions", "revoke", "--user", &account, "--wait"]);
        assert!(!is_known(&again).await, "accepted after the wait");
        assert_eq!(printed, "everywhere ended 1 session\n");
    }

    let of_second =
        ["--database-url", &url, "--listen", &second.address().to_string(), "--validation", "cached", "doctor"];
    let doctor = place.done(&of_second);
    for part in [
        "up to 2s",
        "ok       servers: 2 may answer from memory; the revocation log ends at 7",
        "ok       server: cached; ",
    ] {
        assert!(doctor.contains(part), "{part}: {doctor}");
    }
    assert!(doctor.contains("log position 7") && doctor.contains("the last hint came "), "{doctor}");
    let place_of_first = first.stop().await;
    let doctor = place_of_first.done(&of_second);
    assert!(doctor.contains("servers: 1 may answer from memory"), "the other one has left: {doctor}");
}

/// A server that stands still is waited for, and not a moment longer than it may answer from memory; `doctor` names it.
#[tokio::test]
async fn g6_r4_a_server_that_stands_still_accepts_nothing_after_the_wait() {
    let place = Place::new();
    let url = format!("sqlite:{}", place.database().display());
    let password = new_password();
    let account = place.add_user("alice@example.org", &password);
    let server = server(&url).await;
    let alice = server.sign_in("alice@example.org", &password).await;
    assert!(is_known(&alice).await && is_known(&alice).await);
    server.signal("STOP");
    let begun = Instant::now();
    place.done(&["--database-url", &url, "sessions", "revoke", "--user", &account, "--wait"]);
    let took = begun.elapsed();
    let doctor = place.done(&["--database-url", &url, "doctor"]);
    server.signal("CONT");
    assert!(!is_known(&alice).await, "accepted after the wait");
    assert!(took >= LEASE, "it did not wait: {took:?}");
    assert!(
        doctor.contains("warning  servers: 1 may answer from memory; the revocation log ends at 1; not yet there: "),
        "{doctor}"
    );
}

#[tokio::test]
async fn metrics_are_for_those_who_have_the_secret() {
    const SECRET: &str = "a-secret-of-the-monitoring-0123456789";
    let metrics = async |server: &Server, authorization: Option<&str>| {
        let mut request = server.browser().request(http::Method::GET, "/metrics");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        Browser::send(request).await
    };
    let without = server("sqlite:hallpass.db").await;
    let right = format!("Bearer {SECRET}");
    assert_eq!(metrics(&without, Some(&right)).await.status, 404, "without a secret the endpoint does not exist");
    let place = Place::new();
    let password = new_password();
    place.add_user("alice@example.org", &password);
    let server = place
        .serve_with(|command| {
            command.env("HALLPASS_VALIDATION", "cached").env("HALLPASS_METRICS_SECRET", SECRET);
        })
        .await;
    for wrong in [None, Some("Bearer "), Some("Bearer undefined"), Some(SECRET)] {
        let answer = metrics(&server, wrong).await;
        assert_eq!((answer.status, answer.body.contains("hallpass_")), (401, false), "{wrong:?}");
    }
    let alice = server.sign_in("alice@example.org", &password).await;
    let begun = Instant::now();
    let text = loop {
        assert!(is_known(&alice).await);
        let answer = metrics(&server, Some(&right)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
        assert_eq!(answer.header("cache-control"), "no-store");
        if number_of(&answer.body, "hallpass_cache_hits_total").is_some_and(|hits| hits >= 3.0) {
            break answer.body;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", answer.body);
    };
    assert!(text.ends_with("# EOF\n"), "{text}");
    let is = |name: &str, expected: fn(f64) -> bool| {
        let found = number_of(&text, name);
        assert!(found.is_some_and(expected), "{name} is {found:?} in {text}");
    };
    is("hallpass_lease_seconds", |value| value == 2.0);
    is("hallpass_lease_left_seconds", |value| value > 0.0 && value <= 2.0);
    is("hallpass_log_position", |value| value == 0.0);
    is("hallpass_log_age_seconds", |value| value < 2.0);
    is("hallpass_cache_sessions", |value| value == 1.0);
    is("hallpass_cache_bytes", |value| value > 100.0);
    is("hallpass_nodes", |value| value == 1.0);
    is("hallpass_nodes_log_position_min", |value| value == 0.0);
    is("hallpass_background_failures_total{task=\"follow\"}", |value| value == 0.0);
    is("hallpass_background_last_success_timestamp_seconds{task=\"follow\"}", |value| value > 1.7e9);
    let token = alice.session_token().unwrap();
    assert!(!text.contains("alice") && !text.contains(&token));
}

/// The value on the line of this name.
fn number_of(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}
