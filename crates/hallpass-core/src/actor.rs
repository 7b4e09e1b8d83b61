//! Who ended a session, and why.

use std::fmt;

use crate::{Timestamp, UserId};

/// What kind of party acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ActorKind {
    /// The session's owner.
    User,
    /// Somebody who runs the service (console, API, CLI).
    Operator,
    /// A rule: a limit, a sweep, a credential change.
    System,
}

impl ActorKind {
    /// The stored name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }

    /// From the stored name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "user" => Self::User,
            "operator" => Self::Operator,
            "system" => Self::System,
            _ => return None,
        })
    }
}

/// Who did something to a session: recorded with every end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Actor {
    /// The kind of party.
    pub kind: ActorKind,
    /// Its name: a user id, an operator's name, or the rule. At most 255 bytes are kept.
    pub name: String,
}

impl Actor {
    /// The session's owner.
    #[must_use]
    pub fn user(user: &UserId) -> Self {
        Self { kind: ActorKind::User, name: user.as_str().to_owned() }
    }

    /// An operator by name, for example the login name on the command line.
    #[must_use]
    pub fn operator(name: impl Into<String>) -> Self {
        Self { kind: ActorKind::Operator, name: bounded(name.into()) }
    }

    /// A rule of the system.
    #[must_use]
    pub fn system(rule: impl Into<String>) -> Self {
        Self { kind: ActorKind::System, name: bounded(rule.into()) }
    }
}

fn bounded(mut name: String) -> String {
    name.retain(|c| c != '\0');
    let end = name.floor_char_boundary(255);
    name.truncate(end);
    name
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// Its owner signed out on that device.
    SignedOut,
    /// Ended by its public id.
    Revoked,
    /// Ended by "sign out all other devices".
    RevokedOthers,
    /// All sessions of the user were ended.
    RevokedUser,
    /// All sessions of everybody were ended.
    RevokedEveryone,
    /// A sign-in took its place.
    Replaced,
    /// The limit of sessions per user pushed it out.
    Limit,
    /// The user's account was disabled.
    UserDisabled,
    /// The user's account was deleted.
    UserDeleted,
    /// The user's password or another factor changed.
    CredentialsChanged,
}

impl EndReason {
    /// Every reason, for tables and tests.
    pub const ALL: [Self; 10] = [
        Self::SignedOut,
        Self::Revoked,
        Self::RevokedOthers,
        Self::RevokedUser,
        Self::RevokedEveryone,
        Self::Replaced,
        Self::Limit,
        Self::UserDisabled,
        Self::UserDeleted,
        Self::CredentialsChanged,
    ];

    /// The stored name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::Revoked => "revoked",
            Self::RevokedOthers => "revoked_others",
            Self::RevokedUser => "revoked_user",
            Self::RevokedEveryone => "revoked_everyone",
            Self::Replaced => "replaced",
            Self::Limit => "limit",
            Self::UserDisabled => "user_disabled",
            Self::UserDeleted => "user_deleted",
            Self::CredentialsChanged => "credentials_changed",
        }
    }

    /// From the stored name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// When, by whom and why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: Actor,
    /// Why.
    pub reason: EndReason,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_names_read_back() {
        for reason in EndReason::ALL {
            assert_eq!(EndReason::parse(reason.as_str()), Some(reason));
        }
        for kind in [ActorKind::User, ActorKind::Operator, ActorKind::System] {
            assert_eq!(ActorKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(EndReason::parse("vanished"), None);
    }
}
