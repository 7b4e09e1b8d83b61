//! Providers without ID tokens: GitHub, and others with an endpoint that describes the user.
//!
//! Such a provider says neither when nor how it authenticated the user, and its answer names no client. What keeps a code of another client out is the
//! client's own secret and PKCE at the token endpoint; the access token is asked about here and kept nowhere.

use http::StatusCode;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

use super::authenticated::bounded;
use super::oidc::{TokenRefusal, is_true, refusal};
use super::transaction::Transaction;
use super::{Authenticated, Callback, Provider, ProviderError};
use crate::settings::{Endpoints, ProviderKind, ProviderSettings};

/// What the token endpoint answers: GitHub refuses with status 200, too.
#[derive(Deserialize)]
#[serde(untagged)]
enum TokenAnswer {
    Granted { access_token: String },
    Refused(TokenRefusal),
}

/// One of GitHub's addresses of a user.
#[derive(Deserialize)]
struct Address {
    email: String,
    primary: bool,
    verified: bool,
}

pub(super) async fn redeem(
    provider: &Provider,
    endpoints: &Endpoints,
    transaction: &Transaction,
    callback: &Callback<'_>,
) -> Result<Authenticated, ProviderError> {
    let token = exchange(provider, endpoints, transaction, callback).await?;
    let user: Value = ask(provider, &endpoints.user, &token, "what describes the user").await?;
    let is_github = matches!(provider.settings().kind, ProviderKind::Github(_));
    // GitHub's logins can be given up and taken by others; its numbers cannot.
    let subject = if is_github {
        number(&user["id"])
    } else {
        text_or_number(&user["sub"]).or_else(|| text_or_number(&user["id"]))
    };
    let subject = subject.ok_or_else(|| ProviderError::refused("what describes the user has no subject"))?;
    let mut known =
        Authenticated::new(&subject).ok_or_else(|| ProviderError::refused("the user's subject cannot be one"))?;
    let text = |name: &str| user[name].as_str().and_then(bounded);
    known.name = text("name").or_else(|| text("login"));
    match &endpoints.emails {
        Some(emails) if callback.wants_email => {
            let addresses: Vec<Address> = ask(provider, emails, &token, "the list of email addresses").await?;
            if let Some(primary) = addresses.iter().find(|address| address.primary) {
                known.email = bounded(&primary.email);
                known.email_verified = primary.verified;
            }
        }
        Some(_) => {}
        None => {
            known.email = text("email");
            known.email_verified = is_true(&user["email_verified"]);
        }
    }
    Ok(known)
}

fn number(value: &Value) -> Option<String> {
    value.as_u64().map(|number| number.to_string())
}

fn text_or_number(value: &Value) -> Option<String> {
    value.as_str().map(ToOwned::to_owned).or_else(|| number(value))
}

async fn exchange(
    provider: &Provider,
    endpoints: &Endpoints,
    transaction: &Transaction,
    callback: &Callback<'_>,
) -> Result<String, ProviderError> {
    let form = token_request(provider.settings(), transaction, callback);
    let answer = provider.http.post(&endpoints.token, None, form).await?;
    if answer.status.is_server_error() || answer.status.is_redirection() {
        return Err(ProviderError::unavailable(format!("its token endpoint answers {}", answer.status)));
    }
    match answer.json("the answer of its token endpoint")? {
        TokenAnswer::Granted { access_token } if answer.status == StatusCode::OK => Ok(access_token),
        TokenAnswer::Granted { .. } => {
            Err(ProviderError::refused(format!("its token endpoint answers {}", answer.status)))
        }
        TokenAnswer::Refused(why) => Err(refusal(Some(&why), answer.status)),
    }
}

fn token_request(settings: &ProviderSettings, transaction: &Transaction, callback: &Callback<'_>) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", callback.code)
        .append_pair("redirect_uri", callback.redirect_uri)
        .append_pair("code_verifier", &transaction.verifier)
        .append_pair("client_id", &settings.client_id);
    if let Some(secret) = &settings.client_secret {
        form.append_pair("client_secret", secret.expose_secret());
    }
    form.finish()
}

async fn ask<T: serde::de::DeserializeOwned>(
    provider: &Provider,
    endpoint: &url::Url,
    token: &str,
    what: &str,
) -> Result<T, ProviderError> {
    let answer = provider.http.get(endpoint, Some(token)).await?;
    if answer.status != StatusCode::OK {
        return Err(ProviderError::unavailable(format!("{what}: {endpoint} answers {}", answer.status)));
    }
    answer.json(what)
}
