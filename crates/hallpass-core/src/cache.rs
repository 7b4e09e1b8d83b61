//! Sessions in memory: checks that cost no reading of the store, and stay within the bound.
//!
//! A check answers from here only while three things hold, looked at in this order: the node has a lease, taken from the log less than a lease ago; the session is
//! here, and nothing that this node knows of was revoked since it was read; and only then the clock, still within the lease and
//! the deadlines. Whatever fails sends the check to the store. Nothing here ever refuses a session: a deadline may have been moved by another node, a secret
//! replaced.
//!
//! So if a check accepts at a time *t*, the log was asked at *t0 > t - lease*. A revocation acknowledged before *t0* was in that answer and raised a fence
//! before the lease was extended; the check, which saw the lease first and the fence afterwards, would have seen it raised. Hence it was
//! acknowledged after *t0*, less than a lease before *t* (G3).

mod cached_session;
mod entry;
mod fence;
mod lease;

use std::time::Duration;

use quick_cache::sync::Cache as Map;
use quick_cache::{OptionsBuilder, Weighter};

pub use self::cached_session::CachedSession;
use self::entry::{Entry, Interned};
use self::fence::{Fences, Moment};
use self::lease::{Held, Lease};
use crate::clock::Reading;
use crate::shim::{AtomicU64, Keyed, Ordering, Rule, keeps};
use crate::store::{ChangeKind, Target};
use crate::{Invalid, Session, SessionId, Timestamp, TokenHash};

/// How sessions are kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheSettings {
    /// No node accepts a session later than this after its revocation was acknowledged (G3). 2 seconds by default; at least 100 ms, at most 5 minutes.
    pub lease: Duration,
    /// How often the revocation log is read, hints apart: 500 ms by default; at most a third of the lease, so that one lost reading costs nobody anything.
    pub poll: Duration,
    /// How much memory the sessions may take, in bytes: 64 MiB by default, enough for about 270,000 sessions.
    pub bytes: u64,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { lease: Duration::from_secs(2), poll: Duration::from_millis(500), bytes: 64 << 20 }
    }
}

impl CacheSettings {
    /// What is wrong with them, if anything is.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (shortest, longest) = (Duration::from_millis(100), LONGEST_LEASE);
        if !(shortest..=longest).contains(&self.lease) {
            return Err(format!("the lease must be {shortest:?} to {longest:?}, not {:?}", self.lease));
        }
        if self.poll < Duration::from_millis(10) || self.poll > self.lease / 3 {
            return Err(format!(
                "the revocation log must be read every 10ms to {:?} (a third of the lease), not every {:?}",
                self.lease / 3,
                self.poll
            ));
        }
        if self.bytes < 64 << 10 {
            return Err(format!("the cache must have at least 65536 bytes, not {}", self.bytes));
        }
        Ok(())
    }
}

/// What the cache did and holds, for health checks and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheStatus {
    /// The length of a lease, as set.
    pub lease: Duration,
    /// How much longer this node may answer from memory; zero while it reads the store for each check.
    pub lease_left: Duration,
    /// The position in the revocation log up to which this node has followed; `None` before it began.
    pub position: Option<u64>,
    /// Sessions in memory.
    pub entries: u64,
    /// Their bytes, about.
    pub bytes: u64,
    /// Checks answered from memory.
    pub hits: u64,
    /// Checks that read the store although a cache is in use.
    pub misses: u64,
    /// Readings that came too late to be kept: the session, its user or everybody was revoked meanwhile, or the store has refused the session.
    pub fenced: u64,
    /// How often everything was forgotten: at the beginning, and whenever the log does not continue from where this node had read it.
    pub flushes: u64,
    /// Entries of the revocation log that were applied.
    pub applied: u64,
    /// How often another node's hint had this one ask the log before its next turn.
    pub hints: u64,
    /// When the last one did.
    pub last_hint: Option<Timestamp>,
}

#[derive(Debug)]
pub(crate) struct Cache {
    settings: CacheSettings,
    map: Map<SessionId, Entry, ByBytes, Keyed>,
    interned: Interned,
    fences: Fences,
    lease: Lease,
    hits: Spread,
    misses: AtomicU64,
    fenced: AtomicU64,
    flushes: AtomicU64,
    applied: AtomicU64,
    position: AtomicU64,
}

/// How long a lease may be at most.
pub(crate) const LONGEST_LEASE: Duration = Duration::from_secs(300);

/// No place in the log yet.
const NOWHERE: u64 = u64::MAX;

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<SessionId, Entry> for ByBytes {
    fn weight(&self, _: &SessionId, entry: &Entry) -> u64 {
        entry.weight()
    }
}

/// A session found in memory, good for as long as its lease.
pub(crate) struct Hit {
    pub(crate) entry: Entry,
    id: SessionId,
    lease: Held,
}

/// A reading that is about to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filling(Moment);

impl Cache {
    pub(crate) fn new(settings: CacheSettings) -> Self {
        // About what a session takes; one of many only guides the number of shards.
        let sessions = settings.bytes / 256;
        let estimated = usize::try_from(sessions).unwrap_or(usize::MAX);
        let options = OptionsBuilder::new()
            .estimated_items_capacity(estimated)
            .weight_capacity(settings.bytes)
            // Keys that have left are remembered to tell those that come back. They cost as much as the map's share of a session that is here.
            .ghost_allocation(0.1)
            .build();
        let map = match options {
            Ok(options) => Map::with_options(options, ByBytes, Keyed::default(), Default::default()),
            // Only without one of the two capacities.
            Err(_) => Map::with(estimated, settings.bytes, ByBytes, Keyed::default(), Default::default()),
        };
        Self {
            map,
            interned: Interned::default(),
            fences: Fences::new(sessions / 4),
            lease: Lease::new(settings.lease),
            hits: Spread::default(),
            misses: AtomicU64::new(0),
            fenced: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            position: AtomicU64::new(NOWHERE),
            settings,
        }
    }

    pub(crate) const fn settings(&self) -> &CacheSettings {
        &self.settings
    }

    pub(crate) const fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The session, if it is here and nothing that was revoked since concerns it. Whether its lease still runs is for [`Hit::is_good`] to say, at the end.
    pub(crate) fn find(&self, id: SessionId) -> Option<Hit> {
        let lease = keeps(Rule::LeaseBeforeLookup).then(|| self.lease.held());
        let entry = self.map.get(&id)?;
        if !self.fences.hold(entry.moment(), entry.places()) {
            return None;
        }
        let lease = lease.unwrap_or_else(|| self.lease.held());
        Some(Hit { entry, id, lease })
    }

    /// To be called before a session is read from the store.
    pub(crate) fn begin(&self) -> Filling {
        Filling(self.fences.moment())
    }

    /// Counts a check that was answered by the store.
    pub(crate) fn missed(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps what was read, unless it is too old already: then the next check reads again.
    pub(crate) fn keep(&self, filling: Filling, session: &Session, token_hash: TokenHash) {
        let places = self.fences.places(session.id, &session.user);
        let moment = if keeps(Rule::MomentBeforeReading) { filling.0 } else { self.fences.moment() };
        let is_good = self.fences.hold(moment, places)
            && self.fences.keep_unless_refused(moment, places, || {
                // First, or the texts would seem to have one more who counts for them.
                self.map.remove(&session.id);
                if let Some(entry) = Entry::new(session, token_hash, moment, places, &self.interned) {
                    self.map.insert(session.id, entry);
                }
            });
        if !is_good {
            self.fenced.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Forgets what a revocation of this node concerns, whether the store has confirmed it or not.
    pub(crate) fn forget(&self, target: &Target) {
        match target {
            Target::Session { id, .. } => self.forget_session(*id),
            Target::Others { user, .. } | Target::User(user) => self.fences.raise_user(user),
            Target::Everyone => self.fences.raise_everyone(),
        }
    }

    pub(crate) fn forget_session(&self, id: SessionId) {
        self.fences.raise_session(id);
        // The fence is what counts; this frees the memory.
        self.map.remove(&id);
    }

    /// Forgets what the store has refused, whichever verb asked it: who was refused must not be accepted by the next check, whatever the log has told by then (G5). It
    /// does not tell where a database went back to an older copy and no revocation was lost (R5).
    ///
    /// Anybody may send ids that are nowhere, secrets that are wrong and tokens that are dead, so this costs no other session its place in memory.
    pub(crate) fn forget_refused(&self, id: SessionId, token_hash: TokenHash, why: &Invalid) {
        if !keeps(Rule::ForgetWhatWasRefused) {
            return;
        }
        self.fences.refuse(id, || {
            // A secret that memory does not have was refused there too.
            let is_of_memory = |entry: Entry| *why != Invalid::WrongSecret || entry.token_hash().matches(&token_hash);
            if self.map.get(&id).is_some_and(is_of_memory) {
                self.forget_session(id);
            }
        });
    }

    /// Applies an entry of the log.
    pub(crate) fn apply(&self, change: &ChangeKind) {
        self.applied.fetch_add(1, Ordering::Relaxed);
        match change {
            ChangeKind::Ended(id) | ChangeKind::Changed(id) => self.forget_session(*id),
            ChangeKind::User(user) => self.fences.raise_user(user),
            ChangeKind::Everyone => self.fences.raise_everyone(),
        }
    }

    /// Notes that the log was applied up to this position, and that it had been asked at `sent`: the lease goes on from there.
    pub(crate) fn has_reached(&self, position: u64, sent: Reading) {
        self.position.store(position, Ordering::Relaxed);
        self.lease.extend(sent);
    }

    /// Forgets everything.
    pub(crate) fn flush(&self) {
        if keeps(Rule::FenceBeforeNewBeginning) {
            self.fences.raise_everyone();
        }
        self.map.clear();
        self.interned.drop_unused();
        self.flushes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn status(&self, now: Reading) -> CacheStatus {
        let position = self.position.load(Ordering::Relaxed);
        CacheStatus {
            lease: self.settings.lease,
            lease_left: self.lease.held().left(now),
            position: (position != NOWHERE).then_some(position),
            entries: self.map.len() as u64,
            bytes: self.map.weight(),
            hits: self.hits.sum(),
            misses: self.misses.load(Ordering::Relaxed),
            fenced: self.fenced.load(Ordering::Relaxed),
            flushes: self.flushes.load(Ordering::Relaxed),
            applied: self.applied.load(Ordering::Relaxed),
            hints: 0,
            last_hint: None,
        }
    }
}

/// Forgets what a write concerns when it is over, however it ends: answered, failed, or dropped by its caller.
pub(crate) struct Forgetting<'a> {
    cache: Option<&'a Cache>,
    target: Concerned<'a>,
}

enum Concerned<'a> {
    Target(&'a Target),
    Session(SessionId),
}

impl<'a> Forgetting<'a> {
    /// Of a revocation.
    pub(crate) fn target(cache: Option<&'a Cache>, target: &'a Target) -> Self {
        Self { cache, target: Concerned::Target(target) }
    }

    /// Of a change to a session.
    pub(crate) fn session(cache: Option<&'a Cache>, id: SessionId) -> Self {
        Self { cache, target: Concerned::Session(id) }
    }
}

impl Drop for Forgetting<'_> {
    fn drop(&mut self) {
        let Some(cache) = self.cache.filter(|_| keeps(Rule::ForgetBeforeAnswer)) else { return };
        match self.target {
            Concerned::Target(target) => cache.forget(target),
            Concerned::Session(id) => cache.forget_session(id),
        }
    }
}

impl Hit {
    /// Whether the lease still runs, by the clock as it is now: the moment at which the check decides.
    pub(crate) fn is_good(&self, now: Reading) -> bool {
        self.lease.covers(now)
    }

    /// Counts it, and says what was noted as the last use if this one is worth noting.
    pub(crate) fn accept(&self, cache: &Cache, now: Reading, granularity: Duration) -> Option<Timestamp> {
        cache.hits.add(self.id.as_bytes()[9]);
        self.entry.is_newly_seen(now.wall, granularity)
    }
}

/// A count that many threads raise: spread over several cache lines, so that they seldom meet.
#[derive(Debug, Default)]
struct Spread([Line; 16]);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Line(AtomicU64);

impl Spread {
    fn add(&self, random: u8) {
        if let Some(Line(count)) = self.0.get(usize::from(random & 15)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn sum(&self) -> u64 {
        self.0.iter().map(|Line(count)| count.load(Ordering::Relaxed)).sum()
    }
}
