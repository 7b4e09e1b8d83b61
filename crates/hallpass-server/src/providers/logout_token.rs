//! Logout tokens: a provider says that a session, or every session of a user, is over (OpenID Connect Back-Channel Logout 1.0, sections 2.4 and 2.6;
//! ASVS 5.0, 10.5.5).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::JsonWebKey as _;
use openidconnect::core::{CoreJsonWebKeySet, CoreJwsSigningAlgorithm};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::authenticated::bounded;
use super::oidc::signing_algorithms;
use super::{CLOCK_SKEW_SECONDS, Provider, ProviderError};
use crate::accounts::Logout;

/// Longest token, in bytes.
const MAX_BYTES: usize = 8 << 10;
/// Most keys that are tried when a token names none.
const MAX_KEYS: usize = 20;
/// Oldest token that is taken, in seconds. The replay cache outlives it.
const MAX_AGE_SECONDS: i64 = 120;
/// Longest life that a provider may give one, in seconds. The specification recommends two minutes; some give five.
const MAX_LIFE_SECONDS: i64 = 300;
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Why a logout token does not count.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogoutRefused {
    /// It is none of this provider's for us, now. Fixed text: nothing of the token is repeated.
    #[error("{0}")]
    Invalid(&'static str),
    /// The provider's keys could not be had.
    #[error(transparent)]
    Undecided(#[from] ProviderError),
}

use LogoutRefused::Invalid;

struct Parts<'a> {
    algorithm: CoreJwsSigningAlgorithm,
    key_id: Option<String>,
    signed: &'a str,
    signature: Vec<u8>,
    claims: Map<String, Value>,
}

impl Provider {
    /// Checks a logout token. At most two requests to the provider, and none as a rule.
    ///
    /// # Errors
    /// [`LogoutRefused`]. Whether it was used before is not known here.
    pub(crate) async fn logout_token(&self, token: &str, now_ms: i64) -> Result<Logout, LogoutRefused> {
        let Some(discovery) = &self.discovery else {
            return Err(Invalid("this provider sends none"));
        };
        let metadata = discovery.metadata().await?;
        let parts = read(token, &metadata.id_token_signing_alg_values_supported)?;
        // Claims first: a token that would not count does not make us ask for keys.
        let logout = self.logout(&parts.claims, now_ms)?;
        let keys = discovery.keys().await?;
        if !is_signed(&parts, &keys)? {
            let newer = discovery.newer_keys().await?;
            if !newer.map_or(Ok(false), |keys| is_signed(&parts, &keys))? {
                return Err(Invalid("it names a key that is not among the provider's"));
            }
        }
        Ok(logout)
    }

    fn logout(&self, claims: &Map<String, Value>, now_ms: i64) -> Result<Logout, LogoutRefused> {
        let settings = self.settings();
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(settings.issuer.as_str()) {
            return Err(Invalid("iss is another issuer"));
        }
        let is_us = |value: &Value| value.as_str() == Some(settings.client_id.as_str());
        if !claims.get("aud").is_some_and(|aud| is_us(aud) || aud.as_array().is_some_and(|all| all.iter().any(is_us))) {
            return Err(Invalid("aud does not name this client"));
        }
        let now = now_ms.div_euclid(1_000);
        let time = |name: &str| claims.get(name).and_then(seconds);
        let issued_at = time("iat").ok_or(Invalid("iat is missing"))?;
        if issued_at > now + CLOCK_SKEW_SECONDS {
            return Err(Invalid("iat is in the future"));
        }
        if issued_at < now - MAX_AGE_SECONDS - CLOCK_SKEW_SECONDS {
            return Err(Invalid("iat is too long ago"));
        }
        let expires_at = time("exp").ok_or(Invalid("exp is missing"))?;
        if expires_at <= now - CLOCK_SKEW_SECONDS {
            return Err(Invalid("it has expired"));
        }
        if expires_at > issued_at + MAX_LIFE_SECONDS {
            return Err(Invalid("it lives for too long"));
        }
        // What keeps an ID token from being sent as a logout token, beside the type.
        if !claims.get("events").and_then(|events| events.get(EVENT)).is_some_and(Value::is_object) {
            return Err(Invalid("events does not have the event of a logout"));
        }
        // What keeps a logout token from being taken for an ID token.
        if claims.contains_key("nonce") {
            return Err(Invalid("it has a nonce"));
        }
        let jti = text("jti").filter(|jti| !jti.is_empty()).ok_or(Invalid("jti is missing"))?;
        let who = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => {
                value.as_str().and_then(bounded).map(Some).ok_or(Invalid("sub or sid is no text that names anybody"))
            }
        };
        let (subject, sid) = (who("sub")?, who("sid")?);
        if subject.is_none() && sid.is_none() {
            return Err(Invalid("it has neither sub nor sid"));
        }
        Ok(Logout {
            issuer: settings.issuer.clone(),
            jti_hash: Sha256::digest(jti.as_bytes()).into(),
            subject,
            sid,
            issued_at,
            received_at: now_ms,
        })
    }
}

/// Seconds since the epoch (RFC 7519, section 2: a number, maybe with a fraction), within what can be added to.
fn seconds(value: &Value) -> Option<i64> {
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))?;
    (0..=4_102_444_800).contains(&seconds).then_some(seconds)
}

/// Takes the token apart. `jku`, `x5u` and `jwk` of the header are not looked at: nobody chooses the key but the issuer's key set.
fn read<'a>(token: &'a str, supported: &[String]) -> Result<Parts<'a>, LogoutRefused> {
    let malformed = Invalid("it is no signed token");
    if token.len() > MAX_BYTES {
        return Err(malformed);
    }
    let decoded = || {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let object =
            |part: &str| serde_json::from_slice::<Map<String, Value>>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        Some((object(header)?, object(claims)?, signed, URL_SAFE_NO_PAD.decode(signature).ok()?))
    };
    let (header, claims, signed, signature) = decoded().ok_or(malformed)?;
    let kind = header.get("typ").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    if kind.strip_prefix("application/").unwrap_or(&kind) != "logout+jwt" {
        return Err(Invalid("typ is not logout+jwt"));
    }
    if header.contains_key("crit") {
        return Err(Invalid("crit names what is not understood"));
    }
    let algorithm = header.get("alg").cloned().unwrap_or_default();
    let algorithm: Option<CoreJwsSigningAlgorithm> = serde_json::from_value(algorithm).ok();
    let allowed = signing_algorithms(supported);
    let algorithm = algorithm.filter(|algorithm| allowed.contains(algorithm)).ok_or(Invalid("alg is not allowed"))?;
    let key_id = match header.get("kid") {
        None => None,
        Some(kid) => Some(kid.as_str().ok_or(Invalid("kid is no text"))?.to_owned()),
    };
    Ok(Parts { algorithm, key_id, signed, signature, claims })
}

/// `false`: no key of that id is there.
fn is_signed(parts: &Parts<'_>, keys: &CoreJsonWebKeySet) -> Result<bool, LogoutRefused> {
    let named = keys
        .keys()
        .iter()
        .filter(|key| parts.key_id.as_ref().is_none_or(|id| key.key_id().is_some_and(|key_id| key_id.as_str() == id)));
    let mut any = false;
    for key in named.take(MAX_KEYS) {
        any = true;
        // Also whether the key is of the algorithm's kind, and one for signatures.
        if key.verify_signature(&parts.algorithm, parts.signed.as_bytes(), &parts.signature).is_ok() {
            return Ok(true);
        }
    }
    if any { Err(Invalid("its signature is wrong")) } else { Ok(false) }
}
