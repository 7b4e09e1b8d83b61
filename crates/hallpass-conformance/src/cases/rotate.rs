//! Replacing the secret.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hallpass_core::store::{Change, ChangeKind, Reauthentication, Record, Rotation, Target, Write};
use hallpass_core::{Authentication, Client, EndReason, Label, Store, Timestamp, TokenHash};

use super::given::{Given, at_once, attributes_n, everything};
use crate::builders::{DAY, HOUR, Records, T0, user};

fn rotation(record: &Record, new_hash: TokenHash, now: Timestamp) -> Rotation {
    Rotation { id: record.session.id, old_hash: record.token_hash, new_hash, now, reauthentication: None }
}

/// A rotation replaces the hash and nothing else, and is logged as one change.
pub async fn the_secret_is_replaced_and_nothing_else(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let mut record = given.records.record("alice", T0);
    record.session.label = Label::new("Kitchen").unwrap();
    record.session.attributes = attributes_n(7);
    given.create(&record).await;
    let other = given.live("alice").await;
    let new_hash = given.records.hash();
    let now = T0.plus(2 * DAY);
    assert_eq!(given.store.rotate(&rotation(&record, new_hash, now)).await.unwrap(), Write::Done(()));
    assert_eq!(given.found(record.session.id).await, Record { token_hash: new_hash, ..record.clone() });
    assert_eq!(given.found(other.session.id).await, other, "the other session is untouched");
    let kind = ChangeKind::Changed(record.session.id);
    assert_eq!(given.log().await, [Change { position: 1, kind, at: now }]);
}

/// With a full authentication both clocks start anew; what belongs to the session stays.
pub async fn a_reauthentication_starts_both_clocks_anew(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let mut record = given.records.record("alice", T0);
    record.session.absolute_expires_at = Timestamp::NEVER;
    record.session.label = Label::new("Kitchen").unwrap();
    record.session.attributes = attributes_n(7);
    given.create(&record).await;
    let now = T0.plus(3 * DAY);
    let mut before = record.clone();
    for (idle, absolute) in [(HOUR, 12 * HOUR), (30 * DAY, 400 * DAY)] {
        let fresh = Reauthentication {
            idle_expires_at: now.plus(idle),
            absolute_expires_at: now.plus(absolute),
            authentication: Arc::new(Authentication {
                methods: vec![String::from("hwk"), String::from("mfa")],
                source: String::from("passkey"),
            }),
            client: Client { ip: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7))), user_agent: Some("another".into()) },
        };
        let new_hash = given.records.hash();
        let rotation = Rotation { reauthentication: Some(fresh.clone()), ..rotation(&before, new_hash, now) };
        assert_eq!(given.store.rotate(&rotation).await.unwrap(), Write::Done(()));
        let mut after = Record { token_hash: new_hash, ..before.clone() };
        after.session.authenticated_at = now;
        after.session.renewed_at = now;
        after.session.last_seen_at = now;
        after.session.idle_expires_at = fresh.idle_expires_at;
        after.session.absolute_expires_at = fresh.absolute_expires_at;
        after.session.authentication = fresh.authentication;
        after.session.client = fresh.client;
        assert_eq!(given.found(record.session.id).await, after);
        before = after;
    }
    assert_eq!(given.log().await.len(), 2, "each is logged once");
}

/// 50 rotations of one secret at once have one winner, whose secret is the current one (A42).
pub async fn a42_fifty_at_once_have_one_winner(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    let hashes: Vec<TokenHash> = (0..50).map(|_| given.records.hash()).collect();
    let answers = at_once(hashes.len(), |i| {
        let (given, rotation) = (given.clone(), rotation(&record, hashes[i], T0.plus(HOUR)));
        async move { (i, given.store.rotate(&rotation).await.unwrap()) }
    })
    .await;
    let winners: Vec<usize> =
        answers.iter().filter(|(_, answer)| *answer == Write::Done(())).map(|(i, _)| *i).collect();
    assert_eq!(winners.len(), 1, "exactly one rotation wins, not {winners:?}");
    let late = answers.iter().filter(|(_, answer)| *answer == Write::Conflict).count();
    assert_eq!(late, 49, "all others are told that somebody was first: {answers:?}");
    assert_eq!(given.found(record.session.id).await.token_hash, hashes[winners[0]], "the winner's secret holds");
    assert_eq!(given.log().await.len(), 1, "one rotation is logged");
}

/// The secret that was rotated away, or never was one, rotates nothing.
pub async fn another_hash_is_a_conflict(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    given.store.rotate(&rotation(&record, given.records.hash(), T0)).await.unwrap();
    let current = given.found(record.session.id).await;
    for old_hash in [record.token_hash, given.records.hash()] {
        let late = Rotation { old_hash, ..rotation(&record, given.records.hash(), T0.plus(HOUR)) };
        assert_eq!(given.store.rotate(&late).await.unwrap(), Write::Conflict);
        assert_eq!(given.found(record.session.id).await, current, "a conflict changes nothing");
    }
    assert_eq!(given.log().await.len(), 1, "a conflict is not logged");
}

/// Ended, marked, expired and unknown sessions are gone (A06), with and without a full authentication.
pub async fn a06_the_dead_and_the_unknown_are_gone(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let marked = given.live("bob").await;
    given.revoke(Target::User(user("bob")), T0, EndReason::RevokedUser).await;
    let dead = [given.signed_out("alice").await, given.expired("alice").await, given.found(marked.session.id).await];
    let unknown = Records::seeded(2).record("alice", T0);
    let head = given.head().await;
    let kept = given.list(&everything(), 100, T0).await;
    let now = T0.plus(HOUR);
    for record in dead.iter().chain([&unknown]) {
        let fresh = Reauthentication {
            idle_expires_at: now.plus(DAY),
            absolute_expires_at: now.plus(DAY),
            authentication: Arc::default(),
            client: Client::default(),
        };
        for reauthentication in [None, Some(fresh)] {
            let rotation = Rotation { reauthentication, ..rotation(record, given.records.hash(), now) };
            assert_eq!(given.store.rotate(&rotation).await.unwrap(), Write::Gone);
        }
    }
    for before in &dead {
        assert_eq!(given.found(before.session.id).await, *before);
    }
    assert_eq!(given.list(&everything(), 100, T0).await, kept, "nothing was created or changed");
    assert_eq!(given.head().await, head, "nothing was logged");
}

/// A rotation and a change of attributes at once lose neither (A47).
pub async fn a47_rotations_and_attributes_lose_neither(store: Arc<dyn Store>) {
    const EACH: u64 = 10;
    let given = Given::new(store);
    let record = given.live("alice").await;
    let id = record.session.id;
    at_once(2, |i| {
        let given = given.clone();
        async move {
            for _ in 0..EACH {
                if i == 0 {
                    given.increment(id, T0).await;
                } else {
                    let read = given.found(id).await;
                    let rotated = given.store.rotate(&rotation(&read, given.records.hash(), T0)).await.unwrap();
                    assert_eq!(rotated, Write::Done(()), "nobody else rotates");
                }
            }
        }
    })
    .await;
    let after = given.found(id).await;
    assert_eq!(after.session.attributes, attributes_n(EACH), "no change of attributes was lost");
    assert_eq!(after.session.attributes_version, EACH);
    assert_ne!(after.token_hash, record.token_hash);
    assert_eq!(given.log().await.len() as u64, 2 * EACH);
}
