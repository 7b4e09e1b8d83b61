//! `GET` and `POST /api/cron/cleanup-sessions`, for an external scheduler.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use secrecy::SecretString;
use serde_json::json;
use tokio::sync::Semaphore;

use super::Desk;
use crate::answer;
use crate::bearer_secret::BearerSecret;
use crate::rejection::{Audience, Refusal};

/// A call that takes longer answers with what it has removed by then; the next one goes on from there.
const LIMIT: Duration = Duration::from_secs(240);

/// The secret, and the turn of the one clean-up at a time.
pub(super) struct Cleanup {
    secret: BearerSecret,
    turn: Semaphore,
}

impl Cleanup {
    pub(super) fn new(secret: &SecretString) -> Self {
        Self { secret: BearerSecret::new(secret), turn: Semaphore::new(1) }
    }
}

pub(super) async fn clean_up(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    let mut response = match &desk.cleanup {
        Some(cleanup) if cleanup.secret.admits(&headers) => sweep(&desk, cleanup).await,
        Some(_) => BearerSecret::refusal(),
        None => answer::error(StatusCode::NOT_FOUND, "Not Found"),
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn sweep(desk: &Desk, cleanup: &Cleanup) -> Response {
    // Impatient schedulers must not pile up sweeps: the running one does their work too.
    let Ok(_turn) = cleanup.turn.try_acquire() else {
        let mut response = answer::error(StatusCode::CONFLICT, "a clean-up is already running");
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("60"));
        return response;
    };
    let removed = AtomicU64::new(0);
    let sweep = desk.web.sessions().sweep(|progress| removed.store(progress.removed(), Ordering::Relaxed));
    match tokio::time::timeout(LIMIT, sweep).await {
        Ok(Ok(progress)) => answer::json_body(&json!({ "cleaned": progress.removed() })),
        Ok(Err(error)) => {
            tracing::error!(target: "hallpass", error = %error, "the clean-up failed; what it removed stays removed");
            Refusal::Unavailable.answer(&Audience::Program)
        }
        Err(_) => answer::json_body(&json!({ "cleaned": removed.load(Ordering::Relaxed) })),
    }
}

/// HEAD would be answered by GET's handler, and would clean up without a word about it.
pub(super) async fn no_head() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET, POST")]).into_response()
}
