//! What was done while tasks ran at once: every call, with when it was begun and when its answer was there, by one count.
//!
//! A call whose answer was there before another was begun came before it; calls that overlap may have come in either order. That is all
//! that can be known from outside, and enough to judge by (`verdict.rs`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hallpass_core::store::{Record, Revocation, RevokeOutcome};
use hallpass_core::{SessionId, TokenHash};

#[derive(Debug, Default)]
pub(crate) struct Journal {
    clock: AtomicU64,
    calls: Mutex<Vec<Call>>,
}

/// A call and its answer.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) begun: u64,
    pub(crate) answered: u64,
    pub(crate) what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Created {
        record: Box<Record>,
        evicted: Vec<SessionId>,
    },
    Revoked {
        revocation: Revocation,
        outcome: RevokeOutcome,
    },
    Rotated {
        id: SessionId,
        old: TokenHash,
        new: TokenHash,
    },
    /// Its attributes were replaced.
    Changed {
        id: SessionId,
    },
    /// It got a label.
    Labelled {
        id: SessionId,
    },
    /// Found live, or an answer that says as much: written, not due, or a conflict.
    Lives {
        id: SessionId,
        how: &'static str,
    },
    /// Found ended or not at all, or an answer that says as much: gone.
    Dead {
        id: SessionId,
        how: &'static str,
    },
}

impl Journal {
    /// The time at which a call is begun.
    pub(crate) fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Writes down a call whose answer has come.
    pub(crate) fn note(&self, begun: u64, what: What) {
        let answered = self.now();
        self.lock().push(Call { begun, answered, what });
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.lock().clone()
    }

    /// The sessions created so far.
    pub(crate) fn created(&self) -> Vec<SessionId> {
        let created = |call: &Call| match &call.what {
            What::Created { record, .. } => Some(record.session.id),
            _ => None,
        };
        self.lock().iter().filter_map(created).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
