//! `GET /api/sessions`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use hallpass_core::store::{Filter, Page};
use hallpass_core::{Session, SessionId, StoreError};
use http::header::LINK;
use http::{HeaderValue, StatusCode, Uri};

use super::form_request::Fields;
use super::{Caller, Desk};
use crate::{SessionJson, Web, answer};

/// One page of the caller's live sessions.
pub(super) struct OwnSessions {
    /// Newest first. The first page holds the current one in any case, no other page does: exactly one is the current one.
    pub(super) sessions: Vec<Session>,
    /// Where the next page continues.
    pub(super) next: Option<SessionId>,
}

/// The filter for a user's own live sessions.
pub(super) fn own(current: &Session) -> Filter {
    Filter { user: Some(current.user.clone()), ..Filter::default() }
}

/// Reads one page. `None` when the caller's own session has ended meanwhile. One read.
pub(super) async fn own_sessions(
    web: &Web,
    current: &Session,
    after: Option<SessionId>,
    limit: u32,
) -> Result<Option<OwnSessions>, StoreError> {
    let listing = web.within(web.sessions().list(&own(current), Page { after, limit })).await?;
    let mut sessions = listing.sessions;
    match (after, sessions.iter().position(|session| session.id == current.id)) {
        (None, None) if listing.next.is_none() => return Ok(None),
        // It is older than the whole first page, which shows it nevertheless.
        (None, None) => sessions.insert(0, current.clone()),
        (Some(_), Some(at)) => {
            sessions.remove(at);
        }
        (None, Some(_)) | (Some(_), None) => {}
    }
    Ok(Some(OwnSessions { sessions, next: listing.next }))
}

pub(super) async fn list(State(desk): State<Arc<Desk>>, caller: Caller, uri: Uri) -> Response {
    let query = Fields::of_query(uri.query());
    let Some((after, limit)) = page_of(&query) else {
        return answer::error(StatusCode::BAD_REQUEST, "after must be a session id and limit a number from 1 to 500");
    };
    let own = match own_sessions(&desk.web, &caller.session, after, limit).await {
        Ok(Some(own)) => own,
        Ok(None) => return caller.gone(),
        Err(error) => return caller.unavailable(&error),
    };
    let current = caller.session.id;
    let body: Vec<SessionJson> =
        own.sessions.iter().map(|session| SessionJson::new(session, session.id == current)).collect();
    let mut response = answer::json_body(&body);
    if let Some(next) = own.next
        && let Ok(link) = HeaderValue::try_from(format!("<?after={next}&limit={limit}>; rel=\"next\""))
    {
        response.headers_mut().insert(LINK, link);
    }
    response
}

/// `?after=&limit=`; fields that are not known are ignored, since clients add some against caches.
fn page_of(query: &Fields) -> Option<(Option<SessionId>, u32)> {
    let after = if query.has("after") { Some(query.one("after")?.parse().ok()?) } else { None };
    let limit = if query.has("limit") { query.one("limit")?.parse().ok()? } else { Page::MAX_LIMIT };
    (limit > 0).then(|| (after, limit.min(Page::MAX_LIMIT)))
}
