//! The extractor for acts that need a recent authentication.

use std::ops::Deref;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::Session;
use crate::rejection::{FreshSessionRejection, Refusal, exchange};
use crate::session::{audience, strictly_required};

/// A live session whose user authenticated within the policy's `fresh_age`; dereferences to [`hallpass_core::Session`].
///
/// Use of a session does not keep it fresh: only [`SessionHandle::reauthenticate`](crate::SessionHandle::reauthenticate) and a
/// sign-in do (A11). In the cached mode it reads the store, as [`StrictSession`](crate::StrictSession) does. A stale one is refused with 401 `{"error":"reauth_required"}` and a challenge after RFC 9470, a page navigation with
/// a redirect to the sign-in page.
///
/// ```
/// use hallpass_axum::FreshSession;
///
/// async fn transfer(session: FreshSession) -> String {
///     format!("done for {}", session.user)
/// }
/// # let _: axum::Router = axum::Router::new().route("/transfer", axum::routing::post(transfer));
/// ```
#[derive(Debug, Clone)]
pub struct FreshSession(Session);

impl FreshSession {
    /// The session.
    #[must_use]
    pub fn into_session(self) -> Session {
        self.0
    }
}

impl Deref for FreshSession {
    type Target = hallpass_core::Session;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for FreshSession {
    type Rejection = FreshSessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let fresh = strictly_required(parts).await.and_then(|session| {
            let sessions = exchange(parts)?.web.sessions();
            if sessions.is_fresh(&session) {
                Ok(Self(session))
            } else {
                Err(Refusal::NotFresh(sessions.policies().of(&session.class).fresh_age.as_secs()))
            }
        });
        fresh.map_err(|refusal| FreshSessionRejection { refusal, audience: audience(parts) })
    }
}
