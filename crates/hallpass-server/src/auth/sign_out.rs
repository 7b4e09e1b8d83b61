//! Signing out here, and at the provider that the session came from (OpenID Connect RP-Initiated Logout 1.0).
//!
//! ```text
//! POST signout, /sessions/sign-out   session ended, durably ─► where it came from ─► the provider's end_session_endpoint, with a state in a cookie
//! GET  signed-out                    state found ─► where the user wanted to go
//! ```
//!
//! The session here ends first and in any case; what the provider does afterwards changes nothing about that. Only the request that ended a
//! session leads to its provider: a token that is worth nothing any more must not tell whose session at which provider it stood for.
//!
//! Coming back proves nothing about the session at the provider, whose user may have said no there. So nothing is claimed of it.

use std::sync::Arc;
use std::time::Duration;

use axum::RequestExt as _;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hallpass_axum::{Session, SessionHandle};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::fields::Fields;
use super::provider_sign_in::{MAX_STATE_BYTES, is_navigation, with_cookies};
use super::{BASE, EVENTS, Redirect, redirect_target};
use crate::accounts::ProviderSession;
use crate::pages;
use crate::provider_counts::Departed;
use crate::providers::departure::Departure;
use crate::providers::state_cookies::Found;
use crate::providers::{Provider, ProviderError};
use crate::serve::site::Site;

/// How long the user waits for the accounts, and for the provider. Nothing depends on either.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest target that is remembered: with it the cookie stays below what browsers keep.
const MAX_TARGET_BYTES: usize = 2_048;
/// The session manager's form.
const PAGE_FORM: &str = "/sessions/sign-out";

/// Where providers send a browser back to: one address for all, to be registered as it is.
pub(crate) fn post_logout_redirect_uri(origin: &str) -> String {
    format!("{origin}{BASE}/signed-out")
}

/// `POST signout`.
pub(super) async fn answer(
    site: &Site,
    headers: &HeaderMap,
    redirect: Redirect,
    handle: &SessionHandle,
    target: &str,
) -> Response {
    match sign_out(site, headers, handle, target).await {
        Ok(None) => redirect.to(target),
        Ok(Some(onward)) => onward.answer(headers, redirect),
        Err(failed) => failed.into_response(),
    }
}

/// The session manager's form, whose own route knows no providers. Where no provider is concerned, that route answers.
pub(crate) async fn of_page(State(site): State<Arc<Site>>, mut request: Request, next: Next) -> Response {
    let is_form = request.method() == Method::POST && request.uri().path() == PAGE_FORM;
    if !is_form || !site.providers.any_signs_out() {
        return next.run(request).await;
    }
    let handle = match request.extract_parts::<SessionHandle>().await {
        Ok(handle) => handle,
        Err(undecided) => return undecided.into_response(),
    };
    let target = format!("{}{}", site.origin(), site.sign_in_path());
    match sign_out(&site, request.headers(), &handle, &target).await {
        Ok(None) => pages::see_other(site.sign_in_path()),
        Ok(Some(onward)) => onward.answer(request.headers(), Redirect { as_json: false }),
        Err(failed) => failed.into_response(),
    }
}

/// Where the browser goes after signing out, when its session came from a provider at which it is to sign out, too.
struct Onward<'a> {
    provider: &'a Provider,
    address: String,
    sent: bool,
    cookies: Vec<HeaderValue>,
}

impl Onward<'_> {
    fn answer(self, headers: &HeaderMap, redirect: Redirect) -> Response {
        let response = if self.sent && !redirect.as_json && is_navigation(headers) {
            pages::onward::show(&self.provider.settings().name, &self.address, pages::onward::SIGNED_OUT)
        } else {
            redirect.to(&self.address)
        };
        with_cookies(response, self.cookies)
    }
}

/// Ends the session. The error is the status to answer: it may live on.
async fn sign_out<'a>(
    site: &'a Site,
    headers: &HeaderMap,
    handle: &SessionHandle,
    target: &str,
) -> Result<Option<Onward<'a>>, StatusCode> {
    let session = handle.current();
    // At once, so that accounts that do not answer hold up no sign-out, and that the origin is not swept away in between.
    let (ended, came) = tokio::join!(handle.sign_out(), origin_of(site, session.as_ref()));
    match (ended, session) {
        (Ok(true), Some(session)) => Ok(onward(site, headers, &session, came, target).await),
        (Ok(_), _) => Ok(None),
        (Err(error), _) => {
            tracing::error!(target: "hallpass", error = %error, "signing out failed; the session may live on");
            Err(StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

/// Nobody knows where the session came from.
struct OriginUnknown;

async fn origin_of(site: &Site, session: Option<&Session>) -> Result<Option<ProviderSession>, OriginUnknown> {
    let Some(session) = session.filter(|_| site.providers.any_signs_out()) else {
        return Ok(None);
    };
    let id = session.id.to_string();
    match tokio::time::timeout(PATIENCE, site.accounts.provider_session(&id)).await {
        Ok(Ok(came)) => Ok(came),
        Ok(Err(error)) => {
            tracing::warn!(target: "hallpass", error = %error, "where a session came from could not be read");
            Err(OriginUnknown)
        }
        Err(_) => {
            tracing::warn!(target: "hallpass", "where a session came from could not be read in time");
            Err(OriginUnknown)
        }
    }
}

async fn onward<'a>(
    site: &'a Site,
    headers: &HeaderMap,
    session: &Session,
    came: Result<Option<ProviderSession>, OriginUnknown>,
    target: &str,
) -> Option<Onward<'a>> {
    let came = match came {
        Ok(came) => Some(came?),
        Err(OriginUnknown) => None,
    };
    // The sign-in's own word for it where the accounts have none.
    let id = came.as_ref().map_or(session.authentication.source.as_str(), |came| came.provider.as_str());
    let provider = site.providers.get(id).filter(|provider| provider.signs_out())?;
    // The settings may name another provider by that id today, whom the user of this one does not concern.
    if came.as_ref().is_some_and(|came| came.issuer != provider.settings().issuer) {
        return None;
    }
    let target = if target.len() <= MAX_TARGET_BYTES { target } else { site.origin().as_str() };
    let mut departure = match Departure::begin(provider.id(), target, site.now_ms(), &*site.entropy) {
        Ok(departure) => departure,
        Err(error) => {
            tracing::error!(target: "hallpass", error = %error, "signed out here alone: no state could be made");
            return None;
        }
    };
    let back = post_logout_redirect_uri(site.origin().as_str());
    let asked = match &came {
        Some(came) => ask(provider, came, &back, &departure.state).await,
        None => Err(Departed::Undecided),
    };
    departure.sent = asked.is_ok();
    // Who is not sent to the provider learns so on the page of those who come back from there.
    let (address, outcome) = match asked {
        Ok(address) => (address, Departed::Sent),
        Err(outcome) => (format!("{back}?state={}", departure.state), outcome),
    };
    site.provider_counts.departure(provider.id(), outcome);
    tracing::info!(target: EVENTS, event = "authn_rp_initiated_logout", session.id = %session.id, provider = provider.id(), outcome = outcome.label(), "signed out here, and at the provider as far as it can be reached");
    let cookies = site.departures.cookies(headers, &departure);
    Some(Onward { provider, address, sent: departure.sent, cookies })
}

/// Where the provider's sign-out is.
async fn ask(provider: &Provider, came: &ProviderSession, back: &str, state: &str) -> Result<String, Departed> {
    let address = provider.end_session_address(came, back, state);
    let error = match tokio::time::timeout(PATIENCE, address).await {
        Ok(Ok(Some(address))) => return Ok(address.into()),
        Ok(Ok(None)) => return Err(Departed::Unsupported),
        Ok(Err(error)) => error,
        Err(_) => ProviderError::unavailable(format!("no answer within {PATIENCE:?}")),
    };
    tracing::warn!(target: "hallpass", provider = provider.id(), error = %error, "a user was signed out here alone");
    match error {
        ProviderError::Misconfigured(_) => Err(Departed::Misconfigured),
        ProviderError::Unavailable(_) | ProviderError::Refused(_) => Err(Departed::Unavailable),
    }
}

/// `GET signed-out`: what a browser finds that comes back. One that this server did not send goes to the start page.
pub(super) fn returned(site: &Site, parts: &Parts) -> Response {
    let query = Fields::of_query(parts.uri.query());
    let state = query.only("state").filter(|state| (1..=MAX_STATE_BYTES).contains(&state.len()));
    let redirect = Redirect { as_json: false };
    let Some(state) = state else {
        return redirect.to(site.origin().as_str());
    };
    let response = match site.departures.find(&parts.headers, state, site.now_ms()) {
        Found::UnderWay(departure) => {
            // Checked before it was remembered, and once more in case the origin is another today.
            let target = redirect_target::resolve(site.origin(), Some(&departure.target));
            match site.providers.get(&departure.provider) {
                Some(provider) if departure.sent => {
                    site.provider_counts.departure(provider.id(), Departed::Returned);
                    redirect.to(&target)
                }
                Some(provider) => pages::signed_out::show(&provider.settings().name, &target),
                None => redirect.to(&target),
            }
        }
        Found::Expired | Found::Unknown => redirect.to(site.origin().as_str()),
    };
    with_cookies(response, site.departures.removal(state))
}
