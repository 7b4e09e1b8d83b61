//! Records to begin with: fixed times, repeatable ids, no wall clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hallpass_core::store::Record;
use hallpass_core::{
    Attributes, Authentication, Class, Client, Entropy, EntropyError, Session, SessionId, State, Timestamp, TokenHash,
    UserId,
};

/// The time at which the cases begin: 2026-01-01T00:00:00Z.
pub const T0: Timestamp = Timestamp::from_millis(1_767_225_600_000);
/// One millisecond, the smallest step of a [`Timestamp`].
pub const MILLISECOND: Duration = Duration::from_millis(1);
/// One minute.
pub const MINUTE: Duration = Duration::from_secs(60);
/// One hour.
pub const HOUR: Duration = Duration::from_secs(3_600);
/// One day.
pub const DAY: Duration = Duration::from_secs(86_400);

/// Bytes that repeat from run to run. For tests alone: they are predictable.
#[derive(Debug)]
pub struct SeededEntropy(AtomicU64);

impl SeededEntropy {
    /// A source that always gives the same bytes for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed.wrapping_mul(0x2545_F491_4F6C_DD1D)))
    }

    /// The next 64 bits (the generator `SplitMix64`).
    pub fn next_u64(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in buffer.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// A maker of records with repeatable ids and hashes. Can be shared between tasks.
///
/// ```
/// use hallpass_conformance::builders::{Records, T0};
///
/// let records = Records::seeded(1);
/// let mut record = records.record("alice", T0);
/// record.session.class = hallpass_core::Class::API;
/// assert!(record.session.is_live_at(T0));
/// assert_ne!(record.session.id, records.record("alice", T0).session.id);
/// ```
#[derive(Debug)]
pub struct Records(SeededEntropy);

impl Records {
    /// A maker; equal seeds make equal records in equal order.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(SeededEntropy::new(seed))
    }

    /// A live session of `user_id` in the class `web`, begun `created_at`, idle after 30 days and over after 90. Every
    /// field of it may be changed before it is created.
    ///
    /// # Panics
    /// When `user_id` is no user id.
    #[must_use]
    pub fn record(&self, user_id: &str, created_at: Timestamp) -> Record {
        let user = user(user_id);
        let id = SessionId::generate(&user, created_at, &self.0).expect("seeded bytes never fail");
        Record {
            session: Session {
                id,
                user,
                class: Class::WEB,
                created_at,
                authenticated_at: created_at,
                renewed_at: created_at,
                last_seen_at: created_at,
                idle_expires_at: created_at.plus(30 * DAY),
                absolute_expires_at: created_at.plus(90 * DAY),
                client: Client::default(),
                label: None,
                authentication: Arc::new(Authentication {
                    methods: vec![String::from("pwd")],
                    source: String::from("tests"),
                }),
                attributes: Attributes::default(),
                attributes_version: 0,
                state: State::Live,
            },
            token_hash: self.hash(),
        }
    }

    /// Another hash of a token.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        let mut bytes = [0; 32];
        self.0.fill(&mut bytes).expect("seeded bytes never fail");
        TokenHash::from_bytes(bytes)
    }

    /// A number below `bound`, for tests that choose.
    ///
    /// # Panics
    /// When `bound` is 0.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }
}

/// A user id.
///
/// # Panics
/// When the text is none.
#[must_use]
pub fn user(text: &str) -> UserId {
    UserId::new(text).expect("a user id of the tests is well-formed")
}
