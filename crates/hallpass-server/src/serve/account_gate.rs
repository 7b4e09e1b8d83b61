//! Who may see and end sessions, and change ways in: the user of an account that is there and not disabled.
//!
//! A session can outlive that. Those of a disabled account end a moment later, and Auth.js, which knows of no disabled accounts, makes new ones in a database that it shares.

use std::sync::Arc;

use axum::RequestExt as _;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hallpass_axum::SessionHandle;
use http::StatusCode;

use super::site::Site;

tokio::task_local! {
    /// The name of the user whose page is being made.
    static USER_NAME: String;
}

/// The name for the session manager page, which knows sessions only.
pub(super) fn user_name() -> String {
    USER_NAME.try_with(Clone::clone).unwrap_or_default()
}

/// Stands over the self-service routes and over what changes linked identities. A session without an account that may be used is none for them: they answer as they do without a cookie. Nobody is
/// let through on accounts that cannot be asked. One read of the account.
pub(super) async fn check(State(site): State<Arc<Site>>, mut request: Request, next: Next) -> Response {
    if needs_no_account(request.uri().path()) {
        return next.run(request).await;
    }
    // When nobody knows whether there is a session, the routes have their own answer.
    let Ok(handle) = request.extract_parts::<SessionHandle>().await else {
        return next.run(request).await;
    };
    let Some(session) = handle.current() else {
        return next.run(request).await;
    };
    match site.account_of(&session).await {
        Ok(Some(account)) => USER_NAME.scope(account.name, next.run(request)).await,
        Ok(None) => {
            handle.set_aside();
            next.run(request).await
        }
        Err(error) => {
            tracing::error!(target: "hallpass", error = %error, "the account of a session could not be read");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// Routes that show and end nothing of an account. Signing out ends what the request carries and nothing else: a disabled user may, and so may everybody while the accounts are away.
/// The clean-up has a secret of its own.
fn needs_no_account(path: &str) -> bool {
    path == "/sessions/sign-out" || path == "/api/cron/cleanup-sessions" || path.starts_with("/assets/")
}
