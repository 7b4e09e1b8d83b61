//! The server's own pages: home, sign-in, the first account, errors. All work without scripts.

pub(crate) mod assets;
pub(crate) mod error;
pub(crate) mod home;
pub(crate) mod linked_accounts;
pub(crate) mod onward;
pub(crate) mod setup;
pub(crate) mod signed_out;
pub(crate) mod signin;

use askama::Template;
use axum::response::{Html, IntoResponse as _, Response};
use hallpass_axum::headers;
use hallpass_core::Timestamp;
use http::header::{CACHE_CONTROL, LOCATION};
use http::{HeaderValue, StatusCode};

/// The sign-in page.
pub(crate) const SIGN_IN: &str = "/signin";
/// The page of the identities that sign in to one's account.
pub(crate) const LINKED_ACCOUNTS: &str = "/linked-accounts";
/// The page that creates the first account.
pub(crate) const SETUP: &str = "/setup";

/// A page with its headers; never stored by caches, since every page may depend on who asks.
fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => {
            let mut response = (status, Html(html)).into_response();
            headers::page(response.headers_mut());
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => {
            tracing::error!(target: "hallpass", error = %error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// To another page of this server.
pub(crate) fn see_other(location: &str) -> Response {
    match HeaderValue::try_from(location) {
        Ok(location) => {
            let headers = [(LOCATION, location), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            (StatusCode::SEE_OTHER, headers).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// A time for people, in UTC; the page's modules show it in the reader's own zone.
fn for_people(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.as_millis())
        .ok()
        .and_then(|at| jiff::fmt::strtime::format("%-d %b %Y, %H:%M UTC", at).ok())
        .unwrap_or_default()
}
