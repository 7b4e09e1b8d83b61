//! The public name of a session.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{Entropy, EntropyError, Timestamp, UserId};

/// The public id of a session: a time-ordered UUIDv7 (RFC 9562, section 5.7) whose last byte is the user's shard,
/// the first byte of SHA-256 of the user id, so that a sharded store can route by id alone.
///
/// An id is no credential: it is listed, logged and sent back to name a session, and never admits anybody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Uuid);

/// The text is no session id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a session id (expected a UUID such as 0199b1c4-7f2a-7c3e-9d1b-5a6f0e2d4c81)")]
pub struct SessionIdError;

impl SessionId {
    /// A new id for a session of `user` that begins `now`.
    ///
    /// # Errors
    /// When the generator fails.
    pub fn generate(user: &UserId, now: Timestamp, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut random = [0_u8; 10];
        entropy.fill(&mut random)?;
        random[9] = shard_of(user);
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        Ok(Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()))
    }

    /// The id from its 16 bytes, as stores keep it.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The 16 bytes, in an order that follows creation time.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The user's shard, 0 to 255.
    #[must_use]
    pub const fn shard(&self) -> u8 {
        self.0.as_bytes()[15]
    }
}

fn shard_of(user: &UserId) -> u8 {
    Sha256::digest(user.as_str().as_bytes())[0]
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for SessionId {
    type Err = SessionIdError;

    /// Accepts the hyphenated form alone, upper or lower case.
    fn from_str(text: &str) -> Result<Self, SessionIdError> {
        if text.len() != 36 {
            return Err(SessionIdError);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| SessionIdError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OsEntropy;

    #[test]
    fn is_version_7_time_ordered_and_carries_the_shard() {
        let alice = UserId::new("alice").unwrap();
        let early = SessionId::generate(&alice, Timestamp::from_millis(1_000), &OsEntropy).unwrap();
        let late = SessionId::generate(&alice, Timestamp::from_millis(2_000), &OsEntropy).unwrap();
        assert!(early < late);
        assert_eq!(early.0.get_version_num(), 7);
        assert_eq!(early.shard(), Sha256::digest(b"alice")[0]);
        assert_eq!(early.shard(), late.shard());
        assert_eq!(early.to_string().parse(), Ok(early));
    }

    #[test]
    fn other_spellings_are_refused() {
        let id = SessionId::from_bytes([7; 16]).to_string();
        for text in ["", "x", &id.replace('-', ""), &format!("{{{id}}}"), &format!("urn:uuid:{id}"), &id[1..]] {
            assert_eq!(text.parse::<SessionId>(), Err(SessionIdError), "{text}");
        }
    }
}
