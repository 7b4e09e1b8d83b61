//! The outermost layer: what every answer of the server has in common.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hallpass_axum::headers;
use http::HeaderValue;
use http::header::{SET_COOKIE, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};
use tokio::time::Instant;

use crate::auth::sign_in::WithoutCookies;
use crate::pages::error::{Reader, written};

/// What differs from server to server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    /// The public origin is https.
    pub(super) secure: bool,
}

/// Gives errors their words and every answer its security headers, and notes the request in the log at debug level (method, path,
/// status, time; never the query, which can hold a set-up code).
pub(super) async fn finish(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let reader = Reader::of(request.uri().path(), request.headers());
    let method = request.method().clone();
    let path = loggable(request.uri().path());
    let mut response = next.run(request).await;
    if response.extensions().get::<WithoutCookies>().is_some() {
        response.headers_mut().remove(SET_COOKIE);
    }
    let mut response = written(response, reader);
    let headers = response.headers_mut();
    if !headers.contains_key(X_CONTENT_TYPE_OPTIONS) {
        headers::data(headers);
    }
    if edge.secure {
        // A year, as ASVS 5.0, 3.4.1 asks.
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000; includeSubDomains"));
    }
    tracing::debug!(target: "hallpass::http", method = %method, path = ?path, status = response.status().as_u16(), milliseconds = begun.elapsed().as_millis(), "request");
    response
}

/// The path for the log: bounded, and without a token that a mistaken client put there.
fn loggable(path: &str) -> String {
    if path.contains("hp_") {
        return "(a token)".to_owned();
    }
    path.get(..path.floor_char_boundary(200)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a52_paths_in_the_log_hold_no_token() {
        assert_eq!(loggable("/sessions"), "/sessions");
        assert_eq!(loggable("/api/sessions/hp_abc"), "(a token)");
        assert_eq!(loggable(&"é".repeat(300)).len(), 200);
    }
}
