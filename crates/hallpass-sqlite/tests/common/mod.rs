//! What the tests of this crate share.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::time::Duration;

use hallpass_core::store::{Record, Revocation, Target};
use hallpass_core::{
    Actor, Attributes, Authentication, Class, Client, EndReason, OsEntropy, Session, SessionId, State, Timestamp,
    TokenHash, UserId,
};
use hallpass_sqlite::{SqliteOptions, SqliteStore};

pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// A session that lives for 30 days from `now`.
pub(crate) fn record(user: &UserId, now: Timestamp) -> Record {
    let id = SessionId::generate(user, now, &OsEntropy).unwrap();
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(id.as_bytes());
    let session = Session {
        id,
        user: user.clone(),
        class: Class::WEB,
        created_at: now,
        authenticated_at: now,
        renewed_at: now,
        last_seen_at: now,
        idle_expires_at: now.plus(30 * DAY),
        absolute_expires_at: now.plus(90 * DAY),
        client: Client::new(
            Some("203.0.113.7".parse().unwrap()),
            Some(b"Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"),
        ),
        label: None,
        authentication: std::sync::Arc::new(Authentication {
            methods: vec![String::from("pwd")],
            source: String::from("credentials"),
        }),
        attributes: Attributes::default(),
        attributes_version: 0,
        state: State::Live,
    };
    Record { session, token_hash: TokenHash::from_bytes(hash) }
}

pub(crate) fn revocation(target: Target, now: Timestamp) -> Revocation {
    Revocation { target, now, by: Actor::operator("root"), reason: EndReason::RevokedUser }
}

pub(crate) fn quick() -> SqliteOptions {
    SqliteOptions { busy_timeout: Duration::from_millis(200), readers: Some(2), ..SqliteOptions::default() }
}

/// A store in a fresh directory, which must outlive it.
pub(crate) async fn store() -> (tempfile::TempDir, SqliteStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(directory.path().join("hallpass.db"), SqliteOptions::default()).await.unwrap();
    (directory, store)
}
