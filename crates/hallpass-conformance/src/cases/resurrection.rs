//! No resurrection (G5, A06): every verb against every kind of revocation, before, after and across it, then in storms.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hallpass_core::store::{Created, Limit, Record, Revocation, Target};
use hallpass_core::{Actor, EndReason, Ended, State, Store, Timestamp};

use super::attempt::{Answer, Attempt, assert_stays_dead};
use super::given::{Given, at_once, by_tests};
use crate::builders::{HOUR, MINUTE, T0};

/// The ways in which a session is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Session,
    Others,
    User,
    Everyone,
    Limit,
}

/// When the verb runs, relative to the revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Before it.
    Before,
    /// After it, with arguments read after it.
    After,
    /// After it, with arguments read before it: a request that was in flight.
    Across,
}

impl Kind {
    /// Ends the session by this kind, and answers the end that must show. `keep` is another session of the same user.
    async fn end(self, given: &Given, victim: &Record, keep: &Record, now: Timestamp) -> Ended {
        let user = victim.session.user.clone();
        let (target, reason) = match self {
            Self::Session => (Target::Session { id: victim.session.id, owner: Some(user) }, EndReason::SignedOut),
            Self::Others => (Target::Others { user, keep: keep.session.id }, EndReason::RevokedOthers),
            Self::User => (Target::User(user), EndReason::CredentialsChanged),
            Self::Everyone => (Target::Everyone, EndReason::RevokedEveryone),
            Self::Limit => {
                let new = given.records.record(victim.session.user.as_str(), now);
                let limit = Limit {
                    max: 2,
                    refuse: false,
                    renewed_after: Timestamp::EPOCH,
                    authenticated_after: Timestamp::EPOCH,
                };
                let created = given.store.create(&new, now, Some(limit)).await.unwrap();
                assert_eq!(created, Created::Created { evicted: vec![victim.session.id] });
                return Ended { at: now, by: Actor::system("max_per_user"), reason: EndReason::Limit };
            }
        };
        let outcome = given.store.revoke(&Revocation { target, now, by: by_tests(), reason }).await.unwrap();
        assert_ne!(outcome.position, 0, "{self:?} ended something");
        Ended { at: now, by: by_tests(), reason }
    }
}

/// The oldest session of a user of its own, and another one.
async fn pair(given: &Given, user: &str) -> (Record, Record) {
    let victim = given.live(user).await;
    let keep = given.records.record(user, T0.plus(MINUTE));
    given.create(&keep).await;
    (victim, keep)
}

async fn every_verb_in_every_order(store: Arc<dyn Store>, kind: Kind) {
    let given = Given::new(store);
    for attempt in Attempt::ALL {
        for order in [Order::Before, Order::After, Order::Across] {
            let context = format!("{kind:?} with {attempt:?} {order:?}");
            let (victim, keep) = pair(&given, &context).await;
            let now = T0.plus(HOUR);
            if order == Order::Before {
                let expected = if attempt.writes_to_the_living() { Answer::Written } else { Answer::Refused };
                assert_eq!(attempt.run(&given, &victim, now).await, expected, "{context}: while it lives");
            }
            let end = kind.end(&given, &victim, &keep, now).await;
            let read = if order == Order::After { given.found(victim.session.id).await } else { victim.clone() };
            let answer = attempt.run(&given, &read, now.plus(MINUTE)).await;
            assert_eq!(answer, Answer::Refused, "{context}");
            assert_stays_dead(&given, &victim, &end, now.plus(HOUR), &context).await;
            if kind == Kind::Others {
                assert_eq!(given.found(keep.session.id).await, keep, "{context}: the kept one is untouched");
            }
            // A clock that is behind does not wake it either.
            assert_stays_dead(&given, &victim, &end, T0.plus(MINUTE), &context).await;
            given.settle(1).await;
            assert_stays_dead(&given, &victim, &end, now.plus(HOUR), &context).await;
        }
    }
}

/// Ended by its id: every verb, before, after and across.
pub async fn g5_after_one_is_revoked(store: Arc<dyn Store>) {
    every_verb_in_every_order(store, Kind::Session).await;
}

/// Ended by "sign out all other devices": every verb, before, after and across.
pub async fn g5_after_others_are_revoked(store: Arc<dyn Store>) {
    every_verb_in_every_order(store, Kind::Others).await;
}

/// Ended with all of the user's: every verb, before, after and across.
pub async fn g5_after_the_user_is_revoked(store: Arc<dyn Store>) {
    every_verb_in_every_order(store, Kind::User).await;
}

/// Ended with everybody's: every verb, before, after and across.
pub async fn g5_after_everyone_is_revoked(store: Arc<dyn Store>) {
    every_verb_in_every_order(store, Kind::Everyone).await;
}

/// Pushed out by the limit: every verb, before, after and across.
pub async fn g5_after_the_limit_pushed_it_out(store: Arc<dyn Store>) {
    every_verb_in_every_order(store, Kind::Limit).await;
}

/// One task for each verb works on a session until it is refused, while one more revokes it at some moment.
async fn storms(store: Arc<dyn Store>, kind: Kind) {
    const STORMS: u64 = 8;
    /// More than a verb gets done before the revocation.
    const MOST_TURNS: u32 = 60;
    let given = Given::new(store);
    for storm in 0..STORMS {
        let context = format!("{kind:?}, storm {storm}");
        let (victim, keep) = pair(&given, &context).await;
        let revoked = Arc::new(AtomicBool::new(false));
        let now = T0.plus(HOUR);
        let ends = at_once(Attempt::ALL.len() + 1, |i| {
            let (given, victim, keep) = (given.clone(), victim.clone(), keep.clone());
            let (revoked, context) = (Arc::clone(&revoked), context.clone());
            async move {
                let Some(attempt) = Attempt::ALL.get(i).copied() else {
                    for _ in 0..given.records.below(12) {
                        given.found(victim.session.id).await;
                    }
                    let end = kind.end(&given, &victim, &keep, now).await;
                    revoked.store(true, Ordering::SeqCst);
                    return Some(end);
                };
                let mut read = victim.clone();
                for turn in 0..MOST_TURNS {
                    let begun_after = revoked.load(Ordering::SeqCst);
                    let answer = attempt.run(&given, &read, now.plus(turn * MINUTE)).await;
                    if begun_after {
                        assert_eq!(answer, Answer::Refused, "{context}: {attempt:?} begun after the revocation");
                        break;
                    }
                    // Every second turn works from an old reading.
                    if turn % 2 == 0 {
                        read = given.found(victim.session.id).await;
                    }
                }
                None
            }
        })
        .await;
        let end = ends.into_iter().flatten().next().expect("one of the tasks revoked");
        assert!(matches!(given.state(victim.session.id).await, State::Ended(_)), "{context}");
        assert_stays_dead(&given, &victim, &end, now.plus(HOUR), &context).await;
        given.settle(2).await;
        assert_stays_dead(&given, &victim, &end, now.plus(HOUR), &context).await;
    }
}

/// All verbs at once against a revocation by id.
pub async fn g5_storms_around_one(store: Arc<dyn Store>) {
    storms(store, Kind::Session).await;
}

/// All verbs at once against "sign out all other devices".
pub async fn g5_storms_around_others(store: Arc<dyn Store>) {
    storms(store, Kind::Others).await;
}

/// All verbs at once against a revocation of the user.
pub async fn g5_storms_around_the_user(store: Arc<dyn Store>) {
    storms(store, Kind::User).await;
}

/// All verbs at once against a revocation of everyone.
pub async fn g5_storms_around_everyone(store: Arc<dyn Store>) {
    storms(store, Kind::Everyone).await;
}

/// All verbs at once against a creation that pushes the session out.
pub async fn g5_storms_around_the_limit(store: Arc<dyn Store>) {
    storms(store, Kind::Limit).await;
}
