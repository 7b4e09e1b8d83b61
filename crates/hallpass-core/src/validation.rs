//! The check of each request.

use std::fmt;
use std::sync::Arc;

use crate::cache::{Cache, CacheSettings, CachedSession, Filling};
use crate::clock::Reading;
use crate::last_seen::{GRANULARITY, LastSeenBuffer};
use crate::policy::Deadlines;
use crate::sessions;
use crate::store::{Record, Renewal, Renewed, Store};
use crate::{
    Clock, Ended, Event, EventSink, Policies, Policy, Session, SessionId, State, StoreError, Timestamp, Token,
    TokenHash,
};

/// How checks are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ValidationMode {
    /// Every check reads the store: one that starts after a revocation was acknowledged does not accept the session (G1).
    #[default]
    Strict,
    /// Checks are answered from memory while this node follows the revocation log, and read the store otherwise. No node accepts a session later than a lease
    /// after its revocation was acknowledged (G3), and the node that revokes refuses at once (G4). [`Sessions::strictly`](crate::Sessions::strictly) checks as
    /// [`ValidationMode::Strict`] does, where that is too long.
    ///
    /// It takes [`Sessions::start_background`](crate::Sessions::start_background), which follows the log.
    Cached(
        /// The lease, how often the log is read, and how much memory is used.
        CacheSettings,
    ),
}

/// What a check found.
#[derive(Debug, Clone)]
pub enum Validation {
    /// The session lives.
    Live {
        /// The session, as after a renewal.
        session: Arc<Session>,
        /// Whether this check extended it, so that a persistent cookie must be sent anew.
        renewed: bool,
    },
    /// It does not.
    Invalid(
        /// Why.
        Invalid,
    ),
}

/// What a check that takes no waiting found, and by what.
#[derive(Debug, Clone)]
pub enum Checked {
    /// Memory was enough: the session lives.
    Cached(CachedSession),
    /// The store was read.
    Read(Validation),
}

impl Checked {
    /// As [`Sessions::validate`](crate::Sessions::validate) says it. `None` would be a mistake, as for [`CachedSession::session`].
    #[must_use]
    pub fn into_validation(self) -> Option<Validation> {
        match self {
            Self::Cached(cached) => Some(Validation::Live { session: cached.unpack()?, renewed: false }),
            Self::Read(validation) => Some(validation),
        }
    }
}

/// Why a well-formed token was refused. Clients are told no more than "not signed in".
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Invalid {
    /// No session has this id: never issued here, or swept.
    Unknown,
    /// The session has another secret: rotated away, or forged.
    WrongSecret,
    /// Ended.
    Ended(
        /// When, by whom and why.
        Ended,
    ),
    /// Not used for the idle timeout.
    IdleTimeout,
    /// Past its absolute timeout.
    AbsoluteTimeout,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::WrongSecret => f.write_str("wrong secret"),
            Self::Ended(ended) => write!(f, "ended: {}", ended.reason),
            Self::IdleTimeout => f.write_str("idle timeout"),
            Self::AbsoluteTimeout => f.write_str("absolute timeout"),
        }
    }
}

/// What a check works with.
pub(crate) struct Check<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) policies: &'a Policies,
    pub(crate) events: &'a dyn EventSink,
    pub(crate) last_seen: &'a LastSeenBuffer,
    pub(crate) cache: Option<&'a Cache>,
    pub(crate) now: Timestamp,
}

/// What a check from memory works with. It reads the clock itself, last.
pub(crate) struct CachedCheck<'a> {
    pub(crate) cache: &'a Cache,
    pub(crate) policies: &'a Policies,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) last_seen: &'a LastSeenBuffer,
}

impl CachedCheck<'_> {
    /// The session, if memory is enough to accept it. No reading of the store, no wait. `None` sends the check to the store: nothing is refused from memory,
    /// since another node may have extended the session or replaced its secret.
    pub(crate) fn accept(&self, token: &Token, hash: TokenHash) -> Option<CachedSession> {
        let hit = self.cache.find(token.id())?;
        if !hit.entry.token_hash().matches(&hash) {
            return None;
        }
        let policy = self.policies.of(hit.entry.class());
        let times = hit.entry.times(token.id())?;
        let deadlines = policy.tightened(times.deadlines, times.authenticated_at, times.renewed_at);
        // The moment of the decision.
        let now = Reading::of(self.clock);
        let is_live = deadlines.absolute > now.wall && deadlines.idle > now.wall;
        let is_due = times.renewed_at <= now.wall.minus(policy.update_age);
        if !is_live || is_due || !hit.is_good(now) {
            return None;
        }
        let last_seen_at = hit.entry.last_seen_at();
        if let Some(stored) = hit.accept(self.cache, now, GRANULARITY) {
            self.last_seen.note(token.id(), stored, now.wall);
        }
        Some(CachedSession::new(token.id(), hit.entry, deadlines, last_seen_at))
    }
}

/// What a read row says about a token. Moved once, so its size costs less than a box.
#[expect(clippy::large_enum_variant, reason = "it lives for microseconds on the stack")]
enum Decision {
    /// All is said.
    Done(Validation),
    /// It lives, and an extension is due.
    Due(Session),
}

/// What came of an extension.
struct Extension {
    validation: Validation,
    /// Whether the session is as it was read or written here, as far as this request knows.
    is_newest: bool,
}

impl Check<'_> {
    /// One read; one write more when an extension is due.
    pub(crate) async fn strict(&self, token: &Token, hash: TokenHash) -> Result<Validation, StoreError> {
        let filling = self.cache.map(Cache::begin);
        let found = match self.store.find_now(token.id()) {
            Some(found) => found?,
            None => sessions::find(self.store, token, self.now).await?,
        };
        match self.decide(token, hash, found) {
            Decision::Done(validation) => {
                self.keep(filling, token, hash, &validation);
                Ok(validation)
            }
            Decision::Due(session) => {
                let renewal = self.renew(token, hash, session).await?;
                // What another request has extended meanwhile is in memory as that one left it, and would be due again as this one read it.
                self.keep(filling.filter(|_| renewal.is_newest), token, hash, &renewal.validation);
                Ok(renewal.validation)
            }
        }
    }

    /// As [`Check::strict`] where that takes no waiting: the store answers at once, and no extension is due.
    pub(crate) fn strict_now(&self, token: &Token, hash: TokenHash) -> Option<Result<Validation, StoreError>> {
        let filling = self.cache.map(Cache::begin);
        match self.store.find_now(token.id())? {
            Ok(found) => match self.decide(token, hash, found) {
                Decision::Done(validation) => {
                    self.keep(filling, token, hash, &validation);
                    Some(Ok(validation))
                }
                Decision::Due(_) => None,
            },
            Err(error) => Some(Err(error)),
        }
    }

    /// Keeps in memory what was found to live, as it was read at the moment that `filling` took; the secret was the current one then. What was refused is
    /// forgotten.
    fn keep(&self, filling: Option<Filling>, token: &Token, hash: TokenHash, validation: &Validation) {
        let Some(cache) = self.cache else { return };
        cache.missed();
        match (validation, filling) {
            (Validation::Live { session, .. }, Some(filling)) => cache.keep(filling, session, hash),
            (Validation::Live { .. }, None) => {}
            (Validation::Invalid(why), _) => cache.forget_refused(token.id(), hash, why),
        }
    }

    fn decide(&self, token: &Token, hash: TokenHash, found: Option<Record>) -> Decision {
        let Some(record) = found else {
            return Decision::Done(self.refuse(token.id(), Invalid::Unknown));
        };
        let policy = self.policies.of(&record.session.class);
        let deadlines = match self.judge(&record, hash, policy) {
            Ok(deadlines) => deadlines,
            Err(reason) => return Decision::Done(self.refuse(record.session.id, reason)),
        };
        let mut session = record.session;
        session.idle_expires_at = deadlines.idle;
        session.absolute_expires_at = deadlines.absolute;
        if session.renewed_at > self.due_before(policy) {
            self.last_seen.note(session.id, session.last_seen_at, self.now);
            Decision::Done(Validation::Live { session: Arc::new(session), renewed: false })
        } else {
            Decision::Due(session)
        }
    }

    /// A session that was extended at this time or earlier is to be extended again.
    fn due_before(&self, policy: &Policy) -> Timestamp {
        self.now.minus(policy.update_age)
    }

    async fn renew(&self, token: &Token, hash: TokenHash, mut session: Session) -> Result<Extension, StoreError> {
        let policy = self.policies.of(&session.class);
        let renewal = Renewal {
            id: session.id,
            token_hash: hash,
            now: self.now,
            due_before: self.due_before(policy),
            idle_expires_at: self.now.plus(policy.max_age).min(session.absolute_expires_at),
        };
        let (validation, is_newest) = match self.store.renew(&renewal).await {
            Ok(Renewed::Renewed { idle_expires_at }) => {
                session.renewed_at = self.now;
                session.last_seen_at = session.last_seen_at.max(self.now);
                session.idle_expires_at = idle_expires_at;
                self.events.emit(&Event::Renewed { id: session.id, user: session.user.clone() });
                (Validation::Live { session: Arc::new(session), renewed: true }, true)
            }
            Ok(Renewed::NotDue) => (Validation::Live { session: Arc::new(session), renewed: false }, false),
            // Between the read and the write somebody ended it: the write decided (A06).
            Ok(Renewed::Gone) => (self.refuse(session.id, self.why_gone(token).await?), false),
            Err(error) => {
                // The read proved the session live; a write that fails costs an extension, not the request.
                self.events.emit(&Event::RenewalFailed { id: session.id, error: error.to_string() });
                (Validation::Live { session: Arc::new(session), renewed: false }, true)
            }
        };
        Ok(Extension { validation, is_newest })
    }

    fn judge(&self, record: &Record, hash: TokenHash, policy: &Policy) -> Result<Deadlines, Invalid> {
        // The secret first: who does not hold it learns nothing about the session, not even from timing.
        if !record.token_hash.matches(&hash) {
            return Err(Invalid::WrongSecret);
        }
        if let State::Ended(ended) = &record.session.state {
            return Err(Invalid::Ended(ended.clone()));
        }
        let deadlines = policy.effective(&record.session);
        if deadlines.absolute <= self.now {
            Err(Invalid::AbsoluteTimeout)
        } else if deadlines.idle <= self.now {
            Err(Invalid::IdleTimeout)
        } else {
            Ok(deadlines)
        }
    }

    async fn why_gone(&self, token: &Token) -> Result<Invalid, StoreError> {
        Ok(match sessions::find(self.store, token, self.now).await? {
            Some(Record { session: Session { state: State::Ended(ended), .. }, .. }) => Invalid::Ended(ended),
            Some(_) => Invalid::IdleTimeout,
            None => Invalid::Unknown,
        })
    }

    fn refuse(&self, id: SessionId, reason: Invalid) -> Validation {
        self.events.emit(&Event::Refused { id, reason: reason.clone() });
        Validation::Invalid(reason)
    }
}
