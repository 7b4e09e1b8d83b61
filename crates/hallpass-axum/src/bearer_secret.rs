//! Endpoints for programs that hold a secret.

use std::fmt;

use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::answer;
use crate::credential::bearer;

/// The digest of a secret that a program sends as `Authorization: Bearer ...`.
///
/// ```
/// use hallpass_axum::BearerSecret;
/// use http::{HeaderMap, HeaderValue};
///
/// let secret = BearerSecret::new(&"correct horse battery staple".into());
/// let mut headers = HeaderMap::new();
/// assert!(!secret.admits(&headers));
/// headers.insert("authorization", HeaderValue::from_static("Bearer correct horse battery staple"));
/// assert!(secret.admits(&headers));
/// ```
#[derive(Clone)]
pub struct BearerSecret([u8; 32]);

impl fmt::Debug for BearerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerSecret")
    }
}

impl BearerSecret {
    /// Keeps the digest alone.
    #[must_use]
    pub fn new(secret: &SecretString) -> Self {
        Self(Sha256::digest(secret.expose_secret().as_bytes()).into())
    }

    /// Whether the request carries the secret, exactly once. Digests are compared, in constant time: neither the secret's
    /// length nor a common beginning shows in the time (A17).
    #[must_use]
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return false;
        };
        let Some(credential) = bearer(value.as_bytes()) else {
            return false;
        };
        let digest: [u8; 32] = Sha256::digest(credential).into();
        digest.ct_eq(&self.0).into()
    }

    /// The answer to whoever does not have it: 401, as JSON.
    #[must_use]
    pub fn refusal() -> Response {
        let mut response = answer::error(StatusCode::UNAUTHORIZED, "Unauthorized").into_response();
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        response
    }
}
