//! Reads a small form, strictly.

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;

use super::json_request::{body, is_type};
use crate::answer;

/// The fields of a posted form.
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads the body, or answers what is wrong with it: 415, 413, 408 or 400.
    pub(super) async fn read(request: Request) -> Result<Self, Response> {
        if !is_type(request.headers(), "application/x-www-form-urlencoded") {
            return Err(answer::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/x-www-form-urlencoded"));
        }
        let body = body(request.into_body()).await?;
        Ok(Self(url::form_urlencoded::parse(&body).into_owned().collect()))
    }

    /// The fields of a query.
    pub(super) fn of_query(query: Option<&str>) -> Self {
        Self(url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// One field; `None` when it is missing, and also when it is there twice.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let first = values.next()?;
        if values.next().is_some() { None } else { Some(first) }
    }

    /// Whether the field is there at all.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }
}
