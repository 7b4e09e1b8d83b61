//! Revocations of many: in effect at once, settled later, each row with the first reason that ended it.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use common::{DAY, NOW, record, revocation, user};
use hallpass_core::store::{Filter, Page, Record, Revocation, RevokeOutcome, Settled, Sweep, Swept, Target};
use hallpass_core::{Actor, EndReason, Ended, SessionId, State, Store as _};
use hallpass_sqlite::SqliteStore;

async fn created(store: &SqliteStore, name: &str) -> Record {
    let new = record(&user(name), NOW);
    store.create(&new, NOW, None).await.unwrap();
    new
}

async fn reason(store: &SqliteStore, id: SessionId) -> Option<EndReason> {
    match store.find(id).await.unwrap().unwrap().session.state {
        State::Live => None,
        State::Ended(Ended { reason, .. }) => Some(reason),
    }
}

fn because(target: Target, reason: EndReason) -> Revocation {
    Revocation { target, now: NOW, by: Actor::operator("root"), reason }
}

#[tokio::test]
async fn the_first_revocation_keeps_its_reason_whatever_is_settled_when() {
    for batch in [1, 2, 3, 100] {
        let (_directory, store) = common::store().await;
        let alice = user("alice");
        let first = [created(&store, "alice").await, created(&store, "alice").await];
        let bob = created(&store, "bob").await;
        let target = || Target::User(alice.clone());
        let outcome = store.revoke(&because(target(), EndReason::CredentialsChanged)).await.unwrap();
        assert_eq!(outcome, RevokeOutcome { ended: Some(2), position: 1 });
        let second = created(&store, "alice").await;
        assert_eq!(store.revoke(&because(target(), EndReason::UserDisabled)).await.unwrap().ended, Some(1));
        assert_eq!(
            store.revoke(&because(target(), EndReason::UserDeleted)).await.unwrap(),
            RevokeOutcome { ended: Some(0), position: 0 },
            "nobody is left"
        );
        store.revoke(&because(Target::Everyone, EndReason::RevokedEveryone)).await.unwrap();
        let third = created(&store, "alice").await;
        let mut settled = 0;
        loop {
            for old in &first {
                assert_eq!(reason(&store, old.session.id).await, Some(EndReason::CredentialsChanged));
            }
            assert_eq!(reason(&store, second.session.id).await, Some(EndReason::UserDisabled));
            assert_eq!(reason(&store, bob.session.id).await, Some(EndReason::RevokedEveryone));
            assert_eq!(reason(&store, third.session.id).await, None, "made afterwards");
            let filter = Filter { include_ended: true, ..Filter::default() };
            assert_eq!(store.list(&filter, Page::first(10), NOW).await.unwrap().sessions.len(), 5);
            let listed = store.list(&Filter::default(), Page::first(10), NOW).await.unwrap().sessions;
            assert_eq!(listed, std::slice::from_ref(&third.session));
            assert_eq!(store.count(&Filter::default(), NOW).await.unwrap(), 1);
            assert_eq!(store.health(NOW).await.unwrap().live, 1);
            let step = store.settle(batch, NOW).await.unwrap();
            settled += step.rows;
            assert!(step.rows <= u64::from(batch));
            if !step.more {
                break;
            }
        }
        assert_eq!(settled, 4);
        assert_eq!(store.settle(batch, NOW).await.unwrap(), Settled { rows: 0, more: false });
    }
}

#[tokio::test]
async fn others_end_but_the_kept_one_lives_through_settling() {
    let (_directory, store) = common::store().await;
    let alice = user("alice");
    let keep = created(&store, "alice").await;
    created(&store, "alice").await;
    created(&store, "alice").await;
    let others = |keep: &Record| revocation(Target::Others { user: alice.clone(), keep: keep.session.id }, NOW);
    assert_eq!(store.revoke(&others(&keep)).await.unwrap().ended, Some(2));
    assert_eq!(store.revoke(&others(&keep)).await.unwrap(), RevokeOutcome { ended: Some(0), position: 0 });
    store.settle(10, NOW).await.unwrap();
    assert_eq!(store.find(keep.session.id).await.unwrap(), Some(keep.clone()));
    let foreign = created(&store, "bob").await;
    let refused = store.revoke(&others(&foreign)).await.unwrap();
    assert_eq!(refused, RevokeOutcome { ended: None, position: 0 });
}

#[tokio::test]
async fn a_sweep_settles_first_so_that_history_is_kept() {
    let (_directory, store) = common::store().await;
    for _ in 0..5 {
        created(&store, "alice").await;
    }
    store.revoke(&revocation(Target::User(user("alice")), NOW)).await.unwrap();
    // Past their idle deadlines, yet they were ended and not expired.
    let later = NOW.plus(40 * DAY);
    let sweep = |ended_before| Sweep { expired_before: later, ended_before, log_before: NOW, batch: 2, commits: 1 };
    let mut steps = 0;
    loop {
        let swept = store.sweep(&sweep(NOW.minus(DAY))).await.unwrap();
        assert_eq!((swept.expired, swept.ended), (0, 0));
        steps += 1;
        assert!(steps < 10);
        if !swept.more {
            break;
        }
    }
    let mut swept = Vec::new();
    loop {
        let step = store.sweep(&sweep(NOW)).await.unwrap();
        swept.push(step.ended);
        if !step.more {
            break;
        }
    }
    assert_eq!(swept, [2, 2, 1]);
    assert_eq!(store.sweep(&sweep(NOW)).await.unwrap(), Swept::default());
    let changes = store.changes_since(0, 10).await.unwrap();
    assert_eq!(
        (changes.head, changes.oldest, changes.entries.len()),
        (1, 2, 0),
        "the entry was swept, the count goes on"
    );
}

#[tokio::test]
async fn thirty_thousand_sessions_of_one_user_end_in_one_small_commit() {
    let (_directory, store) = common::store().await;
    let path = store.path().unwrap().to_owned();
    let seed = created(&store, "alice").await;
    rusqlite::Connection::open(path)
        .unwrap()
        .execute_batch(
            "INSERT INTO hallpass_sessions SELECT NULL, randomblob(16), randomblob(32), user_id, class, created_at, authenticated_at, \
             renewed_at, last_seen_at, idle_expires_at, absolute_expires_at, epoch, ended_at, ended_position, ended_by_kind, ended_by, \
             ended_reason, label, sign_in, attributes_version, attributes FROM hallpass_sessions, \
             (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 29999) SELECT n FROM c)",
        )
        .unwrap();
    let before = store.write_stats().commits;
    let outcome = store.revoke(&revocation(Target::User(user("alice")), NOW)).await.unwrap();
    assert_eq!(outcome.ended, Some(30_000));
    assert_eq!(store.write_stats().commits - before, 1);
    assert!(reason(&store, seed.session.id).await.is_some());
    let wal = std::fs::metadata(format!("{}-wal", store.path().unwrap().display())).unwrap().len();
    assert!(wal > 0);
    let mut pages = 0;
    let filter = Filter { user: Some(user("alice")), class: None, include_ended: true };
    let mut page = Page::first(500);
    loop {
        let listing = store.list(&filter, page, NOW).await.unwrap();
        pages += 1;
        assert!(listing.sessions.iter().all(|session| session.state != State::Live));
        match listing.next {
            Some(after) => page.after = Some(after),
            None => break,
        }
    }
    assert_eq!(pages, 60);
}
