//! JSON answers with their headers.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use serde_json::json;

use crate::security_headers;

/// 200 with a JSON body.
pub(crate) fn json_body(body: &impl Serialize) -> Response {
    with_status(StatusCode::OK, body)
}

/// An error as every route spells it: `{"error": "..."}`. `error` is fixed text of this program (A46).
pub(crate) fn error(status: StatusCode, error: &'static str) -> Response {
    with_status(status, &json!({ "error": error }))
}

fn with_status(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = (status, Json(body)).into_response();
    security_headers::data(response.headers_mut());
    response
}
