//! Signing in with an email address and a password.

use std::net::{IpAddr, Ipv4Addr};

use axum::response::Response;
use hallpass_axum::{SessionHandle, SignInError};
use hallpass_core::{Class, CreateError, Session, SignIn, UserId};
use http::StatusCode;

use super::EVENTS;
use crate::accounts::{Account, AccountsError, Email, Identity, Noted, ProviderSession};
use crate::password::{Password, PasswordError, Verdict};
use crate::providers::Authenticated;
use crate::serve::site::Site;

/// What was typed.
pub(crate) struct Credentials<'a> {
    pub(crate) email: &'a str,
    pub(crate) password: &'a str,
    pub(crate) remember: bool,
}

/// What became of it.
pub(crate) enum Attempted {
    /// The session exists, durably; the layer sets its cookie.
    SignedIn(Box<Session>),
    /// Wrong password, no such account, a disabled one: one answer for all (ASVS 5.0, 6.3.8).
    Wrong,
    /// The policy allows this user no more sessions.
    SessionLimit,
    /// Not now: too many failures, or too many attempts at once.
    Later { status: StatusCode, seconds: u64, code: &'static str },
    /// A store did not answer, so nothing is known. The answer must go through [`without_cookies`].
    Unavailable,
}

/// Marks an answer that must carry no cookie at all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WithoutCookies;

/// Makes sure that `response` carries no cookie, whatever happened on the way to it: a session that was made but could not be confirmed
/// must not reach the browser.
pub(crate) fn without_cookies(mut response: Response) -> Response {
    response.extensions_mut().insert(WithoutCookies);
    response
}

/// Checks the credentials and, when they are right, signs in over whatever session the request has.
///
/// One account read and one argon2 computation, also for unknown accounts; when right, the commits of
/// [`SessionHandle::sign_in`] and one more account read.
pub(crate) async fn attempt(site: &Site, handle: &SessionHandle, asked: &Credentials<'_>) -> Attempted {
    let ip = handle.client().ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    // What no account and no password can look like needs no work; the answer says nothing about accounts.
    let (Ok(email), Ok(password)) = (Email::parse(asked.email), Password::new(asked.password.to_owned())) else {
        tracing::info!(target: EVENTS, event = "authn_login_fail", client.ip = %ip, reason = "malformed", "sign-in failed");
        return Attempted::Wrong;
    };
    let paid = match site.limits.attempt(ip, email.as_str(), site.now_ms()) {
        Ok(paid) => paid,
        Err(limited) => {
            tracing::warn!(target: EVENTS, event = "excess_rate_limit_exceeded", client.ip = %ip, user.email = ?email.as_str(), limited.by = ?limited.by, "sign-in refused: too many failures");
            let seconds = limited.retry_after_secs();
            return Attempted::Later { status: StatusCode::TOO_MANY_REQUESTS, seconds, code: "RateLimited" };
        }
    };
    let checked = check(site, &email, &password).await;
    match &checked {
        // Neither is a guess that failed.
        Ok(Checked::Right { .. } | Checked::Busy { .. }) | Err(_) => site.limits.give_back(paid, site.now_ms()),
        Ok(Checked::Wrong { .. }) => {}
    }
    match checked {
        Ok(Checked::Right { account, rehash }) => {
            let outcome = begin(site, handle, &account, asked.remember).await;
            if rehash && matches!(outcome, Attempted::SignedIn(_)) {
                renew_hash(site, &account, &password).await;
            }
            outcome
        }
        Ok(Checked::Wrong { reason }) => {
            tracing::info!(target: EVENTS, event = "authn_login_fail", client.ip = %ip, user.email = ?email.as_str(), reason, "sign-in failed");
            Attempted::Wrong
        }
        Ok(Checked::Busy { seconds }) => {
            Attempted::Later { status: StatusCode::SERVICE_UNAVAILABLE, seconds, code: "Overloaded" }
        }
        Err(error) => {
            tracing::error!(target: "hallpass", error = %error, "sign-in could not be decided");
            Attempted::Unavailable
        }
    }
}

enum Checked {
    Right { account: Box<Account>, rehash: bool },
    Wrong { reason: &'static str },
    Busy { seconds: u64 },
}

/// Why nothing could be decided.
#[derive(Debug, thiserror::Error)]
enum Undecided {
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    #[error(transparent)]
    Password(PasswordError),
}

async fn check(site: &Site, email: &Email, password: &Password) -> Result<Checked, Undecided> {
    let account = site.accounts.find_by_email(email).await?;
    let stored = account.as_ref().and_then(|account| account.password_hash.as_ref());
    // A disabled account costs the computation too, and its right password is not told from a wrong one.
    let verdict = match site.passwords.verify(password, stored).await {
        Ok(verdict) => verdict,
        Err(PasswordError::Overloaded { retry_after }) => {
            return Ok(Checked::Busy { seconds: retry_after.as_secs().max(1) });
        }
        Err(error @ PasswordError::BadHash) => {
            tracing::error!(target: "hallpass", error = %error, user.id = ?account.map(|account| account.id.to_string()), "an account cannot sign in");
            return Ok(Checked::Wrong { reason: "damaged hash" });
        }
        Err(error) => return Err(Undecided::Password(error)),
    };
    Ok(match (account, verdict) {
        (None, _) => Checked::Wrong { reason: "unknown account" },
        (Some(account), Verdict::Right { .. }) if account.disabled_at.is_some() => {
            Checked::Wrong { reason: "disabled account" }
        }
        (Some(account), Verdict::Right { rehash }) => Checked::Right { account: Box::new(account), rehash },
        (Some(_), Verdict::Wrong) => Checked::Wrong { reason: "wrong password" },
    })
}

/// Signs in after a password was right; see [`enter`].
///
/// A password change or a disabling ends all sessions that exist when it happens. One that comes between the check of the password and
/// the creation of the session would miss this one, so it is looked for afterwards: either it sees our session, or we see
/// it (threats A08 and A09).
pub(crate) async fn begin(site: &Site, handle: &SessionHandle, account: &Account, remember: bool) -> Attempted {
    let Ok(user) = UserId::new(account.id.as_str()) else {
        tracing::error!(target: "hallpass", account = ?account.id.as_str(), "the account's id cannot be a user id");
        return Attempted::Unavailable;
    };
    let class = if remember { Class::REMEMBERED } else { Class::WEB };
    enter(site, handle, account, SignIn::new(user).class(class).method("pwd").source("credentials"), None).await
}

/// The provider that a sign-in came from.
pub(crate) struct Origin<'a> {
    pub(crate) provider: &'a str,
    pub(crate) identity: Identity,
    pub(crate) authenticated: &'a Authenticated,
}

impl Origin<'_> {
    /// Notes where the session came from. [`Noted::LoggedOut`]: the provider ended it meanwhile.
    async fn note(&self, site: &Site, session: &Session) -> Result<Noted, AccountsError> {
        let known = self.authenticated;
        let noted = ProviderSession {
            session: session.id.to_string(),
            provider: self.provider.to_owned(),
            issuer: self.identity.issuer.clone(),
            subject: self.identity.subject.clone(),
            sid: known.sid.clone(),
            acr: known.acr.clone(),
            auth_time: known.auth_time,
            created_at: site.now_ms(),
        };
        // By the provider's clock alone. One that says neither sends no logouts.
        let authenticated_at = known.auth_time.or(known.issued_at).unwrap_or(i64::MAX);
        site.accounts.note_provider_session(&noted, authenticated_at).await
    }
}

/// Creates the session, notes where it came from, and then looks at the account again: whatever changed meanwhile either sees the session, or is seen
/// here.
pub(crate) async fn enter(
    site: &Site,
    handle: &SessionHandle,
    account: &Account,
    sign_in: SignIn,
    origin: Option<&Origin<'_>>,
) -> Attempted {
    let session = match handle.sign_in(sign_in).await {
        Ok(session) => session,
        Err(SignInError::Create(CreateError::LimitReached { .. })) => return Attempted::SessionLimit,
        Err(error) => {
            tracing::error!(target: "hallpass", error = %error, "no session could be created");
            return Attempted::Unavailable;
        }
    };
    let noted = match origin {
        None => Ok(Noted::Live),
        Some(origin) => origin.note(site, &session).await,
    };
    let now = match (noted, origin) {
        (Ok(Noted::Live), None) => site.accounts.find(&account.id).await,
        // Unlinked meanwhile, and it is this account's no more.
        (Ok(Noted::Live), Some(origin)) => site.accounts.find_by_identity(&origin.identity).await,
        (Ok(Noted::LoggedOut), _) => Ok(None),
        (Err(error), _) => Err(error),
    };
    let unchanged = matches!(
        &now,
        Ok(Some(now)) if now.id == account.id
            && now.disabled_at.is_none()
            && now.credentials_version == account.credentials_version
    );
    if unchanged {
        tracing::info!(target: EVENTS, event = "authn_login_success", user.id = ?account.id.as_str(), session.id = %session.id, client.ip = ?session.client.ip, "signed in");
        return Attempted::SignedIn(Box::new(session));
    }
    if let Err(error) = handle.sign_out().await {
        // Its token is in no answer, so nobody can use it.
        tracing::error!(target: "hallpass", error = %error, session.id = %session.id, "a session that must not be could not be ended");
        return Attempted::Unavailable;
    }
    match now {
        Ok(_) => {
            tracing::info!(target: EVENTS, event = "authn_login_fail", user.id = ?account.id.as_str(), reason = "account changed meanwhile", "sign-in failed");
            Attempted::Wrong
        }
        Err(error) => {
            tracing::error!(target: "hallpass", error = %error, "a sign-in could not be confirmed");
            Attempted::Unavailable
        }
    }
}

/// Stores the hash anew, made with the parameters in force. A failure changes nothing for the user.
async fn renew_hash(site: &Site, account: &Account, password: &Password) {
    let Some(old) = &account.password_hash else {
        return;
    };
    let renewed = match site.passwords.hash(password).await {
        Ok(new) => site.accounts.rehash(&account.id, old, new).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = renewed {
        tracing::warn!(target: "hallpass", error = %error, "a password hash could not be renewed; the next sign-in tries again");
    }
}
