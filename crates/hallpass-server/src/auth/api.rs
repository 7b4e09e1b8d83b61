//! Which version of Auth.js the endpoints under `/api/auth` answer as.

use hallpass_axum::Origin;
use http::{HeaderMap, HeaderName, StatusCode};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::BASE;
use super::fields::Fields;
use crate::pages;

static RETURN_REDIRECT: HeaderName = HeaderName::from_static("x-auth-return-redirect");

/// The contract that the browser's client was written for. The two differ in a few answers, and each client misreads the other's: the empty object of
/// version 4 means "signed in" to version 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AuthApi {
    /// `next-auth` 5 and `@auth/core`.
    #[default]
    Authjs5,
    /// `next-auth` 4.
    Nextauth4,
}

impl AuthApi {
    /// The contract of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "authjs5" => Some(Self::Authjs5),
            "nextauth4" => Some(Self::Nextauth4),
            _ => None,
        }
    }

    /// What the names of its cookies begin with.
    pub(crate) const fn cookie_prefix(self) -> &'static str {
        match self {
            Self::Authjs5 => "authjs.",
            Self::Nextauth4 => "next-auth.",
        }
    }

    /// The session of nobody.
    pub(super) fn nobody(self) -> Value {
        match self {
            Self::Authjs5 => Value::Null,
            Self::Nextauth4 => json!({}),
        }
    }

    /// Whether the address to go to is wanted as JSON: by a header in version 5, by a field of the form in version 4.
    pub(super) fn wants_json(self, headers: &HeaderMap, fields: &Fields) -> bool {
        match self {
            Self::Authjs5 => headers.contains_key(&RETURN_REDIRECT),
            Self::Nextauth4 => fields.get("json") == Some("true"),
        }
    }

    /// Where a client is sent that has no valid CSRF token. `signs_out`: it wanted to sign out.
    pub(super) fn missing_csrf(self, origin: &Origin, signs_out: bool) -> String {
        match self {
            Self::Authjs5 => format!("{origin}{}?error=MissingCSRF", pages::SIGN_IN),
            Self::Nextauth4 if signs_out => format!("{origin}{BASE}/signout?csrf=true"),
            Self::Nextauth4 => format!("{origin}{BASE}/signin?csrf=true"),
        }
    }

    /// What a client is told whose sign-in did not come about, and with which status.
    pub(super) fn sign_in_failed(self, origin: &Origin, code: &str) -> (StatusCode, String) {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("error", code);
        match self {
            Self::Authjs5 => {
                if code == "CredentialsSignin" {
                    query.append_pair("code", "credentials");
                }
                (StatusCode::OK, format!("{origin}{}?{}", pages::SIGN_IN, query.finish()))
            }
            Self::Nextauth4 => {
                query.append_pair("provider", super::PROVIDER);
                (StatusCode::UNAUTHORIZED, format!("{origin}{BASE}/error?{}", query.finish()))
            }
        }
    }
}
