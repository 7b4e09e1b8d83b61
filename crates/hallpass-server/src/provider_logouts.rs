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

#[cfg(test)]
mod tests {
    use hallpass_core::{SignIn, UserId};

    use super::*;
    use crate::accounts::{Accepted, ProviderSession};
    use crate::engine::Engine;
    use crate::settings::{Settings, Sources};

    async fn engine() -> (tempfile::TempDir, Engine) {
        let directory = tempfile::tempdir().unwrap();
        let database = format!("sqlite:{}", directory.path().join("hallpass.db").display());
        let (_, flags) = crate::cli::parse(["hallpass", "--database-url", &database].map(Into::into)).unwrap();
        let settings = Settings::resolve(&Sources::gather(&flags, [], directory.path()).unwrap()).unwrap();
        let engine = Engine::open(&settings).await.unwrap();
        (directory, engine)
    }

    fn noted(session: &str, subject: &str, now: i64) -> ProviderSession {
        ProviderSession {
            session: session.to_owned(),
            provider: "corp".to_owned(),
            issuer: "https://id.example".to_owned(),
            subject: subject.to_owned(),
            sid: None,
            acr: None,
            auth_time: None,
            created_at: now,
        }
    }

    fn logout(jti: u8, subject: &str, received_at: i64) -> Logout {
        Logout {
            issuer: "https://id.example".to_owned(),
            jti_hash: [jti; 32],
            subject: Some(subject.to_owned()),
            sid: None,
            issued_at: 0,
            received_at,
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_turn_finishes_logouts_and_forgets_what_is_over() {
        let (_directory, engine) = engine().await;
        let (accounts, sessions) = (&*engine.accounts, &engine.sessions);
        let now = sessions.now().as_millis();
        let begun = async |subject: &str| {
            let issued = sessions.create(SignIn::new(UserId::new(subject).unwrap())).await.unwrap();
            accounts.note_provider_session(&noted(&issued.session.id.to_string(), subject, now), 1).await.unwrap();
            issued
        };
        let (live, ended, logged_out) = (begun("live").await, begun("ended").await, begun("logged-out").await);
        sessions.end(&ended.token).await.unwrap();
        accounts.note_provider_session(&noted("of nobody", "nobody", now), 1).await.unwrap();
        // One that a failure left behind, and one that is done and long over.
        accounts.accept_logout(&logout(1, "logged-out", now)).await.unwrap();
        let old = logout(2, "x", now - KEPT_MS - 1);
        accounts.accept_logout(&old).await.unwrap();
        accounts.logout_done(&old).await.unwrap();

        let done = turn(accounts, sessions, None).await.unwrap();
        assert_eq!(done, Turn { ended: 1, after: None });
        let left = accounts.provider_sessions(None, 10).await.unwrap();
        assert_eq!(left.iter().map(|noted| noted.subject.as_str()).collect::<Vec<_>>(), ["live"]);
        assert!(accounts.unfinished_logouts(10).await.unwrap().is_empty());
        assert_eq!(accounts.accept_logout(&old).await.unwrap(), Accepted::ToDo, "it was forgotten");
        assert_eq!(accounts.accept_logout(&logout(1, "logged-out", now)).await.unwrap(), Accepted::Replayed);
        let state = sessions.show(logged_out.session.id).await.unwrap().unwrap().state;
        assert!(matches!(state, State::Ended(ended) if ended.reason == EndReason::SignedOut));
        assert_eq!(sessions.show(live.session.id).await.unwrap().unwrap().state, State::Live);
    }
}
