//! Renewals and touches write no index: heap-only (HOT) updates.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{NOW, record, user};
use hallpass_core::store::{LastSeen, Record, Renewal, Renewed};
use hallpass_core::{Store as _, Timestamp};
use hallpass_postgres::{PostgresOptions, PostgresStore};

async fn renewed(sessions: usize, rounds: u32) {
    let url = common::fresh_url();
    let options = PostgresOptions { connections: 5, ..PostgresOptions::default() };
    let store = Arc::new(PostgresStore::connect(&url, options).await.unwrap());
    let records: Vec<Record> = (0..sessions).map(|n| record(&user(&format!("user-{n}")), NOW)).collect();
    let records = Arc::new(records);
    each(&store, &records, |store, record| async move {
        store.create(&record, NOW, None).await.unwrap();
    })
    .await;
    for round in 1..=rounds {
        let now = NOW.plus(round * Duration::from_secs(86_400));
        each(&store, &records, move |store, record| async move { renew(&store, &record, now).await }).await;
        // As it happens: those that were used lately, from all over the table.
        let later = now.plus(Duration::from_secs(60));
        for n in 0..sessions / 20 {
            let used = records.iter().skip(n).step_by(sessions / 20);
            let seen: Vec<LastSeen> = used.map(|record| LastSeen { id: record.session.id, at: later }).collect();
            assert_eq!(store.touch(&seen, later).await.unwrap(), seen.len() as u64);
        }
    }
    let client = common::plain(&url).await;
    let expected = 2 * i64::from(rounds) * sessions as i64;
    // Each connection tells its numbers some time after its work.
    for _ in 0..600 {
        let sql =
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = 'hallpass_sessions'::regclass";
        let row = client.query_one(sql, &[]).await.unwrap();
        let (updates, hot): (i64, i64) = (row.get(0), row.get(1));
        if updates >= expected {
            let share = hot as f64 / updates as f64;
            println!("{hot} of {updates} updates were heap-only: {:.2} %", share * 100.0);
            assert!(share >= 0.95, "{share}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the updates were not counted");
}

async fn renew(store: &PostgresStore, record: &Record, now: Timestamp) {
    let renewal = Renewal {
        id: record.session.id,
        token_hash: record.token_hash,
        now,
        due_before: now,
        idle_expires_at: now.plus(Duration::from_secs(30 * 86_400)),
    };
    assert!(matches!(store.renew(&renewal).await.unwrap(), Renewed::Renewed { .. }));
}

async fn each<F>(
    store: &Arc<PostgresStore>,
    records: &Arc<Vec<Record>>,
    work: impl Fn(Arc<PostgresStore>, Record) -> F + Copy + Send + Sync + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (store, records) = (Arc::clone(store), Arc::clone(records));
            tokio::spawn(async move {
                for record in records.iter().skip(task).step_by(8) {
                    work(Arc::clone(&store), record.clone()).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_and_touches_are_heap_only() {
    renewed(500, 8).await;
}

#[ignore = "takes a minute: ./test soak"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_renewals_are_heap_only() {
    renewed(2000, 50).await;
}
