//! The settings of the web side, made once at start.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hallpass_core::{Client, Event, Sessions, StoreError};
use http::header::USER_AGENT;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue};
use ipnet::IpNet;

use crate::cross_origin::CrossOriginRule;
use crate::response_cookie::CookieForm;
use crate::{CookieName, Origin, OriginError, SameSite, SessionLayer, client_address};

/// What the layer and the routes work with: the verbs, the origin and the cookie. Cheap to clone; clones share everything.
///
/// ```no_run
/// # fn example(sessions: hallpass_core::Sessions) -> Result<(), hallpass_axum::WebError> {
/// use axum::{Router, routing::get};
/// use hallpass_axum::{SelfService, Session, Web, self_service};
///
/// let web = Web::builder(sessions, "https://app.example").sign_in_path("/signin").build()?;
/// let app: Router = Router::new()
///     .route("/me", get(async |session: Session| session.user.to_string()))
///     .nest("/account", self_service(&web, SelfService::default()))
///     .layer(web.layer());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Web {
    inner: Arc<Settings>,
}

#[derive(Debug)]
struct Settings {
    sessions: Sessions,
    rule: CrossOriginRule,
    cookie: CookieForm,
    trusted_proxies: Box<[IpNet]>,
    sign_in_path: Option<Box<str>>,
    store_timeout: Duration,
}

/// A setting that cannot be used. Each message names the setting and the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebError {
    /// The public URL is no origin.
    #[error("public URL: {0}")]
    PublicUrl(#[source] OriginError),
    /// Cookies would travel unencrypted.
    #[error(
        "public URL {0}: over http, everybody on the way can read the session cookie; serve it by https, or set allow_insecure_http if you accept that"
    )]
    InsecureHttp(Origin),
    /// A trusted origin is no origin.
    #[error("trusted_origins: {0}")]
    TrustedOrigin(#[source] OriginError),
    /// Whoever sits on the way could send requests in the name of a trusted http origin.
    #[error(
        "trusted_origins: {0} is an http origin, which everybody on the way can pretend to be; use https, or set allow_insecure_http if you accept that"
    )]
    InsecureTrustedOrigin(Origin),
    /// The sign-in path could lead elsewhere.
    #[error(
        "sign_in_path {0:?} must be a path on this origin: begin with one slash and contain no backslash, query, fragment, space or control character, for example /signin"
    )]
    SignInPath(String),
    /// No answer could be in time.
    #[error("store_timeout must be at least 1 ms")]
    StoreTimeout,
    /// The clean-up secret can be guessed.
    #[error(
        "cleanup_secret (CRON_SECRET) has {0} bytes; it needs at least {min}, or leave it unset to have no clean-up endpoint; make one with: openssl rand -base64 32",
        min = crate::self_service::MIN_CLEANUP_SECRET_BYTES
    )]
    CleanupSecret(usize),
    /// The clean-up secret cannot be sent in a header.
    #[error(
        "cleanup_secret (CRON_SECRET) must be printable ASCII without spaces, or no scheduler could send it; make one with: openssl rand -base64 32"
    )]
    CleanupSecretForm,
}

/// Settings for [`Web`].
#[derive(Debug)]
#[must_use]
pub struct WebBuilder {
    sessions: Sessions,
    public_url: String,
    trusted_proxies: Vec<IpNet>,
    trusted_origins: Vec<String>,
    allow_insecure_http: bool,
    sign_in_path: Option<String>,
    same_site: SameSite,
    cookie_name: CookieName,
    store_timeout: Duration,
}

impl WebBuilder {
    /// Proxies whose `X-Forwarded-For` is believed. None by default: the peer of the socket is the client.
    pub fn trusted_proxies(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.trusted_proxies = networks.into_iter().collect();
        self
    }

    /// Further origins whose pages may send unsafe requests here, in the form `scheme://host[:port]`. None by default.
    pub fn trusted_origins(mut self, origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.trusted_origins = origins.into_iter().map(Into::into).collect();
        self
    }

    /// Accepts an http public URL on a host other than this machine. The cookie then has no `Secure` and no `__Host-` prefix, and can be read
    /// and replaced on the way (a deviation from ASVS 5.0, 3.3.1). Off by default.
    pub fn allow_insecure_http(mut self, allow: bool) -> Self {
        self.allow_insecure_http = allow;
        self
    }

    /// Where page navigations without a session are redirected, with the page as `callbackUrl`. Without it they are answered 401.
    pub fn sign_in_path(mut self, path: impl Into<String>) -> Self {
        self.sign_in_path = Some(path.into());
        self
    }

    /// Another `SameSite` than [`SameSite::Lax`].
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Another name of the session cookie than [`CookieName::Own`], for sessions that are shared with Auth.js.
    pub fn cookie_name(mut self, name: CookieName) -> Self {
        self.cookie_name = name;
        self
    }

    /// How long a request waits for the store before it is answered 503; 2 seconds by default.
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.store_timeout = timeout;
        self
    }

    /// Ready to use.
    ///
    /// # Errors
    /// When a setting cannot be used.
    pub fn build(self) -> Result<Web, WebError> {
        let own = Origin::parse(&self.public_url).map_err(WebError::PublicUrl)?;
        let acceptable = |origin: &Origin| origin.is_secure() || origin.is_loopback() || self.allow_insecure_http;
        if !acceptable(&own) {
            return Err(WebError::InsecureHttp(own));
        }
        let mut trusted = Vec::with_capacity(self.trusted_origins.len());
        for text in &self.trusted_origins {
            let origin = Origin::parse(text).map_err(WebError::TrustedOrigin)?;
            if !acceptable(&origin) {
                return Err(WebError::InsecureTrustedOrigin(origin));
            }
            trusted.push(origin);
        }
        if let Some(path) = &self.sign_in_path
            && (!is_local_path(path) || path.contains(['?', '#']))
        {
            return Err(WebError::SignInPath(path.clone()));
        }
        if self.store_timeout < Duration::from_millis(1) {
            return Err(WebError::StoreTimeout);
        }
        let cookie = CookieForm::new(self.cookie_name, own.is_secure(), self.same_site);
        Ok(Web {
            inner: Arc::new(Settings {
                sessions: self.sessions,
                rule: CrossOriginRule { own, trusted: trusted.into_boxed_slice() },
                cookie,
                trusted_proxies: self.trusted_proxies.into_boxed_slice(),
                sign_in_path: self.sign_in_path.map(String::into_boxed_str),
                store_timeout: self.store_timeout,
            }),
        })
    }
}

impl Web {
    /// Settings to begin with. `public_url` is the origin that browsers see, for example `https://app.example`; it is never taken
    /// from a request (A39).
    pub fn builder(sessions: Sessions, public_url: &str) -> WebBuilder {
        WebBuilder {
            sessions,
            public_url: public_url.to_owned(),
            trusted_proxies: Vec::new(),
            trusted_origins: Vec::new(),
            allow_insecure_http: false,
            sign_in_path: None,
            same_site: SameSite::default(),
            cookie_name: CookieName::default(),
            store_timeout: Duration::from_secs(2),
        }
    }

    /// The verbs.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.inner.sessions
    }

    /// The configured origin.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.inner.rule.own
    }

    /// The name of the session cookie: `__Host-session` for https, `session` for http, unless [`WebBuilder::cookie_name`] says otherwise. Browsers do not separate cookies by port, so two http
    /// applications on one host share the latter: give each a host name of its own, such as `app.localhost`.
    #[must_use]
    pub fn cookie_name(&self) -> &'static str {
        self.inner.cookie.name()
    }

    /// Where page navigations without a session are redirected, if anywhere.
    #[must_use]
    pub fn sign_in_path(&self) -> Option<&str> {
        self.inner.sign_in_path.as_deref()
    }

    /// The client's address: the socket's peer, or behind trusted proxies the rightmost address of `X-Forwarded-For` that is none of them.
    /// `None` unless the server was made with `into_make_service_with_connect_info::<SocketAddr>()`.
    #[must_use]
    pub fn client_address(&self, parts: &Parts) -> Option<IpAddr> {
        client_address::client_address(&self.inner.trusted_proxies, &parts.headers, &parts.extensions)
    }

    /// The client of a request: its address, and its user agent with what no list should hold taken out of it.
    pub(crate) fn client(&self, headers: &HeaderMap, extensions: &Extensions) -> Client {
        let ip = client_address::client_address(&self.inner.trusted_proxies, headers, extensions);
        Client::new(ip, headers.get(USER_AGENT).map(HeaderValue::as_bytes))
    }

    /// The layer that checks each request. Put it over the whole router, the self-service routes included.
    #[must_use]
    pub fn layer(&self) -> SessionLayer {
        SessionLayer::new(self.clone())
    }

    pub(crate) fn rule(&self) -> &CrossOriginRule {
        &self.inner.rule
    }

    pub(crate) fn cookie(&self) -> CookieForm {
        self.inner.cookie
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(crate) fn emit(&self, event: &Event) {
        self.inner.sessions.emit(event);
    }

    /// Waits for the store, but no longer than the time-out. A store does not do later what nobody waits for any more; what is on its way to
    /// the disk by then may still happen.
    pub(crate) async fn within<T, E: From<StoreError>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let limit = self.inner.store_timeout;
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::unavailable(format!(
                "no answer within {limit:?}; see how busy the database is, or raise store_timeout"
            ))
            .into()),
        }
    }
}

/// Whether `path` stays on its origin when a browser follows it: begins with exactly one slash, and has nothing that browsers drop or read as
/// a slash.
pub(crate) fn is_local_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains(|c: char| c == '\\' || c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a39_local_paths() {
        for path in ["/", "/signin", "/a/b?c=d", "/a//b", "/%2F%2Fevil.example"] {
            assert!(is_local_path(path), "{path}");
        }
        for path in [
            "",
            "signin",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "https://evil.example",
            "https:evil.example",
            "/\t/evil.example",
            "\t//evil.example",
            "/a\nb",
            "/a b",
            "/\u{85}a",
        ] {
            assert!(!is_local_path(path), "{path:?}");
        }
    }
}
