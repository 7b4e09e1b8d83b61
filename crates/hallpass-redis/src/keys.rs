//! Names of keys. Everything of one user's shard lies in one slot, and so does the log.
//!
//! | key | holds |
//! |---|---|
//! | `s:<id>` | a session (string) |
//! | `u:<user>`, `h:<user>` | the ids of the user's sessions that have not ended, that have (sorted sets, in order of the ids) |
//! | `e:<user>` | the epoch of each that has not ended (sorted set) |
//! | `a`, `b` | id and user of all sessions of the shard that have not ended, that have (sorted sets, in order of the ids) |
//! | `x`, `z` | the same by idle deadline, by time of the end (sorted sets) |
//! | `c` | the newest mark of the shard: the epoch of a new session (string) |
//! | `marks`, `mq`, `mc` | marks not settled yet by user and number, by number, how far the first is settled |
//! | `mx` | the newest mark not settled yet (string; Cluster alone) |
//! | `o` | log entries on their way to the log (list; Cluster alone) |
//! | `ev`, `eo` | the newest revocation of everyone here, and while it is not complete how to complete it (Cluster alone) |
//!
//! The log: `layout`, `inc` (incarnation), `n` (newest position), `log` (stream), `rid` (servers seen), `nodes` (the registry, a hash); on one server `newest` (the newest mark
//! not settled yet of each shard) and `used` (which shards ever held a session); and in a Cluster `p:<entry>` (the position of an entry that came through an outbox), `everyone` (the revocation of everyone that is under way), `ticket` (its number).

use hallpass_core::{SessionId, UserId};
use sha2::{Digest as _, Sha256};

/// How many shards there are: one for each value of an id's last byte.
pub(crate) const SHARDS: usize = 256;
/// Shards, and the log.
pub(crate) const PLACES: usize = SHARDS + 1;

/// Where something lies: a shard, or the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u16);

impl Place {
    pub(crate) const LOG: Self = Self(SHARDS as u16);

    pub(crate) const fn shard(shard: u8) -> Self {
        Self(shard as u16)
    }

    pub(crate) const fn of_session(id: SessionId) -> Self {
        Self::shard(id.shard())
    }

    /// As ids carry it: the first byte of SHA-256 of the user id.
    pub(crate) fn of_user(user: &UserId) -> Self {
        Self::shard(Sha256::digest(user.as_str().as_bytes())[0])
    }

    pub(crate) fn shards() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self::shard)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// What is hashed in a Cluster: the same under every prefix.
    fn tag(self) -> String {
        if self == Self::LOG { String::from("hp:log") } else { format!("hp:{:02x}", self.0) }
    }

    /// The Cluster's slot.
    pub(crate) fn slot(self) -> u16 {
        crc16(self.tag().as_bytes()) % 16_384
    }
}

/// Makes the names under one prefix.
#[derive(Debug)]
pub(crate) struct Keys {
    bases: Vec<String>,
    channel: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        let places = Place::shards().chain([Place::LOG]);
        let bases = places.map(|place| format!("{prefix}{{{}}}:", place.tag())).collect();
        Self { bases, channel: format!("{prefix}hints") }
    }

    /// Where hints are published; no key.
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// A key of the place itself.
    pub(crate) fn of(&self, place: Place, name: &str) -> Vec<u8> {
        let base = &self.bases[place.index()];
        let mut key = Vec::with_capacity(base.len() + name.len());
        key.extend_from_slice(base.as_bytes());
        key.extend_from_slice(name.as_bytes());
        key
    }

    pub(crate) fn session(&self, id: SessionId) -> Vec<u8> {
        let mut key = Vec::new();
        self.write_session(id, &mut key);
        key
    }

    /// As [`Keys::session`], in place of what the buffer holds.
    pub(crate) fn write_session(&self, id: SessionId, key: &mut Vec<u8>) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let base = self.bases[Place::of_session(id).index()].as_bytes();
        let mut text = [b'-'; 36];
        let mut to = 0;
        for (at, byte) in id.as_bytes().iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                to += 1;
            }
            text[to] = HEX[usize::from(byte >> 4)];
            text[to + 1] = HEX[usize::from(byte & 15)];
            to += 2;
        }
        key.clear();
        key.reserve(base.len() + 2 + text.len());
        key.extend_from_slice(base);
        key.extend_from_slice(b"s:");
        key.extend_from_slice(&text);
    }

    /// Where one server keeps the newest marks of all shards.
    pub(crate) fn newest_of_all(&self) -> Vec<u8> {
        self.of(Place::LOG, "newest")
    }

    /// An index of a user: `u`, `e` or `h`.
    pub(crate) fn of_user(&self, place: Place, index: &str, user: &str) -> Vec<u8> {
        let mut key = self.of(place, index);
        key.push(b':');
        key.extend_from_slice(user.as_bytes());
        key
    }

    /// The four keys of one session in the order that the scripts want them.
    pub(crate) fn whole(&self, id: SessionId, user: &str) -> [Vec<u8>; 4] {
        let place = Place::of_session(id);
        [
            self.session(id),
            self.of_user(place, "u", user),
            self.of_user(place, "e", user),
            self.of_user(place, "h", user),
        ]
    }
}

/// CRC-16/XMODEM, as the Cluster specification wants it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use hallpass_core::{OsEntropy, Timestamp};

    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
    }

    #[test]
    fn a_user_and_the_users_sessions_lie_in_one_place_and_names_are_readable() {
        let user = UserId::new("alice").unwrap();
        let id = SessionId::generate(&user, Timestamp::from_millis(1_000), &OsEntropy).unwrap();
        assert_eq!(Place::of_user(&user), Place::of_session(id));
        let keys = Keys::new("hallpass:");
        let tag = format!("hallpass:{{hp:{:02x}}}:", id.shard());
        assert_eq!(keys.session(id), format!("{tag}s:{id}").into_bytes());
        assert_eq!(keys.of_user(Place::of_user(&user), "u", "alice"), format!("{tag}u:alice").into_bytes());
        assert_eq!(keys.of(Place::LOG, "n"), b"hallpass:{hp:log}:n");
    }
}
