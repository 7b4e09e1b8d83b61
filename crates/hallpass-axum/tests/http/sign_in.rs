//! Fixation, rotation and signing out (issue item 4; A01, A02, A07, A25).

use hallpass_core::{Class, Event, OsEntropy, SessionId, SignIn, Token, UserId};

use crate::app::App;

fn never_issued() -> String {
    Token::generate(SessionId::from_bytes([9; 16]), &OsEntropy).unwrap().expose().as_str().to_owned()
}

/// After the sign-in: a fresh token in the cookie, which alone works.
async fn assert_fresh_and_old_dead(app: &App, browser: &crate::browser::Browser, planted: &[&str], user: &str) {
    let mut browser = browser.copy();
    assert_eq!(browser.me().await.json()["user"], user);
    for old in planted {
        assert_ne!(browser.token(), *old);
        let mut thief = app.browser();
        thief.cookie = Some((*old).to_owned());
        let answer = thief.me().await;
        assert_eq!((answer.status, answer.body.as_str()), (401, r#"{"error":"Unauthorized"}"#));
        let mut thief = app.browser();
        let answer = thief.send("GET", "/me", &[("authorization", &format!("Bearer {old}"))], "").await;
        assert_eq!(answer.status, 401);
    }
}

#[tokio::test]
async fn a02_a_token_that_was_never_issued_is_not_adopted() {
    let app = App::start().await;
    let planted = never_issued();
    let mut browser = app.browser();
    browser.cookie = Some(planted.clone());
    assert_eq!(browser.me().await.status, 401);
    browser.cookie = Some(planted.clone());
    assert_eq!(browser.post("/sign-in/alice", "").await.status, 200);
    assert_fresh_and_old_dead(&app, &browser, &[&planted], "alice").await;
    assert!(app.sessions.show(SessionId::from_bytes([9; 16])).await.unwrap().is_none(), "no row was made for it");
    assert!(app.events.count(|event| matches!(event, Event::Refused { .. })) >= 1);
}

#[tokio::test]
async fn a01_the_token_from_before_signing_in_again_is_dead_and_the_session_goes_on() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    let old = browser.token().to_owned();
    let id = browser.me().await.json()["id"].clone();
    let answer = browser.post("/sign-in/alice", "").await.json();
    assert_eq!((&answer["id"], &answer["now"], &answer["before"]), (&id, &id, &serde_json::json!("alice")));
    assert_fresh_and_old_dead(&app, &browser, &[&old], "alice").await;
}

#[tokio::test]
async fn an_expired_token_gives_a_fresh_session() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    let (old, id) = (browser.token().to_owned(), browser.me().await.json()["id"].clone());
    app.advance(31 * 86_400);
    let answer = browser.post("/sign-in/alice", "").await.json();
    assert_ne!(answer["id"], id);
    assert_eq!(answer["before"], serde_json::Value::Null);
    assert_fresh_and_old_dead(&app, &browser, &[&old], "alice").await;
}

#[tokio::test]
async fn a01_somebody_elses_session_is_ended_and_nothing_of_it_kept() {
    let app = App::start().await;
    let mallory = app.signed_in("mallory").await;
    let planted = mallory.token().to_owned();
    let theirs = mallory.copy().me().await.json()["id"].as_str().unwrap().to_owned();
    let mut victim = mallory.copy();
    let answer = victim.post("/sign-in/alice", "").await.json();
    assert_ne!(answer["id"], theirs.as_str());
    assert_fresh_and_old_dead(&app, &victim, &[&planted], "alice").await;
    assert!(!app.is_live(&theirs).await);
}

#[tokio::test]
async fn a25_two_cookies_of_our_name_are_nobody_and_a_sign_in_ends_both() {
    let app = App::start().await;
    let mut alice = app.signed_in("alice").await;
    let mut mallory = app.signed_in("mallory").await;
    let (own, planted) = (alice.token().to_owned(), mallory.token().to_owned());
    let ids = [alice.me().await.json()["id"].clone(), mallory.me().await.json()["id"].clone()];
    for cookies in [format!("session={own}; session={planted}"), format!("session={planted}; session={own}")] {
        let mut browser = app.browser();
        let reads = app.store.reads.load(std::sync::atomic::Ordering::SeqCst);
        let answer = browser.send("GET", "/me", &[("cookie", &cookies)], "").await;
        assert_eq!((answer.status, answer.cookie), (401, None), "neither is used, neither is known to be the dead one");
        assert_eq!(browser.send("GET", "/maybe", &[("cookie", &cookies)], "").await.body, "nobody");
        assert_eq!(app.store.reads.load(std::sync::atomic::Ordering::SeqCst), reads, "none is even looked up");
    }
    assert_eq!(app.events.count(|event| matches!(event, Event::AmbiguousCredentials { count: 2 })), 4);
    let mut browser = app.browser();
    let cookies = format!("session={planted}; session={own}");
    let answer = browser.send("POST", "/sign-in/bob", &[("cookie", &cookies)], "").await;
    assert_eq!(answer.status, 200);
    assert_fresh_and_old_dead(&app, &browser, &[&own, &planted], "bob").await;
    for id in ids {
        assert!(!app.is_live(id.as_str().unwrap()).await);
    }
}

#[tokio::test]
async fn a25_a_cookie_and_another_bearer_are_nobody_and_a_sign_in_ends_both() {
    let app = App::start().await;
    let (mut alice, mut mallory) = (app.signed_in("alice").await, app.signed_in("mallory").await);
    let ids = [alice.me().await.json()["id"].clone(), mallory.me().await.json()["id"].clone()];
    let bearer = format!("Bearer {}", mallory.token());
    let (own, planted) = (alice.token().to_owned(), mallory.token().to_owned());
    assert_eq!(alice.send("GET", "/me", &[("authorization", &bearer)], "").await.status, 401);
    assert_eq!(alice.me().await.status, 200, "and neither was harmed by it");
    assert_eq!(alice.send("POST", "/sign-in/alice", &[("authorization", &bearer)], "").await.status, 200);
    assert_fresh_and_old_dead(&app, &alice, &[&own, &planted], "alice").await;
    assert!(!app.is_live(ids[1].as_str().unwrap()).await);
}

#[tokio::test]
async fn a_second_sign_in_within_one_request_leaves_one_session() {
    let app = App::start().await;
    let mut browser = app.browser();
    let first = browser.post("/sign-in-twice/alice", "").await.body;
    assert!(!app.is_live(&first).await);
    assert_eq!(browser.me().await.json()["user"], "alice");
}

#[tokio::test]
async fn a_bearer_token_signs_in_programs_and_is_not_subject_to_the_cross_origin_rule() {
    let app = App::start().await;
    let issued = app.sessions.create(SignIn::new(UserId::new("robot").unwrap()).class(Class::API)).await.unwrap();
    let bearer = format!("Bearer {}", issued.token.expose().as_str());
    let mut program = app.browser();
    let headers = [("authorization", bearer.as_str()), ("origin", "-")];
    let answer = program.send("POST", "/me", &headers, "").await;
    assert_eq!((answer.status, answer.cookie), (200, None));
    // What it would never see is not done: its token stays good.
    assert_eq!(program.send("POST", "/rotate", &headers, "").await.status, 500);
    assert_eq!(program.send("POST", "/me", &headers, "").await.status, 200);
    let answer = program.send("POST", "/sign-out", &headers, "").await;
    assert_eq!((answer.status, answer.body.as_str(), answer.cookie), (200, "true", None));
    assert_eq!(program.send("POST", "/me", &headers, "").await.status, 401);
}

#[tokio::test]
async fn a_token_in_url_body_or_other_headers_admits_nobody() {
    let app = App::start().await;
    let token = app.signed_in("alice").await.token().to_owned();
    let mut browser = app.browser();
    for query in ["session", "token", "access_token", "sessionToken"] {
        assert_eq!(browser.get(&format!("/me?{query}={token}")).await.status, 401);
        assert_eq!(browser.post("/me", &format!("{query}={token}")).await.status, 401);
    }
    for (name, value) in [
        ("authorization", token.clone()),
        ("authorization", format!("Basic {token}")),
        ("x-session", token.clone()),
        ("proxy-authorization", format!("Bearer {token}")),
        ("cookie", format!("SESSION={token}")),
        ("cookie", format!("session=\"{token}\"")),
        ("cookie", format!("__Host-session={token}")),
    ] {
        assert_eq!(browser.send("GET", "/me", &[(name, &value)], "").await.status, 401, "{name}");
    }
}

#[tokio::test]
async fn rotation_kills_the_old_token_at_once_and_concurrent_requests_do_not_lose_the_new_cookie() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    let id = browser.me().await.json()["id"].as_str().unwrap().to_owned();
    for path in ["/rotate", "/reauthenticate"] {
        let mut old = browser.copy();
        assert_eq!(browser.post(path, "").await.body, id, "the session goes on");
        let answer = old.me().await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.cookie, None, "removing the cookie now would remove the new one");
        assert_eq!(browser.me().await.status, 200);
    }
    assert_eq!(app.browser().post("/rotate", "").await.status, 401);
}

#[tokio::test]
async fn two_concurrent_rotations_leave_exactly_one_token() {
    let app = App::start().await;
    let browser = app.signed_in("alice").await;
    let (mut one, mut two) = (browser.copy(), browser.copy());
    let (first, second) = tokio::join!(one.post("/rotate", ""), two.post("/rotate", ""));
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
    let (first, second) = (one.me().await.status, two.me().await.status);
    assert_eq!(first + second, 601, "one lives: {first} {second}");
    assert_eq!(browser.copy().me().await.status, 401);
}

#[tokio::test]
async fn a07_a_cookie_kept_over_signing_out_is_refused_everywhere() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    let kept = browser.copy();
    let answer = browser.post("/sign-out", "").await;
    assert_eq!(answer.body, "true");
    assert!(answer.removes_cookie());
    for (method, path) in
        [("GET", "/me"), ("GET", "/api/sessions"), ("DELETE", "/api/sessions"), ("GET", "/fresh"), ("GET", "/sessions")]
    {
        assert_eq!(
            kept.copy().send(method, path, &[("content-type", "application/json")], "").await.status,
            401,
            "{path}"
        );
    }
    let refused = app
        .events
        .count(|event| matches!(event, Event::Refused { reason, .. } if reason.to_string() == "ended: signed_out"));
    assert_eq!(refused, 5);
    assert_eq!(kept.copy().post("/sign-out", "").await.body, "false", "and ending it again ends nothing");
    assert_eq!(app.browser().post("/sign-out", "").await.body, "false");
}

#[tokio::test]
async fn a28_signing_out_makes_no_session_and_an_empty_cookie_matches_none() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    browser.post("/sign-out", "").await;
    assert_eq!(app.sessions.health().await.unwrap().live, 0);
    let answer = browser.send("GET", "/me", &[("cookie", "session=")], "").await;
    assert_eq!(answer.status, 401);
    for _ in 0..100 {
        browser.get("/maybe").await;
    }
    assert_eq!(app.store.everything(app.sessions.now()).await.len(), 1, "no request makes a row but a sign-in (A27)");
}

#[tokio::test]
async fn freshness_comes_from_authentication_alone() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    assert_eq!(browser.get("/fresh").await.status, 200);
    app.advance(15 * 60);
    assert_eq!(browser.get("/fresh").await.status, 200);
    browser.me().await;
    app.advance(1);
    let answer = browser.post("/fresh", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (401, r#"{"error":"reauth_required"}"#));
    assert_eq!(
        answer.header("www-authenticate"),
        Some(
            "Bearer error=\"insufficient_user_authentication\", error_description=\"A more recent authentication is required\", max_age=900"
        )
    );
    assert_eq!(answer.cookie, None, "the session lives");
    let answer = browser.navigate("/fresh").await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/signin?callbackUrl=%2Ffresh&prompt=login")));
    browser.post("/rotate", "").await;
    assert_eq!(browser.get("/fresh").await.status, 401, "a new token is no new authentication");
    browser.post("/reauthenticate", "").await;
    assert_eq!(browser.get("/fresh").await.status, 200);
    assert_eq!(app.browser().get("/fresh").await.body, r#"{"error":"Unauthorized"}"#);
}

#[tokio::test]
async fn a_sign_in_notes_where_it_came_from() {
    let app = App::start().await;
    let mut browser = app.browser();
    browser.user_agent = "curl/8.5.0".into();
    browser.post("/sign-in/alice", "").await;
    let list = browser.get("/api/sessions").await.json();
    assert_eq!((&list[0]["ip"], &list[0]["device"]["name"]), (&"127.0.0.1".into(), &"curl".into()));
}

#[tokio::test]
async fn a_user_id_that_is_none_is_refused_without_a_session() {
    let app = App::start().await;
    let mut browser = app.browser();
    let answer = browser.post(&format!("/sign-in/{}", "x".repeat(256)), "").await;
    assert_eq!((answer.status, answer.cookie), (422, None));
    assert_eq!(browser.post(&format!("/sign-in/{}", "x".repeat(255)), "").await.status, 200);
}

#[tokio::test]
async fn a_bearer_client_gets_no_cookie_when_its_session_is_extended() {
    let app = App::start().await;
    let sign_in = SignIn::new(UserId::new("robot").unwrap()).class(Class::REMEMBERED);
    let issued = app.sessions.create(sign_in).await.unwrap();
    let token = issued.token.expose();
    let bearer = format!("Bearer {}", token.as_str());
    app.advance(86_400);
    let answer = app.browser().send("GET", "/me", &[("authorization", &bearer)], "").await;
    assert_eq!((answer.status, answer.cookie), (200, None));
    assert_eq!(app.events.count(|event| matches!(event, Event::Renewed { .. })), 1);
    app.advance(86_400);
    let both = [("authorization", bearer.as_str()), ("cookie", &format!("session={}", token.as_str()))];
    assert!(
        app.browser().send("GET", "/me", &both, "").await.cookie.is_some(),
        "with the same token as cookie it does"
    );
}

#[tokio::test]
async fn an_unauthorized_answer_names_a_scheme() {
    let app = App::start().await;
    assert_eq!(app.browser().me().await.header("www-authenticate"), Some("Bearer"));
}
