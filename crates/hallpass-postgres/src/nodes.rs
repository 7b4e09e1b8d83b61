//! The registry of nodes.

use std::time::Duration;

use hallpass_core::{Node, NodeId};
use uuid::Uuid;

use crate::database::Database;
use crate::failure::Failure;
use crate::row::Reader;
use crate::session::{Durability, Step};
use crate::statements::{FORGET_NODE, HEARTBEAT, NODES, REGISTER_NODE, Sql};
use crate::value::Value;

pub(crate) async fn register(database: &Database, node: &Node) -> Result<(), Failure> {
    database.write(Durability::Durable, &[told(REGISTER_NODE, node)]).await.map(drop)
}

pub(crate) async fn heartbeat(database: &Database, node: &Node) -> Result<bool, Failure> {
    found_one(database, told(HEARTBEAT, node)).await
}

pub(crate) async fn forget(database: &Database, id: NodeId, beats: u64) -> Result<bool, Failure> {
    found_one(database, Step::new(FORGET_NODE, vec![Value::Node(id), Value::number(beats)])).await
}

/// Read by a connection to the server that takes writes: every registration that was committed before is in it.
pub(crate) async fn nodes(database: &Database) -> Result<Vec<Node>, Failure> {
    let rows = database.read(&[Step::new(NODES, Vec::new())]).await?.pop().unwrap_or_default();
    rows.iter().map(|row| node(&Reader::new(row, database.failures()))).collect()
}

fn told(sql: Sql, node: &Node) -> Step<'static> {
    let lease = u64::try_from(node.lease.as_millis()).unwrap_or(u64::MAX);
    let numbers = [lease, node.reached, node.beats, node.digest].map(Value::number);
    Step::new(sql, [Value::Node(node.id)].into_iter().chain(numbers).collect())
}

fn node(reader: &Reader<'_>) -> Result<Node, Failure> {
    Ok(Node {
        id: NodeId::from_bytes(reader.get::<Uuid>(0)?.into_bytes()),
        lease: Duration::from_millis(reader.number(1)?),
        reached: reader.number(2)?,
        beats: reader.number(3)?,
        digest: reader.number(4)?,
    })
}

async fn found_one(database: &Database, step: Step<'_>) -> Result<bool, Failure> {
    let rows = database.write(Durability::Relaxed, &[step]).await?;
    Ok(rows.first().is_some_and(|rows| !rows.is_empty()))
}
