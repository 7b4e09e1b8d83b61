//! Revocations that come at once.

use std::sync::Arc;
use std::time::Duration;

use hallpass_core::store::{Change, ChangeKind, Record, Revocation, RevokeOutcome, Target};
use hallpass_core::{SessionId, State, Store as _, StoreError};
use hallpass_mysql::{MysqlOptions, MysqlStore};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{NOW, record, revocation, small, until, user};

pub(crate) const NOTHING: RevokeOutcome = RevokeOutcome { ended: Some(0), position: 0 };

pub(crate) const fn ended(position: u64) -> RevokeOutcome {
    RevokeOutcome { ended: Some(1), position }
}

/// With several connections.
pub(crate) fn several() -> MysqlOptions {
    MysqlOptions { connections: 8, ..small() }
}

pub(crate) async fn store() -> (String, Arc<MysqlStore>) {
    let url = super::fresh_database().await;
    let store = MysqlStore::connect(&url, several()).await.unwrap();
    (url, Arc::new(store))
}

pub(crate) async fn sessions(store: &MysqlStore, count: usize) -> Vec<Record> {
    let mut all = Vec::new();
    for n in 0..count {
        let new = record(&user(&format!("user {n}")), NOW);
        store.create(&new, NOW, None).await.unwrap();
        all.push(new);
    }
    all
}

pub(crate) fn one(record: &Record) -> Target {
    Target::Session { id: record.session.id, owner: None }
}

pub(crate) async fn has_ended(store: &MysqlStore, id: SessionId) -> bool {
    matches!(store.find(id).await.unwrap().unwrap().session.state, State::Ended(_))
}

pub(crate) type Revoking = JoinHandle<Result<RevokeOutcome, StoreError>>;

pub(crate) fn revoking(store: &Arc<MysqlStore>, target: Target) -> Revoking {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.revoke(&revocation(target, NOW)).await })
}

/// In this order, and each before the one before has an answer: the first one goes alone, and the others wait for it.
pub(crate) async fn all_at_once(
    store: &Arc<MysqlStore>,
    revocations: impl IntoIterator<Item = Revocation>,
) -> Vec<Revoking> {
    let mut asked = Vec::new();
    for revocation in revocations {
        let store = Arc::clone(store);
        let mut asking = Box::pin(async move { store.revoke(&revocation).await });
        // Where no lock holds them, those that wait may go along and be answered by another thread before this one goes on.
        let answer = timeout(Duration::ZERO, &mut asking).await.ok();
        asked.push((answer, asking));
    }
    let spawn = |(answer, asking)| match answer {
        None => tokio::spawn(asking),
        Some(answer) => tokio::spawn(std::future::ready(answer)),
    };
    asked.into_iter().map(spawn).collect()
}

/// [`all_at_once`] while the counter is locked, until there are two transactions: that of the first one, and that of the others.
pub(crate) async fn in_two_transactions(
    store: &Arc<MysqlStore>,
    holder: &mut Conn,
    revocations: impl IntoIterator<Item = Revocation>,
) -> Vec<Revoking> {
    lock_counter(holder).await;
    let asked = all_at_once(store, revocations).await;
    until_waiting(holder, 2).await;
    assert!(asked.iter().all(|one| !one.is_finished()));
    asked
}

pub(crate) fn each(records: &[Record]) -> impl Iterator<Item = Revocation> {
    records.iter().map(|record| revocation(one(record), NOW))
}

/// Keeps everything that is logged from going on.
pub(crate) async fn lock_counter(holder: &mut Conn) {
    holder.query_drop("START TRANSACTION").await.unwrap();
    holder.query_drop("SELECT n FROM hallpass_counter FOR UPDATE").await.unwrap();
}

/// Until so many statements of the store wait for a lock, however many callers it has. By the list of processes: `INNODB_TRX` is a copy that is renewed only when
/// nobody has looked for a while, and these tests all look at once.
pub(crate) async fn until_waiting(holder: &mut Conn, count: u64) {
    let sql = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID() \
               AND COMMAND IN ('Query', 'Execute') AND TIME_MS > 100";
    until("they wait", async || holder.query_first::<u64, _>(sql).await.unwrap() == Some(count)).await;
}

/// The log from its beginning, without a gap.
pub(crate) async fn log(store: &MysqlStore) -> Vec<Change> {
    let changes = store.changes_since(0, 1_000).await.unwrap();
    let positions: Vec<u64> = changes.entries.iter().map(|change| change.position).collect();
    assert_eq!(positions, (1..=changes.head).collect::<Vec<u64>>());
    changes.entries
}

/// Each outcome is the place of its session in the log.
pub(crate) async fn are_logged(store: &MysqlStore, outcomes: &[(SessionId, RevokeOutcome)]) {
    let log = log(store).await;
    assert_eq!(log.len(), outcomes.len());
    for (id, outcome) in outcomes {
        let at = usize::try_from(outcome.position).unwrap() - 1;
        assert_eq!(log[at].kind, ChangeKind::Ended(*id), "{outcome:?}");
        assert!(has_ended(store, *id).await);
    }
}

/// Each of the sessions is ended by its revocation, and logged at the place that its caller was told.
pub(crate) async fn all_succeed(store: &MysqlStore, sessions: &[Record], revocations: Vec<Revoking>) {
    let mut told = Vec::new();
    for (record, revoking) in sessions.iter().zip(revocations) {
        told.push((record.session.id, revoking.await.unwrap().unwrap()));
    }
    are_logged(store, &told).await;
}
