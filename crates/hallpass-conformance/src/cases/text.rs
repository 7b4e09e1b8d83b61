//! Text is kept and compared byte for byte: no folding of case, no trimming, no normal form, no collation, no pattern, no key syntax.

use std::sync::Arc;

use hallpass_core::store::{Change, ChangeKind, Created, Filter, Limit, Record, Revocation, Target, Write};
use hallpass_core::{
    Actor, Attributes, Authentication, Class, Client, EndReason, Ended, Label, MAX_LABEL_CHARS, MAX_USER_AGENT_BYTES,
    MAX_USER_ID_BYTES, State, Store, Timestamp, UserId,
};

use super::given::{Given, everything};
use crate::builders::{DAY, HOUR, T0, user};

/// Texts that some database, some collation or some key of some cache takes for another one of them.
fn look_alikes() -> Vec<String> {
    let mut texts: Vec<String> = [
        // Case.
        "alice",
        "Alice",
        "ALICE",
        "\u{131}",
        "i",
        "I",
        "\u{130}",
        "\u{df}",
        "ss",
        "SS",
        "\u{1e9e}",
        "\u{3c3}",
        "\u{3c2}",
        "\u{3a3}",
        // Blanks before and after.
        "alice ",
        "alice  ",
        " alice",
        "alice\t",
        "alice\n",
        "alice\u{a0}",
        "\u{feff}alice",
        " ",
        "  ",
        // One letter in several normal forms, and letters that one of them makes another.
        "\u{e9}",
        "e\u{301}",
        "E\u{301}",
        "e",
        "\u{1e69}",
        "s\u{323}\u{307}",
        "s\u{307}\u{323}",
        "\u{fb01}",
        "fi",
        "\u{ff41}lice",
        "\u{212b}",
        "\u{c5}",
        "A\u{30a}",
        "\u{ac00}",
        "\u{1100}\u{1161}",
        // What collations do not see.
        "al\u{ad}ice",
        "al\u{200b}ice",
        "al\u{200d}ice",
        "ali\u{1}ce",
        "a-lice",
        "a_lice",
        "a.lice",
        "\u{200b}",
        // Characters of four bytes, which old collations all take for the same.
        "\u{1f511}",
        "\u{1f512}",
        "\u{1f511}\u{1f511}",
        "\u{1f469}\u{200d}\u{1f4bb}",
        "\u{1f469}\u{1f4bb}",
        "\u{1f44d}",
        "\u{1f44d}\u{1f3fd}",
        "\u{10ffff}",
        "\u{2070e}",
        "?",
        "??",
        "????",
        "\u{fffd}",
        // Numbers.
        "1",
        "01",
        "1.0",
        "1e0",
        "0x1",
        "+1",
        "-1",
        " 1",
        "true",
        "NULL",
        "null",
        "",
        // Patterns, quotes and the syntax of keys.
        "al%",
        "al_ce",
        "*",
        "a?ice",
        "[a]lice",
        "{alice}",
        "{}alice",
        "alice:",
        "alice:1",
        ":alice",
        "alice/1",
        "'",
        "''",
        "\"",
        "\\",
        "\\\\",
        "\\'",
        "\\n",
        "$1",
        "?1",
        "--",
        "a\r\nb",
        "a\nb",
    ]
    .map(String::from)
    .into();
    texts.retain(|text| !text.is_empty());
    // As long as can be, and another only at the very end, or in the middle, or shorter by one.
    let long = "x".repeat(MAX_USER_ID_BYTES - 1);
    texts.extend([format!("{long}x"), format!("{long}y"), format!("{long}X"), format!("{long} "), long]);
    let keys = "\u{1f511}".repeat(MAX_USER_ID_BYTES / 4 - 1);
    texts.extend([format!("{keys}\u{1f511}abc"), format!("{keys}\u{1f512}abc"), format!("{keys}\u{1f511}abC"), keys]);
    let accents = "\u{e9}".repeat(MAX_USER_ID_BYTES / 2);
    texts.extend([format!("{accents}!"), format!("{accents}?"), "e\u{301}".repeat(MAX_USER_ID_BYTES / 3), accents]);
    texts
}

fn of(user: &UserId) -> Filter {
    Filter { user: Some(user.clone()), ..Filter::default() }
}

/// One session for each of the look-alikes: found, listed and counted as that user's alone.
async fn one_each(given: &Given) -> Vec<Record> {
    let records: Vec<Record> = look_alikes().iter().map(|text| given.records.record(text, T0)).collect();
    given.create_all(&records).await;
    records
}

/// Each user has their own sessions, and no others: found, listed, counted and limited.
pub async fn look_alike_users_have_their_own_sessions(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let records = one_each(&given).await;
    for record in &records {
        let owner = &record.session.user;
        assert_eq!(given.found(record.session.id).await, *record, "{owner:?}, byte for byte");
        for filter in [of(owner), Filter { include_ended: true, ..of(owner) }] {
            let listed = given.list(&filter, 10, T0).await;
            assert_eq!(listed, std::slice::from_ref(&record.session), "the sessions of {owner:?}");
            assert_eq!(given.count(&filter, T0).await, 1, "how many {owner:?} has");
        }
    }
    let limit = Limit { max: 2, refuse: true, renewed_after: Timestamp::EPOCH, authenticated_after: Timestamp::EPOCH };
    for text in look_alikes() {
        let second = given.records.record(&text, T0);
        let created = given.store.create(&second, T0, Some(limit)).await.unwrap();
        assert_eq!(created, Created::Created { evicted: Vec::new() }, "the second of {text:?}");
        let third = given.records.record(&text, T0);
        let created = given.store.create(&third, T0, Some(limit)).await.unwrap();
        assert_eq!(created, Created::LimitReached { live: 2 }, "the third of {text:?}");
    }
}

/// Nobody else names, keeps or ends a session of a user whose id looks like their own, and its log entry has the id itself.
pub async fn look_alike_users_end_their_own_sessions(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let records = one_each(&given).await;
    let label = Label::new("mine").unwrap();
    for pair in records.windows(2) {
        let (record, other) = (&pair[0], &pair[1].session.user);
        let id = record.session.id;
        let write = given.store.set_label(id, other, label.as_ref(), T0).await.unwrap();
        assert_eq!(write, Write::Gone, "{other:?} names a session of {:?}", record.session.user);
        let target = Target::Session { id, owner: Some(other.clone()) };
        let outcome = given.revoke(target, T0, EndReason::SignedOut).await;
        assert_eq!((outcome.ended, outcome.position), (Some(0), 0), "{other:?} ends one of {:?}", record.session.user);
        let target = Target::Others { user: other.clone(), keep: id };
        let outcome = given.revoke(target, T0, EndReason::RevokedOthers).await;
        assert_eq!((outcome.ended, outcome.position), (None, 0), "{other:?} keeps one of {:?}", record.session.user);
    }
    // The second time from the end, and by the other kind: each user is revoked by both while those before and after it live.
    let mut log = Vec::new();
    let mut records: Vec<(usize, Record)> = records.into_iter().enumerate().collect();
    for backwards in [false, true] {
        if backwards {
            given.revoke(Target::Everyone, T0, EndReason::RevokedEveryone).await;
            log.push(Change { position: log.len() as u64 + 1, kind: ChangeKind::Everyone, at: T0 });
            records = one_each(&given).await.into_iter().enumerate().rev().collect();
        }
        let mut live = given.count(&Filter::default(), T0).await;
        for (n, record) in &records {
            let owner = &record.session.user;
            let target = if n.is_multiple_of(2) == backwards {
                Target::User(owner.clone())
            } else {
                let keep = given.live(owner.as_str()).await.session.id;
                live += 1;
                Target::Others { user: owner.clone(), keep }
            };
            let outcome = given.revoke(target, T0.plus(HOUR), EndReason::RevokedUser).await;
            let position = log.len() as u64 + 1;
            assert_eq!((outcome.ended, outcome.position), (Some(1), position), "{owner:?} has one to end");
            log.push(Change { position, kind: ChangeKind::User(owner.clone()), at: T0.plus(HOUR) });
            if n % 5 == 0 {
                given.store.settle(2, T0).await.unwrap();
            }
            live -= 1;
            assert!(!given.is_live(record.session.id, T0).await, "{owner:?} was revoked");
            assert_eq!(given.count(&Filter::default(), T0).await, live, "{owner:?} was revoked, and nobody else");
        }
    }
    assert_eq!(given.log().await, log, "each id as it is");
    given.settle(7).await;
    for (_, record) in &records {
        assert_eq!(given.found(record.session.id).await.session.user, record.session.user, "settled");
    }
}

/// Classes that differ only in a hyphen, an underscore or a digit have their own limits and lists.
pub async fn look_alike_classes_are_kept_apart(store: Arc<dyn Store>) {
    const CLASSES: [&str; 9] =
        ["ab", "a-b", "a_b", "ab-", "ab_", "ab--", "a1b", "a01b", "abcdefghijklmnopqrstuvwxyz012345"];
    let given = Given::new(store);
    let limit = Limit { max: 1, refuse: true, renewed_after: Timestamp::EPOCH, authenticated_after: Timestamp::EPOCH };
    let mut records = Vec::new();
    for name in CLASSES {
        let mut record = given.records.record("alice", T0);
        record.session.class = Class::new(name).unwrap();
        let created = given.store.create(&record, T0, Some(limit)).await.unwrap();
        assert_eq!(created, Created::Created { evicted: Vec::new() }, "the first of {name}");
        records.push(record);
    }
    for record in &records {
        let class = Some(record.session.class.clone());
        for user in [None, Some(record.session.user.clone())] {
            let filter = Filter { user, class: class.clone(), include_ended: false };
            assert_eq!(given.list(&filter, 10, T0).await, std::slice::from_ref(&record.session), "{filter:?}");
            assert_eq!(given.count(&filter, T0).await, 1, "{filter:?}");
        }
    }
}

/// What people and applications write comes back byte for byte, from a creation, from a later write, and after settling: labels, attributes,
/// user agents, sources, methods, and the names of those who ended a session.
pub async fn every_text_round_trips_byte_for_byte(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let texts = look_alikes();
    let mut ends = Vec::new();
    for (n, text) in texts.iter().enumerate() {
        let mut record = given.records.record(text, T0);
        let session = &mut record.session;
        // A label is trimmed before it is one, and what has nothing to see or a control character is none.
        let label = Label::new(&text.chars().take(MAX_LABEL_CHARS).collect::<String>()).ok().flatten();
        session.label = label.clone();
        session.client = Client { ip: None, user_agent: Some(text.as_str().into()) };
        session.authentication =
            Arc::new(Authentication { methods: vec![text.clone(), String::from("pwd")], source: text.clone() });
        session.attributes = attributes(text);
        given.create(&record).await;
        let id = record.session.id;
        assert_eq!(given.found(id).await, record, "created with {text:?}");

        let next = &texts[(n + 1) % texts.len()];
        let next_label = Label::new(&next.chars().rev().take(MAX_LABEL_CHARS).collect::<String>()).ok().flatten();
        let owner = &record.session.user;
        assert_eq!(given.store.set_label(id, owner, next_label.as_ref(), T0).await.unwrap(), Write::Done(()));
        let written = given.store.set_attributes(id, 0, &attributes(next), T0).await.unwrap();
        assert_eq!(written, Write::Done(1));
        (record.session.label, record.session.attributes) = (next_label, attributes(next));
        record.session.attributes_version = 1;
        assert_eq!(given.found(id).await, record, "written with {next:?}");

        let target = if n % 2 == 0 { Target::User(owner.clone()) } else { Target::Session { id, owner: None } };
        let by = if n % 3 == 0 { Actor::user(owner) } else { Actor::operator(text.clone()) };
        let (now, reason) = (T0.plus(HOUR), EndReason::UserDisabled);
        let revocation = Revocation { target, now, by: by.clone(), reason };
        assert_ne!(given.store.revoke(&revocation).await.unwrap().position, 0, "{text:?}");
        record.session.state = State::Ended(Ended { at: now, by, reason });
        assert_eq!(given.found(id).await, record, "ended by {text:?}");
        ends.push(record);
    }
    given.settle(10).await;
    for record in &ends {
        assert_eq!(given.found(record.session.id).await, *record, "settled");
    }
    let mut listed = given.list(&everything(), 50, T0.plus(DAY)).await;
    listed.reverse();
    let mut sessions: Vec<_> = ends.into_iter().map(|record| record.session).collect();
    sessions.sort_by_key(|session| session.id);
    assert_eq!(listed, sessions, "the list shows the same");
}

/// The text as a key and as a value, beside others that look like it.
fn attributes(text: &str) -> Attributes {
    let mut object = Attributes::from_json(
        r#"{"a":"\u00e9","A":"e\u0301"," a":" ","a ":"  ","\u00e9":1,"e\u0301":2,"n":[1,1.0,"1",null,true,"true"],"\ud83d\udd11":"\ud83d\udd12"}"#,
    )
    .unwrap()
    .as_map()
    .clone();
    object.insert(text.to_owned(), text.into());
    Attributes::new(object).unwrap()
}

/// A user agent of the greatest length in characters of four bytes, and users of the greatest length on one page.
pub async fn the_longest_texts_are_kept_whole(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let mut records = Vec::new();
    for (n, last) in ["\u{1f511}", "\u{1f512}", "\u{1f469}", "\u{10ffff}"].into_iter().enumerate() {
        let mut record =
            given.records.record(&format!("{}abc", last.repeat(MAX_USER_ID_BYTES / 4)), T0.plus(n as u32 * HOUR));
        let session = &mut record.session;
        assert_eq!(session.user.as_str().len(), MAX_USER_ID_BYTES);
        session.client.user_agent = Some(format!("{}{last}", "\u{1f511}".repeat(MAX_USER_AGENT_BYTES / 4 - 1)).into());
        session.label = Label::new(&last.repeat(MAX_LABEL_CHARS)).unwrap();
        given.create(&record).await;
        records.push(record);
    }
    for record in &records {
        assert_eq!(given.found(record.session.id).await, *record);
        assert_eq!(given.ids(&of(&record.session.user), T0).await, [record.session.id]);
    }
    let outcome = given.revoke(Target::User(user(records[1].session.user.as_str())), T0, EndReason::RevokedUser).await;
    assert_eq!(outcome.ended, Some(1));
    for (n, record) in records.iter().enumerate() {
        assert_eq!(given.is_live(record.session.id, T0).await, n != 1);
    }
}
