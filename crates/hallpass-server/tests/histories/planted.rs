//! The checker by itself: each kind of violation, planted in a history that is sound without it.

use std::time::Duration;

use crate::checker::{Promise, check};
use crate::history::{Answer, Created, History, Moment, Request, Revocation, Target};
use crate::went_back::WentBack;

const LEASE: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Moment {
    Duration::from_secs(1_000) + Duration::from_millis(millis)
}

fn request(node: usize, session: usize, begun: u64, answer: Answer) -> Request {
    Request { node, session, begun: at(begun), ended: at(begun + 10), answer, strict: false }
}

fn strict(node: usize, session: usize, begun: u64, answer: Answer) -> Request {
    Request { strict: true, ..request(node, session, begun, answer) }
}

/// Three sessions: 0 and 1 of a user, 2 of another; node 0 ends session 0, acknowledged at 1,000, and node 1 ends all of the second user's, with a wait, at 3,000.
fn sound() -> History {
    let created = |user| Created { user, begun: at(0), ended: at(10) };
    let revoked = |node, target, begun, acknowledged: Option<u64>, waited| Revocation {
        node,
        target,
        begun: at(begun),
        acknowledged: acknowledged.map(at),
        waited,
    };
    History {
        sessions: vec![created(0), created(0), created(1)],
        revocations: vec![
            revoked(0, Target::Session(0), 990, Some(1_000), false),
            revoked(1, Target::User(1), 2_000, Some(3_000), true),
        ],
        requests: vec![
            request(0, 0, 500, Answer::Accepted),
            request(1, 0, 500, Answer::Accepted),
            request(0, 0, 1_000, Answer::Accepted),
            request(0, 0, 1_001, Answer::Refused),
            strict(1, 0, 1_000, Answer::Accepted),
            request(1, 0, 2_000, Answer::Accepted),
            request(1, 0, 2_001, Answer::Refused),
            request(2, 0, 9_000, Answer::Unavailable),
            request(2, 0, 9_000, Answer::Unknown),
            request(2, 2, 2_010, Answer::Refused),
            request(1, 2, 3_000, Answer::Accepted),
            request(1, 2, 3_001, Answer::Refused),
            request(1, 1, 9_000, Answer::Accepted),
        ],
        went_back: None,
    }
}

/// The same, and between 4,000 and 5,000 the database goes back to what it was between 1,900 and 1,950: session 0 stays ended, session 2 lives again, and session 3, which
/// the first user got at 2,700, is gone.
fn went_back() -> History {
    let mut history = sound();
    history.went_back =
        Some(WentBack { kept_until: at(1_900), lost_from: at(1_950), away_from: at(4_000), back_from: at(5_000) });
    history.sessions.push(Created { user: 0, begun: at(2_700), ended: at(2_710) });
    history.requests.extend([
        request(0, 3, 3_500, Answer::Accepted),
        request(0, 3, 5_100, Answer::Refused),
        request(1, 3, 6_110, Answer::Accepted),
        request(1, 2, 5_100, Answer::Accepted),
    ]);
    history
}

fn promises(history: &History) -> Vec<Promise> {
    check(history, LEASE).err().unwrap_or_default().iter().map(|violation| violation.promise).collect()
}

#[track_caller]
fn caught(planted: Request, expected: &[Promise]) {
    caught_in(sound(), planted, expected);
}

#[track_caller]
fn caught_in(mut history: History, planted: Request, expected: &[Promise]) {
    history.requests.insert(0, planted);
    assert_eq!(promises(&history), expected, "{planted:?}");
}

#[test]
fn a_sound_history_passes() {
    let summary = check(&sound(), LEASE).unwrap();
    assert_eq!((summary.requests, summary.accepted, summary.refused), (13, 7, 4));
    assert_eq!((summary.unavailable, summary.unknown), (1, 1));
    assert_eq!((summary.revocations, summary.waited, summary.observed), (2, 1, 1));
    assert_eq!(summary.latest, LEASE, "session 0, at node 1");
}

#[test]
fn g3_an_acceptance_later_than_a_lease_is_caught() {
    caught(request(2, 0, 2_001, Answer::Accepted), &[Promise::Bound]);
    caught(request(2, 0, 9_000, Answer::Accepted), &[Promise::Bound]);
}

#[test]
fn g6_an_acceptance_after_a_wait_is_caught() {
    caught(request(3, 2, 3_001, Answer::Accepted), &[Promise::Waited]);
}

#[test]
fn g4_an_acceptance_by_the_node_that_revoked_is_caught() {
    caught(Request { ended: at(1_002), ..request(0, 0, 1_001, Answer::Accepted) }, &[Promise::OwnNode]);
}

#[test]
fn g1_an_acceptance_by_a_strict_check_is_caught() {
    caught(strict(3, 0, 1_001, Answer::Accepted), &[Promise::Strict]);
}

#[test]
fn g5_an_acceptance_after_a_refusal_is_caught() {
    let mut history = sound();
    // Refused early, since the revocation was on its way; accepted again within the lease.
    history.requests.push(request(3, 0, 995, Answer::Refused));
    assert_eq!(promises(&history), []);
    history.requests.push(request(3, 0, 1_006, Answer::Accepted));
    assert_eq!(promises(&history), [Promise::Refused]);
    history.requests.pop();
    history.requests.push(request(2, 0, 1_006, Answer::Accepted));
    assert_eq!(promises(&history), [], "another node");
}

#[test]
fn g8_who_is_signed_out_although_nobody_ended_the_session_is_noticed() {
    caught(request(2, 1, 5_000, Answer::Refused), &[Promise::SignedOut]);
    // Before anybody began to.
    caught(request(2, 0, 900, Answer::Refused), &[Promise::SignedOut]);
}

#[test]
fn a_revocation_without_an_answer_forbids_nothing_and_excuses_a_refusal() {
    let mut history = sound();
    let unanswered =
        Revocation { node: 2, target: Target::Session(1), begun: at(4_000), acknowledged: None, waited: true };
    history.revocations.push(unanswered);
    history.requests.push(request(0, 1, 9_000, Answer::Refused));
    assert_eq!(promises(&history), []);
    // Made again, and acknowledged.
    history.revocations.push(Revocation { acknowledged: Some(at(5_000)), waited: false, ..unanswered });
    assert_eq!(promises(&history), [Promise::Bound], "what node 1 accepted at 9,000");
}

#[test]
fn what_a_revocation_of_many_ended_is_told_by_the_times() {
    let mut history = sound();
    let others = Target::Others { user: 0, keep: 1 };
    history.revocations =
        vec![Revocation { node: 0, target: others, begun: at(500), acknowledged: Some(at(600)), waited: false }];
    // Signed in while it went on: it may have ended or not. Signed in afterwards: it has not.
    let meanwhile = Created { user: 0, begun: at(550), ended: at(590) };
    let afterwards = Created { user: 0, begun: at(601), ended: at(610) };
    history.sessions.extend([meanwhile, afterwards]);
    history.requests = vec![
        request(0, 0, 550, Answer::Refused),
        request(0, 1, 9_000, Answer::Accepted),
        request(1, 3, 9_000, Answer::Accepted),
        request(2, 3, 9_000, Answer::Refused),
        request(1, 4, 9_000, Answer::Accepted),
    ];
    assert_eq!(promises(&history), []);
    for (planted, expected) in [
        (request(1, 0, 1_601, Answer::Accepted), Promise::Bound),
        (request(1, 1, 700, Answer::Refused), Promise::SignedOut),
        (request(1, 4, 700, Answer::Refused), Promise::SignedOut),
    ] {
        history.requests.insert(0, planted);
        assert!(promises(&history).contains(&expected), "{planted:?}: {:?}", promises(&history));
        history.requests.remove(0);
    }
}

#[test]
fn r5_what_a_database_lost_that_went_back_is_forgiven_and_nothing_else() {
    assert_eq!(promises(&went_back()), []);
    for (planted, expected) in [
        // Until then the lost revocation holds.
        (request(0, 2, 4_500, Answer::Accepted), vec![Promise::Bound, Promise::Waited]),
        // What was acknowledged before the copy holds for ever, and who was never ended is not signed out.
        (request(0, 0, 5_500, Answer::Accepted), vec![Promise::Bound, Promise::OwnNode]),
        (request(0, 1, 5_500, Answer::Refused), vec![Promise::SignedOut, Promise::Remembered]),
        (request(0, 3, 3_600, Answer::Refused), vec![Promise::SignedOut]),
        // Nothing that is left ended it.
        (request(1, 2, 5_500, Answer::Refused), vec![Promise::SignedOut]),
        // Refused by the database, and yet accepted.
        (request(0, 3, 5_200, Answer::Accepted), vec![Promise::Refused]),
        (request(1, 3, 6_111, Answer::Accepted), vec![Promise::Remembered]),
    ] {
        caught_in(went_back(), planted, &expected);
    }
    let mut never = went_back();
    never.went_back = None;
    let expected = [Promise::SignedOut, Promise::Bound, Promise::Waited, Promise::OwnNode, Promise::Refused];
    assert_eq!(promises(&never), expected);
}

#[test]
fn r8_a_fail_over_undoes_what_has_no_answer_alone() {
    let mut history = sound();
    history.went_back = Some(WentBack::with_all_acknowledged(at(4_000), at(4_000)));
    let unanswered =
        Revocation { node: 2, target: Target::Session(1), begun: at(3_900), acknowledged: None, waited: false };
    history.revocations.push(unanswered);
    history.requests.push(request(1, 1, 3_950, Answer::Refused));
    assert_eq!(promises(&history), [], "node 1 accepts it again at 9,000");
    history.went_back = None;
    assert_eq!(promises(&history), [Promise::Refused]);
    history.went_back = Some(WentBack::with_all_acknowledged(at(4_000), at(4_000)));
    caught_in(history.clone(), request(2, 2, 9_000, Answer::Accepted), &[Promise::Bound, Promise::Waited]);
    caught_in(history.clone(), request(2, 0, 4_100, Answer::Accepted), &[Promise::Bound]);
    // Refused by what took over.
    history.requests.push(request(1, 1, 4_100, Answer::Refused));
    assert_eq!(promises(&history), [Promise::Refused]);
}
