//! The session manager page and its forms.
//!
//! All works without scripts: a form posts, the answer redirects back to the page (303, so that reloading repeats nothing), and the page
//! says what was done. What it says is chosen by a code in the query, never text from it.

use std::sync::Arc;

use askama::Template;
use axum::extract::{FromRequestParts, OriginalUri, Request, State};
use axum::response::{Html, IntoResponse, Response};
use hallpass_core::{Device, Session, SessionId, StoreError};
use http::header::LOCATION;
use http::request::Parts;
use http::{HeaderValue, StatusCode, Uri};

use super::form_request::Fields;
use super::label::{Named, name_one};
use super::list::{own, own_sessions};
use super::revoke::{end_one, end_others, named_session};
use super::{Caller, Desk};
use crate::rejection::{Audience, Refusal, SessionRejection, exchange, sign_in_location};
use crate::timestamps::for_people;
use crate::{SessionHandle, rfc3339, security_headers};

/// How many sessions one page shows.
const PAGE_ROWS: u32 = 100;

#[derive(Template)]
#[template(path = "sessions.html")]
struct SessionsPage {
    title: String,
    user_name: String,
    notice: Option<String>,
    error: Option<String>,
    sessions: Vec<Row>,
    others: usize,
    next: Option<String>,
    base: String,
}

struct Row {
    id: String,
    device: String,
    kind: &'static str,
    user_agent: String,
    label: String,
    ip: String,
    class: String,
    is_current: bool,
    created_iso: String,
    created_text: String,
    last_seen_iso: String,
    last_seen_text: String,
    authenticated_iso: String,
    authenticated_text: String,
    expires_iso: String,
    expires_text: String,
}

impl Row {
    fn new(session: &Session, is_current: bool) -> Self {
        let user_agent = session.client.user_agent.as_deref().unwrap_or_default();
        let device = Device::parse(user_agent);
        Self {
            id: session.id.to_string(),
            device: device.name,
            kind: device.kind.as_str(),
            user_agent: user_agent.to_owned(),
            label: session.label.as_ref().map(|label| label.as_str().to_owned()).unwrap_or_default(),
            ip: session.client.ip.map(|ip| ip.to_string()).unwrap_or_default(),
            class: session.class.to_string(),
            is_current,
            created_iso: rfc3339(session.created_at),
            created_text: for_people(session.created_at),
            last_seen_iso: rfc3339(session.last_seen_at),
            last_seen_text: for_people(session.last_seen_at),
            authenticated_iso: rfc3339(session.authenticated_at),
            authenticated_text: for_people(session.authenticated_at),
            expires_iso: rfc3339(session.idle_expires_at),
            expires_text: for_people(session.idle_expires_at),
        }
    }
}

/// A caller of the page's routes.
pub(super) struct Visitor(Caller);

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionRejection> {
        Caller::of(parts, audience(parts)).await.map(Self)
    }
}

/// Who reads the answer. Whoever posts a form without a session comes back to the page after signing in, not to the form's
/// address, which shows nothing.
fn audience(parts: &Parts) -> Audience {
    let Ok(exchange) = exchange(parts) else {
        return Audience::of(&parts.method, &parts.headers, None);
    };
    match Audience::of_parts(parts, &exchange.web) {
        Audience::Person { .. } if !parts.method.is_safe() => {
            let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |OriginalUri(uri)| uri);
            let page = uri.path().rsplit_once('/').map(|(page, _)| page);
            Audience::Person { sign_in: sign_in_location(&exchange.web, page) }
        }
        audience => audience,
    }
}

pub(super) async fn show(State(desk): State<Arc<Desk>>, Visitor(caller): Visitor, uri: Uri) -> Response {
    let query = Fields::of_query(uri.query());
    // A cursor that cannot be read leads to the first page, as a stale bookmark should.
    let after: Option<SessionId> = query.one("cursor").and_then(|cursor| cursor.parse().ok());
    match build(&desk, &caller, after, &query).await {
        Ok(Some(page)) => rendered(&page),
        Ok(None) => caller.gone(),
        Err(error) => caller.unavailable(&error),
    }
}

/// One read; one more to count when there are more pages.
async fn build(
    desk: &Desk,
    caller: &Caller,
    after: Option<SessionId>,
    query: &Fields,
) -> Result<Option<SessionsPage>, StoreError> {
    let current = &caller.session;
    let Some(own_sessions) = own_sessions(&desk.web, current, after, PAGE_ROWS).await? else {
        return Ok(None);
    };
    let mut rows = own_sessions.sessions;
    let others = if after.is_none() && own_sessions.next.is_none() {
        rows.len().saturating_sub(1)
    } else {
        let sessions = desk.web.sessions();
        let live = desk.web.within(sessions.store().count(&own(current), sessions.now())).await?;
        usize::try_from(live).unwrap_or(usize::MAX).saturating_sub(1)
    };
    // Stable: the others keep their order.
    rows.sort_by_key(|session| session.id != current.id);
    Ok(Some(SessionsPage {
        title: desk.title.clone(),
        user_name: desk.user_name.as_ref().map(|name| name(current)).unwrap_or_default(),
        notice: query.one("notice").and_then(|code| notice(code, query.one("count"))),
        error: query.one("error").and_then(trouble).map(ToOwned::to_owned),
        sessions: rows.iter().map(|session| Row::new(session, session.id == current.id)).collect(),
        others,
        next: own_sessions.next.map(|id| id.to_string()),
        base: String::new(),
    }))
}

fn rendered(page: &SessionsPage) -> Response {
    match page.render() {
        Ok(html) => {
            let mut response = Html(html).into_response();
            security_headers::page(response.headers_mut());
            response
        }
        Err(error) => {
            tracing::error!(target: "hallpass", error = %error, "the session manager page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The sentence for a code; the only thing taken from the query is a number.
fn notice(code: &str, count: Option<&str>) -> Option<String> {
    Some(match code {
        "ended" => match count.and_then(|count| count.parse::<u32>().ok())? {
            1 => String::from("1 session ended."),
            count => format!("{count} sessions ended."),
        },
        "already-ended" => String::from("That session had ended already."),
        "named" => String::from("Name saved."),
        "unnamed" => String::from("Name removed."),
        _ => return None,
    })
}

fn trouble(code: &str) -> Option<&'static str> {
    Some(match code {
        "bad-name" => "A name has at most 64 characters and no control characters. Nothing was changed.",
        "no-session" => "That session has ended. Nothing was changed.",
        _ => return None,
    })
}

/// Back to the page: from `MOUNT/sessions/ACTION` to `MOUNT/sessions`, wherever it is mounted.
fn back(query: &str) -> Response {
    see_other(&format!("../sessions?{query}"))
}

fn see_other(location: &str) -> Response {
    match HeaderValue::try_from(location) {
        Ok(location) => (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response(),
        Err(_) => StatusCode::NO_CONTENT.into_response(),
    }
}

/// Where a browser goes when it has signed out here.
fn signed_out(desk: &Desk) -> Response {
    see_other(desk.web.sign_in_path().unwrap_or("../sessions"))
}

pub(super) async fn revoke(State(desk): State<Arc<Desk>>, Visitor(caller): Visitor, request: Request) -> Response {
    let fields = match Fields::read(request).await {
        Ok(fields) => fields,
        Err(answer) => return answer,
    };
    let id = match named_session(&desk.web, fields.one("id").unwrap_or_default()).await {
        Ok(id) => id,
        Err(error) => return caller.unavailable(&error),
    };
    match end_one(&desk.web, &caller, id).await {
        Ok(_) if id == Some(caller.session.id) => signed_out(&desk),
        Ok(0) => back("notice=already-ended"),
        Ok(ended) => back(&format!("notice=ended&count={ended}")),
        Err(error) => caller.unavailable(&error),
    }
}

pub(super) async fn revoke_others(State(desk): State<Arc<Desk>>, Visitor(caller): Visitor) -> Response {
    match end_others(&desk.web, &caller).await {
        Ok(Some(ended)) => back(&format!("notice=ended&count={ended}")),
        Ok(None) => caller.gone(),
        Err(error) => caller.unavailable(&error),
    }
}

pub(super) async fn label(State(desk): State<Arc<Desk>>, Visitor(caller): Visitor, request: Request) -> Response {
    let fields = match Fields::read(request).await {
        Ok(fields) => fields,
        Err(answer) => return answer,
    };
    let id = fields.one("id").and_then(|id| id.parse().ok());
    match name_one(&desk.web, &caller, id, fields.one("label").unwrap_or_default()).await {
        Ok(Named::Set) => back("notice=named"),
        Ok(Named::Removed) => back("notice=unnamed"),
        Ok(Named::BadLabel(_)) => back("error=bad-name"),
        Ok(Named::NoSuchSession) => back("error=no-session"),
        Err(error) => caller.unavailable(&error),
    }
}

/// Signing out needs no session: whoever has none is signed out already.
pub(super) async fn sign_out(State(desk): State<Arc<Desk>>, handle: SessionHandle) -> Response {
    match handle.sign_out().await {
        Ok(_) => signed_out(&desk),
        Err(error) => {
            tracing::error!(target: "hallpass", error = %error, "signing out failed; the session may live on");
            Refusal::Unavailable.answer(handle.audience())
        }
    }
}
