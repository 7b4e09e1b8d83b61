//! What threads share in the cache: the standard library's atomics, or those of a model checker.
//!
//! With the feature `shuttle` the code of the cache, the fences, the lease and the follower runs unchanged on the primitives of
//! [shuttle](https://docs.rs/shuttle), which chooses who goes on at each step (`tests/schedules.rs`). The version is the one that `quick_cache` brings.

#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::{Mutex, MutexGuard};

#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::atomic::{AtomicI64, AtomicU64, Ordering};
#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};

/// Keyed by random numbers, so that nobody can choose ids that meet; the same each time where a schedule must be played again.
#[cfg(not(feature = "shuttle"))]
pub(crate) type Keyed = std::collections::hash_map::RandomState;
#[cfg(feature = "shuttle")]
pub(crate) type Keyed = std::hash::BuildHasherDefault<std::collections::hash_map::DefaultHasher>;

/// What comes within so long; `None` if nothing did.
#[cfg(not(feature = "shuttle"))]
pub(crate) async fn within<T>(length: std::time::Duration, what: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(length, what).await.ok()
}

/// The schedules have no timers.
#[cfg(feature = "shuttle")]
pub(crate) async fn within<T>(_: std::time::Duration, what: impl Future<Output = T>) -> Option<T> {
    Some(what.await)
}

/// Lets time pass.
#[cfg(not(feature = "shuttle"))]
pub(crate) async fn pause(length: std::time::Duration) {
    tokio::time::sleep(length).await;
}

/// The schedules have no timers: others go on.
#[cfg(feature = "shuttle")]
pub(crate) async fn pause(_: std::time::Duration) {
    shuttle::future::yield_now().await;
}

/// The rules on which the bound of cached validation rests. The tests of the schedules break each of them and must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(not(feature = "shuttle"), expect(unreachable_pub, reason = "only the tests of the schedules name them"))]
pub enum Rule {
    /// What was read before a session was revoked is not used after it.
    FenceOfSession,
    /// The same for all sessions of a user.
    FenceOfUser,
    /// The same for everybody's sessions, and for a log that begins anew.
    FenceOfEveryone,
    /// A log that begins anew makes no use of what was read before.
    FenceBeforeNewBeginning,
    /// The moment of a reading is taken before it is sent.
    MomentBeforeReading,
    /// A lease begins when the log was asked, not when it answered.
    LeaseFromSending,
    /// A lease is looked at before the session is looked up.
    LeaseBeforeLookup,
    /// What the log says is applied before the lease is extended.
    ApplyBeforeLease,
    /// The node that revokes forgets the session before it says so.
    ForgetBeforeAnswer,
    /// A node that has read that a session ended does not accept it from memory afterwards.
    ForgetWhatWasRefused,
    /// Another incarnation of the log, or another entry at the place that was reached, empties the cache.
    NoticeAnotherLog,
    /// All that the log holds was applied before the lease is extended.
    WholeLog,
    /// A wall clock that jumped against the other one ends the lease.
    NoticeJumps,
    /// A question that is sent together with others waits for the next sending, and joins none that has left.
    JoinTheNextReading,
    /// A node is in the registry before it asks the log for its first lease.
    RegisterBeforeAsking,
    /// A node tells how far it is after it has applied what it read.
    ApplyBeforeTelling,
    /// A revocation that waits does so for every node that has not told that it is far enough, for as long as that one's lease may last.
    WaitForAll,
}

/// Whether the rule is kept: always, unless a test of the schedules breaks it.
#[cfg(not(feature = "shuttle"))]
#[inline(always)]
pub(crate) const fn keeps(_: Rule) -> bool {
    true
}

#[cfg(feature = "shuttle")]
pub(crate) fn keeps(rule: Rule) -> bool {
    broken::BROKEN.get() != Some(rule)
}

/// Breaking rules, for the tests of the schedules alone.
#[cfg(feature = "shuttle")]
pub mod broken {
    use std::cell::Cell;

    use super::Rule;

    thread_local! {
        pub(super) static BROKEN: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    /// Breaks a rule, or none, for what runs on this thread from now on.
    pub fn set(rule: Option<Rule>) {
        BROKEN.set(rule);
    }
}
