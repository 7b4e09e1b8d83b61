//! The registry of nodes: one hash beside the log, read where the log is read. Nothing in it expires.

use std::time::Duration;

use hallpass_core::{Node, NodeId, StoreError};

use crate::answer::{Read, Unreadable, count, many};
use crate::database::{Database, Twice};
use crate::keys::Place;
use crate::script::Request;

/// Acknowledged as a revocation is: by so many replicas as the options say.
pub(crate) async fn register(database: &Database, node: &Node) -> Result<(), StoreError> {
    let answered = database.durable_script(&told(database, node, "1")).await?;
    count(&answered.value).map_err(|error| database.unreadable(error))?;
    database.replicated(answered.replicas)
}

pub(crate) async fn heartbeat(database: &Database, node: &Node) -> Result<bool, StoreError> {
    found(database, &told(database, node, "0"), Twice::Same).await
}

pub(crate) async fn forget(database: &Database, id: NodeId, beats: u64) -> Result<bool, StoreError> {
    let request = database.request(&database.scripts.forget_node, Place::LOG).argument(*id.as_bytes()).number(beats);
    found(database, &request, Twice::Differs).await
}

pub(crate) async fn nodes(database: &Database) -> Result<Vec<Node>, StoreError> {
    let value = database.script(&database.request(&database.scripts.nodes, Place::LOG), Twice::Same).await?;
    let nodes = many(value).and_then(|fields| fields.chunks(2).map(node).collect());
    nodes.map_err(|error| database.unreadable(error))
}

fn told<'a>(database: &'a Database, node: &Node, enter: &str) -> Request<'a> {
    let value = format!("{} {} {} {}", node.lease.as_millis(), node.reached, node.digest, node.beats);
    database
        .request(&database.scripts.tell_node, Place::LOG)
        .argument(*node.id.as_bytes())
        .argument(value)
        .argument(enter)
}

async fn found(database: &Database, request: &Request<'_>, twice: Twice) -> Result<bool, StoreError> {
    let value = database.script(request, twice).await?;
    count(&value).map(|found| found > 0).map_err(|error| database.unreadable(error))
}

/// An id, and under it four numbers: lease in milliseconds, position, digest, count of what was told.
fn node(field: &[Vec<u8>]) -> Read<Node> {
    let [id, told] = field else { return Err(Unreadable) };
    let id = NodeId::from_bytes(id.as_slice().try_into().map_err(|_| Unreadable)?);
    let mut numbers = std::str::from_utf8(told).map_err(|_| Unreadable)?.split(' ').map(str::parse);
    let mut number = || numbers.next().and_then(Result::ok).ok_or(Unreadable);
    Ok(Node { id, lease: Duration::from_millis(number()?), reached: number()?, digest: number()?, beats: number()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_node_is_told_as_that() {
        let field = |id: &[u8], told: &[u8]| node(&[id.to_vec(), told.to_vec()]);
        let read = field(&[7; 16], b"2000 5 6 9007199254740991").unwrap();
        assert_eq!((read.lease, read.reached, read.digest), (Duration::from_secs(2), 5, 6));
        assert_eq!(read.beats, 9_007_199_254_740_991);
        for (id, told) in
            [(&[7; 15][..], &b"1 2 3 4"[..]), (&[7; 16], b"1 2 3"), (&[7; 16], b"1 2 3 x"), (&[7; 16], b"\xff")]
        {
            assert!(field(id, told).is_err(), "{told:?}");
        }
        assert!(node(&[vec![7; 16]]).is_err());
    }
}
