//! `POST /api/auth/backchannel-logout/ID`: a provider ends sessions that began with it (OpenID Connect Back-Channel Logout 1.0).
//!
//! No browser calls this: there is no cookie, no CSRF token and no origin, and the token's signature is what counts. The answer is 200 when
//! everything that the token names has durably ended, also when that is nothing; 400 for a token that does not count; 503 when nobody knows, so
//! that the provider tries again.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use hallpass_axum::headers;
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::site::Site;
use crate::accounts::Accepted;
use crate::auth::EVENTS;
use crate::auth::fields::{Accepted as Body, Fields};
use crate::provider_counts::LoggedOut;
use crate::provider_logouts;
use crate::providers::logout_token::LogoutRefused;
use crate::rate_limit::{AddressKey, Buckets, Rate};

/// Tokens from one address that do not count: a burst, then one in two seconds. Those that count are free, however many come.
const RATE: Rate = Rate { burst: 30, refill: Duration::from_secs(2) };
/// Addresses that are kept in mind.
const ADDRESSES: usize = 10_000;

/// What the route works with.
#[derive(Debug, Clone)]
pub(super) struct BackChannel {
    site: Arc<Site>,
    junk: Arc<Mutex<Buckets<AddressKey>>>,
}

impl BackChannel {
    pub(super) fn new(site: Arc<Site>) -> Self {
        Self { site, junk: Arc::new(Mutex::new(Buckets::new(RATE, ADDRESSES))) }
    }
}

/// One token.
pub(super) async fn receive(
    State(BackChannel { site, junk }): State<BackChannel>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Some(provider) = site.providers.get(&id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let count = |outcome| site.provider_counts.back_channel_logout(provider.id(), outcome);
    let ip = site.web.client_address(&parts).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let now_ms = site.now_ms();
    // Taken before the work and given back after it: a thousand at once cannot all pass.
    {
        let mut junk = junk.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wait) = junk.wait(ip.into(), now_ms) {
            count(LoggedOut::Limited);
            let mut response = answer(StatusCode::TOO_MANY_REQUESTS, "slow_down", "too many tokens that do not count");
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
            return response;
        }
        junk.take(ip.into(), now_ms);
    }
    let give_back = || junk.lock().unwrap_or_else(PoisonError::into_inner).give_back(ip.into(), now_ms);
    let refuse = |reason: &'static str| {
        count(LoggedOut::Refused);
        tracing::warn!(target: EVENTS, event = "authn_token_refused", client.ip = %ip, provider = provider.id(), reason, "a logout token does not count");
        answer(StatusCode::BAD_REQUEST, "invalid_request", reason)
    };
    let undecided = |error: &dyn std::fmt::Display| {
        give_back();
        count(LoggedOut::Undecided);
        tracing::error!(target: "hallpass", provider = provider.id(), error = %error, "a logout could not be carried out; the provider is told to try again");
        answer(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "try again")
    };
    let fields = match Fields::read(&parts.headers, body, Body::Form).await {
        Ok(fields) => fields,
        Err(unreadable) => {
            count(LoggedOut::Refused);
            return unreadable.into_response();
        }
    };
    let Some(token) = fields.only("logout_token") else {
        return refuse("there is not exactly one logout_token");
    };
    let logout = match provider.logout_token(token, now_ms).await {
        Ok(logout) => logout,
        Err(LogoutRefused::Invalid(reason)) => return refuse(reason),
        Err(LogoutRefused::Undecided(error)) => return undecided(&error),
    };
    match site.accounts.accept_logout(&logout).await {
        Ok(Accepted::ToDo) => {}
        Ok(Accepted::Replayed) => return refuse("it was used before"),
        Err(error) => return undecided(&error),
    }
    match provider_logouts::finish(&*site.accounts, site.web.sessions(), &logout).await {
        Ok(ended) => {
            give_back();
            count(if ended == 0 { LoggedOut::NothingToEnd } else { LoggedOut::Ended });
            tracing::info!(target: EVENTS, event = "authn_provider_logout", client.ip = %ip, provider = provider.id(), ended, "a provider ended sessions");
            let mut response = StatusCode::OK.into_response();
            headers::data(response.headers_mut());
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(error) => undecided(&error),
    }
}

fn answer(status: StatusCode, error: &str, description: &str) -> Response {
    let mut response = (status, Json(json!({ "error": error, "error_description": description }))).into_response();
    headers::data(response.headers_mut());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
