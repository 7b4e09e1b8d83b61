//! The property: driven through the same random history, a store and the model give the same answers and hold the same state.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hallpass_core::store::{
    Filter, LastSeen, Limit, Page, Reauthentication, Record, Renewal, Revocation, Rotation, Store, Sweep, Swept, Target,
};
use hallpass_core::{
    Actor, Attributes, Authentication, Class, Client, EndReason, Label, SessionId, StoreError, Timestamp, TokenHash,
    UserId,
};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::any_handle::AnyHandle;
use crate::builders::{Records, T0, user};
use crate::history::{Limited, Lives, Owner, Proof, Step, Verb, history};
use crate::memory::MemoryStore;

/// How many histories [`store_tests!`](crate::store_tests) drives.
pub const HISTORIES: u32 = 200;

/// How many histories [`shared_store_tests!`](crate::shared_store_tests) drives.
pub const SHARED_HISTORIES: u32 = 100;

/// Two of them differ in case only.
const USERS: [&str; 3] = ["alice", "Alice", "bob"];
const CLASSES: [Class; 2] = [Class::WEB, Class::API];
/// A history makes at most this many sessions, so that each step can look at all of them.
const MOST_SESSIONS: usize = 14;
/// More rounds than a history leaves to do.
const MAX_ROUNDS: u32 = 1_000;
/// How many histories are driven at once: most of the time of a durable store is spent waiting.
const THREADS: u32 = 4;
/// How many shorter histories are tried when one shows a difference.
const SHRINKING_STEPS: u32 = 2_000;
/// After so many steps even sessions that should not have changed are read by id.
const FULL_LOOK: usize = 8;

/// Drives `histories` random histories of about 40 verbs each through fresh stores and through [`MemoryStore`] and compares, after
/// every step, the answers, the list of all sessions, the sessions that changed by id, the number of the living, and the log; at
/// every eighth step and at the end, everything that can be read.
///
/// The histories are the same in each run; use [`property_test_from`] with other seeds to search further. It drives four at
/// once on threads and runtimes of its own, so call it from a plain `#[test]`.
///
/// # Panics
/// When the store and the model differ; the message holds the shortest history that still shows it.
pub fn property_test<F, Fut>(fresh_store: F, histories: u32)
where
    F: Fn() -> Fut + Sync,
    Fut: Future<Output = Arc<dyn Store>>,
{
    property_test_from(fresh_store, histories, 0);
}

/// As [`property_test`], with the histories of another seed.
///
/// # Panics
/// As [`property_test`].
pub fn property_test_from<F, Fut>(fresh_store: F, histories: u32, seed: u64)
where
    F: Fn() -> Fut + Sync,
    Fut: Future<Output = Arc<dyn Store>>,
{
    if let Some(failure) = first_difference(&fresh_store, histories, seed, SHRINKING_STEPS) {
        panic!("the store and the model differ. {failure}");
    }
}

/// As [`property_test`], on two handles on one fresh database: each verb, and each look at what it left, goes to any of them.
///
/// # Panics
/// As [`property_test`].
pub fn shared_property_test<F, Fut>(fresh_handles: F, histories: u32)
where
    F: Fn(usize) -> Fut + Sync,
    Fut: Future<Output = Vec<Arc<dyn Store>>>,
{
    shared_property_test_from(fresh_handles, histories, 0);
}

/// As [`shared_property_test`], with the histories of another seed.
///
/// # Panics
/// As [`property_test`].
pub fn shared_property_test_from<F, Fut>(fresh_handles: F, histories: u32, seed: u64)
where
    F: Fn(usize) -> Fut + Sync,
    Fut: Future<Output = Vec<Arc<dyn Store>>>,
{
    property_test_from(over_two(&fresh_handles), histories, seed);
}

/// A maker of stores that are two handles on one database.
fn over_two<'a, F, Fut>(fresh_handles: &'a F) -> impl Fn() -> Pin<Box<dyn Future<Output = Arc<dyn Store>> + 'a>> + Sync
where
    F: Fn(usize) -> Fut + Sync,
    Fut: Future<Output = Vec<Arc<dyn Store>>> + 'a,
{
    move || {
        Box::pin(async move {
            let store: Arc<dyn Store> = Arc::new(AnyHandle::new(fresh_handles(2).await));
            store
        })
    }
}

/// Whether any of the histories of [`property_test`] shows a difference, without a search for the shortest that does.
#[doc(hidden)]
pub fn differs<F, Fut>(fresh_store: F, histories: u32) -> bool
where
    F: Fn() -> Fut + Sync,
    Fut: Future<Output = Arc<dyn Store>>,
{
    first_difference(&fresh_store, histories, 0, 0).is_some()
}

/// As [`differs`], on two handles.
#[doc(hidden)]
pub fn shared_differs<F, Fut>(fresh_handles: F, histories: u32) -> bool
where
    F: Fn(usize) -> Fut + Sync,
    Fut: Future<Output = Vec<Arc<dyn Store>>>,
{
    differs(over_two(&fresh_handles), histories)
}

fn first_difference<F, Fut>(fresh_store: &F, histories: u32, seed: u64, shrinking: u32) -> Option<String>
where
    F: Fn() -> Fut + Sync,
    Fut: Future<Output = Arc<dyn Store>>,
{
    let share = histories.div_ceil(THREADS);
    std::thread::scope(|scope| {
        let search = |thread| search(fresh_store, share, [seed, u64::from(thread)], shrinking);
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || search(thread))).collect();
        let failures = threads.into_iter().filter_map(|thread| thread.join().expect("a search does not panic").err());
        // One is enough to begin with; the shortest is the easiest to read.
        failures.min_by_key(String::len)
    })
}

/// Drives so many histories, one after the other.
fn search<F, Fut>(fresh_store: &F, histories: u32, seed: [u64; 2], shrinking: u32) -> Result<(), String>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn Store>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let config =
        Config { cases: histories, failure_persistence: None, max_shrink_iters: shrinking, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed[0].to_le_bytes());
    bytes[8..16].copy_from_slice(&seed[1].to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let outcome = runner.run(&history(), |steps| {
        runtime.block_on(async { drive(fresh_store().await, &steps).await }).map_err(TestCaseError::fail)
    });
    outcome.map_err(|failure| failure.to_string())
}

async fn drive(store: Arc<dyn Store>, steps: &[Step]) -> Result<(), String> {
    let mut world = World { store, model: MemoryStore::new(), records: Records::seeded(1), made: Vec::new(), now: T0 };
    for (n, step) in steps.iter().enumerate() {
        world.now = Timestamp::from_millis(world.now.as_millis() + step.passes);
        let before = world.model.tables().rows.clone();
        if let Some(act) = world.act(&step.verb) {
            let expected = act.run(&world.model).await.map_err(|error| format!("the model failed: {error}"))?;
            let answer = act.run(&*world.store).await.map_err(|error| format!("step {n}, {act:?}: {error}"))?;
            if answer != expected {
                return Err(format!("step {n}, {act:?}: answered {answer}, expected {expected}"));
            }
        }
        let whole = (n + 1) % FULL_LOOK == 0 || n + 1 == steps.len();
        world
            .compare(&before, whole)
            .await
            .map_err(|difference| format!("after step {n}, {:?}: {difference}", step.verb))?;
    }
    Ok(())
}

/// The store under test, the model, and what was done to both.
struct World {
    store: Arc<dyn Store>,
    model: MemoryStore,
    records: Records,
    /// Every session made so far, with its first hash, in the order of creation; also those that are gone.
    made: Vec<Record>,
    now: Timestamp,
}

/// A verb with its arguments.
#[derive(Debug)]
enum Act {
    Create(Record, Timestamp, Option<Limit>),
    Renew(Renewal),
    Rotate(Rotation),
    SetLabel(SessionId, UserId, Option<Label>, Timestamp),
    SetAttributes(SessionId, u64, Attributes, Timestamp),
    Revoke(Revocation),
    Touch(Vec<LastSeen>, Timestamp),
    Settle(u32, Timestamp),
    SettleAndSweep(Sweep, Timestamp),
    List(Filter, Page, Timestamp),
    ChangesSince(u64, u32),
}

impl Act {
    /// Does it, and tells the answer in a form that can be compared.
    async fn run(&self, store: &dyn Store) -> Result<String, StoreError> {
        Ok(match self {
            Self::Create(record, now, limit) => format!("{:?}", store.create(record, *now, *limit).await?),
            Self::Renew(renewal) => format!("{:?}", store.renew(renewal).await?),
            Self::Rotate(rotation) => format!("{:?}", store.rotate(rotation).await?),
            Self::SetLabel(id, owner, label, now) => {
                format!("{:?}", store.set_label(*id, owner, label.as_ref(), *now).await?)
            }
            Self::SetAttributes(id, expected, attributes, now) => {
                format!("{:?}", store.set_attributes(*id, *expected, attributes, *now).await?)
            }
            Self::Revoke(revocation) => format!("{:?}", store.revoke(revocation).await?),
            Self::Touch(seen, now) => store.touch(seen, *now).await?.to_string(),
            // How many rows there are to settle is the store's own affair.
            Self::Settle(batch, now) => store.settle(*batch, *now).await.map(|_| String::from("settled"))?,
            Self::SettleAndSweep(sweep, now) => settle_and_sweep(store, sweep, *now).await?,
            Self::List(filter, page, now) => {
                let count = store.count(filter, *now).await?;
                format!("{count} {:?}", store.list(filter, *page, *now).await?)
            }
            Self::ChangesSince(position, limit) => {
                let changes = store.changes_since(*position, *limit).await?;
                format!("{} {} {:?}", changes.head, changes.oldest, changes.entries)
            }
        })
    }
}

/// Settles and sweeps to the end, as the sweeper does. The totals are compared, not the steps.
async fn settle_and_sweep(store: &dyn Store, sweep: &Sweep, now: Timestamp) -> Result<String, StoreError> {
    let mut rounds = 0;
    while store.settle(sweep.batch, now).await?.more && rounds < MAX_ROUNDS {
        rounds += 1;
    }
    let sweepable = store.sweepable(sweep).await?;
    let mut total = Swept::default();
    loop {
        let swept = store.sweep(sweep).await?;
        total.expired += swept.expired;
        total.ended += swept.ended;
        rounds += 1;
        if !swept.more || rounds > MAX_ROUNDS {
            let endless = rounds > MAX_ROUNDS;
            return Ok(format!("{sweepable} {total:?}{}", if endless { ", and still more to come" } else { "" }));
        }
    }
}

impl World {
    /// Gives the choices of a verb their meaning; `None` when there is nothing to choose from.
    fn act(&mut self, verb: &Verb) -> Option<Act> {
        let now = self.now;
        Some(match *verb {
            Verb::Create { user, class, lives, limit } => {
                if self.made.len() == MOST_SESSIONS {
                    return None;
                }
                let mut record = self.records.record(USERS[usize::from(user)], now);
                record.session.class = CLASSES[usize::from(class)].clone();
                (record.session.idle_expires_at, record.session.absolute_expires_at) = deadlines(lives, now);
                self.made.push(record.clone());
                Act::Create(record, now, limit.map(|limit| limit_at(limit, now)))
            }
            Verb::CreateAgain { pick } => {
                // A session that is gone for good would only be an ordinary creation.
                let again = self.pick(pick)?.clone();
                self.kept(again.session.id)?;
                Act::Create(again, now, None)
            }
            Verb::Renew { pick, proof, update_age, idle } => {
                let (id, token_hash) = self.hash(pick, proof)?;
                let due_before = later(now, -update_age);
                Act::Renew(Renewal { id, token_hash, now, due_before, idle_expires_at: later(now, idle) })
            }
            Verb::Rotate { pick, proof, reauthenticate } => {
                let (id, old_hash) = self.hash(pick, proof)?;
                let reauthentication = reauthenticate.map(|lives| {
                    let (idle_expires_at, absolute_expires_at) = deadlines(lives, now);
                    Reauthentication {
                        idle_expires_at,
                        absolute_expires_at,
                        authentication: Arc::new(Authentication { methods: Vec::new(), source: format!("at {now:?}") }),
                        client: Client { ip: None, user_agent: Some(format!("agent of {now:?}").into()) },
                    }
                });
                Act::Rotate(Rotation { id, old_hash, new_hash: self.records.hash(), now, reauthentication })
            }
            Verb::SetLabel { pick, owner, label } => {
                let session = &self.pick(pick)?.session;
                let label = label.and_then(|label| Label::new(&format!("label {label}")).unwrap());
                Act::SetLabel(session.id, owner_of(owner, &session.user), label, now)
            }
            Verb::SetAttributes { pick, late, value } => {
                let id = self.pick(pick)?.session.id;
                let version = self.kept(id).map_or(0, |record| record.session.attributes_version);
                let attributes = Attributes::from_json(&format!(r#"{{"value":{value}}}"#)).unwrap();
                Act::SetAttributes(id, version.saturating_sub(late), attributes, now)
            }
            Verb::RevokeOne { pick, owner } => {
                let session = &self.pick(pick)?.session;
                let owner = owner.map(|owner| owner_of(owner, &session.user));
                Act::Revoke(self.revocation(Target::Session { id: session.id, owner }, EndReason::Revoked))
            }
            Verb::RevokeOthers { pick, owner } => {
                let session = &self.pick(pick)?.session;
                let target = Target::Others { user: owner_of(owner, &session.user), keep: session.id };
                Act::Revoke(self.revocation(target, EndReason::RevokedOthers))
            }
            Verb::RevokeUser { user: n } => {
                Act::Revoke(self.revocation(Target::User(user(USERS[usize::from(n)])), EndReason::UserDisabled))
            }
            Verb::RevokeEveryone => Act::Revoke(self.revocation(Target::Everyone, EndReason::RevokedEveryone)),
            Verb::Touch { first, step, ago } => {
                let picked = self.made.iter().skip(usize::from(first) % 4).step_by(usize::from(step));
                let seen = picked.map(|record| LastSeen { id: record.session.id, at: later(now, -ago) });
                Act::Touch(seen.collect(), now)
            }
            Verb::Settle { batch } => Act::Settle(batch, now),
            Verb::Sweep { grace, retention, log, batch } => {
                let sweep = Sweep {
                    expired_before: later(now, -grace),
                    ended_before: later(now, -retention),
                    log_before: later(now, -log),
                    batch,
                    commits: 1,
                };
                Act::SettleAndSweep(sweep, now)
            }
            Verb::List { user: n, class, include_ended, limit, after } => {
                let filter = Filter {
                    user: n.map(|n| user(USERS[usize::from(n)])),
                    class: class.map(|class| CLASSES[usize::from(class)].clone()),
                    include_ended,
                };
                let after = after.and_then(|after| Some(self.pick(after)?.session.id));
                Act::List(filter, Page { after, limit }, now)
            }
            Verb::ChangesSince { position, limit } => Act::ChangesSince(position, limit),
        })
    }

    fn pick(&self, pick: u8) -> Option<&Record> {
        // Later sessions are picked as often as early ones, and the same choice stays the same session while shrinking.
        self.made.get(usize::from(pick) % self.made.len().max(1))
    }

    /// What the model holds of a session.
    fn kept(&self, id: SessionId) -> Option<Record> {
        self.model.tables().rows.get(&id).cloned()
    }

    /// A session and the hash that a request for it comes with.
    fn hash(&self, pick: u8, proof: Proof) -> Option<(SessionId, TokenHash)> {
        let first = self.pick(pick)?;
        let id = first.session.id;
        let hash = match proof {
            Proof::Current => self.kept(id).map_or(first.token_hash, |record| record.token_hash),
            Proof::First => first.token_hash,
            Proof::Wrong => self.records.hash(),
        };
        Some((id, hash))
    }

    /// Each by another actor, so that the first end can be told from a later one.
    fn revocation(&self, target: Target, reason: EndReason) -> Revocation {
        let by = Actor::operator(format!("operator {}", self.records.below(1_000_000)));
        Revocation { target, now: self.now, by, reason }
    }

    /// Compares what the store holds with what the model holds: the whole list, the number of the living, the log, and the sessions that
    /// changed since `before`; if `whole`, everything that can be read.
    async fn compare(&self, before: &BTreeMap<SessionId, Record>, whole: bool) -> Result<(), String> {
        let (store, model, now) = (&*self.store, &self.model, self.now);
        let failed = |error: StoreError| error.to_string();
        for id in self.made.iter().map(|record| record.session.id) {
            let expected = self.kept(id);
            if !whole && expected.as_ref() == before.get(&id) {
                continue;
            }
            let found = store.find(id).await.map_err(failed)?;
            if found != expected {
                return Err(format!("find({id}) answers\n  {found:?}, expected\n  {expected:?}"));
            }
            if let Some(found) = store.find_now(id)
                && found.as_ref().ok() != Some(&expected)
            {
                return Err(format!("find_now({id}) answers\n  {found:?}, expected\n  {expected:?}"));
            }
        }
        let (live, everything) = (Filter::default(), Filter { include_ended: true, ..Filter::default() });
        for (filter, list, count) in [(&everything, true, whole), (&live, whole, true)] {
            let page = Page::first(Page::MAX_LIMIT);
            let expected = model.list(filter, page, now).await.map_err(failed)?;
            if list {
                let listed = store.list(filter, page, now).await.map_err(failed)?;
                if listed != expected {
                    return Err(format!("the list with {filter:?} holds\n  {listed:?}, expected\n  {expected:?}"));
                }
            }
            let expected = expected.sessions.len() as u64;
            if count {
                let counted = store.count(filter, now).await.map_err(failed)?;
                if counted != expected {
                    return Err(format!("the count with {filter:?} is {counted}, expected {expected}"));
                }
            }
        }
        let log = Act::ChangesSince(0, 1_000);
        let (held, expected) = (log.run(store).await.map_err(failed)?, log.run(model).await.map_err(failed)?);
        if held != expected {
            return Err(format!("the log (head, oldest, entries) holds\n  {held}, expected\n  {expected}"));
        }
        if whole {
            let (health, expected) = (store.health(now).await, model.health(now).await);
            let (live, expected) = (health.map_err(failed)?.live, expected.map_err(failed)?.live);
            if live != expected {
                return Err(format!("health counts {live} live sessions, expected {expected}"));
            }
        }
        Ok(())
    }
}

fn later(now: Timestamp, millis: i64) -> Timestamp {
    Timestamp::from_millis(now.as_millis() + millis)
}

fn deadlines(lives: Lives, now: Timestamp) -> (Timestamp, Timestamp) {
    let absolute = lives.absolute.map_or(Timestamp::NEVER, |absolute| later(now, absolute));
    (later(now, lives.idle).min(absolute), absolute)
}

fn limit_at(limit: Limited, now: Timestamp) -> Limit {
    Limit {
        max: limit.max,
        refuse: limit.refuse,
        renewed_after: later(now, -limit.max_age),
        authenticated_after: later(now, -limit.absolute),
    }
}

fn owner_of(owner: Owner, real: &UserId) -> UserId {
    match owner {
        Owner::TheOwner => real.clone(),
        Owner::User(n) => user(USERS[usize::from(n)]),
    }
}
