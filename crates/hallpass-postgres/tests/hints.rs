//! Hints: who hears them, who does not, and what is left of listening.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what should not fail")]

mod common;

use std::time::Duration;

use common::services::Service;
use common::{NOW, record, revocation, small, user};
use hallpass_core::store::Target;
use hallpass_core::{Hints, State, Store as _};
use hallpass_postgres::{PostgresOptions, PostgresStore};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::Client;

const SECOND: Duration = Duration::from_secs(1);
/// For what has no bound of its own, on a busy machine.
const LONG: Duration = Duration::from_secs(20);

/// The backends of a schema's stores that listen.
async fn listening(client: &Client, url: &str) -> Vec<(i32, String)> {
    let name = url.rsplit_once("application_name=").unwrap().1;
    let sql = "SELECT pid, query FROM pg_stat_activity WHERE application_name = $1 AND query LIKE 'LISTEN%'";
    let rows = client.query(sql, &[&name]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// What is heard when it begins to listen.
async fn begun(hints: &mut Hints) {
    timeout(LONG, hints.next()).await.expect("it listens");
}

/// Waits until so many backends listen.
async fn until_listening(client: &Client, url: &str, count: usize, limit: Duration) {
    let deadline = Instant::now() + limit;
    loop {
        let listening = listening(client, url).await;
        if listening.len() == count {
            return;
        }
        assert!(Instant::now() < deadline, "{listening:?} listen after {limit:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_hint_by_one_handle_is_heard_by_others_within_a_second() {
    let (url, one) = common::store().await;
    let other = common::connect(&url).await;
    let (_, stranger) = common::store().await;
    let (mut own, mut others, mut strangers) =
        (one.hints().unwrap(), other.hints().unwrap(), stranger.hints().unwrap());
    for hints in [&mut own, &mut others, &mut strangers] {
        begun(hints).await;
    }
    for _ in 0..20 {
        one.hint().await.unwrap();
        for hints in [&mut own, &mut others] {
            timeout(SECOND, hints.next()).await.expect("within a second");
        }
    }
    let heard = timeout(Duration::from_millis(100), strangers.next()).await;
    assert!(heard.is_err(), "another schema is another channel");
}

#[tokio::test]
async fn all_who_listen_to_a_store_share_a_connection_which_ends_with_the_last_one() {
    let (url, store) = common::store().await;
    let client = common::plain(&url).await;
    assert_eq!(listening(&client, &url).await, [], "nobody wants to hear");
    for _ in 0..3 {
        let (mut first, second) = (store.hints().unwrap(), store.hints().unwrap());
        begun(&mut first).await;
        until_listening(&client, &url, 1, LONG).await;
        drop(first);
        assert_eq!(listening(&client, &url).await.len(), 1, "one still listens");
        drop(second);
        until_listening(&client, &url, 0, SECOND).await;
    }
    let mut hints = store.hints().unwrap();
    begun(&mut hints).await;
    until_listening(&client, &url, 1, LONG).await;
    store.close().await;
    until_listening(&client, &url, 0, SECOND).await;
    let dropped = common::connect(&url).await;
    let mut hints = dropped.hints().unwrap();
    begun(&mut hints).await;
    until_listening(&client, &url, 1, LONG).await;
    drop(dropped);
    until_listening(&client, &url, 0, SECOND).await;
}

#[tokio::test]
async fn r6_a_listener_that_lost_its_connection_hears_again() {
    let (url, store) = common::store().await;
    let other = common::connect(&url).await;
    let client = common::plain(&url).await;
    let mut hints = store.hints().unwrap();
    begun(&mut hints).await;
    for _ in 0..3 {
        let listener = listening(&client, &url).await.pop().unwrap().0;
        client.execute("SELECT pg_terminate_backend($1)", &[&listener]).await.unwrap();
        // What was told meanwhile was told to nobody, so the new connection is a hint by itself.
        begun(&mut hints).await;
        other.hint().await.unwrap();
        timeout(SECOND, hints.next()).await.expect("it hears again");
    }
}

#[tokio::test]
async fn r7_other_words_are_no_hints_and_many_hints_are_one() {
    let (url, store) = common::store().await;
    let client = common::plain(&url).await;
    let mut hints = store.hints().unwrap();
    begun(&mut hints).await;
    let listen = listening(&client, &url).await.pop().unwrap().1;
    let channel = listen.trim_start_matches("LISTEN ");
    client.batch_execute(&format!("NOTIFY {channel}, '17'; NOTIFY \"hallpass_\"")).await.unwrap();
    assert!(timeout(Duration::from_millis(100), hints.next()).await.is_err());
    let before = store.changes_since(0, 10).await.unwrap();
    for _ in 0..100 {
        client.batch_execute(&format!("NOTIFY {channel}")).await.unwrap();
    }
    timeout(SECOND, hints.next()).await.expect("forged ones are hints too");
    while timeout(Duration::from_millis(100), hints.next()).await.is_ok() {}
    assert_eq!(store.changes_since(0, 10).await.unwrap(), before, "and nothing rests on them");
}

#[tokio::test]
async fn r6_behind_a_pooler_hints_are_unusable_and_nothing_else_suffers() {
    let pooler = Service::start("pgbouncer", &["--postgres", &common::url()]);
    let schema = common::fresh_schema();
    let direct = common::connect(&common::with_schema(&common::url(), &schema)).await;
    let through = PostgresStore::connect(&common::with_schema(&pooler.url, &schema), small()).await.unwrap();
    let (mut told, mut untold) = (direct.hints().unwrap(), through.hints().unwrap());
    begun(&mut told).await;
    // Longer than it tries to hear itself, and as many as it could hear by accident.
    let deadline = Instant::now() + Duration::from_secs(4);
    while Instant::now() < deadline {
        direct.hint().await.unwrap();
        let heard = timeout(Duration::from_millis(50), untold.next()).await;
        assert!(heard.is_err(), "what cannot be relied on is not used");
    }
    // The way out is open.
    while timeout(Duration::from_millis(100), told.next()).await.is_ok() {}
    through.hint().await.unwrap();
    timeout(SECOND, told.next()).await.expect("hints are sent through the pooler");
    let new = record(&user("alice"), NOW);
    through.create(&new, NOW, None).await.unwrap();
    direct.revoke(&revocation(Target::User(user("alice")), NOW)).await.unwrap();
    let found = through.find(new.session.id).await.unwrap().unwrap();
    assert!(matches!(found.session.state, State::Ended(_)));
    assert_eq!(through.changes_since(0, 10).await.unwrap().head, 1);
    let (client, connection) = tokio_postgres::connect(&pooler.url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let left = client.simple_query("SELECT pg_listening_channels()").await.unwrap();
    let left = left.iter().filter(|row| matches!(row, tokio_postgres::SimpleQueryMessage::Row(_))).count();
    assert_eq!(left, 0, "others who use the pooler's connections do not listen in our place");
    let said = PostgresOptions { pooler: true, ..small() };
    let told_so = PostgresStore::connect(&common::with_schema(&pooler.url, &schema), said).await.unwrap();
    assert!(told_so.hints().is_none());
}
