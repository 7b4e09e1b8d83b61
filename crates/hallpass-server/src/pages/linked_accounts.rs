//! The page of the identities that sign in to one's account: which there are, linking one more, unlinking one.
//!
//! Linking and unlinking change who can sign in, so both need a fresh session (threat A11). Linking never happens by itself.

use std::sync::Arc;

use askama::Template;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::response::{IntoResponse as _, Response};
use hallpass_axum::{FreshSession, Session, SessionHandle, rfc3339};
use hallpass_core::{Actor, EndReason, SessionId, Timestamp};
use http::StatusCode;

use super::{LINKED_ACCOUNTS, SIGN_IN, for_people, page, see_other};
use crate::accounts::{Account, AccountId, AccountsError, Identity, Logout, Unlinked};
use crate::auth::csrf::Binding;
use crate::auth::fields::{Accepted, Fields};
use crate::auth::provider_sign_in::begin_linking;
use crate::auth::{EVENTS, append_cookie, csrf_for};
use crate::providers::transaction::Linking;
use crate::serve::site::Site;

/// Results, as they stand in the address.
pub(crate) const LINKED: &str = "linked";
pub(crate) const OF_ANOTHER: &str = "of-another";
pub(crate) const TOO_MANY: &str = "too-many";
const UNLINKED: &str = "unlinked";
const LAST_WAY_IN: &str = "last-way-in";
const EXPIRED: &str = "expired";
const UNAVAILABLE: &str = "unavailable";

/// The sentence for a result, and whether it is good news. Nothing of the query is ever shown.
const RESULTS: [(&str, bool, &str); 7] = [
    (LINKED, true, "From now on you can sign in with it."),
    (UNLINKED, true, "It does not sign in to your account any more."),
    (OF_ANOTHER, false, "That one signs in to another account. Nothing was changed."),
    (TOO_MANY, false, "You have linked as many as allowed. Unlink one first."),
    (LAST_WAY_IN, false, "You could not sign in any more without it. Link another one first, or have a password set."),
    (EXPIRED, false, "This page had been open for too long. Please try again."),
    (UNAVAILABLE, false, "The provider cannot be reached at the moment. Try again in a few seconds."),
];

#[derive(Template)]
#[template(path = "linked_accounts.html")]
struct LinkedAccountsPage {
    csrf_token: String,
    email: String,
    notice: Option<String>,
    error: Option<String>,
    fresh: bool,
    confirm: String,
    linked: Vec<LinkedRow>,
    providers: Vec<Linkable>,
}

struct LinkedRow {
    name: String,
    email: String,
    issuer: String,
    subject: String,
    since_iso: String,
    since_text: String,
}

struct Linkable {
    id: String,
    name: String,
}

/// `GET /linked-accounts`. Two reads of the accounts.
pub(crate) async fn show(
    State(site): State<Arc<Site>>,
    handle: SessionHandle,
    session: Session,
    request: Request,
) -> Response {
    let query = Fields::of_query(request.uri().query());
    let result = RESULTS.iter().find(|(name, ..)| *name == query.text("result"));
    match read(&site, &session).await {
        Ok(Some((account, linked))) => {
            let (csrf_token, cookie) = match csrf_for(&site, request.headers(), &handle) {
                Ok(token) => token,
                Err(status) => return status.into_response(),
            };
            let sentence = |good: bool| result.filter(|(_, is, _)| *is == good).map(|(.., text)| (*text).to_owned());
            let providers = site
                .providers
                .iter()
                .map(|provider| Linkable { id: provider.id().to_owned(), name: provider.settings().name.clone() });
            let mut response = page(
                StatusCode::OK,
                &LinkedAccountsPage {
                    csrf_token,
                    email: account.shown_email().unwrap_or_default().to_owned(),
                    notice: sentence(true),
                    error: sentence(false),
                    fresh: site.web.sessions().is_fresh(&session),
                    confirm: confirm_address(),
                    linked,
                    providers: providers.collect(),
                },
            );
            append_cookie(&mut response, cookie);
            response
        }
        Ok(None) => see_other(site.sign_in_path()),
        Err(error) => unavailable(&error),
    }
}

/// Where to authenticate anew and come back from.
fn confirm_address() -> String {
    format!("{SIGN_IN}?prompt=login&callbackUrl={LINKED_ACCOUNTS}")
}

async fn read(site: &Site, session: &Session) -> Result<Option<(Account, Vec<LinkedRow>)>, AccountsError> {
    let Some(account) = site.account_of(session).await? else {
        return Ok(None);
    };
    let rows = site.accounts.identities(&account.id).await?.into_iter().map(|linked| {
        let since = linked.created_at.map(Timestamp::from_millis);
        let name = site
            .providers
            .iter()
            .find(|provider| provider.settings().issuer == linked.identity.issuer)
            .map_or_else(|| linked.provider.clone(), |provider| provider.settings().name.clone());
        LinkedRow {
            name,
            email: linked.email.unwrap_or_default(),
            issuer: linked.identity.issuer,
            subject: linked.identity.subject,
            since_iso: since.map(rfc3339).unwrap_or_default(),
            since_text: since.map(for_people).unwrap_or_default(),
        }
    });
    let rows = rows.collect();
    Ok(Some((account, rows)))
}

/// `POST /linked-accounts` with `action=link` and `provider`, or `action=unlink` with `issuer` and `subject`.
pub(crate) async fn change(State(site): State<Arc<Site>>, handle: SessionHandle, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let fields = match Fields::read(&parts.headers, body, Accepted::Form).await {
        Ok(fields) => fields,
        Err(unreadable) => return unreadable.into_response(),
    };
    let session = match FreshSession::from_request_parts(&mut parts, &()).await {
        Ok(session) => session,
        // For a person: authenticate and come back here.
        Err(stale) if stale.status() == StatusCode::SEE_OTHER => return see_other(&confirm_address()),
        Err(refused) => return refused.into_response(),
    };
    if !site.csrf.is_verified(&parts.headers, &Binding::to(Some(&session)), fields.get("csrfToken")) {
        tracing::info!(target: EVENTS, event = "malicious_csrf", client.ip = ?handle.client().ip, "the CSRF token is missing or not this browser's");
        return done(EXPIRED);
    }
    let Some(account) = AccountId::parse(session.user.as_str()) else {
        return see_other(site.sign_in_path());
    };
    match fields.text("action") {
        "link" => {
            let Some(provider) = site.providers.get(fields.text("provider")) else {
                return StatusCode::UNPROCESSABLE_ENTITY.into_response();
            };
            let linking = Linking { account: account.as_str().to_owned(), session: session.id.to_string() };
            begin_linking(&site, &parts.headers, provider, linking).await.unwrap_or_else(|_| done(UNAVAILABLE))
        }
        "unlink" => {
            let identity =
                Identity { issuer: fields.text("issuer").to_owned(), subject: fields.text("subject").to_owned() };
            match unlink(&site, &account, &identity, session.id).await {
                Ok(result) => done(result),
                Err(error) => unavailable(&error),
            }
        }
        _ => StatusCode::UNPROCESSABLE_ENTITY.into_response(),
    }
}

/// Unlinks, and ends what was begun with the identity: whoever unlinks one wants nobody in by it. The session of the request goes on.
async fn unlink(
    site: &Site,
    account: &AccountId,
    identity: &Identity,
    keep: SessionId,
) -> anyhow::Result<&'static str> {
    match site.accounts.unlink(account, identity, &site.providers.issuers()).await? {
        Unlinked::Done | Unlinked::NotLinked => {}
        Unlinked::LastWayIn => return Ok(LAST_WAY_IN),
    }
    tracing::info!(target: EVENTS, event = "authn_identity_unlinked", user.id = ?account.as_str(), "an identity was unlinked");
    let all = Logout {
        issuer: identity.issuer.clone(),
        jti_hash: [0; 32],
        subject: Some(identity.subject.clone()),
        sid: None,
        issued_at: 0,
        received_at: 0,
    };
    let owner = hallpass_core::UserId::new(account.as_str())?;
    let mut after: Option<String> = None;
    loop {
        let page = site.accounts.sessions_of_logout(&all, after.as_deref(), 100).await?;
        for id in page.iter().filter_map(|id| id.parse::<SessionId>().ok()).filter(|id| *id != keep) {
            // Only those of this account: the identity may have been another's before.
            let by = Actor::user(&owner);
            site.web.sessions().revoke(id, Some(&owner), &by, EndReason::CredentialsChanged).await?;
        }
        match page.last() {
            Some(last) if page.len() == 100 => after = Some(last.clone()),
            _ => return Ok(UNLINKED),
        }
    }
}

fn done(result: &str) -> Response {
    see_other(&format!("{LINKED_ACCOUNTS}?result={result}"))
}

fn unavailable(error: &dyn std::fmt::Display) -> Response {
    tracing::error!(target: "hallpass", error = %error, "the linked accounts could not be read or changed");
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}
