//! Sweeping by the time at which rows are due, which renewals leave behind.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{DAY, NOW, record, revocation, user};
use hallpass_core::store::{Record, Renewal, Renewed, Sweep, Swept, Target};
use hallpass_core::{SessionId, Sessions, Store as _, Timestamp};
use hallpass_postgres::{PostgresOptions, PostgresStore};

fn at(day: u32) -> Timestamp {
    NOW.plus(day * DAY)
}

fn expired_at(day: u32, batch: u32) -> Sweep {
    Sweep { expired_before: at(day), ended_before: Timestamp::EPOCH, log_before: Timestamp::EPOCH, batch, commits: 1 }
}

/// A session that is idle until the day, and was renewed until the later day if there is one.
async fn until(store: &PostgresStore, day: u32, renewed: Option<u32>) -> Record {
    let mut new = record(&user("alice"), NOW);
    new.session.idle_expires_at = at(day);
    store.create(&new, NOW, None).await.unwrap();
    if let Some(day) = renewed {
        let renewal = Renewal {
            id: new.session.id,
            token_hash: new.token_hash,
            now: NOW.plus(Duration::from_secs(1)),
            due_before: NOW,
            idle_expires_at: at(day),
        };
        let idle_expires_at = at(day);
        assert_eq!(store.renew(&renewal).await.unwrap(), Renewed::Renewed { idle_expires_at });
    }
    new
}

async fn is_there(store: &PostgresStore, id: SessionId) -> bool {
    store.find(id).await.unwrap().is_some()
}

#[tokio::test]
async fn renewed_sessions_stay_until_their_own_deadline_and_the_oldest_go_first() {
    let (url, store) = common::store().await;
    // By deadline: 1, 3, 4, 5, 6; by the time at which they are first looked at: 1, 2, 2, 3, 6.
    let first = until(&store, 1, None).await;
    let fifth = until(&store, 2, Some(5)).await;
    let fourth = until(&store, 2, Some(4)).await;
    let third = until(&store, 3, None).await;
    let last = until(&store, 6, None).await;
    let order = [&first, &third, &fourth, &fifth, &last];
    for gone in 0..order.len() {
        for (n, record) in order.iter().enumerate() {
            assert_eq!(is_there(&store, record.session.id).await, n >= gone, "{gone} removed, session {n}");
        }
        let swept = store.sweep(&expired_at(6, 1)).await.unwrap();
        assert_eq!((swept.expired, swept.ended), (1, 0));
    }
    assert_eq!(store.sweep(&expired_at(6, 1)).await.unwrap(), Swept::default());
    // None is looked at again before it can be dead.
    let living = until(&store, 1, Some(60)).await;
    assert_eq!(store.sweep(&expired_at(7, 10)).await.unwrap(), Swept::default());
    assert!(is_there(&store, living.session.id).await);
    let due: i64 =
        common::plain(&url).await.query_one("SELECT due_at FROM hallpass_sessions", &[]).await.unwrap().get(0);
    assert_eq!(due, at(60).as_millis());
    assert_eq!(store.sweepable(&expired_at(59, 10)).await.unwrap(), 0);
    assert_eq!(store.sweepable(&expired_at(60, 10)).await.unwrap(), 1);
}

#[tokio::test]
async fn many_renewed_ones_do_not_hide_a_dead_one() {
    let (_, store) = common::store().await;
    for _ in 0..30 {
        until(&store, 2, Some(40)).await;
    }
    let dead = until(&store, 3, None).await;
    let (mut removed, mut steps) = (0, 0);
    loop {
        let swept = store.sweep(&expired_at(10, 2)).await.unwrap();
        removed += swept.expired;
        steps += 1;
        if !swept.more {
            break;
        }
        assert!(steps < 30, "a sweep without an end");
    }
    assert_eq!(removed, 1);
    assert!(!is_there(&store, dead.session.id).await);
}

#[tokio::test]
async fn a_deadline_that_moved_back_is_found_in_time() {
    let (_, store) = common::store().await;
    let moved_back = until(&store, 30, Some(2)).await;
    assert_eq!(store.sweep(&expired_at(3, 10)).await.unwrap().expired, 1);
    assert!(!is_there(&store, moved_back.session.id).await);
}

#[tokio::test]
async fn what_was_revoked_before_it_expired_is_history_and_not_expired() {
    let (_, store) = common::store().await;
    for _ in 0..5 {
        until(&store, 1, None).await;
    }
    store.revoke(&revocation(Target::Everyone, NOW)).await.unwrap();
    let mut sweep = expired_at(3, 2);
    for _ in 0..5 {
        let swept = store.sweep(&sweep).await.unwrap();
        assert_eq!((swept.expired, swept.ended), (0, 0));
    }
    sweep.ended_before = NOW;
    let mut ended = 0;
    for _ in 0..5 {
        ended += store.sweep(&sweep).await.unwrap().ended;
    }
    assert_eq!(ended, 5);
}

/// A sweep goes on where its last step ended; a row that turns up behind it is not forgotten.
#[tokio::test]
async fn what_is_due_before_the_place_that_a_sweep_reached_is_found_before_it_ends() {
    let (_, store) = common::store().await;
    let mut made = Vec::new();
    for day in 2..6 {
        made.push(until(&store, day, None).await);
    }
    for gone in 1..3 {
        assert_eq!(store.sweep(&expired_at(9, 1)).await.unwrap(), Swept { expired: 1, ended: 0, more: true });
        assert!(!is_there(&store, made[gone - 1].session.id).await);
    }
    made.push(until(&store, 1, None).await);
    let mut removed = 0;
    loop {
        let swept = store.sweep(&expired_at(9, 2)).await.unwrap();
        removed += swept.expired;
        if !swept.more {
            break;
        }
    }
    assert_eq!(removed, 3);
    assert_eq!(store.sweepable(&expired_at(9, 1)).await.unwrap(), 0);
}

/// An open snapshot keeps every removed row's entry in the index: a sweep that began anew at each step would read them all at each step.
#[tokio::test]
async fn a_sweep_does_not_read_again_what_it_removed() {
    does_not_read_again(1, false).await;
    does_not_read_again(1, true).await;
}

/// Neither from one step to the next nor from one commit to the next.
#[tokio::test]
async fn a_sweep_of_many_commits_does_not_read_again_what_it_removed() {
    does_not_read_again(10, false).await;
    does_not_read_again(10, true).await;
}

async fn does_not_read_again(commits: u32, ended: bool) {
    const ROWS: i64 = 4_000;
    let (url, store) = common::store().await;
    let first = until(&store, 1, None).await;
    let client = common::plain(&url).await;
    let columns = "token_hash, user_id, class, created_at, authenticated_at, renewed_at, last_seen_at, absolute_expires_at, \
                   epoch, methods, source, attributes_version, attributes";
    client
        .batch_execute(&format!(
            "INSERT INTO hallpass_sessions (id, due_at, idle_expires_at, {columns}) SELECT gen_random_uuid(), due_at - n, due_at - n, {columns} \
             FROM hallpass_sessions, generate_series(2, {ROWS}) n"
        ))
        .await
        .unwrap();
    if ended {
        let end = "UPDATE hallpass_sessions SET ended_at = due_at, ended_position = 0, ended_by_kind = 'system', ended_by = '', ended_reason = 'limit'";
        client.batch_execute(end).await.unwrap();
    }
    client.batch_execute("VACUUM ANALYZE hallpass_sessions").await.unwrap();
    let snapshot = common::plain(&url).await;
    snapshot
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM hallpass_sessions")
        .await
        .unwrap();
    let read = async || -> i64 {
        let sql =
            "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE schemaname = current_schema() AND indexrelname = $1";
        client
            .query_one(sql, &[&if ended { "hallpass_ended_by_time" } else { "hallpass_live_by_due" }])
            .await
            .unwrap()
            .get(0)
    };
    let mut removed = 0;
    loop {
        let swept = store.sweep(&Sweep { commits, ended_before: at(2), ..expired_at(2, 50) }).await.unwrap();
        removed += if ended { swept.ended } else { swept.expired };
        if !swept.more {
            break;
        }
    }
    assert_eq!(removed, ROWS as u64);
    assert!(!is_there(&store, first.session.id).await);
    // Its connections tell what they read when they end.
    store.close().await;
    let begun = tokio::time::Instant::now();
    while read().await < ROWS {
        assert!(begun.elapsed() < Duration::from_secs(10), "the statistics do not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Each once, and once more when it looks from the beginning before it ends.
    let read = read().await;
    assert!(read < 4 * ROWS, "{read} entries read to remove {ROWS} rows");
}

/// What the tests of steps of many commits sweep: so many expired rows, one that lives, and a trigger that notes how many rows each transaction removed.
async fn watched(url: &str, store: &PostgresStore, expired: u32, slow: &str) -> (tokio_postgres::Client, SessionId) {
    let first = until(store, 1, None).await;
    let living = until(store, 60, None).await;
    let client = common::plain(url).await;
    let columns = "token_hash, user_id, class, created_at, authenticated_at, renewed_at, last_seen_at, absolute_expires_at, \
                   epoch, methods, source, attributes_version, attributes";
    let more = expired - 1;
    client
        .batch_execute(&format!(
            "INSERT INTO hallpass_sessions (id, due_at, idle_expires_at, {columns}) SELECT gen_random_uuid(), due_at - n, due_at - n, {columns} \
             FROM hallpass_sessions, generate_series(1, {more}) n WHERE id = '{}'; \
             CREATE TABLE removals (transaction bigint, n bigint); \
             CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$ BEGIN \
             INSERT INTO removals SELECT txid_current(), count(*) FROM gone HAVING count(*) > 0; {slow} RETURN NULL; END $$; \
             CREATE TRIGGER noted AFTER DELETE ON hallpass_sessions REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION noted()",
            uuid::Uuid::from_bytes(*first.session.id.as_bytes()),
        ))
        .await
        .unwrap();
    (client, living.session.id)
}

/// How many transactions removed rows, and how many the largest of them did.
async fn removals(client: &tokio_postgres::Client) -> (i64, i64) {
    let sql =
        "SELECT count(*), coalesce(max(n), 0)::bigint FROM (SELECT sum(n) n FROM removals GROUP BY transaction) t";
    let row = client.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

/// A step of many small commits is one message: what it costs the checks is in bench/README.md.
#[tokio::test]
async fn a_step_of_many_commits_makes_them_small_and_no_more_than_it_was_told() {
    let (url, store) = common::store().await;
    let (client, living) = watched(&url, &store, 1_000, "").await;
    let steps = to_the_end(&store, &Sweep { commits: 3, ..expired_at(9, 10) }).await;
    assert_eq!(steps.iter().sum::<u64>(), 1_000);
    assert_eq!(steps.iter().max(), Some(&30), "{steps:?}");
    assert_eq!(removals(&client).await, (100, 10));
    assert!(is_there(&store, living).await);
    // Ended ones the same way.
    for _ in 0..7 {
        until(&store, 50, None).await;
    }
    store.revoke(&revocation(Target::User(user("alice")), NOW)).await.unwrap();
    while store.settle(100, NOW).await.unwrap().more {}
    let steps = to_the_end(&store, &Sweep { ended_before: NOW, commits: 3, ..expired_at(9, 2) }).await;
    assert_eq!(steps.iter().sum::<u64>(), 8);
    assert!(steps.iter().any(|removed| (3..=6).contains(removed)), "{steps:?}");
    assert_eq!(removals(&client).await, (104, 10));
}

/// How many rows each step removed.
async fn to_the_end(store: &PostgresStore, sweep: &Sweep) -> Vec<u64> {
    let mut steps = Vec::new();
    loop {
        let swept = store.sweep(sweep).await.unwrap();
        steps.push(swept.expired + swept.ended);
        if !swept.more {
            return steps;
        }
        assert!(steps.len() < 2_000, "a sweep without an end");
    }
}

#[tokio::test]
async fn an_application_sweeps_in_small_commits() {
    let (url, store) = common::store().await;
    let (client, _) = watched(&url, &store, 600, "").await;
    let sessions = Sessions::builder(Arc::new(store)).build().unwrap();
    assert!(sessions.sweep(|_| ()).await.unwrap().expired >= 600);
    let (commits, largest) = removals(&client).await;
    assert!(commits >= 3 && largest <= 200, "{commits} commits, the largest of {largest} rows");
}

#[tokio::test]
async fn a_step_of_many_commits_ends_in_time_on_a_slow_server() {
    let (url, store) = common::store().await;
    let (client, _) = watched(&url, &store, 100, "PERFORM pg_sleep(0.03);").await;
    let sweep = Sweep { commits: 100, ..expired_at(9, 1) };
    // One connection for changes, so that all others wait: 20 ms, and the commit that was under way then.
    let swept = store.sweep(&sweep).await.unwrap();
    assert!(swept.more && (1..=2).contains(&swept.expired), "{swept:?}");
    let several = PostgresStore::connect(&url, PostgresOptions { connections: 4, ..common::small() }).await.unwrap();
    // 200 ms.
    let swept = several.sweep(&sweep).await.unwrap();
    assert!(swept.more && (3..=8).contains(&swept.expired), "{swept:?}");
    assert_eq!(removals(&client).await.1, 1);
}

/// Commits that were made would be made twice: what a series left undone is for the next step.
#[tokio::test]
async fn a_step_of_many_commits_that_met_a_conflict_is_not_begun_anew() {
    let (url, store) = common::store().await;
    let conflict = "IF nextval('commits') = 3 THEN RAISE EXCEPTION 'made by the test' USING ERRCODE = '40001'; END IF;";
    let plain = common::plain(&url).await;
    plain.batch_execute("CREATE SEQUENCE commits").await.unwrap();
    let (client, _) = watched(&url, &store, 40, conflict).await;
    let sweep = Sweep { commits: 100, ..expired_at(9, 1) };
    let swept = store.sweep(&sweep).await.unwrap();
    // Two commits of the series, and the one of its own that follows a conflict.
    assert_eq!(removals(&client).await, (3, 1), "{swept:?}");
    assert!(swept.more);
    to_the_end(&store, &sweep).await;
    assert_eq!(removals(&client).await, (40, 1));
}

#[tokio::test]
async fn a_step_of_many_commits_passes_over_renewed_ones_and_leaves_what_is_behind_a_mark() {
    let (_, store) = common::store().await;
    let mut living = Vec::new();
    for day in 2..32 {
        living.push(until(&store, day, Some(40)).await);
        until(&store, day, None).await;
    }
    let steps = to_the_end(&store, &Sweep { commits: 50, ..expired_at(32, 3) }).await;
    assert_eq!(steps.iter().sum::<u64>(), 30);
    assert!(steps.iter().any(|removed| *removed > 3), "{steps:?}");
    for record in &living {
        assert!(is_there(&store, record.session.id).await);
    }
    // They expire, but were revoked before: history.
    store.revoke(&revocation(Target::Everyone, NOW)).await.unwrap();
    let sweep = Sweep { commits: 50, ..expired_at(50, 3) };
    for _ in 0..20 {
        let swept = store.sweep(&sweep).await.unwrap();
        assert_eq!((swept.expired, swept.ended), (0, 0));
    }
    for record in &living {
        assert!(is_there(&store, record.session.id).await);
    }
}

/// Behind a pooler each step is a commit: nothing there may outlast a transaction.
#[tokio::test]
async fn behind_a_pooler_a_step_is_one_commit() {
    let (url, store) = common::store().await;
    let (client, _) = watched(&url, &store, 50, "").await;
    let options = PostgresOptions { pooler: true, ..common::small() };
    let pooled = PostgresStore::connect(&url, options).await.unwrap();
    let sweep = Sweep { commits: 100, ..expired_at(9, 10) };
    assert_eq!(pooled.sweep(&sweep).await.unwrap(), Swept { expired: 10, ended: 0, more: true });
    assert_eq!(removals(&client).await, (1, 10));
    assert_eq!(to_the_end(&store, &sweep).await.iter().sum::<u64>(), 40);
}

/// Databases where not everybody may use PL/pgSQL are swept one commit at a time.
#[tokio::test]
async fn without_the_right_to_use_plpgsql_a_step_is_one_commit() {
    let (url, name) = (common::url(), common::fresh_schema());
    let admin = common::plain(&common::with_schema(&url, "public")).await;
    for sql in [format!("CREATE DATABASE {name}"), format!("CREATE ROLE {name} LOGIN")] {
        admin.batch_execute(&sql).await.unwrap();
    }
    let (server, _) = url.rsplit_once('/').unwrap();
    let inside = common::plain(&common::with_schema(&format!("{server}/{name}"), "public")).await;
    let rights = format!("GRANT CREATE ON DATABASE {name} TO {name}; REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC");
    inside.batch_execute(&rights).await.unwrap();
    let (_, host) = server.split_once('@').unwrap();
    let theirs = common::with_schema(&format!("postgres://{name}@{host}/{name}"), &common::fresh_schema());
    let store = PostgresStore::connect(&theirs, common::small()).await.unwrap();
    for _ in 0..5 {
        until(&store, 1, None).await;
    }
    let sweep = Sweep { commits: 100, ..expired_at(3, 2) };
    for expired in [2, 2, 1] {
        assert_eq!(store.sweep(&sweep).await.unwrap(), Swept { expired, ended: 0, more: expired == 2 });
    }
    store.close().await;
}
