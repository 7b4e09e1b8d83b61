//! Ending sessions: who is ended, how it is counted, and what stays.

use std::sync::Arc;

use hallpass_core::store::{Change, ChangeKind, Filter, Record, Revocation, RevokeOutcome, Target};
use hallpass_core::{Actor, ActorKind, EndReason, Ended, SessionId, State, Store, Timestamp};

use super::given::{Given, at_once, ended, everything, of_user};
use crate::builders::{DAY, HOUR, Records, T0, user};

/// What a revocation answers that found nothing to end.
const NOTHING: RevokeOutcome = RevokeOutcome { ended: Some(0), position: 0 };
/// What `Others` answers when the session to keep is not one of the user's live ones.
const NO_KEEP: RevokeOutcome = RevokeOutcome { ended: None, position: 0 };

fn one(id: hallpass_core::SessionId, owner: Option<&str>) -> Target {
    Target::Session { id, owner: owner.map(user) }
}

/// The owner ends one session: that one alone, with who, when and why, and one entry in the log.
pub async fn the_owner_ends_one(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    let (other, stranger) = (given.live("alice").await, given.live("bob").await);
    let id = record.session.id;
    let now = T0.plus(HOUR);
    let outcome = given.revoke(one(id, Some("alice")), now, EndReason::Revoked).await;
    assert_eq!(outcome, RevokeOutcome { ended: Some(1), position: 1 });
    let mut expected = record.clone();
    expected.session.state = ended(now, EndReason::Revoked);
    assert_eq!(given.found(id).await, expected, "the state alone changed");
    assert_eq!(given.found(other.session.id).await, other);
    assert_eq!(given.found(stranger.session.id).await, stranger);
    assert_eq!(given.log().await, [Change { position: 1, kind: ChangeKind::Ended(id), at: now }]);
}

/// Without an owner in the target it is ended whoever it belongs to.
pub async fn an_operator_ends_one_of_anybody(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    let other = given.live("alice").await;
    let outcome = given.revoke(one(record.session.id, None), T0, EndReason::Revoked).await;
    assert_eq!(outcome, RevokeOutcome { ended: Some(1), position: 1 });
    assert!(!given.is_live(record.session.id, T0).await);
    assert!(given.is_live(other.session.id, T0).await);
}

/// Somebody else's session is answered like an unknown one, and nothing happens to it (A15).
pub async fn a15_a_foreign_session_is_left_alone(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    let own = given.live("mallory").await;
    for stranger in ["mallory", "Alice", "alice ", "alic", "al%", "nobody"] {
        let outcome = given.revoke(one(record.session.id, Some(stranger)), T0, EndReason::Revoked).await;
        assert_eq!(outcome, NOTHING, "{stranger:?} is not the owner");
    }
    let unknown = Records::seeded(2).record("alice", T0).session.id;
    for owner in [None, Some("alice")] {
        assert_eq!(given.revoke(one(unknown, owner), T0, EndReason::Revoked).await, NOTHING, "an unknown id");
    }
    assert_eq!(given.found(record.session.id).await, record);
    assert_eq!(given.found(own.session.id).await, own);
    assert_eq!(given.store.find(unknown).await.unwrap(), None);
    assert_eq!(given.head().await, 0, "nothing was logged");
}

/// A second end is none: 0, no entry, and the first reason stays.
pub async fn it_ends_only_once(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    let id = record.session.id;
    given.end(id, T0, EndReason::SignedOut).await;
    for (target, nothing) in [
        (one(id, None), NOTHING),
        (one(id, Some("alice")), NOTHING),
        (Target::User(user("alice")), NOTHING),
        (Target::Others { user: user("alice"), keep: id }, NO_KEEP),
    ] {
        let outcome = given.revoke(target.clone(), T0.plus(HOUR), EndReason::UserDisabled).await;
        assert_eq!(outcome, nothing, "{target:?}");
        assert_eq!(given.state(id).await, ended(T0, EndReason::SignedOut), "{target:?}");
    }
    assert_eq!(given.head().await, 1, "one end, one entry");
    given.revoke(Target::Everyone, T0.plus(HOUR), EndReason::RevokedEveryone).await;
    given.settle(10).await;
    assert_eq!(given.state(id).await, ended(T0, EndReason::SignedOut), "not even everyone's");
}

/// Of many requests that end one session at once, one ends it.
pub async fn sixteen_at_once_end_it_once(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let id = given.live("alice").await.session.id;
    let outcomes = at_once(16, |i| {
        let given = given.clone();
        let now = T0.plus(u32::try_from(i).unwrap() * HOUR);
        async move { (now, given.end(id, now, EndReason::Revoked).await) }
    })
    .await;
    let winners: Vec<Timestamp> =
        outcomes.iter().filter(|(_, outcome)| *outcome != NOTHING).map(|(now, _)| *now).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    assert_eq!(given.state(id).await, ended(winners[0], EndReason::Revoked), "as the winner wrote it");
    assert_eq!(given.log().await.len(), 1);
}

/// What has passed a deadline is ended, so that no clock which is behind revives it, but it is not counted.
pub async fn an_expired_session_is_ended_and_not_counted(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let targets: [fn(SessionId) -> Target; 3] =
        [|id| one(id, Some("alice")), |id| one(id, None), |_| Target::User(user("alice"))];
    for target in targets {
        let expired = given.expired("alice").await;
        let (id, head) = (expired.session.id, given.head().await);
        let outcome = given.revoke(target(id), T0, EndReason::Revoked).await;
        assert_eq!(outcome, RevokeOutcome { ended: Some(0), position: head + 1 }, "{:?}", target(id));
        assert_eq!(given.state(id).await, ended(T0, EndReason::Revoked), "{:?}", target(id));
        assert_eq!(given.revoke(target(id), T0, EndReason::SignedOut).await, NOTHING, "only once");
    }
    let kept = given.expired("alice").await;
    let head = given.head().await;
    let others = Target::Others { user: user("alice"), keep: kept.session.id };
    assert_eq!(given.revoke(others, T0, EndReason::RevokedOthers).await, NO_KEEP);
    assert_eq!(given.head().await, head, "nothing was logged");
    given.live("alice").await;
    let outcome = given.revoke(Target::User(user("alice")), T0, EndReason::RevokedUser).await;
    assert_eq!(outcome.ended, Some(1), "beside a live one it is not counted at its own millisecond");
}

/// A59: a revocation by a clock that is ahead, for which all sessions have expired, holds for a clock that is behind.
pub async fn a59_no_clock_decides_about_a_revocation(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let ahead = T0.plus(DAY * 400);
    let targets: [fn(SessionId) -> Target; 3] =
        [|id| one(id, Some("alice")), |id| one(id, None), |_| Target::User(user("alice"))];
    for target in targets {
        let live = given.live("alice").await;
        let id = live.session.id;
        assert!(live.session.is_live_at(T0) && !live.session.is_live_at(ahead));
        assert_eq!(given.revoke(target(id), ahead, EndReason::Revoked).await.ended, Some(0), "{:?}", target(id));
        assert_eq!(given.state(id).await, ended(ahead, EndReason::Revoked), "{:?}", target(id));
        assert_eq!(given.count(&of_user("alice"), T0).await, 0, "{:?}", target(id));
    }
}

/// "Sign out all other devices" keeps exactly the one, and touches nobody else.
pub async fn others_keeps_exactly_one(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let mut own = Vec::new();
    for _ in 0..5 {
        own.push(given.live("alice").await);
    }
    let foreign = [given.live("Alice").await, given.live("bob").await];
    let history = given.signed_out("alice").await;
    given.expired("alice").await;
    let keep = own.remove(2);
    let now = T0.plus(HOUR);
    let target = Target::Others { user: user("alice"), keep: keep.session.id };
    let head = given.head().await;
    let outcome = given.revoke(target.clone(), now, EndReason::RevokedOthers).await;
    assert_eq!(outcome, RevokeOutcome { ended: Some(4), position: head + 1 }, "the live others are counted");
    for settled in [false, true] {
        for other in &own {
            let state = given.state(other.session.id).await;
            assert_eq!(state, ended(now, EndReason::RevokedOthers), "settled: {settled}");
        }
        assert_eq!(given.found(keep.session.id).await, keep, "kept as it was; settled: {settled}");
        assert_eq!(given.ids(&of_user("alice"), now).await, [keep.session.id], "settled: {settled}");
        assert_eq!(given.count(&of_user("alice"), now).await, 1, "settled: {settled}");
        for record in foreign.iter().chain([&history]) {
            assert_eq!(given.found(record.session.id).await, *record, "settled: {settled}");
        }
        given.settle(2).await;
    }
    let change = Change { position: head + 1, kind: ChangeKind::User(user("alice")), at: now };
    assert_eq!(given.log().await.last(), Some(&change), "one entry for all of them");
    assert_eq!(given.revoke(target, now, EndReason::RevokedOthers).await, NOTHING, "there are no others any more");
    assert_eq!(given.head().await, head + 1);
}

/// Nothing is ended when the session to keep is not a live one of the user.
pub async fn others_needs_a_live_session_of_ones_own(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let alice = given.live("alice").await;
    let bob = given.live("bob").await;
    let marked = given.live("carol").await;
    given.revoke(Target::User(user("carol")), T0, EndReason::RevokedUser).await;
    let carol = given.live("carol").await;
    let keeps = [
        ("ended", "alice", given.signed_out("alice").await.session.id),
        ("expired", "alice", given.expired("alice").await.session.id),
        ("foreign", "alice", bob.session.id),
        ("foreign in capitals", "Alice", alice.session.id),
        ("unknown", "alice", Records::seeded(2).record("alice", T0).session.id),
        ("behind a mark", "carol", marked.session.id),
    ];
    let head = given.head().await;
    let before = given.list(&everything(), 100, T0).await;
    for (which, owner, keep) in keeps {
        let target = Target::Others { user: user(owner), keep };
        assert_eq!(given.revoke(target, T0, EndReason::RevokedOthers).await, NO_KEEP, "{which}");
    }
    for record in [&alice, &bob, &carol] {
        assert!(given.is_live(record.session.id, T0).await, "nobody was ended");
    }
    assert_eq!(given.list(&everything(), 100, T0).await, before, "nothing changed");
    assert_eq!(given.head().await, head, "nothing was logged");
}

/// All of a user's sessions end in one entry; the count is of the live ones, and other users stay.
pub async fn a_user_is_ended_whole(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let mut own = Vec::new();
    for n in 0..4_u32 {
        let mut record = given.records.record("alice", T0);
        record.session.class = [hallpass_core::Class::WEB, hallpass_core::Class::API][n as usize % 2].clone();
        given.create(&record).await;
        own.push(record);
    }
    let history = given.signed_out("alice").await;
    given.expired("alice").await;
    let strangers = [given.live("Alice").await, given.live("alice ").await];
    let head = given.head().await;
    let now = T0.plus(HOUR);
    let outcome = given.revoke(Target::User(user("alice")), now, EndReason::CredentialsChanged).await;
    assert_eq!(outcome, RevokeOutcome { ended: Some(4), position: head + 1 }, "all classes, only live ones");
    for settled in [false, true] {
        for record in &own {
            let mut expected = record.clone();
            expected.session.state = ended(now, EndReason::CredentialsChanged);
            assert_eq!(given.found(record.session.id).await, expected, "settled: {settled}");
        }
        assert_eq!(given.count(&of_user("alice"), now).await, 0, "settled: {settled}");
        assert_eq!(given.ids(&of_user("alice"), now).await, [], "settled: {settled}");
        for record in strangers.iter().chain([&history]) {
            assert_eq!(given.found(record.session.id).await, *record, "settled: {settled}");
        }
        given.settle(3).await;
    }
    let change = Change { position: head + 1, kind: ChangeKind::User(user("alice")), at: now };
    assert_eq!(given.log().await.last(), Some(&change));
    let again = given.revoke(Target::User(user("alice")), now, EndReason::RevokedUser).await;
    assert_eq!(again, NOTHING, "nobody is left to end");
    assert_eq!(given.revoke(Target::User(user("nobody")), now, EndReason::RevokedUser).await, NOTHING);
    assert_eq!(given.head().await, head + 1);
}

/// Everybody's sessions end in one entry, uncounted.
pub async fn everyone_is_ended(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let mut records = Vec::new();
    for user in ["alice", "alice", "bob", "carol"] {
        records.push(given.live(user).await);
    }
    let history = given.signed_out("bob").await;
    let now = T0.plus(HOUR);
    let outcome = given.revoke(Target::Everyone, now, EndReason::RevokedEveryone).await;
    assert_eq!(outcome, RevokeOutcome { ended: None, position: 2 });
    for settled in [false, true] {
        for record in &records {
            assert_eq!(given.state(record.session.id).await, ended(now, EndReason::RevokedEveryone), "{settled}");
        }
        assert_eq!(given.found(history.session.id).await, history, "what had ended keeps its reason");
        assert_eq!(given.count(&Filter::default(), now).await, 0);
        assert_eq!(given.ids(&Filter::default(), now).await, []);
        given.settle(3).await;
    }
    assert_eq!(given.log().await.last(), Some(&Change { position: 2, kind: ChangeKind::Everyone, at: now }));
}

/// Who, when and why are kept for every reason, kind of actor and target, at the bounds.
pub async fn every_reason_and_actor_is_kept(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let actors = [
        Actor { kind: ActorKind::User, name: "\u{1F511}".repeat(63) },
        Actor { kind: ActorKind::Operator, name: "x".repeat(255) },
        Actor { kind: ActorKind::System, name: String::from("rule '; -- \"") },
        Actor { kind: ActorKind::Operator, name: String::new() },
    ];
    for (i, reason) in EndReason::ALL.into_iter().enumerate() {
        for (j, by) in actors.iter().enumerate() {
            let name = format!("user-{i}-{j}");
            let record = given.live(&name).await;
            let target = match (i + j) % 3 {
                0 => one(record.session.id, None),
                1 => Target::User(user(&name)),
                _ => Target::Others { user: user(&name), keep: given.live(&name).await.session.id },
            };
            let now = T0.plus(u32::try_from(i).unwrap() * DAY);
            let revocation = Revocation { target: target.clone(), now, by: by.clone(), reason };
            assert_eq!(given.store.revoke(&revocation).await.unwrap().ended, Some(1), "{target:?}");
            let expected = State::Ended(Ended { at: now, by: by.clone(), reason });
            assert_eq!(given.state(record.session.id).await, expected, "{target:?}");
            if j == 0 {
                given.settle(100).await;
                assert_eq!(given.state(record.session.id).await, expected, "{target:?}, settled");
            }
        }
    }
}

/// 2,000 sessions of one user end at once, counted exactly; settling in batches follows, and newer sessions live on.
pub async fn two_thousand_sessions_end_at_once(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let records: Vec<Record> = (0..2_000).map(|_| given.records.record("alice", T0)).collect();
    given.create_all(&records).await;
    for _ in 0..3 {
        given.signed_out("alice").await;
        given.expired("alice").await;
    }
    let bob = given.live("bob").await;
    let now = T0.plus(HOUR);
    assert_eq!(given.count(&of_user("alice"), now).await, 2_000);
    let outcome = given.revoke(Target::User(user("alice")), now, EndReason::UserDisabled).await;
    assert_eq!(outcome.ended, Some(2_000), "the live ones, not the ended and expired ones");
    assert_eq!(given.count(&of_user("alice"), now).await, 0, "in effect before anything is settled");
    let newer = given.live("alice").await;
    given.settle(300).await;
    let mut ends = 0;
    for session in given.list(&Filter { include_ended: true, ..of_user("alice") }, 500, now).await {
        if session.id == newer.session.id {
            assert_eq!(session, newer.session, "settling never touches a newer session");
        } else if session.state == ended(now, EndReason::UserDisabled) {
            ends += 1;
        }
    }
    assert!((2_000..=2_003).contains(&ends), "{ends} sessions show the end");
    assert!(given.is_live(bob.session.id, now).await);
    assert_eq!(given.ids(&of_user("alice"), now).await, [newer.session.id]);
}

/// Requests that end the same sessions at once count each of them once.
pub async fn revocations_at_once_count_each_session_once(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let mut records = Vec::new();
    for _ in 0..12 {
        records.push(given.live("alice").await);
    }
    let outcomes = at_once(12, |i| {
        let (given, id) = (given.clone(), records[i].session.id);
        async move {
            let target = if i % 2 == 0 { Target::User(user("alice")) } else { one(id, Some("alice")) };
            given.revoke(target, T0.plus(HOUR), EndReason::Revoked).await
        }
    })
    .await;
    let total: u64 = outcomes.iter().map(|outcome| outcome.ended.unwrap()).sum();
    assert_eq!(total, 12, "each was ended by exactly one of them: {outcomes:?}");
    let logged = outcomes.iter().filter(|outcome| outcome.position > 0).count();
    assert_eq!(given.log().await.len(), logged, "each that ended something is logged");
    assert!(outcomes.iter().all(|outcome| (outcome.position > 0) == (outcome.ended > Some(0))), "{outcomes:?}");
}
