//! The sign-in page.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use hallpass_axum::SessionHandle;
use http::{HeaderMap, StatusCode};

use super::{page, see_other};
use crate::auth::fields::Fields;
use crate::auth::{append_cookie, csrf_for, redirect_target};
use crate::serve::site::Site;

#[derive(Template)]
#[template(path = "signin.html")]
struct SignInPage {
    csrf_token: String,
    callback_url: String,
    email: String,
    remember: bool,
    notice: Option<String>,
    error: Option<String>,
}

/// The sentence for an error code. Nothing of the query is ever shown: a link could put words into this page's mouth.
const ERRORS: [(&str, &str); 10] = [
    ("CredentialsSignin", "The email address or the password is wrong."),
    ("MissingCSRF", "This page had been open for too long. Please try again."),
    ("RateLimited", "Too many failed attempts. Wait a minute, then try again."),
    ("Overloaded", "Too many people are signing in right now. Try again in a few seconds."),
    ("SessionLimit", "You are signed in on as many devices as allowed. Sign out on one of them first."),
    ("AccessDenied", "You have no access."),
    ("Verification", "That link is no longer valid."),
    ("Configuration", "Something is set up wrong on this server."),
    ("SessionRequired", "Please sign in to see that page."),
    (OTHER, "Signing in did not work. Please try again."),
];

const OTHER: &str = "Default";

/// `code` if it is one of ours, else the one for everything else.
pub(crate) fn known_error(code: &str) -> &'static str {
    ERRORS.iter().map(|(known, _)| *known).find(|known| *known == code).unwrap_or(OTHER)
}

fn sentence(code: &str) -> &'static str {
    let code = known_error(code);
    ERRORS.iter().find(|(known, _)| *known == code).map_or("", |(_, sentence)| sentence)
}

/// `GET /signin?callbackUrl=&error=&prompt=login`. Whoever is signed in goes on to the target, unless an error is to be shown or
/// `prompt=login` asks for a new authentication.
pub(crate) async fn show(State(site): State<Arc<Site>>, handle: SessionHandle, request: Request) -> Response {
    let query = Fields::of_query(request.uri().query());
    let target = redirect_target::resolve(site.origin(), query.get("callbackUrl"));
    let error = query.get("error").map(known_error);
    if let Some(session) = handle.current()
        && error.is_none()
        && query.get("prompt") != Some("login")
    {
        match site.account_of(&session).await {
            Ok(Some(_)) => return see_other(&target),
            // The account is gone or disabled: to send its owner on would send him back here for ever.
            Ok(None) => {}
            Err(error) => {
                tracing::error!(target: "hallpass", error = %error, "the account of a session could not be read");
                return StatusCode::SERVICE_UNAVAILABLE.into_response();
            }
        }
    }
    render(&site, request.headers(), &handle, &target, error, "", StatusCode::OK)
}

/// The page. `email` is what was typed before.
pub(crate) fn render(
    site: &Site,
    headers: &HeaderMap,
    handle: &SessionHandle,
    target: &str,
    error: Option<&str>,
    email: &str,
    status: StatusCode,
) -> Response {
    let (csrf_token, cookie) = match csrf_for(site, headers, handle) {
        Ok(token) => token,
        Err(unavailable) => return unavailable.into_response(),
    };
    // Being asked to sign in is no failure.
    let asked_to = error == Some("SessionRequired");
    let text = error.map(|code| sentence(code).to_owned());
    let (notice, error) = if asked_to { (text, None) } else { (None, text) };
    let shown = SignInPage {
        csrf_token,
        callback_url: target.to_owned(),
        // Longer ones are no email addresses.
        email: if email.len() <= 254 { email.to_owned() } else { String::new() },
        remember: false,
        notice,
        error,
    };
    let mut response = page(status, &shown);
    append_cookie(&mut response, cookie);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_sentence_and_unknown_ones_the_last() {
        assert!(sentence("CredentialsSignin").contains("wrong"));
        for unknown in ["", "x", "<script>", "credentialssignin", "Default"] {
            assert_eq!(sentence(unknown), "Signing in did not work. Please try again.");
        }
    }
}
