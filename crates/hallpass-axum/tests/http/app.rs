//! A small application behind the layer, on a socket of its own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{FromRequestParts as _, Path, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hallpass_axum::{
    ClientAddress, FreshSession, RotationError, SelfService, Session, SessionHandle, SignInError, StrictSession,
    Unavailable, Web, WebBuilder, self_service,
};
use hallpass_core::{
    Attributes, AttributesOutcome, Authentication, Class, Event, EventSink, ManualClock, Policies, Sessions, SignIn,
    Store, UserId, ValidationMode,
};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::browser::Browser;
use crate::faulty_store::FaultyStore;

pub(crate) const SECRET: &str = "a-scheduler-secret-of-more-than-32-bytes";

#[derive(Debug, Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<Event>>>);

impl EventSink for Events {
    fn emit(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Events {
    pub(crate) fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|event| wanted(event)).count()
    }
}

/// What a handler that waits is told with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate {
    pub(crate) entered: Arc<Notify>,
    pub(crate) release: Arc<Notify>,
}

pub(crate) struct App {
    pub(crate) sessions: Sessions,
    pub(crate) web: Web,
    pub(crate) store: Arc<FaultyStore>,
    pub(crate) clock: ManualClock,
    pub(crate) events: Events,
    pub(crate) gate: Gate,
    pub(crate) address: SocketAddr,
    _kept: Option<tempfile::TempDir>,
}

pub(crate) struct Options {
    pub(crate) public_url: Option<String>,
    pub(crate) secret: Option<&'static str>,
    pub(crate) policies: Policies,
    pub(crate) validation: ValidationMode,
    pub(crate) web: fn(WebBuilder) -> WebBuilder,
    /// Another store than the run's.
    pub(crate) store: Option<Arc<dyn Store>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            public_url: None,
            secret: Some(SECRET),
            policies: Policies::default(),
            validation: ValidationMode::Strict,
            web: |web| web.sign_in_path("/signin"),
            store: None,
        }
    }
}

impl App {
    pub(crate) async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub(crate) async fn https() -> Self {
        Self::with(Options { public_url: Some("https://app.example".into()), ..Options::default() }).await
    }

    pub(crate) async fn with(options: Options) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (store, kept) = match options.store {
            Some(store) => (store, None),
            None => crate::engine::fresh().await,
        };
        let store = FaultyStore::over(store);
        let (clock, events, gate) = (ManualClock::default(), Events::default(), Gate::default());
        let sessions = Sessions::builder(store.clone())
            .clock(clock.clone())
            .events(events.clone())
            .policies(options.policies)
            .validation(options.validation)
            .build()
            .unwrap();
        let public_url = options.public_url.unwrap_or_else(|| format!("http://{address}"));
        let web = (options.web)(Web::builder(sessions.clone(), &public_url)).build().unwrap();
        let router = router(&web, options.secret, gate.clone());
        tokio::spawn(async move {
            axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await.unwrap();
        });
        Self { sessions, web, store, clock, events, gate, address, _kept: kept }
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser::new(self.address, self.web.origin().as_str(), self.web.cookie_name())
    }

    /// A browser with a session.
    pub(crate) async fn signed_in(&self, user: &str) -> Browser {
        let mut browser = self.browser();
        let answer = browser.post(&format!("/sign-in/{user}"), "").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(browser.cookie.is_some());
        browser
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub(crate) async fn is_live(&self, id: &str) -> bool {
        let session = self.sessions.show(id.parse().unwrap()).await.unwrap();
        session.is_some_and(|session| session.is_live_at(self.sessions.now()))
    }
}

/// The whole application: routes of its own, the self-service routes at the root and under a path.
pub(crate) fn router(web: &Web, secret: Option<&str>, gate: Gate) -> Router {
    let settings = || {
        SelfService::default()
            .user_name(|session| format!("User {}", session.user))
            .cleanup_secret(secret.map(SecretString::from))
            .unwrap()
    };
    let state = AppState { web: web.clone(), gate };
    Router::new()
        .route("/sign-in/{user}", post(sign_in))
        .route("/remember/{user}", post(remember))
        .route("/sign-in-twice/{user}", post(sign_in_twice))
        .route("/me", get(me).post(me))
        .route("/maybe", get(maybe))
        .route("/fresh", get(fresh).post(fresh))
        .route("/strict", get(strict))
        .route("/rotate-and-ask", post(rotate_and_ask))
        .route("/rotate", post(rotate))
        .route("/reauthenticate", post(reauthenticate))
        .route("/sign-out", post(sign_out))
        .route("/address", get(address))
        .route("/plain", get(async || "plain"))
        .route("/cached", get(cached))
        .route("/forbidden-to-caches", get(forbidden_to_caches))
        .route("/slow", get(slow))
        .with_state(state)
        .nest("/account", self_service(web, settings()))
        .nest("/aside", aside(web, settings()))
        .merge(self_service(web, settings()))
        .layer(web.layer())
}

/// Where no session counts.
fn aside(web: &Web, settings: SelfService) -> Router<()> {
    Router::new()
        .route("/maybe", get(maybe))
        .route("/strict", get(strict))
        .route("/rotate", post(rotate))
        .route("/sign-in/{user}", post(sign_in))
        .merge(self_service(web, settings))
        .layer(from_fn(async |handle: SessionHandle, request: Request, next: Next| {
            handle.set_aside();
            next.run(request).await
        }))
}

#[derive(Clone)]
struct AppState {
    web: Web,
    gate: Gate,
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

async fn sign_in(handle: SessionHandle, Path(name): Path<String>) -> Result<Json<Value>, SignInError> {
    let before = handle.current().map(|session| session.user.to_string());
    let session = handle.sign_in(SignIn::new(UserId::new(name)?).method("pwd")).await?;
    let now = handle.current().map(|session| session.id.to_string());
    Ok(Json(json!({ "id": session.id.to_string(), "before": before, "now": now })))
}

async fn remember(handle: SessionHandle, Path(name): Path<String>) -> Result<String, SignInError> {
    let session = handle.sign_in(SignIn::new(user(&name)).class(Class::REMEMBERED)).await?;
    Ok(session.id.to_string())
}

async fn sign_in_twice(handle: SessionHandle, Path(name): Path<String>) -> Result<String, SignInError> {
    let first = handle.sign_in(SignIn::new(user("first"))).await?;
    handle.sign_in(SignIn::new(user(&name))).await?;
    Ok(first.id.to_string())
}

async fn me(session: Session) -> Json<Value> {
    Json(json!({ "user": session.user.as_str(), "id": session.id.to_string() }))
}

async fn maybe(session: Option<Session>) -> String {
    session.map_or_else(|| String::from("nobody"), |session| session.user.to_string())
}

async fn fresh(session: FreshSession) -> String {
    session.user.to_string()
}

async fn strict(session: StrictSession) -> String {
    session.user.to_string()
}

/// A verb, and then the store is asked in the same request.
async fn rotate_and_ask(request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let handle = SessionHandle::from_request_parts(&mut parts, &()).await.unwrap();
    handle.rotate().await.unwrap();
    match StrictSession::from_request_parts(&mut parts, &()).await {
        Ok(session) => session.user.to_string().into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn rotate(handle: SessionHandle) -> Result<String, RotationError> {
    Ok(handle.rotate().await?.id.to_string())
}

async fn reauthenticate(handle: SessionHandle) -> Result<String, RotationError> {
    let authentication = Authentication { methods: vec!["otp".into()], source: "test".into() };
    Ok(handle.reauthenticate(authentication).await?.id.to_string())
}

async fn sign_out(handle: SessionHandle) -> Result<String, Unavailable> {
    let ended = handle.sign_out().await?;
    assert!(handle.current().is_none());
    Ok(ended.to_string())
}

async fn address(address: Option<ClientAddress>) -> String {
    address.map_or_else(|| String::from("unknown"), |ClientAddress(ip)| ip.to_string())
}

async fn cached(session: Option<Session>) -> Response {
    drop(session);
    ([("cache-control", "public, max-age=60"), ("vary", "Accept-Encoding")], "cached").into_response()
}

async fn forbidden_to_caches(session: Option<Session>) -> Response {
    drop(session);
    ([("cache-control", "private, no-cache, No-Store")], "for one reader").into_response()
}

/// Waits in the middle, then writes to its session.
async fn slow(State(state): State<AppState>, session: Session) -> String {
    state.gate.entered.notify_one();
    state.gate.release.notified().await;
    let attributes = Attributes::from_json(r#"{"written":"late"}"#).unwrap();
    match state.web.sessions().set_attributes(&session, &attributes).await.unwrap() {
        AttributesOutcome::Updated(_) => "updated",
        AttributesOutcome::Conflict => "conflict",
        AttributesOutcome::Gone => "gone",
    }
    .into()
}
