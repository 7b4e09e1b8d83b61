//! When sessions were last used, written behind in batches.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::store::LastSeen;
use crate::{SessionId, Timestamp};

/// At most this many sessions wait for a flush (about 3 MiB); more are dropped and counted: the time shown in a list is then older.
const CAPACITY: usize = 65_536;
/// A time that is newer than the stored one by less than this is not worth a write.
pub(crate) const GRANULARITY: Duration = Duration::from_secs(60);

/// A bounded buffer with at most one time per session.
#[derive(Debug, Default)]
pub(crate) struct LastSeenBuffer {
    newest: Mutex<HashMap<SessionId, Timestamp>>,
    dropped: AtomicU64,
}

impl LastSeenBuffer {
    /// Notes a use, unless the stored time is recent enough.
    pub(crate) fn note(&self, id: SessionId, stored: Timestamp, now: Timestamp) {
        if now.since(stored) < GRANULARITY {
            return;
        }
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = newest.get_mut(&id) {
            *at = now.max(*at);
        } else if newest.len() < CAPACITY {
            newest.insert(id, now);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes everything, ordered by id so that concurrent writers lock rows in one order, and how many were dropped.
    pub(crate) fn take(&self) -> (Vec<LastSeen>, u64) {
        let taken = std::mem::take(&mut *self.newest.lock().unwrap_or_else(PoisonError::into_inner));
        let mut seen: Vec<LastSeen> = taken.into_iter().map(|(id, at)| LastSeen { id, at }).collect();
        seen.sort_unstable_by_key(|seen| seen.id);
        (seen, self.dropped.swap(0, Ordering::Relaxed))
    }

    /// Puts back what could not be written, unless a newer time came meanwhile.
    pub(crate) fn put_back(&self, seen: &[LastSeen]) {
        for LastSeen { id, at } in seen {
            self.note(*id, Timestamp::EPOCH, *at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> SessionId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        SessionId::from_bytes(bytes)
    }

    #[test]
    fn coalesces_orders_and_is_bounded() {
        let buffer = LastSeenBuffer::default();
        let start = Timestamp::from_millis(10_000_000);
        buffer.note(id(1), start, start.plus(Duration::from_secs(59)));
        assert!(buffer.take().0.is_empty(), "recent enough");
        let late = start.plus(Duration::from_secs(90));
        buffer.note(id(2), start, late);
        buffer.note(id(1), start, late);
        buffer.note(id(1), start, start.plus(Duration::from_secs(80)));
        assert_eq!(buffer.take().0, [LastSeen { id: id(1), at: late }, LastSeen { id: id(2), at: late }]);
        for n in 0..u32::try_from(CAPACITY).unwrap() + 7 {
            buffer.note(id(n), start, late);
        }
        let (seen, dropped) = buffer.take();
        assert_eq!((seen.len(), dropped), (CAPACITY, 7));
    }

    #[test]
    fn what_could_not_be_written_is_kept_but_not_over_newer_times() {
        let buffer = LastSeenBuffer::default();
        let (early, late) = (Timestamp::from_millis(1_000_000), Timestamp::from_millis(2_000_000));
        buffer.note(id(1), Timestamp::EPOCH, late);
        buffer.put_back(&[LastSeen { id: id(1), at: early }, LastSeen { id: id(2), at: early }]);
        assert_eq!(buffer.take().0, [LastSeen { id: id(1), at: late }, LastSeen { id: id(2), at: early }]);
    }
}
