//! What is done to nodes and databases while the load goes on.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::book::Known;
use crate::cluster::Cluster;
use crate::history::{Answer, History, Moment, Request, now};
use crate::node::{REQUEST, client};
use crate::proxy::{Network, Proxy};
use crate::random::Random;
use crate::support::PATIENCE;

/// How long something may take to be noticed, on a busy machine.
const MARGIN: Duration = Duration::from_millis(300);

/// SIGSTOP for longer than a lease, while sessions end elsewhere; asked for them before it continues, so that these requests are the first that it sees (R4).
pub(crate) async fn freeze(cluster: &Arc<Cluster>, number: usize) {
    let node = &cluster.nodes[number];
    let (frozen_at, enough_at) = stands_still(cluster, number).await;
    tokio::time::sleep_until(Instant::now() + cluster.lease + MARGIN).await;
    let ended = cluster.book.ended_between(frozen_at, enough_at);
    let mut asking = JoinSet::new();
    for known in ended.iter().take(30) {
        let (cluster, known) = (Arc::clone(cluster), Arc::clone(known));
        asking.spawn(async move { cluster.ask(number, &client(), &known, false).await });
    }
    // They lie in its sockets.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(node.state(), 'T', "it should stand still");
    let thawed_at = now();
    node.thaw();
    let first = asking.join_all().await;
    assert!(!first.is_empty() && first.iter().all(|request| request.answer != Answer::Accepted), "{first:?}");
    assert!(first.iter().any(|request| request.answer == Answer::Refused), "nobody was answered: {first:?}");
    cluster.works(number, "after it was continued").await;
    node.may_revoke.store(true, Ordering::SeqCst);
    let history = cluster.book.history();
    for request in of(&history, number).filter(|request| request.begun > frozen_at && request.begun < thawed_at) {
        assert!(request.ended > thawed_at || request.answer == Answer::Unknown, "it did not stand still: {request:?}");
        // Decided after it was continued, whenever it was sent.
        let has_ended = ended.iter().any(|known| known.number == request.session);
        assert!(!has_ended || request.answer != Answer::Accepted, "one of the first decisions: {request:?}");
    }
}

/// SIGSTOP, while sessions end elsewhere: since when, and until when some have.
pub(crate) async fn stands_still(cluster: &Cluster, number: usize) -> (Moment, Moment) {
    let node = &cluster.nodes[number];
    node.revokes_nothing().await;
    for _ in 0..10 {
        node.freeze();
        let frozen_at = now();
        if acknowledges_soon(cluster, frozen_at).await {
            return (frozen_at, now());
        }
        // It stands still with a lock of the database, which is bad luck: nobody can revoke anything.
        node.thaw();
        tokio::time::sleep(Duration::from_millis(37)).await;
    }
    panic!("nothing is acknowledged while node {number} stands still");
}

/// One node's way to the database swallows everything for longer than a lease, while sessions end elsewhere (R3). How often it accepted what had ended, since it could not
/// know: that shows that it was cut off.
pub(crate) async fn cut_off(cluster: &Arc<Cluster>, number: usize, proxy: &Proxy, network: Network) -> usize {
    let node = &cluster.nodes[number];
    node.revokes_nothing().await;
    // Connections that were lost silently before may still cost it a lease now and then.
    node.has_a_lease(cluster.lease / 2).await;
    proxy.set(network);
    let cut_at = now();
    pester(cluster, number, cut_at, cut_at + cluster.lease + REQUEST + MARGIN).await;
    let mended_at = now();
    let acknowledged = cluster.book.acknowledged_since(cut_at);
    assert!(acknowledged >= 5, "{acknowledged} revocations while one node was cut off");
    proxy.set(Network::Open);
    cluster.works(number, "after it was cut off").await;
    node.may_revoke.store(true, Ordering::SeqCst);
    let history = cluster.book.history();
    let without_a_lease = || {
        let since = cut_at + cluster.lease;
        of(&history, number).filter(move |request| request.begun > since && request.ended < mended_at)
    };
    // It has heard of nothing since, so what it has in memory is good for nothing more.
    no_acceptance(without_a_lease());
    assert!(without_a_lease().count() > 0, "it was not asked");
    stale(&history, number, cut_at, mended_at)
}

/// Asks a node that may not answer for what has ended since, with a connection for each request.
pub(crate) async fn pester(cluster: &Arc<Cluster>, number: usize, since: Duration, until: Duration) {
    let (mut random, mut asking) = (Random::seeded(cluster.seed), JoinSet::new());
    while now() < until {
        let ended = cluster.book.ended_between(since, until);
        if !ended.is_empty() && asking.len() < 150 {
            let known = Arc::clone(&ended[random.below(ended.len())]);
            let cluster = Arc::clone(cluster);
            asking.spawn(async move { cluster.ask(number, &client(), &known, false).await });
        }
        while asking.try_join_next().is_some() {}
        tokio::time::sleep(Duration::from_millis(12)).await;
    }
    // The last ones are written down when they are over.
    tokio::spawn(asking.join_all());
}

/// The database's servers are away between `take` and `bring back`, for longer than a lease (R5); from when, and until when. What was acknowledged by `kept_until` holds
/// afterwards.
pub(crate) async fn database_away(
    cluster: &Arc<Cluster>,
    kept_until: Moment,
    take: impl FnOnce(),
    bring_back: impl FnOnce(),
) -> (Moment, Moment) {
    let count = cluster.own_number();
    tokio::task::block_in_place(take);
    let away_at = now();
    let begun = Instant::now();
    tokio::time::sleep_until(begun + cluster.lease + MARGIN).await;
    for number in 0..count {
        pester(cluster, number, away_at.saturating_sub(cluster.lease * 2), now() + MARGIN).await;
    }
    let back_from = now();
    tokio::task::block_in_place(bring_back);
    cluster.all_work("after the database came back").await;
    // What was acknowledged before it was away, of the oldest connections too, which may not know yet.
    let ended = cluster.book.ended_between(Duration::ZERO, away_at.min(kept_until));
    for number in 0..count {
        refuses(cluster, number, &ended).await;
    }
    let history = cluster.book.history();
    for number in 0..count {
        let meanwhile = || {
            let since = away_at + cluster.lease;
            of(&history, number).filter(move |request| request.begun > since && request.ended < back_from)
        };
        no_acceptance(meanwhile());
        // Nobody is signed out by it either: the checker looks at that.
        assert!(
            meanwhile().any(|request| request.answer == Answer::Unavailable),
            "node {number} had its database all the time"
        );
    }
    (away_at, back_from)
}

/// Asks every node for these again and again, until then: whoever has one in memory says so.
pub(crate) async fn asks_all(cluster: &Cluster, sessions: &[Arc<Known>], until: Moment) {
    let clients: Vec<_> = cluster.nodes.iter().map(|_| client()).collect();
    while now() < until {
        for (number, client) in clients.iter().enumerate() {
            for known in sessions {
                cluster.ask(number, client, known, false).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// kill -9 of a server process, and a start in its place.
pub(crate) async fn kill_node(cluster: &Arc<Cluster>, number: usize) {
    let node = &cluster.nodes[number];
    let since = now();
    let place = node.kill().await;
    cluster.acknowledges(since, 4, "while a node is dead").await;
    cluster.serve_again(number, place).await;
    // What ended while it was dead, and before.
    refuses(cluster, number, &cluster.book.ended_between(Duration::ZERO, now())).await;
    cluster.works(number, "after it was started again").await;
}

/// The node does not accept the last of these, and refuses at least one. After a fault it may answer from memory for a while before its reads of the database succeed, too.
pub(crate) async fn refuses(cluster: &Cluster, number: usize, ended: &[Arc<Known>]) {
    let (asked, begun) = (client(), Instant::now());
    loop {
        let mut answers = Vec::new();
        for known in ended.iter().rev().take(20) {
            let request = cluster.ask(number, &asked, known, false).await;
            assert_ne!(request.answer, Answer::Accepted, "what was acknowledged is gone: {request:?}");
            answers.push(request.answer);
        }
        if answers.contains(&Answer::Refused) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "node {number} refuses nobody: {answers:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How many requests to this node were accepted between these times although the session's end had been acknowledged.
pub(crate) fn stale(history: &History, number: usize, from: Duration, to: Duration) -> usize {
    let is_stale = |request: &&Request| {
        let session = &history.sessions[request.session];
        let ended_before = |at: Duration| at < request.begun;
        history.revocations.iter().any(|revocation| {
            revocation.acknowledged.is_some_and(ended_before) && revocation.ended(request.session, session)
        })
    };
    let accepted = of(history, number).filter(|request| request.answer == Answer::Accepted);
    accepted.filter(|request| request.begun > from && request.ended < to).filter(is_stale).count()
}

fn of(history: &History, number: usize) -> impl Iterator<Item = &Request> {
    history.requests.iter().filter(move |request| request.node == number)
}

pub(crate) fn no_acceptance<'a>(mut requests: impl Iterator<Item = &'a Request>) {
    let accepted = requests.find(|request| request.answer == Answer::Accepted);
    assert!(accepted.is_none(), "accepted without a lease and without the database: {accepted:?}");
}

async fn acknowledges_soon(cluster: &Cluster, since: Duration) -> bool {
    let begun = Instant::now();
    while cluster.book.acknowledged_since(since) < 4 {
        if begun.elapsed() > REQUEST * 2 {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}
