//! `GET /healthz`: whether this server can do its work.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use hallpass_axum::{headers, rfc3339};
use hallpass_core::{CacheStatus, SessionId, TaskStatus, Timestamp};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::pending_ends::Status;
use super::site::Site;
use crate::accounts::AccountId;

/// How long the stores may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is asked.
#[derive(Clone)]
pub(super) struct Health {
    pub(super) site: Arc<Site>,
    pub(super) ends: Arc<Status>,
}

/// 200 when session store and accounts answer in time, else 503. Two point reads; nothing is counted. The body says when each background
/// task last succeeded; it holds nothing secret, nothing about users, and no error text.
pub(super) async fn check(State(health): State<Health>) -> Response {
    let (sessions, accounts) = tokio::join!(sessions_answer(&health.site), accounts_answer(&health.site));
    let verbs = health.site.web.sessions();
    let now = verbs.now();
    let background = verbs.background_status();
    let ok = sessions && accounts;
    let body = json!({
        "status": if ok { "ok" } else { "unavailable" },
        "stores": { "sessions": sessions, "accounts": accounts },
        "background": {
            "lastSeen": task(background.last_seen, now),
            "sweep": task(background.sweep, now),
            "sessionEnds": task(health.ends.read(), now),
            "follow": background.follow.map(|status| task(status, now)),
        },
        "validation": validation(verbs.cache_status(), now),
    });
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = (status, Json(body)).into_response();
    headers::data(response.headers_mut());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn sessions_answer(site: &Site) -> bool {
    // No session has this id; to look for it costs a read all the same.
    let nobody = SessionId::from_bytes([0; 16]);
    let read = tokio::time::timeout(PATIENCE, site.web.sessions().show(nobody)).await;
    answered("sessions", read)
}

async fn accounts_answer(site: &Site) -> bool {
    let Some(nobody) = AccountId::parse("-") else {
        return true;
    };
    answered("accounts", tokio::time::timeout(PATIENCE, site.accounts.find(&nobody)).await)
}

fn answered<T, E: std::fmt::Display>(store: &str, read: Result<Result<T, E>, tokio::time::error::Elapsed>) -> bool {
    let problem = match read {
        Ok(Ok(_)) => return true,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {PATIENCE:?}"),
    };
    tracing::error!(target: "hallpass", store, error = %problem, "health check failed");
    false
}

/// How checks are answered. A server that has no lease is well: it reads the store for each check.
fn validation(cache: Option<CacheStatus>, now: Timestamp) -> Value {
    let Some(cache) = cache else { return json!({ "mode": "strict" }) };
    json!({
        "mode": "cached",
        "leaseMs": u64::try_from(cache.lease.as_millis()).unwrap_or(u64::MAX),
        "leaseLeftMs": u64::try_from(cache.lease_left.as_millis()).unwrap_or(u64::MAX),
        "logPosition": cache.position,
        "sessions": cache.entries,
        "bytes": cache.bytes,
        "hits": cache.hits,
        "misses": cache.misses,
        "fenced": cache.fenced,
        "flushes": cache.flushes,
        "hints": cache.hints,
        "lastHintSecondsAgo": cache.last_hint.map(|at| now.since(at).as_secs()),
    })
}

fn task(status: TaskStatus, now: Timestamp) -> Value {
    json!({
        "lastSuccess": status.last_success.map(rfc3339),
        "secondsAgo": status.last_success.map(|at| now.since(at).as_secs()),
        "failures": status.failures,
    })
}
