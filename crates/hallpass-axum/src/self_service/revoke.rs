//! `DELETE /api/sessions`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use hallpass_core::{EndReason, SessionId, StoreError};
use serde::Deserialize;
use serde_json::json;

use super::{Caller, Desk, json_request};
use crate::{Web, answer};

const EXPECTED: &str = r#"send {"sessionToken": "..."} or {"all": true}"#;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    session_token: Option<String>,
    all: Option<bool>,
}

pub(super) async fn revoke(State(desk): State<Arc<Desk>>, caller: Caller, request: Request) -> Response {
    let body: Body = match json_request::read(request, EXPECTED).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let ended = match (body.session_token, body.all) {
        (Some(named), None) => end_named(&desk.web, &caller, &named).await.map(Some),
        (None, Some(true)) => end_others(&desk.web, &caller).await,
        _ => return answer::error(http::StatusCode::BAD_REQUEST, EXPECTED),
    };
    match ended {
        Ok(Some(ended)) => answer::json_body(&json!({ "success": true, "revoked": ended })),
        Ok(None) => caller.gone(),
        Err(error) => caller.unavailable(&error),
    }
}

/// The session that a client names: by public id, or by a whole token. Neither admits anybody: the owner is checked in the write.
pub(super) async fn named_session(web: &Web, text: &str) -> Result<Option<SessionId>, StoreError> {
    let sessions = web.sessions();
    // A token of Auth.js may look like an id.
    if let Ok(token) = sessions.parse(text.as_bytes())
        && let Some(id) = web.within(sessions.id_of(&token)).await?
    {
        return Ok(Some(id));
    }
    Ok(text.parse().ok())
}

async fn end_named(web: &Web, caller: &Caller, named: &str) -> Result<u64, StoreError> {
    end_one(web, caller, named_session(web, named).await?).await
}

/// Ends one session of the caller's own. 0 for garbage, unknown, foreign and ended ones alike (A15). One durable commit.
pub(super) async fn end_one(web: &Web, caller: &Caller, id: Option<SessionId>) -> Result<u64, StoreError> {
    let Some(id) = id else {
        return Ok(0);
    };
    let is_current = id == caller.session.id;
    let reason = if is_current { EndReason::SignedOut } else { EndReason::Revoked };
    let owner = caller.session.user.clone();
    let ended = web.within(web.sessions().revoke(id, Some(&owner), &caller.actor(), reason)).await?;
    if is_current {
        caller.exchange.ended();
    }
    Ok(ended)
}

/// Ends all others of the caller's. `None` when the caller's own has ended meanwhile: then nothing was done. One durable commit.
pub(super) async fn end_others(web: &Web, caller: &Caller) -> Result<Option<u64>, StoreError> {
    let actor = caller.actor();
    let revoked = web.sessions().revoke_others(&caller.session, &actor, EndReason::RevokedOthers);
    // Counting others is always possible, so no count means that there was nothing to keep.
    Ok(web.within(revoked).await?.ended)
}
