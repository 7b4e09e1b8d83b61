//! The registry of nodes.

use std::time::Duration;

use hallpass_core::{Node, NodeId};
use mysql_async::Value;

use crate::connection::Connection;
use crate::failure::Fault;
use crate::row::{Columns, number};
use crate::statements::{FORGET_NODE, HEARTBEAT, NODES, REGISTER_NODE};
use crate::work::{Ending, Read, Transaction};

/// Enters a node, or enters it anew.
pub(crate) struct Register<'a>(pub(crate) &'a Node);

impl Transaction for Register<'_> {
    type Answer = ();

    async fn run(&self, connection: &mut Connection) -> Result<Ending<()>, Fault> {
        let mut values = vec![id(self.0.id)];
        values.extend(told(self.0));
        values.extend(told(self.0));
        connection.write(REGISTER_NODE, values).await?;
        Ok(Ending::Commit(()))
    }
}

/// What a node tells; whether it is there. The connection counts rows that are found, also where nothing in them changes.
pub(crate) struct Heartbeat<'a>(pub(crate) &'a Node);

impl Transaction for Heartbeat<'_> {
    type Answer = bool;

    async fn run(&self, connection: &mut Connection) -> Result<Ending<bool>, Fault> {
        let mut values = told(self.0).to_vec();
        values.push(id(self.0.id));
        Ok(if_any(connection.write(HEARTBEAT, values).await?))
    }
}

/// Removes a node that has told nothing more; whether it did.
pub(crate) struct Forget {
    pub(crate) id: NodeId,
    pub(crate) beats: u64,
}

impl Transaction for Forget {
    type Answer = bool;

    async fn run(&self, connection: &mut Connection) -> Result<Ending<bool>, Fault> {
        Ok(if_any(connection.write(FORGET_NODE, vec![id(self.id), number(self.beats)]).await?))
    }
}

/// The registry, as it was committed when the statement began.
pub(crate) struct Nodes;

impl Read for Nodes {
    type Answer = Vec<Node>;

    async fn run(&self, connection: &mut Connection) -> Result<Vec<Node>, Fault> {
        let mut rows = connection.rows(NODES, Vec::new()).await?;
        rows.iter_mut().map(node).collect()
    }
}

fn node(columns: &mut Columns) -> Result<Node, Fault> {
    Ok(Node {
        id: NodeId::from_bytes(columns.array(0, "hallpass_nodes.id")?),
        lease: Duration::from_millis(columns.count(1, "hallpass_nodes.lease")?),
        reached: columns.count(2, "hallpass_nodes.reached")?,
        beats: columns.count(3, "hallpass_nodes.beats")?,
        digest: columns.count(4, "hallpass_nodes.digest")?,
    })
}

fn told(node: &Node) -> [Value; 4] {
    let lease = u64::try_from(node.lease.as_millis()).unwrap_or(u64::MAX);
    [lease, node.reached, node.beats, node.digest].map(bounded)
}

/// Columns are signed.
fn bounded(value: u64) -> Value {
    number(value.min(i64::MAX as u64))
}

fn id(id: NodeId) -> Value {
    Value::Bytes(id.as_bytes().to_vec())
}

fn if_any(found: u64) -> Ending<bool> {
    if found > 0 { Ending::Commit(true) } else { Ending::RollBack(false) }
}
