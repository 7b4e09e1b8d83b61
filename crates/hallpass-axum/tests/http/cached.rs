//! Cached validation behind the layer: answers from memory, and routes that ask the store.

use std::sync::atomic::Ordering;

use hallpass_core::store::{Revocation, Target};
use hallpass_core::{Actor, CacheSettings, EndReason, ValidationMode};

use crate::app::{App, Options};
use crate::browser::Browser;
use crate::faulty_store::Mode;
use crate::self_service::id_of;

/// An application that follows the log when told, and a browser whose session it has in memory.
async fn cached() -> (App, Browser, String) {
    let validation = ValidationMode::Cached(CacheSettings::default());
    let app = App::with(Options { validation, ..Options::default() }).await;
    app.sessions.follow().await.unwrap();
    let mut alice = app.signed_in("alice").await;
    let id = id_of(&alice).await;
    assert_eq!(alice.me().await.status, 200);
    (app, alice, id)
}

/// Another program on the same store ends the session.
async fn revoked_elsewhere(app: &App, id: &str) {
    let target = Target::Session { id: id.parse().unwrap(), owner: None };
    let by = Actor::operator("elsewhere");
    let revocation = Revocation { target, now: app.sessions.now(), by, reason: EndReason::Revoked };
    assert_eq!(app.store.inner.revoke(&revocation).await.unwrap().ended, Some(1));
}

#[tokio::test]
async fn requests_in_the_lease_read_nothing() {
    let (app, mut alice, _) = cached().await;
    let before = app.store.reads.load(Ordering::SeqCst);
    for _ in 0..20 {
        assert_eq!(alice.me().await.status, 200);
    }
    assert_eq!(app.store.reads.load(Ordering::SeqCst), before);
    app.advance(2);
    assert_eq!(alice.me().await.status, 200);
    assert_eq!(app.store.reads.load(Ordering::SeqCst), before + 1, "without a lease the store is asked");
}

/// Each alone: a node that has refused once does not accept from memory either.
#[tokio::test]
async fn g1_a_route_that_asks_for_it_reads_the_store() {
    for (method, path, refused) in [
        ("GET", "/me", 200),
        ("GET", "/strict", 401),
        // What needs a recent sign-in needs a session in the store.
        ("GET", "/fresh", 401),
        // Who was signed out must not see or end the other devices.
        ("GET", "/api/sessions", 401),
        ("GET", "/account/api/sessions", 401),
        ("DELETE", "/api/sessions", 401),
        ("GET", "/sessions", 303),
        ("GET", "/account/sessions", 303),
        ("POST", "/sessions/revoke-others", 303),
    ] {
        let (app, mut alice, id) = cached().await;
        let mut other = app.signed_in("alice").await;
        revoked_elsewhere(&app, &id).await;
        let headers: &[(&str, &str)] = match (method, refused) {
            ("DELETE", _) => &[("content-type", "application/json")],
            (_, 303) => &[("accept", "text/html"), ("sec-fetch-mode", "navigate"), ("sec-fetch-site", "same-origin")],
            _ => &[],
        };
        let answer = alice.send(method, path, headers, r#"{"all":true}"#).await;
        assert_eq!(answer.status, refused, "{method} {path}");
        if refused == 303 {
            let place = answer.header("location").unwrap();
            assert!(place.starts_with("/signin"), "{path} leads to {place}");
        }
        assert_eq!(other.me().await.status, 200, "{method} {path} ended another device");
        if path == "/strict" {
            assert!(answer.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")), "the cookie goes");
        }
        app.sessions.follow().await.unwrap();
        assert_eq!(alice.me().await.status, 401, "the log tells it");
    }
}

/// It ends between the check and the list, from which the route learns that it has.
#[tokio::test]
async fn g5_who_was_refused_by_a_list_is_not_accepted_from_memory_afterwards() {
    for (path, headers) in [
        ("/api/sessions", &[][..]),
        ("/sessions", &[("accept", "text/html"), ("sec-fetch-mode", "navigate"), ("sec-fetch-site", "same-origin")]),
    ] {
        let (app, mut alice, id) = cached().await;
        app.store.set(Mode::StallsList);
        let mut same = alice.copy();
        let listing = tokio::spawn(async move { same.send("GET", path, headers, "").await.status });
        app.store.arrived.notified().await;
        revoked_elsewhere(&app, &id).await;
        app.store.set(Mode::Works);
        app.store.release.notify_one();
        let refused = listing.await.unwrap();
        assert!([401, 303].contains(&refused), "{path}: {refused}");
        assert_eq!(alice.me().await.status, 401, "{path}: refused once and accepted again");
    }
}

#[tokio::test]
async fn g8_without_the_store_memory_answers_for_a_lease_and_strict_routes_not_at_all() {
    let (app, mut alice, _) = cached().await;
    app.store.set(Mode::Fails);
    assert_eq!(alice.me().await.status, 200);
    assert_eq!(alice.get("/strict").await.status, 503);
    app.advance(2);
    assert_eq!(alice.me().await.status, 503);
    app.store.set(Mode::Works);
    assert_eq!(alice.get("/strict").await.status, 200);
}

/// The layer extends the session, and the store is asked again afterwards: the cookie must go out all the same.
#[tokio::test]
async fn a_due_extension_reaches_the_cookie_on_strict_routes_too() {
    for path in ["/me", "/strict", "/fresh", "/api/sessions"] {
        let (app, _, _) = cached().await;
        let mut browser = app.browser();
        browser.post("/remember/alice", "").await;
        app.advance(2 * 86_400);
        if path == "/fresh" {
            assert_eq!(browser.post("/reauthenticate", "").await.status, 200);
            app.advance(86_400);
        }
        let answer = browser.get(path).await;
        let cookie = answer.header("set-cookie");
        assert!(cookie.is_some_and(|cookie| cookie.contains("Max-Age=77")), "{path}: {cookie:?}");
    }
}

/// What a verb of the request did is not undone by what the store said of the token that it had come with.
#[tokio::test]
async fn a_token_that_was_replaced_in_the_same_request_is_not_asked_for() {
    let (_app, mut alice, _) = cached().await;
    let answer = alice.post("/rotate-and-ask", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "alice"));
    assert_eq!(alice.me().await.status, 200, "with the new token");
}
