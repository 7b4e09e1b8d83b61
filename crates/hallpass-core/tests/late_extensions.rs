//! Extensions that come late, with checks from memory: whatever happened meanwhile counts.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hallpass_core::store::{Revocation, Target};
use hallpass_core::{Actor, CacheSettings, EndReason, Issued, Policies, Store, Token, Validation, ValidationMode};
use support::{DAY, House, house_with, seconds};
use tokio::task::JoinHandle;

/// When a check waits: on the way to its extension, or on the way back from it.
#[derive(PartialEq)]
enum Way {
    There,
    Back,
}

/// A node with a session in memory whose extension is due, and a check of it that waits for its extension.
async fn late(way: Way) -> (House, Issued, JoinHandle<Option<bool>>) {
    let house = house_with(Policies::default(), ValidationMode::Cached(CacheSettings::default()));
    house.sessions.follow().await.unwrap();
    let issued = house.sign_in("alice").await;
    assert!(house.live(&issued.token).await.is_some());
    house.clock.advance(seconds(DAY));
    house.sessions.follow().await.unwrap();
    house.probe.hold_answer_of_renewal.store(way == Way::Back, Ordering::SeqCst);
    house.probe.hold_renewal.store(true, Ordering::SeqCst);
    let (sessions, text) = (house.sessions.clone(), issued.token.expose());
    let check = tokio::spawn(async move {
        match sessions.validate(&Token::parse(text.as_str().as_bytes()).unwrap()).await.unwrap() {
            Validation::Live { renewed, .. } => Some(renewed),
            Validation::Invalid(_) => None,
        }
    });
    house.probe.renewal_held.notified().await;
    (house, issued, check)
}

/// Whether a check is accepted, and whether it read the store for that.
async fn accepted(house: &House, issued: &Issued) -> (bool, bool) {
    let before = house.probe.finds.load(Ordering::SeqCst);
    let accepted = house.live(&issued.token).await.is_some();
    (accepted, house.probe.finds.load(Ordering::SeqCst) > before)
}

/// Two checks find the same extension due. The one that comes too late to make it must not put what it had read in place of the other one's: the session would be due
/// again at each check.
#[tokio::test]
async fn a_check_that_is_late_with_an_extension_leaves_what_the_first_one_kept() {
    let (house, issued, late) = late(Way::There).await;
    assert!(house.live(&issued.token).await.unwrap().1, "extended by the second one");
    house.probe.release_renewal.notify_one();
    assert_eq!(late.await.unwrap(), Some(false), "the first one was late");
    assert_eq!(accepted(&house, &issued).await, (true, false));
}

/// The moment of the reading, and not that at which the extension was answered, says how old is what would be kept.
#[tokio::test]
async fn g4_an_extension_that_is_answered_late_keeps_nothing_that_ended_meanwhile() {
    answered_late(async |house, issued| {
        let by = Actor::operator("test");
        house.sessions.revoke(issued.session.id, None, &by, EndReason::Revoked).await.unwrap();
    })
    .await;
}

/// As above, with a revocation by another node of which this one has read in the log.
#[tokio::test]
async fn g3_an_extension_that_is_answered_late_keeps_nothing_of_which_the_log_has_told() {
    answered_late(async |house, issued| {
        revoke_elsewhere(house, issued).await;
        house.sessions.follow().await.unwrap();
    })
    .await;
}

async fn answered_late(meanwhile: impl AsyncFnOnce(&House, &Issued)) {
    let (house, issued, late) = late(Way::Back).await;
    meanwhile(&house, &issued).await;
    house.probe.release_renewal.notify_one();
    assert_eq!(late.await.unwrap(), Some(true), "it began before the revocation");
    assert_eq!(accepted(&house, &issued).await, (false, true));
}

/// One check extends the session and keeps it; another node ends it; the extension of a second check is refused. This node knows now, before the log tells it.
#[tokio::test]
async fn g5_whose_extension_was_refused_is_refused_by_memory_too() {
    let (house, issued, late) = late(Way::There).await;
    assert!(house.live(&issued.token).await.unwrap().1);
    assert_eq!(accepted(&house, &issued).await, (true, false), "kept by the check that extended it");
    revoke_elsewhere(&house, &issued).await;
    house.probe.release_renewal.notify_one();
    assert_eq!(late.await.unwrap(), None);
    assert_eq!(accepted(&house, &issued).await, (false, true));
}

async fn revoke_elsewhere(house: &House, issued: &Issued) {
    let target = Target::Session { id: issued.session.id, owner: None };
    let by = Actor::operator("elsewhere");
    let revocation = Revocation { target, now: house.sessions.now(), by, reason: EndReason::Revoked };
    Arc::clone(&house.probe).store.revoke(&revocation).await.unwrap();
}
