//! A million sessions: `./test soak`, and in release mode for figures worth a look.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use std::time::Duration;

use common::{NOW, beside, record, revocation, small, user};
use hallpass_core::store::{Filter, Page, Target};
use hallpass_core::{State, Store as _};
use hallpass_mysql::MysqlStore;
use mysql_async::prelude::Queryable as _;
use tokio::time::Instant;

const MANY: u32 = 1_000_000;
/// Rows of one commit.
const PART: u32 = 100_000;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[ignore = "filling takes long: ./test soak"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_sessions_slow_down_neither_pages_nor_revocations() {
    let url = common::fresh_database().await;
    let store = MysqlStore::connect(&url, small()).await.unwrap();
    let seed = record(&user("seed"), NOW);
    store.create(&seed, NOW, None).await.unwrap();
    let mut conn = beside(&url).await;
    let columns = "token_hash, class, created_at, authenticated_at, renewed_at, last_seen_at, idle_expires_at, absolute_expires_at, due_at, \
                   epoch, ended, ip, attributes_version, methods, source, user_agent, attributes";
    let begun = Instant::now();
    for begin in (0..MANY).step_by(PART as usize) {
        // Ids in the order of time, as they are made; 30,000 of them are alice's.
        let sql = format!(
            "INSERT INTO hallpass_sessions (id, user_id, {columns}) \
             SELECT UNHEX(CONCAT(LPAD(HEX({} + seq), 12, '0'), '7000', RIGHT(MD5(seq), 16))), \
             IF(seq % 33 = 0 AND seq <= 990000, 'alice', CONCAT('user ', seq % 300000)), {columns} \
             FROM (SELECT * FROM hallpass_sessions LIMIT 1) one, seq_{}_to_{}",
            NOW.as_millis(),
            begin + 1,
            begin + PART
        );
        conn.query_drop(sql).await.unwrap();
    }
    conn.query_drop("ANALYZE TABLE hallpass_sessions").await.unwrap();
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
