//! A million sessions; in release mode for figures worth a look.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what should not fail")]

mod common;

use std::time::Duration;

use common::{NOW, record, revocation, user};
use hallpass_core::store::{Filter, Page, Target};
use hallpass_core::{State, Store as _};
use hallpass_postgres::{PostgresOptions, PostgresStore};
use tokio::time::Instant;

const MANY: i64 = 1_000_000;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_sessions_slow_down_neither_pages_nor_revocations() {
    let url = common::fresh_url();
    let patient = PostgresOptions { statement_timeout: Duration::from_secs(60), ..common::small() };
    let store = PostgresStore::connect(&url, patient).await.unwrap();
    let seed = record(&user("seed"), NOW);
    store.create(&seed, NOW, None).await.unwrap();
    let client = common::plain(&url).await;
    let columns = "token_hash, class, created_at, authenticated_at, renewed_at, last_seen_at, idle_expires_at, due_at, absolute_expires_at, \
                   epoch, ip, methods, source, attributes_version, user_agent, attributes";
    let begun = Instant::now();
    // Ids in the order of time, as they are made; 30,000 of them are alice's.
    client
        .batch_execute(&format!(
            "INSERT INTO hallpass_sessions (id, user_id, {columns}) \
             SELECT (lpad(to_hex(1767225600000 + n), 12, '0') || right(gen_random_uuid()::text, 23))::uuid, \
             CASE WHEN n % 33 = 0 AND n <= 990000 THEN 'alice' ELSE 'user ' || n % 300000 END, {columns} \
             FROM hallpass_sessions, generate_series(1, {MANY}) n"
        ))
        .await
        .unwrap();
    client.batch_execute("VACUUM ANALYZE hallpass_sessions").await.unwrap();
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
    // The first ones prepare the statement and warm the caches.
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
