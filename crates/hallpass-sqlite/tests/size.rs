//! The files stay small, and a million sessions slow nothing down that need not look at them.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{DAY, NOW, record, revocation, user};
use hallpass_core::store::{Filter, Page, Sweep, Swept, Target};
use hallpass_core::{State, Store as _};
use tokio::time::Instant;

fn bytes(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

#[tokio::test]
async fn the_file_shrinks_after_a_sweep_and_checks_go_on() {
    let (directory, store) = common::store().await;
    let path = directory.path().join("hallpass.db");
    store.create(&record(&user("alice"), NOW), NOW, None).await.unwrap();
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch(
            "INSERT INTO hallpass_sessions SELECT NULL, randomblob(16), randomblob(32), user_id || n, class, created_at, authenticated_at, \
             renewed_at, last_seen_at, idle_expires_at, absolute_expires_at, epoch, ended_at, ended_position, ended_by_kind, ended_by, \
             ended_reason, label, sign_in, attributes_version, attributes FROM hallpass_sessions, \
             (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 20000) SELECT n FROM c); \
             PRAGMA wal_checkpoint(TRUNCATE);",
        )
        .unwrap();
    let full = bytes(&path);
    let later = NOW.plus(31 * DAY);
    let living = record(&user("alice"), later);
    store.create(&living, later, None).await.unwrap();
    let sweep = Sweep { expired_before: later, ended_before: later, log_before: later, batch: 500, commits: 1 };
    assert_eq!(store.sweepable(&sweep).await.unwrap(), 20_001);
    let mut total = Swept::default();
    loop {
        let step = store.sweep(&sweep).await.unwrap();
        assert!(step.expired <= 500);
        total.expired += step.expired;
        assert!(store.find(living.session.id).await.unwrap().is_some());
        if !step.more {
            break;
        }
    }
    assert_eq!(total.expired, 20_001);
    let shrunk = async {
        while bytes(&path) > full / 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(30), shrunk).await;
    assert!(done.is_ok(), "{} of {full} bytes are left", bytes(&path));
    assert!(store.find(living.session.id).await.unwrap().is_some());
    assert_eq!(store.check_integrity().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn memory_needs_no_file() {
    let store = hallpass_sqlite::SqliteStore::in_memory().await.unwrap();
    let other = hallpass_sqlite::SqliteStore::in_memory().await.unwrap();
    let new = record(&user("alice"), NOW);
    store.create(&new, NOW, None).await.unwrap();
    assert_eq!(store.find(new.session.id).await.unwrap(), Some(new.clone()));
    assert_eq!(other.find(new.session.id).await.unwrap(), None, "each is its own");
    assert_eq!(store.path(), None);
}

const MANY: u32 = 1_000_000;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_sessions_slow_down_neither_pages_nor_revocations() {
    let (directory, store) = common::store().await;
    let seed = record(&user("seed"), NOW);
    store.create(&seed, NOW, None).await.unwrap();
    let columns = "token_hash, class, created_at, authenticated_at, renewed_at, last_seen_at, idle_expires_at, absolute_expires_at, epoch, \
                   sign_in, attributes_version, attributes";
    let begun = Instant::now();
    // Ids in the order of time, as they are made; 30,000 of them are alice's.
    rusqlite::Connection::open(directory.path().join("hallpass.db"))
        .unwrap()
        .execute_batch(&format!(
            "PRAGMA synchronous = OFF; PRAGMA busy_timeout = 30000; \
             INSERT INTO hallpass_sessions (id, user_id, {columns}) \
             WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {MANY}) \
             SELECT unhex(printf('%012x7000%s', {} + n, hex(randomblob(8)))), \
             iif(n % 33 = 0 AND n <= 990000, 'alice', 'user ' || n % 300000), {columns} FROM c, (SELECT * FROM hallpass_sessions LIMIT 1); \
             PRAGMA wal_checkpoint(TRUNCATE);",
            NOW.as_millis()
        ))
        .unwrap();
    println!("filled in {:.1?}", begun.elapsed());

    let filter = Filter { user: Some(user("alice")), ..Filter::default() };
    let mut page = Page::first(50);
    let (mut pages, mut total) = (Vec::new(), 0);
    for _ in 0..200 {
        let begun = Instant::now();
        let listing = store.list(&filter, page, NOW).await.unwrap();
        pages.push(begun.elapsed());
        total += listing.sessions.len();
        page.after = listing.next;
    }
    assert_eq!(total, 10_000);
    let worst = pages.iter().skip(10).max().copied().unwrap();
    let mut revocations = Vec::new();
    for n in 0..9 {
        let last = record(&user("bob"), NOW);
        store.create(&last, NOW, None).await.unwrap();
        let begun = Instant::now();
        store.revoke(&revocation(Target::Everyone, NOW)).await.unwrap();
        revocations.push(begun.elapsed());
        for id in [seed.session.id, last.session.id] {
            let found = store.find(id).await.unwrap().unwrap();
            assert_ne!(found.session.state, State::Live, "revocation {n} is not seen");
        }
    }
    let (page, revoked) = (median(pages), median(revocations));
    println!("page of 50 of 30,000: {page:?}, at worst {worst:?}; everyone revoked after {revoked:?}");
    assert!(page < Duration::from_millis(5), "{page:?}");
    assert!(revoked < Duration::from_millis(50), "{revoked:?}");
}
