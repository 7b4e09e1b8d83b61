//! Answers instead of a handler's: why an extractor or the layer refused.

use std::sync::Arc;

use axum::Json;
use axum::extract::OriginalUri;
use axum::response::{Html, IntoResponse, Response};
use http::header::{ACCEPT, CACHE_CONTROL, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use crate::state::Exchange;
use crate::{Web, security_headers, web};

static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Who will read the answer: decides between JSON, a page and a redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Audience {
    /// A program: JSON.
    Program,
    /// A person in front of a browser.
    Person {
        /// Where to sign in, ready for a `Location` header.
        sign_in: Option<Arc<str>>,
    },
}

impl Audience {
    /// Of a request. `Sec-Fetch-Mode` decides where there is one; otherwise whoever accepts HTML is a person.
    pub(crate) fn of(method: &Method, headers: &HeaderMap, sign_in: Option<(&Web, &str)>) -> Self {
        let navigation = match headers.get(&SEC_FETCH_MODE) {
            Some(mode) => mode == "navigate",
            None => headers
                .get_all(ACCEPT)
                .iter()
                .any(|accept| accept.to_str().is_ok_and(|text| text.contains("text/html"))),
        };
        if !navigation {
            return Self::Program;
        }
        let safe = matches!(*method, Method::GET | Method::HEAD);
        let sign_in = sign_in.and_then(|(web, page)| sign_in_location(web, safe.then_some(page)));
        Self::Person { sign_in }
    }

    pub(crate) fn of_parts(parts: &Parts, web: &Web) -> Self {
        Self::of(&parts.method, &parts.headers, Some((web, &requested_page(parts))))
    }
}

/// Path and query as the client sent them, also inside a nested router.
fn requested_page(parts: &Parts) -> String {
    let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |OriginalUri(uri)| uri);
    uri.path_and_query().map(ToString::to_string).unwrap_or_default()
}

/// The sign-in page, and how to come back to `page`. The origin never appears, so no `Host` or `X-Forwarded-Host` can (A39), and what
/// is not a plain local path is left out. Everything but letters and digits is percent-encoded, so nothing can end the header (A54).
pub(crate) fn sign_in_location(web: &Web, page: Option<&str>) -> Option<Arc<str>> {
    let path = web.sign_in_path()?;
    Some(match page.filter(|page| web::is_local_path(page)) {
        Some(page) => format!("{path}?callbackUrl={}", utf8_percent_encode(page, NON_ALPHANUMERIC)).into(),
        None => path.into(),
    })
}

/// Every reason to refuse, with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotSignedIn,
    /// Signed in, but too long ago: seconds that would be fresh enough.
    NotFresh(u64),
    CrossOrigin,
    TooManyCookies,
    Unavailable,
    /// The application forgot the layer.
    NoLayer,
    /// The server does not tell the peer's address.
    NoClientAddress,
}

impl Refusal {
    /// The answer. It says what a client may know and nothing else (A46).
    pub(crate) fn answer(self, audience: &Audience) -> Response {
        if let (Self::NotSignedIn | Self::NotFresh(_), Audience::Person { sign_in: Some(location) }) = (self, audience)
        {
            return see_other(location, matches!(self, Self::NotFresh(_)));
        }
        let (status, error, text) = match self {
            Self::NotSignedIn => (StatusCode::UNAUTHORIZED, "Unauthorized", "You are not signed in."),
            Self::NotFresh(_) => (StatusCode::UNAUTHORIZED, "reauth_required", "Sign in again to go on."),
            Self::CrossOrigin => (
                StatusCode::FORBIDDEN,
                "Forbidden",
                "This request came from another site, or your browser does not say where it came from. Nothing was changed.",
            ),
            Self::TooManyCookies => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "Request Header Fields Too Large",
                "Your browser sent too many cookies. Remove this site's cookies and try again.",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Unavailable",
                "The service cannot answer at the moment. Try again soon.",
            ),
            Self::NoLayer | Self::NoClientAddress => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "Internal Server Error",
                "Something is set up wrong on this server.",
            ),
        };
        let mut response = match audience {
            Audience::Program => {
                let mut response = (status, Json(json!({ "error": error }))).into_response();
                security_headers::data(response.headers_mut());
                response
            }
            Audience::Person { .. } => page(status, text),
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Self::NotFresh(max_age) => {
                // RFC 9470, section 3: the client can ask for an authentication that is recent enough.
                let challenge = format!(
                    "Bearer error=\"insufficient_user_authentication\", error_description=\"A more recent authentication is required\", max_age={max_age}"
                );
                if let Ok(challenge) = HeaderValue::try_from(challenge) {
                    headers.insert(WWW_AUTHENTICATE, challenge);
                }
            }
            // A 401 names a scheme (RFC 9110, section 15.5.2); browsers ask nobody for a password because of this one.
            Self::NotSignedIn => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::Unavailable => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// To the sign-in page. `prompt=login` (a word of OpenID Connect) tells it to ask although there is a session, or it
/// would send the user straight back here.
fn see_other(location: &str, prompt: bool) -> Response {
    let separator = if location.contains('?') { '&' } else { '?' };
    let location = if prompt { format!("{location}{separator}prompt=login") } else { location.to_owned() };
    match HeaderValue::try_from(location) {
        Ok(location) => {
            let headers = [(LOCATION, location), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
            (StatusCode::SEE_OTHER, headers).into_response()
        }
        Err(_) => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// A small page that needs no asset. `text` is fixed text of this program, never a client's.
fn page(status: StatusCode, text: &'static str) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n<p>{text}</p>\n</main>\n</body>\n</html>\n"
    );
    let mut response = (status, Html(html)).into_response();
    security_headers::page(response.headers_mut());
    response
}

macro_rules! rejection {
    ($(#[$documentation:meta])* $name:ident) => {
        $(#[$documentation])*
        #[derive(Debug, Clone)]
        pub struct $name {
            pub(crate) refusal: Refusal,
            pub(crate) audience: Audience,
        }

        impl $name {
            /// The status of the answer; 303 for a redirect to the sign-in page.
            #[must_use]
            pub fn status(&self) -> StatusCode {
                self.refusal.answer(&self.audience).status()
            }
        }

        impl IntoResponse for $name {
            fn into_response(self) -> Response {
                self.refusal.answer(&self.audience)
            }
        }
    };
}

rejection! {
    /// Why there is no [`Session`](crate::Session): 401 `{"error":"Unauthorized"}`, for page navigations a redirect to the sign-in
    /// page; 503 when the store did not answer; 500 without the layer.
    SessionRejection
}
rejection! {
    /// Why it is not known whether there is a session: 503 when the store did not answer; 500 without the layer.
    UndecidedRejection
}
rejection! {
    /// Why there is no [`FreshSession`](crate::FreshSession): as [`SessionRejection`], or 401 `{"error":"reauth_required"}` with a challenge after RFC
    /// 9470, for page navigations a redirect to the sign-in page with `prompt=login`.
    FreshSessionRejection
}
rejection! {
    /// The server was not made with `into_make_service_with_connect_info::<SocketAddr>()`, or has no layer: 500.
    ClientAddressRejection
}

impl From<SessionRejection> for FreshSessionRejection {
    fn from(SessionRejection { refusal, audience }: SessionRejection) -> Self {
        Self { refusal, audience }
    }
}

/// The exchange of a request; without one, the application forgot the layer, which its log is told.
pub(crate) fn exchange(parts: &Parts) -> Result<&Arc<Exchange>, Refusal> {
    Exchange::of(&parts.extensions).ok_or_else(|| {
        tracing::error!(target: "hallpass", path = ?parts.uri.path(), "no session layer over this route: add .layer(web.layer()) to the router");
        Refusal::NoLayer
    })
}
