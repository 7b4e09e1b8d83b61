//! What happens at once.

use std::sync::Arc;
use std::time::Duration;

use hallpass_core::{
    Actor, Attributes, AttributesOutcome, Client, Clock as _, EndReason, Issued, Label, ManualClock, Token,
};
use shuttle::future::block_on;
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::thread;

use crate::explore;
use crate::given::{Acknowledged, Given, LEASE, What, accepts, follow, revoke, shown};

const STEP: Duration = Duration::from_millis(700);

/// A node revokes while it checks: from the answer on it refuses (G4), and goes on refusing (G5).
fn own_revocation(what: What) {
    let given = Arc::new(Given::nodes(1));
    let issued = Arc::new(given.sign_in("alice"));
    let acknowledged = Arc::new(Acknowledged::default());
    let checks = {
        let (given, issued, acknowledged) = (Arc::clone(&given), Arc::clone(&issued), Arc::clone(&acknowledged));
        thread::spawn(move || {
            for _ in 0..3 {
                let was_acknowledged = acknowledged.at().is_some();
                let accepted = accepts(&given.nodes[0], &issued.token);
                assert!(!(accepted && was_acknowledged), "accepted after this node had revoked it");
            }
        })
    };
    revoke(&given.nodes[0], what, &issued.session);
    acknowledged.now(&given.clock);
    checks.join().unwrap();
    assert!(!accepts(&given.nodes[0], &issued.token), "accepted in the end");
}

/// One node revokes, another one follows the log and checks, and time passes.
fn foreign_revocation(what: What) {
    let given = Arc::new(Given::nodes(2));
    let issued = Arc::new(given.sign_in("alice"));
    let acknowledged = Arc::new(Acknowledged::default());
    assert!(accepts(&given.nodes[1], &issued.token));
    let mut threads = Vec::new();
    let clock = given.clock.clone();
    threads.push(thread::spawn(move || passing(&clock, 5)));
    {
        let given = Arc::clone(&given);
        threads.push(thread::spawn(move || (0..2).for_each(|_| follow(&given.nodes[1]))));
    }
    {
        let (given, issued, acknowledged) = (Arc::clone(&given), Arc::clone(&issued), Arc::clone(&acknowledged));
        threads.push(thread::spawn(move || (0..3).for_each(|_| acknowledged.check(&given, 1, &issued.token))));
    }
    revoke(&given.nodes[0], what, &issued.session);
    acknowledged.now(&given.clock);
    for thread in threads {
        thread.join().unwrap();
    }
    never_again(&given, &issued.token);
}

/// Checks whose answer may be either; what they read may be kept.
fn look(given: &Given, node: usize, token: &Token) {
    for _ in 0..2 {
        let _ = accepts(&given.nodes[node], token);
    }
}

fn passing(clock: &ManualClock, steps: usize) {
    for _ in 0..steps {
        clock.advance(STEP);
    }
}

/// Whatever happened before: a lease later nobody accepts it, and with a new lease neither.
fn never_again(given: &Given, token: &Token) {
    given.later(LEASE);
    for node in &given.nodes {
        assert!(!accepts(node, token), "accepted a lease later");
        follow(node);
        assert!(!accepts(node, token), "accepted with a new lease");
    }
}

/// A session gets another secret while its old one is checked: from the answer on the old one is dead on that node.
fn rotation() {
    let given = Arc::new(Given::nodes(1));
    let issued = Arc::new(given.sign_in("alice"));
    let checks = {
        let (given, issued) = (Arc::clone(&given), Arc::clone(&issued));
        thread::spawn(move || look(&given, 0, &issued.token))
    };
    let again = block_on(given.nodes[0].rotate(&issued.token)).unwrap();
    assert!(!accepts(&given.nodes[0], &issued.token), "the old secret was accepted after the rotation");
    assert!(accepts(&given.nodes[0], &again.token), "the new secret was refused");
    checks.join().unwrap();
    assert!(!accepts(&given.nodes[0], &issued.token), "the old secret was accepted in the end");
    let authentication = again.session.authentication.clone();
    let last = block_on(given.nodes[0].reauthenticate(&again.token, authentication, Client::default())).unwrap();
    assert!(accepts(&given.nodes[0], &last.token));
}

/// More revocations than one reading of the log brings.
fn many_revocations() {
    let given = Arc::new(Given::nodes(2));
    let all: Vec<_> = (0..5).map(|_| given.sign_in("alice")).collect();
    for issued in &all {
        assert!(accepts(&given.nodes[1], &issued.token));
    }
    let acknowledged = Arc::new(Acknowledged::default());
    for issued in &all {
        revoke(&given.nodes[0], What::Session, &issued.session);
    }
    acknowledged.now(&given.clock);
    let follows = {
        let given = Arc::clone(&given);
        thread::spawn(move || follow(&given.nodes[1]))
    };
    given.later(LEASE);
    for issued in &all {
        acknowledged.check(&given, 1, &issued.token);
    }
    follows.join().unwrap();
    for issued in &all {
        never_again(&given, &issued.token);
    }
}

/// The store goes back to an earlier state and counts on: the entry at the place that the node had reached is another one.
fn restored_store() {
    let given = Arc::new(Given::nodes(2));
    let (first, second) = (given.sign_in("alice"), Arc::new(given.sign_in("bob")));
    let backup = given.probe.store.tables().clone();
    revoke(&given.nodes[0], What::Session, &first.session);
    follow(&given.nodes[1]);
    assert!(accepts(&given.nodes[1], &second.token));
    *given.probe.store.tables() = backup;
    let checks = {
        let (given, second) = (Arc::clone(&given), Arc::clone(&second));
        thread::spawn(move || look(&given, 1, &second.token))
    };
    revoke(&given.nodes[0], What::Session, &second.session);
    follow(&given.nodes[1]);
    checks.join().unwrap();
    assert!(!accepts(&given.nodes[1], &second.token), "the entry was skipped");
}

/// The machine of a node is paused, and its uptime does not count that time; its wall clock is set right afterwards.
fn paused_machine() {
    let given = Arc::new(Given::nodes(2));
    let issued = Arc::new(given.sign_in("alice"));
    assert!(accepts(&given.nodes[1], &issued.token));
    let acknowledged = Arc::new(Acknowledged::default());
    let checks = {
        let (given, issued, acknowledged) = (Arc::clone(&given), Arc::clone(&issued), Arc::clone(&acknowledged));
        thread::spawn(move || (0..3).for_each(|_| acknowledged.check(&given, 1, &issued.token)))
    };
    revoke(&given.nodes[0], What::Session, &issued.session);
    acknowledged.now(&given.clock);
    given.clock.set(given.clock.now().plus(LEASE));
    acknowledged.check(&given, 1, &issued.token);
    checks.join().unwrap();
}

/// A node begins to follow the log, which tells nothing of what was revoked before, while a session is read.
fn beginning() {
    let given = Arc::new(Given::strangers(2));
    let issued = Arc::new(given.sign_in("alice"));
    let looks = {
        let (given, issued) = (Arc::clone(&given), Arc::clone(&issued));
        thread::spawn(move || look(&given, 1, &issued.token))
    };
    revoke(&given.nodes[0], What::Session, &issued.session);
    follow(&given.nodes[1]);
    looks.join().unwrap();
    assert!(!accepts(&given.nodes[1], &issued.token), "accepted though it was revoked before the log was followed");
}

/// Two revocations that concern one user are made at once on one node.
fn two_revocations() {
    let given = Arc::new(Given::nodes(1));
    let issued = Arc::new(given.sign_in("alice"));
    given.sign_in("alice");
    let threads = [
        {
            let (given, issued) = (Arc::clone(&given), Arc::clone(&issued));
            thread::spawn(move || {
                let by = Actor::operator("test");
                block_on(given.nodes[0].revoke_others(&issued.session, &by, EndReason::Revoked)).unwrap();
            })
        },
        {
            let (given, issued) = (Arc::clone(&given), Arc::clone(&issued));
            thread::spawn(move || look(&given, 0, &issued.token))
        },
    ];
    revoke(&given.nodes[0], What::User, &issued.session);
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(!accepts(&given.nodes[0], &issued.token), "accepted after both");
}

/// What a node has changed of a session it shows from then on.
fn changes() {
    let given = Arc::new(Given::nodes(1));
    let issued = Arc::new(given.sign_in("alice"));
    let looks = {
        let (given, issued) = (Arc::clone(&given), Arc::clone(&issued));
        thread::spawn(move || look(&given, 0, &issued.token))
    };
    let session = &issued.session;
    let attributes = Attributes::from_json(r#"{"role":"admin"}"#).unwrap();
    let changed = block_on(given.nodes[0].set_attributes(session, &attributes)).unwrap();
    assert_eq!(changed, AttributesOutcome::Updated(1));
    assert_eq!(shown(&given.nodes[0], &issued.token).attributes, attributes, "the old attributes");
    let label = Label::new("Kitchen").unwrap();
    assert!(block_on(given.nodes[0].set_label(session.id, &session.user, label.as_ref())).unwrap());
    assert_eq!(shown(&given.nodes[0], &issued.token).label, label, "the old label");
    looks.join().unwrap();
    let last = shown(&given.nodes[0], &issued.token);
    assert_eq!((last.attributes, last.label), (attributes, label), "in the end");
}

/// A node that has refused a session, by reading the store, does not accept it again, whatever it has in memory or is about to put there: another node revokes
/// it, or replaces its secret, or the database goes back to a copy without it, which no log tells.
fn refusal(act: fn(&Given, &Issued)) {
    let given = Arc::new(Given::nodes(2));
    let issued = Arc::new(given.sign_in("alice"));
    let checks = {
        let (given, issued) = (Arc::clone(&given), Arc::clone(&issued));
        thread::spawn(move || {
            let mut has_refused = false;
            for strict in [false, true, false] {
                let node = if strict { given.nodes[1].strictly() } else { given.nodes[1].clone() };
                let accepted = accepts(&node, &issued.token);
                assert!(!(accepted && has_refused), "accepted after it was refused");
                has_refused |= !accepted;
            }
        })
    };
    let others = {
        let (given, issued) = (Arc::clone(&given), Arc::clone(&issued));
        thread::spawn(move || look(&given, 1, &issued.token))
    };
    act(&given, &issued);
    checks.join().unwrap();
    others.join().unwrap();
    // Found out by a check, where no log tells.
    assert!(!accepts(&given.nodes[1].strictly(), &issued.token));
    never_again(&given, &issued.token);
}

fn is_revoked(given: &Given, issued: &Issued) {
    revoke(&given.nodes[0], What::Session, &issued.session);
}

fn is_rotated(given: &Given, issued: &Issued) {
    drop(block_on(given.nodes[0].rotate(&issued.token)).unwrap());
}

fn is_lost(given: &Given, issued: &Issued) {
    given.probe.store.tables().rows.remove(&issued.session.id);
}

/// A node revokes and waits, while another one begins to follow the log, or goes on, and checks, and time passes: once the wait is over nobody accepts (G6).
fn waiting(begins: bool) {
    let given = Arc::new(if begins { Given::strangers(2) } else { Given::nodes(2) });
    let issued = Arc::new(given.sign_in("alice"));
    if !begins {
        assert!(accepts(&given.nodes[1], &issued.token));
    }
    let returned = Arc::new(AtomicBool::new(false));
    let mut threads = Vec::new();
    {
        let (clock, returned) = (given.clock.clone(), Arc::clone(&returned));
        threads.push(thread::spawn(move || {
            while !returned.load(Ordering::SeqCst) {
                clock.advance(STEP);
                thread::yield_now();
            }
        }));
    }
    {
        let given = Arc::clone(&given);
        threads.push(thread::spawn(move || (0..2).for_each(|_| follow(&given.nodes[1]))));
    }
    {
        let (given, issued, returned) = (Arc::clone(&given), Arc::clone(&issued), Arc::clone(&returned));
        threads.push(thread::spawn(move || {
            for _ in 0..3 {
                let has_returned = returned.load(Ordering::SeqCst);
                let accepted = accepts(&given.nodes[1], &issued.token);
                assert!(!(accepted && has_returned), "accepted after the wait");
            }
        }));
    }
    revoke(&given.nodes[0].waiting(), What::Session, &issued.session);
    returned.store(true, Ordering::SeqCst);
    assert!(!accepts(&given.nodes[1], &issued.token), "accepted right after the wait");
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(!accepts(&given.nodes[1], &issued.token), "accepted in the end");
}

/// Several check strictly at once, and the store may answer them together: nobody is accepted who began to check after the revocation (G1).
fn strict_checks() {
    let given = Arc::new(Given::nodes(2));
    let issued = Arc::new(given.sign_in("alice"));
    let acknowledged = Arc::new(Acknowledged::default());
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (given, issued, acknowledged) = (Arc::clone(&given), Arc::clone(&issued), Arc::clone(&acknowledged));
            thread::spawn(move || {
                for _ in 0..2 {
                    let was_acknowledged = acknowledged.at().is_some();
                    let accepted = accepts(&given.nodes[1].strictly(), &issued.token);
                    assert!(
                        !(accepted && was_acknowledged),
                        "accepted by a strict check that began after the revocation"
                    );
                }
            })
        })
        .collect();
    revoke(&given.nodes[0], What::Session, &issued.session);
    acknowledged.now(&given.clock);
    assert!(!accepts(&given.nodes[1].strictly(), &issued.token), "accepted by a strict check after the revocation");
    for thread in threads {
        thread.join().unwrap();
    }
}

/// All of them, by name.
pub(crate) const ALL: [(&str, fn()); 19] = [
    ("own revocation of a session", || own_revocation(What::Session)),
    ("own revocation of a user", || own_revocation(What::User)),
    ("own revocation of everyone", || own_revocation(What::Everyone)),
    ("foreign revocation of a session", || foreign_revocation(What::Session)),
    ("foreign revocation of a user", || foreign_revocation(What::User)),
    ("foreign revocation of everyone", || foreign_revocation(What::Everyone)),
    ("rotation", rotation),
    ("refusal of what was revoked", || refusal(is_revoked)),
    ("refusal of a replaced secret", || refusal(is_rotated)),
    ("refusal of what a database lost", || refusal(is_lost)),
    ("beginning", beginning),
    ("two revocations", two_revocations),
    ("changes", changes),
    ("many revocations", many_revocations),
    ("restored store", restored_store),
    ("paused machine", paused_machine),
    ("strict checks", strict_checks),
    ("waiting for a node that begins", || waiting(true)),
    ("waiting for a node that goes on", || waiting(false)),
];

#[test]
fn r12_own_revocations_are_in_effect_at_once() {
    ALL[..3].iter().for_each(|(_, scenario)| explore(*scenario));
}

#[test]
fn r12_foreign_revocations_are_in_effect_within_a_lease() {
    ALL[3..6].iter().for_each(|(_, scenario)| explore(*scenario));
}

#[test]
fn r12_a_node_that_begins_uses_nothing_that_was_read_before() {
    explore(beginning);
}

#[test]
fn r12_two_revocations_at_once_both_hold() {
    explore(two_revocations);
}

#[test]
fn r12_what_a_node_changed_it_shows() {
    explore(changes);
}

#[test]
fn r12_who_was_refused_is_not_accepted_again() {
    explore(|| refusal(is_revoked));
    explore(|| refusal(is_rotated));
    explore(|| refusal(is_lost));
}

#[test]
fn r12_a_replaced_secret_is_dead_at_once() {
    explore(rotation);
}

#[test]
fn r12_a_lease_waits_for_the_whole_log() {
    explore(many_revocations);
}

#[test]
fn r5_a_log_that_went_back_and_counted_on_is_noticed() {
    explore(restored_store);
}

#[test]
fn r21_a_machine_that_lost_time_has_no_lease() {
    explore(paused_machine);
}

#[test]
fn r25_a_strict_check_joins_no_reading_that_has_left() {
    explore(strict_checks);
}

#[test]
fn r16_g6_after_the_wait_no_node_accepts() {
    explore(|| waiting(true));
    explore(|| waiting(false));
}
