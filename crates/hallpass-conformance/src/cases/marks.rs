//! Not-before marks: what lies behind one, what does not, and settling.

use std::collections::BTreeMap;
use std::sync::Arc;

use hallpass_core::store::{Filter, Record, Target};
use hallpass_core::{EndReason, SessionId, State, Store};

use super::attempt::assert_stays_dead;
use super::given::{Given, at_once, by_tests, ended, everything, of_user};
use crate::builders::{DAY, HOUR, T0, user};

/// Everything that is kept, by id, as `find` shows it.
async fn snapshot(given: &Given) -> BTreeMap<SessionId, Record> {
    let mut all = BTreeMap::new();
    for id in given.ids(&everything(), T0).await {
        all.insert(id, given.found(id).await);
    }
    all
}

/// A session created after a mark lives, also when the clock of its creator is behind that of the revocation.
pub async fn a_session_created_after_a_mark_lives(store: Arc<dyn Store>) {
    let given = Given::new(store);
    for target in ["user", "others", "everyone"] {
        let old = given.live("alice").await;
        let keep = given.live("alice").await;
        let now = T0.plus(5 * HOUR);
        let target = match target {
            "user" => Target::User(user("alice")),
            "others" => Target::Others { user: user("alice"), keep: keep.session.id },
            _ => Target::Everyone,
        };
        assert_ne!(given.revoke(target.clone(), now, EndReason::RevokedUser).await.position, 0);
        let mut newer = Vec::new();
        for created_at in [now, now.plus(DAY), now.minus(HOUR), T0, T0.minus(DAY)] {
            let record = given.records.record("alice", created_at);
            given.create(&record).await;
            newer.push(record);
        }
        for settled in [false, true] {
            assert!(!given.is_live(old.session.id, now).await, "{target:?}, settled: {settled}");
            for record in &newer {
                assert_eq!(given.found(record.session.id).await, *record, "{target:?}, settled: {settled}");
                assert!(given.is_live(record.session.id, now).await);
            }
            given.settle(2).await;
        }
        given.revoke(Target::User(user("alice")), now, EndReason::RevokedUser).await;
    }
}

/// Behind several marks the first one shows, settled or not; an end of its own that came first stays.
pub async fn what_ended_first_stays(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let mut expected = Vec::new();
    let marks = [
        (Target::User(user("alice")), EndReason::CredentialsChanged),
        (Target::Everyone, EndReason::RevokedEveryone),
        (Target::User(user("alice")), EndReason::UserDisabled),
        (Target::User(user("alice")), EndReason::RevokedUser),
        (Target::Everyone, EndReason::RevokedEveryone),
    ];
    for (n, (target, reason)) in (1_u32..).zip(marks) {
        let now = T0.plus(n * HOUR);
        let before = given.live("alice").await.session.id;
        let own = given.live("alice").await.session.id;
        given.end(own, now, EndReason::SignedOut).await;
        expected.push((own, ended(now, EndReason::SignedOut)));
        expected.push((before, ended(now, reason)));
        assert_ne!(given.revoke(target, now, reason).await.position, 0);
    }
    let newest = given.live("alice").await;
    for settled in [false, true] {
        for (n, (id, state)) in expected.iter().enumerate() {
            assert_eq!(given.state(*id).await, *state, "session {n} keeps its first end, settled: {settled}");
        }
        assert_eq!(given.found(newest.session.id).await, newest, "settled: {settled}");
        given.settle(3).await;
    }
}

/// Settling in batches writes what `find` showed before, and changes nothing else.
pub async fn settling_changes_nothing_that_shows(store: Arc<dyn Store>) {
    let given = Given::new(store);
    for _ in 0..4 {
        for name in ["alice", "bob", "carol"] {
            given.live(name).await;
            given.signed_out(name).await;
            given.expired(name).await;
        }
    }
    let keep = given.live("alice").await.session.id;
    given.revoke(Target::User(user("bob")), T0.plus(HOUR), EndReason::UserDeleted).await;
    given.revoke(Target::Others { user: user("alice"), keep }, T0.plus(2 * HOUR), EndReason::RevokedOthers).await;
    for name in ["alice", "bob", "dave"] {
        given.live(name).await;
    }
    let (before, log) = (snapshot(&given).await, given.log().await);
    let live = given.ids(&Filter::default(), T0).await;
    for batch in [1, 1, 3, 100] {
        given.store.settle(batch, T0.plus(3 * HOUR)).await.unwrap();
        assert_eq!(snapshot(&given).await, before, "after a step of {batch}");
        assert_eq!(given.ids(&Filter::default(), T0).await, live, "after a step of {batch}");
        assert_eq!(given.count(&Filter::default(), T0).await, live.len() as u64);
    }
    given.settle(2).await;
    assert_eq!(snapshot(&given).await, before);
    assert_eq!(given.settle(100).await, 0, "what is settled is settled once");
    assert_eq!(given.log().await, log, "settling is not logged");
}

/// The kept session is an ordinary one afterwards: it survives settling and can be ended by the next revocation.
pub async fn the_kept_session_can_be_ended_later(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let first = given.live("alice").await;
    let keep = given.live("alice").await;
    let others = |keep: &Record| Target::Others { user: user("alice"), keep: keep.session.id };
    given.revoke(others(&keep), T0, EndReason::RevokedOthers).await;
    let newer = given.live("alice").await;
    let outcome = given.revoke(others(&newer), T0.plus(HOUR), EndReason::Revoked).await;
    assert_eq!(outcome.ended, Some(1), "the formerly kept one");
    for settled in [false, true] {
        assert_eq!(given.state(first.session.id).await, ended(T0, EndReason::RevokedOthers), "settled: {settled}");
        let state = given.state(keep.session.id).await;
        assert_eq!(state, ended(T0.plus(HOUR), EndReason::Revoked), "settled: {settled}");
        assert_eq!(given.ids(&of_user("alice"), T0).await, [newer.session.id], "settled: {settled}");
        given.settle(10).await;
    }
    let outcome = given.revoke(Target::User(user("alice")), T0.plus(2 * HOUR), EndReason::RevokedUser).await;
    assert_eq!(outcome.ended, Some(1));
    assert_eq!(given.count(&of_user("alice"), T0).await, 0);
}

/// A mark of a user and a mark of everyone both hold, in either order (A41).
pub async fn a41_both_kinds_of_mark_hold(store: Arc<dyn Store>) {
    let given = Given::new(store);
    for (n, everyone_first) in [(1_u32, false), (2, true)] {
        let (alice, bob) = (format!("alice-{n}"), format!("bob-{n}"));
        let (old_alice, old_bob) = (given.live(&alice).await, given.live(&bob).await);
        let now = T0.plus(n * HOUR);
        let mut targets = [Target::User(user(&alice)), Target::Everyone];
        if everyone_first {
            targets.reverse();
        }
        let mut reasons = [EndReason::RevokedUser, EndReason::RevokedEveryone];
        if everyone_first {
            reasons.reverse();
        }
        let [first, second] = targets;
        given.revoke(first, now, reasons[0]).await;
        let middle = given.live(&alice).await;
        given.revoke(second, now.plus(HOUR), reasons[1]).await;
        let newest = given.live(&alice).await;
        for settled in [false, true] {
            assert_eq!(given.state(old_alice.session.id).await, ended(now, reasons[0]), "settled: {settled}");
            let middle_state = given.state(middle.session.id).await;
            assert_eq!(middle_state, ended(now.plus(HOUR), reasons[1]), "settled: {settled}");
            assert!(!given.is_live(old_bob.session.id, T0).await, "settled: {settled}");
            assert!(given.is_live(newest.session.id, T0).await, "settled: {settled}");
            given.settle(1).await;
        }
    }
}

/// What lies behind a mark is refused by every verb before it is settled, while a sweep step by step removes around it, and after.
pub async fn a06_nothing_wakes_what_lies_behind_a_mark(store: Arc<dyn Store>) {
    let given = Given::new(store);
    for settle_first in [false, true] {
        for target in [Target::User(user("alice")), Target::Everyone] {
            let older = given.live("alice").await;
            given.revoke(target.clone(), T0, EndReason::RevokedUser).await;
            if settle_first {
                given.settle(100).await;
            }
            let State::Ended(end) = given.state(older.session.id).await else {
                panic!("{target:?} ended the session");
            };
            assert_eq!(end.by, by_tests());
            let context = format!("{target:?}, settled first: {settle_first}");
            assert_stays_dead(&given, &older, &end, T0.plus(HOUR), &context).await;
        }
    }
}

/// A creation races with a revocation of its user: what was created before it is dead, what was begun after it lives.
pub async fn creations_race_with_a_revocation(store: Arc<dyn Store>) {
    use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
    let given = Given::new(store);
    for round in 0..5_u64 {
        let name = format!("alice-{round}");
        // 0: not begun, 1: begun, 2: acknowledged.
        let phase = Arc::new(AtomicU8::new(0));
        let created = at_once(5, |i| {
            let (given, name, phase) = (given.clone(), name.clone(), Arc::clone(&phase));
            async move {
                let mut created = Vec::new();
                if i == 0 {
                    for _ in 0..given.records.below(20) {
                        given.count(&of_user(&name), T0).await;
                    }
                    phase.store(1, SeqCst);
                    given.revoke(Target::User(user(&name)), T0.plus(HOUR), EndReason::RevokedUser).await;
                    phase.store(2, SeqCst);
                }
                for _ in 0..6 {
                    let begun = phase.load(SeqCst);
                    let id = given.live(&name).await.session.id;
                    created.push((id, begun, phase.load(SeqCst)));
                }
                created
            }
        })
        .await;
        for settled in [false, true] {
            for (id, begun, done) in created.iter().flatten() {
                let live = given.is_live(*id, T0).await;
                assert!(*done != 0 || !live, "round {round}: created before the revocation began, yet alive");
                assert!(*begun != 2 || live, "round {round}: begun after the revocation was acknowledged, yet dead");
            }
            let live = created.iter().flatten().map(|(id, ..)| given.is_live(*id, T0));
            let mut alive = 0;
            for live in live {
                alive += u64::from(live.await);
            }
            assert_eq!(given.count(&of_user(&name), T0).await, alive, "settled: {settled}");
            given.settle(3).await;
        }
    }
}
