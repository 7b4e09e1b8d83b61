//! What one handle acknowledged, every other one shows at once (G1).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hallpass_core::store::{Created, Record, Sweep, Target};
use hallpass_core::{EndReason, SessionId, State, Store};

use crate::builders::{DAY, HOUR, T0, user};
use crate::cases::attempt::{Answer, Attempt, assert_stays_dead};
use crate::cases::given::{Given, SWEEP_NOTHING, at_once, ended, of_user};
use crate::cases::journal::{Journal, What};
use crate::cases::verdict::{Outcome, judge};

/// How often each is tried: a handle may be late only sometimes.
const ROUNDS: usize = 10;

/// The handle that writes in this round, and those that look.
fn roles(given: &[Given], round: usize) -> (&Given, Vec<&Given>) {
    let writer = round % given.len();
    let readers = given.iter().enumerate().filter(|(n, _)| *n != writer || given.len() == 1);
    (&given[writer], readers.map(|(_, given)| given).collect())
}

/// All look at once, so that none has time to hear of it otherwise.
async fn all_find(readers: &[&Given], expected: &Record, context: &str) {
    for reader in readers {
        assert_eq!(reader.check(expected.session.id).await.as_ref(), Some(expected), "{context}, checked by another");
        assert_eq!(reader.found(expected.session.id).await, *expected, "{context}, through another handle");
    }
}

/// Creations, renewals, rotations, labels, attributes and last uses.
pub async fn g1_every_write_shows_through_the_others_at_once(handles: Vec<Arc<dyn Store>>) {
    let given = Given::on(handles);
    for round in 0..ROUNDS {
        let (writer, readers) = roles(&given, round);
        let name = format!("alice {round}");
        let record = writer.records.record(&name, T0);
        for reader in &readers {
            assert_eq!(reader.store.find(record.session.id).await.unwrap(), None, "nobody created it yet");
            assert_eq!(reader.check(record.session.id).await, None, "nobody created it yet");
        }
        writer.create(&record).await;
        all_find(&readers, &record, "created").await;
        let writes = Attempt::ALL.into_iter().filter(|attempt| attempt.writes_to_the_living());
        for (n, attempt) in (1_u32..).zip(writes) {
            let read = writer.found(record.session.id).await;
            assert_eq!(attempt.run(writer, &read, T0.plus(n * HOUR)).await, Answer::Written, "{attempt:?}");
            let written = writer.found(record.session.id).await;
            assert_ne!(written, read, "{attempt:?}");
            for reader in &readers {
                assert_eq!(
                    reader.check(record.session.id).await.as_ref(),
                    Some(&written),
                    "{attempt:?}, checked by another"
                );
                assert_eq!(reader.found(record.session.id).await, written, "{attempt:?}, through another handle");
                assert_eq!(reader.list(&of_user(&name), 10, T0).await, std::slice::from_ref(&written.session));
            }
        }
        let log = writer.log().await;
        for reader in &readers {
            assert_eq!(reader.store.create(&record, T0, None).await.unwrap(), Created::Duplicate, "its id is taken");
            assert_eq!(reader.log().await, log, "the log is one");
        }
    }
}

/// Revocations of every kind: found dead, refused by every verb, listed and counted no more, in the log; then settled, then swept.
pub async fn g1_every_revocation_holds_through_the_others_at_once(handles: Vec<Arc<dyn Store>>) {
    let given = Given::on(handles);
    for round in 0..ROUNDS {
        let (writer, readers) = roles(&given, round);
        for kind in ["one", "others", "user", "everyone"] {
            let name = format!("alice {round}");
            let context = format!("round {round}, {kind}");
            let (victim, keep) = (writer.live(&name).await, readers[0].live(&name).await);
            for reader in &readers {
                // Whoever keeps what it read would show it again.
                assert!(reader.is_live(victim.session.id, T0).await, "{context}");
                assert!(reader.check(victim.session.id).await.is_some(), "{context}");
                assert_eq!(reader.count(&of_user(&name), T0).await, 2, "{context}");
                assert_eq!(reader.ids(&of_user(&name), T0).await.len(), 2, "{context}");
                assert_eq!(reader.log().await.len() as u64, reader.head().await, "{context}");
            }
            let target = match kind {
                "one" => Target::Session { id: victim.session.id, owner: None },
                "others" => Target::Others { user: user(&name), keep: keep.session.id },
                "user" => Target::User(user(&name)),
                _ => Target::Everyone,
            };
            let outcome = writer.revoke(target, T0, EndReason::RevokedUser).await;
            let mut found = Vec::new();
            for reader in &readers {
                found.push(reader.check(victim.session.id).await);
                found.push(reader.store.find(victim.session.id).await.unwrap());
            }
            let expected = ended(T0, EndReason::RevokedUser);
            for found in found {
                assert_eq!(found.unwrap().session.state, expected, "{context}: a check through another handle");
            }
            let State::Ended(end) = expected else { unreachable!("it is ended") };
            let kept = if matches!(kind, "one" | "others") { vec![keep.session.id] } else { Vec::new() };
            for reader in &readers {
                assert_eq!(reader.ids(&of_user(&name), T0).await, kept, "{context}");
                assert_eq!(reader.count(&of_user(&name), T0).await, kept.len() as u64, "{context}");
                assert_eq!(reader.head().await, outcome.position, "{context}: in the log");
                assert_eq!(reader.log().await, writer.log().await, "{context}");
                assert_stays_dead(reader, &victim, &end, T0.plus(HOUR), &context).await;
            }
            for id in kept {
                writer.end(id, T0, EndReason::SignedOut).await;
            }
        }
        writer.settle(3).await;
        let gone: Vec<SessionId> = writer.ids(&crate::cases::given::everything(), T0).await;
        writer.sweep(&Sweep { ended_before: T0.plus(DAY), ..SWEEP_NOTHING }).await;
        for reader in &readers {
            for id in &gone {
                assert_eq!(reader.store.find(*id).await.unwrap(), None, "round {round}: what was swept");
            }
        }
    }
}

/// A creation through one handle that is begun after a revocation through another one was acknowledged lives; one acknowledged before is
/// dead. Whatever each handle did, read or remembered before.
pub async fn a_creation_lives_if_it_was_begun_after_a_revocation_elsewhere(handles: Vec<Arc<dyn Store>>) {
    let given = Given::on(handles);
    for round in 0..ROUNDS {
        let (revoker, others) = roles(&given, round);
        for kind in ["user", "everyone", "others"] {
            let name = format!("alice {round} {kind}");
            let mut before = Vec::new();
            for other in &others {
                before.push(other.live(&name).await.session.id);
            }
            let keep = revoker.live(&name).await.session.id;
            // Several, so that whoever missed one of them is behind by more than one.
            let mut after = Vec::new();
            for turn in 0..3 {
                let target = match kind {
                    "user" => Target::User(user(&name)),
                    "everyone" => Target::Everyone,
                    _ => Target::Others { user: user(&name), keep },
                };
                let outcome = revoker.revoke(target, T0.plus(HOUR), EndReason::RevokedUser).await;
                assert_ne!(outcome.position, 0, "{name}, turn {turn}: there was something to end");
                for (n, id) in before.iter().enumerate() {
                    let looking = given[n % given.len()].is_live(*id, T0).await;
                    assert!(!looking, "{name}, turn {turn}: created before, yet alive");
                }
                before.append(&mut after);
                for other in &others {
                    // By a clock that is behind that of the revocation, too.
                    let record = other.records.record(&name, T0.minus(DAY));
                    other.create(&record).await;
                    for given in &given {
                        assert_eq!(given.found(record.session.id).await, record, "{name}, turn {turn}: created after");
                    }
                    after.push(record.session.id);
                }
            }
            assert_eq!(Attempt::Renew.run(revoker, &given[0].found(after[0]).await, T0).await, Answer::Written);
            revoker.settle(2).await;
            for given in &given {
                for id in &after {
                    assert!(given.is_live(*id, T0).await, "{name}: settled, and created after");
                }
            }
        }
    }
}

/// Creations through every handle while one of them revokes the user again and again: judged call by call.
pub async fn creations_race_with_revocations_elsewhere(handles: Vec<Arc<dyn Store>>) {
    let given = Given::on(handles);
    for round in 0..ROUNDS {
        let name = format!("alice {round}");
        let journal = Arc::new(Journal::default());
        let base = given[0].head().await;
        let done = Arc::new(AtomicBool::new(false));
        at_once(8, |i| {
            let (given, journal, done) = (given[i % given.len()].clone(), Arc::clone(&journal), Arc::clone(&done));
            let name = name.clone();
            async move {
                if i == 0 {
                    for turn in 0..6_u32 {
                        let target = if turn == 4 { Target::Everyone } else { Target::User(user(&name)) };
                        revoke(&given, &journal, target, turn).await;
                        // A store in memory never waits.
                        tokio::task::yield_now().await;
                    }
                    done.store(true, Ordering::SeqCst);
                }
                // Until nothing is revoked any more, and twice after that.
                let mut after = 0;
                for _ in 0..100 {
                    after += u32::from(done.load(Ordering::SeqCst));
                    let record = given.records.record(&name, T0);
                    let begun = journal.now();
                    given.create(&record).await;
                    journal.note(begun, What::Created { record: Box::new(record), evicted: Vec::new() });
                    if after == 2 {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
        })
        .await;
        let calls = journal.calls();
        let mut outcome = Outcome {
            rows: Default::default(),
            base,
            log: given[0].log_after(base).await,
            head: given[0].head().await,
            swept: false,
        };
        for call in &calls {
            if let What::Created { record, .. } = &call.what {
                outcome.rows.insert(record.session.id, given[round % given.len()].found(record.session.id).await);
            }
        }
        let wrong = judge(&calls, &outcome);
        assert!(wrong.is_empty(), "round {round}: {}", wrong.iter().take(3).cloned().collect::<Vec<_>>().join("\n"));
        assert!(outcome.rows.values().any(|row| row.session.state == State::Live), "the last creations live");
    }
}

async fn revoke(given: &Given, journal: &Journal, target: Target, turn: u32) {
    let begun = journal.now();
    let by = hallpass_core::Actor::operator(format!("revoker {turn}"));
    let revocation = hallpass_core::store::Revocation { target, now: T0, by, reason: EndReason::RevokedUser };
    let outcome = given.store.revoke(&revocation).await.unwrap();
    journal.note(begun, What::Revoked { revocation, outcome });
}

/// All handles speak of one database: its log, its version, its living.
pub async fn all_handles_agree_about_the_database(handles: Vec<Arc<dyn Store>>) {
    let given = Given::on(handles);
    let all = given.len();
    let migrated = at_once(2 * all, |i| {
        let given = given[i % all].clone();
        async move {
            given.live(&format!("user {i}")).await;
            given.store.migrate().await.unwrap()
        }
    })
    .await;
    assert!(migrated.iter().all(|(before, after)| before == after && *after == migrated[0].1), "{migrated:?}");
    given[all - 1].signed_out("alice").await;
    let whole = given[0].store.changes_since(0, 10).await.unwrap();
    assert_eq!(whole.head, 1);
    for given in &given {
        assert_eq!(given.store.changes_since(0, 10).await.unwrap(), whole, "one log, one incarnation");
        let health = given.store.health(T0).await.unwrap();
        assert_eq!((health.schema, health.live), (migrated[0].1, 2 * all as u64));
    }
}
