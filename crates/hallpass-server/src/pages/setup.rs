//! The page that creates the first account, reached by the one-time link that the first start prints.
//!
//! The code in the link is 256 random bits; the database holds its hash. It is used up in the transaction that creates the account, so of
//! any number of parallel uses exactly one wins (threat A42). It is in the address once; from then on it travels in the form. The
//! page's `Referrer-Policy` sends addresses to no other origin.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use hallpass_axum::SessionHandle;
use http::StatusCode;
use sha2::{Digest as _, Sha256};

use super::error::Explained;
use super::{page, see_other};
use crate::accounts::{AccountsError, DisplayName, Email, FirstCreated, NewAccount};
use crate::auth::fields::{Accepted, Fields};
use crate::auth::sign_in::{self, Attempted};
use crate::password::{MIN_BYTES, Password, PasswordError};
use crate::serve::site::Site;

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage {
    code: String,
    name: String,
    email: String,
    password_min: usize,
    error: Option<String>,
}

/// The stored form of a code.
pub(crate) fn code_hash(code: &str) -> [u8; 32] {
    Sha256::digest(code.as_bytes()).into()
}

/// `GET /setup?code=...`
pub(crate) async fn show(State(site): State<Arc<Site>>, request: Request) -> Response {
    let query = Fields::of_query(request.uri().query());
    let code = query.text("code");
    match is_open(&site, code).await {
        Ok(true) => page(
            StatusCode::OK,
            &SetupPage {
                code: code.to_owned(),
                name: String::new(),
                email: String::new(),
                password_min: MIN_BYTES,
                error: None,
            },
        ),
        Ok(false) => closed(),
        Err(error) => unavailable(&error),
    }
}

/// `POST /setup`: creates the account and signs its owner in.
pub(crate) async fn create(State(site): State<Arc<Site>>, handle: SessionHandle, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let fields = match Fields::read(&parts.headers, body, Accepted::Form).await {
        Ok(fields) => fields,
        Err(unreadable) => return unreadable.into_response(),
    };
    let code = fields.text("code");
    // Without the code nobody makes this server compute a hash, nor learns what a password must look like.
    match is_open(&site, code).await {
        Ok(true) => {}
        Ok(false) => return closed(),
        Err(error) => return unavailable(&error),
    }
    let again = |status: StatusCode, error: String| {
        page(
            status,
            &SetupPage {
                code: code.to_owned(),
                name: fields.text("name").to_owned(),
                email: fields.text("email").to_owned(),
                password_min: MIN_BYTES,
                error: Some(error),
            },
        )
    };
    let (email, name, password) = match read(&fields) {
        Ok(read) => read,
        Err(problem) => return again(StatusCode::UNPROCESSABLE_ENTITY, sentence(&problem)),
    };
    let password_hash = match site.passwords.hash(&password).await {
        Ok(hash) => Some(hash),
        Err(error @ PasswordError::Overloaded { .. }) => {
            return again(StatusCode::SERVICE_UNAVAILABLE, sentence(&error.to_string()));
        }
        Err(error) => return unavailable(&error),
    };
    let new = NewAccount { email, name, operator: true, password_hash };
    let account = match site.accounts.create_first(code_hash(code), new, site.now_ms()).await {
        Ok(FirstCreated::Account(account)) => account,
        Ok(FirstCreated::Refused) => return closed(),
        Err(error) => return unavailable(&error),
    };
    tracing::info!(target: crate::auth::EVENTS, event = "user_created", user.id = ?account.id.as_str(), operator = true, "the first account was created");
    match sign_in::begin(&site, &handle, &account, false).await {
        Attempted::SignedIn(_) => see_other("/"),
        // The account exists; its owner signs in by hand.
        _ => sign_in::without_cookies(see_other(super::SIGN_IN)),
    }
}

/// The fields in order, or what is wrong with the first that is.
fn read(fields: &Fields) -> Result<(Email, DisplayName, Password), String> {
    let name = DisplayName::parse(fields.text("name")).map_err(|error| error.to_string())?;
    let email = Email::parse(fields.text("email")).map_err(|error| error.to_string())?;
    let password = Password::new(fields.text("password").to_owned()).map_err(|error| error.to_string())?;
    Ok((email, name, password))
}

/// An error's text as a sentence on a page.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), chars.as_str()))
}

async fn is_open(site: &Site, code: &str) -> Result<bool, AccountsError> {
    if code.is_empty() {
        return Ok(false);
    }
    site.accounts.setup_is_open(code_hash(code), site.now_ms()).await
}

/// One answer for wrong, expired and used codes.
fn closed() -> Response {
    Explained::new(
        "This link does not work any more.",
        "It works once, for 24 hours, and only while there is no account. If nobody has one yet, restart the server: it prints a new link.",
    )
    .with(StatusCode::GONE)
}

fn unavailable(error: &dyn std::fmt::Display) -> Response {
    tracing::error!(target: "hallpass", error = %error, "the first account could not be created");
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        assert_eq!(sentence("the name is empty"), "The name is empty.");
        assert_eq!(sentence(""), "");
    }
}
