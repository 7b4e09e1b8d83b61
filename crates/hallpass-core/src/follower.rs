//! Following the revocation log, and the lease that comes of it.

use std::time::Duration;

use crate::cache::Cache;
use crate::clock::Reading;
use crate::nodes::{Registration, digest};
use crate::shim::{self, Rule, keeps};
use crate::store::{Change, Changes, Store};
use crate::{Clock, Event, EventSink, StoreError};

/// Entries in one reading; few where a test looks at what happens between two.
const ENTRIES: u32 = if cfg!(feature = "shuttle") { 3 } else { 1_000 };
/// A node that is further behind than this forgets everything instead of catching up.
const FAR_BEHIND: u64 = 20_000;
/// Half of the shortest time for which entries are kept ([`SweepSettings::log_retention`](crate::SweepSettings)).
const RECENT: Duration = Duration::from_secs(30 * 60);
/// Readings in one turn, before the next one is due anyway.
const READINGS: usize = 32;

/// Why everything was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlushReason {
    /// Another incarnation of the log: another database, a restored one, or a failover.
    Incarnation,
    /// The log ends before the place that this node had reached, or has another entry there: it went back to an earlier state.
    WentBack,
    /// The log begins after that place: this node was away for longer than the log is kept.
    Trimmed,
    /// There are too many entries to catch up with.
    FarBehind,
}

impl std::fmt::Display for FlushReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Incarnation => "the revocation log has another incarnation",
            Self::WentBack => "the revocation log went back to an earlier state",
            Self::Trimmed => "the revocation log no longer reaches back to where this node had read it",
            Self::FarBehind => "this node is too far behind the revocation log",
        })
    }
}

/// What a turn did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Followed {
    /// Entries of the log that were applied.
    pub applied: u64,
    /// Why everything was forgotten, if it was.
    pub flushed: Option<FlushReason>,
}

/// Where this node is in the log.
#[derive(Debug)]
pub(crate) struct Follower {
    place: Option<Place>,
    registration: Registration,
}

#[derive(Debug, Clone)]
struct Place {
    incarnation: [u8; 16],
    position: u64,
    /// The entry at that position as it was read: a log that lost entries and counted on has another one there. `None` where none was kept.
    entry: Option<Change>,
    /// When the log was asked.
    asked: Reading,
}

impl Follower {
    pub(crate) const fn new(registration: Registration) -> Self {
        Self { place: None, registration }
    }

    /// Reads what the log has got since the last turn, applies it, and extends the lease. One reading of the store as a rule, two and the registration at the
    /// beginning; one write more when there is something to tell.
    pub(crate) async fn turn(
        &mut self,
        store: &dyn Store,
        cache: &Cache,
        clock: &dyn Clock,
        events: &dyn EventSink,
    ) -> Result<Followed, StoreError> {
        let mut followed = Followed::default();
        for _ in 0..READINGS {
            let begins = self.place.is_none();
            let asked = match &self.place {
                Some(place) => place.position,
                None => store.changes_since(0, 0).await?.head,
            };
            let mut sent = Reading::of(clock);
            if !self.registration.covers(sent) {
                self.registration.enter(store, sent).await?;
                continue;
            }
            // From one before, so that the entry at the place itself comes along.
            let changes = store.changes_since(asked.saturating_sub(1), ENTRIES).await?;
            if !keeps(Rule::LeaseFromSending) {
                sent = Reading::of(clock);
            }
            if !keeps(Rule::ApplyBeforeLease) {
                cache.lease().extend(sent);
            }
            if !keeps(Rule::ApplyBeforeTelling)
                && let Some(last) = changes.entries.last()
            {
                let told = (last.position, digest(&changes.incarnation, last.position, Some(last)));
                let _ = self.registration.tell(store, told, Reading::of(clock)).await;
            }
            let reached = match &self.place {
                Some(place) => match place.missed(&changes, sent) {
                    None => {
                        let missing = changes.entries.iter().filter(|change| change.position > place.position);
                        for change in missing {
                            cache.apply(&change.kind);
                            followed.applied += 1;
                        }
                        Place::after(&changes, Some(place), sent)
                    }
                    Some(reason) => {
                        cache.lease().end();
                        self.place = None;
                        // The registry may have gone back too, and positions count anew.
                        self.registration.is_void();
                        followed.flushed = Some(reason);
                        events.emit(&Event::CacheFlushed { reason });
                        continue;
                    }
                },
                None => Place::after(&changes, None, sent),
            };
            let is_whole = reached.position >= changes.head || !keeps(Rule::WholeLog);
            if begins {
                if !is_whole {
                    continue;
                }
                // What was read before is older than this place, and nothing told what happened in between.
                cache.flush();
            }
            let told = (reached.position, reached.digest());
            self.place = Some(reached);
            if is_whole {
                cache.has_reached(told.0, sent);
                // Whoever fails to tell, or not in time for the next turn, keeps its lease for now, and has to register again when that has lasted too long.
                let telling = self.registration.tell(store, told, Reading::of(clock));
                let _ = shim::within(cache.settings().poll / 2, telling).await;
                return Ok(followed);
            }
        }
        // The lease runs out, and checks read the store.
        Err(StoreError::unavailable("the revocation log grows faster than this node reads it"))
    }

    /// Answers nothing from memory any more, and leaves the registry, so that nobody waits for this node.
    pub(crate) async fn leave(&mut self, store: &dyn Store, cache: &Cache) -> Result<(), StoreError> {
        cache.lease().end();
        self.place = None;
        self.registration.is_void();
        if let Some(row) = self.registration.row() {
            store.forget_node(row.id, row.beats).await?;
        }
        Ok(())
    }
}

impl Place {
    /// Why the answer does not continue from here; `None` if it does.
    fn missed(&self, changes: &Changes, now: Reading) -> Option<FlushReason> {
        if !keeps(Rule::NoticeAnotherLog) {
            return None;
        }
        if changes.incarnation != self.incarnation {
            return Some(FlushReason::Incarnation);
        }
        if changes.head < self.position {
            return Some(FlushReason::WentBack);
        }
        if changes.head - self.position > FAR_BEHIND {
            return Some(FlushReason::FarBehind);
        }
        // Entries that this node has not read may be gone, among them those that a restored log counted anew. What was written since it read the log
        // last is younger than any entry that is trimmed, if that was not long ago: then nothing can be missing.
        let is_missing = changes.head > self.position && changes.oldest > self.position.max(1);
        if changes.oldest > self.position + 1 || (is_missing && self.was_long_ago(now)) {
            return Some(FlushReason::Trimmed);
        }
        let mut entries = changes.entries.iter().skip_while(|change| change.position < self.position).peekable();
        let here = entries.next_if(|change| change.position == self.position);
        let is_kept = self.position > 0 && changes.oldest <= self.position;
        let is_same = if is_kept { here.is_some() && here == self.entry.as_ref() } else { here.is_none() };
        // Without a gap, as the contract says; a store that has one would lose a revocation here.
        let is_gapless = entries.zip(self.position + 1..).all(|(change, position)| change.position == position);
        (!is_same || !is_gapless).then_some(FlushReason::WentBack)
    }

    fn digest(&self) -> u64 {
        digest(&self.incarnation, self.position, self.entry.as_ref())
    }

    /// By the clock that says more: one of them may have missed the time in which the machine stood still.
    fn was_long_ago(&self, now: Reading) -> bool {
        now.uptime.since(self.asked.uptime).max(now.wall.since(self.asked.wall)) > RECENT
    }

    /// Where the answer ends.
    fn after(changes: &Changes, before: Option<&Self>, asked: Reading) -> Self {
        match (changes.entries.last(), before) {
            (Some(last), _) => {
                Self { incarnation: changes.incarnation, position: last.position, entry: Some(last.clone()), asked }
            }
            // Nothing is kept: there was no revocation for longer than entries are kept.
            (None, Some(before)) => Self { asked, ..before.clone() },
            (None, None) => Self { incarnation: changes.incarnation, position: changes.head, entry: None, asked },
        }
    }
}
