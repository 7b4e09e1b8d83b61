//! What happened, as the test saw it. All times are of one clock: the uptime in the test's own process.

use std::time::Duration;

use hallpass_core::{Clock as _, SystemClock};

use crate::went_back::WentBack;

/// A moment of the test's clock.
pub(crate) type Moment = Duration;

pub(crate) fn now() -> Moment {
    Duration::from_nanos(SystemClock.uptime().as_nanos())
}

/// What a request was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Signed in.
    Accepted,
    /// Signed out.
    Refused,
    /// 503.
    Unavailable,
    /// None: the time was over, or the connection broke.
    Unknown,
}

/// A request for a session to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) node: usize,
    pub(crate) session: usize,
    pub(crate) begun: Moment,
    pub(crate) ended: Moment,
    pub(crate) answer: Answer,
    /// Whether it was one for which the node reads the store, whatever its mode.
    pub(crate) strict: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Session(usize),
    /// All sessions of the user but this one.
    Others {
        user: usize,
        keep: usize,
    },
    User(usize),
}

/// A revocation through a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Revocation {
    pub(crate) node: usize,
    pub(crate) target: Target,
    pub(crate) begun: Moment,
    /// `None` where nobody knows whether it was made: it may have been, at any time since.
    pub(crate) acknowledged: Option<Moment>,
    /// Whether it was to return only when no node accepts.
    pub(crate) waited: bool,
}

/// A session that was created; it was asked for only afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Created {
    pub(crate) user: usize,
    pub(crate) begun: Moment,
    pub(crate) ended: Moment,
}

/// All of a run. Sessions are named by their place in the list.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) sessions: Vec<Created>,
    pub(crate) requests: Vec<Request>,
    pub(crate) revocations: Vec<Revocation>,
    /// Whether the database went back meanwhile.
    pub(crate) went_back: Option<WentBack>,
}

impl Revocation {
    /// Whether it ended this session for certain, from its acknowledgement on.
    pub(crate) fn ended(&self, number: usize, session: &Created) -> bool {
        let concerns = match self.target {
            Target::Session(ended) => ended == number,
            Target::Others { user, keep } => user == session.user && keep != number && session.ended <= self.begun,
            Target::User(user) => user == session.user && session.ended <= self.begun,
        };
        concerns && self.acknowledged.is_some()
    }

    /// Whether it may have ended this session.
    pub(crate) fn may_have_ended(&self, number: usize, session: &Created) -> bool {
        let was_there = self.acknowledged.is_none_or(|at| session.begun <= at);
        match self.target {
            Target::Session(ended) => ended == number,
            Target::Others { user, keep } => user == session.user && keep != number && was_there,
            Target::User(user) => user == session.user && was_there,
        }
    }
}

impl History {
    /// All that happened to a session, in order: what is printed of one that was answered wrongly.
    pub(crate) fn story_of(&self, number: usize) -> String {
        let session = &self.sessions[number];
        let mut lines = vec![(session.begun, format!("created: {session:?}"))];
        for revocation in self.revocations.iter().filter(|revocation| revocation.may_have_ended(number, session)) {
            let certain = if revocation.ended(number, session) { "ended" } else { "may have ended" };
            lines.push((revocation.begun, format!("{certain}: {revocation:?}")));
        }
        for request in self.requests.iter().filter(|request| request.session == number) {
            lines.push((request.begun, format!("{request:?}")));
        }
        lines.sort_by_key(|(begun, _)| *begun);
        lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n")
    }
}
