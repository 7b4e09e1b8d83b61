//! Waiting until no node accepts what was revoked (G6).
//!
//! The registry is read after the commit: a node that is not there asks the log later than that, and is told. One that is there has either told that it followed the log so
//! far, or its lease counts from a moment before the commit and is over a lease after it. Nobody's wall clock is compared with another's.

use std::time::Duration;

use crate::clock::Uptime;
use crate::shim::{Rule, keeps, pause};
use crate::store::Store;
use crate::{Clock, NodeId, StoreError};

/// The first pause between two readings of the registry; each is longer than the last one.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
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

/// How long a lease of another node may last by this one's clock: their rates differ by less than a hundredth.
fn by_any_clock(lease: Duration) -> Duration {
    lease + lease / 100 + Duration::from_millis(1)
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
    let mut behind: Option<Vec<NodeId>> = None;
    let mut longest = Duration::ZERO;
    let mut next_pause = FIRST_PAUSE;
    loop {
        let nodes = store.nodes().await?;
        let others = nodes.iter().filter(|node| Some(node.id) != own);
        if behind.is_none() {
            waited.nodes = others.clone().count();
        }
        let known = behind.take();
        let now_behind: Vec<_> = others
            .filter(|node| node.reached < position && keeps(Rule::WaitForAll))
            .filter(|node| known.as_ref().is_none_or(|known| known.contains(&node.id)))
            .collect();
        longest = now_behind.iter().map(|node| node.lease).fold(longest, Duration::max);
        waited.after = clock.uptime().since(since);
        waited.acknowledged = waited.nodes.saturating_sub(now_behind.len());
        if now_behind.is_empty() || waited.after >= by_any_clock(longest) {
            return Ok(waited);
        }
        let left = by_any_clock(longest).saturating_sub(waited.after);
        behind = Some(now_behind.into_iter().map(|node| node.id).collect());
        pause(next_pause.min(left)).await;
        next_pause = (next_pause * 3 / 2).min(LONGEST_PAUSE);
    }
}
