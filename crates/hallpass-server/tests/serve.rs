//! Start, life and end of the server process.

#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::time::Duration;

use hallpass_core::{EndReason, Token};
use rusqlite::Connection;
use support::{PATIENCE, Place, Server, new_password};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

const EMAIL: &str = "alice@example.org";

/// Reads until the text is there; what was read.
async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut seen = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&seen).contains(text) {
            let count = stream.read(&mut buffer).await.unwrap();
            if count == 0 {
                break;
            }
            seen.extend_from_slice(&buffer[..count]);
        }
    };
    timeout(PATIENCE, read).await.unwrap();
    String::from_utf8_lossy(&seen).into_owned()
}

/// A sign-in whose headers the server has read and whose body has not begun: the answer to `Expect` says so.
async fn begun_sign_in(server: &Server, password: &str) -> (TcpStream, String) {
    let browser = server.browser();
    let csrf = browser.csrf().await;
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("csrfToken", csrf.as_str()), ("email", EMAIL), ("password", password)])
        .finish();
    let head = format!(
        "POST /api/auth/callback/credentials HTTP/1.1\r\nhost: {}\r\ncookie: authjs.csrf-token={}\r\nsec-fetch-site: same-origin\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        server.address(),
        browser.cookie("authjs.csrf-token").unwrap(),
        body.len()
    );
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let seen = read_until(&mut stream, "\r\n\r\n").await;
    assert!(seen.starts_with("HTTP/1.1 100 "), "{seen}");
    (stream, body)
}

/// Waits until nobody listens any more.
async fn refused(server: &Server) {
    let closed = async {
        while TcpStream::connect(server.address()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, closed).await.unwrap();
}

#[tokio::test]
async fn either_signal_ends_it_with_exit_0_and_it_starts_again_on_the_same_file() {
    let mut server = Server::start().await;
    let password = new_password();
    server.add_user(EMAIL, &password);
    let browser = server.sign_in(EMAIL, &password).await;
    assert!(server.log().contains("sys_startup"));
    server.signal("INT");
    assert_eq!(server.ended().await, Some(0), "{}", server.log());
    assert!(server.log().contains("sys_shutdown"));
    // Idle keep-alive connections do not hold it up.
    let begun = Instant::now();
    let server = Place::serve(std::mem::replace(&mut server.place, Place::new())).await;
    let place = server.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let server = place.serve().await;
    let again = server.browser();
    again.set_cookie("session", &browser.session_token().unwrap());
    assert!(again.is_signed_in().await, "sessions outlive the process");
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_new_connections_are_refused() {
    let mut server = Server::start().await;
    let password = new_password();
    server.add_user(EMAIL, &password);
    let (mut stream, body) = begun_sign_in(&server, &password).await;
    server.signal("TERM");
    refused(&server).await;
    stream.write_all(body.as_bytes()).await.unwrap();
    let seen = read_until(&mut stream, "set-cookie: session=").await;
    assert!(seen.starts_with("HTTP/1.1 302 ") && seen.contains("set-cookie: session=hp_"), "{seen}");
    let (_, rest) = seen.split_once("set-cookie: session=").unwrap();
    support::record(rest.split(';').next().unwrap());
    assert_eq!(server.ended().await, Some(0), "{}", server.log());
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_after_the_drain_timeout() {
    let mut server = Server::start_with(&[("HALLPASS_DRAIN_TIMEOUT", "1s")]).await;
    let (mut stream, _) = begun_sign_in(&server, "whatever it may be").await;
    let begun = Instant::now();
    server.signal("TERM");
    assert_eq!(server.ended().await, Some(0), "{}", server.log());
    let took = begun.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(8)).contains(&took), "{took:?}");
    assert!(server.log().contains("cut off"), "{}", server.log());
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty(), "no answer was invented");
}

#[tokio::test]
async fn a_second_signal_does_not_wait() {
    let mut server = Server::start_with(&[("HALLPASS_DRAIN_TIMEOUT", "10m")]).await;
    let (_stream, _) = begun_sign_in(&server, "whatever it may be").await;
    server.signal("TERM");
    refused(&server).await;
    server.signal("TERM");
    assert_eq!(server.ended().await, Some(0), "{}", server.log());
}

#[tokio::test]
async fn a_taken_port_is_a_clear_error() {
    let first = Server::start().await;
    let place = Place::new();
    let output = place.run(&["serve", "--listen", &first.address()]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    for part in [first.address().as_str(), "`listen`", "HALLPASS_LISTEN", "choose another"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(output.stdout.is_empty(), "nothing claims to listen");
    let output = place.run(&["serve", "--listen", "192.0.2.1:8080", "--insecure-http"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && error.contains("no such address"), "{error}");
}

#[tokio::test]
async fn health_says_whether_the_stores_answer_and_when_tasks_last_worked() {
    let server = Server::start().await;
    let browser = server.browser();
    let begun = Instant::now();
    let health = loop {
        let answer = browser.get("/healthz").await;
        assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"));
        let health = answer.json();
        if !health["background"]["sessionEnds"]["lastSuccess"].is_null() {
            break health;
        }
        assert!(begun.elapsed() < PATIENCE, "{health}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(health["status"], "ok");
    assert_eq!(health["stores"], serde_json::json!({"sessions": true, "accounts": true}));
    for task in ["lastSeen", "sweep", "sessionEnds"] {
        assert_eq!(health["background"][task]["failures"], 0, "{task}");
    }
    // Whoever asks, with whatever cookie.
    browser.set_cookie("session", "garbage");
    let answer = browser.get("/healthz").await;
    assert_eq!((answer.status, answer.set_cookies().len()), (200, 0));
}

#[tokio::test]
async fn a_head_too_large_is_431_and_the_server_goes_on() {
    let server = Server::start().await;
    for bytes in [40_000, 100_000] {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let head = format!("GET /signin HTTP/1.1\r\nhost: x\r\ncookie: a={}\r\n\r\n", "x".repeat(bytes));
        // The server may answer and close before all of it is written.
        let _ = stream.write_all(head.as_bytes()).await;
        let seen = read_until(&mut stream, "\r\n").await;
        assert!(seen.starts_with("HTTP/1.1 431 "), "{bytes}: {seen}");
    }
    // Within the bound for all headers, above the one for cookies.
    let browser = server.browser();
    browser.set_cookie("a", &"x".repeat(20_000));
    assert_eq!(browser.get("/signin").await.status, 431);
    assert_eq!(server.browser().get("/signin").await.status, 200);
}

#[tokio::test]
async fn bytes_that_are_no_http_end_the_connection_and_nothing_else() {
    let server = Server::start().await;
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"\0\0\0\0", b"GET / HTTP/1.1\r\nhost: x\r\ncookie: \0\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut seen = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut seen)).await.unwrap();
        let seen = String::from_utf8_lossy(&seen);
        assert!(seen.is_empty() || seen.starts_with("HTTP/1.1 400 "), "{seen}");
    }
    assert_eq!(server.browser().get("/signin").await.status, 200);
}

#[tokio::test]
async fn a52_no_token_and_no_password_in_the_log_at_its_most_talkative() {
    for format in ["text", "json"] {
        let server = Server::start_with(&[("HALLPASS_LOG", "trace"), ("HALLPASS_LOG_FORMAT", format)]).await;
        let password = new_password();
        server.add_user(EMAIL, &password);
        let mut secrets = vec![password.clone()];
        let browser = server.sign_in(EMAIL, &password).await;
        let wrong = new_password();
        server.browser().sign_in(EMAIL, &wrong).await;
        server.browser().sign_in(EMAIL, &format!("{wrong}{}", "x".repeat(1024))).await;
        secrets.push(wrong);
        let token = browser.session_token().unwrap();
        let csrf = browser.csrf().await;
        // In places where a mistaken client may put one.
        browser.get(&format!("/api/sessions/{token}")).await;
        browser.get(&format!("/signin?callbackUrl=/{token}&session={token}")).await;
        browser.get(&format!("/{token}")).await;
        let request = browser
            .request(reqwest::Method::DELETE, "/api/sessions")
            .json(&serde_json::json!({"sessionToken": &token}));
        assert_eq!(support::Browser::send(request).await.status, 200);
        browser.get("/api/sessions").await;
        let bearer = server.browser();
        support::Browser::send(bearer.request(reqwest::Method::GET, "/api/sessions").bearer_auth(&token)).await;
        secrets.push(csrf);
        // The secret half alone, too.
        assert!(Token::parse(token.as_bytes()).is_ok());
        secrets.push(token["hp_".len() + 22..].to_owned());
        secrets.push(token);
        let place = server.stop().await;
        let log = std::fs::read_to_string(place.path().join("server.log")).unwrap();
        assert!(log.contains("DEBUG") && log.contains("authn_login_fail") && log.contains("/signin"), "{log}");
        for secret in &secrets {
            assert!(!log.contains(secret.as_str()), "{format}: {secret} is in the log");
        }
        for line in log.lines() {
            assert!(!line.contains("hp_"), "{line}");
        }
    }
}

/// What looks into the file, or is about it: not for the runs on other engines.
mod sqlite_file {
    use super::*;

    #[tokio::test]
    async fn health_is_503_when_the_accounts_do_not_answer() {
        let server = Server::start().await;
        let database = Connection::open(server.database()).unwrap();
        database.execute_batch("ALTER TABLE account_users RENAME TO gone").unwrap();
        let answer = server.browser().get("/healthz").await;
        assert_eq!((answer.status, &answer.json()["status"]), (503, &serde_json::json!("unavailable")));
        assert_eq!(answer.json()["stores"], serde_json::json!({"sessions": true, "accounts": false}));
        // A46: what the database said is for the log alone.
        assert!(
            !answer.body.contains("account_users") && server.log().contains("health check failed"),
            "{}",
            answer.body
        );
        let browser = server.browser();
        let failed = browser.sign_in(EMAIL, "whatever it may be").await;
        assert_eq!((failed.status, failed.set_cookies().len()), (503, 0));
        assert!(!failed.body.contains("account_users"));
    }

    #[tokio::test]
    async fn a09_what_a_killed_command_left_undone_is_done_at_the_next_start() {
        let server = Server::start().await;
        let password = new_password();
        let id = server.add_user(EMAIL, &password);
        let browser = server.sign_in(EMAIL, &password).await;
        let place = server.kill();
        // As `user disable` leaves it when it is killed between its two steps.
        let database = Connection::open(place.database()).unwrap();
        database.execute("UPDATE account_users SET disabled_at = 1 WHERE id = ?1", [&id]).unwrap();
        database
            .execute(
                "INSERT INTO account_session_ends (user_id, reason, created_at) VALUES (?1, ?2, 1)",
                [id.as_str(), EndReason::UserDisabled.as_str()],
            )
            .unwrap();
        let server = place.serve().await;
        let again = server.browser();
        again.set_cookie("session", &browser.session_token().unwrap());
        let begun = Instant::now();
        while again.is_signed_in().await {
            assert!(begun.elapsed() < Duration::from_secs(10), "the session lives on: {}", server.log());
            again.set_cookie("session", &browser.session_token().unwrap());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let left =
            || database.query_row("SELECT count(*) FROM account_session_ends", [], |row| row.get::<_, i64>(0)).unwrap();
        while left() > 0 {
            assert!(begun.elapsed() < Duration::from_secs(10), "the note stays");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn last_seen_times_are_written_at_the_end() {
        let server = Server::start().await;
        let password = new_password();
        server.add_user(EMAIL, &password);
        let browser = server.sign_in(EMAIL, &password).await;
        let id = browser.get("/api/sessions").await.json()[0]["id"].as_str().unwrap().to_owned();
        let database = Connection::open(server.database()).unwrap();
        database.busy_timeout(Duration::from_secs(5)).unwrap();
        let old = support::now_ms() - 600_000;
        database.execute("UPDATE hallpass_sessions SET last_seen_at = ?1", [old]).unwrap();
        assert!(browser.is_signed_in().await);
        let place = server.stop().await;
        let shown: serde_json::Value = serde_json::from_str(&place.done(&["sessions", "show", &id, "--json"])).unwrap();
        let stored: i64 =
            database.query_row("SELECT last_seen_at FROM hallpass_sessions", [], |row| row.get(0)).unwrap();
        assert!(stored > old + 500_000, "{shown}");
    }
}
