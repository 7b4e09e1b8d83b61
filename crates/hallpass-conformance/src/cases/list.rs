//! Lists and counts.

use std::collections::BTreeSet;
use std::sync::Arc;

use hallpass_core::store::{Filter, Page, Record, Target};
use hallpass_core::{Class, EndReason, Session, SessionId, Store};

use super::given::{Given, everything, of_user};
use crate::builders::{DAY, HOUR, MILLISECOND, Records, T0, user};

/// `n` live sessions of the user, a millisecond apart, in an order of creation that is not that of their ids.
async fn scattered(given: &Given, user: &str, n: u32) -> Vec<Record> {
    let records: Vec<Record> = (0..n).map(|i| given.records.record(user, T0.plus((i * 7 % n) * MILLISECOND))).collect();
    given.create_all(&records).await;
    records
}

fn newest_first(mut ids: Vec<SessionId>) -> Vec<SessionId> {
    ids.sort_unstable();
    ids.reverse();
    ids
}

/// Pages hold each session once, newest first, whatever their size, and the last one says so.
pub async fn pages_hold_each_session_once_newest_first(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let records = scattered(&given, "alice", 23).await;
    scattered(&given, "bob", 5).await;
    let expected = newest_first(records.iter().map(|record| record.session.id).collect());
    let now = T0.plus(HOUR);
    for limit in [1, 2, 5, 22, 23, 24, 100] {
        let listed: Vec<SessionId> =
            given.list(&of_user("alice"), limit, now).await.iter().map(|session| session.id).collect();
        assert_eq!(listed, expected, "in pages of {limit}");
    }
    for (limit, full) in [(22, false), (23, true), (24, true)] {
        let listing = given.store.list(&of_user("alice"), Page::first(limit), now).await.unwrap();
        assert_eq!(listing.next.is_none(), full, "23 sessions on a page of {limit}");
        let last = listing.sessions.last().map(|session| session.id);
        assert!(full || listing.next == last, "the next page continues after the last session of this one");
    }
    for filter in [of_user("nobody"), Filter { class: Some(Class::API), ..Filter::default() }] {
        let none = given.store.list(&filter, Page::first(10), now).await.unwrap();
        assert_eq!((none.sessions, none.next), (Vec::new(), None), "{filter:?}");
    }
}

/// Sessions that are created and revoked between two pages make no other one appear twice or not at all.
pub async fn pages_are_steady_while_sessions_come_and_go(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let records = scattered(&given, "alice", 30).await;
    let ids = newest_first(records.iter().map(|record| record.session.id).collect());
    let now = T0.plus(HOUR);
    let (mut seen, mut page, mut revoked) = (Vec::new(), Page::first(4), BTreeSet::new());
    for round in 0_u32.. {
        let listing = given.store.list(&of_user("alice"), page, now).await.unwrap();
        seen.extend(listing.sessions.iter().map(|session| session.id));
        // One that was shown, the very one the next page continues after, and one that is still to come.
        let later = ids.iter().rev().find(|id| !revoked.contains(*id)).copied();
        for id in listing.sessions.first().map(|session| session.id).into_iter().chain(listing.next).chain(later) {
            given.end(id, now, EndReason::Revoked).await;
            revoked.insert(id);
        }
        given.create(&given.records.record("alice", T0.plus(DAY).plus(round * HOUR))).await;
        match listing.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    let distinct: BTreeSet<_> = seen.iter().copied().collect();
    assert_eq!(distinct.len(), seen.len(), "no session appears twice");
    assert_eq!(newest_first(seen.clone()), seen, "newest first over all pages");
    let missing: Vec<_> = ids.iter().filter(|id| !distinct.contains(*id) && !revoked.contains(*id)).collect();
    assert!(missing.is_empty(), "no session that lived all along is missing: {missing:?}");
}

/// A page may continue after an id that is foreign, ended or unknown: the place in the order is all that counts.
pub async fn a_page_continues_after_any_id(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let records = scattered(&given, "alice", 5).await;
    let ids = newest_first(records.iter().map(|record| record.session.id).collect());
    let unknown = Records::seeded(2);
    let foreign = given.records.record("bob", T0.plus(2 * MILLISECOND));
    given.create(&foreign).await;
    let now = T0.plus(HOUR);
    for after in [
        foreign.session.id,
        unknown.record("alice", T0.plus(2 * MILLISECOND)).session.id,
        unknown.record("alice", T0.plus(DAY)).session.id,
        unknown.record("alice", T0.minus(DAY)).session.id,
        SessionId::from_bytes([0; 16]),
        SessionId::from_bytes([255; 16]),
    ] {
        let page = Page { after: Some(after), limit: 10 };
        let listed = given.store.list(&of_user("alice"), page, now).await.unwrap().sessions;
        let listed: Vec<SessionId> = listed.iter().map(|session| session.id).collect();
        let expected: Vec<SessionId> = ids.iter().copied().filter(|id| *id < after).collect();
        assert_eq!(listed, expected, "after {after}");
    }
}

/// No page is longer than the bound, whatever was asked for, and the next one goes on.
pub async fn a_page_is_cut_at_its_bound(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let most = Page::MAX_LIMIT;
    scattered(&given, "alice", most + 3).await;
    let now = T0.plus(HOUR);
    for limit in [most, most + 1, most + 3, u32::MAX] {
        for filter in [of_user("alice"), Filter::default(), everything()] {
            let listing = given.store.list(&filter, Page::first(limit), now).await.unwrap();
            assert_eq!(listing.sessions.len(), most as usize, "{limit} asked for, {filter:?}");
            let rest = Page { after: listing.next, limit };
            assert_eq!(given.store.list(&filter, rest, now).await.unwrap().sessions.len(), 3, "{filter:?}");
        }
    }
}

/// Every filter shows exactly what it says, and the count is that of the list.
pub async fn filters_show_exactly_what_they_say(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let kiosk = Class::new("kiosk").unwrap();
    let classes = [Class::WEB, Class::REMEMBERED, kiosk];
    for name in ["alice", "Alice", "bob"] {
        for class in &classes {
            for kind in 0..4 {
                let mut record = given.records.record(name, T0);
                record.session.class = class.clone();
                if kind == 1 {
                    record.session.idle_expires_at = T0.plus(MILLISECOND);
                }
                given.create(&record).await;
                if kind == 2 {
                    given.end(record.session.id, T0, EndReason::SignedOut).await;
                }
            }
        }
    }
    // All of bob's lie behind a mark, unsettled in the first turn and settled in the second.
    given.revoke(Target::User(user("bob")), T0, EndReason::RevokedUser).await;
    for settled in [false, true] {
        for now in [T0, T0.plus(MILLISECOND), T0.plus(30 * DAY).minus(MILLISECOND), T0.plus(30 * DAY)] {
            let all: Vec<Session> = given.list(&everything(), 7, now).await;
            assert_eq!(all.len(), 36, "everything is kept, at {now:?}");
            for name in [None, Some("alice"), Some("Alice"), Some("bob"), Some("al%")] {
                for class in [None].into_iter().chain(classes.iter().map(Some)).chain([Some(&Class::API)]) {
                    for include_ended in [false, true] {
                        let filter = Filter { user: name.map(user), class: class.cloned(), include_ended };
                        let expected: Vec<&Session> = all
                            .iter()
                            .filter(|session| include_ended || session.is_live_at(now))
                            .filter(|session| name.is_none_or(|name| session.user.as_str() == name))
                            .filter(|session| class.is_none_or(|class| session.class == *class))
                            .collect();
                        let listed = given.list(&filter, 5, now).await;
                        assert_eq!(listed.iter().collect::<Vec<_>>(), expected, "{filter:?} at {now:?}");
                        let count = given.count(&filter, now).await;
                        assert_eq!(count, expected.len() as u64, "{filter:?} at {now:?}, settled: {settled}");
                    }
                }
            }
        }
        assert_eq!(given.count(&of_user("alice"), T0).await, 9, "ended ones are not among the living");
        assert_eq!(given.count(&of_user("alice"), T0.plus(MILLISECOND)).await, 6, "nor expired ones");
        assert_eq!(given.count(&of_user("bob"), T0).await, 0, "nor those behind a mark");
        given.settle(2).await;
    }
}

/// The list shows each session as `find` does.
pub async fn it_shows_what_find_shows(store: Arc<dyn Store>) {
    let given = Given::new(store);
    given.live("alice").await;
    given.signed_out("alice").await;
    given.expired("alice").await;
    given.live("bob").await;
    given.revoke(Target::User(user("bob")), T0.plus(HOUR), EndReason::UserDisabled).await;
    for filter in [everything(), Filter { include_ended: true, ..of_user("bob") }, of_user("alice")] {
        let listed = given.list(&filter, 10, T0).await;
        assert!(!listed.is_empty());
        for session in listed {
            assert_eq!(given.found(session.id).await.session, session, "{filter:?}");
        }
    }
}
