//! Signing in, asking and revoking, on and on, all at once.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Client;
use tokio::task::JoinHandle;

use crate::cluster::{Cluster, USERS};
use crate::history::{Answer, Target, now};
use crate::node::client;
use crate::random::Random;

/// Live sessions of a user.
const EACH: usize = 5;
/// Tasks that ask one node. One that waits for a node that stands still keeps no other from asking.
const ASKERS: usize = 2;
/// One request in so many is one for which nodes read the store.
const STRICT: usize = 12;

/// Whose sessions are ended by whom: each user's revocations come one after the other.
const BY_NODES: Range<usize> = 0..3;
const BY_OWN: Range<usize> = 3..6;
const BY_WAITING: Range<usize> = 6..USERS;

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(cluster: &Arc<Cluster>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut random = Random::seeded(cluster.seed);
        let mut tasks = vec![tokio::spawn(sign_in(Arc::clone(cluster), Arc::clone(&stop)))];
        for node in 0..cluster.nodes.len() {
            for _ in 0..ASKERS {
                tasks.push(tokio::spawn(ask(Arc::clone(cluster), node, random.fork(), Arc::clone(&stop))));
            }
        }
        for (users, by) in [(BY_NODES, By::AnyNode), (BY_OWN, By::Own), (BY_WAITING, By::OwnThatWaits)] {
            tasks.push(tokio::spawn(revoke(Arc::clone(cluster), users, by, random.fork(), Arc::clone(&stop))));
        }
        Self { stop, tasks }
    }

    /// All calls that are under way come to their ends.
    pub(crate) async fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

async fn sign_in(cluster: Arc<Cluster>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        for user in 0..USERS {
            if cluster.book.live_of(user) < EACH {
                cluster.sign_in(user).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn ask(cluster: Arc<Cluster>, node: usize, mut random: Random, stop: Arc<AtomicBool>) {
    let client = client();
    while !stop.load(Ordering::SeqCst) {
        let pause = match cluster.book.any(&mut random, cluster.recently()) {
            Some(known) => {
                let strict = random.below(STRICT) == 0;
                match cluster.ask(node, &client, &known, strict).await.answer {
                    // Perhaps there is no process.
                    Answer::Unknown | Answer::Unavailable => 20,
                    Answer::Accepted | Answer::Refused => 1 + random.below(5),
                }
            }
            None => 5,
        };
        tokio::time::sleep(Duration::from_millis(pause as u64)).await;
    }
}

/// Who ends sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// One of those under test that may, by what their users can do.
    AnyNode,
    /// The test's own one, which also ends all of a user's.
    Own,
    /// The same, and returns when no node accepts.
    OwnThatWaits,
}

async fn revoke(cluster: Arc<Cluster>, users: Range<usize>, by: By, mut random: Random, stop: Arc<AtomicBool>) {
    let client = client();
    while !stop.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(30 + random.below(60) as u64)).await;
        let user = users.start + random.below(users.len());
        let Some((one, other)) = cluster.book.two_of(user, &mut random) else { continue };
        let Some(node) = chosen(&cluster, by, &mut random) else { continue };
        let (target, caller) = match (random.below(10), by) {
            (0, _) => (Target::Others { user, keep: one.number }, &one),
            (1 | 2, By::Own | By::OwnThatWaits) => (Target::User(user), &one),
            (3..=6, _) => (Target::Session(one.number), &one),
            _ => (Target::Session(one.number), &other),
        };
        let waits = by == By::OwnThatWaits;
        if !cluster.revoke(node, &client, target, (caller, &one), waits).await {
            again(&cluster, &client, target, &one, waits).await;
        }
    }
}

fn chosen(cluster: &Cluster, by: By, random: &mut Random) -> Option<usize> {
    let own = cluster.own_number();
    if by != By::AnyNode {
        return Some(own);
    }
    let may: Vec<usize> = (0..own).filter(|node| cluster.nodes[*node].may_revoke.load(Ordering::SeqCst)).collect();
    (!may.is_empty()).then(|| may[random.below(may.len())])
}

/// What nobody has an answer of is made again, by the test's own node, which can always be asked. It need not succeed.
async fn again(cluster: &Cluster, client: &Client, target: Target, named: &crate::book::Known, waits: bool) {
    if matches!(target, Target::Others { .. }) {
        return;
    }
    let begun = now();
    tokio::time::sleep(Duration::from_millis(100)).await;
    while !cluster.revoke(cluster.own_number(), client, target, (named, named), waits).await {
        if now() - begun > cluster.lease * 3 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
