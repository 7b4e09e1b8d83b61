//! Removing dead rows by several sweepers at once, as the background tasks of several processes do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hallpass_core::store::{Filter, Record, Sweep, Swept, Target};
use hallpass_core::{EndReason, SessionId, Store, Timestamp};

use crate::builders::{DAY, HOUR, MILLISECOND, T0, user};
use crate::cases::attempt::{Answer, Attempt};
use crate::cases::given::{Given, SWEEP_NOTHING, at_once, everything};

/// When the sweeps of these cases happen.
const NOW: Timestamp = Timestamp::from_millis(T0.as_millis() + 20 * 86_400_000);
const SWEEPERS: usize = 3;

fn sweep(batch: u32) -> Sweep {
    Sweep { expired_before: NOW.minus(HOUR), ended_before: NOW.minus(HOUR), batch, commits: 4, ..SWEEP_NOTHING }
}

/// So many sessions of the user that expired long ago, some at the same millisecond.
fn expired(given: &Given, user: &str, n: u32) -> Vec<Record> {
    let made = (0..n).map(|n| {
        let mut record = given.records.record(user, T0);
        record.session.idle_expires_at = T0.plus(HOUR).plus(n / 3 * MILLISECOND);
        record
    });
    made.collect()
}

/// Sweeps through each of three handles until each says that nothing is left, and answers the total.
///
/// A sweeper that is told there is more, while another one takes it, may remove nothing in a step; it does not go on for ever.
async fn three_sweepers(given: &[Given], sweep: Sweep, others: Vec<Other>) -> Swept {
    let sweeping = Arc::new(AtomicUsize::new(SWEEPERS));
    let others = Arc::new(others);
    let swept = at_once(SWEEPERS + others.len(), |i| {
        let (given, sweeping, others) = (given[i % given.len()].clone(), Arc::clone(&sweeping), Arc::clone(&others));
        async move {
            if i < SWEEPERS {
                let swept = given.sweep(&sweep).await;
                sweeping.fetch_sub(1, Ordering::SeqCst);
                return swept;
            }
            // At least once, and for as long as somebody sweeps.
            for turn in 0..1_000 {
                others[i - SWEEPERS].turn(&given, turn).await;
                if sweeping.load(Ordering::SeqCst) == 0 {
                    break;
                }
            }
            Swept::default()
        }
    })
    .await;
    let total = |count: fn(&Swept) -> u64| swept.iter().map(count).sum();
    Swept { expired: total(|swept| swept.expired), ended: total(|swept| swept.ended), more: false }
}

/// Who else is at work.
#[derive(Debug)]
enum Other {
    /// Makes sessions and renews these.
    User { name: &'static str, living: Vec<Record> },
    /// Looks whether these, which lie behind a mark, stay dead.
    Watcher(Vec<SessionId>),
    /// Reads the log, which is trimmed and keeps this head.
    Follower { head: u64 },
}

impl Other {
    async fn turn(&self, given: &Given, turn: usize) {
        match self {
            Self::User { name, living } => {
                let record = &living[turn % living.len()];
                assert_eq!(Attempt::Renew.run(given, record, NOW).await, Answer::Written, "a live session is renewed");
                given.create(&given.records.record(name, NOW)).await;
            }
            Self::Watcher(dead) => {
                for id in dead {
                    let found = given.store.find(*id).await.unwrap();
                    let alive = found.filter(|found| found.session.is_live_at(T0));
                    assert_eq!(alive, None, "a session woke while it was swept");
                }
            }
            Self::Follower { head } => {
                let changes = given.store.changes_since(0, 1_000).await.unwrap();
                assert_eq!(changes.head, *head, "sweeping leaves the head alone");
                let positions = changes.entries.iter().map(|change| change.position);
                assert!(
                    positions.eq(changes.oldest..=*head),
                    "from the oldest that is kept, without a gap: {changes:?}"
                );
            }
        }
    }
}

/// Three sweepers at once, while others create and renew: no error, every dead row is removed and counted by one of them, and no
/// living one is touched (A64).
pub async fn a64_three_sweepers_count_each_row_once(handles: Vec<Arc<dyn Store>>) {
    const EXPIRED: u32 = 150;
    const ENDED: usize = 60;
    let given = Given::on(handles);
    given[0].create_all(&expired(&given[0], "alice", EXPIRED)).await;
    let ended: Vec<Record> = (0..ENDED).map(|_| given[0].records.record("bob", T0)).collect();
    given[0].create_all(&ended).await;
    at_once(ENDED, |n| {
        let (given, id) = (given[n % given.len()].clone(), ended[n].session.id);
        // Some of them at the same millisecond.
        async move { given.end(id, T0.plus((n / 4) as u32 * MILLISECOND), EndReason::SignedOut).await }
    })
    .await;
    let living: Vec<Record> = (0..10).map(|_| given[0].records.record("carol", NOW.minus(DAY))).collect();
    given[0].create_all(&living).await;
    let kept = given[1 % given.len()].signed_out_at("dave", NOW).await;
    assert_eq!(given[0].store.sweepable(&sweep(7)).await.unwrap(), u64::from(EXPIRED) + ENDED as u64);

    let users = [("carol", living.clone()), ("erin", living.clone())];
    let others = users.map(|(name, living)| Other::User { name, living }).into();
    let swept = three_sweepers(&given, sweep(7), others).await;
    assert_eq!((swept.expired, swept.ended), (u64::from(EXPIRED), ENDED as u64), "each dead row is counted once");
    for given in &given {
        assert_eq!(given.store.sweep(&sweep(7)).await.unwrap(), Swept::default(), "nothing is left");
        assert_eq!(given.store.sweepable(&sweep(7)).await.unwrap(), 0);
        for name in ["alice", "bob"] {
            let of_user = Filter { user: Some(user(name)), ..everything() };
            assert_eq!(given.count(&of_user, NOW).await, 0, "the rows of {name} are gone");
        }
        for record in &living {
            assert!(given.is_live(record.session.id, NOW).await, "a live session was removed or ended");
        }
        assert_eq!(given.found(kept.session.id).await, kept, "what ended lately stays, as it ended");
    }
    let (live, all) = (given[0].count(&Filter::default(), NOW).await, given[0].count(&everything(), NOW).await);
    assert_eq!(all, live + 1, "what the others made lives");
}

/// Three sweepers at once over rows behind marks that nobody settled: none of them lives again while marks and rows go, all of them go,
/// each is counted once, and what was created after the marks stays (A41).
pub async fn a41_marks_outlive_the_rows_behind_them_while_three_sweep(handles: Vec<Arc<dyn Store>>) {
    const EACH: u32 = 20;
    let given = Given::on(handles);
    for round in 0..4_u32 {
        let mut behind = Vec::new();
        let mut newer = Vec::new();
        for (n, name) in ["alice", "bob", "carol"].into_iter().enumerate() {
            let mut records = expired(&given[0], name, EACH / 2);
            records.extend((0..EACH / 2).map(|_| given[0].records.record(name, T0)));
            given[0].create_all(&records).await;
            behind.extend(records.iter().map(|record| record.session.id));
            let target =
                if (round as usize + n).is_multiple_of(4) { Target::Everyone } else { Target::User(user(name)) };
            let outcome = given[n % given.len()].revoke(target, T0, EndReason::RevokedUser).await;
            assert_ne!(outcome.position, 0);
            newer.push(given[(n + 1) % given.len()].records.record(name, NOW));
            // A later mark of everyone would end it; that is seen to below.
            given[(n + 1) % given.len()].create(&newer[n]).await;
        }
        let mut living = Vec::new();
        for record in &newer {
            if given[0].is_live(record.session.id, NOW).await {
                living.push(record.clone());
            }
        }
        assert!(living.contains(&newer[2]), "nothing was revoked after the last was created");
        let before = given[0].count(&everything(), NOW).await;
        let others = vec![Other::Watcher(behind.clone()), Other::Watcher(behind.clone())];
        let swept = three_sweepers(&given, sweep(3), others).await;
        let after = given[0].count(&everything(), NOW).await;
        assert_eq!(swept.expired + swept.ended, before - after, "round {round}: each row is counted once");
        for given in &given {
            for id in &behind {
                assert_eq!(given.store.find(*id).await.unwrap(), None, "round {round}: all of them are gone");
            }
            for record in &living {
                assert_eq!(given.found(record.session.id).await, *record, "round {round}: made after the mark");
            }
        }
        let outcome = given[0].revoke(Target::Everyone, T0, EndReason::RevokedEveryone).await;
        assert_ne!(outcome.position, 0);
        given[0].settle(100).await;
        given[0].sweep(&sweep(100)).await;
        assert_eq!(given[0].count(&everything(), NOW).await, 0, "round {round}: the next one begins with nothing");
    }
}

/// Three sweepers trim the log from its beginning alone, while it is followed: up to the first entry that is to stay, though later ones are
/// older by their clocks. Once all of it has gone, the numbers go on.
pub async fn three_sweepers_leave_no_gap_in_the_log(handles: Vec<Arc<dyn Store>>) {
    const OLD: u64 = 40;
    const ALL: u64 = 60;
    let given = Given::on(handles);
    for n in 0..ALL {
        // By a clock that is ahead; all others are old.
        let at = if n == OLD { NOW } else { T0 };
        given[n as usize % given.len()].signed_out_at("alice", at).await;
    }
    let followers = || (0..2).map(|_| Other::Follower { head: ALL }).collect();
    let trim = Sweep { log_before: NOW.minus(HOUR), batch: 3, ..sweep(3) };
    let swept = three_sweepers(&given, trim, followers()).await;
    assert_eq!((swept.expired, swept.ended), (0, ALL - 1));
    for given in &given {
        let changes = given.store.changes_since(0, 1_000).await.unwrap();
        assert_eq!((changes.head, changes.oldest), (ALL, OLD + 1));
        assert!(changes.entries.iter().map(|change| change.position).eq(OLD + 1..=ALL));
    }
    three_sweepers(&given, Sweep { log_before: NOW, ..trim }, followers()).await;
    for (n, given) in (1..).zip(&given) {
        let changes = given.store.changes_since(0, 1_000).await.unwrap();
        assert_eq!((changes.head, changes.oldest), (ALL + n - 1, ALL + 1));
        let record = given.live("bob").await;
        assert_eq!(given.end(record.session.id, NOW, EndReason::SignedOut).await.position, ALL + n);
    }
}
