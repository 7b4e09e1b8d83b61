//! The registry of nodes.

use std::time::Duration;

use async_trait::async_trait;
use hallpass_core::{Node, NodeId};

use crate::connection::{Columns, Connection, Fault, Value};
use crate::pool::{Ending, Read, Transaction};
use crate::row::number;
use crate::table::Table;

/// What is done with a row of the registry. Whether it was there.
pub(crate) enum Registry<'a> {
    /// Enters a node, or enters it anew.
    Register(&'a Node),
    /// What a node tells.
    Heartbeat(&'a Node),
    /// Removes one that has told nothing more.
    Forget(NodeId, u64),
}

/// One such change.
pub(crate) struct Change<'a> {
    pub(crate) table: &'a Table,
    pub(crate) change: Registry<'a>,
}

#[async_trait]
impl Transaction for Change<'_> {
    type Answer = bool;

    async fn run(&self, connection: &mut dyn Connection) -> Result<Ending<bool>, Fault> {
        const UPDATE: &str = "UPDATE hp.nodes SET lease = ?, reached = ?, beats = ?, digest = ? WHERE id = ?";
        const INSERT: &str = "INSERT INTO hp.nodes (lease, reached, beats, digest, id) VALUES (?, ?, ?, ?, ?)";
        let found = match self.change {
            Registry::Register(node) => {
                // Two that enter one node take turns.
                self.table.turn(connection).await?;
                let found = self.table.write(connection, UPDATE, &told(node)).await?;
                if found == 0 { self.table.write(connection, INSERT, &told(node)).await? } else { found }
            }
            Registry::Heartbeat(node) => self.table.write(connection, UPDATE, &told(node)).await?,
            Registry::Forget(node, beats) => {
                let values = [node.to_string().into(), number(beats)];
                self.table.write(connection, "DELETE FROM hp.nodes WHERE id = ? AND beats = ?", &values).await?
            }
        };
        Ok(Ending::Commit(found > 0))
    }
}

fn told(node: &Node) -> [Value; 5] {
    let lease = u64::try_from(node.lease.as_millis()).unwrap_or(u64::MAX);
    let [lease, reached, beats, digest] = [lease, node.reached, node.beats, node.digest].map(number);
    [lease, reached, beats, digest, node.id.to_string().into()]
}

/// The registry, as it was committed when the statement began.
pub(crate) struct Nodes<'a>(pub(crate) &'a Table);

#[async_trait]
impl Read for Nodes<'_> {
    type Answer = Vec<Node>;

    async fn run(&self, connection: &mut dyn Connection) -> Result<Vec<Node>, Fault> {
        let sql = self.0.sql("SELECT id, lease, reached, beats, digest FROM hp.nodes");
        connection.rows(&sql, &[]).await?.iter().map(node).collect()
    }
}

fn node(columns: &Columns) -> Result<Node, Fault> {
    let id = |text: &str| u128::from_str_radix(text, 16).ok().map(|id| NodeId::from_bytes(id.to_be_bytes()));
    Ok(Node {
        id: columns.parse(0, "id", id)?,
        lease: Duration::from_millis(columns.count(1, "lease")?),
        reached: columns.count(2, "reached")?,
        beats: columns.count(3, "beats")?,
        digest: columns.count(4, "digest")?,
    })
}
