//! At most so many sessions, whichever handle creates them (G10).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hallpass_core::store::{ChangeKind, Created, Limit, Record};
use hallpass_core::{Actor, EndReason, Ended, SessionId, State, Store, Timestamp};

use crate::builders::{DAY, MINUTE, T0};
use crate::cases::given::{Given, at_once, of_user};

const SIGN_INS: usize = 64;
const NOW: Timestamp = Timestamp::from_millis(T0.as_millis() + 86_400_000);

fn at_most(max: u32, refuse: bool) -> Limit {
    Limit { max, refuse, renewed_after: Timestamp::EPOCH, authenticated_after: Timestamp::EPOCH }
}

/// 64 sessions of the user, a minute apart, in an order that is not that of their creation.
fn sign_ins(given: &[Given], user: &str) -> Vec<Record> {
    (0..SIGN_INS).map(|n| given[0].records.record(user, T0.plus((n * 29 % SIGN_INS) as u32 * MINUTE))).collect()
}

/// Looks through one handle, again and again while there are some left to create, whether too many live.
async fn watch(given: &Given, user: &str, max: u64, left: &AtomicUsize) {
    while left.load(Ordering::SeqCst) > 0 {
        let live = given.count(&of_user(user), NOW).await;
        assert!(live <= max, "{live} sessions of {user:?} live at once, {max} are allowed");
        tokio::task::yield_now().await;
    }
}

/// Creates all of them at once, turn by turn over the handles, with a watcher on each, and answers what came of each.
async fn create_at_once(given: &[Given], records: &[Record], limit: fn(usize) -> Limit) -> Vec<(SessionId, Created)> {
    let left = Arc::new(AtomicUsize::new(records.len()));
    at_once(records.len() + given.len(), |i| {
        let (given, left) = (given[i % given.len()].clone(), Arc::clone(&left));
        let (new, user) = (records.get(i).cloned(), records[0].session.user.as_str().to_owned());
        async move {
            let Some(new) = new else {
                watch(&given, &user, u64::from(limit(0).max), &left).await;
                return None;
            };
            let created = given.store.create(&new, NOW, Some(limit(i))).await;
            left.fetch_sub(1, Ordering::SeqCst);
            Some((new.session.id, created.unwrap()))
        }
    })
    .await
    .into_iter()
    .flatten()
    .collect()
}

/// What the creations were told to have ended has ended, each once, and is logged, each once.
async fn assert_told_and_logged_once(
    given: &[Given],
    base: u64,
    answers: &[(SessionId, Created)],
) -> BTreeSet<SessionId> {
    let mut told = Vec::new();
    for (id, created) in answers {
        if let Created::Created { evicted } = created {
            assert!(!evicted.contains(id), "a creation ends itself");
            told.extend(evicted.iter().copied());
        }
    }
    let evicted: BTreeSet<SessionId> = told.iter().copied().collect();
    assert_eq!(evicted.len(), told.len(), "each eviction is told once");
    let pushed_out = State::Ended(Ended { at: NOW, by: Actor::system("max_per_user"), reason: EndReason::Limit });
    for (n, id) in told.iter().enumerate() {
        assert_eq!(given[n % given.len()].state(*id).await, pushed_out);
    }
    let log = given[0].log_after(base).await;
    let logged: BTreeSet<SessionId> = log
        .iter()
        .map(|change| match change.kind {
            ChangeKind::Ended(id) => id,
            ref other => panic!("an eviction is logged as {other:?}"),
        })
        .collect();
    assert_eq!(logged, evicted, "each eviction is logged");
    let positions: Vec<u64> = log.iter().map(|change| change.position).collect();
    assert!(positions.iter().copied().eq(base + 1..=base + evicted.len() as u64), "once and gapless: {positions:?}");
    evicted
}

/// 64 sign-ins at once over all handles, limits of 1 and of 5: never more live, in the end exactly as many, the newest among them, and
/// each eviction is told and logged once (A43).
pub async fn a43_sixty_four_at_once_over_all_handles_keep_the_newest(handles: Vec<Arc<dyn Store>>) {
    let given = Given::on(handles);
    let limits: [fn(usize) -> Limit; 4] =
        [|_| at_most(1, false), |_| at_most(5, false), |_| at_most(1, false), |_| at_most(5, false)];
    for (round, limit) in limits.into_iter().enumerate() {
        let max = limit(0).max as usize;
        let (user, base) = (format!("alice {round}"), given[0].head().await);
        let records = sign_ins(&given, &user);
        let answers = create_at_once(&given, &records, limit).await;
        assert!(answers.iter().all(|(_, created)| matches!(created, Created::Created { .. })), "each one gets in");
        let evicted = assert_told_and_logged_once(&given, base, &answers).await;
        assert_eq!(evicted.len(), SIGN_INS - max);
        let mut by_age: Vec<(Timestamp, SessionId)> =
            records.iter().map(|record| (record.session.created_at, record.session.id)).collect();
        by_age.sort_unstable();
        // The one that came last stays, however old it is.
        let newest: BTreeSet<SessionId> = by_age[SIGN_INS - (max - 1)..].iter().map(|(_, id)| *id).collect();
        for given in &given {
            let live: BTreeSet<SessionId> = given.ids(&of_user(&user), NOW).await.into_iter().collect();
            assert_eq!(live.len(), max, "exactly as many as the limit");
            assert!(live.is_superset(&newest), "the newest live: {newest:?} of {live:?}");
            assert!(live.is_disjoint(&evicted), "what was told to have ended has ended");
        }
    }
}

/// In the refusing mode exactly as many of 64 sign-ins over all handles get in as the limit allows, and nobody is ended (A43).
pub async fn a43_sixty_four_at_once_over_all_handles_are_refused_beyond_the_limit(handles: Vec<Arc<dyn Store>>) {
    let given = Given::on(handles);
    let limits: [fn(usize) -> Limit; 4] =
        [|_| at_most(1, true), |_| at_most(5, true), |_| at_most(1, true), |_| at_most(5, true)];
    for (round, limit) in limits.into_iter().enumerate() {
        let max = limit(0).max;
        let (user, base) = (format!("alice {round}"), given[0].head().await);
        let answers = create_at_once(&given, &sign_ins(&given, &user), limit).await;
        assert_eq!(assert_told_and_logged_once(&given, base, &answers).await.len(), 0, "the refusing mode ends nobody");
        let mut made = BTreeSet::new();
        for (id, created) in answers {
            match created {
                Created::Created { .. } => drop(made.insert(id)),
                Created::LimitReached { live } => assert_eq!(live, max, "it says how many live"),
                Created::Duplicate => panic!("every id is new"),
            }
        }
        assert_eq!(made.len(), max as usize, "exactly as many as the limit");
        for given in &given {
            let live: BTreeSet<SessionId> = given.ids(&of_user(&user), NOW).await.into_iter().collect();
            assert_eq!(live, made);
        }
    }
}

/// Both modes at once, while half of those who got in sign out again: never too many, and there is room for as many as signed out.
pub async fn a43_both_modes_and_sign_outs_at_once_keep_the_limit(handles: Vec<Arc<dyn Store>>) {
    let given = Given::on(handles);
    for round in 0..3 {
        let user = format!("alice {round}");
        let records = sign_ins(&given, &user);
        let left = Arc::new(AtomicUsize::new(SIGN_INS));
        at_once(SIGN_INS + given.len(), |i| {
            let (given, left) = (given[i % given.len()].clone(), Arc::clone(&left));
            let (new, user) = (records.get(i).cloned(), user.clone());
            async move {
                let Some(new) = new else { return watch(&given, &user, 3, &left).await };
                let created = given.store.create(&new, NOW, Some(at_most(3, i % 4 < 2))).await.unwrap();
                if matches!(created, Created::Created { .. }) && i % 3 == 0 {
                    given.end(new.session.id, NOW, EndReason::SignedOut).await;
                }
                left.fetch_sub(1, Ordering::SeqCst);
            }
        })
        .await;
        let live = given[0].count(&of_user(&user), NOW.plus(DAY)).await;
        assert!(live <= 3, "{live} live in the end");
        for n in live..3 {
            let new = given[0].records.record(&user, NOW);
            let created =
                given[n as usize % given.len()].store.create(&new, NOW, Some(at_most(3, true))).await.unwrap();
            assert_eq!(created, Created::Created { evicted: Vec::new() }, "there is room for {}", 3 - n);
        }
        let new = given[0].records.record(&user, NOW);
        let created = given[0].store.create(&new, NOW, Some(at_most(3, true))).await.unwrap();
        assert_eq!(created, Created::LimitReached { live: 3 });
    }
}
