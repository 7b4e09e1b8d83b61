//! The store's commits, and the node that revokes (revocation.md 4.1 and 4.9).

use crate::model::{NODES, Noted, Protocol, REVOKER, State};
use crate::rules::Rule;

impl Protocol {
    pub(crate) fn revoke_other(&self, state: &mut State) -> Option<()> {
        let store = &mut state.store;
        let made = store.head - u8::from(store.ours > 0);
        (made < self.others).then(|| store.head += 1)
    }

    pub(crate) fn revoke_elsewhere(state: &mut State) -> Option<()> {
        (state.store.ours == 0).then(|| end_session(state))
    }

    pub(crate) fn ask_to_revoke(&self, state: &mut State) -> Option<()> {
        let is_asked = self.keeps(Rule::WaitFromCommit) || state.revocation.since.is_some();
        (!is_asked && !is_over(state)).then(|| state.revocation.since = Some(0))
    }

    pub(crate) fn revoke(&self, state: &mut State) -> Option<()> {
        let is_ready = self.keeps(Rule::WaitFromCommit) || state.revocation.since.is_some();
        if state.revocation.is_made || is_over(state) || !is_ready {
            return None;
        }
        state.revocation.is_made = true;
        if state.store.ours == 0 {
            end_session(state);
        } else if !self.keeps(Rule::WaitForEarlier) {
            state.revocation.waits_for = Some([false; NODES]);
        }
        if self.waits {
            state.revocation.since = state.revocation.since.or(Some(0));
        }
        Some(())
    }

    pub(crate) fn read_registry(&self, state: &mut State) -> Option<()> {
        let is_time = state.revocation.is_made == self.keeps(Rule::CommitBeforeRegistry);
        if !self.waits || state.revocation.waits_for.is_some() || is_over(state) || !is_time {
            return None;
        }
        state.revocation.waits_for = Some(state.store.registry.map(|row| row.is_some()));
        Some(())
    }

    pub(crate) fn forget_own(&self, state: &mut State) -> Option<()> {
        if !state.revocation.is_made || state.revocation.has_forgotten || is_over(state) {
            return None;
        }
        // What an unwatched node has in memory nobody asks for.
        (self.watched == REVOKER).then(|| {
            state.revocation.has_forgotten = true;
            state.node.forget();
        })
    }

    pub(crate) fn acknowledge(&self, state: &mut State) -> Option<()> {
        let is_forgotten =
            state.revocation.has_forgotten || self.watched != REVOKER || !self.keeps(Rule::ForgetBeforeAnswer);
        if !state.revocation.is_made || state.revocation.acknowledged.is_some() || is_over(state) || !is_forgotten {
            return None;
        }
        // Where it waits the answer is the return.
        (!self.waits).then(|| state.revocation.acknowledged = Some(0))
    }

    pub(crate) fn return_from_wait(&self, state: &mut State) -> Option<()> {
        // The lease of the node that revokes may be a shorter one than that of the others.
        let longest = if self.keeps(Rule::WaitForLongestLease) { self.lease } else { self.lease - 1 };
        let (revocation, store) = (&mut state.revocation, &state.store);
        let waits_for = revocation.waits_for.filter(|_| revocation.is_made && !revocation.has_returned)?;
        let is_known = |node: usize| !waits_for[node] || store.registry[node] == Some(true);
        if (0..NODES).all(is_known) {
            state.noted = Noted::ReturnedByAcknowledgement;
        } else if revocation.since.is_some_and(|age| age >= longest) {
            state.noted = Noted::ReturnedByTime;
        } else {
            return None;
        }
        revocation.has_returned = true;
        end_wait(state);
        Some(())
    }

    pub(crate) fn register(&self, state: &mut State, node: usize) -> Option<()> {
        // Whoever registers after it was read is not waited for.
        let is_read = state.revocation.waits_for.is_some() || is_over(state);
        let row = &mut state.store.registry[node];
        let is_new = if node == self.watched {
            !std::mem::replace(&mut state.node.is_registered, true)
        } else {
            row.is_none() && node != REVOKER && !is_read
        };
        if !self.waits || !is_new {
            return None;
        }
        if !is_read {
            // A row that a node left before it crashed stays: what it had acknowledged had been committed, and whoever reads the store afterwards sees it.
            *row = row.or(Some(false));
        }
        Some(())
    }

    pub(crate) fn publish(&self, state: &mut State, node: usize) -> Option<()> {
        let reached = if node == self.watched {
            state.node.acknowledges(!self.keeps(Rule::ApplyBeforeAcknowledging))?
        } else {
            // It may have applied all that there is.
            state.store.head
        };
        let includes = state.store.ours > 0 && state.store.ours <= reached;
        let row = state.store.registry.get_mut(node)?;
        (includes && *row == Some(false)).then(|| *row = Some(true))
    }

    pub(crate) fn crash(&self, state: &mut State) -> Option<()> {
        state.check = None;
        state.node.crash();
        if self.watched == REVOKER && state.revocation.is_made && !is_over(state) {
            state.revocation.is_abandoned = true;
            end_wait(state);
        }
        Some(())
    }
}

fn end_session(state: &mut State) {
    state.store.head += 1;
    state.store.ours = state.store.head;
}

/// Whether nobody revokes any more. Then nobody reads the registry either.
fn is_over(state: &State) -> bool {
    state.revocation.has_returned || state.revocation.is_abandoned
}

/// Puts away what only the wait was for, so that states that differ in nothing else are one.
fn end_wait(state: &mut State) {
    state.revocation.since = None;
    state.revocation.waits_for = None;
    state.revocation.has_forgotten = true;
    state.store.registry = [None; NODES];
}
