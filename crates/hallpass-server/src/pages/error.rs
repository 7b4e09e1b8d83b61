//! What a request that could not be served is answered: a page for people, JSON for programs.
//!
//! Handlers answer a bare status; [`written`] gives it its words, in one place for the whole server.

use askama::Template;
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use hallpass_axum::headers;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use super::page;

static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    status: u16,
    happened: String,
    todo: String,
}

/// Words of its own for one answer, in place of those for its status. Fixed text of this program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Explained {
    happened: &'static str,
    todo: &'static str,
}

impl Explained {
    pub(crate) fn new(happened: &'static str, todo: &'static str) -> Self {
        Self { happened, todo }
    }

    /// A bare status with these words.
    pub(crate) fn with(self, status: StatusCode) -> Response {
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }

    fn of(status: StatusCode) -> Self {
        let (happened, todo) = match status {
            StatusCode::UNAUTHORIZED => ("You are not signed in.", "Sign in and try again."),
            StatusCode::FORBIDDEN => ("That is not allowed.", "Nothing was changed."),
            StatusCode::NOT_FOUND => ("This page does not exist.", "Check the address, or start over."),
            StatusCode::METHOD_NOT_ALLOWED => ("That cannot be done here.", "Go back and use the page's own buttons."),
            StatusCode::PAYLOAD_TOO_LARGE => {
                ("That was too much text.", "Send less and try again. Nothing was changed.")
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                ("The server does not read this kind of content.", "Go back and use the page's own form.")
            }
            StatusCode::TOO_MANY_REQUESTS => ("That was too often.", "Wait a minute, then try again."),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                ("Your browser sent too much.", "Remove this site's cookies and try again.")
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                ("The service cannot answer at the moment.", "Try again in a few seconds.")
            }
            status if status.is_server_error() => {
                ("Something went wrong on this server.", "Try again. If it stays like this, tell its operator.")
            }
            _ => ("The server could not read that request.", "Go back and try again."),
        };
        Self { happened, todo }
    }
}

/// Who reads an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    Person,
    Program,
}

impl Reader {
    /// API routes are read by programs. Elsewhere `Sec-Fetch-Mode` decides where there is one, otherwise whoever accepts HTML is a
    /// person.
    pub(crate) fn of(path: &str, headers: &HeaderMap) -> Self {
        if path.starts_with("/api/") {
            return Self::Program;
        }
        let navigation = match headers.get(&SEC_FETCH_MODE) {
            Some(mode) => mode == "navigate",
            None => headers
                .get_all(ACCEPT)
                .iter()
                .any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html"))),
        };
        if navigation { Self::Person } else { Self::Program }
    }
}

/// Gives an error without words its words, keeping status and headers. What is HTML or JSON already stays as it is.
pub(crate) fn written(response: Response, reader: Reader) -> Response {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let has_words = response.headers().get(CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes().starts_with(b"text/html") || kind.as_bytes().starts_with(b"application/json")
    });
    if has_words {
        return response;
    }
    let (parts, _) = response.into_parts();
    let words = parts.extensions.get::<Explained>().copied().unwrap_or_else(|| Explained::of(status));
    let mut response = match reader {
        Reader::Person => page(
            status,
            &ErrorPage { status: status.as_u16(), happened: words.happened.to_owned(), todo: words.todo.to_owned() },
        ),
        Reader::Program => {
            let error = match status {
                StatusCode::SERVICE_UNAVAILABLE => "Unavailable",
                status => status.canonical_reason().unwrap_or("Error"),
            };
            let mut response = (status, Json(json!({ "error": error }))).into_response();
            headers::data(response.headers_mut());
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
    };
    // A header may be there several times, so which names are ours is settled before any is copied.
    let ours: Vec<HeaderName> = response.headers().keys().cloned().collect();
    for (name, value) in &parts.headers {
        if *name != CONTENT_LENGTH && !ours.contains(name) {
            response.headers_mut().append(name, value.clone());
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers() {
        let of = |path: &str, pairs: &[(&'static str, &'static str)]| {
            let headers = pairs
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            Reader::of(path, &headers)
        };
        assert_eq!(of("/", &[("accept", "text/html,*/*")]), Reader::Person);
        assert_eq!(of("/", &[("accept", "*/*")]), Reader::Program);
        assert_eq!(of("/", &[("sec-fetch-mode", "navigate")]), Reader::Person);
        assert_eq!(of("/", &[("sec-fetch-mode", "cors"), ("accept", "text/html")]), Reader::Program);
        assert_eq!(of("/api/sessions", &[("accept", "text/html")]), Reader::Program);
        assert_eq!(of("/apiary", &[("accept", "text/html")]), Reader::Person);
    }

    #[test]
    fn bare_errors_get_words_and_keep_their_headers() {
        let mut bare = StatusCode::METHOD_NOT_ALLOWED.into_response();
        bare.headers_mut().insert("allow", HeaderValue::from_static("GET"));
        bare.headers_mut().append("set-cookie", HeaderValue::from_static("a=b"));
        bare.headers_mut().append("set-cookie", HeaderValue::from_static("c=d"));
        let written = written(bare, Reader::Person);
        assert_eq!(written.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(written.headers()["allow"], "GET");
        assert_eq!(written.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(written.headers().get_all("set-cookie").iter().count(), 2);
    }

    #[test]
    fn answers_with_words_stay() {
        let json = (StatusCode::BAD_REQUEST, Json(json!("Bad request."))).into_response();
        assert!(!written(json, Reader::Person).headers().contains_key(CACHE_CONTROL));
        let fine = StatusCode::OK.into_response();
        assert!(!written(fine, Reader::Person).headers().contains_key(CONTENT_TYPE));
    }
}
