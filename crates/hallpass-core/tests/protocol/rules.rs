//! Each rule broken on purpose: the guarantee that rests on it must fail (R17).

use crate::explore;
use crate::guarantees::{G1, G3, G4, G5, G6};
use crate::model::Protocol;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// What was read before the session was revoked is not used after it.
    Fence,
    /// The fence is looked at each time the session is found in memory, not only before it is put there.
    FenceAtLookup,
    /// The moment of a reading is taken before it is sent.
    MomentBeforeReading,
    /// A lease begins when the log was asked, not when it answered.
    LeaseFromSending,
    /// What the log says is applied before the lease is extended.
    ApplyBeforeLease,
    /// A lease is looked at before the session is looked up.
    LeaseBeforeLookup,
    /// A hint makes a node ask, and moves nothing itself.
    HintsMoveNothing,
    /// The node that revokes forgets the session before it says so.
    ForgetBeforeAnswer,
    /// A check of the store takes no answer to a question that was sent before it began.
    NextReading,
    /// A node is registered before its first lease begins: when it asks the log, not when the answer is there.
    RegisterBeforeAsking,
    /// Less than that: a node is registered before it has a lease.
    RegisterBeforeLease,
    /// The revoker reads the registry after its commit.
    CommitBeforeRegistry,
    /// The time for which it waits counts from its commit, not from its question.
    WaitFromCommit,
    /// It waits for the longest lease that a node may have, not for its own.
    WaitForLongestLease,
    /// Whoever revokes what has ended already waits as well: that may have been a moment ago.
    WaitForEarlier,
    /// A node acknowledges what it has applied, not what it has received.
    ApplyBeforeAcknowledging,
}

/// Explores the protocol without the rule and expects the guarantee to fail. The search is by breadth, so this is a shortest way.
fn breaks(rule: Rule, protocol: Protocol, asks: &'static [&'static str]) {
    let explored = explore(Protocol { broken: Some(rule), asks, ..protocol });
    for guarantee in asks {
        let steps = explored.found.get(guarantee);
        assert!(steps.is_some(), "{rule:?} is broken, and nothing tells: {guarantee}; {} states", explored.states);
        let steps = steps.map_or(&[][..], Vec::as_slice);
        println!("{rule:?}, {} steps against {guarantee}: {steps:?}", steps.len());
    }
}

#[test]
fn r17_without_the_fence() {
    breaks(Rule::Fence, Protocol::OWN, &[G4]);
    breaks(Rule::Fence, Protocol::FOREIGN, &[G5]);
    breaks(Rule::Fence, Protocol::FOREIGN, &[G3]);
}

#[test]
fn r17_with_the_fence_looked_at_only_before_a_session_is_kept() {
    breaks(Rule::FenceAtLookup, Protocol::OWN, &[G4]);
    breaks(Rule::FenceAtLookup, Protocol::FOREIGN, &[G5]);
}

#[test]
fn r17_with_the_moment_taken_after_the_reading() {
    breaks(Rule::MomentBeforeReading, Protocol::OWN, &[G4]);
    breaks(Rule::MomentBeforeReading, Protocol::FOREIGN, &[G5]);
}

#[test]
fn r17_with_the_lease_from_the_answer() {
    breaks(Rule::LeaseFromSending, Protocol::FOREIGN, &[G3]);
    breaks(Rule::LeaseFromSending, Protocol::WAITING, &[G6]);
}

#[test]
fn r17_with_the_lease_extended_before_the_log_is_applied() {
    breaks(Rule::ApplyBeforeLease, Protocol::FOREIGN, &[G3]);
}

#[test]
fn r17_with_the_lease_looked_at_after_the_session() {
    breaks(Rule::LeaseBeforeLookup, Protocol::FOREIGN, &[G3]);
}

#[test]
fn r17_with_a_hint_that_moves_the_cursor() {
    breaks(Rule::HintsMoveNothing, Protocol::FOREIGN, &[G3]);
    breaks(Rule::HintsMoveNothing, Protocol::WAITING, &[G6]);
}

#[test]
fn r17_with_an_answer_before_the_session_is_forgotten() {
    breaks(Rule::ForgetBeforeAnswer, Protocol::OWN, &[G4]);
}

#[test]
fn r17_with_a_strict_check_that_joins_an_earlier_reading() {
    breaks(Rule::NextReading, Protocol::FOREIGN, &[G1]);
    breaks(Rule::NextReading, Protocol::OWN, &[G4]);
}

#[test]
fn r17_with_a_node_that_registers_while_it_asks_for_its_first_lease() {
    breaks(Rule::RegisterBeforeAsking, Protocol::WAITING, &[G6]);
}

#[test]
fn r17_with_a_node_that_registers_after_its_first_lease() {
    breaks(Rule::RegisterBeforeLease, Protocol::WAITING, &[G6]);
}

#[test]
fn r17_with_the_registry_read_before_the_commit() {
    breaks(Rule::CommitBeforeRegistry, Protocol::WAITING, &[G6]);
}

#[test]
fn r17_with_the_wait_counted_from_before_the_commit() {
    breaks(Rule::WaitFromCommit, Protocol::WAITING, &[G6]);
}

#[test]
fn r17_with_a_wait_shorter_than_the_lease_of_another_node() {
    breaks(Rule::WaitForLongestLease, Protocol::WAITING, &[G6]);
}

#[test]
fn r17_without_a_wait_for_what_has_ended_already() {
    breaks(Rule::WaitForEarlier, Protocol::WAITING, &[G6]);
}

#[test]
fn r17_with_an_acknowledgement_of_what_was_not_applied() {
    breaks(Rule::ApplyBeforeAcknowledging, Protocol::WAITING, &[G6]);
}
