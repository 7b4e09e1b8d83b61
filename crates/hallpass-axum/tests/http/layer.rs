//! The layer as a tower service, and addresses behind proxies.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::MockConnectInfo;
use axum::response::Response;
use axum::routing::get;
use hallpass_axum::{ClientAddress, Session, SessionHandle, SessionJson, Web};
use hallpass_core::{Class, ManualClock, Sessions, SignIn, UserId};
use http::{Request, StatusCode};
use tower::{Layer as _, Service, ServiceExt as _};

use crate::app::{App, Gate, Options, router};
use crate::faulty_store::{FaultyStore, Mode};

fn web() -> Web {
    Web::builder(Sessions::builder(FaultyStore::new()).build().unwrap(), "http://127.0.0.1").build().unwrap()
}

async fn cookie(web: &Web) -> String {
    let issued = web.sessions().create(SignIn::new(UserId::new("alice").unwrap())).await.unwrap();
    format!("session={}", issued.token.expose().as_str())
}

/// A service that must be polled ready before each call, and whose clones are not ready because it was.
struct Particular {
    ready: bool,
    calls: Arc<AtomicUsize>,
}

impl Clone for Particular {
    fn clone(&self) -> Self {
        Self { ready: false, calls: Arc::clone(&self.calls) }
    }
}

impl Service<Request<Body>> for Particular {
    type Response = Response;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without having been polled ready");
        self.calls.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(Response::new(Body::empty())))
    }
}

#[tokio::test]
async fn the_service_that_was_polled_ready_is_the_one_that_is_called() {
    for mode in [Mode::Works, Mode::AnswersLater] {
        let store = FaultyStore::new();
        let sessions = Sessions::builder(store.clone()).build().unwrap();
        let web = Web::builder(sessions, "http://127.0.0.1").build().unwrap();
        let cookie = cookie(&web).await;
        store.set(mode);
        let calls = Arc::new(AtomicUsize::new(0));
        let mut service = web.layer().layer(Particular { ready: false, calls: Arc::clone(&calls) });
        for cookie in ["", &cookie, "session=garbage", &cookie, ""] {
            let request = Request::builder().header("cookie", cookie).body(Body::empty()).unwrap();
            let response = service.ready().await.unwrap().call(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        }
        assert_eq!((calls.load(Ordering::SeqCst), store.reads.load(Ordering::SeqCst)), (5, 2));
    }
}

#[tokio::test]
async fn a_store_that_needs_waiting_is_waited_for() {
    let app = App::start().await;
    let mut browser = app.signed_in("alice").await;
    app.store.set(Mode::AnswersLater);
    assert_eq!(browser.me().await.json()["user"], "alice");
    let mut other = browser.copy();
    assert_eq!(other.post("/sign-out", "").await.status / 100, 2);
    assert_eq!(browser.get("/me").await.status, 401);
}

#[tokio::test]
async fn a_layer_put_on_twice_works_once() {
    let (store, clock) = (FaultyStore::new(), ManualClock::default());
    let sessions = Sessions::builder(store.clone()).clock(clock.clone()).build().unwrap();
    let web = Web::builder(sessions, "http://127.0.0.1").build().unwrap();
    let app = router(&web, None, Gate::default()).layer(web.layer());
    let sign_in = SignIn::new(UserId::new("alice").unwrap()).class(Class::REMEMBERED);
    let issued = web.sessions().create(sign_in).await.unwrap();
    let cookie = format!("session={}", issued.token.expose().as_str());
    let request = |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path).header("cookie", &cookie);
        request.header("origin", "http://127.0.0.1").body(Body::empty()).unwrap()
    };
    app.clone().oneshot(request("GET", "/me")).await.unwrap();
    assert_eq!(store.reads.load(Ordering::SeqCst), 1, "checked once");
    // The old cookie is due for a later expiry just when a sign-in replaces it.
    clock.advance(std::time::Duration::from_secs(86_400));
    let response = app.oneshot(request("POST", "/remember/alice")).await.unwrap();
    let cookies: Vec<_> =
        response.headers().get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(cookies.len(), 1);
    assert!(cookies[0].starts_with("session=hp_") && !cookies[0].starts_with(&cookie));
}

#[tokio::test]
async fn a_forgotten_layer_is_an_error_and_nobody_is_let_in() {
    let app = Router::<()>::new()
        .route("/session", get(async |_: Session| "in"))
        .route("/maybe", get(async |_: Option<Session>| "in"))
        .route("/handle", get(async |_: SessionHandle| "in"))
        .route("/address", get(async |_: ClientAddress| "in"))
        .merge(hallpass_axum::self_service(&web(), hallpass_axum::SelfService::default()));
    for path in ["/session", "/maybe", "/handle", "/address", "/api/sessions", "/sessions"] {
        let request = Request::get(path).header("cookie", "session=x").body(Body::empty()).unwrap();
        assert_eq!(app.clone().oneshot(request).await.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR, "{path}");
    }
}

#[tokio::test]
async fn a36_the_address_in_the_list_is_that_behind_trusted_proxies() {
    let app = App::with(Options {
        web: |web| web.trusted_proxies(["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]),
        ..Options::default()
    })
    .await;
    let mut browser = app.browser();
    let forwarded =
        [("x-forwarded-for", "6.6.6.6, 203.0.113.9"), ("x-forwarded-for", "10.1.2.3"), ("x-real-ip", "6.6.6.6")];
    assert_eq!(browser.send("GET", "/address", &forwarded, "").await.body, "203.0.113.9");
    browser.send("POST", "/sign-in/alice", &forwarded, "").await;
    assert_eq!(browser.get("/api/sessions").await.json()[0]["ip"], "203.0.113.9");

    let app = App::start().await;
    assert_eq!(app.browser().send("GET", "/address", &forwarded, "").await.body, "127.0.0.1", "no proxy is trusted");
}

#[tokio::test]
async fn without_connect_info_the_address_is_unknown() {
    let web = web();
    let request = || Request::get("/address").header("x-forwarded-for", "6.6.6.6").body(Body::empty()).unwrap();
    let app = router(&web, None, Gate::default());
    let body = app.clone().oneshot(request()).await.unwrap().into_body();
    assert_eq!(axum::body::to_bytes(body, 100).await.unwrap(), "unknown");
    let peer: SocketAddr = "[2001:db8::1]:443".parse().unwrap();
    let body = app.layer(MockConnectInfo(peer)).oneshot(request()).await.unwrap().into_body();
    assert_eq!(axum::body::to_bytes(body, 100).await.unwrap(), "2001:db8::1");
    let strict = Router::<()>::new().route("/address", get(async |_: ClientAddress| "in")).layer(web.layer());
    assert_eq!(strict.oneshot(request()).await.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn json_of_a_session_can_be_made_outside_http() {
    let web = web();
    let issued = web.sessions().create(SignIn::new(UserId::new("alice").unwrap())).await.unwrap();
    let json = serde_json::to_value(SessionJson::new(&issued.session, false)).unwrap();
    let mut keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        ["authenticatedAt", "createdAt", "device", "expires", "id", "ip", "isCurrent", "label", "lastSeenAt"]
    );
    assert_eq!(
        (json["ip"].clone(), json["device"]["userAgent"].clone()),
        (serde_json::Value::Null, serde_json::Value::Null)
    );
    assert_eq!(json["device"]["name"], "Unknown device");
}

#[tokio::test]
async fn a39_a_path_that_a_browser_would_read_as_a_host_is_not_come_back_to() {
    let web = Web::builder(Sessions::builder(FaultyStore::new()).build().unwrap(), "http://127.0.0.1")
        .sign_in_path("/signin")
        .build()
        .unwrap();
    let app = Router::<()>::new().fallback(async |_: Session| "in").layer(web.layer());
    for (path, location) in [
        ("//evil.example/x", "/signin"),
        ("/\\evil.example", "/signin"),
        ("/x//evil.example", "/signin?callbackUrl=%2Fx%2F%2Fevil%2Eexample"),
    ] {
        let Ok(request) = Request::get(path).header("accept", "text/html").body(Body::empty()) else {
            continue;
        };
        let response = app.clone().oneshot(request).await.unwrap();
        assert_eq!(
            (response.status(), &response.headers()["location"]),
            (StatusCode::SEE_OTHER, &http::HeaderValue::from_static(location))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_408() {
    let web = web();
    let cookie = cookie(&web).await;
    let app = router(&web, None, Gate::default());
    let body = Body::new(StreamThatNeverEnds);
    let request = Request::delete("/api/sessions")
        .header("cookie", cookie)
        .header("origin", "http://127.0.0.1")
        .header("content-type", "application/json")
        .body(body)
        .unwrap();
    assert_eq!(app.oneshot(request).await.unwrap().status(), StatusCode::REQUEST_TIMEOUT);
}

struct StreamThatNeverEnds;

impl axum::body::HttpBody for StreamThatNeverEnds {
    type Data = axum::body::Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Self::Data>, Infallible>>> {
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_cleanup_that_takes_too_long_answers_what_it_did() {
    let store = FaultyStore::new();
    let web = Web::builder(Sessions::builder(store.clone()).build().unwrap(), "http://127.0.0.1").build().unwrap();
    store.set(crate::faulty_store::Mode::StallsSweep);
    let app = router(&web, Some(crate::app::SECRET), Gate::default());
    let request = || {
        Request::post("/api/cron/cleanup-sessions")
            .header("authorization", format!("Bearer {}", crate::app::SECRET))
            .body(Body::empty())
            .unwrap()
    };
    for _ in 0..2 {
        let response = app.clone().oneshot(request()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "the second one has its turn too");
        assert_eq!(axum::body::to_bytes(response.into_body(), 100).await.unwrap(), r#"{"cleaned":0}"#);
    }
}
