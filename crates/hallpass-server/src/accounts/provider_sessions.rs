//! Which sessions came from which session at a provider, and the logouts that providers sent.
//!
//! A logout can come before the session that it ends is known here: its sign-in is under way. Both sides therefore first write and commit, and then look for
//! what the other wrote: a sign-in notes its session and looks for logouts, a logout is noted and looks for sessions. Whatever the order,
//! at least one of the two sees the other.

use async_trait::async_trait;

use super::AccountsError;

/// How long a logout keeps sessions of a sign-in that was under way from beginning, in milliseconds.
pub const MARK_MS: i64 = 2 * 60 * 1_000;

/// Where a session came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSession {
    /// Our session's public id.
    pub session: String,
    /// The provider's id in the settings.
    pub provider: String,
    /// The provider, as it names itself.
    pub issuer: String,
    /// The user there.
    pub subject: String,
    /// The provider's session, if it told.
    pub sid: Option<String>,
    /// The authentication context class, if it told.
    pub acr: Option<String>,
    /// When the user proved it there, in seconds, if it told.
    pub auth_time: Option<i64>,
    /// Milliseconds since the epoch.
    pub created_at: i64,
}

/// What was found when a session was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// No logout concerns it.
    Live,
    /// The provider has logged it out meanwhile: it must end.
    LoggedOut,
}

/// A logout that a provider sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logout {
    /// The provider, as it names itself.
    pub issuer: String,
    /// SHA-256 of the logout token's `jti`.
    pub jti_hash: [u8; 32],
    /// Whose sessions. At least one of the two is there; with both, both must match.
    pub subject: Option<String>,
    /// Which of the provider's sessions.
    pub sid: Option<String>,
    /// When the provider issued it, in seconds.
    pub issued_at: i64,
    /// When it came, in milliseconds.
    pub received_at: i64,
}

/// What became of a logout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is noted, and its sessions may not have ended yet.
    ToDo,
    /// It was there already, and its sessions have ended: a replay.
    Replayed,
}

/// The part of the accounts that knows where sessions came from.
#[async_trait]
pub trait ProviderSessions: Send + Sync {
    /// Notes where a session came from, in place of what was noted of it, then looks for logouts of the last [`MARK_MS`] that were issued at or after
    /// `authenticated_at` (seconds, by the provider's clock).
    async fn note_provider_session(
        &self,
        session: &ProviderSession,
        authenticated_at: i64,
    ) -> Result<Noted, AccountsError>;

    /// Where a session came from.
    async fn provider_session(&self, session: &str) -> Result<Option<ProviderSession>, AccountsError>;

    /// Up to `limit` noted sessions with ids after `after`, ordered by id.
    async fn provider_sessions(&self, after: Option<&str>, limit: u16) -> Result<Vec<ProviderSession>, AccountsError>;

    /// Forgets where a session came from.
    async fn forget_provider_session(&self, session: &str) -> Result<(), AccountsError>;

    /// Notes a logout, durably, once: of any number of equal ones, on any number of servers, all but those before the first
    /// [`ProviderSessions::logout_done`] are [`Accepted::Replayed`].
    async fn accept_logout(&self, logout: &Logout) -> Result<Accepted, AccountsError>;

    /// Up to `limit` ids of sessions that the logout ends, after `after`, ordered.
    async fn sessions_of_logout(
        &self,
        logout: &Logout,
        after: Option<&str>,
        limit: u16,
    ) -> Result<Vec<String>, AccountsError>;

    /// Notes that the sessions of a logout have ended.
    async fn logout_done(&self, logout: &Logout) -> Result<(), AccountsError>;

    /// Up to `limit` logouts whose sessions may not have ended.
    async fn unfinished_logouts(&self, limit: u16) -> Result<Vec<Logout>, AccountsError>;

    /// Forgets logouts that came before `received_before_ms` and are done. How many.
    async fn forget_logouts(&self, received_before_ms: i64) -> Result<u64, AccountsError>;
}
