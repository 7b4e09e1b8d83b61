//! Sign-ins, rotations and revocations by several callers at once, who write down what they were told.

use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hallpass_core::store::{Created, Rotation, Target, Write};
use hallpass_core::{SessionId, State, Store, StoreError, TokenHash};
use hallpass_postgres::PostgresStore;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{NOW, record, revocation, user};

const CALLERS: usize = 8;
/// After a rotation.
const NEW_HASH: TokenHash = TokenHash::from_bytes([7; 32]);
/// Who was told that the server is away tries again after it.
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    /// Acknowledged revocations.
    revoked: Arc<AtomicUsize>,
    /// Calls that ended in whatever way.
    ended: Arc<AtomicUsize>,
    callers: Vec<JoinHandle<Journal>>,
}

impl Load {
    /// Each caller has a user of its own, by this name and a number.
    pub(crate) fn start(store: &Arc<PostgresStore>, name: &str) -> Self {
        let (stop, revoked, ended) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::default());
        let callers = (0..CALLERS)
            .map(|caller| {
                let (store, stop) = (Arc::clone(store), Arc::clone(&stop));
                let name = format!("{name}-{caller}");
                let mut journal =
                    Journal { revocations: Arc::clone(&revoked), calls: Arc::clone(&ended), ..Journal::default() };
                tokio::spawn(async move {
                    while !stop.load(Ordering::SeqCst) {
                        journal.turn(&store, &name).await;
                    }
                    journal
                })
            })
            .collect();
        Self { stop, revoked, ended, callers }
    }

    /// Waits until so many more revocations were acknowledged.
    pub(crate) async fn goes_on(&self, revocations: usize) {
        more(&self.revoked, revocations).await;
    }

    /// Waits until every caller had an answer, whatever it was.
    pub(crate) async fn everybody_was_answered(&self) {
        more(&self.ended, 2 * CALLERS).await;
    }

    pub(crate) async fn end(self) -> Vec<Journal> {
        self.stop.store(true, Ordering::SeqCst);
        let mut journals = Vec::new();
        for caller in self.callers {
            journals.push(caller.await.unwrap());
        }
        journals
    }
}

async fn more(count: &AtomicUsize, by: usize) {
    let (begun, before) = (Instant::now(), count.load(Ordering::SeqCst));
    while count.load(Ordering::SeqCst) < before + by {
        assert!(begun.elapsed() < Duration::from_secs(30), "the load makes no way");
        tokio::time::sleep(PAUSE).await;
    }
}

/// What a caller was told.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    created: Vec<SessionId>,
    rotated: Vec<SessionId>,
    revoked: Vec<SessionId>,
    revocations: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
    pub(crate) unanswered: usize,
    /// The longest that a call took.
    pub(crate) slowest: Duration,
}

impl Journal {
    async fn turn(&mut self, store: &PostgresStore, name: &str) {
        let user = user(name);
        let new = record(&user, NOW);
        let id = new.session.id;
        let Some(outcome) = self.told(store.create(&new, NOW, None)).await else {
            tokio::time::sleep(PAUSE).await;
            return;
        };
        assert_eq!(outcome, Created::Created { evicted: Vec::new() });
        self.created.push(id);
        let rotation = Rotation { id, old_hash: new.token_hash, new_hash: NEW_HASH, now: NOW, reauthentication: None };
        if let Some(outcome) = self.told(store.rotate(&rotation)).await {
            assert_eq!(outcome, Write::Done(()));
            self.rotated.push(id);
        }
        let all = self.created.len().is_multiple_of(2);
        if self.created.len().is_multiple_of(3) {
            let target = if all { Target::User(user) } else { Target::Session { id, owner: None } };
            if self.told(store.revoke(&revocation(target, NOW))).await.is_some() {
                self.revocations.fetch_add(1, Ordering::SeqCst);
                if all { self.revoked.clone_from(&self.created) } else { self.revoked.push(id) }
            }
        }
    }

    /// `None` for whoever was told that it may or may not have happened.
    async fn told<T>(&mut self, call: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
        let begun = Instant::now();
        let outcome = call.await;
        self.slowest = self.slowest.max(begun.elapsed());
        self.calls.fetch_add(1, Ordering::SeqCst);
        match outcome {
            Ok(answer) => Some(answer),
            Err(error) => {
                assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
                self.unanswered += 1;
                None
            }
        }
    }

    /// Everything that was acknowledged is so.
    pub(crate) async fn holds(&self, store: &PostgresStore) -> Acknowledged {
        for id in &self.created {
            assert!(store.find(*id).await.unwrap().is_some(), "an acknowledged creation is gone");
        }
        for id in &self.rotated {
            let found = store.find(*id).await.unwrap().unwrap();
            assert_eq!(found.token_hash, NEW_HASH, "an acknowledged rotation is gone");
        }
        for id in &self.revoked {
            let state = store.find(*id).await.unwrap().unwrap().session.state;
            assert_ne!(state, State::Live, "an acknowledged revocation is gone");
        }
        Acknowledged { created: self.created.len(), rotated: self.rotated.len(), revoked: self.revoked.len() }
    }
}

/// How many sessions were.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Acknowledged {
    pub(crate) created: usize,
    pub(crate) rotated: usize,
    pub(crate) revoked: usize,
}

impl AddAssign for Acknowledged {
    fn add_assign(&mut self, other: Self) {
        self.created += other.created;
        self.rotated += other.rotated;
        self.revoked += other.revoked;
    }
}

/// Answers the newest position.
pub(crate) async fn log_has_no_gap(store: &dyn Store) -> u64 {
    let changes = store.changes_since(0, 10_000).await.unwrap();
    let positions: Vec<u64> = changes.entries.iter().map(|entry| entry.position).collect();
    assert_eq!(positions, (1..=positions.len() as u64).collect::<Vec<_>>());
    changes.head
}
