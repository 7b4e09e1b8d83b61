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

#[tokio::test]
async fn g1_a_route_that_asks_for_it_reads_the_store() {
    let (app, mut alice, id) = cached().await;
    assert_eq!(alice.get("/strict").await.status, 200);
    revoked_elsewhere(&app, &id).await;
    assert_eq!(alice.copy().me().await.status, 200, "from memory, within the lease");
    let answer = alice.copy().get("/strict").await;
    assert_eq!((answer.status, answer.body.as_str()), (401, r#"{"error":"Unauthorized"}"#));
    assert!(answer.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")), "the cookie goes");
    // Who was signed out must not see or end the other devices.
    let other = app.signed_in("alice").await;
    for path in ["/api/sessions", "/account/api/sessions"] {
        assert_eq!(alice.copy().get(path).await.status, 401, "{path}");
    }
    let ending = alice.copy().delete_json("/api/sessions", r#"{"all":true}"#).await;
    assert_eq!(ending.status, 401);
    assert_eq!(other.copy().me().await.status, 200);
    assert_eq!(alice.copy().post("/sessions/sign-out", "").await.status, 303, "signing out is never refused");
    app.sessions.follow().await.unwrap();
    assert_eq!(alice.me().await.status, 401, "the log tells it");
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
