//! The protocol of cached validation as a model of which every state is visited (revocation.md R13 and R16, and R17 for the rules that are broken on purpose).
//!
//! It contains no code of the product. `tests/schedules` runs that code under many schedules; here less is shown about all of them: the rules that the code
//! follows are enough for the guarantees, in whatever order steps are made, however late, and wherever a node crashes.
//!
//! Left out are clocks that differ or lose time, a log that goes back or is trimmed, deadlines and secrets, the fences of users and of everyone, and what happens
//! within a raise of the fence. One session is followed; others are entries of the log.
//!
//! `--nocapture` shows how many states there are, and for each broken rule a shortest way to the failure.

mod checks;
mod guarantees;
mod model;
mod node;
mod revoking;
mod rules;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use stateright::{Checker, HasDiscoveries, Model};

use guarantees::{
    APPLIED, BY_ACKNOWLEDGEMENT, BY_TIME, FENCED, G1, G3, G4, G5, G6, HIT, HIT_AFTER_RETURN, LATE_HIT, REFUSED,
};
use model::{Action, Protocol, Refusals};

struct Explored {
    /// The steps to a state that fails a guarantee, or in which what may happen does.
    found: BTreeMap<&'static str, Vec<Action>>,
    states: usize,
    asked: &'static [&'static str],
}

/// Visits all states, or goes on until a guarantee fails. Of several properties at once the steps found are not the fewest.
fn explore(protocol: Protocol) -> Explored {
    let checker = protocol.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let (states, steps) = (checker.unique_state_count(), checker.state_count());
    let Protocol { watched, waits, lease, others, broken, .. } = protocol;
    println!(
        "node {watched}, waits {waits}, lease {lease}, others {others}, broken {broken:?}: {states} states, {steps} steps, {} deep",
        checker.max_depth()
    );
    let found = checker.discoveries().into_iter().map(|(name, path)| (name, path.into_actions())).collect();
    Explored { found, states, asked: protocol.asks }
}

/// What is explored once for all the tests that ask for it.
static OWN: OnceLock<Explored> = OnceLock::new();
static FOREIGN: OnceLock<Explored> = OnceLock::new();
static WAITING: OnceLock<Explored> = OnceLock::new();

fn own() -> &'static Explored {
    OWN.get_or_init(|| explore(Protocol { others: 1, asks: &[G1, G3, G4, G5, HIT, APPLIED, FENCED], ..Protocol::OWN }))
}

fn foreign() -> &'static Explored {
    let asks = &[G1, G3, G5, HIT, LATE_HIT, APPLIED, FENCED];
    FOREIGN.get_or_init(|| explore(Protocol { others: 1, asks, ..Protocol::FOREIGN }))
}

fn waiting() -> &'static Explored {
    let asks = &[G6, HIT, HIT_AFTER_RETURN, APPLIED, FENCED, BY_ACKNOWLEDGEMENT, BY_TIME];
    WAITING.get_or_init(|| explore(Protocol { others: 1, asks, ..Protocol::WAITING }))
}

impl Explored {
    fn holds(&self, guarantee: &str) {
        assert!(self.asked.contains(&guarantee), "nobody looked: {guarantee}");
        assert_eq!(self.found.get(guarantee), None, "the way against it: {guarantee}");
    }

    fn happens(&self, what: &str) {
        assert!(self.found.contains_key(what), "in none of {} states: {what}", self.states);
    }
}

#[test]
fn r13_g1_no_check_of_the_store_accepts_after_the_acknowledgement() {
    own().holds(G1);
    foreign().holds(G1);
}

#[test]
fn r13_g3_no_node_accepts_later_than_a_lease_after_the_acknowledgement() {
    own().holds(G3);
    foreign().holds(G3);
}

#[test]
fn r13_g4_the_node_that_revoked_does_not_accept_after_the_acknowledgement() {
    own().holds(G4);
}

#[test]
fn r13_g5_a_node_that_knows_does_not_accept_again() {
    own().holds(G5);
    foreign().holds(G5);
}

#[test]
fn r13_g6_no_node_accepts_after_the_wait_returned() {
    waiting().holds(G6);
}

/// That a lease has two ticks elsewhere is no reason for what holds there.
#[test]
fn r13_a_longer_lease_changes_nothing() {
    let asks = &[G1, G3, G4, G5];
    for protocol in [Protocol::OWN, Protocol::FOREIGN] {
        let explored = explore(Protocol { lease: 3, asks, ..protocol });
        asks.iter().for_each(|guarantee| explored.holds(guarantee));
    }
    explore(Protocol { lease: 3, asks: &[G6], ..Protocol::WAITING }).holds(G6);
}

/// The guarantees would hold as well if nothing happened.
#[test]
fn r13_sessions_are_accepted_from_memory_and_forgotten() {
    for explored in [own(), foreign(), waiting()] {
        [HIT, APPLIED, FENCED].iter().for_each(|what| explored.happens(what));
    }
    // Within the lease: less than that the cached mode does not promise.
    foreign().happens(LATE_HIT);
}

#[test]
fn r16_the_wait_ends_by_acknowledgements_and_by_time() {
    waiting().happens(BY_ACKNOWLEDGEMENT);
    waiting().happens(BY_TIME);
    // So G6 is about checks that start afterwards: one that has looked into memory before decides after it.
    waiting().happens(HIT_AFTER_RETURN);
}

/// A check that read that the session ended was refused: the next one does not accept from a reading that began before, though this node has not read so
/// in the log.
#[test]
fn r13_a_node_that_refused_does_not_accept_again() {
    let asks = &[G1, G3, G5, REFUSED];
    let explored = explore(Protocol { refusals: Refusals::Raise, asks, ..Protocol::FOREIGN });
    asks.iter().for_each(|guarantee| explored.holds(guarantee));
}

/// Without raising the fence it may: within the lease, so that G3 holds.
#[test]
fn r17_without_forgetting_what_was_refused() {
    let protocol = Protocol { refusals: Refusals::Noticed, asks: &[REFUSED], ..Protocol::FOREIGN };
    explore(protocol).happens(REFUSED);
}
