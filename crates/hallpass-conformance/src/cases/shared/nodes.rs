//! The registry of nodes, seen through several handles.

use std::sync::Arc;

use hallpass_core::Store;

use crate::cases::nodes::{node, registered};

/// How often it is tried: a handle may be late only sometimes.
const ROUNDS: u8 = 20;

/// A node that was registered through one handle is seen by a reading through another one that begins afterwards (G6), and so is what it tells.
pub async fn g6_who_is_registered_is_seen_by_all_at_once(handles: Vec<Arc<dyn Store>>) {
    for round in 0..ROUNDS {
        let writer = &handles[usize::from(round) % handles.len()];
        for known in [node(round, 0, 1), node(round, 7, 2)] {
            if known.beats == 1 {
                writer.register_node(&known).await.unwrap();
            } else {
                assert!(writer.heartbeat(&known).await.unwrap());
            }
            for reader in &handles {
                assert!(registered(&**reader).await.contains(&known), "{known:?} in round {round}");
            }
        }
        for reader in &handles {
            assert!(!reader.forget_node(node(round, 0, 0).id, 1).await.unwrap(), "told more through another handle");
        }
    }
    assert_eq!(registered(&*handles[0]).await.len(), usize::from(ROUNDS));
}
