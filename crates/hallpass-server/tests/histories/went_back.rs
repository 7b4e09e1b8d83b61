//! A database that went back to an earlier state: a backup was restored, or a replica took over that lacked something.

use crate::history::{Created, Moment, Request, Revocation};

/// When that was, as far as the test knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WentBack {
    /// What was acknowledged by then is in the earlier state.
    pub(crate) kept_until: Moment,
    /// What began later is not in it.
    pub(crate) lost_from: Moment,
    /// The later state answers nothing any more.
    pub(crate) away_from: Moment,
    /// The earlier state has answered nothing yet.
    pub(crate) back_from: Moment,
}

impl WentBack {
    /// Another server has taken over, with everything that was acknowledged.
    pub(crate) fn with_all_acknowledged(away_from: Moment, back_from: Moment) -> Self {
        Self { kept_until: Moment::MAX, lost_from: Moment::MAX, away_from, back_from }
    }

    /// Whether this request may have been answered by what the earlier state says.
    pub(crate) fn may_be_after(&self, request: &Request) -> bool {
        request.ended >= self.back_from
    }

    /// Whether nothing but the earlier state can have answered it, or what a node had in memory.
    pub(crate) fn is_after(&self, request: &Request) -> bool {
        request.begun >= self.settled_from()
    }

    /// Whether the earlier state has what was acknowledged of it.
    pub(crate) fn keeps(&self, revocation: &Revocation) -> bool {
        revocation.acknowledged.is_some_and(|at| at <= self.kept_until) || revocation.begun >= self.settled_from()
    }

    /// Whether the earlier state certainly does not have it.
    pub(crate) fn loses(&self, revocation: &Revocation) -> bool {
        revocation.begun >= self.lost_from && revocation.acknowledged.is_some_and(|at| at < self.back_from)
    }

    /// Whether the earlier state may lack this session.
    pub(crate) fn may_lack(&self, session: &Created) -> bool {
        session.ended > self.kept_until && session.begun < self.settled_from()
    }

    fn settled_from(&self) -> Moment {
        self.away_from.max(self.back_from)
    }
}
