//! The self-service routes: a user's own sessions as JSON and as a page, and the clean-up endpoint.

mod assets;
mod cleanup;
mod form_request;
mod json_request;
mod label;
mod list;
mod page;
mod revoke;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, patch, post};
use hallpass_core::{Actor, StoreError};
use http::header::X_CONTENT_TYPE_OPTIONS;
use http::request::Parts;
use secrecy::{ExposeSecret as _, SecretString};

use crate::rejection::{Audience, Refusal, SessionRejection, exchange};
use crate::session::strictly_required;
use crate::state::Exchange;
use crate::{Session, Web, WebError, security_headers};

/// The shortest secret for the clean-up endpoint, in bytes.
pub const MIN_CLEANUP_SECRET_BYTES: usize = 32;

/// How a user is called on the page.
type UserName = dyn Fn(&hallpass_core::Session) -> String + Send + Sync;

/// Settings of [`self_service`].
#[derive(Clone)]
#[must_use]
pub struct SelfService {
    title: String,
    user_name: Option<Arc<UserName>>,
    cleanup_secret: Option<SecretString>,
}

impl Default for SelfService {
    /// The page is called "Your sessions", names nobody, and there is no clean-up endpoint.
    fn default() -> Self {
        Self { title: String::from("Your sessions"), user_name: None, cleanup_secret: None }
    }
}

impl SelfService {
    /// Another heading and window title for the page.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// How the signed-in user is called on the page; shown as text. Called once for each page, so it must not block: take the name from the
    /// session's attributes or from memory.
    pub fn user_name(mut self, name: impl Fn(&hallpass_core::Session) -> String + Send + Sync + 'static) -> Self {
        self.user_name = Some(Arc::new(name));
        self
    }

    /// The secret that an external scheduler sends to `/api/cron/cleanup-sessions` as `Authorization: Bearer ...`. Without one the endpoint
    /// does not exist; an empty or short one is refused here instead of being guessed there (A31).
    ///
    /// # Errors
    /// When the secret has fewer than [`MIN_CLEANUP_SECRET_BYTES`] bytes, or characters that a header cannot carry.
    pub fn cleanup_secret(mut self, secret: Option<SecretString>) -> Result<Self, WebError> {
        if let Some(secret) = &secret {
            let secret = secret.expose_secret();
            if secret.len() < MIN_CLEANUP_SECRET_BYTES {
                return Err(WebError::CleanupSecret(secret.len()));
            }
            if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(WebError::CleanupSecretForm);
            }
        }
        self.cleanup_secret = secret;
        Ok(self)
    }
}

impl fmt::Debug for SelfService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelfService")
            .field("title", &self.title)
            .field("cleanup_secret", &self.cleanup_secret.as_ref().map(|_| "redacted"))
            .finish_non_exhaustive()
    }
}

/// What the routes work with.
pub(crate) struct Desk {
    web: Web,
    title: String,
    user_name: Option<Arc<UserName>>,
    cleanup: Option<cleanup::Cleanup>,
}

/// The self-service routes, to be merged into or nested in any router; [`Web::layer`] must be over them.
///
/// | Route | What it does |
/// |---|---|
/// | `GET /sessions` | the session manager page; posts its forms to `/sessions/revoke`, `/sessions/revoke-others`, `/sessions/label` and `/sessions/sign-out` |
/// | `GET /assets/{hallpass.css, hallpass.svg, sessions.js, times.js}` | what the page needs |
/// | `GET /api/sessions` | the caller's live sessions ([`SessionJson`](crate::SessionJson)), newest first, at most 500; `Link: ...; rel="next"` and `?after=&limit=` lead to more |
/// | `DELETE /api/sessions` | `{"sessionToken": "<public id or token>"}` ends that one of the caller's own, `{"all": true}` all but the current; `{"success":true,"revoked":n}` |
/// | `PATCH /api/sessions/{id}` | `{"label": "..."}` names one, `null` takes the name away |
/// | `GET`, `POST /api/cron/cleanup-sessions` | removes dead rows; only with [`SelfService::cleanup_secret`] |
///
/// Ids of others, unknown and ended ones are answered alike (A15).
pub fn self_service<S>(web: &Web, settings: SelfService) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let cleanup = settings.cleanup_secret.as_ref().map(cleanup::Cleanup::new);
    let has_cleanup = cleanup.is_some();
    let desk = Desk { web: web.clone(), title: settings.title, user_name: settings.user_name, cleanup };
    let mut router = Router::new()
        .route("/sessions", get(page::show))
        .route("/sessions/revoke", post(page::revoke))
        .route("/sessions/revoke-others", post(page::revoke_others))
        .route("/sessions/label", post(page::label))
        .route("/sessions/sign-out", post(page::sign_out))
        .route("/api/sessions", get(list::list).delete(revoke::revoke))
        .route("/api/sessions/{id}", patch(label::label))
        .merge(assets::routes());
    if has_cleanup {
        let methods = get(cleanup::clean_up).post(cleanup::clean_up).head(cleanup::no_head);
        router = router.route("/api/cron/cleanup-sessions", methods);
    }
    router.layer(map_response(with_headers)).with_state(Arc::new(desk))
}

/// What axum itself answers here (405) carries headers too.
async fn with_headers(mut response: Response) -> Response {
    if !response.headers().contains_key(X_CONTENT_TYPE_OPTIONS) {
        security_headers::data(response.headers_mut());
    }
    response
}

/// Who asks. Without a session the answer is JSON on API routes, whatever the browser says it accepts, and a redirect or a page on
/// the page's routes.
pub(crate) struct Caller {
    pub(crate) session: Session,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) audience: Audience,
}

impl Caller {
    /// By the store, in the cached mode too: a device that was signed out a moment ago by another server must not see or end the others.
    async fn of(parts: &Parts, audience: Audience) -> Result<Self, SessionRejection> {
        match strictly_required(parts).await.and_then(|session| Ok((session, exchange(parts)?))) {
            Ok((session, exchange)) => Ok(Self { session, exchange: Arc::clone(exchange), audience }),
            Err(refusal) => Err(SessionRejection { refusal, audience }),
        }
    }

    pub(crate) fn actor(&self) -> Actor {
        Actor::user(&self.session.user)
    }

    /// The answer when the store failed; what happened is for the log alone (A46).
    pub(crate) fn unavailable(&self, error: &StoreError) -> Response {
        tracing::error!(target: "hallpass", error = %error, "the session store failed");
        Refusal::Unavailable.answer(&self.audience)
    }

    /// The answer when the caller's session turns out to have ended since it was checked. Memory must not say otherwise afterwards (G5).
    pub(crate) fn gone(&self) -> Response {
        self.exchange.web.sessions().forget(self.session.id);
        self.exchange.ended();
        Refusal::NotSignedIn.answer(&self.audience)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionRejection> {
        Self::of(parts, Audience::Program).await
    }
}
