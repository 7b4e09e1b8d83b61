//! Replacing the attributes, compare-and-swap on their version.

use std::sync::Arc;

use hallpass_core::store::{Change, ChangeKind, Target, Write};
use hallpass_core::{Attributes, EndReason, Label, MAX_ATTRIBUTES_BYTES, Store};

use super::attempt::Attempt;
use super::given::{Given, at_once, attributes_n, everything};
use crate::builders::{DAY, HOUR, Records, T0, user};

/// A change replaces all attributes, counts the version up by one and is logged; nothing else changes.
pub async fn a_change_counts_the_version_and_is_logged(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    let other = given.live("alice").await;
    let id = record.session.id;
    let longest = format!(r#"{{"k":"{}"}}"#, "x".repeat(MAX_ATTRIBUTES_BYTES - 8));
    let mut expected = record.clone();
    for (version, text) in [r#"{"theme":"dark"}"#, r#"{"tenant":"ac'me"}"#, &longest, "{}"].into_iter().enumerate() {
        let attributes = Attributes::from_json(text).unwrap();
        let version = version as u64;
        let answer = given.store.set_attributes(id, version, &attributes, T0.plus(HOUR)).await.unwrap();
        assert_eq!(answer, Write::Done(version + 1));
        expected.session.attributes = attributes;
        expected.session.attributes_version = version + 1;
        assert_eq!(given.found(id).await, expected);
        let change = Change { position: version + 1, kind: ChangeKind::Changed(id), at: T0.plus(HOUR) };
        assert_eq!(given.log().await.last(), Some(&change));
    }
    assert_eq!(given.found(other.session.id).await, other, "the other session is untouched");
}

/// Another version than the stored one is a conflict that changes and logs nothing (A47).
pub async fn a47_another_version_is_a_conflict(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    let id = record.session.id;
    for n in 0..2 {
        given.store.set_attributes(id, n, &attributes_n(n), T0).await.unwrap();
    }
    let before = given.found(id).await;
    for expected in [0, 1, 3, u64::from(u32::MAX), i64::MAX as u64, u64::MAX] {
        let answer = given.store.set_attributes(id, expected, &attributes_n(99), T0).await.unwrap();
        assert_eq!(answer, Write::Conflict, "the version is 2, not {expected}");
        assert_eq!(given.found(id).await, before);
    }
    assert_eq!(given.head().await, 2, "conflicts are not logged");
}

/// 20 increments at once, each tried again after a conflict, lose none (A47).
pub async fn a47_twenty_increments_at_once_lose_none(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let id = given.live("alice").await.session.id;
    at_once(20, |_| {
        let given = given.clone();
        async move { given.increment(id, T0).await }
    })
    .await;
    let session = given.found(id).await.session;
    assert_eq!((session.attributes, session.attributes_version), (attributes_n(20), 20));
    assert_eq!(given.log().await.len(), 20);
}

/// Other writes leave the version alone, so that they cause no conflict.
pub async fn other_writes_leave_the_version(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    given.store.set_attributes(record.session.id, 0, &attributes_n(5), T0).await.unwrap();
    for attempt in [Attempt::Touch, Attempt::SetLabel, Attempt::Renew, Attempt::Rotate, Attempt::Reauthenticate] {
        let read = given.found(record.session.id).await;
        attempt.run(&given, &read, T0.plus(HOUR)).await;
        let session = given.found(record.session.id).await.session;
        assert_eq!((session.attributes, session.attributes_version), (attributes_n(5), 1), "after {attempt:?}");
    }
    let label = given.found(record.session.id).await.session.label;
    assert_eq!(label, Label::new("Kitchen").unwrap(), "the other writes were made");
}

/// Ended, marked, expired and unknown sessions are gone, with the right version and with a wrong one (A06).
pub async fn a06_the_dead_and_the_unknown_are_gone(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let marked = given.live("bob").await;
    given.revoke(Target::User(user("bob")), T0, EndReason::RevokedUser).await;
    let dead = [given.signed_out("alice").await, given.expired("alice").await, given.found(marked.session.id).await];
    let unknown = Records::seeded(2).record("alice", T0);
    let kept = given.list(&everything(), 100, T0).await;
    let head = given.head().await;
    for record in dead.iter().chain([&unknown]) {
        for expected in [0, 1] {
            let id = record.session.id;
            let answer = given.store.set_attributes(id, expected, &attributes_n(1), T0.plus(DAY)).await.unwrap();
            assert_eq!(answer, Write::Gone);
        }
    }
    assert_eq!(given.list(&everything(), 100, T0).await, kept, "nothing was created or changed");
    assert_eq!(given.head().await, head, "nothing was logged");
}
