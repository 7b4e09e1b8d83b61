//! OpenID Connect: the code for an ID token, and what must be true of it (OpenID Connect Core 1.0, section 3.1.3.7).

use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use http::StatusCode;
use openidconnect::core::{
    CoreGenderClaim, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm,
};
use openidconnect::{
    AccessToken, AccessTokenHash, AdditionalClaims, ClaimsVerificationError, ClientId, IdToken, IdTokenClaims,
    IdTokenVerifier, IssuerUrl, Nonce, SignatureVerificationError,
};
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::authenticated::bounded;
use super::discovery::{Discovery, Metadata};
use super::transaction::Transaction;
use super::{Authenticated, CLOCK_SKEW_SECONDS, Callback, Provider, ProviderError};
use crate::settings::ProviderSettings;

/// The claims that OpenID Connect Core does not know: the provider's session (Front- and Back-Channel Logout 1.0).
#[derive(Debug, Clone, Serialize, Deserialize)]
struct MoreClaims {
    sid: Option<String>,
}

impl AdditionalClaims for MoreClaims {}

type Token = IdToken<MoreClaims, CoreGenderClaim, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm>;
type Claims = IdTokenClaims<MoreClaims, CoreGenderClaim>;

/// What the token endpoint answers. No `Debug`: these are secrets.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    id_token: Option<String>,
}

/// What it answers when it refuses (RFC 6749, section 5.2).
#[derive(Debug, Deserialize)]
pub(super) struct TokenRefusal {
    pub(super) error: String,
}

/// What the user information endpoint answers.
#[derive(Deserialize)]
struct UserInformation {
    sub: String,
    email: Option<String>,
    #[serde(default)]
    email_verified: serde_json::Value,
    name: Option<String>,
}

pub(super) async fn redeem(
    provider: &Provider,
    discovery: &Discovery,
    transaction: &Transaction,
    callback: &Callback<'_>,
) -> Result<Authenticated, ProviderError> {
    let metadata = discovery.metadata().await?;
    answered_by(&metadata, callback.issuer)?;
    let answer = exchange(provider, &metadata, transaction, callback).await?;
    let Some(text) = &answer.id_token else {
        return Err(ProviderError::refused("its token endpoint sent no ID token"));
    };
    let token = Token::from_str(text).map_err(|_| ProviderError::refused("its ID token cannot be read"))?;
    let check = Check { provider, metadata: &metadata, nonce: &transaction.nonce, now_ms: callback.now_ms };
    let keys = discovery.keys().await?;
    let claims = match check.claims(&token, &keys, &answer.access_token) {
        Err(Wrong::UnknownKey) => match discovery.newer_keys().await? {
            Some(newer) => check.claims(&token, &newer, &answer.access_token),
            None => Err(Wrong::UnknownKey),
        },
        checked => checked,
    };
    let claims = claims.map_err(|wrong| ProviderError::refused(wrong.to_string()))?;
    let mut authenticated = facts(&claims)?;
    if authenticated.email.is_none() && callback.wants_email {
        ask_for_user(provider, &metadata, &answer.access_token, &mut authenticated).await?;
    }
    Ok(authenticated)
}

/// Whether this provider answered (RFC 9207): a code of another one must not be sent to it.
pub(super) fn answered_by(metadata: &Metadata, named: Option<&str>) -> Result<(), ProviderError> {
    match named {
        Some(named) if named == metadata.issuer => Ok(()),
        Some(_) => Err(ProviderError::refused("another issuer answered")),
        None if metadata.authorization_response_iss_parameter_supported => {
            Err(ProviderError::refused("the answer does not name its issuer, which this provider always does"))
        }
        None => Ok(()),
    }
}

async fn exchange(
    provider: &Provider,
    metadata: &Metadata,
    transaction: &Transaction,
    callback: &Callback<'_>,
) -> Result<TokenAnswer, ProviderError> {
    let (authorization, form) = token_request(provider.settings(), metadata, transaction, callback);
    let answer = provider.http.post(&metadata.token_endpoint, authorization, form).await?;
    match answer.status {
        StatusCode::OK => answer.json("the answer of its token endpoint"),
        status if status.is_client_error() => {
            Err(refusal(answer.json("the refusal of its token endpoint").ok().as_ref(), status))
        }
        status => Err(ProviderError::unavailable(format!("its token endpoint answers {status}"))),
    }
}

/// The `Authorization` and the form.
fn token_request(
    settings: &ProviderSettings,
    metadata: &Metadata,
    transaction: &Transaction,
    callback: &Callback<'_>,
) -> (Option<String>, String) {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("code", callback.code)
        .append_pair("redirect_uri", callback.redirect_uri)
        .append_pair("code_verifier", &transaction.verifier);
    let methods = &metadata.token_endpoint_auth_methods_supported;
    let has = |method: &str| methods.iter().any(|each| each == method);
    // RFC 8414: a provider that names no method has client_secret_basic.
    let basic = methods.is_empty() || has("client_secret_basic");
    let authorization = match &settings.client_secret {
        Some(secret) if basic => Some(basic_authorization(&settings.client_id, secret.expose_secret())),
        Some(secret) => {
            form.append_pair("client_id", &settings.client_id).append_pair("client_secret", secret.expose_secret());
            None
        }
        None => {
            form.append_pair("client_id", &settings.client_id);
            None
        }
    };
    (authorization, form.finish())
}

/// RFC 6749, section 2.3.1: both are encoded as in a form first.
fn basic_authorization(id: &str, secret: &str) -> String {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret))))
}

/// The words of RFC 6749 alone get into the log: what else is in the answer may be anything.
pub(super) fn refusal(refusal: Option<&TokenRefusal>, status: StatusCode) -> ProviderError {
    match refusal.map_or("", |refusal| refusal.error.as_str()) {
        "invalid_grant" | "bad_verification_code" => {
            ProviderError::refused("its token endpoint does not take the code: used, expired, or not for us")
        }
        "invalid_client" | "unauthorized_client" | "incorrect_client_credentials" => ProviderError::Misconfigured(
            "its token endpoint does not know this client; check client_id and client_secret".to_owned(),
        ),
        "redirect_uri_mismatch" => {
            ProviderError::Misconfigured("the address of our callback is not registered there".to_owned())
        }
        _ => ProviderError::refused(format!("its token endpoint answers {status}")),
    }
}

/// Why an ID token does not count. The texts name claims and no token.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("the ID token names a key that is not among the provider's")]
    UnknownKey,
    #[error("the ID token: {0}")]
    Claims(String),
}

struct Check<'a> {
    provider: &'a Provider,
    metadata: &'a Metadata,
    nonce: &'a str,
    now_ms: i64,
}

impl Check<'_> {
    fn claims(&self, token: &Token, keys: &CoreJsonWebKeySet, access_token: &str) -> Result<Claims, Wrong> {
        let client_id = &self.provider.settings().client_id;
        let wrong = |what: String| Wrong::Claims(what);
        let issuer = IssuerUrl::new(self.metadata.issuer.clone()).map_err(|error| wrong(error.to_string()))?;
        let at = |seconds: i64| DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or_default();
        let now = self.now_ms.div_euclid(1_000);
        let latest = at(now.saturating_add(CLOCK_SKEW_SECONDS));
        // A public client as far as signatures go: none by a shared secret is taken, so no key can be mistaken for one.
        let verifier = IdTokenVerifier::new_public_client(ClientId::new(client_id.clone()), issuer, keys.clone())
            .set_allowed_algs(signing_algorithms(&self.metadata.id_token_signing_alg_values_supported))
            .set_time_fn(move || at(now.saturating_sub(CLOCK_SKEW_SECONDS)))
            .set_issue_time_verifier_fn(move |issued| {
                if issued <= latest { Ok(()) } else { Err("it was issued in the future".to_owned()) }
            });
        let nonce = Nonce::new(self.nonce.to_owned());
        let claims = match token.claims(&verifier, &nonce) {
            Ok(claims) => claims,
            Err(ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey)) => {
                return Err(Wrong::UnknownKey);
            }
            Err(error) => return Err(wrong(error.to_string())),
        };
        // Section 3.1.3.7, step 5; openidconnect leaves it to its caller.
        if claims.authorized_party().is_some_and(|party| party.as_str() != client_id.as_str()) {
            return Err(wrong("it was issued to another client (azp)".to_owned()));
        }
        if let Some(expected) = claims.access_token_hash() {
            let algorithm = token.signing_alg().map_err(|error| wrong(error.to_string()))?;
            let key = token.signing_key(&verifier).map_err(|error| wrong(error.to_string()))?;
            let access_token = AccessToken::new(access_token.to_owned());
            let actual = AccessTokenHash::from_token(&access_token, algorithm, key);
            if actual.map_err(|error| wrong(error.to_string()))? != *expected {
                return Err(wrong("at_hash is of another access token".to_owned()));
            }
        }
        Ok(claims.clone())
    }
}

/// Those by a key pair, of the ones that the provider says it uses. Never one by a shared secret, never `none` (RFC 8725, section 3.1).
pub(super) fn signing_algorithms(supported: &[String]) -> Vec<CoreJwsSigningAlgorithm> {
    use CoreJwsSigningAlgorithm as Algorithm;
    [
        (Algorithm::RsaSsaPkcs1V15Sha256, "RS256"),
        (Algorithm::RsaSsaPkcs1V15Sha384, "RS384"),
        (Algorithm::RsaSsaPkcs1V15Sha512, "RS512"),
        (Algorithm::RsaSsaPssSha256, "PS256"),
        (Algorithm::RsaSsaPssSha384, "PS384"),
        (Algorithm::RsaSsaPssSha512, "PS512"),
        (Algorithm::EcdsaP256Sha256, "ES256"),
        (Algorithm::EcdsaP384Sha384, "ES384"),
        (Algorithm::EdDsa, "EdDSA"),
    ]
    .into_iter()
    .filter(|(_, name)| supported.is_empty() || supported.iter().any(|supported| supported == name))
    .map(|(algorithm, _)| algorithm)
    .collect()
}

fn facts(claims: &Claims) -> Result<Authenticated, ProviderError> {
    let known = Authenticated::new(claims.subject().as_str())
        .ok_or_else(|| ProviderError::refused("the ID token's subject is empty, too long or no text"))?;
    let methods = claims.auth_method_refs().map(Vec::as_slice).unwrap_or_default();
    let mut known = known.with_methods(methods.iter().map(|method| method.as_str()));
    known.email = claims.email().and_then(|email| bounded(email.as_str()));
    known.email_verified = claims.email_verified() == Some(true);
    known.name = claims.name().and_then(|name| name.get(None)).and_then(|name| bounded(name.as_str()));
    // One that cannot be kept would never match a logout: better no session than one that cannot be ended from there.
    known.sid = match &claims.additional_claims().sid {
        None => None,
        Some(sid) => Some(bounded(sid).ok_or_else(|| ProviderError::refused("the ID token's sid is too long"))?),
    };
    known.acr = claims.auth_context_ref().and_then(|acr| bounded(acr.as_str()));
    known.auth_time = claims.auth_time().map(|at| at.timestamp());
    known.issued_at = Some(claims.issue_time().timestamp());
    Ok(known)
}

/// Most providers put no email address into the ID token of a code.
async fn ask_for_user(
    provider: &Provider,
    metadata: &Metadata,
    access_token: &str,
    authenticated: &mut Authenticated,
) -> Result<(), ProviderError> {
    let Some(endpoint) = &metadata.userinfo_endpoint else {
        return Ok(());
    };
    let answer = provider.http.get(endpoint, Some(access_token)).await?;
    if answer.status != StatusCode::OK {
        return Err(ProviderError::unavailable(format!("its user information endpoint answers {}", answer.status)));
    }
    let information: UserInformation = answer.json("its user information")?;
    // Section 5.3.2: of somebody else it must not be used.
    if information.sub != authenticated.subject {
        return Err(ProviderError::refused("its user information is about somebody else"));
    }
    authenticated.email = information.email.as_deref().and_then(bounded);
    authenticated.email_verified = is_true(&information.email_verified);
    authenticated.name = authenticated.name.take().or_else(|| information.name.as_deref().and_then(bounded));
    Ok(())
}

/// Some providers write their booleans as text.
pub(super) fn is_true(value: &serde_json::Value) -> bool {
    value == &serde_json::Value::Bool(true) || value == "true"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_secrets_and_none_are_never_among_the_algorithms() {
        let all = signing_algorithms(&[]);
        let names = |algorithms: &[CoreJwsSigningAlgorithm]| serde_json::to_string(algorithms).unwrap();
        assert!(!names(&all).contains("HS") && !names(&all).contains("none"));
        let supported = ["none", "HS256", "ES256", "RS1"].map(str::to_owned);
        assert_eq!(names(&signing_algorithms(&supported)), "[\"ES256\"]");
    }

    #[test]
    fn a_secret_of_any_characters_fits_basic_authorization() {
        // RFC 6749, section 2.3.1: `:` and `+` would be read as something else.
        assert_eq!(basic_authorization("a:b", "c+d e"), format!("Basic {}", STANDARD.encode("a%3Ab:c%2Bd+e")));
    }
}
