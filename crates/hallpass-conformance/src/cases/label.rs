//! Naming a session.

use std::sync::Arc;

use hallpass_core::store::{Change, ChangeKind, Target, Write};
use hallpass_core::{EndReason, Label, MAX_LABEL_CHARS, Store};

use super::given::{Given, everything};
use crate::builders::{DAY, HOUR, Records, T0, user};

/// The owner names a session, renames it and takes the name away; nothing else changes.
pub async fn the_owner_names_it(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    let other = given.live("alice").await;
    let id = record.session.id;
    let longest = "ü".repeat(MAX_LABEL_CHARS);
    for (position, text) in (1..).zip(["Kitchen", "kitchen", &longest, "", "\u{1F511} <b>'--", ""]) {
        let label = Label::new(text).unwrap();
        let answer = given.store.set_label(id, &user("alice"), label.as_ref(), T0.plus(HOUR)).await.unwrap();
        assert_eq!(answer, Write::Done(()), "{text:?}");
        let mut expected = record.clone();
        expected.session.label = label;
        assert_eq!(given.found(id).await, expected, "{text:?}");
        // What other nodes hold in memory has the old name.
        let change = Change { position, kind: ChangeKind::Changed(id), at: T0.plus(HOUR) };
        assert_eq!(given.store.changes_since(position - 1, 10).await.unwrap().entries, [change], "{text:?}");
    }
    assert_eq!(given.found(other.session.id).await, other, "the other session is untouched");
}

/// Somebody else's session cannot be named, and the answer is that of an unknown one (A15).
pub async fn a15_a_foreign_session_is_gone(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    let label = Label::new("mine").unwrap();
    for stranger in ["mallory", "Alice", "alice ", "alic", "al%"] {
        let answer = given.store.set_label(record.session.id, &user(stranger), label.as_ref(), T0).await.unwrap();
        assert_eq!(answer, Write::Gone, "{stranger:?} is not the owner");
        let answer = given.store.set_label(record.session.id, &user(stranger), None, T0).await.unwrap();
        assert_eq!(answer, Write::Gone, "{stranger:?} is not the owner");
    }
    assert_eq!(given.found(record.session.id).await, record);
}

/// Ended, marked, expired and unknown sessions are gone (A06).
pub async fn a06_the_dead_and_the_unknown_are_gone(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let marked = given.live("bob").await;
    given.revoke(Target::User(user("bob")), T0, EndReason::RevokedUser).await;
    let dead = [given.signed_out("alice").await, given.expired("alice").await, given.found(marked.session.id).await];
    let unknown = Records::seeded(2).record("alice", T0);
    let kept = given.list(&everything(), 100, T0).await;
    let label = Label::new("late").unwrap();
    for record in dead.iter().chain([&unknown]) {
        let owner = &record.session.user;
        let answer = given.store.set_label(record.session.id, owner, label.as_ref(), T0.plus(DAY)).await.unwrap();
        assert_eq!(answer, Write::Gone);
    }
    assert_eq!(given.list(&everything(), 100, T0).await, kept, "nothing was created or changed");
}
