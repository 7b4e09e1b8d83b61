//! The registry of nodes: who may answer from memory, and how far each has followed the revocation log.
//!
//! A revocation that waits ([`Sessions::waiting`](crate::Sessions::waiting)) reads it. So a node is entered, durably, before it asks the log for its first lease: whoever
//! revokes and does not find a node there knows that it will ask the log later than the revocation was committed, and be told of it.

use std::fmt;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::cache::LONGEST_LEASE;
use crate::clock::Reading;
use crate::shim::{Rule, keeps};
use crate::store::{Change, ChangeKind, Store};
use crate::{Entropy, EntropyError, StoreError};

/// A node that has told nothing new says all the same that it is there.
const BEAT_EVERY: Duration = Duration::from_secs(30);
/// A lease is taken only by a node that was entered, or told something, within this time before it asked the log.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// A row that did not change for so long belongs to a node that is gone: had it come back, it would be entered anew before its next lease. Longer than
/// [`GOOD_FOR`] and the longest lease together.
pub(crate) const GONE_AFTER: Duration = Duration::from_secs(600);
const _: () = assert!(GONE_AFTER.as_secs() > GOOD_FOR.as_secs() + LONGEST_LEASE.as_secs());

/// The random name of a node: another one each time it starts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 16]);

impl NodeId {
    pub(crate) fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The id from its 16 bytes, as stores keep it.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A node as the registry knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Which one.
    pub id: NodeId,
    /// How long it may answer from memory after it asked the log. Stores keep whole milliseconds.
    pub lease: Duration,
    /// The position in the log up to which it has forgotten what was revoked.
    pub reached: u64,
    /// A digest of the log and its entry at that position, at most [`i64::MAX`]: a log that lost entries and counted on has another one there, and what this node told
    /// of the lost ones says nothing of the new ones.
    pub digest: u64,
    /// Counts what it has told: a row whose count stands still belongs to a node that is gone.
    pub beats: u64,
}

/// What [`Node::digest`] is for an entry; `None` where none is kept at that position.
pub(crate) fn digest(incarnation: &[u8; 16], position: u64, entry: Option<&Change>) -> u64 {
    let mut digest = Sha256::new().chain_update(incarnation).chain_update(position.to_be_bytes());
    if let Some(Change { kind, at, .. }) = entry {
        digest.update(at.as_millis().to_be_bytes());
        match kind {
            ChangeKind::Ended(id) => digest.update([&[1], id.as_bytes().as_slice()].concat()),
            ChangeKind::Changed(id) => digest.update([&[2], id.as_bytes().as_slice()].concat()),
            ChangeKind::User(user) => digest.update([&[3], user.as_str().as_bytes()].concat()),
            ChangeKind::Everyone => digest.update([4]),
        }
    }
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(digest.finalize());
    // Columns are signed.
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1
}

/// This node's own row.
#[derive(Debug)]
pub(crate) struct Registration {
    row: Node,
    /// When the last thing was sent that the store has confirmed.
    confirmed: Option<Reading>,
    /// When the last thing was sent, and whether it said all that there was to say.
    told: Option<(Reading, bool)>,
}

/// By the clock that says more: one of them may have missed the time in which the machine stood still, in which others took this node for gone.
fn since(now: Reading, earlier: Reading) -> Duration {
    now.uptime.since(earlier.uptime).max(now.wall.since(earlier.wall))
}

impl Registration {
    pub(crate) const fn new(id: NodeId, lease: Duration) -> Self {
        Self { row: Node { id, lease, reached: 0, digest: 0, beats: 0 }, confirmed: None, told: None }
    }

    /// Whether a lease may count from this moment, at which the log is about to be asked.
    pub(crate) fn covers(&self, sent: Reading) -> bool {
        self.confirmed.is_some_and(|at| since(sent, at) <= GOOD_FOR) || !keeps(Rule::RegisterBeforeAsking)
    }

    /// Enters this node, as one that has followed nothing yet. One durable commit.
    pub(crate) async fn enter(&mut self, store: &dyn Store, now: Reading) -> Result<(), StoreError> {
        (self.row.reached, self.row.digest) = (0, 0);
        self.row.beats += 1;
        self.confirmed = None;
        store.register_node(&self.row).await?;
        self.confirmed = Some(now);
        self.told = Some((now, true));
        Ok(())
    }

    /// Tells how far this node is, if that is new or the last time is long ago. One write that is not durable: a registry that lost it makes others wait
    /// longer, never shorter.
    pub(crate) async fn tell(
        &mut self,
        store: &dyn Store,
        (reached, digest): (u64, u64),
        now: Reading,
    ) -> Result<(), StoreError> {
        let is_due = self.told.is_none_or(|(at, is_whole)| !is_whole || since(now, at) >= BEAT_EVERY);
        if (reached, digest) == (self.row.reached, self.row.digest) && !is_due {
            return Ok(());
        }
        (self.row.reached, self.row.digest) = (reached, digest);
        self.row.beats += 1;
        self.told = Some((now, false));
        if store.heartbeat(&self.row).await? {
            self.confirmed = Some(now);
            self.told = Some((now, true));
        } else {
            // Somebody removed the row: entered again before the next lease.
            self.confirmed = None;
        }
        Ok(())
    }

    /// What this node has told cannot be relied on any more.
    pub(crate) fn is_void(&mut self) {
        self.confirmed = None;
    }

    /// This node's row, if it has one.
    pub(crate) fn row(&self) -> Option<&Node> {
        (self.row.beats > 0).then_some(&self.row)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{SessionId, Timestamp, UserId};

    /// Also where no entry is kept: another log has another digest there.
    #[test]
    fn g6_a_digest_tells_logs_positions_and_entries_apart() {
        let entry = |kind, at| Some(Change { position: 7, kind, at: Timestamp::from_millis(at) });
        let user = |name| ChangeKind::User(UserId::new(name).unwrap());
        let id = |byte| SessionId::from_bytes([byte; 16]);
        let entries = [
            None,
            entry(ChangeKind::Everyone, 1),
            entry(ChangeKind::Everyone, 2),
            entry(ChangeKind::Ended(id(1)), 1),
            entry(ChangeKind::Ended(id(2)), 1),
            entry(ChangeKind::Changed(id(1)), 1),
            entry(user("alice"), 1),
            entry(user("bob"), 1),
        ];
        let mut digests = BTreeSet::new();
        for incarnation in [[0; 16], [1; 16]] {
            for position in [7, 8] {
                for entry in &entries {
                    let digest = digest(&incarnation, position, entry.as_ref());
                    assert!(digest <= i64::MAX as u64, "columns are signed");
                    assert!(digests.insert(digest), "{incarnation:?}, {position}, {entry:?}");
                }
            }
        }
    }
}
