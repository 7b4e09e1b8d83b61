//! The clean-up endpoint (A31, A17).

use std::sync::atomic::Ordering;

use crate::app::{App, Options, SECRET};
use crate::faulty_store::Mode;
use crate::self_service::bounded;

const PATH: &str = "/api/cron/cleanup-sessions";

#[tokio::test]
async fn a31_only_the_exact_secret_is_admitted() {
    let app = App::start().await;
    app.signed_in("alice").await;
    app.advance(40 * 86_400);
    let (longer, shorter, upper) =
        (format!("Bearer {SECRET}x"), format!("Bearer {}", &SECRET[1..]), SECRET.to_uppercase());
    for method in ["GET", "POST"] {
        for credential in [
            "Bearer",
            "Bearer ",
            "Bearer undefined",
            "Bearer null",
            "Bearer None",
            "Bearer false",
            "bearer",
            "undefined",
            "",
            SECRET,
            &format!("Basic {SECRET}"),
            &longer,
            &shorter,
            &format!("Bearer {upper}"),
            &format!("Bearer {SECRET} {SECRET}"),
            &format!("Bearer \"{SECRET}\""),
            &format!("Bearer{SECRET}"),
        ] {
            let answer = app.browser().send(method, PATH, &[("authorization", credential)], "").await;
            assert_eq!((answer.status, answer.body.as_str()), (401, r#"{"error":"Unauthorized"}"#), "{credential}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
        assert_eq!(app.browser().send(method, PATH, &[], "").await.status, 401, "missing");
        let right = format!("Bearer {SECRET}");
        for twice in [["Bearer x", right.as_str()], [right.as_str(), "Bearer x"]] {
            let twice = twice.map(|value| ("authorization", value));
            assert_eq!(app.browser().send(method, PATH, &twice, "").await.status, 401);
        }
        assert_eq!(app.browser().send(method, &format!("{PATH}?secret={SECRET}"), &[], "").await.status, 401);
        assert_eq!(app.browser().send(method, PATH, &[("x-cron-secret", SECRET)], "").await.status, 401);
    }
    assert_eq!(app.store.everything(app.sessions.now()).await.len(), 1, "none of these removed anything");
    let mut alice = app.signed_in("alice").await;
    assert_eq!(alice.get(PATH).await.status, 401, "a session is no secret");
    let bearer = format!("Bearer {SECRET}");
    let answer = app.browser().send("GET", PATH, &[("authorization", &bearer)], "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"cleaned":1}"#));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(app.store.everything(app.sessions.now()).await.len(), 1, "the live one stays");
    let origin_less = [("authorization", bearer.as_str()), ("origin", "-")];
    let answer = app.browser().send("POST", &format!("/account{PATH}"), &origin_less, "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"cleaned":0}"#));
}

#[tokio::test]
async fn a31_without_a_secret_there_is_no_endpoint() {
    let app = App::with(Options { secret: None, ..Options::default() }).await;
    for credential in ["Bearer undefined", "Bearer ", "Bearer", "Bearer null", ""] {
        for method in ["GET", "POST"] {
            assert_eq!(app.browser().send(method, PATH, &[("authorization", credential)], "").await.status, 404);
        }
    }
    assert_eq!(app.browser().get(PATH).await.status, 404);
}

#[tokio::test]
async fn one_cleanup_at_a_time() {
    let app = App::start().await;
    app.signed_in("alice").await;
    app.advance(40 * 86_400);
    app.store.set(Mode::StallsSweep);
    let bearer = format!("Bearer {SECRET}");
    let headers = [("authorization", bearer.as_str())];
    let mut first = app.browser();
    let owned = bearer.clone();
    let running = tokio::spawn(async move { first.send("POST", PATH, &[("authorization", &owned)], "").await });
    bounded(app.store.arrived.notified()).await;
    let answer = bounded(app.browser().send("POST", PATH, &headers, "")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (409, Some("60")));
    app.store.set(Mode::Works);
    app.store.release.notify_one();
    let answer = bounded(running).await.unwrap();
    assert_eq!(answer.body, r#"{"cleaned":1}"#);
    assert_eq!(
        app.browser().send("POST", PATH, &headers, "").await.body,
        r#"{"cleaned":0}"#,
        "and the turn is free again"
    );
}

#[tokio::test]
async fn cookies_have_nothing_to_do_with_it() {
    let app = App::start().await;
    let mut alice = app.signed_in("alice").await;
    let reads = app.store.reads.load(Ordering::SeqCst);
    let bearer = format!("Bearer {SECRET}");
    assert_eq!(app.browser().send("GET", PATH, &[("authorization", &bearer)], "").await.status, 200);
    assert_eq!(app.store.reads.load(Ordering::SeqCst), reads);
    let answer = alice.send("GET", PATH, &[("authorization", &bearer)], "").await;
    assert_eq!((answer.status, answer.cookie), (200, None));
}
