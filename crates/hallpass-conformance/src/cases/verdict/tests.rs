//! One history for each thing that cannot be, made by hand: broken stores do several wrong things at once.

use hallpass_core::{Timestamp, UserId};

use super::*;
use crate::builders::{Records, T0, user};

/// A history under construction: each call is begun and answered before the next one, unless it says otherwise.
struct Told {
    calls: Vec<Call>,
    outcome: Outcome,
    clock: u64,
    records: Records,
}

impl Told {
    fn new() -> Self {
        let outcome = Outcome { rows: BTreeMap::new(), base: 10, log: Vec::new(), head: 10, swept: false };
        Self { calls: Vec::new(), outcome, clock: 0, records: Records::seeded(1) }
    }

    fn call(&mut self, what: What) {
        self.clock += 2;
        self.calls.push(Call { begun: self.clock, answered: self.clock + 1, what });
    }

    /// The last call took so much longer that it overlaps the one before.
    fn overlapping(&mut self) -> &mut Self {
        if let [.., before, last] = &mut self.calls[..] {
            last.begun = before.begun;
            before.answered = last.answered;
        }
        self
    }

    fn logged(&mut self, kind: ChangeKind) -> u64 {
        self.outcome.head += 1;
        self.outcome.log.push(Change { position: self.outcome.head, kind, at: T0 });
        self.outcome.head
    }

    fn created(&mut self) -> SessionId {
        let record = self.records.record("alice", T0);
        let id = record.session.id;
        self.outcome.rows.insert(id, record.clone());
        self.call(What::Created { record: Box::new(record), evicted: Vec::new() });
        id
    }

    fn revoked(&mut self, target: Target, ended: Option<u64>, position: u64) {
        let by = Actor::operator(format!("revoker {}", self.clock + 2));
        let revocation = Revocation { target, now: T0, by, reason: EndReason::Revoked };
        self.call(What::Revoked { revocation, outcome: RevokeOutcome { ended, position } });
    }

    /// Ended, logged, and written into the rows: as it should be.
    fn ended(&mut self, target: Target, ids: &[SessionId]) {
        let kind = match &target {
            Target::Session { id, .. } => ChangeKind::Ended(*id),
            Target::User(user) | Target::Others { user, .. } => ChangeKind::User(user.clone()),
            _ => ChangeKind::Everyone,
        };
        let counted = (target != Target::Everyone).then_some(ids.len() as u64);
        let position = self.logged(kind);
        self.revoked(target, counted, position);
        for id in ids {
            self.set_ended(*id, self.clock);
        }
    }

    /// The row says that the revocation begun then ended it.
    fn set_ended(&mut self, id: SessionId, begun: u64) {
        let by = Actor::operator(format!("revoker {begun}"));
        self.row(id).session.state = State::Ended(Ended { at: T0, by, reason: EndReason::Revoked });
    }

    fn row(&mut self, id: SessionId) -> &mut Record {
        self.outcome.rows.get_mut(&id).unwrap()
    }

    fn rotated(&mut self, id: SessionId) {
        let (old, new) = (self.row(id).token_hash, self.records.hash());
        self.row(id).token_hash = new;
        self.logged(ChangeKind::Changed(id));
        self.call(What::Rotated { id, old, new });
    }

    fn changed(&mut self, id: SessionId) {
        self.row(id).session.attributes_version += 1;
        self.logged(ChangeKind::Changed(id));
        self.call(What::Changed { id });
    }

    fn alive(&mut self, id: SessionId) {
        self.call(What::Lives { id, how: "found" });
    }

    fn dead(&mut self, id: SessionId) {
        self.call(What::Dead { id, how: "found" });
    }

    #[track_caller]
    fn is_right(&self) {
        assert_eq!(judge(&self.calls, &self.outcome), Vec::<String>::new());
    }

    #[track_caller]
    fn is_wrong(&self, expected: &str) {
        let wrong = judge(&self.calls, &self.outcome);
        assert!(wrong.len() == 1 && wrong[0].contains(expected), "expected {expected:?}, judged {wrong:#?}");
    }
}

fn alice() -> UserId {
    user("alice")
}

fn one(id: SessionId) -> Target {
    Target::Session { id, owner: Some(alice()) }
}

#[test]
fn what_the_contract_allows_is_right() {
    let mut told = Told::new();
    let (first, second, third) = (told.created(), told.created(), told.created());
    told.alive(first);
    told.rotated(first);
    told.rotated(first);
    told.changed(second);
    told.ended(one(first), &[first]);
    told.dead(first);
    told.revoked(one(first), Some(0), 0);
    told.revoked(Target::Session { id: second, owner: Some(user("bob")) }, Some(0), 0);
    told.alive(second);
    told.ended(Target::Others { user: alice(), keep: second }, &[third]);
    told.alive(second);
    told.revoked(Target::Others { user: alice(), keep: third }, None, 0);
    told.rotated(second);
    told.ended(Target::User(alice()), &[second]);
    let fourth = told.created();
    told.ended(Target::User(user("bob")), &[]);
    told.alive(fourth);
    told.is_right();
    told.ended(Target::Everyone, &[fourth]);
    told.dead(fourth);
    told.is_right();
}

#[test]
fn what_overlaps_may_have_come_in_either_order() {
    for dies in [false, true] {
        let mut told = Told::new();
        let id = told.created();
        let position = told.logged(ChangeKind::User(alice()));
        told.revoked(Target::User(alice()), Some(u64::from(dies)), position);
        let begun = told.clock;
        told.overlapping();
        // The revocation took its name from the time at which it would have begun.
        if dies {
            told.set_ended(id, begun);
        }
        told.is_right();
        told.alive(id);
        if dies {
            told.overlapping().is_right();
        } else {
            told.is_right();
        }
    }
}

#[test]
fn the_log_has_no_gap_and_no_twin() {
    let mut told = Told::new();
    let id = told.created();
    told.outcome.head += 1;
    told.ended(one(id), &[id]);
    told.is_wrong("not gapless");

    let mut told = Told::new();
    let id = told.created();
    told.ended(one(id), &[id]);
    told.outcome.head += 1;
    told.is_wrong("not gapless");

    let mut told = Told::new();
    told.ended(Target::Everyone, &[]);
    told.revoked(Target::Everyone, None, 11);
    told.is_wrong("given out twice");
}

#[test]
fn the_log_holds_what_was_acknowledged_and_nothing_else() {
    let mut told = Told::new();
    told.logged(ChangeKind::Everyone);
    told.is_wrong("nobody was told of");

    let mut told = Told::new();
    let position = told.logged(ChangeKind::User(user("bob")));
    told.revoked(Target::User(user("Bob")), Some(0), position);
    told.is_wrong("but the log holds");

    let mut told = Told::new();
    told.ended(Target::Everyone, &[]);
    told.outcome.log[0].at = Timestamp::EPOCH;
    told.is_wrong("but the log holds");

    let mut told = Told::new();
    let id = told.created();
    told.rotated(id);
    told.outcome.log.clear();
    told.outcome.head = told.outcome.base;
    told.is_wrong("is not in the log");

    let mut told = Told::new();
    let id = told.created();
    told.revoked(Target::User(alice()), Some(1), 0);
    told.set_ended(id, told.clock);
    assert!(judge(&told.calls, &told.outcome).iter().any(|wrong| wrong.contains("took no position")));
}

#[test]
fn the_dead_stay_dead() {
    let mut told = Told::new();
    let id = told.created();
    told.ended(Target::User(alice()), &[id]);
    told.alive(id);
    told.is_wrong("alive again");

    // Seen dead while the revocation was under way, then alive.
    let mut told = Told::new();
    let id = told.created();
    told.dead(id);
    told.alive(id);
    let position = told.logged(ChangeKind::Ended(id));
    told.revoked(one(id), Some(1), position);
    told.set_ended(id, told.clock);
    told.calls[3].begun = 0;
    told.is_wrong("alive again");

    // Whoever keeps it says that it lives.
    let mut told = Told::new();
    let (id, _) = (told.created(), told.created());
    told.ended(one(id), &[id]);
    told.revoked(Target::Others { user: alice(), keep: id }, Some(0), 0);
    assert!(judge(&told.calls, &told.outcome).iter().any(|wrong| wrong.contains("alive again")));

    let mut told = Told::new();
    let id = told.created();
    told.ended(Target::User(alice()), &[id]);
    told.row(id).session.state = State::Live;
    assert!(judge(&told.calls, &told.outcome).iter().any(|wrong| wrong.contains("alive in the end")));
}

#[test]
fn nothing_dies_alone() {
    let mut told = Told::new();
    let id = told.created();
    told.dead(id);
    told.is_wrong("nothing had ended it");

    // Neither of what was over before it was created, nor of what spared it.
    let mut told = Told::new();
    told.ended(Target::User(alice()), &[]);
    let id = told.created();
    told.ended(Target::Others { user: alice(), keep: id }, &[]);
    told.ended(Target::User(user("bob")), &[]);
    told.revoked(Target::Session { id, owner: Some(user("bob")) }, Some(0), 0);
    told.dead(id);
    told.is_wrong("nothing had ended it");
}

#[test]
fn an_end_has_an_author_and_the_first_one() {
    let mut told = Told::new();
    let id = told.created();
    told.ended(one(id), &[id]);
    told.ended(Target::Everyone, &[id]);
    assert!(judge(&told.calls, &told.outcome).iter().any(|wrong| wrong.contains("though it had ended at 11")));

    let mut told = Told::new();
    told.ended(Target::Everyone, &[]);
    let early = told.clock;
    let id = told.created();
    told.set_ended(id, early);
    told.is_wrong("which nobody wrote");
}

#[test]
fn nothing_is_written_after_the_end() {
    let mut told = Told::new();
    let id = told.created();
    told.ended(one(id), &[id]);
    told.rotated(id);
    let last = told.calls.len() - 1;
    // It overlapped the revocation, but its commit came later.
    told.calls[last].begun = 0;
    told.is_wrong("which says");
}

#[test]
fn rotations_are_one_chain_and_changes_are_counted() {
    let mut told = Told::new();
    let id = told.created();
    told.rotated(id);
    told.row(id).token_hash = told.records.hash();
    told.is_wrong("do not lead");

    let mut told = Told::new();
    let id = told.created();
    let first = told.row(id).token_hash;
    told.rotated(id);
    told.row(id).token_hash = first;
    told.rotated(id);
    told.is_wrong("replaced the same token");

    let mut told = Told::new();
    let id = told.created();
    told.changed(id);
    told.row(id).session.attributes_version += 1;
    told.is_wrong("led to 2");
}

#[test]
fn each_end_counts_its_own() {
    for (counted, expected) in [(Some(0), "counted Some(0) and ended 1"), (None, "counted None and ended 1")] {
        let mut told = Told::new();
        let id = told.created();
        let position = told.logged(ChangeKind::User(alice()));
        told.revoked(Target::User(alice()), counted, position);
        told.set_ended(id, told.clock);
        told.is_wrong(expected);
        told.outcome.swept = true;
        told.is_right();
    }
}

#[test]
fn a_row_leaves_by_a_sweep_alone() {
    let mut told = Told::new();
    let id = told.created();
    told.outcome.rows.remove(&id);
    told.is_wrong("though nothing removed it");
    told.outcome.swept = true;
    told.is_right();
}

#[test]
fn an_eviction_is_an_end() {
    let mut told = Told::new();
    let old = told.created();
    let new = told.records.record("alice", T0);
    told.outcome.rows.insert(new.session.id, new.clone());
    told.logged(ChangeKind::Ended(old));
    told.call(What::Created { record: Box::new(new), evicted: vec![old] });
    told.row(old).session.state =
        State::Ended(Ended { at: T0, by: Actor::system("max_per_user"), reason: EndReason::Limit });
    told.dead(old);
    told.is_right();
    told.alive(old);
    told.is_wrong("alive again");
    told.calls.pop();
    told.outcome.log.clear();
    told.outcome.head = told.outcome.base;
    assert!(judge(&told.calls, &told.outcome).iter().any(|wrong| wrong.contains("is not in the log")));
}
