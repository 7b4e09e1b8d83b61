//! A store that does not answer is neither "signed in" nor "signed out" (G8), and says nothing of itself (A46).

use crate::app::{App, Options, SECRET};
use crate::faulty_store::{DETAIL, Mode};

fn assert_unavailable(answer: &crate::browser::Answer, what: &str) {
    assert_eq!(answer.status, 503, "{what}: {}", answer.body);
    assert_eq!(answer.header("retry-after"), Some("1"), "{what}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    assert_eq!(answer.cookie, None, "{what}: the cookie is left alone");
    for word in DETAIL.split(' ').filter(|word| word.len() > 4) {
        assert!(!answer.body.contains(word), "{what}: {}", answer.body);
        assert!(!answer.headers.values().any(|value| value.to_str().unwrap().contains(word)), "{what}");
    }
}

#[tokio::test]
async fn every_route_that_needs_the_store_answers_503() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    let id = browser.me().await.json()["id"].as_str().unwrap().to_owned();
    let json = ("content-type", "application/json");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let label = format!("/api/sessions/{id}");
    let requests = [
        ("GET", "/me", json, ""),
        ("GET", "/maybe", json, ""),
        ("GET", "/fresh", json, ""),
        ("POST", "/sign-in/alice", form, ""),
        ("POST", "/rotate", form, ""),
        ("POST", "/sign-out", form, ""),
        ("GET", "/api/sessions", json, ""),
        ("DELETE", "/api/sessions", json, r#"{"all":true}"#),
        ("PATCH", label.as_str(), json, r#"{"label":"x"}"#),
        ("GET", "/sessions", json, ""),
        ("POST", "/sessions/revoke", form, "id=x"),
        ("POST", "/sessions/revoke-others", form, ""),
        ("POST", "/sessions/label", form, "id=x&label=y"),
        ("POST", "/sessions/sign-out", form, ""),
    ];
    for mode in [Mode::Fails, Mode::FailsWrites] {
        app.store.set(mode);
        for (method, path, content_type, body) in requests {
            // With a store that reads, the reading routes work.
            if mode == Mode::FailsWrites && (method == "GET" || body == "id=x" || body == "id=x&label=y") {
                assert_eq!(
                    browser.send(method, path, &[content_type], body).await.status / 100 % 4,
                    if method == "GET" { 2 } else { 3 }
                );
                continue;
            }
            assert_unavailable(&browser.send(method, path, &[content_type], body).await, path);
        }
    }
    app.store.set(Mode::Fails);
    for path in ["/me", "/maybe", "/sessions"] {
        let answer = browser.navigate(path).await;
        assert_unavailable(&answer, path);
        assert!(answer.header("content-type").unwrap().starts_with("text/html"), "{path}: people get a page");
        assert!(answer.body.contains("<h1>Service Unavailable</h1>"), "{path}");
    }
    let bearer = format!("Bearer {SECRET}");
    let answer = app.browser().send("POST", "/api/cron/cleanup-sessions", &[("authorization", &bearer)], "").await;
    assert_unavailable(&answer, "cleanup");
    assert_eq!(browser.get("/plain").await.status, 200, "what needs no session goes on working");
    assert_eq!(app.browser().me().await.status, 401, "who presents nothing is certainly not signed in");
    assert_eq!(app.browser().get("/maybe").await.body, "nobody");
    app.store.set(Mode::Works);
    assert_eq!(browser.me().await.status, 200, "nobody was signed out by it");
    assert!(app.is_live(&id).await);
}

#[tokio::test]
async fn a_store_that_stalls_is_waited_for_only_so_long() {
    let app =
        App::with(Options { web: |web| web.store_timeout(std::time::Duration::from_millis(50)), ..Options::default() })
            .await;
    let mut browser = app.signed_in("alice").await;
    app.store.set(Mode::Stalls);
    for path in ["/me", "/maybe", "/api/sessions"] {
        let answer = tokio::time::timeout(std::time::Duration::from_secs(10), browser.get(path)).await.unwrap();
        assert_unavailable(&answer, path);
    }
    app.store.set(Mode::Works);
    assert_eq!(browser.me().await.status, 200);
}

#[tokio::test]
async fn a_failed_sign_in_leaves_no_cookie() {
    let app = App::start().await;
    app.store.set(Mode::FailsWrites);
    let mut browser = app.browser();
    assert_unavailable(&browser.post("/sign-in/alice", "").await, "sign-in");
    assert!(browser.cookie.is_none());
}
