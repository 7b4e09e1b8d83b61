//! The server goes away and comes back.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::instance::Instance;
use common::{DAY, NOW, fresh_database_at, record, revocation, small, user, with_database};
use hallpass_core::store::{Created, Filter, LastSeen, Limit, Page, Record, Renewal, Rotation, Sweep, Target};
use hallpass_core::{Attributes, SessionId, State, Store, StoreError, Timestamp, TokenHash};
use hallpass_mysql::{MysqlOptions, MysqlStore};
use tokio::time::Instant;

/// Short, so that the test is.
fn quick() -> MysqlOptions {
    MysqlOptions {
        connections: 24,
        connect_timeout: Duration::from_secs(1),
        acquire_timeout: Duration::from_millis(1500),
        call_timeout: Duration::from_secs(2),
        long_call_timeout: Duration::from_secs(3),
        ..MysqlOptions::default()
    }
}

/// What every call has to stay below, on a busy machine.
const BOUND: Duration = Duration::from_millis(3_500);

const VERBS: usize = 19;

/// One verb, by number.
async fn verb(store: &MysqlStore, n: usize, known: &Record) -> Result<(), StoreError> {
    let (id, now, token_hash) = (known.session.id, NOW, known.token_hash);
    let owner = user("alice");
    let all = Filter::default();
    let sweep = Sweep {
        expired_before: Timestamp::EPOCH,
        ended_before: Timestamp::EPOCH,
        log_before: Timestamp::EPOCH,
        batch: 10,
        commits: 1,
    };
    let limit =
        Limit { max: 1000, refuse: true, renewed_after: Timestamp::EPOCH, authenticated_after: Timestamp::EPOCH };
    match n {
        0 => store.create(&record(&owner, now), now, None).await.map(drop),
        1 => store.create(&record(&owner, now), now, Some(limit)).await.map(drop),
        2 => store.find(id).await.map(drop),
        3 => {
            let renewal = Renewal { id, token_hash, now, due_before: now, idle_expires_at: now.plus(DAY) };
            store.renew(&renewal).await.map(drop)
        }
        4 => {
            let new_hash = TokenHash::from_bytes([9; 32]);
            let rotation = Rotation { id, old_hash: token_hash, new_hash, now, reauthentication: None };
            store.rotate(&rotation).await.map(drop)
        }
        5 => store.set_label(id, &owner, None, now).await.map(drop),
        6 => store.set_attributes(id, 0, &Attributes::default(), now).await.map(drop),
        7 => store.list(&all, Page::first(10), now).await.map(drop),
        8 => store.count(&all, now).await.map(drop),
        9 => store.revoke(&revocation(Target::Session { id, owner: None }, now)).await.map(drop),
        10 => store.revoke(&revocation(Target::Others { user: owner, keep: id }, now)).await.map(drop),
        11 => store.revoke(&revocation(Target::User(owner), now)).await.map(drop),
        12 => store.revoke(&revocation(Target::Everyone, now)).await.map(drop),
        13 => store.settle(10, now).await.map(drop),
        14 => store.touch(&[LastSeen { id, at: now.plus(DAY) }], now).await.map(drop),
        15 => store.sweep(&sweep).await.map(drop),
        16 => store.sweepable(&sweep).await.map(drop),
        17 => store.changes_since(0, 10).await.map(drop),
        _ => match store.health(now).await {
            Ok(_) => store.migrate().await.map(drop),
            Err(error) => Err(error),
        },
    }
}

/// Every verb at once answers *unavailable*, within its time-out.
async fn all_are_unavailable(store: &Arc<MysqlStore>, known: &Record) {
    let mut asked = Vec::new();
    for n in 0..VERBS {
        let (store, known) = (Arc::clone(store), known.clone());
        asked.push(tokio::spawn(async move {
            let begun = Instant::now();
            (verb(&store, n, &known).await, begun.elapsed())
        }));
    }
    for (n, asking) in asked.into_iter().enumerate() {
        let (answer, took) = asking.await.unwrap();
        assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "verb {n}: {answer:?}");
        let error = answer.unwrap_err();
        assert!(error.to_string().contains("127.0.0.1"), "verb {n} names the place: {error}");
        assert!(took < BOUND, "verb {n} took {took:?}");
    }
    let begun = Instant::now();
    assert!(matches!(store.migrate().await, Err(StoreError::Unavailable { .. })));
    assert!(begun.elapsed() < BOUND, "migrate took {:?}", begun.elapsed());
}

/// Keeps asking; how long it took until the answer was right.
async fn until_found(store: &MysqlStore, id: SessionId) -> Duration {
    let begun = Instant::now();
    loop {
        match store.find(id).await {
            Ok(found) => {
                assert!(found.is_some(), "never \"no such session\"");
                return begun.elapsed();
            }
            Err(error) => assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}"),
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not recover");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_is_unavailable_and_used_as_soon_as_it_is_back() {
    let instance = Instance::start().await;
    let url = fresh_database_at(&instance.direct).await;
    let store = Arc::new(MysqlStore::connect(&url, quick()).await.unwrap());
    let known = record(&user("alice"), NOW);
    store.create(&known, NOW, None).await.unwrap();
    for _ in 0..2 {
        // Many connections that do not know yet.
        for n in [2, 7, 16, 17].repeat(4) {
            verb(&store, n, &known).await.unwrap();
        }
        instance.kill().await;
        all_are_unavailable(&store, &known).await;
        // Refused at once, not after a time-out.
        let begun = Instant::now();
        assert!(store.find(known.session.id).await.is_err());
        assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
        let error = MysqlStore::connect(&url, quick()).await.unwrap_err();
        assert!(error.to_string().contains("check that the server runs"), "{error}");
        instance.restart().await;
        // It answered somebody before `restart` returned.
        let took = until_found(&store, known.session.id).await;
        assert!(took < Duration::from_secs(2), "{took:?}");
        let found = store.find(known.session.id).await.unwrap().unwrap();
        assert_eq!(found, known);
    }
    for n in 0..VERBS {
        verb(&store, n, &known).await.unwrap();
    }
}

/// Many connections that the server closed while nobody used them: the first call finds out, and answers all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_that_nobody_noticed_costs_no_call_its_answer() {
    let instance = Instance::start().await;
    let url = fresh_database_at(&instance.direct).await;
    let store = Arc::new(MysqlStore::connect(&url, quick()).await.unwrap());
    let known = record(&user("alice"), NOW);
    store.create(&known, NOW, None).await.unwrap();
    for reading in [true, false] {
        let at_once: Vec<_> = (0..24)
            .map(|_| {
                let (store, id) = (Arc::clone(&store), known.session.id);
                tokio::spawn(async move { store.find(id).await.unwrap() })
            })
            .collect();
        for one in at_once {
            assert!(one.await.unwrap().is_some());
        }
        let details = store.health(NOW).await.unwrap().details;
        let (_, connections) = details.into_iter().find(|(name, _)| name == "connections").unwrap();
        let idle = connections.split(' ').nth(3).unwrap().parse::<usize>().unwrap();
        assert!(idle >= 10, "more than a call tries: {connections}");
        instance.restart().await;
        if reading {
            assert_eq!(store.find(known.session.id).await.unwrap(), Some(known.clone()));
        } else {
            store.create(&record(&user("bob"), NOW), NOW, None).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_swallows_everything_is_unavailable_in_time() {
    let instance = Instance::start().await;
    let direct = fresh_database_at(&instance.direct).await;
    let url = with_database(&instance.url, direct.rsplit('/').next().unwrap());
    let store = Arc::new(MysqlStore::connect(&url, quick()).await.unwrap());
    let known = record(&user("alice"), NOW);
    store.create(&known, NOW, None).await.unwrap();
    // With connections that stand, and then without.
    instance.cut().await;
    all_are_unavailable(&store, &known).await;
    all_are_unavailable(&store, &known).await;
    let begun = Instant::now();
    assert!(matches!(MysqlStore::connect(&url, quick()).await, Err(StoreError::Unavailable { .. })));
    assert!(begun.elapsed() < BOUND);
    instance.mend().await;
    let took = until_found(&store, known.session.id).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(store.find(known.session.id).await.unwrap(), Some(known), "nothing of it was done later");
}

/// What was acknowledged.
#[derive(Default)]
struct Acknowledged {
    created: Vec<SessionId>,
    revoked: Vec<SessionId>,
    /// Asked for and not answered: it may have happened or not.
    unknown: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_killed_under_load_loses_nothing_that_was_acknowledged() {
    let instance = Instance::start().await;
    let url = fresh_database_at(&instance.direct).await;
    let store = Arc::new(MysqlStore::connect(&url, MysqlOptions { connections: 8, ..small() }).await.unwrap());
    for round in 0..4_u64 {
        let stop = Arc::new(AtomicBool::new(false));
        let mut loads = Vec::new();
        for task in 0..8 {
            let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
            loads.push(tokio::spawn(async move {
                let owner = user(&format!("user-{task}"));
                let mut acknowledged = Acknowledged::default();
                while !stop.load(Ordering::Relaxed) {
                    let new = record(&owner, NOW);
                    match store.create(&new, NOW, None).await {
                        Ok(Created::Created { .. }) => acknowledged.created.push(new.session.id),
                        // An answer to a creation that was tried again although it had happened.
                        Ok(other) => panic!("{other:?}"),
                        Err(StoreError::Unavailable { .. }) => {
                            acknowledged.unknown += 1;
                            tokio::time::sleep(Duration::from_millis(20)).await;
                            continue;
                        }
                        Err(error) => panic!("{error:?}"),
                    }
                    let id = new.session.id;
                    let by_mark = acknowledged.created.len() % 3 == 0;
                    let target =
                        if by_mark { Target::User(owner.clone()) } else { Target::Session { id, owner: None } };
                    match store.revoke(&revocation(target, NOW)).await {
                        Ok(outcome) => {
                            assert_ne!(outcome.position, 0);
                            acknowledged.revoked.push(id);
                        }
                        Err(StoreError::Unavailable { .. }) => acknowledged.unknown += 1,
                        Err(error) => panic!("{error:?}"),
                    }
                }
                acknowledged
            }));
        }
        tokio::time::sleep(Duration::from_millis(300 + 150 * round)).await;
        instance.kill().await;
        instance.restart().await;
        stop.store(true, Ordering::Relaxed);
        let (mut created, mut revoked, mut unknown) = (0, 0, 0);
        let mut all = Vec::new();
        for load in loads {
            all.push(load.await.unwrap());
        }
        let took = until_found(&store, all[0].created[0]).await;
        assert!(took < Duration::from_secs(2), "{took:?}");
        for acknowledged in all {
            unknown += acknowledged.unknown;
            for id in acknowledged.created {
                created += 1;
                assert!(store.find(id).await.unwrap().is_some(), "round {round}: an acknowledged creation is gone");
            }
            for id in acknowledged.revoked {
                revoked += 1;
                let state = store.find(id).await.unwrap().unwrap().session.state;
                assert_ne!(state, State::Live, "round {round}: an acknowledged revocation is gone");
            }
        }
        assert!(created > 20 && revoked > 20 && unknown > 0, "round {round}: {created}, {revoked}, {unknown}");
        let head = store.changes_since(0, 0).await.unwrap().head;
        let mut position = 0;
        while position < head {
            let entries = store.changes_since(position, 10_000).await.unwrap().entries;
            for entry in &entries {
                assert_eq!(entry.position, position + 1, "round {round}: a gap");
                position += 1;
            }
            assert!(!entries.is_empty(), "round {round}: the log ends at {position}, its head is {head}");
        }
    }
}
