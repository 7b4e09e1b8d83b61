//! The registry of nodes.

use std::time::Duration;

use hallpass_core::{Node, NodeId};
use rusqlite::{Connection, params};

use crate::row::{self, integer};
use crate::statements::{FORGET_NODE, HEARTBEAT, NODES, REGISTER_NODE};

pub(crate) fn register(connection: &Connection, node: &Node) -> rusqlite::Result<()> {
    write(connection, REGISTER_NODE, node).map(drop)
}

pub(crate) fn heartbeat(connection: &Connection, node: &Node) -> rusqlite::Result<bool> {
    write(connection, HEARTBEAT, node)
}

fn write(connection: &Connection, sql: &str, node: &Node) -> rusqlite::Result<bool> {
    let lease = integer(u64::try_from(node.lease.as_millis()).unwrap_or(u64::MAX));
    let values =
        params![node.id.as_bytes().as_slice(), lease, integer(node.reached), integer(node.beats), integer(node.digest)];
    Ok(connection.prepare_cached(sql)?.execute(values)? > 0)
}

pub(crate) fn nodes(connection: &Connection) -> rusqlite::Result<Vec<Node>> {
    let mut nodes = connection.prepare_cached(NODES)?;
    let rows = nodes.query_map([], |row| {
        Ok(Node {
            id: NodeId::from_bytes(row.get(0)?),
            lease: Duration::from_millis(row::position(row, 1)?),
            reached: row::position(row, 2)?,
            beats: row::position(row, 3)?,
            digest: row::position(row, 4)?,
        })
    })?;
    rows.collect()
}

pub(crate) fn forget(connection: &Connection, id: NodeId, beats: u64) -> rusqlite::Result<bool> {
    Ok(connection.prepare_cached(FORGET_NODE)?.execute(params![id.as_bytes().as_slice(), integer(beats)])? > 0)
}
