//! What happened, as typed values.

use std::fmt;
use std::time::Duration;

use crate::{Actor, Class, EndReason, FlushReason, Invalid, SessionId, UserId, Waited};

/// Something that happened to sessions. Events name sessions by public id and never carry a token or a hash.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A session began.
    Created {
        /// The session.
        id: SessionId,
        /// Its user.
        user: UserId,
        /// Its class.
        class: Class,
    },
    /// The idle deadline moved.
    Renewed {
        /// The session.
        id: SessionId,
        /// Its user.
        user: UserId,
    },
    /// A due extension could not be written; the request went on with the deadline as it was.
    RenewalFailed {
        /// The session.
        id: SessionId,
        /// What the store said.
        error: String,
    },
    /// The secret was replaced.
    Rotated {
        /// The session.
        id: SessionId,
        /// Its user.
        user: UserId,
        /// Whether a full authentication was the cause.
        reauthenticated: bool,
    },
    /// One session was ended.
    Ended {
        /// The session.
        id: SessionId,
        /// By whom.
        by: Actor,
        /// Why.
        reason: EndReason,
    },
    /// All sessions of a user, or all but one, were ended.
    UserRevoked {
        /// The user.
        user: UserId,
        /// The session that stayed.
        kept: Option<SessionId>,
        /// How many were ended, if counted.
        ended: Option<u64>,
        /// By whom.
        by: Actor,
        /// Why.
        reason: EndReason,
    },
    /// All sessions of everybody were ended.
    EveryoneRevoked {
        /// By whom.
        by: Actor,
    },
    /// A sign-in was refused by the limit of sessions per user.
    LimitReached {
        /// The user.
        user: UserId,
        /// The class.
        class: Class,
        /// How many live sessions there were.
        live: u32,
    },
    /// A well-formed token was refused.
    Refused {
        /// The session that the token names.
        id: SessionId,
        /// Why.
        reason: Invalid,
    },
    /// A request carried several credentials that contradict each other: two cookies of our name, or a cookie and another bearer
    /// token. None of them was used (A25).
    AmbiguousCredentials {
        /// How many.
        count: usize,
    },
    /// A request with an unsafe method came from another origin and was refused (A32).
    CrossOriginRefused {
        /// The `Origin` that it named, if any: untrusted text.
        origin: Option<String>,
    },
    /// Last-seen times were dropped because the buffer was full.
    LastSeenDropped {
        /// How many since the last flush.
        count: u64,
    },
    /// A sweep removed rows.
    Swept {
        /// Expired sessions.
        expired: u64,
        /// Ended sessions past their retention.
        ended: u64,
    },
    /// This node could not follow the revocation log in time: until it can, it reads the store for each check.
    LeaseLost {
        /// What the store said last; `None` when it answered, but too late.
        error: Option<String>,
    },
    /// It follows the log again and answers from memory.
    LeaseRegained {
        /// For how long it had read the store for each check.
        after: Duration,
    },
    /// Everything in memory was forgotten.
    CacheFlushed {
        /// Why.
        reason: FlushReason,
    },
    /// A revocation that waits has waited until no node accepts what it ended.
    Waited(
        /// For whom and how long.
        Waited,
    ),
    /// A background task failed; it goes on at its next turn.
    TaskFailed {
        /// The task.
        task: &'static str,
        /// What it said.
        error: String,
    },
}

/// Where events go. Called on the way of a request: do not block.
pub trait EventSink: Send + Sync + fmt::Debug + 'static {
    /// Takes one event.
    fn emit(&self, event: &Event);
}

/// Sends events to `tracing` under the target `hallpass::events`, named after the OWASP Logging Vocabulary where it has a name.
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingEvents;

impl EventSink for TracingEvents {
    fn emit(&self, event: &Event) {
        const TARGET: &str = "hallpass::events";
        match event {
            Event::Created { id, user, class } => {
                tracing::info!(target: TARGET, event = "session_created", session.id = %id, user.id = ?user, session.class = %class, "session created");
            }
            Event::Renewed { id, user } => {
                tracing::debug!(target: TARGET, event = "session_renewed", session.id = %id, user.id = ?user, "session renewed");
            }
            Event::RenewalFailed { id, error } => {
                tracing::warn!(target: TARGET, event = "session_renewal_failed", session.id = %id, error = ?error, "session could not be renewed");
            }
            Event::Rotated { id, user, reauthenticated } => {
                tracing::info!(target: TARGET, event = "session_rotated", session.id = %id, user.id = ?user, reauthenticated, "session token replaced");
            }
            Event::Ended { id, by, reason } => {
                let event = if *reason == EndReason::SignedOut { "session_logout" } else { "session_revoked" };
                tracing::info!(target: TARGET, event, session.id = %id, actor.kind = by.kind.as_str(), actor.name = ?by.name, reason = %reason, "session ended");
            }
            Event::UserRevoked { user, kept, ended, by, reason } => {
                tracing::info!(target: TARGET, event = "sessions_revoked_user", user.id = ?user, session.kept = ?kept, ended = ?ended, actor.kind = by.kind.as_str(), actor.name = ?by.name, reason = %reason, "sessions of a user ended");
            }
            Event::EveryoneRevoked { by } => {
                tracing::warn!(target: TARGET, event = "sessions_revoked_everyone", actor.kind = by.kind.as_str(), actor.name = ?by.name, "all sessions ended");
            }
            Event::LimitReached { user, class, live } => {
                tracing::warn!(target: TARGET, event = "excess_sessions_exceeded", user.id = ?user, session.class = %class, live, "sign-in refused by the limit of sessions");
            }
            Event::Refused { id, reason } => {
                let event = if matches!(reason, Invalid::Unknown | Invalid::WrongSecret) {
                    "session_token_unknown"
                } else {
                    "session_use_after_expire"
                };
                tracing::info!(target: TARGET, event, session.id = %id, reason = %reason, "session token refused");
            }
            Event::AmbiguousCredentials { count } => {
                tracing::warn!(target: TARGET, event = "malicious_extraneous", count, "request with several credentials; none was used");
            }
            Event::CrossOriginRefused { origin } => {
                tracing::warn!(target: TARGET, event = "malicious_csrf", origin = ?origin, "cross-origin request refused");
            }
            Event::LastSeenDropped { count } => {
                tracing::warn!(target: TARGET, event = "last_seen_dropped", count, "last-seen times dropped: the buffer was full");
            }
            Event::Swept { expired, ended } => {
                tracing::info!(target: TARGET, event = "sessions_swept", expired, ended, "dead sessions removed");
            }
            Event::LeaseLost { error } => {
                tracing::warn!(target: TARGET, event = "lease_lost", error = ?error, "the revocation log was not read in time; each check reads the store");
            }
            Event::LeaseRegained { after } => {
                tracing::info!(target: TARGET, event = "lease_regained", after_ms = after.as_millis() as u64, "the revocation log is followed again; checks are answered from memory");
            }
            Event::CacheFlushed { reason } => {
                tracing::warn!(target: TARGET, event = "cache_flushed", reason = %reason, "sessions in memory were forgotten");
            }
            Event::Waited(Waited { nodes, acknowledged, after }) => {
                tracing::debug!(target: TARGET, event = "revocation_everywhere", nodes, acknowledged, after_ms = after.as_millis() as u64, "no node accepts what was revoked");
            }
            Event::TaskFailed { task, error } => {
                tracing::error!(target: TARGET, event = "task_failed", task, error = ?error, "background task failed; it is tried again");
            }
        }
    }
}
