//! The extractor for acts on which a session that was revoked a moment ago elsewhere must not pass.

use std::ops::Deref;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::Session;
use crate::rejection::SessionRejection;
use crate::session::{audience, strictly_required};

/// A session that lives in the store, as read after the request came; dereferences to [`hallpass_core::Session`].
///
/// In the cached mode ([`hallpass_core::ValidationMode::Cached`]) a session that another node revoked may pass [`Session`] for up to a lease. A
/// route with this extractor reads the store once more and does not let it pass (G1). In the strict mode the layer has read the store
/// already, and this costs nothing more. It refuses as [`Session`] does.
///
/// ```
/// use hallpass_axum::StrictSession;
///
/// async fn transfer(session: StrictSession) -> String {
///     format!("done for {}", session.user)
/// }
/// # let _: axum::Router = axum::Router::new().route("/transfer", axum::routing::post(transfer));
/// ```
#[derive(Debug, Clone)]
pub struct StrictSession(Session);

impl StrictSession {
    /// The session.
    #[must_use]
    pub fn into_session(self) -> Session {
        self.0
    }
}

impl Deref for StrictSession {
    type Target = hallpass_core::Session;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for StrictSession {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let found = strictly_required(parts).await;
        found.map(Self).map_err(|refusal| SessionRejection { refusal, audience: audience(parts) })
    }
}
