//! Migrations and what a store says about itself.

use std::sync::Arc;

use hallpass_core::store::{Filter, Target};
use hallpass_core::{EndReason, Store, Timestamp};

use super::given::{Given, at_once};
use crate::builders::{DAY, HOUR, T0, user};

/// A second migration is no change, and loses nothing.
pub async fn migrating_again_changes_nothing(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let record = given.live("alice").await;
    given.signed_out("alice").await;
    let (before, after) = given.store.migrate().await.unwrap();
    assert_eq!(before, after, "the store came migrated");
    assert_eq!(given.store.migrate().await.unwrap(), (after, after));
    assert_eq!(given.found(record.session.id).await, record);
    assert_eq!(given.head().await, 1);
    assert_eq!(given.store.health(T0).await.unwrap().schema, after, "health names the same version");
}

/// Migrations at once, while the store is used, agree.
pub async fn migrations_at_once_agree(store: Arc<dyn Store>) {
    let given = Given::new(store);
    let versions = at_once(6, |i| {
        let given = given.clone();
        async move {
            given.live(&format!("user-{i}")).await;
            given.store.migrate().await.unwrap()
        }
    })
    .await;
    assert!(versions.iter().all(|(before, after)| before == after && *after == versions[0].1), "{versions:?}");
    assert_eq!(given.count(&Filter::default(), T0).await, 6);
}

/// Health counts what lives at the asked time: not the ended, not the expired, not what lies behind a mark.
pub async fn health_counts_the_living(store: Arc<dyn Store>) {
    let given = Given::new(store);
    assert_eq!(given.store.health(T0).await.unwrap().live, 0, "a fresh store is empty");
    given.live("alice").await;
    given.signed_out("alice").await;
    given.expired("alice").await;
    let mut endless = given.records.record("bob", T0);
    endless.session.idle_expires_at = Timestamp::NEVER;
    endless.session.absolute_expires_at = Timestamp::NEVER;
    given.create(&endless).await;
    for _ in 0..3 {
        given.live("carol").await;
    }
    given.revoke(Target::User(user("carol")), T0, EndReason::RevokedUser).await;
    for settled in [false, true] {
        for (now, live) in [(T0, 2), (T0.plus(HOUR), 2), (T0.plus(30 * DAY), 1), (Timestamp::NEVER, 0)] {
            let health = given.store.health(now).await.unwrap();
            assert_eq!(health.live, live, "at {now:?}, settled: {settled}");
            assert!(!health.engine.is_empty(), "it names its engine");
        }
        given.settle(10).await;
    }
}
