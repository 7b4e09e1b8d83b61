//! Creating and finding.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hallpass_core::store::{Created, Limit, Record, Target};
use hallpass_core::{
    Attributes, Authentication, Class, Client, EndReason, Label, MAX_ATTRIBUTES_BYTES, MAX_LABEL_CHARS,
    MAX_USER_AGENT_BYTES, MAX_USER_ID_BYTES, State, Store, Timestamp,
};

use super::given::{Given, at_once, everything, of_user};
use crate::builders::{DAY, HOUR, MILLISECOND, Records, T0, user};

/// An id that was never created is not found.
pub async fn unknown_ids_are_none(store: Arc<dyn Store>) {
    let given = Given::new(store);
    given.live("alice").await;
    let unknown = Records::seeded(2).record("alice", T0).session.id;
    assert_eq!(given.store.find(unknown).await.unwrap(), None);
}

/// Every field comes back as it was written, at the bounds of what its type admits (A35).
pub async fn a35_every_field_round_trips_at_its_bounds(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let mut first = given.records.record(&"x".repeat(MAX_USER_ID_BYTES), T0);
    let session = &mut first.session;
    session.class = Class::new(&format!("k{}", "-_9".repeat(10))).unwrap();
    session.created_at = T0;
    session.authenticated_at = T0.plus(MILLISECOND);
    session.renewed_at = T0.plus(2 * MILLISECOND);
    session.last_seen_at = T0.plus(3 * MILLISECOND);
    session.idle_expires_at = T0.plus(4 * DAY);
    session.absolute_expires_at = Timestamp::NEVER;
    session.client = Client {
        ip: Some(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xfffe))),
        user_agent: Some("a".repeat(MAX_USER_AGENT_BYTES).into()),
    };
    session.label = Label::new(&"\u{10FFFD}".repeat(MAX_LABEL_CHARS)).unwrap();
    session.authentication = Arc::new(Authentication {
        methods: ["pwd", "otp", "with, comma", "\"quoted\"", "", "\u{1F511}"].map(String::from).to_vec(),
        source: String::from("identity provider №1 '; DROP TABLE sessions; --"),
    });
    let filler = "y".repeat(MAX_ATTRIBUTES_BYTES - r#"{"k":""}"#.len());
    session.attributes = Attributes::from_json(&format!(r#"{{"k":"{filler}"}}"#)).unwrap();
    assert_eq!(session.attributes.to_json().len(), MAX_ATTRIBUTES_BYTES);

    let mut second = given.records.record(&"\u{1F511}".repeat(MAX_USER_ID_BYTES / 4), T0);
    let session = &mut second.session;
    session.idle_expires_at = Timestamp::NEVER;
    session.absolute_expires_at = Timestamp::NEVER;
    session.client = Client {
        ip: Some(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 255))),
        user_agent: Some("\u{1F511}".repeat(MAX_USER_AGENT_BYTES / 4).into()),
    };
    session.label = Label::new("O'Brien's \\ \"100 %\" <b>tablet</b> _").unwrap();
    session.attributes = Attributes::from_json(
        r#"{"":null,"big":18446744073709551615,"deep":{"list":[1,-2,3.5,[],{}]},"key":"\u001b\n","text":"𝒳é"}"#,
    )
    .unwrap();

    let mut third = given.records.record("line\nbreak\ttab\u{7f}%_'\\", Timestamp::EPOCH);
    third.session.idle_expires_at = Timestamp::from_millis(1);
    third.session.absolute_expires_at = Timestamp::from_millis(2);

    for record in [&first, &second, &third] {
        given.create(record).await;
    }
    for record in [&first, &second, &third] {
        assert_eq!(given.found(record.session.id).await, *record);
        let filter = hallpass_core::store::Filter { user: Some(record.session.user.clone()), ..everything() };
        let listed = given.list(&filter, 10, T0).await;
        assert_eq!(listed, std::slice::from_ref(&record.session), "the list shows the same");
    }
}

/// What may be absent stays absent: it does not become an empty text or a zero.
pub async fn absent_fields_stay_absent(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let mut bare = given.records.record("a", T0);
    bare.session.authentication = Arc::default();
    assert_eq!((&bare.session.client, &bare.session.label), (&Client::default(), &None));
    given.create(&bare).await;
    assert_eq!(given.found(bare.session.id).await, bare);

    let mut one_empty_method = given.records.record("a", T0);
    Arc::make_mut(&mut one_empty_method.session.authentication).methods = vec![String::new()];
    given.create(&one_empty_method).await;
    assert_eq!(given.found(one_empty_method.session.id).await, one_empty_method);
}

/// User ids are compared byte for byte: no folding, no trimming, no normalisation.
pub async fn user_ids_are_kept_apart_byte_for_byte(store: Arc<dyn Store>) {
    const USERS: [&str; 12] =
        ["alice", "Alice", "ALICE", "alice ", " alice", "é", "e\u{301}", "ａlice", "al%", "al_", "ß", "ss"];
    let given = Given::new(store);
    let mut records = Vec::new();
    for user in USERS {
        records.push(given.live(user).await);
    }
    for (user_id, record) in USERS.into_iter().zip(&records) {
        assert_eq!(given.found(record.session.id).await.session.user, user(user_id));
        assert_eq!(given.ids(&of_user(user_id), T0).await, [record.session.id], "only the sessions of {user_id:?}");
        assert_eq!(given.count(&of_user(user_id), T0).await, 1, "{user_id:?}");
    }
    for (i, user_id) in USERS.into_iter().enumerate() {
        let outcome = given.revoke(Target::User(user(user_id)), T0, EndReason::RevokedUser).await;
        assert_eq!(outcome.ended, Some(1), "{user_id:?} has one session");
        for (j, record) in records.iter().enumerate() {
            assert_eq!(given.is_live(record.session.id, T0).await, j > i, "{user_id:?}: {:?}", record.session.user);
        }
    }
}

/// A second creation with the same id is refused, whoever it is for, and leaves everything as it was (A05).
pub async fn a05_a_duplicate_id_is_refused(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let first = given.live("alice").await;
    let bystander = given.live("mallory").await;
    let mut second = given.records.record("mallory", T0.plus(HOUR));
    second.session.id = first.session.id;
    let limit = Limit { max: 1, refuse: false, renewed_after: Timestamp::EPOCH, authenticated_after: Timestamp::EPOCH };
    for limit in [None, Some(limit), Some(Limit { refuse: true, ..limit })] {
        let created = given.store.create(&second, T0.plus(HOUR), limit).await.unwrap();
        assert_eq!(created, Created::Duplicate, "{limit:?}");
        assert_eq!(given.found(first.session.id).await, first, "the first is unchanged");
        assert_eq!(given.found(bystander.session.id).await, bystander, "a refused creation evicts nobody");
    }
    assert_eq!(given.store.create(&first, T0, None).await.unwrap(), Created::Duplicate, "the very same one, too");
    assert_eq!(given.head().await, 0, "nothing was logged");
}

/// The id of a session that ended, expired, or lies behind a mark is not free while its row is kept (A05, A06).
pub async fn a05_the_id_of_a_dead_session_is_refused(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let marked = given.live("bob").await;
    given.revoke(Target::User(user("bob")), T0, EndReason::RevokedUser).await;
    let dead = [given.signed_out("alice").await, given.expired("alice").await, given.found(marked.session.id).await];
    for before in &dead {
        let mut again = given.records.record("alice", T0.plus(HOUR));
        again.session.id = before.session.id;
        assert_eq!(given.store.create(&again, T0.plus(HOUR), None).await.unwrap(), Created::Duplicate);
        assert_eq!(given.found(before.session.id).await, *before);
        assert!(!given.is_live(before.session.id, T0.plus(HOUR)).await);
    }
}

/// Of many creations with one id at once exactly one is made, whole.
pub async fn a05_creations_of_one_id_at_once_have_one_winner(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let id = given.records.record("user-0", T0).session.id;
    let records: Vec<Record> = (0..32)
        .map(|i| {
            let mut record = given.records.record(&format!("user-{i}"), T0);
            record.session.id = id;
            record
        })
        .collect();
    let created = at_once(records.len(), |i| {
        let (given, record) = (given.clone(), records[i].clone());
        async move { (i, given.store.create(&record, T0, None).await.unwrap()) }
    })
    .await;
    let winners: Vec<usize> =
        created.iter().filter(|(_, created)| *created != Created::Duplicate).map(|(i, _)| *i).collect();
    assert_eq!(winners.len(), 1, "exactly one creation wins, not {winners:?}");
    assert_eq!(given.found(id).await, records[winners[0]], "the winner's record is whole");
}

/// A creation is live, alone in the store, and not logged.
pub async fn a_new_session_lives_and_is_not_logged(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    assert_eq!(given.state(record.session.id).await, State::Live);
    assert_eq!(given.ids(&everything(), T0).await, [record.session.id]);
    assert_eq!(given.head().await, 0);
}
