//! Hints: who hears them, who does not, and what is left of listening.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what should not fail")]

mod support;

use std::time::Duration;

use hallpass_core::{Hints, Store as _};
use hallpass_redis::RedisStore;
use redis::Value;
use support::instance::Instance;
use support::{CLUSTER, REDIS, VALKEY, fresh, fresh_prefix, handles, impatient, needed, options, service, until};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

const SECOND: Duration = Duration::from_secs(1);
/// For what has no bound of its own, on a busy machine.
const LONG: Duration = Duration::from_secs(20);

/// What is heard when it begins to listen.
async fn begun(hints: &mut Hints) {
    timeout(LONG, hints.next()).await.expect("it listens");
}

async fn listeners(instance: &Instance, prefix: &str) -> i64 {
    let channel = format!("{prefix}hints");
    let answer = instance.ask("primary", &["PUBSUB", "NUMSUB", &channel]).await.unwrap();
    let Value::Array(answer) = answer else { return -1 };
    redis::from_redis_value(answer[1].clone()).unwrap()
}

async fn until_listening(instance: &Instance, prefix: &str, count: i64, limit: Duration) {
    until(limit, "so many listen", || async { (listeners(instance, prefix).await == count).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hint_by_one_handle_is_heard_by_others_within_a_second() {
    let urls = [Some(needed(REDIS)), Some(needed(CLUSTER)), service(VALKEY)];
    for url in urls.into_iter().flatten() {
        let stores = handles(&url, 3).await;
        let stranger = fresh(&url).await;
        let mut hints: Vec<Hints> = stores.iter().map(|store| store.hints().unwrap()).collect();
        let mut strangers = stranger.hints().unwrap();
        for hints in hints.iter_mut().chain([&mut strangers]) {
            begun(hints).await;
        }
        for round in 0..21 {
            stores[round % 3].hint().await.unwrap();
            for hints in &mut hints {
                timeout(SECOND, hints.next()).await.expect("within a second");
            }
        }
        let heard = timeout(Duration::from_millis(100), strangers.next()).await;
        assert!(heard.is_err(), "another prefix is another channel");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_listen_to_a_store_share_a_connection_which_ends_with_the_last_one() {
    let instance = Instance::start("redis").await;
    let prefix = fresh_prefix();
    let store = RedisStore::open(&instance.direct, options(&prefix)).await.unwrap();
    assert_eq!(listeners(&instance, &prefix).await, 0, "nobody wants to hear");
    for _ in 0..3 {
        let (mut first, second) = (store.hints().unwrap(), store.hints().unwrap());
        begun(&mut first).await;
        assert_eq!(listeners(&instance, &prefix).await, 1);
        drop(first);
        assert_eq!(listeners(&instance, &prefix).await, 1, "one still listens");
        drop(second);
        until_listening(&instance, &prefix, 0, SECOND).await;
    }
    let mut hints = store.hints().unwrap();
    begun(&mut hints).await;
    assert_eq!(listeners(&instance, &prefix).await, 1);
    drop(store);
    until_listening(&instance, &prefix, 0, SECOND).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r6_a_listener_that_lost_its_connection_hears_again() {
    let instance = Instance::start("redis").await;
    let prefix = fresh_prefix();
    let listening = RedisStore::open(&instance.direct, options(&prefix)).await.unwrap();
    let telling = RedisStore::open(&instance.direct, options(&prefix)).await.unwrap();
    let mut hints = listening.hints().unwrap();
    begun(&mut hints).await;
    for _ in 0..3 {
        instance.ask("primary", &["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap();
        // What was told meanwhile was told to nobody, so the new connection is a hint by itself.
        begun(&mut hints).await;
        telling.hint().await.unwrap();
        timeout(SECOND, hints.next()).await.expect("it hears again");
    }
}

/// Passes on what connections say until they are cut off, of which nobody is told; later ones get through.
async fn forgetful_proxy(to: u16) -> (u16, watch::Sender<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let cuts = watch::Sender::new(0);
    let cut = cuts.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut cut = cut.subscribe();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => return,
                    _ = cut.changed() => {}
                }
                // Both ends stay open.
                std::future::pending::<()>().await;
            });
        }
    });
    (port, cuts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r6_a_connection_that_hears_nothing_any_more_is_noticed() {
    let instance = Instance::start("redis").await;
    let prefix = fresh_prefix();
    let (port, cuts) = forgetful_proxy(instance.members[0].1).await;
    let listening = RedisStore::open(&format!("redis://127.0.0.1:{port}"), impatient(&prefix)).await.unwrap();
    let telling = RedisStore::open(&instance.direct, impatient(&prefix)).await.unwrap();
    let mut hints = listening.hints().unwrap();
    begun(&mut hints).await;
    cuts.send_modify(|cuts| *cuts += 1);
    telling.hint().await.unwrap();
    assert!(timeout(Duration::from_millis(200), hints.next()).await.is_err(), "it is cut off, and not told so");
    begun(&mut hints).await;
    telling.hint().await.unwrap();
    timeout(SECOND, hints.next()).await.expect("it hears again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r6_in_a_cluster_another_node_is_listened_to() {
    let instance = Instance::start("redis-cluster").await;
    let prefix = fresh_prefix();
    let listening = RedisStore::open(&instance.direct, options(&prefix)).await.unwrap();
    let mut hints = listening.hints().unwrap();
    begun(&mut hints).await;
    for round in 0..3 {
        for (member, _) in &instance.members {
            instance.ask(member, &["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap();
        }
        begun(&mut hints).await;
        // Published at any node, it is heard at any other.
        let (member, _) = &instance.members[round % instance.members.len()];
        instance.ask(member, &["PUBLISH", &format!("{prefix}hints"), ""]).await.unwrap();
        timeout(SECOND, hints.next()).await.expect("whichever node it listens to");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r7_many_hints_are_one_and_nothing_rests_on_them() {
    let store = fresh(&needed(REDIS)).await;
    let mut hints = store.hints().unwrap();
    begun(&mut hints).await;
    let before = store.changes_since(0, 10).await.unwrap();
    for _ in 0..100 {
        store.hint().await.unwrap();
    }
    let mut heard = 0;
    while timeout(Duration::from_millis(100), hints.next()).await.is_ok() {
        heard += 1;
    }
    assert!((1..=100).contains(&heard), "{heard}");
    assert_eq!(store.changes_since(0, 10).await.unwrap(), before);
}
