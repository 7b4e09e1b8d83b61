//! Reads a small JSON object, strictly.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use crate::answer;

/// No request here needs more.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// A client that sends 16 KiB slower than this keeps the connection for nothing.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The object in the body, or the answer that says what is wrong with it: 415, 413, 408 or 400.
///
/// Only `application/json` is read: a form of another site can send text/plain, but this type only after a preflight that
/// nobody grants (ASVS 5.0, 3.5.2).
pub(super) async fn read<T: DeserializeOwned>(request: Request, expected: &'static str) -> Result<T, Response> {
    if !is_type(request.headers(), "application/json") {
        return Err(answer::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json"));
    }
    let body = body(request.into_body()).await?;
    let wrong = || answer::error(StatusCode::BAD_REQUEST, expected);
    // A derived reader would take an array for an object's fields in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(wrong());
    }
    serde_json::from_slice(&body).map_err(|_| wrong())
}

/// Whether there is exactly one content type and it is this one, with or without parameters.
pub(super) fn is_type(headers: &HeaderMap, wanted: &str) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Ok(value) = value.to_str() else {
        return false;
    };
    value.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case(wanted))
}

/// The body, within bounds of size and time.
pub(super) async fn body(body: Body) -> Result<Bytes, Response> {
    let too_large = || answer::error(StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large");
    // An announced length is refused before a byte of it is read.
    if axum::body::HttpBody::size_hint(&body).lower() > MAX_BODY_BYTES as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) => {
            let limit =
                std::error::Error::source(&error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
            Err(if limit { too_large() } else { answer::error(StatusCode::BAD_REQUEST, "the body broke off") })
        }
        Err(_) => Err(answer::error(StatusCode::REQUEST_TIMEOUT, "Request Timeout")),
    }
}
