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
use crate::providers::Provider;
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
    providers: Vec<ProviderButton>,
}

/// A form that leads to a provider.
struct ProviderButton {
    action: String,
    words: &'static str,
    name: String,
}

/// The sentence for an error code. Nothing of the query is ever shown: a link could put words into this page's mouth.
const ERRORS: [(&str, &str); 17] = [
    ("CredentialsSignin", "The email address or the password is wrong."),
    ("MissingCSRF", "This page had been open for too long. Please try again."),
    ("RateLimited", "Too many failed attempts. Wait a minute, then try again."),
    ("Overloaded", "Too many people are signing in right now. Try again in a few seconds."),
    ("SessionLimit", "You are signed in on as many devices as allowed. Sign out on one of them first."),
    (
        "OAuthAccountNotLinked",
        "No account here is linked to that sign-in. Sign in as you did before, then link it under \u{201c}Linked accounts\u{201d}.",
    ),
    ("OAuthCreateAccount", "The provider vouches for no email address of yours, so no account could be created."),
    ("OAuthCallbackError", "Signing in with the provider did not work. Please try again."),
    ("OAuthExpired", "Signing in took too long. Please try again."),
    ("OAuthTooOld", "The provider did not ask who you are. Please try again, and sign in there anew."),
    ("ProviderUnavailable", "The provider cannot be reached at the moment. Try again in a few seconds."),
    ("Unavailable", "The service cannot answer at the moment. Try again in a few seconds."),
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
    let confirm = query.get("prompt") == Some("login") && handle.current().is_some();
    let shown = Shown { target: &target, error, email: "", confirm };
    render(&site, request.headers(), &handle, &shown, StatusCode::OK)
}

/// What the page shows.
pub(crate) struct Shown<'a> {
    /// Where to go afterwards.
    pub(crate) target: &'a str,
    pub(crate) error: Option<&'a str>,
    /// What was typed before.
    pub(crate) email: &'a str,
    /// Whether somebody who is signed in is to prove it anew.
    pub(crate) confirm: bool,
}

/// The forms of the providers. To confirm, a provider is asked to authenticate anew, as far as it can be asked.
fn buttons(site: &Site, confirm: bool) -> Vec<ProviderButton> {
    let button = |provider: &Provider| {
        let query = if confirm && provider.can_reauthenticate() { "?prompt=login&max_age=0" } else { "" };
        ProviderButton {
            action: format!("/api/auth/signin/{}{query}", provider.id()),
            words: if confirm { "Confirm with" } else { "Continue with" },
            name: provider.settings().name.clone(),
        }
    };
    site.providers.iter().map(button).collect()
}

/// The page.
pub(crate) fn render(
    site: &Site,
    headers: &HeaderMap,
    handle: &SessionHandle,
    shown: &Shown<'_>,
    status: StatusCode,
) -> Response {
    let Shown { target, error, email, confirm } = *shown;
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
        providers: buttons(site, confirm),
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
