//! What [`Meddled`](super::Meddled) does not meddle with.

use async_trait::async_trait;

use super::{Meanwhile, Meddled};
use crate::accounts::{
    Accepted, Account, AccountId, AccountsError, Created, Identities, Identity, Linked, LinkedIdentity, Logout,
    NewAccount, Noted, ProviderSession, ProviderSessions, Unlinked,
};

#[async_trait]
impl Identities for Meddled {
    async fn find_by_identity(&self, identity: &Identity) -> Result<Option<Account>, AccountsError> {
        self.real.find_by_identity(identity).await
    }

    async fn identities(&self, id: &AccountId) -> Result<Vec<LinkedIdentity>, AccountsError> {
        self.real.identities(id).await
    }

    async fn create_with_identity(&self, new: NewAccount, linked: &LinkedIdentity) -> Result<Created, AccountsError> {
        self.real.create_with_identity(new, linked).await
    }

    async fn link(&self, id: &AccountId, identity: &LinkedIdentity) -> Result<Linked, AccountsError> {
        self.real.link(id, identity).await
    }

    async fn unlink(&self, id: &AccountId, who: &Identity, issuers: &[String]) -> Result<Unlinked, AccountsError> {
        self.real.unlink(id, who, issuers).await
    }
}

#[async_trait]
impl ProviderSessions for Meddled {
    async fn note_provider_session(&self, session: &ProviderSession, at: i64) -> Result<Noted, AccountsError> {
        self.real.note_provider_session(session, at).await
    }

    async fn provider_session(&self, session: &str) -> Result<Option<ProviderSession>, AccountsError> {
        let meanwhile = *self.meanwhile.lock().unwrap();
        match meanwhile {
            Meanwhile::Gone => Err(AccountsError::Unavailable("pulled out".to_owned())),
            Meanwhile::Hanging => std::future::pending().await,
            _ => self.real.provider_session(session).await,
        }
    }

    async fn provider_sessions(&self, after: Option<&str>, limit: u16) -> Result<Vec<ProviderSession>, AccountsError> {
        self.real.provider_sessions(after, limit).await
    }

    async fn forget_provider_session(&self, session: &str) -> Result<(), AccountsError> {
        self.real.forget_provider_session(session).await
    }

    async fn accept_logout(&self, logout: &Logout) -> Result<Accepted, AccountsError> {
        self.real.accept_logout(logout).await
    }

    async fn sessions_of_logout(
        &self,
        logout: &Logout,
        after: Option<&str>,
        limit: u16,
    ) -> Result<Vec<String>, AccountsError> {
        self.real.sessions_of_logout(logout, after, limit).await
    }

    async fn logout_done(&self, logout: &Logout) -> Result<(), AccountsError> {
        self.real.logout_done(logout).await
    }

    async fn unfinished_logouts(&self, limit: u16) -> Result<Vec<Logout>, AccountsError> {
        self.real.unfinished_logouts(limit).await
    }

    async fn forget_logouts(&self, before: i64) -> Result<u64, AccountsError> {
        self.real.forget_logouts(before).await
    }
}
