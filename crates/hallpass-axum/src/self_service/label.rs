//! `PATCH /api/sessions/{id}`.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use hallpass_core::{Label, LabelError, SessionId, StoreError};
use http::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::{Caller, Desk, json_request};
use crate::{Web, answer};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    // With a reader of its own the field is required, though it may be null.
    #[serde(deserialize_with = "text_or_null")]
    label: Option<String>,
}

fn text_or_null<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(reader)
}

pub(super) async fn label(
    State(desk): State<Arc<Desk>>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let body: Body = match json_request::read(request, r#"send {"label": "..."} or {"label": null}"#).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let id = id.ok().and_then(|Path(id)| id.parse().ok());
    match name_one(&desk.web, &caller, id, body.label.as_deref().unwrap_or_default()).await {
        Ok(Named::Set | Named::Removed) => answer::json_body(&json!({ "success": true })),
        Ok(Named::NoSuchSession) => answer::error(StatusCode::NOT_FOUND, "Not Found"),
        Ok(Named::BadLabel(LabelError::TooLong(_))) => {
            answer::error(StatusCode::UNPROCESSABLE_ENTITY, "a label has at most 64 characters")
        }
        Ok(Named::BadLabel(_)) => {
            answer::error(StatusCode::UNPROCESSABLE_ENTITY, "a label must not contain control characters")
        }
        Err(error) => caller.unavailable(&error),
    }
}

/// What naming a session came to.
pub(super) enum Named {
    Set,
    Removed,
    /// Unknown, foreign or ended; which of them is not told (A15).
    NoSuchSession,
    BadLabel(LabelError),
}

/// Names one session of the caller's own; blank text takes the name away. One write.
pub(super) async fn name_one(
    web: &Web,
    caller: &Caller,
    id: Option<SessionId>,
    text: &str,
) -> Result<Named, StoreError> {
    let label = match Label::new(text) {
        Ok(label) => label,
        Err(error) => return Ok(Named::BadLabel(error)),
    };
    let Some(id) = id else {
        return Ok(Named::NoSuchSession);
    };
    let owner = caller.session.user.clone();
    let found = web.within(web.sessions().set_label(id, &owner, label.as_ref())).await?;
    Ok(match (found, label) {
        (false, _) => Named::NoSuchSession,
        (true, Some(_)) => Named::Set,
        (true, None) => Named::Removed,
    })
}
