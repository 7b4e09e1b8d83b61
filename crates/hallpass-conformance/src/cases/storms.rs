//! Sixteen that revoke against sixteen that renew, rotate and create, on one user's sessions: what came of it is judged call by call.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use hallpass_core::store::{
    Created, LastSeen, Limit, Reauthentication, Record, Renewal, Renewed, Revocation, Rotation, Store, Sweep, Target,
    Write,
};
use hallpass_core::{Actor, Client, EndReason, Label, SessionId, Timestamp, TokenHash, UserId};

use super::given::{Given, SWEEP_NOTHING, at_once, attributes_n, of_user};
use super::journal::{Journal, What};
use super::verdict::{Outcome, judge};
use crate::builders::{DAY, HOUR, MINUTE, SeededEntropy, T0, user};

/// How many storms the suite itself drives, of each kind.
const STORMS: u64 = 24;
const REVOKERS: usize = 16;
const WRITERS: usize = 16;
/// What each of them does in one storm.
const REVOCATIONS: u32 = 4;
const WRITES: u32 = 8;
/// What a storm begins with.
const SESSIONS: usize = 12;
/// What the writers choose among: so few that they meet each other and the revokers.
const LATEST: usize = 10;

/// Random revocations of one session, of others, of the user and of everybody, against random renewals, rotations, labels,
/// attributes, creations, settling and sweeping: afterwards nothing lives that an acknowledged revocation ended, nobody
/// brought it back or saw it live in between, the first revocation kept its reason and counted its own, and the log is gapless
/// and complete.
pub async fn g5_sixteen_revokers_against_sixteen_writers(store: Arc<dyn Store>) {
    storms_from(vec![store], 0..STORMS).await;
}

/// The same while ended rows are removed at once: what is gone does not come back either.
pub async fn g5_sixteen_revokers_and_a_sweep_that_keeps_nothing(store: Arc<dyn Store>) {
    sweeping_storms_from(vec![store], 0..STORMS).await;
}

/// Drives the storms of these seeds on one database, each with 16 tasks that revoke and 16 that write to the sessions of one user, over all
/// handles. The choices repeat from run to run, the interleaving does not. For searches longer than the suite's own.
///
/// # Panics
/// When what came of it cannot have happened in a store that keeps the contract; the message tells the history of the sessions.
pub async fn storms_from(handles: Vec<Arc<dyn Store>>, seeds: Range<u64>) {
    drive(handles, seeds, false).await;
}

/// As [`storms_from`], while a sweep removes rows as soon as they have ended.
///
/// # Panics
/// As [`storms_from`].
pub async fn sweeping_storms_from(handles: Vec<Arc<dyn Store>>, seeds: Range<u64>) {
    drive(handles, seeds, true).await;
}

async fn drive(handles: Vec<Arc<dyn Store>>, seeds: Range<u64>, sweeping: bool) {
    let given = Given::on(handles);
    for seed in seeds {
        let storm = Arc::new(Storm::new(given.clone(), seed, sweeping));
        storm.rage().await;
    }
}

#[derive(Debug)]
struct Storm {
    given: Vec<Given>,
    user: String,
    seed: u64,
    sweeping: bool,
    journal: Journal,
    /// The sessions made so far in the order of their creation, each with the latest hash that somebody heard of.
    known: Mutex<Vec<Record>>,
}

impl Storm {
    fn new(given: Vec<Given>, seed: u64, sweeping: bool) -> Self {
        let user = format!("storm {seed}");
        Self { given, user, seed, sweeping, journal: Journal::default(), known: Mutex::default() }
    }

    async fn rage(self: Arc<Self>) {
        let base = self.given[0].head().await;
        for given in self.given.iter().cycle().take(6) {
            // Something to sweep.
            let mut expired = given.records.record("somebody long ago", T0.minus(90 * DAY));
            expired.session.idle_expires_at = T0.minus(60 * DAY);
            given.create(&expired).await;
        }
        let choices = SeededEntropy::new(self.seed);
        for _ in 0..SESSIONS {
            self.create(&choices).await;
        }
        at_once(REVOKERS + WRITERS, |i| {
            let storm = Arc::clone(&self);
            async move {
                let choices = SeededEntropy::new(seed_of(storm.seed, i));
                if i < REVOKERS {
                    for _ in 0..REVOCATIONS {
                        storm.revoke(&choices).await;
                    }
                } else {
                    for _ in 0..WRITES {
                        storm.write(&choices).await;
                    }
                }
            }
        })
        .await;
        self.calm(base).await;
    }

    /// Looks at everything, judges, settles, and looks again.
    async fn calm(&self, base: u64) {
        for settled in [false, true] {
            let mut rows = BTreeMap::new();
            let ids: Vec<SessionId> = self.lock().iter().map(|record| record.session.id).collect();
            for (n, id) in ids.into_iter().enumerate() {
                let begun = self.journal.now();
                let found = self.given[n % self.given.len()].store.find(id).await.unwrap();
                let lives = found.as_ref().is_some_and(|found| found.session.is_live_at(T0));
                let how = if settled { "found in the end, settled" } else { "found in the end" };
                self.journal.note(begun, if lives { What::Lives { id, how } } else { What::Dead { id, how } });
                if let Some(found) = found {
                    rows.insert(id, found);
                }
            }
            let mut live: Vec<SessionId> =
                rows.values().filter(|row| row.session.is_live_at(T0)).map(|row| row.session.id).collect();
            live.reverse();
            for given in &self.given {
                let listed = given.ids(&of_user(&self.user), T0).await;
                assert_eq!(listed, live, "storm {}: the list of the living, settled: {settled}", self.seed);
            }
            let given = &self.given[usize::from(settled) % self.given.len()];
            let (log, head) = (given.log_after(base).await, given.head().await);
            let outcome = Outcome { rows, base, log, head, swept: self.sweeping };
            let wrong = judge(&self.journal.calls(), &outcome);
            assert!(
                wrong.is_empty(),
                "storm {}, settled: {settled}: {} violations, the first of them:\n{}",
                self.seed,
                wrong.len(),
                wrong.iter().take(3).cloned().collect::<Vec<_>>().join("\n")
            );
            given.settle(7).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Record>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn any(&self, choices: &SeededEntropy) -> &Given {
        &self.given[below(choices, self.given.len() as u64) as usize]
    }

    /// One of the sessions made lately.
    fn pick(&self, choices: &SeededEntropy) -> Record {
        let known = self.lock();
        let latest = &known[known.len().saturating_sub(LATEST)..];
        latest[below(choices, latest.len() as u64) as usize].clone()
    }

    fn user(&self) -> UserId {
        user(&self.user)
    }

    /// Somebody revokes, and looks at once, wherever, whether one of those concerned is dead.
    async fn revoke(&self, choices: &SeededEntropy) {
        let picked = self.pick(choices);
        let id = picked.session.id;
        let (target, reason) = match below(choices, 12) {
            0 => (Target::Everyone, EndReason::RevokedEveryone),
            1 | 2 => (Target::User(self.user()), EndReason::RevokedUser),
            3..=5 => (Target::Others { user: self.user(), keep: id }, EndReason::RevokedOthers),
            6 => (Target::Session { id, owner: Some(user("somebody else")) }, EndReason::SignedOut),
            7 => (Target::Session { id, owner: None }, EndReason::Revoked),
            _ => (Target::Session { id, owner: Some(self.user()) }, EndReason::SignedOut),
        };
        let begun = self.journal.now();
        // By a name of its own: an end tells which revocation it was.
        let by = Actor::operator(format!("revoker {begun} of storm {}", self.seed));
        let revocation = Revocation { target, now: some_time(choices), by, reason };
        let outcome = self.any(choices).store.revoke(&revocation).await.unwrap();
        self.journal.note(begun, What::Revoked { revocation, outcome });
        self.look(choices, id).await;
        let other = self.pick(choices).session.id;
        self.look(choices, other).await;
    }

    async fn look(&self, choices: &SeededEntropy, id: SessionId) {
        let begun = self.journal.now();
        let given = self.any(choices);
        let (found, how) = match below(choices, 2) {
            0 => (given.check(id).await, "checked"),
            _ => (given.store.find(id).await.unwrap(), "found"),
        };
        let lives = found.is_some_and(|found| found.session.is_live_at(T0));
        self.journal.note(begun, if lives { What::Lives { id, how } } else { What::Dead { id, how } });
    }

    /// Somebody uses a session, makes one, or cleans up.
    async fn write(&self, choices: &SeededEntropy) {
        let picked = self.pick(choices);
        // The request is under way: others write, rotate and revoke before it does.
        for _ in 0..below(choices, 4) {
            tokio::task::yield_now().await;
        }
        let (id, version) = (picked.session.id, picked.session.attributes_version);
        let now = some_time(choices);
        let store = &self.any(choices).store;
        match below(choices, 16) {
            0..=3 => self.create(choices).await,
            4..=6 => self.rotate(choices, &picked, now).await,
            7 | 8 => {
                let (token_hash, idle_expires_at) = (picked.token_hash, now.plus(30 * DAY));
                let renewal = Renewal { id, token_hash, now, due_before: now, idle_expires_at };
                let begun = self.journal.now();
                let alive = store.renew(&renewal).await.unwrap() != Renewed::Gone;
                self.told(begun, id, alive, "renew");
            }
            9 => {
                let begun = self.journal.now();
                // No row changes when it is dead, or was seen later.
                if store.touch(&[LastSeen { id, at: now }], now).await.unwrap() > 0 {
                    self.told(begun, id, true, "touch");
                }
            }
            10 => {
                let label = Label::new("Kitchen").unwrap();
                let begun = self.journal.now();
                match store.set_label(id, &self.user(), label.as_ref(), now).await.unwrap() {
                    Write::Done(()) => self.journal.note(begun, What::Labelled { id }),
                    write => self.told(begun, id, write == Write::Conflict, "set_label"),
                }
            }
            11 | 12 => {
                let begun = self.journal.now();
                match store.set_attributes(id, version, &attributes_n(begun), now).await.unwrap() {
                    Write::Done(next) => {
                        assert_eq!(next, version + 1, "storm {}: a change of another version of {id}", self.seed);
                        self.journal.note(begun, What::Changed { id });
                        self.learn(id, |record| record.session.attributes_version = next);
                    }
                    write => self.told(begun, id, write == Write::Conflict, "set_attributes"),
                }
            }
            13 => {
                // The id is taken for as long as the row is kept.
                if !self.sweeping {
                    let created = store.create(&picked, now, None).await.unwrap();
                    assert_eq!(created, Created::Duplicate, "storm {}: {id} was created before", self.seed);
                }
            }
            14 => {
                store.settle(1 + below(choices, 5) as u32, now).await.unwrap();
            }
            _ => {
                let ended_before = if self.sweeping { T0.plus(DAY) } else { T0.minus(DAY) };
                let sweep = Sweep { expired_before: T0.minus(DAY), ended_before, batch: 5, ..SWEEP_NOTHING };
                store.sweep(&sweep).await.unwrap();
            }
        }
    }

    fn told(&self, begun: u64, id: SessionId, alive: bool, how: &'static str) {
        self.journal.note(begun, if alive { What::Lives { id, how } } else { What::Dead { id, how } });
    }

    fn learn(&self, id: SessionId, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.lock().iter_mut().find(|record| record.session.id == id) {
            change(record);
        }
    }

    async fn create(&self, choices: &SeededEntropy) {
        let given = self.any(choices);
        let now = some_time(choices);
        let record = given.records.record(&self.user, now);
        let limit = (below(choices, 4) == 0).then_some(Limit {
            max: 8,
            refuse: below(choices, 4) == 0,
            renewed_after: Timestamp::EPOCH,
            authenticated_after: Timestamp::EPOCH,
        });
        let begun = self.journal.now();
        match given.store.create(&record, now, limit).await.unwrap() {
            Created::Created { evicted } => {
                self.journal.note(begun, What::Created { record: Box::new(record.clone()), evicted });
                self.lock().push(record);
            }
            Created::LimitReached { live } => assert!(live >= 8, "storm {}: {live} are not too many", self.seed),
            Created::Duplicate => panic!("storm {}: the id {} is new", self.seed, record.session.id),
        }
    }

    async fn rotate(&self, choices: &SeededEntropy, picked: &Record, now: Timestamp) {
        let (id, old_hash) = (picked.session.id, picked.token_hash);
        let given = self.any(choices);
        let new_hash: TokenHash = given.records.hash();
        let reauthentication = (below(choices, 2) == 0).then(|| Reauthentication {
            idle_expires_at: now.plus(30 * DAY),
            absolute_expires_at: now.plus(90 * DAY),
            authentication: picked.session.authentication.clone(),
            client: Client::default(),
        });
        let rotation = Rotation { id, old_hash, new_hash, now, reauthentication };
        let begun = self.journal.now();
        match given.store.rotate(&rotation).await.unwrap() {
            Write::Done(()) => {
                self.journal.note(begun, What::Rotated { id, old: old_hash, new: new_hash });
                self.learn(id, |record| record.token_hash = new_hash);
            }
            write => self.told(begun, id, write == Write::Conflict, "rotate"),
        }
    }
}

/// The clocks of the nodes differ by up to two hours. Every session lives at all of these times, unless it was ended.
fn some_time(choices: &SeededEntropy) -> Timestamp {
    T0.plus(HOUR).plus(below(choices, 120) as u32 * MINUTE)
}

fn below(choices: &SeededEntropy, bound: u64) -> u64 {
    choices.next_u64() % bound
}

/// The seed of one task's choices.
fn seed_of(seed: u64, task: usize) -> u64 {
    seed * 1_000 + 1 + task as u64
}
