//! Where rows lie: at a number made from their ids, or elsewhere when another one lies there.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use common::{DAY, NOW, record, revocation, store, user};
use hallpass_core::store::{Created, Filter, Page, Sweep, Target};
use hallpass_core::{Session, SessionId, State, Store as _};

#[tokio::test]
async fn new_rows_lie_in_the_order_of_their_creation_at_their_own_keys() {
    let (directory, store) = store().await;
    for minute in 0..200_u32 {
        let new = record(&user("alice"), NOW.plus(minute * DAY / 1440));
        store.create(&new, NOW, None).await.unwrap();
    }
    let connection = rusqlite::Connection::open(directory.path().join("hallpass.db")).unwrap();
    let (rows, in_place): (u32, u32) = connection
        .query_row(
            "SELECT count(*), sum(found.id = s.id AND s.key >> 21 = s.created_at) \
             FROM hallpass_sessions s LEFT JOIN hallpass_found found ON found.key = s.key",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!((rows, in_place), (200, 200), "a check finds each by its key");
}

/// Ids that agree in all that a key is made from.
fn twins(count: u8) -> Vec<hallpass_core::store::Record> {
    let first = record(&user("alice"), NOW);
    let twin = |number: u8| {
        let mut bytes = *first.session.id.as_bytes();
        bytes[12] = bytes[12].wrapping_add(number);
        let mut twin = first.clone();
        twin.session.id = SessionId::from_bytes(bytes);
        twin.session.user = user(&format!("user {number}"));
        twin
    };
    (0..count).map(twin).collect()
}

#[tokio::test]
async fn ids_of_one_key_are_told_apart_by_every_verb() {
    let (_directory, store) = store().await;
    let twins = twins(5);
    for twin in &twins {
        assert!(matches!(store.create(twin, NOW, None).await.unwrap(), Created::Created { .. }));
        assert!(matches!(store.create(twin, NOW, None).await.unwrap(), Created::Duplicate), "the same id twice");
    }
    for twin in &twins {
        assert_eq!(store.find(twin.session.id).await.unwrap().as_ref(), Some(twin));
        assert_eq!(store.find_now(twin.session.id).unwrap().unwrap().as_ref(), Some(twin));
    }
    // The one at the key ends and goes; the others stay what they are.
    let target = Target::Session { id: twins[0].session.id, owner: None };
    assert_eq!(store.revoke(&revocation(target, NOW)).await.unwrap().ended, Some(1));
    let ended = store.find(twins[0].session.id).await.unwrap().unwrap().session;
    assert!(matches!(ended.state, State::Ended(_)));
    let alive = |listed: Vec<Session>| listed.into_iter().map(|session| session.id).collect::<Vec<_>>();
    let listed = store.list(&Filter::default(), Page::first(50), NOW).await.unwrap().sessions;
    assert_eq!(alive(listed), twins[1..].iter().rev().map(|twin| twin.session.id).collect::<Vec<_>>());
    let later = NOW.plus(DAY);
    let sweep = Sweep { expired_before: NOW, ended_before: later, log_before: NOW, batch: 100, commits: 1 };
    assert_eq!(store.sweep(&sweep).await.unwrap().ended, 1);
    assert_eq!(store.find(twins[0].session.id).await.unwrap(), None);
    for twin in &twins[1..] {
        assert_eq!(store.find(twin.session.id).await.unwrap().as_ref(), Some(twin));
    }
    // Its place is taken by whoever comes next.
    let mut next = twins[0].clone();
    next.session.user = user("next");
    assert!(matches!(store.create(&next, NOW, None).await.unwrap(), Created::Created { .. }));
    assert_eq!(store.find(next.session.id).await.unwrap(), Some(next));
}
