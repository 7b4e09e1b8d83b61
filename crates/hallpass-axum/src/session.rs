//! The extractor of the request's session.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;

use crate::rejection::{Audience, Refusal, SessionRejection, UndecidedRejection, exchange};

/// The live session of this request; dereferences to [`hallpass_core::Session`].
///
/// As an extractor it refuses requests without one ([`SessionRejection`]). `Option<Session>` is `None` only when there is certainly
/// no live session, and refuses with 503 when the store did not answer (G8). A request whose credentials contradict each other has
/// none (A25). The layer has done the check: extracting costs no store access and no allocation.
///
/// ```
/// use hallpass_axum::Session;
///
/// async fn me(session: Session) -> String {
///     session.user.to_string()
/// }
/// async fn home(session: Option<Session>) -> &'static str {
///     if session.is_some() { "Welcome back" } else { "Welcome" }
/// }
/// # let _: axum::Router = axum::Router::new()
/// #     .route("/me", axum::routing::get(me))
/// #     .route("/", axum::routing::get(home));
/// ```
#[derive(Debug, Clone)]
pub struct Session(pub(crate) Arc<hallpass_core::Session>);

impl Session {
    /// The shared core session.
    #[must_use]
    pub fn into_inner(self) -> Arc<hallpass_core::Session> {
        self.0
    }
}

impl Deref for Session {
    type Target = hallpass_core::Session;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// The session of a request, with the reason to refuse without one.
pub(crate) fn required(parts: &Parts) -> Result<Session, Refusal> {
    match exchange(parts)?.look() {
        Ok(Some(session)) => Ok(Session(session)),
        Ok(None) => Err(Refusal::NotSignedIn),
        Err(_) => Err(Refusal::Unavailable),
    }
}

/// As [`required`], not from memory.
pub(crate) async fn strictly_required(parts: &Parts) -> Result<Session, Refusal> {
    match exchange(parts)?.look_strictly().await {
        Ok(Some(session)) => Ok(Session(session)),
        Ok(None) => Err(Refusal::NotSignedIn),
        Err(_) => Err(Refusal::Unavailable),
    }
}

/// Who reads the answer, as far as the layer's settings are at hand.
pub(crate) fn audience(parts: &Parts) -> Audience {
    match exchange(parts) {
        Ok(exchange) => Audience::of_parts(parts, &exchange.web),
        Err(_) => Audience::of(&parts.method, &parts.headers, None),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        required(parts).map_err(|refusal| SessionRejection { refusal, audience: audience(parts) })
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = UndecidedRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        match required(parts) {
            Ok(session) => Ok(Some(session)),
            Err(Refusal::NotSignedIn) => Ok(None),
            Err(refusal) => Err(UndecidedRejection { refusal, audience: audience(parts) }),
        }
    }
}
