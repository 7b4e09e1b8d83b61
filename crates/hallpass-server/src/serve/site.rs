//! The server's routes and what they work with.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hallpass_axum::{BearerSecret, CookieName, Origin, SelfService, Web, self_service};
use hallpass_core::{Entropy, OsEntropy};
use http::StatusCode;
use secrecy::SecretString;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use super::account_gate;
use super::back_channel_logout::{self, BackChannel};
use super::edge::{self, Edge};
use super::health::{self, Health};
use super::metrics::{self, Metrics};
use super::pending_ends::Status;
use crate::accounts::{Account, AccountId, Accounts, AccountsError, ServerSecret};
use crate::auth::csrf::Csrf;
use crate::auth::fields::MAX_BODY_BYTES;
use crate::auth::{self, AuthApi, sign_out};
use crate::engine::Engine;
use crate::pages::{self, assets, home, linked_accounts, setup, signin};
use crate::password::Passwords;
use crate::provider_counts::ProviderCounts;
use crate::providers::departure::Departures;
use crate::providers::transaction::Transactions;
use crate::providers::{Provider, Providers};
use crate::rate_limit::{SignInLimits, SignInRates};
use crate::settings::{Database, Settings};

/// How long one request may take, its body included. Stores and the queue for password hashes give up long before.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// What the routes work with.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) web: Web,
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) passwords: Arc<Passwords>,
    pub(crate) limits: SignInLimits,
    pub(crate) auth_api: AuthApi,
    pub(crate) csrf: Csrf,
    pub(crate) providers: Providers,
    pub(crate) provider_counts: ProviderCounts,
    pub(crate) transactions: Transactions,
    pub(crate) departures: Departures,
    pub(crate) entropy: Arc<dyn Entropy>,
}

impl Site {
    /// Reads, or makes at the first start, the key of the CSRF token.
    pub(super) async fn open(settings: &Settings, engine: &Engine, origin: &str) -> Result<Self> {
        let web = Web::builder(engine.sessions.clone(), origin)
            .trusted_proxies(settings.trusted_proxies.iter().copied())
            .allow_insecure_http(settings.insecure_http)
            .sign_in_path(settings.sign_in_path.as_str())
            .cookie_name(cookie_name(settings))
            .build()?;
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
        let secret = match &settings.auth_secret {
            Some(secret) => secret.clone(),
            None => {
                let mut bytes = [0_u8; 32];
                entropy.fill(&mut bytes)?;
                let candidate = SecretString::from(URL_SAFE_NO_PAD.encode(bytes));
                let kept = engine.accounts.secret_or(ServerSecret::Auth, candidate).await;
                kept.context("the key of the sign-in form could not be read")?
            }
        };
        let providers = Providers::new(&settings.providers)?;
        Ok(Self {
            auth_api: settings.auth_api,
            provider_counts: ProviderCounts::new(providers.iter().map(Provider::id)),
            providers,
            transactions: Transactions::new(&secret, web.origin().is_secure()),
            departures: Departures::new(&secret, web.origin().is_secure()),
            csrf: Csrf::new(secret, settings.auth_api, web.origin().is_secure()),
            web,
            accounts: Arc::clone(&engine.accounts),
            passwords: Arc::clone(&engine.passwords),
            limits: SignInLimits::new(SignInRates::default()),
            entropy,
        })
    }

    /// The public origin.
    pub(crate) fn origin(&self) -> &Origin {
        self.web.origin()
    }

    /// Where people without a session are sent. What goes wrong in a sign-in here is said on the page of this server all the same.
    pub(crate) fn sign_in_path(&self) -> &str {
        self.web.sign_in_path().unwrap_or(pages::SIGN_IN)
    }

    /// The time of the sessions' clock, in milliseconds since the epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        self.web.sessions().now().as_millis()
    }

    /// The account of a session; `None` when it is gone or disabled, and its sessions about to end.
    pub(crate) async fn account_of(&self, session: &hallpass_core::Session) -> Result<Option<Account>, AccountsError> {
        let Some(id) = AccountId::parse(session.user.as_str()) else {
            return Ok(None);
        };
        Ok(self.accounts.find(&id).await?.filter(|account| account.disabled_at.is_none()))
    }
}

/// On a database that is shared with an application, the cookie is shared too.
pub(crate) fn cookie_name(settings: &Settings) -> CookieName {
    match (&settings.database, settings.auth_api) {
        (Database::Authjs(_), AuthApi::Authjs5) => CookieName::Authjs5,
        (Database::Authjs(_), AuthApi::Nextauth4) => CookieName::Nextauth4,
        _ => CookieName::Own,
    }
}

/// All routes, with everything that stands over them.
pub(super) fn router(site: &Arc<Site>, settings: &Settings, ends: Arc<Status>) -> Result<Router> {
    let own_sessions =
        SelfService::default().user_name(|_| account_gate::user_name()).cleanup_secret(settings.cron_secret.clone())?;
    let of_usable_account = || from_fn_with_state(Arc::clone(site), account_gate::check);
    let pages = Router::new()
        .route("/", get(home::show))
        .route(pages::SIGN_IN, get(signin::show))
        .route(
            pages::LINKED_ACCOUNTS,
            post(linked_accounts::change).layer(of_usable_account()).get(linked_accounts::show),
        )
        .route(pages::SETUP, get(setup::show).post(setup::create))
        .route("/api/auth", any(auth::answer))
        .route("/api/auth/", any(auth::answer))
        .route("/api/auth/{*rest}", any(auth::answer))
        .merge(assets::routes())
        .with_state(Arc::clone(site));
    let of_accounts = self_service(&site.web, own_sessions)
        .layer(of_usable_account())
        .layer(from_fn_with_state(Arc::clone(site), sign_out::of_page));
    let over_sessions = pages.merge(of_accounts).fallback(not_found).layer(site.web.layer());
    // These do not depend on who is signed in, and must not fail because of a cookie.
    let mut for_programs = Router::new()
        .route("/healthz", get(health::check))
        .with_state(Health { site: Arc::clone(site), ends: Arc::clone(&ends) });
    // Providers have no session and no origin.
    if site.providers.iter().next().is_some() {
        let route = post(back_channel_logout::receive).with_state(BackChannel::new(Arc::clone(site)));
        for_programs = for_programs.route("/api/auth/backchannel-logout/{provider}", route);
    }
    if let Some(secret) = &settings.metrics_secret {
        let metrics = Metrics { site: Arc::clone(site), ends, secret: BearerSecret::new(secret) };
        for_programs = for_programs.route("/metrics", get(metrics::show).with_state(metrics));
    }
    Ok(over_sessions
        .merge(for_programs)
        .layer(RequestBodyLimitLayer::new(MAX_BODY_BYTES))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, REQUEST_TIMEOUT))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Edge { secure: site.origin().is_secure() }, edge::finish)))
}

async fn not_found() -> StatusCode {
    StatusCode::NOT_FOUND
}

/// What panicked is in the log already, by the panic hook. The payload goes nowhere: it may hold anything.
fn panicked(_payload: Box<dyn Any + Send>) -> Response {
    tracing::error!(target: "hallpass::events", event = "sys_crash", "a handler panicked; its request is answered 500");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}
