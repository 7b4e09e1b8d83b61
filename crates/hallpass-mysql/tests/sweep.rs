//! A renewal touches no index: what a sweep finds by its first deadline may have another one by now.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use std::time::Duration;

use common::{DAY, NOW, beside, record, user};
use hallpass_core::store::{Record, Renewal, Renewed, Sweep, Swept};
use hallpass_core::{Store as _, Timestamp};
use hallpass_mysql::MysqlStore;
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

const HOUR: Duration = Duration::from_secs(3_600);

fn sweep(expired_before: Timestamp, batch: u32) -> Sweep {
    Sweep { expired_before, ended_before: Timestamp::EPOCH, log_before: Timestamp::EPOCH, batch, commits: 1 }
}

/// A session that would be idle after an hour.
async fn created(store: &MysqlStore) -> Record {
    let mut new = record(&user("alice"), NOW);
    new.session.idle_expires_at = NOW.plus(HOUR);
    store.create(&new, NOW, None).await.unwrap();
    new
}

async fn renewed(store: &MysqlStore, record: &Record, idle_expires_at: Timestamp) {
    let (id, token_hash) = (record.session.id, record.token_hash);
    let renewal = Renewal { id, token_hash, now: NOW, due_before: NOW, idle_expires_at };
    assert_eq!(store.renew(&renewal).await.unwrap(), Renewed::Renewed { idle_expires_at });
}

async fn due_at(conn: &mut Conn, record: &Record) -> Option<i64> {
    let sql = "SELECT due_at FROM hallpass_sessions WHERE id = ?";
    conn.exec_first(sql, (record.session.id.as_bytes().as_slice(),)).await.unwrap()
}

#[tokio::test]
async fn a64_what_was_renewed_stays_and_is_looked_at_once() {
    let (url, store) = common::store().await;
    let mut conn = beside(&url).await;
    let (dead, first, second) = (created(&store).await, created(&store).await, created(&store).await);
    for record in [&first, &second] {
        renewed(&store, record, NOW.plus(30 * DAY)).await;
        assert_eq!(
            due_at(&mut conn, record).await,
            Some(NOW.plus(HOUR).as_millis()),
            "a renewal moves no entry of an index"
        );
    }
    let later = NOW.plus(DAY);
    assert_eq!(store.sweepable(&sweep(later, 10)).await.unwrap(), 1);
    assert_eq!(store.health(later).await.unwrap().live, 2);
    assert_eq!(store.sweep(&sweep(later, 10)).await.unwrap(), Swept { expired: 1, ended: 0, more: false });
    assert_eq!(store.find(dead.session.id).await.unwrap(), None);
    for record in [&first, &second] {
        assert!(store.find(record.session.id).await.unwrap().unwrap().session.is_live_at(later));
        assert_eq!(due_at(&mut conn, record).await, Some(NOW.plus(30 * DAY).as_millis()));
    }
    assert_eq!(store.sweep(&sweep(NOW.plus(30 * DAY), 10)).await.unwrap().expired, 2);
}

/// A batch full of renewed rows in front is passed in the same step: a step that promises more removes something.
#[tokio::test]
async fn renewed_rows_in_front_do_not_stop_a_sweep() {
    let (_url, store) = common::store().await;
    for _ in 0..9 {
        let record = created(&store).await;
        renewed(&store, &record, NOW.plus(30 * DAY)).await;
    }
    let mut dead = record(&user("bob"), NOW);
    dead.session.idle_expires_at = NOW.plus(2 * HOUR);
    store.create(&dead, NOW, None).await.unwrap();
    let swept = store.sweep(&sweep(NOW.plus(DAY), 3)).await.unwrap();
    assert_eq!((swept.expired, swept.more), (1, false));
    assert_eq!(store.health(NOW.plus(DAY)).await.unwrap().live, 9);
}

#[tokio::test]
async fn a_shorter_deadline_counts_at_once() {
    let (url, store) = common::store().await;
    let mut conn = beside(&url).await;
    let record = created(&store).await;
    renewed(&store, &record, NOW.plus(HOUR / 2)).await;
    assert_eq!(due_at(&mut conn, &record).await, Some(NOW.plus(HOUR / 2).as_millis()));
    assert_eq!(store.sweep(&sweep(NOW.plus(HOUR / 2), 10)).await.unwrap().expired, 1);
}

/// A sweep goes on where its last step ended; a row that turns up behind it is not forgotten.
#[tokio::test]
async fn what_is_due_before_the_place_that_a_sweep_reached_is_found_before_it_ends() {
    let (_url, store) = common::store().await;
    let until = async |hour: u32| {
        let mut new = record(&user("alice"), NOW);
        new.session.idle_expires_at = NOW.plus(hour * HOUR);
        store.create(&new, NOW, None).await.unwrap();
    };
    for hour in 2..6 {
        until(hour).await;
    }
    for _ in 0..2 {
        assert_eq!(store.sweep(&sweep(NOW.plus(DAY), 1)).await.unwrap(), Swept { expired: 1, ended: 0, more: true });
    }
    until(1).await;
    let mut removed = 0;
    loop {
        let swept = store.sweep(&sweep(NOW.plus(DAY), 2)).await.unwrap();
        removed += swept.expired;
        if !swept.more {
            break;
        }
    }
    assert_eq!(removed, 3);
    assert_eq!(store.sweepable(&sweep(NOW.plus(DAY), 1)).await.unwrap(), 0);
}
