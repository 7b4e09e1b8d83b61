//! When the cookie is set, extended and removed (A26, A45, A50, A55).

use hallpass_core::{Actor, CacheSettings, EndReason, ValidationMode};

use crate::app::{App, Options};

const DAY: u64 = 86_400;

#[tokio::test]
async fn a55_https_uses_the_prefixed_name_and_the_other_name_is_nothing() {
    let app = App::https().await;
    assert_eq!(app.web.cookie_name(), "__Host-session");
    let mut browser = app.signed_in("alice").await;
    assert_eq!(browser.me().await.status, 200);
    let plain = format!("session={}", browser.token());
    assert_eq!(app.browser().send("GET", "/me", &[("cookie", &plain)], "").await.status, 401);
}

#[tokio::test]
async fn the_cookie_is_set_only_when_token_or_expiry_changed() {
    let app = App::start().await;
    let mut web = app.signed_in("alice").await;
    for _ in 0..3 {
        assert_eq!(web.me().await.cookie, None);
    }
    app.advance(DAY);
    assert_eq!(web.me().await.cookie, None, "extended, but its cookie ends with the browser anyway");

    let mut remembered = app.browser();
    let set = remembered.post("/remember/bob", "").await.cookie.unwrap();
    assert_eq!(set.max_age, Some(90 * 86_400));
    app.advance(DAY - 1);
    assert_eq!(remembered.me().await.cookie, None);
    app.advance(1);
    let again = remembered.me().await.cookie.unwrap();
    assert_eq!((again.value, again.max_age), (set.value, Some(90 * 86_400)), "the same token with a later expiry");
    assert_eq!(remembered.me().await.cookie, None, "once");
}

#[tokio::test]
async fn the_last_extension_ends_with_the_absolute_limit() {
    let app = App::start().await;
    let mut browser = app.browser();
    browser.post("/remember/bob", "").await;
    for _ in 0..5 {
        app.advance(60 * DAY);
        assert_eq!(browser.me().await.cookie.unwrap().max_age.map(|age| age <= 90 * 86_400), Some(true));
    }
    app.advance(40 * DAY);
    assert_eq!(browser.me().await.cookie.unwrap().max_age, Some(25 * 86_400), "365 days after signing in it is over");
    app.advance(25 * DAY);
    assert_eq!(browser.me().await.status, 401);
}

#[tokio::test]
async fn a26_an_extended_cookie_is_never_cacheable_whatever_the_application_says() {
    let app = App::start().await;
    let mut browser = app.browser();
    browser.post("/remember/bob", "").await;
    assert_eq!(browser.get("/cached").await.header("cache-control"), Some("public, max-age=60"));
    app.advance(DAY);
    let answer = browser.get("/cached").await;
    assert!(answer.cookie.is_some());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a26_what_forbids_caches_more_than_that_stays_as_the_application_says() {
    let app = App::start().await;
    let mut browser = app.browser();
    browser.post("/remember/bob", "").await;
    let kept = ("private, no-cache, No-Store", None);
    for (days, sets_a_cookie) in [(0, false), (1, true)] {
        app.advance(days * DAY);
        let answer = browser.get("/forbidden-to-caches").await;
        assert_eq!(answer.cookie.is_some(), sets_a_cookie);
        assert_eq!((answer.header("cache-control").unwrap(), answer.header("vary")), kept);
    }
}

#[tokio::test]
async fn a50_a_dead_cookie_is_removed_when_its_owner_is_shown_that_he_is_signed_out() {
    for origin in [None, Some(String::from("https://app.example"))] {
        let app = App::with(crate::app::Options { public_url: origin, ..Default::default() }).await;
        let browser = app.signed_in("alice").await;
        let id = browser.copy().me().await.json()["id"].as_str().unwrap().parse().unwrap();
        app.sessions.revoke(id, None, &Actor::operator("op"), EndReason::Revoked).await.unwrap();
        assert!(browser.copy().me().await.removes_cookie());
        assert!(browser.copy().get("/maybe").await.removes_cookie(), "the sign-in page too");
        let answer = browser.copy().navigate("/me").await;
        assert!(answer.status == 303 && answer.removes_cookie());
        let answer = browser.copy().get("/plain").await;
        assert_eq!((answer.status, answer.cookie), (200, None), "what asks about no session says nothing about it");
        let mut signing_in = browser.copy();
        let answer = signing_in.post("/sign-in/alice", "").await;
        assert!(!answer.removes_cookie() && signing_in.me().await.status == 200, "the new cookie wins");
    }
}

#[tokio::test]
async fn a50_expired_and_garbled_cookies_are_removed_too_and_no_others() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    app.advance(30 * DAY);
    let answer = browser.me().await;
    assert!(answer.status == 401 && answer.removes_cookie());
    let answer = browser.send("GET", "/me", &[("cookie", "session=garbage; other=1")], "").await;
    assert!(answer.status == 401 && answer.removes_cookie());
    let answer = browser.send("GET", "/me", &[("cookie", "other=hp_1; __Host-session=x")], "").await;
    assert_eq!((answer.status, answer.cookie), (401, None));
    assert_eq!(browser.me().await.cookie, None);
}

#[tokio::test]
async fn a_request_from_before_a_sign_in_does_not_remove_the_new_cookie() {
    let app = App::start().await;
    let mut browser = app.signed_in("mallory").await;
    let before = browser.copy();
    browser.post("/sign-in/alice", "").await;
    let answer = before.copy().me().await;
    assert_eq!((answer.status, answer.cookie), (401, None));
}

#[tokio::test]
async fn strict_is_strict() {
    let app = App::with(crate::app::Options {
        web: |web| web.same_site(hallpass_axum::SameSite::Strict),
        ..Default::default()
    })
    .await;
    let client = reqwest::Client::new();
    let response = client.post(format!("http://{}/sign-in/alice", app.address)).send().await.unwrap();
    assert!(response.headers()["set-cookie"].to_str().unwrap().contains("; SameSite=Strict"));
}

#[tokio::test]
async fn a_session_that_is_set_aside_is_none_and_goes_on() {
    for validation in [ValidationMode::Strict, ValidationMode::Cached(CacheSettings::default())] {
        let app = App::with(Options { validation, ..Options::default() }).await;
        app.sessions.follow().await.unwrap();
        let mut browser = app.browser();
        browser.post("/remember/bob", "").await;
        app.advance(DAY);
        app.sessions.follow().await.unwrap();
        let answer = browser.get("/aside/maybe").await;
        assert_eq!(
            (answer.body.as_str(), answer.cookie),
            ("nobody", None),
            "its cookie is neither extended nor removed"
        );
        for (method, path) in [("GET", "/aside/strict"), ("POST", "/aside/rotate"), ("GET", "/aside/api/sessions")] {
            let answer = browser.send(method, path, &[], "").await;
            assert_eq!((answer.status, answer.cookie), (401, None), "{path}");
        }
        let me = browser.me().await;
        assert_eq!(me.status, 200, "elsewhere it is one");
        let id = me.json()["id"].as_str().unwrap().to_owned();

        // Signing in again and signing out end it, as they end whatever a request carries.
        let mut again = browser.copy();
        let answer = again.post("/aside/sign-in/eve", "").await;
        assert!(answer.status == 200 && answer.cookie.is_some_and(|cookie| cookie.value.starts_with("hp_")));
        assert!(!app.is_live(&id).await);
        let id = again.me().await.json()["id"].as_str().unwrap().to_owned();
        assert!(again.post("/aside/sessions/sign-out", "").await.removes_cookie());
        assert!(!app.is_live(&id).await);
    }
}
