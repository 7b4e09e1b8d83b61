//! Headers of every kind of answer (ASVS 5.0, 3.2 to 3.5; A26, A33, A39, A54).

use crate::app::{App, SECRET};
use crate::browser::Answer;

const PAGE: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
const DATA: &str = "default-src 'none'; frame-ancestors 'none'";

fn common(answer: &Answer, what: &str) {
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{what}");
    assert_eq!(answer.header("referrer-policy"), Some("same-origin"), "{what}");
    assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"), "{what}");
}

#[tokio::test]
async fn json_and_empty_answers_of_every_route() {
    let app = App::start().await;
    let browser = app.signed_in("alice").await;
    let json = ("content-type", "application/json");
    let bearer = format!("Bearer {SECRET}");
    let id = browser.copy().me().await.json()["id"].as_str().unwrap().to_owned();
    let patch = format!("/api/sessions/{id}");
    for (method, path, header, body, status) in [
        ("GET", "/api/sessions", json, "", 200),
        ("GET", "/account/api/sessions", json, "", 200),
        ("GET", "/api/sessions?limit=0", json, "", 400),
        ("DELETE", "/api/sessions", json, r#"{"all":true}"#, 200),
        ("DELETE", "/api/sessions", json, "x", 400),
        ("DELETE", "/api/sessions", ("content-type", "text/plain"), "x", 415),
        ("DELETE", "/api/sessions", ("sec-fetch-site", "cross-site"), "x", 403),
        ("DELETE", "/api/sessions", ("cookie", "-"), "x", 401),
        ("POST", "/api/sessions", json, "", 405),
        ("PATCH", patch.as_str(), json, r#"{"label":"x"}"#, 200),
        ("PATCH", "/api/sessions/x", json, r#"{"label":"x"}"#, 404),
        ("PATCH", patch.as_str(), json, r#"{"label":"\u0001"}"#, 422),
        ("GET", "/api/cron/cleanup-sessions", ("authorization", bearer.as_str()), "", 200),
        ("GET", "/api/cron/cleanup-sessions", json, "", 401),
        ("HEAD", "/api/cron/cleanup-sessions", json, "", 405),
        ("POST", "/sessions/revoke", ("content-type", "text/plain"), "id=x", 415),
        ("POST", "/sessions/revoke", ("content-type", "application/x-www-form-urlencoded"), "id=x", 303),
        ("GET", "/sessions/revoke", json, "", 405),
    ] {
        let answer = browser.copy().send(method, path, &[header], body).await;
        assert_eq!(answer.status, status, "{method} {path}");
        common(&answer, path);
        assert_eq!(answer.header("content-security-policy"), Some(DATA), "{method} {path}");
        if !answer.body.is_empty() {
            assert_eq!(answer.header("content-type"), Some("application/json"), "{method} {path}");
        }
        if !matches!(status, 405 | 403) {
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
        }
        assert_eq!(answer.header("vary"), None, "{method} {path}: what is not stored varies by nothing");
    }
}

#[tokio::test]
async fn pages() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    for path in ["/sessions", "/account/sessions"] {
        let answer = browser.navigate(path).await;
        assert_eq!(answer.status, 200);
        common(&answer, path);
        assert_eq!(answer.header("content-security-policy"), Some(PAGE));
        assert_eq!(answer.header("cross-origin-opener-policy"), Some("same-origin"));
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!((answer.header("cache-control"), answer.header("vary")), (Some("no-store"), None));
    }
}

#[tokio::test]
async fn assets_are_revalidated_and_belong_to_nobody() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    for (name, content_type) in [
        ("hallpass.css", "text/css; charset=utf-8"),
        ("hallpass.svg", "image/svg+xml"),
        ("sessions.js", "text/javascript; charset=utf-8"),
        ("times.js", "text/javascript; charset=utf-8"),
    ] {
        let path = format!("/account/assets/{name}");
        let answer = browser.get(&path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)));
        common(&answer, name);
        assert!(answer.header("content-security-policy").unwrap().contains("default-src 'none'"));
        assert_eq!((answer.header("cache-control"), answer.header("vary")), (Some("no-cache"), None));
        let on_disk = std::fs::read_to_string(format!("{}/assets/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert_eq!(answer.body, on_disk);
        let tag = answer.header("etag").unwrap().to_owned();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".into()] {
            let again = app.browser().send("GET", &path, &[("if-none-match", &known)], "").await;
            assert_eq!((again.status, again.body.len()), (304, 0), "{known}");
        }
        assert_eq!(app.browser().send("GET", &path, &[("if-none-match", "\"x\"")], "").await.status, 200);
    }
}

#[tokio::test]
async fn a26_what_depends_on_a_session_is_not_cached_unless_the_application_says_so() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    for path in ["/me", "/maybe", "/fresh"] {
        for answer in [browser.get(path).await, app.browser().get(path).await] {
            assert_eq!((answer.header("cache-control"), answer.header("vary")), (Some("no-store"), None), "{path}");
        }
    }
    let plain = browser.get("/plain").await;
    assert_eq!((plain.header("cache-control"), plain.header("vary")), (None, None), "it did not ask");
    let cached = browser.get("/cached").await;
    assert_eq!(cached.header("cache-control"), Some("public, max-age=60"));
    let vary: Vec<_> = cached.headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["Accept-Encoding", "Cookie"], "even so it differs by cookie");
}

#[tokio::test]
async fn a33_a39_foreign_hosts_and_origins_show_up_nowhere() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    let evil = [
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "host=evil.example"),
        ("x-original-url", "/evil.example"),
        ("origin", "https://evil.example"),
        ("accept", "text/html"),
    ];
    let mut nobody = app.browser();
    for path in ["/sessions", "/account/sessions", "/me", "/api/sessions", "/fresh"] {
        for answer in [browser.send("GET", path, &evil, "").await, nobody.send("GET", path, &evil, "").await] {
            assert!(!answer.body.contains("evil"), "{path}");
            assert!(!answer.headers.values().any(|value| value.to_str().unwrap().contains("evil")), "{path}");
            assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control")), "{path}");
        }
    }
    let answer = browser
        .send(
            "OPTIONS",
            "/api/sessions",
            &[("origin", "https://evil.example"), ("access-control-request-method", "DELETE")],
            "",
        )
        .await;
    assert_eq!(answer.status, 405, "no preflight is granted");
}
