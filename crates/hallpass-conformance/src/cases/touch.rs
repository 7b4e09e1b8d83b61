//! When sessions were last seen.

use std::sync::Arc;

use hallpass_core::store::{LastSeen, Target};
use hallpass_core::{EndReason, SessionId, Store, Timestamp};

use super::given::{Given, at_once, everything};
use crate::builders::{DAY, HOUR, MILLISECOND, Records, T0, user};

fn seen(ids: impl IntoIterator<Item = SessionId>, at: Timestamp) -> Vec<LastSeen> {
    ids.into_iter().map(|id| LastSeen { id, at }).collect()
}

/// It moves forward and never back, and moves nothing else: a touch extends no deadline.
pub async fn it_moves_forward_only(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    let other = given.live("alice").await;
    let id = record.session.id;
    let mut expected = record.clone();
    for (hours, changed) in [(2_u32, 1), (2, 0), (1, 0), (0, 0), (3, 1), (2, 0)] {
        let at = T0.plus(hours * HOUR);
        let rows = given.store.touch(&seen([id], at), T0.plus(3 * HOUR)).await.unwrap();
        assert_eq!(rows, changed, "seen at {hours} h");
        expected.session.last_seen_at = expected.session.last_seen_at.max(at);
        assert_eq!(given.found(id).await, expected, "seen at {hours} h");
    }
    assert_eq!(given.found(other.session.id).await, other, "the other session is untouched");
    assert_eq!(given.head().await, 0, "a touch is not logged");
}

/// One call moves many, each to its own time, and counts those that moved; unknown ids are passed over.
pub async fn many_move_in_one_call(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let unknown = Records::seeded(2).record("alice", T0).session.id;
    let mut batch = vec![LastSeen { id: unknown, at: T0.plus(HOUR) }];
    let mut records = Vec::new();
    for n in 0..600_u32 {
        let mut record = given.records.record(&format!("user-{}", n % 7), T0);
        record.session.last_seen_at = T0.plus(500 * MILLISECOND);
        records.push(record);
    }
    given.create_all(&records).await;
    for (n, record) in (0_u32..).zip(&records) {
        batch.push(LastSeen { id: record.session.id, at: T0.plus(n * MILLISECOND) });
    }
    assert_eq!(given.store.touch(&batch, T0.plus(DAY)).await.unwrap(), 99, "501 to 599 are later than 500");
    for (n, record) in (0_u32..).zip(&records) {
        let at = given.found(record.session.id).await.session.last_seen_at;
        assert_eq!(at, T0.plus(n.max(500) * MILLISECOND));
    }
    assert_eq!(given.store.find(unknown).await.unwrap(), None, "a touch creates nothing");
    assert_eq!(given.store.touch(&[], T0).await.unwrap(), 0, "none at all is fine");
}

/// Several times for one session in one call leave the latest.
pub async fn the_latest_of_several_times_stays(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let id = given.live("alice").await.session.id;
    let batch: Vec<LastSeen> = [2_u32, 5, 3].map(|hours| LastSeen { id, at: T0.plus(hours * HOUR) }).to_vec();
    given.store.touch(&batch, T0.plus(DAY)).await.unwrap();
    assert_eq!(given.found(id).await.session.last_seen_at, T0.plus(5 * HOUR));
}

/// Ended, marked and expired sessions are left alone, also among live ones (A06).
pub async fn a06_the_dead_are_left_alone(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let marked = given.live("bob").await.session.id;
    given.revoke(Target::User(user("bob")), T0, EndReason::RevokedUser).await;
    let live = given.live("alice").await.session.id;
    let dead = [given.signed_out("alice").await.session.id, given.expired("alice").await.session.id, marked];
    let mut before = Vec::new();
    for id in dead {
        before.push(given.found(id).await);
    }
    let now = T0.plus(HOUR);
    assert_eq!(given.store.touch(&seen(dead, now), now).await.unwrap(), 0);
    assert_eq!(given.store.touch(&seen([dead[0], live, dead[1], dead[2]], now), now).await.unwrap(), 1);
    for record in before {
        assert_eq!(given.found(record.session.id).await, record);
    }
    assert_eq!(given.ids(&everything(), now).await.len(), 4);
}

/// Touches at once end with the latest time.
pub async fn touches_at_once_end_with_the_latest(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let id = given.live("alice").await.session.id;
    at_once(24, |i| {
        let given = given.clone();
        let at = T0.plus(u32::try_from(i * 7 % 24).unwrap() * HOUR);
        async move { given.store.touch(&seen([id], at), T0.plus(DAY)).await.unwrap() }
    })
    .await;
    assert_eq!(given.found(id).await.session.last_seen_at, T0.plus(23 * HOUR));
}
