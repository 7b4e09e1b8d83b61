//! Tasks beside the requests: last-seen times reach the store, dead rows leave it, and no failure stops them.

#![expect(clippy::panic, reason = "a failed helper fails its test")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use hallpass_core::{Event, Policies};
use support::{DAY, house, seconds};

/// Lets paused time run until `ready`, at most an hour of it.
async fn until(what: &str, ready: impl Fn() -> bool) {
    for _ in 0..3600 {
        if ready() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("waited an hour for: {what}");
}

#[tokio::test(start_paused = true)]
async fn last_seen_times_are_written_in_batches_and_at_shutdown() {
    let house = house(Policies::default());
    let tokens = [house.sign_in("alice").await.token, house.sign_in("bob").await.token];
    let background = house.sessions.start_background();
    house.at(seconds(120));
    for _ in 0..10 {
        for token in &tokens {
            house.live(token).await.unwrap();
        }
    }
    until("a flush", || house.probe.touches.load(Ordering::SeqCst) > 0).await;
    assert_eq!(house.probe.touches.load(Ordering::SeqCst), 1, "20 requests, one write");
    for token in &tokens {
        let session = house.sessions.show(token.id()).await.unwrap().unwrap();
        assert_eq!(session.last_seen_at, house.start.plus(seconds(120)));
    }
    house.at(seconds(240));
    house.live(&tokens[0]).await.unwrap();
    background.shutdown().await;
    let session = house.sessions.show(tokens[0].id()).await.unwrap().unwrap();
    assert_eq!(session.last_seen_at, house.start.plus(seconds(240)), "flushed at shutdown");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_or_panics_is_reported_and_goes_on() {
    let house = house(Policies::default());
    let token = house.sign_in("alice").await.token;
    house.at(seconds(40 * DAY));
    let background = house.sessions.start_background();
    house.probe.down.store(true, Ordering::SeqCst);
    until("a failed sweep", || house.sessions.background_status().sweep.failures == 1).await;
    house.probe.down.store(false, Ordering::SeqCst);
    house.probe.panic_in_sweep.store(true, Ordering::SeqCst);
    until("a sweep that panics", || house.sessions.background_status().sweep.failures == 2).await;
    assert_eq!(house.sessions.background_status().sweep.last_success, None);
    house.probe.panic_in_sweep.store(false, Ordering::SeqCst);
    until("a sweep", || house.sessions.background_status().sweep.last_success.is_some()).await;
    assert_eq!(house.sessions.show(token.id()).await.unwrap(), None, "the expired row left");
    assert_eq!(house.events.count(|event| matches!(event, Event::TaskFailed { task: "sweep", .. })), 2);
    assert_eq!(house.events.count(|event| matches!(event, Event::Swept { expired: 1, ended: 0 })), 1);
    background.shutdown().await;
}

#[tokio::test]
async fn last_seen_times_that_could_not_be_written_are_kept() {
    let house = house(Policies::default());
    let token = house.sign_in("alice").await.token;
    house.at(seconds(120));
    house.live(&token).await.unwrap();
    house.probe.read_only.store(true, Ordering::SeqCst);
    assert!(house.sessions.flush_last_seen().await.is_err());
    house.probe.read_only.store(false, Ordering::SeqCst);
    assert_eq!(house.sessions.flush_last_seen().await.unwrap(), 1);
    assert_eq!(house.sessions.flush_last_seen().await.unwrap(), 0);
}

#[tokio::test]
async fn sweeping_tells_how_far_it_is_and_keeps_what_has_its_time() {
    let house = house(Policies::default());
    for _ in 0..3 {
        house.sign_in("alice").await;
    }
    let ended = house.sign_in("bob").await;
    house.sessions.end(&ended.token).await.unwrap();
    house.at(seconds(29 * DAY));
    assert_eq!(house.sessions.sweep(|_| {}).await.unwrap().removed(), 0, "ended rows stay for their retention");
    let live = house.sign_in("carol").await;
    house.at(seconds(30 * DAY));
    assert_eq!(house.sessions.sweep(|_| {}).await.unwrap().expired, 0, "within the grace for clock skew");
    house.at(seconds(30 * DAY + 180));
    let mut steps = Vec::new();
    let swept = house.sessions.sweep(|progress| steps.push(*progress)).await.unwrap();
    assert_eq!((swept.expired, swept.ended, swept.total), (3, 0, Some(3)), "bob's went at its own retention before");
    assert_eq!(steps.first().unwrap().removed(), 0);
    assert_eq!(steps.last().unwrap().removed(), 3);
    assert!(house.live(&live.token).await.is_some());
}
