//! Settling through several handles at once, while marks and sessions come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hallpass_core::store::{Record, Revocation, Target};
use hallpass_core::{Actor, EndReason, SessionId, State, Store};

use crate::builders::{HOUR, T0, user};
use crate::cases::given::{Given, at_once, everything, of_user};
use crate::cases::journal::{Journal, What};
use crate::cases::verdict::{Outcome, judge};

const USERS: [&str; 3] = ["alice", "Alice", "bob"];
const SETTLERS: usize = 3;
const REVOKERS: usize = 3;
const CREATORS: usize = 3;
const WATCHERS: usize = 3;
const REVOCATIONS: u32 = 8;
/// While others revoke, so that looking at all of them does not take longer and longer.
const CREATIONS: u32 = 15;
/// More than there are while others revoke.
const MOST_TURNS: u32 = 1_000;

/// Three settle, three revoke whole users and everyone, three create, and three look: what was seen to have ended is never seen alive
/// again, the first mark above a session is what ended it, and what was created after the last mark lives.
pub async fn what_was_seen_ended_stays_ended_while_all_settle(handles: Vec<Arc<dyn Store>>) {
    let given = Given::on(handles);
    for round in 0..4_u32 {
        let base = given[0].head().await;
        let journal = Arc::new(Journal::default());
        // Of this round alone, so that each revocation counts what the journal knows of.
        let names = USERS.map(|name| format!("{name} {round}"));
        for n in 0..30 {
            create(&given[n % given.len()], &journal, &names[n % USERS.len()]).await;
        }
        let revoking = Arc::new(AtomicUsize::new(REVOKERS));
        at_once(SETTLERS + REVOKERS + CREATORS + WATCHERS, |i| {
            let (given, journal, revoking) =
                (given[i % given.len()].clone(), Arc::clone(&journal), Arc::clone(&revoking));
            let name = names[i % USERS.len()].clone();
            async move {
                if i < REVOKERS {
                    for turn in 0..REVOCATIONS {
                        let everyone = i == 0 && turn % 3 == 1;
                        let target = if everyone { Target::Everyone } else { Target::User(user(&name)) };
                        revoke(&given, &journal, target, round).await;
                        create(&given, &journal, &name).await;
                    }
                    revoking.fetch_sub(1, Ordering::SeqCst);
                    return;
                }
                // For as long as somebody revokes, and a little longer: what is settled last is looked at, too.
                let mut after = 0;
                for turn in 0..MOST_TURNS {
                    after += u32::from(revoking.load(Ordering::SeqCst) == 0);
                    if i < REVOKERS + SETTLERS {
                        given.store.settle(1 + turn % 4, T0).await.unwrap();
                    } else if i >= REVOKERS + SETTLERS + CREATORS {
                        let ids = journal.created();
                        look(&given, &journal, ids[(turn as usize * WATCHERS + i) % ids.len()]).await;
                    } else if turn < CREATIONS || after > 0 {
                        create(&given, &journal, &name).await;
                    }
                    if after == 3 {
                        break;
                    }
                    // A store in memory never waits.
                    tokio::task::yield_now().await;
                }
            }
        })
        .await;
        for settled in [false, true] {
            for id in journal.created() {
                look(&given[0], &journal, id).await;
            }
            let outcome = outcome(&given[usize::from(settled) % given.len()], &journal, base).await;
            let wrong = judge(&journal.calls(), &outcome);
            let first = wrong.iter().take(3).cloned().collect::<Vec<_>>().join("\n");
            assert!(wrong.is_empty(), "round {round}, settled: {settled}: {} violations\n{first}", wrong.len());
            at_once(SETTLERS, |i| {
                let given = given[i % given.len()].clone();
                async move { given.settle(5).await }
            })
            .await;
        }
    }
}

/// Three settle what lies behind two marks: each row is written by one of them, by the first mark, and nothing is left.
pub async fn three_settlers_write_each_row_once(handles: Vec<Arc<dyn Store>>) {
    const ROWS: usize = 60;
    let given = Given::on(handles);
    for target in [Target::User(user("alice")), Target::Everyone] {
        let records: Vec<Record> = (0..ROWS).map(|_| given[0].records.record("alice", T0)).collect();
        given[0].create_all(&records).await;
        let first = given[0].revoke(target.clone(), T0, EndReason::CredentialsChanged).await;
        let newer = given[1 % given.len()].live("alice").await;
        assert_ne!(
            given[1 % given.len()].revoke(Target::Everyone, T0.plus(HOUR), EndReason::RevokedEveryone).await,
            first
        );
        let newest = given[0].live("bob").await;
        let before = snapshot(&given[0]).await;
        let written: u64 = at_once(SETTLERS, |i| {
            let given = given[i % given.len()].clone();
            async move { given.settle(4).await }
        })
        .await
        .into_iter()
        .sum();
        // A store that writes the ends at once has nothing to settle.
        assert!(written == 0 || written == ROWS as u64 + 1, "{target:?}: {written} rows");
        for given in &given {
            assert_eq!(snapshot(given).await, before, "{target:?}: settling changes nothing that shows");
            assert_eq!(given.store.settle(100, T0).await.unwrap().rows, 0, "{target:?}: nothing is left");
            assert_eq!(given.ids(&of_user("bob"), T0).await, [newest.session.id], "{target:?}");
        }
        assert_ne!(before[&newer.session.id].session.state, State::Live);
        given[0].end(newest.session.id, T0, EndReason::SignedOut).await;
    }
}

async fn snapshot(given: &Given) -> BTreeMap<SessionId, Record> {
    let mut rows = BTreeMap::new();
    for id in given.ids(&everything(), T0).await {
        rows.insert(id, given.found(id).await);
    }
    rows
}

async fn create(given: &Given, journal: &Journal, name: &str) {
    let record = given.records.record(name, T0);
    let begun = journal.now();
    given.create(&record).await;
    journal.note(begun, What::Created { record: Box::new(record), evicted: Vec::new() });
}

async fn revoke(given: &Given, journal: &Journal, target: Target, round: u32) {
    let begun = journal.now();
    let by = Actor::operator(format!("revoker {begun} of round {round}"));
    let revocation = Revocation { target, now: T0.plus(HOUR), by, reason: EndReason::UserDisabled };
    let outcome = given.store.revoke(&revocation).await.unwrap();
    journal.note(begun, What::Revoked { revocation, outcome });
}

/// The session as it is found now.
async fn look(given: &Given, journal: &Journal, id: SessionId) {
    let begun = journal.now();
    let lives = given.is_live(id, T0).await;
    let how = "found";
    journal.note(begun, if lives { What::Lives { id, how } } else { What::Dead { id, how } });
}

async fn outcome(given: &Given, journal: &Journal, base: u64) -> Outcome {
    let mut rows = BTreeMap::new();
    for id in journal.created() {
        rows.insert(id, given.found(id).await);
    }
    Outcome { rows, base, log: given.log_after(base).await, head: given.head().await, swept: false }
}
