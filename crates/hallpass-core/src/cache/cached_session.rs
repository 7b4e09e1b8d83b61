//! A session that a check has accepted from memory, still packed.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::entry::Entry;
use crate::policy::Deadlines;
use crate::{Session, SessionId, Timestamp};

/// A live session that memory was enough to accept. It stays packed until somebody looks at it: most of what a check from memory takes is building the
/// [`Session`], which a request for a style sheet, say, has no use for.
///
/// It is as it was when the check accepted it, however late it is looked at.
#[derive(Clone)]
pub struct CachedSession {
    id: SessionId,
    entry: Entry,
    deadlines: Deadlines,
    last_seen_at: Timestamp,
    unpacked: OnceLock<Arc<Session>>,
}

impl CachedSession {
    pub(crate) fn new(id: SessionId, entry: Entry, deadlines: Deadlines, last_seen_at: Timestamp) -> Self {
        Self { id, entry, deadlines, last_seen_at, unpacked: OnceLock::new() }
    }

    /// Its id, without unpacking it.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// The session, unpacked at the first call: three allocations, and one more for a label; later calls give the same one.
    ///
    /// `None` would be a mistake in the packing: what does not unpack is not kept in memory in the first place.
    #[must_use]
    pub fn session(&self) -> Option<&Arc<Session>> {
        if let Some(session) = self.unpacked.get() {
            return Some(session);
        }
        let session = self.unpack()?;
        Some(self.unpacked.get_or_init(|| session))
    }

    /// As [`CachedSession::session`], for one who looks at once.
    pub(crate) fn unpack(&self) -> Option<Arc<Session>> {
        self.entry.session(self.id, self.deadlines, self.last_seen_at)
    }
}

impl fmt::Debug for CachedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the packed bytes: a user's id in them would be found by nobody who searches logs for it.
        f.debug_struct("CachedSession").field("id", &self.id).finish_non_exhaustive()
    }
}
