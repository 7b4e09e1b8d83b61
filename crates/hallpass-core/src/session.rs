//! A session, as its owner and the application see it.

use std::sync::Arc;
use std::time::Duration;

use crate::{Attributes, Class, Client, Ended, Label, SessionId, Timestamp, UserId};

/// How the user proved who they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Authentication {
    /// Authentication method references (RFC 8176), for example `pwd`, `otp`.
    pub methods: Vec<String>,
    /// What made the session: a provider's name, for example `credentials`.
    pub source: String,
}

/// Whether a session lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Not ended. It may still have passed a deadline.
    Live,
    /// Ended, for good.
    Ended(Ended),
}

/// A session. It holds no token and no hash, so it can be listed and logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The public id.
    pub id: SessionId,
    /// Whose session it is.
    pub user: UserId,
    /// The class, which chooses the policy.
    pub class: Class,
    /// When it was created; never changes.
    pub created_at: Timestamp,
    /// When the user last proved who they are; only a full authentication moves it.
    pub authenticated_at: Timestamp,
    /// When it was last extended.
    pub renewed_at: Timestamp,
    /// When it was last used, to the granularity of the last-seen buffer.
    pub last_seen_at: Timestamp,
    /// The idle deadline; never later than the absolute one.
    pub idle_expires_at: Timestamp,
    /// The absolute deadline; [`Timestamp::NEVER`] without one.
    pub absolute_expires_at: Timestamp,
    /// The client that began it.
    pub client: Client,
    /// The owner's own name for it.
    pub label: Option<Label>,
    /// How the user authenticated.
    pub authentication: Arc<Authentication>,
    /// The application's data.
    pub attributes: Attributes,
    /// Grows by one with every change of the attributes; starts at 0.
    pub attributes_version: u64,
    /// Live or ended.
    pub state: State,
}

impl Session {
    /// Whether the session is neither ended nor past a stored deadline. The policy in force may end it earlier: what decides about
    /// a request is [`Sessions::validate`](crate::Sessions::validate).
    #[must_use]
    pub fn is_live_at(&self, now: Timestamp) -> bool {
        self.state == State::Live && self.idle_expires_at > now && self.absolute_expires_at > now
    }

    /// Whether the user authenticated at most `fresh_age` ago. Use of the session does not keep it fresh (A11).
    #[must_use]
    pub fn is_fresh_at(&self, now: Timestamp, fresh_age: Duration) -> bool {
        // A clock that moved back must not make a session fresh for ever.
        self.authenticated_at <= now && now.since(self.authenticated_at) <= fresh_age
    }
}
