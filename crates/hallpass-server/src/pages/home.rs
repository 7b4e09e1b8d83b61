//! The start page of somebody who is signed in.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use hallpass_axum::{Session, rfc3339};
use hallpass_core::Device;
use http::StatusCode;

use super::{for_people, page, see_other};
use crate::serve::site::Site;

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    user_name: String,
    email: String,
    device: String,
    authenticated_iso: String,
    authenticated_text: String,
    has_providers: bool,
    is_operator: bool,
}

/// `GET /`. One read of the account.
pub(crate) async fn show(State(site): State<Arc<Site>>, session: Option<Session>) -> Response {
    let Some(session) = session else {
        return see_other(site.sign_in_path());
    };
    let account = match site.account_of(&session).await {
        Ok(Some(account)) => account,
        Ok(None) => return see_other(site.sign_in_path()),
        Err(error) => {
            tracing::error!(target: "hallpass", error = %error, "the account of a session could not be read");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    };
    page(
        StatusCode::OK,
        &HomePage {
            email: account.shown_email().unwrap_or_default().to_owned(),
            user_name: account.name,
            device: Device::parse(session.client.user_agent.as_deref().unwrap_or_default()).name,
            authenticated_iso: rfc3339(session.authenticated_at),
            authenticated_text: for_people(session.authenticated_at),
            has_providers: site.providers.iter().next().is_some(),
            is_operator: account.operator,
        },
    )
}
