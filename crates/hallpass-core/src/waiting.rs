//! Waiting until no node accepts what was revoked (G6).
//!
//! The registry is read after the commit: a node that is not there asks the log later than that, and is told. One that is there has either told that it followed the log so
//! far, or its lease counts from a moment before the commit and is over a lease after it. Nobody's wall clock is compared with another's.

use std::time::Duration;

use crate::clock::Uptime;
use crate::nodes::digest;
use crate::shim::{self, Rule, keeps, pause};
use crate::store::Store;
use crate::{Clock, Node, NodeId, StoreError};

/// The first pause between two readings of the registry; each is longer than the last one.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// So many entries of the log, from the position of the revocation on, are looked at.
const ENTRIES: u32 = 1_000;
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// What a wait found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Waited {
    /// Other nodes that were in the registry.
    pub nodes: usize,
    /// Those that told that they had followed the log far enough. Of the others the lease was over.
    pub acknowledged: usize,
    /// How long after the commit the last of them was done.
    pub after: Duration,
}

/// How long a lease of another node may last by this one's clock: their rates differ by less than a fifth. Two clocks that chrony sets right at once, one forwards and
/// one backwards, differ by 18 percent: it slews by up to 83,333 parts in a million (`maxslewrate`).
fn by_any_clock(lease: Duration) -> Duration {
    lease + lease / 5 + Duration::from_millis(1)
}

/// Returns when no node but `own`, which has forgotten already, accepts what was revoked at `position` (0: what had been revoked before), committed not later than `since`.
pub(crate) async fn until_no_node_accepts(
    store: &dyn Store,
    clock: &dyn Clock,
    own: Option<NodeId>,
    position: u64,
    since: Uptime,
) -> Result<Waited, StoreError> {
    // Somebody else has logged what had been revoked before, at this position or an earlier one.
    let position = if position > 0 { position } else { store.changes_since(0, 0).await?.head };
    let mut waited = Waited::default();
    // Nodes that come into the registry later ask the log later than the commit.
    let mut behind: Vec<Node> = store.nodes().await?.into_iter().filter(|node| Some(node.id) != own).collect();
    waited.nodes = behind.len();
    // Of those that were behind when they were first looked at; whoever waits longer than that waits long enough, whatever they tell.
    let mut longest = None;
    let mut next_pause = FIRST_PAUSE;
    loop {
        behind = not_there_yet(store, behind, position).await?;
        let limit =
            *longest.get_or_insert(by_any_clock(behind.iter().map(|node| node.lease).max().unwrap_or_default()));
        waited.after = clock.uptime().since(since);
        waited.acknowledged = waited.nodes.saturating_sub(behind.len());
        if behind.is_empty() || waited.after >= limit || !keeps(Rule::WaitForAll) {
            return Ok(waited);
        }
        pause(next_pause.min(limit.saturating_sub(waited.after))).await;
        next_pause = (next_pause * 3 / 2).min(LONGEST_PAUSE);
        // A registry that does not answer keeps nobody longer than the leases do.
        let left = limit.saturating_sub(clock.uptime().since(since)).max(FIRST_PAUSE);
        let Some(nodes) = shim::within(left, store.nodes()).await else { continue };
        let known: Vec<NodeId> = behind.iter().map(|node| node.id).collect();
        behind = nodes?.into_iter().filter(|node| known.contains(&node.id)).collect();
    }
}

/// Those of the nodes that have not told that they followed the log to this position. What one told of a log that has lost entries since counts for nothing: there is another
/// entry now at the place that it had reached.
async fn not_there_yet(store: &dyn Store, nodes: Vec<Node>, position: u64) -> Result<Vec<Node>, StoreError> {
    if nodes.iter().all(|node| node.reached < position) {
        return Ok(nodes);
    }
    // From one before, so that the entry at the position itself comes along. Who is further than this brings is taken for one that is behind.
    let changes = store.changes_since(position.saturating_sub(1), ENTRIES).await?;
    let is_there = |node: &Node| {
        let entry = changes.entries.iter().find(|entry| entry.position == node.reached);
        let is_kept = entry.is_some() || node.reached < changes.oldest;
        let is_same = node.digest == digest(&changes.incarnation, node.reached, entry);
        (position..=changes.head).contains(&node.reached) && is_kept && is_same
    };
    Ok(nodes.into_iter().filter(|node| !is_there(node)).collect())
}
