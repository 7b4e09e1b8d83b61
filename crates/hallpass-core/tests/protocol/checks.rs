//! The check of a request (revocation.md 4.3 and 4.7), and what its answer is measured by.

use crate::model::{Noted, Protocol, REVOKER, State};
use crate::rules::Rule;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Check {
    pub(crate) stage: Stage,
    /// What had happened when it started.
    since: Since,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    /// It has looked at the lease, of which so much is left by now.
    HasLease(u8),
    /// Where the session is looked up first.
    Started,
    /// The same, and it was found.
    HasSession,
    /// It has both.
    HasBoth(u8),
    /// It waits for an answer of the store.
    Waiting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Since {
    acknowledged: bool,
    returned: bool,
    /// This node had revoked the session, or had read so in the log.
    known: bool,
    /// A check on this node had found it ended.
    refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Memory,
    Store,
}

/// A session was accepted: what speaks against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Accepted {
    pub(crate) from: Source,
    /// The revocation was acknowledged a lease before the decision, or longer.
    pub(crate) is_too_late: bool,
    /// The wait was over before the decision.
    pub(crate) is_after_return: bool,
    /// The check had started after the acknowledgement.
    pub(crate) started_late: bool,
    /// And on the node that revoked.
    pub(crate) started_late_on_revoker: bool,
    /// After the wait was over.
    pub(crate) started_after_return: bool,
    /// After this node knew.
    pub(crate) started_knowing: bool,
    /// After this node had refused.
    pub(crate) started_after_refusal: bool,
}

impl Check {
    /// The lease that it holds.
    pub(crate) fn lease(&mut self) -> Option<&mut u8> {
        match &mut self.stage {
            Stage::HasLease(left) | Stage::HasBoth(left) => Some(left),
            Stage::Started | Stage::HasSession | Stage::Waiting => None,
        }
    }
}

impl Protocol {
    fn start(&self, state: &mut State, stage: Stage) -> Option<()> {
        let since = Since {
            acknowledged: state.revocation.acknowledged.is_some(),
            returned: state.revocation.has_returned,
            known: state.node.has_known,
            refused: state.node.has_refused,
        };
        state.check.is_none().then(|| state.check = Some(Check { stage, since }))
    }

    /// Together with the look at the lease. One that starts earlier is measured by less, so nothing is lost.
    pub(crate) fn start_check(&self, state: &mut State) -> Option<()> {
        if !self.keeps(Rule::LeaseBeforeLookup) {
            return self.start(state, Stage::Started);
        }
        // Without a lease it is a strict one.
        let lease = state.node.lease;
        (lease > 0).then(|| self.start(state, Stage::HasLease(lease)))?
    }

    pub(crate) fn start_strict_check(&self, state: &mut State) -> Option<()> {
        (!self.waits).then(|| self.start(state, Stage::Waiting))??;
        self.go_to_store(state);
        Some(())
    }

    pub(crate) fn look_up(&self, state: &mut State) -> Option<()> {
        let found = match state.check?.stage {
            Stage::HasLease(left) => Stage::HasBoth(left),
            Stage::Started => Stage::HasSession,
            Stage::HasSession | Stage::HasBoth(_) | Stage::Waiting => return None,
        };
        if self.finds(&state.node) {
            state.check.as_mut()?.stage = found;
        } else {
            self.go_to_store(state);
        }
        Some(())
    }

    fn go_to_store(&self, state: &mut State) {
        if self.waits {
            // What the store answers after the commit is G1, shown where nobody waits.
            state.check = None;
        } else if let Some(check) = &mut state.check {
            check.stage = Stage::Waiting;
            self.wait_for_reading(&mut state.node);
        }
    }

    pub(crate) fn look_at_lease(state: &mut State) -> Option<()> {
        let lease = state.node.lease;
        let check = state.check.as_mut().filter(|check| check.stage == Stage::HasSession)?;
        check.stage = Stage::HasBoth(lease);
        Some(())
    }

    /// The clock is read and compared with the lease: this is the moment that counts.
    pub(crate) fn decide(&self, state: &mut State) -> Option<()> {
        let Stage::HasBoth(left) = state.check?.stage else { return None };
        if left > 0 {
            self.end_check(state, Some(Source::Memory));
        } else {
            self.go_to_store(state);
        }
        Some(())
    }

    pub(crate) fn end_check(&self, state: &mut State, accepted: Option<Source>) {
        let Some(Check { since, .. }) = state.check.take() else { return };
        let Some(from) = accepted else { return };
        state.noted = Noted::Accepted(Accepted {
            from,
            is_too_late: state.revocation.acknowledged == Some(self.lease),
            is_after_return: state.revocation.has_returned,
            started_late: since.acknowledged,
            started_late_on_revoker: since.acknowledged && self.watched == REVOKER,
            started_after_return: since.returned,
            started_knowing: since.known,
            started_after_refusal: since.refused,
        });
    }
}
