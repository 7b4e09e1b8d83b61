//! A session in memory, packed.
//!
//! A session as its owner sees it takes more than 400 bytes in several allocations, half of them for what many sessions have in common: the class, the user agent and how
//! the user authenticated. Here it is one allocation: a head that each check looks at, and the rest as bytes, times as differences. The common texts are
//! kept once for all sessions that have them ([`Interned`]).

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use triomphe::ThinArc;

use super::fence::{Moment, Places};
use crate::policy::Deadlines;
use crate::shim::{AtomicI64, Mutex, Ordering};
use crate::{
    Attributes, Authentication, Class, Client, Label, Session, SessionId, State, Timestamp, TokenHash, UserId,
};

/// One reading of a session, shared by the cache and the checks that look at it.
#[derive(Debug, Clone)]
pub(crate) struct Entry(ThinArc<Head, u8>);

/// What each check looks at.
#[derive(Debug)]
struct Head {
    moment: Moment,
    places: Places,
    token_hash: TokenHash,
    last_seen: AtomicI64,
    common: Arc<Common>,
}

/// What many sessions have in common.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Common {
    class: Class,
    user_agent: Option<Arc<str>>,
    authentication: Arc<Authentication>,
}

/// What decides whether a session lives, and what is left to unpack then.
#[derive(Debug)]
pub(crate) struct Times<'a> {
    created_at: Timestamp,
    pub(crate) authenticated_at: Timestamp,
    pub(crate) renewed_at: Timestamp,
    /// As the store has them; the policy in force may be tighter.
    pub(crate) deadlines: Deadlines,
    rest: Bytes<'a>,
}

/// What the map and the two counts of an allocation cost beside the bytes of an entry, measured (`examples/cache_cost`).
const OVERHEAD: usize = 80;

impl Entry {
    /// Packs a live session. Nothing for an ended one, which is not cached.
    pub(crate) fn new(
        session: &Session,
        token_hash: TokenHash,
        moment: Moment,
        places: Places,
        interned: &Interned,
    ) -> Option<Self> {
        if session.state != State::Live {
            return None;
        }
        let common = interned.common(session);
        // Each counts for its share of them, as many as there are now: the collection has them too.
        let share = common.size() / Arc::strong_count(&common).saturating_sub(1).max(1);
        let last_seen = AtomicI64::new(session.last_seen_at.as_millis());
        let head = Head { moment, places, token_hash, last_seen, common };
        let entry = Self(ThinArc::from_header_and_slice(head, &packed(session, share)));
        // What could not be unpacked is not kept, so that whoever was accepted by an entry also gets a session.
        let deadlines = entry.times(session.id)?.deadlines;
        entry.session(session.id, deadlines, session.last_seen_at)?;
        Some(entry)
    }

    fn head(&self) -> &Head {
        &self.0.header.header
    }

    pub(crate) fn moment(&self) -> Moment {
        self.head().moment
    }

    pub(crate) fn places(&self) -> Places {
        self.head().places
    }

    pub(crate) fn token_hash(&self) -> &TokenHash {
        &self.head().token_hash
    }

    pub(crate) fn class(&self) -> &Class {
        &self.head().common.class
    }

    /// The times of the session, by the id that it was looked up with. `None` would be a mistake in the packing.
    pub(crate) fn times(&self, id: SessionId) -> Option<Times<'_>> {
        let mut bytes = Bytes(&self.0.slice);
        let _share = bytes.number()?;
        let created_at = bytes.after(issued_at(id))?;
        let authenticated_at = bytes.after(created_at)?;
        let renewed_at = bytes.after(authenticated_at)?;
        let idle = bytes.after(renewed_at)?;
        let absolute = bytes.after(authenticated_at)?;
        Some(Times { created_at, authenticated_at, renewed_at, deadlines: Deadlines { idle, absolute }, rest: bytes })
    }

    /// The session with these deadlines and this last use. Three allocations: itself, its user and its attributes, and one for a label. `None` as above.
    pub(crate) fn session(&self, id: SessionId, deadlines: Deadlines, last_seen_at: Timestamp) -> Option<Arc<Session>> {
        let common = &self.head().common;
        let times = self.times(id)?;
        let mut bytes = times.rest;
        let attributes_version = bytes.number()?;
        let ip = bytes.ip()?;
        let user = usize::try_from(bytes.number()?).ok()?;
        let label = usize::try_from(bytes.number()?).ok()?;
        // Looked through once for all of them, which takes a third of what it takes one by one.
        let (user, texts) = std::str::from_utf8(bytes.0).ok()?.split_at_checked(user)?;
        let (label, attributes) = texts.split_at_checked(label)?;
        Some(Arc::new(Session {
            id,
            created_at: times.created_at,
            authenticated_at: times.authenticated_at,
            renewed_at: times.renewed_at,
            last_seen_at,
            idle_expires_at: deadlines.idle,
            absolute_expires_at: deadlines.absolute,
            attributes_version,
            user: UserId::checked_before(user),
            class: common.class.clone(),
            client: Client { ip, user_agent: common.user_agent.clone() },
            label: if label.is_empty() { None } else { Label::new(label).ok()? },
            attributes: if attributes.is_empty() { Attributes::default() } else { Attributes::from_stored(attributes) },
            authentication: Arc::clone(&common.authentication),
            state: State::Live,
        }))
    }

    /// When it was last used, as far as was noted.
    pub(crate) fn last_seen_at(&self) -> Timestamp {
        Timestamp::from_millis(self.head().last_seen.load(Ordering::Relaxed))
    }

    /// Notes a use: whether it is `granularity` or more after the last one that was noted. At most one of those that come at once is told so.
    pub(crate) fn is_newly_seen(&self, now: Timestamp, granularity: std::time::Duration) -> Option<Timestamp> {
        let last = self.head().last_seen.load(Ordering::Relaxed);
        let noted = Timestamp::from_millis(last);
        if now.since(noted) < granularity {
            return None;
        }
        let exchanged =
            self.head().last_seen.compare_exchange(last, now.as_millis(), Ordering::Relaxed, Ordering::Relaxed);
        exchanged.is_ok().then_some(noted)
    }

    /// Bytes of memory, the map's share and that of the common texts included. It never changes, as the map asks.
    pub(crate) fn weight(&self) -> u64 {
        let share = Bytes(&self.0.slice).number().unwrap_or(0);
        (OVERHEAD + size_of::<Head>() + self.0.slice.len()) as u64 + share
    }
}

/// Version 7 ids carry the time of their creation.
fn issued_at(id: SessionId) -> Timestamp {
    let mut bytes = [0; 8];
    bytes[2..].copy_from_slice(&id.as_bytes()[..6]);
    Timestamp::from_millis(i64::from_be_bytes(bytes))
}

/// Its share of the common texts, in bytes, and everything that is not in the head, in the order in which [`Entry::times`] and [`Entry::session`] read it.
fn packed(session: &Session, share: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96);
    number(&mut bytes, share as u64);
    let times = [
        (issued_at(session.id), session.created_at),
        (session.created_at, session.authenticated_at),
        (session.authenticated_at, session.renewed_at),
        (session.renewed_at, session.idle_expires_at),
        (session.authenticated_at, session.absolute_expires_at),
    ];
    for (from, to) in times {
        let difference = to.as_millis() - from.as_millis();
        number(&mut bytes, ((difference << 1) ^ (difference >> 63)).cast_unsigned());
    }
    number(&mut bytes, session.attributes_version);
    match session.client.ip {
        None => bytes.push(0),
        Some(IpAddr::V4(ip)) => {
            bytes.push(4);
            bytes.extend(ip.octets());
        }
        Some(IpAddr::V6(ip)) => {
            bytes.push(16);
            bytes.extend(ip.octets());
        }
    }
    let user = session.user.as_str();
    let label = session.label.as_ref().map_or("", Label::as_str);
    number(&mut bytes, user.len() as u64);
    number(&mut bytes, label.len() as u64);
    bytes.extend(user.as_bytes());
    bytes.extend(label.as_bytes());
    if !session.attributes.is_empty() {
        bytes.extend(session.attributes.to_json().as_bytes());
    }
    bytes
}

/// Seven bits a byte, the lowest first.
fn number(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// What is left to read of a packed session.
#[derive(Debug)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(count)?;
        self.0 = left;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = *self.take(1)? else { return None };
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn after(&mut self, from: Timestamp) -> Option<Timestamp> {
        let packed = self.number()?;
        let difference = (packed >> 1).cast_signed() ^ -(packed & 1).cast_signed();
        Some(Timestamp::from_millis(from.as_millis().saturating_add(difference)))
    }

    fn ip(&mut self) -> Option<Option<IpAddr>> {
        Some(match *self.take(1)? {
            [4] => Some(IpAddr::from(<[u8; 4]>::try_from(self.take(4)?).ok()?)),
            [16] => Some(IpAddr::from(<[u8; 16]>::try_from(self.take(16)?).ok()?)),
            _ => None,
        })
    }
}

impl Common {
    fn size(&self) -> usize {
        let Authentication { methods, source } = &*self.authentication;
        let texts = self.class.as_str().len() + self.user_agent.as_deref().map_or(0, str::len) + source.len();
        size_of::<Self>()
            + size_of::<Authentication>()
            + texts
            + methods.iter().map(|method| method.len() + 32).sum::<usize>()
    }
}

/// The texts that sessions have in common, each kept once while an entry has it.
#[derive(Debug, Default)]
pub(crate) struct Interned(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    texts: HashSet<Arc<Common>>,
    /// When there are so many, those that nobody has any more are dropped.
    crowded: usize,
}

/// Below so many different ones it is not worth looking for those that nobody has any more.
const FEW: usize = 1024;

impl Known {
    fn drop_unused(&mut self) {
        self.texts.retain(|common| Arc::strong_count(common) > 1);
        // A third of them has to go before looking again, so that looking costs each new one the same.
        self.crowded = self.texts.len() + self.texts.len() / 2;
    }
}

impl Interned {
    fn common(&self, session: &Session) -> Arc<Common> {
        let wanted = Common {
            class: session.class.clone(),
            user_agent: session.client.user_agent.clone(),
            authentication: Arc::clone(&session.authentication),
        };
        let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(common) = known.texts.get(&wanted) {
            return Arc::clone(common);
        }
        if known.texts.len() >= known.crowded.max(FEW) {
            known.drop_unused();
        }
        let common = Arc::new(wanted);
        known.texts.insert(Arc::clone(&common));
        common
    }

    /// Drops those that no entry has any more.
    pub(crate) fn drop_unused(&self) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).drop_unused();
    }

    #[cfg(test)]
    #[cfg(not(feature = "shuttle"))]
    fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).texts.len()
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::fence::Fences;
    use super::*;

    fn session(id: [u8; 16], times: [i64; 6]) -> Session {
        let [created_at, authenticated_at, renewed_at, last_seen_at, idle, absolute] =
            times.map(Timestamp::from_millis);
        Session {
            id: SessionId::from_bytes(id),
            user: UserId::new("alice").unwrap(),
            class: Class::WEB,
            created_at,
            authenticated_at,
            renewed_at,
            last_seen_at,
            idle_expires_at: idle,
            absolute_expires_at: absolute,
            client: Client::default(),
            label: None,
            authentication: Arc::default(),
            attributes: Attributes::default(),
            attributes_version: 0,
            state: State::Live,
        }
    }

    fn entry(session: &Session, interned: &Interned) -> Entry {
        let fences = Fences::new(64);
        let places = fences.places(session.id, &session.user);
        Entry::new(session, TokenHash::from_bytes([7; 32]), fences.moment(), places, interned).unwrap()
    }

    fn unpacked(entry: &Entry, id: SessionId) -> Option<Session> {
        entry.session(id, entry.times(id)?.deadlines, entry.last_seen_at()).map(Arc::unwrap_or_clone)
    }

    fn text() -> impl Strategy<Value = String> {
        "[^\\p{Cc}]{1,40}"
    }

    proptest! {
        /// Whatever a session holds comes back as it was.
        #[test]
        fn a_session_reads_back_as_it_was(
            id in any::<[u8; 16]>(),
            times in any::<[i64; 6]>(),
            user in "[^\0]{1,60}",
            class in "[a-z][a-z0-9_-]{0,30}",
            ip in any::<Option<IpAddr>>(),
            user_agent in proptest::option::of(text()),
            label in proptest::option::of(text()),
            methods in proptest::collection::vec(text(), 0..4),
            source in text(),
            attributes in proptest::collection::btree_map("[a-z]{1,5}", text(), 0..3),
            attributes_version in any::<u64>(),
        ) {
            let mut session = session(id, times);
            session.user = UserId::new(user).unwrap();
            session.class = Class::new(&class).unwrap();
            session.client = Client { ip, user_agent: user_agent.map(Arc::from) };
            session.label = label.and_then(|label| Label::new(&label).unwrap());
            session.authentication = Arc::new(Authentication { methods, source });
            session.attributes = Attributes::from_json(&serde_json::to_string(&attributes).unwrap()).unwrap();
            session.attributes_version = attributes_version;
            let interned = Interned::default();
            let entry = entry(&session, &interned);
            prop_assert_eq!(unpacked(&entry, session.id), Some(session.clone()));
            prop_assert!(entry.token_hash().matches(&TokenHash::from_bytes([7; 32])));
            prop_assert!(entry.weight() >= (session.user.as_str().len() + 48) as u64);
        }
    }

    #[test]
    fn ended_sessions_are_not_packed() {
        let mut ended = session([1; 16], [0; 6]);
        ended.state = State::Ended(crate::Ended {
            at: Timestamp::EPOCH,
            by: crate::Actor::system("test"),
            reason: crate::EndReason::Revoked,
        });
        let fences = Fences::new(64);
        let places = fences.places(ended.id, &ended.user);
        let hash = TokenHash::from_bytes([0; 32]);
        assert!(Entry::new(&ended, hash, fences.moment(), places, &Interned::default()).is_none());
    }

    #[test]
    fn common_texts_are_kept_once_and_as_long_as_somebody_has_them() {
        let interned = Interned::default();
        let with = |n: usize| {
            let mut session = session([1; 16], [0; 6]);
            session.client.user_agent = Some(format!("browser {n}").into());
            entry(&session, &interned)
        };
        let first = with(0);
        let alone = first.weight();
        let second = with(0);
        assert!(second.weight() < alone, "the second one shares");
        assert_eq!(interned.len(), 1);
        for n in 0..20 * FEW {
            drop(with(n));
            assert!(interned.len() <= 2 * FEW, "at {n}");
        }
        assert_eq!(unpacked(&first, SessionId::from_bytes([1; 16])), unpacked(&second, SessionId::from_bytes([1; 16])));
    }

    #[test]
    fn a_use_is_noted_once_in_a_while() {
        let minute = Duration::from_secs(60);
        let start = Timestamp::from_millis(1_000_000);
        let entry = entry(&session([1; 16], [1_000_000; 6]), &Interned::default());
        assert_eq!(entry.is_newly_seen(start.plus(Duration::from_secs(59)), minute), None);
        assert_eq!(entry.is_newly_seen(start.plus(minute), minute), Some(start));
        assert_eq!(entry.is_newly_seen(start.plus(minute), minute), None);
        assert_eq!(unpacked(&entry, SessionId::from_bytes([1; 16])).unwrap().last_seen_at, start.plus(minute));
    }
}
