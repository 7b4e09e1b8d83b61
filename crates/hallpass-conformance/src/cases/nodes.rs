//! The registry of nodes.

use std::sync::Arc;
use std::time::Duration;

use hallpass_core::store::{Sweep, Target};
use hallpass_core::{EndReason, Node, NodeId, Store, Timestamp};

use super::given::{Given, at_once};
use crate::builders::T0;

/// The largest number that every engine keeps exactly.
const LARGEST: u64 = (1 << 53) - 1;

pub(crate) fn node(id: u8, reached: u64, beats: u64) -> Node {
    Node { id: NodeId::from_bytes([id; 16]), lease: Duration::from_secs(2), reached, digest: reached, beats }
}

pub(crate) async fn registered(store: &dyn Store) -> Vec<Node> {
    let mut nodes = store.nodes().await.unwrap();
    nodes.sort_by_key(|node| node.id);
    nodes
}

/// What is entered is there, to the last number; entered anew it is replaced.
pub async fn what_is_registered_is_there(store: Arc<dyn Store>) {
    assert_eq!(registered(&*store).await, [], "a fresh registry is empty");
    let least =
        Node { id: NodeId::from_bytes([0; 16]), lease: Duration::from_millis(100), reached: 0, digest: 0, beats: 1 };
    let most = Node {
        id: NodeId::from_bytes([255; 16]),
        lease: Duration::from_millis(300_000),
        reached: LARGEST,
        digest: i64::MAX as u64,
        beats: LARGEST,
    };
    store.register_node(&most).await.unwrap();
    store.register_node(&least).await.unwrap();
    assert_eq!(registered(&*store).await, [least, most]);
    let anew = Node { lease: Duration::from_millis(101), reached: 7, digest: 8, beats: 2, ..most };
    store.register_node(&anew).await.unwrap();
    assert_eq!(registered(&*store).await, [least, anew], "entered anew with smaller numbers too");
}

/// A heartbeat replaces what is known of a node that is there, and enters none.
pub async fn a_heartbeat_enters_nobody(store: Arc<dyn Store>) {
    assert!(!store.heartbeat(&node(1, 5, 1)).await.unwrap());
    assert_eq!(registered(&*store).await, [], "it was not there");
    store.register_node(&node(1, 0, 1)).await.unwrap();
    store.register_node(&node(2, 0, 1)).await.unwrap();
    assert!(store.heartbeat(&node(1, 5, 2)).await.unwrap());
    assert!(store.heartbeat(&node(1, 5, 2)).await.unwrap(), "the same again finds it there");
    assert_eq!(registered(&*store).await, [node(1, 5, 2), node(2, 0, 1)]);
    assert!(!store.heartbeat(&node(3, 5, 1)).await.unwrap());
    assert_eq!(registered(&*store).await.len(), 2);
}

/// Only a node that has told nothing more is removed.
pub async fn a_node_that_told_more_stays(store: Arc<dyn Store>) {
    store.register_node(&node(1, 0, 1)).await.unwrap();
    store.register_node(&node(2, 0, 1)).await.unwrap();
    assert!(store.heartbeat(&node(1, 3, 2)).await.unwrap());
    assert!(!store.forget_node(node(1, 0, 0).id, 1).await.unwrap(), "it has told more since");
    assert!(!store.forget_node(node(1, 0, 0).id, 3).await.unwrap());
    assert!(!store.forget_node(node(3, 0, 0).id, 1).await.unwrap(), "unknown");
    assert_eq!(registered(&*store).await, [node(1, 3, 2), node(2, 0, 1)]);
    assert!(store.forget_node(node(1, 0, 0).id, 2).await.unwrap());
    assert!(!store.forget_node(node(1, 0, 0).id, 2).await.unwrap(), "only once");
    assert_eq!(registered(&*store).await, [node(2, 0, 1)]);
    assert!(!store.heartbeat(&node(1, 4, 3)).await.unwrap(), "whoever was removed has to be entered again");
    store.register_node(&node(1, 4, 4)).await.unwrap();
    assert_eq!(registered(&*store).await, [node(1, 4, 4), node(2, 0, 1)]);
}

/// Revocations, clean-up and the log leave it alone, and it them.
pub async fn it_outlives_everything_else(store: Arc<dyn Store>) {
    let given = Given::new(store);
    given.store.register_node(&node(1, 0, 1)).await.unwrap();
    given.live("alice").await;
    given.revoke(Target::Everyone, T0, EndReason::RevokedEveryone).await;
    let never = Timestamp::NEVER;
    let all = Sweep { expired_before: never, ended_before: never, log_before: never, batch: 100, commits: 1 };
    given.sweep(&all).await;
    given.store.migrate().await.unwrap();
    assert_eq!(registered(&*given.store).await, [node(1, 0, 1)]);
    assert!(given.store.heartbeat(&node(1, 9, 2)).await.unwrap());
    assert_eq!(given.head().await, 1, "the registry is not logged");
}

/// Many nodes at once lose nothing of each other.
pub async fn many_at_once_are_all_there(store: Arc<dyn Store>) {
    at_once(32, |i| {
        let store = Arc::clone(&store);
        async move {
            let id = u8::try_from(i).unwrap();
            store.register_node(&node(id, 0, 1)).await.unwrap();
            for beat in 2..6 {
                assert!(store.heartbeat(&node(id, beat, beat)).await.unwrap());
            }
        }
    })
    .await;
    let expected: Vec<Node> = (0..32).map(|id| node(id, 5, 5)).collect();
    assert_eq!(registered(&*store).await, expected);
}
