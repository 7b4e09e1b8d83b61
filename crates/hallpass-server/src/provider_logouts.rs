//! Ending the sessions that a provider has logged out, and forgetting what is over.
//!
//! A logout is noted before anything ends ([`crate::accounts::ProviderSessions::accept_logout`]) and marked done when all of it has: what a failure leaves
//! behind is finished by [`turn`], which a running server calls again and again, and by the provider's own next try.

use hallpass_core::{Actor, EndReason, SessionId, Sessions, State, StoreError};

use crate::accounts::{Accounts, AccountsError, Logout};

/// Rows read at once.
const BATCH: u16 = 200;
/// How long a logout is remembered, in milliseconds: longer than its token can be shown again, and than a sign-in can be under way.
const KEPT_MS: i64 = 15 * 60 * 1_000;

/// Why a logout is not finished. What has ended stays ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfinished {
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    #[error(transparent)]
    Sessions(#[from] StoreError),
}

/// Ends the sessions of a logout, durably, and notes that. How many were live. May be repeated.
pub(crate) async fn finish(accounts: &dyn Accounts, sessions: &Sessions, logout: &Logout) -> Result<u64, Unfinished> {
    let by = Actor::system("back-channel logout");
    let mut ended = 0_u64;
    let mut after: Option<String> = None;
    loop {
        let page = accounts.sessions_of_logout(logout, after.as_deref(), BATCH).await?;
        for id in page.iter().filter_map(|id| parsed(id)) {
            ended = ended.saturating_add(sessions.revoke(id, None, &by, EndReason::SignedOut).await?);
        }
        match page.last() {
            Some(last) if page.len() == usize::from(BATCH) => after = Some(last.clone()),
            _ => break,
        }
    }
    accounts.logout_done(logout).await?;
    Ok(ended)
}

/// A row that no hallpass wrote must not keep the others from ending.
fn parsed(id: &str) -> Option<SessionId> {
    let parsed = id.parse().ok();
    if parsed.is_none() {
        tracing::error!(target: "hallpass", "a row of the accounts' provider sessions names no session; it is left alone");
    }
    parsed
}

/// What one turn did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    /// Sessions of unfinished logouts that were live.
    pub(crate) ended: u64,
    /// Where the next turn goes on looking for sessions that are gone; `None`: from the start.
    pub(crate) after: Option<String>,
}

/// Finishes logouts, forgets old ones, and forgets the origin of sessions that are gone, up to [`BATCH`] of each.
pub(crate) async fn turn(
    accounts: &dyn Accounts,
    sessions: &Sessions,
    after: Option<&str>,
) -> Result<Turn, Unfinished> {
    let mut ended = 0_u64;
    for logout in accounts.unfinished_logouts(BATCH).await? {
        ended = ended.saturating_add(finish(accounts, sessions, &logout).await?);
    }
    let before = sessions.now().as_millis().saturating_sub(KEPT_MS);
    accounts.forget_logouts(before).await?;
    let page = accounts.provider_sessions(after, BATCH).await?;
    for noted in &page {
        let gone = match noted.session.parse::<SessionId>() {
            Err(_) => true,
            Ok(id) => sessions.show(id).await?.is_none_or(|session| session.state != State::Live),
        };
        // One of a sign-in under way is noted after its session is there.
        if gone {
            accounts.forget_provider_session(&noted.session).await?;
        }
    }
    let more = page.len() == usize::from(BATCH);
    Ok(Turn { ended, after: page.last().filter(|_| more).map(|last| last.session.clone()) })
}
