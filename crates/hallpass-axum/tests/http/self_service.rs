//! The HTTP contract of the self-service API (issue item 2; A15, A32).

use hallpass_core::Event;
use serde_json::{Value, json};

use crate::app::{App, Options};
use crate::browser::{Answer, Browser};
use crate::faulty_store::Mode;

pub(crate) async fn list(browser: &mut Browser) -> Vec<Value> {
    let answer = browser.get("/api/sessions").await;
    assert_eq!(answer.status, 200);
    answer.json().as_array().unwrap().clone()
}

pub(crate) async fn id_of(browser: &Browser) -> String {
    browser.copy().me().await.json()["id"].as_str().unwrap().to_owned()
}

pub(crate) async fn end(browser: &mut Browser, body: &Value) -> Answer {
    browser.delete_json("/api/sessions", &body.to_string()).await
}

pub(crate) fn revoked(n: u64) -> String {
    format!(r#"{{"revoked":{n},"success":true}}"#)
}

pub(crate) async fn bounded<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(std::time::Duration::from_secs(30), future).await.expect("nothing happened for 30 seconds")
}

#[tokio::test]
async fn without_a_session_every_route_is_401_and_nothing_else() {
    let app = App::start().await;
    let json = [("content-type", "application/json")];
    let patch = "/api/sessions/0199b1c4-7f2a-7c3e-9d1b-5a6f0e2d4c81";
    for (method, path, body) in [
        ("GET", "/api/sessions", ""),
        ("DELETE", "/api/sessions", r#"{"all":true}"#),
        ("DELETE", "/api/sessions", "broken"),
        ("PATCH", patch, r#"{"label":"x"}"#),
    ] {
        let answer = app.browser().send(method, path, &json, body).await;
        assert_eq!((answer.status, answer.body.as_str()), (401, r#"{"error":"Unauthorized"}"#), "{method}");
        // Not even for a browser that would rather have a page.
        let navigation = [json[0], ("accept", "text/html"), ("sec-fetch-mode", "navigate")];
        let answer = app.browser().send(method, path, &navigation, body).await;
        assert_eq!((answer.status, answer.body.as_str()), (401, r#"{"error":"Unauthorized"}"#), "{method}");
    }
}

#[tokio::test]
async fn revoke_by_public_id_signs_that_device_out_at_its_next_request() {
    let app = App::start().await;
    let (mut here, mut there) = (app.signed_in("alice").await, app.signed_in("alice").await);
    let id = id_of(&there).await;
    let answer = end(&mut here, &json!({ "sessionToken": id })).await;
    assert_eq!((answer.status, answer.body), (200, revoked(1)));
    assert_eq!(there.me().await.status, 401);
    assert_eq!(here.me().await.status, 200);
    assert_eq!(list(&mut here).await.len(), 1);
    assert_eq!(end(&mut here, &json!({ "sessionToken": id })).await.body, revoked(0), "idempotent");
    assert_eq!(end(&mut here, &json!({ "sessionToken": id.to_uppercase() })).await.body, revoked(0));
}

#[tokio::test]
async fn revoke_by_full_token_uses_its_id_and_only_for_the_owner() {
    let app = App::start().await;
    let (mut alice, mut other, mut bob) =
        (app.signed_in("alice").await, app.signed_in("alice").await, app.signed_in("bob").await);
    let token = other.token().to_owned();
    assert_eq!(end(&mut bob, &json!({ "sessionToken": token })).await.body, revoked(0));
    assert_eq!(other.me().await.status, 200);
    assert_eq!(end(&mut alice, &json!({ "sessionToken": token })).await.body, revoked(1));
    assert_eq!(other.me().await.status, 401);
}

#[tokio::test]
async fn a15_foreign_unknown_and_garbage_are_answered_alike_and_change_nothing() {
    let app = App::start().await;
    let (mut alice, bob) = (app.signed_in("alice").await, app.signed_in("bob").await);
    let foreign = id_of(&bob).await;
    let long = "x".repeat(10_000);
    for named in [
        foreign.as_str(),
        bob.token(),
        "0199b1c4-7f2a-7c3e-9d1b-5a6f0e2d4c81",
        "",
        "garbage",
        "hp_garbage",
        "' OR 1=1 --",
        "%",
        "\0",
        long.as_str(),
    ] {
        let answer = end(&mut alice, &json!({ "sessionToken": named })).await;
        assert_eq!((answer.status, answer.body), (200, revoked(0)), "{named}");
    }
    assert!(app.is_live(&foreign).await);
    assert_eq!(bob.copy().me().await.status, 200);
    assert_eq!(alice.me().await.status, 200);
    let known = alice
        .send(
            "PATCH",
            &format!("/api/sessions/{foreign}"),
            &[("content-type", "application/json")],
            r#"{"label":"mine"}"#,
        )
        .await;
    let unknown = "/api/sessions/0199b1c4-7f2a-7c3e-9d1b-5a6f0e2d4c81";
    let unknown = alice.send("PATCH", unknown, &[("content-type", "application/json")], r#"{"label":"mine"}"#).await;
    assert_eq!((known.status, &known.body), (404, &unknown.body));
    assert_eq!(unknown.status, 404);
    assert_eq!(list(&mut bob.copy()).await[0]["label"], Value::Null);
}

#[tokio::test]
async fn all_ends_every_other_and_keeps_exactly_the_current() {
    let app = App::start().await;
    let mut here = app.signed_in("alice").await;
    let mut others = vec![app.signed_in("alice").await, app.signed_in("alice").await];
    let mut bob = app.signed_in("bob").await;
    assert_eq!(end(&mut here, &json!({ "all": true })).await.body, revoked(2));
    for other in &mut others {
        assert_eq!(other.me().await.status, 401);
    }
    assert_eq!((here.me().await.status, bob.me().await.status), (200, 200));
    assert_eq!(list(&mut here).await.len(), 1);
    assert_eq!(end(&mut here, &json!({ "all": true })).await.body, revoked(0));
    let next = app.signed_in("alice").await;
    assert_eq!(next.copy().me().await.status, 200, "later sign-ins are not touched by it");
}

#[tokio::test]
async fn ending_the_current_one_removes_its_cookie() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    let kept = browser.copy();
    let id = id_of(&browser).await;
    let answer = end(&mut browser, &json!({ "sessionToken": id })).await;
    assert_eq!((answer.status, answer.body.clone()), (200, revoked(1)));
    assert!(answer.removes_cookie() && browser.cookie.is_none());
    assert_eq!(kept.copy().me().await.status, 401);
    let by_user = |event: &Event| matches!(event, Event::Ended { reason, .. } if reason.as_str() == "signed_out");
    assert_eq!(app.events.count(by_user), 1);
}

#[tokio::test]
async fn bodies_that_say_something_else_are_400_and_change_nothing() {
    let app = App::start().await;
    let (mut here, there) = (app.signed_in("alice").await, app.signed_in("alice").await);
    let id = id_of(&there).await;
    for body in [
        String::new(),
        String::from("{}"),
        String::from("null"),
        String::from("true"),
        String::from("{"),
        String::from(r#"{"all":false}"#),
        String::from(r#"{"all":"true"}"#),
        String::from(r#"{"all":1}"#),
        String::from(r#"{"all":null}"#),
        String::from(r#"{"sessionToken":null}"#),
        String::from(r#"{"sessionToken":1}"#),
        format!(r#"{{"sessionToken":["{id}"]}}"#),
        format!(r#"{{"sessionToken":"{id}","all":true}}"#),
        format!(r#"{{"sessionToken":"{id}","all":false}}"#),
        format!(r#"{{"sessionToken":"{id}","extra":1}}"#),
        format!(r#"{{"sessionToken":"x","sessionToken":"{id}"}}"#),
        format!(r#"{{"sessiontoken":"{id}"}}"#),
        format!(r#"{{"id":"{id}"}}"#),
        format!(r#"{{"sessionToken":"{id}"}} x"#),
        String::from(r#"[null,true]"#),
        format!(r#"["{id}",null]"#),
        format!("sessionToken={id}"),
    ] {
        let answer = here.delete_json("/api/sessions", &body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.json()["error"].is_string(), "{body}");
    }
    // A lone surrogate and broken UTF-8 are no text.
    assert_eq!(here.delete_json("/api/sessions", r#"{"sessionToken":"\ud800"}"#).await.status, 400);
    assert!(app.is_live(&id).await);
    assert_eq!(here.me().await.status, 200);
}

#[tokio::test]
async fn a32_other_content_types_are_415() {
    let app = App::start().await;
    let (mut here, there) = (app.signed_in("alice").await, app.signed_in("alice").await);
    let body = json!({ "sessionToken": id_of(&there).await }).to_string();
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "text/json",
        "application/json-patch+json",
        "x application/json",
    ] {
        let answer = here.send("DELETE", "/api/sessions", &[("content-type", content_type)], &body).await;
        assert_eq!(answer.status, 415, "{content_type}");
    }
    assert_eq!(here.send("DELETE", "/api/sessions", &[], &body).await.status, 415, "none at all");
    let twice = [("content-type", "text/plain"), ("content-type", "application/json")];
    assert_eq!(here.send("DELETE", "/api/sessions", &twice, &body).await.status, 415);
    assert_eq!(there.copy().me().await.status, 200);
    for content_type in ["application/json; charset=utf-8", "Application/JSON"] {
        let answer =
            here.send("DELETE", "/api/sessions", &[("content-type", content_type)], r#"{"sessionToken":"x"}"#).await;
        assert_eq!(answer.status, 200, "{content_type}");
    }
}

#[tokio::test]
async fn bodies_over_16_kib_are_413() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    let id = id_of(&browser).await;
    let of = |size: usize| format!(r#"{{"sessionToken":"{}"}}"#, "x".repeat(size - 19));
    assert_eq!(of(100).len(), 100);
    assert_eq!(browser.delete_json("/api/sessions", &of(16 * 1024)).await.body, revoked(0));
    for size in [16 * 1024 + 1, 1_000_000] {
        let answer = browser.delete_json("/api/sessions", &of(size)).await;
        assert_eq!(answer.status, 413, "{size}");
        let json = [("content-type", "application/json")];
        assert_eq!(browser.send("PATCH", &format!("/api/sessions/{id}"), &json, &of(size)).await.status, 413);
        assert_eq!(browser.post("/sessions/revoke", &"x".repeat(size)).await.status, 413);
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_bounded_too() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let app = App::start().await;
    let browser = app.signed_in("alice").await;
    let mut stream = tokio::net::TcpStream::connect(app.address).await.unwrap();
    let head = format!(
        "DELETE /api/sessions HTTP/1.1\r\nhost: x\r\norigin: {}\r\ncookie: session={}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        app.web.origin(),
        browser.token(),
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    for _ in 0..5 {
        let _ = stream.write_all(chunk.as_bytes()).await;
    }
    let mut answer = [0; 12];
    tokio::time::timeout(std::time::Duration::from_secs(20), stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a32_cross_site_requests_are_403_and_change_nothing() {
    let app = App::start().await;
    let (mut here, there) = (app.signed_in("alice").await, app.signed_in("alice").await);
    let id = id_of(&there).await;
    let body = json!({ "sessionToken": id }).to_string();
    let json = ("content-type", "application/json");
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "-")],
        &[("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "cross-site"), ("x-http-method-override", "GET")],
    ] {
        for (method, path, body, content_type) in [
            ("DELETE", "/api/sessions", body.as_str(), json),
            ("PATCH", "/api/sessions/x", r#"{"label":"x"}"#, json),
            ("POST", "/sessions/revoke", "id=x", ("content-type", "application/x-www-form-urlencoded")),
            ("POST", "/sessions/revoke-others", "", ("content-type", "application/x-www-form-urlencoded")),
            ("POST", "/sessions/sign-out", "", ("content-type", "text/plain")),
            ("POST", "/sign-in/mallory", "", ("content-type", "text/plain")),
        ] {
            let all = [headers, &[content_type]].concat();
            let answer = here.send(method, path, &all, body).await;
            assert_eq!((answer.status, answer.body.as_str()), (403, r#"{"error":"Forbidden"}"#), "{path} {headers:?}");
        }
    }
    assert_eq!(app.events.count(|event| matches!(event, Event::CrossOriginRefused { .. })), 7 * 6);
    assert_eq!((here.me().await.json()["user"].as_str(), there.copy().me().await.status), (Some("alice"), 200));
    // A login form posted from elsewhere without any cookie of ours: the browser says so.
    let answer = app.browser().send("POST", "/sign-in/mallory", &[("sec-fetch-site", "cross-site")], "").await;
    assert_eq!(answer.status, 403);
    for site in ["same-origin", "none"] {
        let answer =
            here.send("DELETE", "/api/sessions", &[json, ("sec-fetch-site", site)], r#"{"sessionToken":"x"}"#).await;
        assert_eq!(answer.status, 200, "{site}");
    }
}

#[tokio::test]
async fn trusted_origins_may_send_and_others_not() {
    let app =
        App::with(Options { web: |web| web.trusted_origins(["https://admin.example"]), ..Options::default() }).await;
    let mut browser = app.signed_in("alice").await;
    let json = ("content-type", "application/json");
    for (origin, status) in
        [("https://admin.example", 200), ("http://admin.example", 403), ("https://admin.example.evil.example", 403)]
    {
        let headers = [json, ("origin", origin), ("sec-fetch-site", "cross-site")];
        assert_eq!(
            browser.send("DELETE", "/api/sessions", &headers, r#"{"sessionToken":"x"}"#).await.status,
            status,
            "{origin}"
        );
    }
}

#[tokio::test]
async fn wrong_methods_are_405_with_allow() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    for (method, path, allow) in [
        ("POST", "/api/sessions", "GET,HEAD,DELETE"),
        ("PUT", "/api/sessions", "GET,HEAD,DELETE"),
        ("TRACE", "/api/sessions", "GET,HEAD,DELETE"),
        ("GET", "/api/sessions/x", "PATCH"),
        ("DELETE", "/api/sessions/x", "PATCH"),
        ("GET", "/sessions/revoke", "POST"),
        ("GET", "/sessions/revoke-others", "POST"),
        ("GET", "/sessions/sign-out", "POST"),
        ("GET", "/sessions/label", "POST"),
        ("POST", "/sessions", "GET,HEAD"),
        ("POST", "/assets/hallpass.css", "GET,HEAD"),
        ("HEAD", "/api/cron/cleanup-sessions", "GET, POST"),
        ("DELETE", "/api/cron/cleanup-sessions", "GET,HEAD,POST"),
    ] {
        let answer = browser.send(method, path, &[], "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {path}");
    }
    assert_eq!(browser.me().await.status, 200);
}

#[tokio::test]
async fn a26_nothing_lives_under_or_beside_the_routes() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    for path in [
        "/sessions/",
        "/sessions/x.css",
        "/sessions/revoke/x",
        "/api/sessions/",
        "/api/sessions/x/y",
        "/sessions.css",
        "/assets/",
        "/assets/../sessions.js",
        "/assets/%2e%2e/Cargo.toml",
    ] {
        assert_eq!(browser.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn labels() {
    let app = App::start().await;
    let (mut here, there) = (app.signed_in("alice").await, app.signed_in("alice").await);
    let id = id_of(&there).await;
    let path = format!("/api/sessions/{id}");
    let json = [("content-type", "application/json")];
    async fn label_of(browser: &mut Browser, id: &str) -> Value {
        list(browser).await.into_iter().find(|each| each["id"] == id).unwrap()["label"].clone()
    }
    for (body, label) in [
        (json!({ "label": " Kitchen tablet " }), json!("Kitchen tablet")),
        (json!({ "label": "<script>alert(1)</script>" }), json!("<script>alert(1)</script>")),
        (json!({ "label": null }), Value::Null),
        (json!({ "label": "ü".repeat(64) }), json!("ü".repeat(64))),
        (json!({ "label": "  " }), Value::Null),
    ] {
        let answer = here.send("PATCH", &path, &json, &body.to_string()).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"success":true}"#), "{body}");
        assert_eq!(label_of(&mut here, &id).await, label);
    }
    for bad in ["x".repeat(65), "a\nb".into(), "a\u{1b}[31m".into(), "\0".into()] {
        let answer = here.send("PATCH", &path, &json, &json!({ "label": bad }).to_string()).await;
        assert_eq!(answer.status, 422, "{bad:?}");
        assert!(answer.json()["error"].is_string());
    }
    for bad in ["{}", r#"{"label":1}"#, r#"{"label":"x","id":"y"}"#, r#"["x"]"#, "null", ""] {
        assert_eq!(here.send("PATCH", &path, &json, bad).await.status, 400, "{bad}");
    }
    assert_eq!(here.send("PATCH", &path, &[("content-type", "text/plain")], r#"{"label":"x"}"#).await.status, 415);
    assert_eq!(label_of(&mut here, &id).await, Value::Null, "none of these wrote anything");
    for unknown in ["x", "%00", "%ff", "..%2f", &"x".repeat(2000)] {
        let answer = here.send("PATCH", &format!("/api/sessions/{unknown}"), &json, r#"{"label":"x"}"#).await;
        assert_eq!((answer.status, answer.body.as_str()), (404, r#"{"error":"Not Found"}"#), "{unknown}");
    }
    end(&mut here, &json!({ "sessionToken": id })).await;
    assert_eq!(here.send("PATCH", &path, &json, r#"{"label":"x"}"#).await.status, 404, "ended");
}

#[tokio::test]
async fn the_routes_work_under_a_path_and_get_changes_nothing() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    let other = app.signed_in("alice").await;
    let rows = app.store.everything(app.sessions.now()).await;
    for path in [
        "/account/api/sessions",
        "/account/sessions",
        "/api/sessions",
        "/sessions",
        "/me",
        "/maybe",
        "/sessions?notice=ended",
    ] {
        assert_eq!(browser.get(path).await.status, 200, "{path}");
        assert_eq!(browser.send("HEAD", path, &[], "").await.status, 200, "{path}");
    }
    assert!(app.store.everything(app.sessions.now()).await == rows);
    let body = json!({ "sessionToken": id_of(&other).await });
    assert_eq!(browser.delete_json("/account/api/sessions", &body.to_string()).await.body, revoked(1));
}

#[tokio::test]
async fn a06_a_session_that_ends_while_it_ends_others_ends_nothing() {
    let app = App::start().await;
    let (here, there) = (app.signed_in("alice").await, app.signed_in("alice").await);
    let (own, other) = (id_of(&here).await, id_of(&there).await);
    app.store.set(Mode::StallsRevoke);
    let mut late = here.copy();
    let request = tokio::spawn(async move { late.delete_json("/api/sessions", r#"{"all":true}"#).await });
    bounded(app.store.arrived.notified()).await;
    app.store.set(Mode::Works);
    let by = hallpass_core::Actor::operator("op");
    app.sessions.revoke(own.parse().unwrap(), None, &by, hallpass_core::EndReason::Revoked).await.unwrap();
    app.store.release.notify_one();
    let answer = bounded(request).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (401, r#"{"error":"Unauthorized"}"#));
    assert!(answer.removes_cookie());
    assert!(app.is_live(&other).await, "whoever was signed out signs nobody else out");
}
