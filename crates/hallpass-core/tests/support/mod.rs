//! What the behaviour tests share: sessions over the in-memory model with a clock that moves when told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed helper fails its test")]
#![allow(dead_code, unreachable_pub, reason = "each test file is a crate of its own and uses a part")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hallpass_conformance::MemoryStore;
use hallpass_core::gathering::{Gathering, Joined};
use hallpass_core::store::{
    Changes, ClientNote, Created, Filter, Health, LastSeen, Limit, Listing, Page, Record, Renewal, Renewed, Revocation,
    RevokeOutcome, Rotation, Settled, SharedTokens, Sweep, Swept, Write,
};
use hallpass_core::{
    Attributes, Client, Event, EventSink, HintSource, Hints, Invalid, Issued, Label, ManualClock, Node, NodeId,
    Policies, Session, SessionId, Sessions, SignIn, Store, StoreError, Timestamp, Token, UserId, Validation,
    ValidationMode,
};
use tokio::sync::Notify;

pub const HOUR: u64 = 3600;
pub const DAY: u64 = 24 * HOUR;

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// Keeps every event.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<Event>>>);

impl Recorder {
    pub fn all(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    pub fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.all().iter().filter(|event| wanted(event)).count()
    }
}

impl EventSink for Recorder {
    fn emit(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// The model behind a counter of calls, with switches that make it fail.
#[derive(Debug, Default)]
pub struct Probe {
    pub store: MemoryStore,
    pub finds: AtomicU64,
    pub renewals: AtomicU64,
    pub touches: AtomicU64,
    pub sweeps: AtomicU64,
    pub down: AtomicBool,
    /// Revocations are made, and the answer is lost.
    pub answers_get_lost: AtomicBool,
    pub read_only: AtomicBool,
    /// Creations are acknowledged and not made.
    pub loses_creations: AtomicBool,
    pub panic_in_sweep: AtomicBool,
    /// Readings of the log.
    pub follows: AtomicU64,
    pub panic_in_follow: AtomicBool,
    /// The log is asked and never answers.
    pub log_is_silent: AtomicBool,
    /// The next extension waits until it is released.
    pub hold_renewal: AtomicBool,
    /// It is made, and its answer waits.
    pub hold_answer_of_renewal: AtomicBool,
    pub renewal_held: Notify,
    pub release_renewal: Notify,
    /// Heartbeats.
    pub beats: AtomicU64,
    /// Registrations.
    pub registrations: AtomicU64,
    pub last_registered: Mutex<Option<Node>>,
    pub registry_is_unreadable: AtomicBool,
    pub registry_hangs: AtomicBool,
    pub heartbeats_hang: AtomicBool,
    /// Before the next heartbeat the last entry of the log is lost, by a crash or a failover, which gives the log another incarnation.
    pub loses_an_entry: Mutex<Option<bool>>,
    /// Hints that were sent, to everybody on this store.
    pub hints_sent: AtomicU64,
    pub hints: HintSource,
    /// Reads take waiting, as in a store behind a network.
    pub answers_later: AtomicBool,
    /// A revocation is so long on its way to its commit, in milliseconds of the timers.
    pub commit_takes_ms: AtomicU64,
    /// Rows of nodes do not go.
    pub forgetting_hangs: AtomicBool,
    pub forgetting_held: Notify,
    /// What happens while a question and its answer are on their way.
    pub travel: Option<fn()>,
    /// Checks are read together, as stores behind a network do.
    pub gathers: Option<Arc<Together>>,
    /// Another program makes sessions here, too: those whose source is [`ELSEWHERE`].
    pub is_shared: bool,
    /// Writings of clients.
    pub notings: AtomicU64,
}

/// The source of a session that another program made.
pub const ELSEWHERE: &str = "elsewhere";

/// Readings that are sent together.
pub type Together = Gathering<SessionId, Option<Record>>;

impl Probe {
    fn travel(&self) {
        if let Some(travel) = self.travel {
            travel();
        }
    }

    pub fn loses_the_last_entry_before_the_next_heartbeat(&self, failover: bool) {
        *self.loses_an_entry.lock().unwrap() = Some(failover);
    }

    fn reading(&self) -> Result<(), StoreError> {
        if self.down.load(Ordering::SeqCst) { Err(StoreError::unavailable("switched off by the test")) } else { Ok(()) }
    }

    /// Whoever has to send does so, and goes on for those that came meanwhile.
    async fn find_together(&self, gathering: &Arc<Together>, id: SessionId) -> Result<Option<Record>, StoreError> {
        let Joined { answer, sender } = gathering.join(id).map_err(|_| StoreError::unavailable("too many"))?;
        if let Some(mut sender) = sender {
            while let Some(leaving) = sender.next(8) {
                self.travel();
                let mut found = Vec::new();
                for id in leaving.questions() {
                    found.push((*id, self.store.find(*id).await?));
                }
                self.travel();
                leaving.answer(|asked| found.iter().find(|(id, _)| id == asked).and_then(|(_, found)| found.clone()));
            }
        }
        answer.await.map_err(|_| StoreError::unavailable("its sender is gone"))
    }

    fn writing(&self) -> Result<(), StoreError> {
        self.reading()?;
        if self.read_only.load(Ordering::SeqCst) {
            Err(StoreError::NotWritable { message: "read-only by the test".into(), source: None })
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl SharedTokens for Probe {
    async fn create_with(
        &self,
        new: &Record,
        _: &Token,
        now: Timestamp,
        limit: Option<Limit>,
    ) -> Result<Created, StoreError> {
        self.create(new, now, limit).await
    }
    async fn find_by_token(&self, token: &Token, _: Timestamp) -> Result<Option<Record>, StoreError> {
        self.find(token.id()).await
    }
    async fn rotate_with(&self, rotation: &Rotation, _: &Token) -> Result<Write<()>, StoreError> {
        self.rotate(rotation).await
    }
    fn lacks_client(&self, session: &Session) -> bool {
        session.client == Client::default() && session.authentication.source == ELSEWHERE
    }
    async fn note_clients(&self, notes: &[ClientNote], now: Timestamp) -> Result<u64, StoreError> {
        self.notings.fetch_add(1, Ordering::SeqCst);
        self.writing()?;
        self.travel();
        let mut changed = 0;
        for note in notes {
            let mut tables = self.store.tables();
            let row = tables.rows.get_mut(&note.id).map(|row| &mut row.session);
            if let Some(session) = row.filter(|row| row.is_live_at(now) && self.lacks_client(row)) {
                session.client = note.client.clone();
                changed += 1;
            }
        }
        self.travel();
        Ok(changed)
    }
}

#[async_trait]
impl Store for Probe {
    fn shared_tokens(&self) -> Option<&dyn SharedTokens> {
        self.is_shared.then_some(self as &dyn SharedTokens)
    }
    async fn create(&self, new: &Record, now: Timestamp, limit: Option<Limit>) -> Result<Created, StoreError> {
        self.writing()?;
        if self.loses_creations.load(Ordering::SeqCst) {
            return Ok(Created::Created { evicted: Vec::new() });
        }
        self.store.create(new, now, limit).await
    }
    async fn find(&self, id: SessionId) -> Result<Option<Record>, StoreError> {
        self.finds.fetch_add(1, Ordering::SeqCst);
        self.reading()?;
        if let Some(gathering) = &self.gathers {
            return self.find_together(gathering, id).await;
        }
        self.travel();
        let found = self.store.find(id).await;
        self.travel();
        found
    }
    fn find_now(&self, id: SessionId) -> Option<Result<Option<Record>, StoreError>> {
        if self.answers_later.load(Ordering::SeqCst) {
            return None;
        }
        self.finds.fetch_add(1, Ordering::SeqCst);
        self.travel();
        let found = Some(self.reading().and_then(|()| self.store.find_now(id).expect("the model answers at once")));
        self.travel();
        found
    }
    async fn renew(&self, renewal: &Renewal) -> Result<Renewed, StoreError> {
        self.renewals.fetch_add(1, Ordering::SeqCst);
        self.writing()?;
        let waits = self.hold_renewal.swap(false, Ordering::SeqCst);
        let answers_late = waits && self.hold_answer_of_renewal.load(Ordering::SeqCst);
        let made = if answers_late { Some(self.store.renew(renewal).await) } else { None };
        if waits {
            self.renewal_held.notify_one();
            self.release_renewal.notified().await;
        }
        if let Some(made) = made {
            return made;
        }
        self.store.renew(renewal).await
    }
    async fn rotate(&self, rotation: &Rotation) -> Result<Write<()>, StoreError> {
        self.writing()?;
        self.travel();
        let rotated = self.store.rotate(rotation).await;
        self.travel();
        rotated
    }
    async fn set_label(
        &self,
        id: SessionId,
        owner: &UserId,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<Write<()>, StoreError> {
        self.writing()?;
        self.store.set_label(id, owner, label, now).await
    }
    async fn set_attributes(
        &self,
        id: SessionId,
        expected: u64,
        attributes: &Attributes,
        now: Timestamp,
    ) -> Result<Write<u64>, StoreError> {
        self.writing()?;
        self.store.set_attributes(id, expected, attributes, now).await
    }
    async fn list(&self, filter: &Filter, page: Page, now: Timestamp) -> Result<Listing, StoreError> {
        self.reading()?;
        self.store.list(filter, page, now).await
    }
    async fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, StoreError> {
        self.reading()?;
        self.store.count(filter, now).await
    }
    async fn revoke(&self, revocation: &Revocation) -> Result<RevokeOutcome, StoreError> {
        self.writing()?;
        self.travel();
        let takes = self.commit_takes_ms.load(Ordering::SeqCst);
        if takes > 0 {
            tokio::time::sleep(Duration::from_millis(takes)).await;
        }
        let revoked = self.store.revoke(revocation).await;
        self.travel();
        if self.answers_get_lost.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("the answer was lost by the test"));
        }
        revoked
    }
    async fn settle(&self, batch: u32, now: Timestamp) -> Result<Settled, StoreError> {
        self.writing()?;
        self.store.settle(batch, now).await
    }
    async fn touch(&self, seen: &[LastSeen], now: Timestamp) -> Result<u64, StoreError> {
        self.touches.fetch_add(1, Ordering::SeqCst);
        self.writing()?;
        self.store.touch(seen, now).await
    }
    async fn sweep(&self, sweep: &Sweep) -> Result<Swept, StoreError> {
        self.sweeps.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panic_in_sweep.load(Ordering::SeqCst), "made to panic by the test");
        self.writing()?;
        self.store.sweep(sweep).await
    }
    async fn sweepable(&self, sweep: &Sweep) -> Result<u64, StoreError> {
        self.reading()?;
        self.store.sweepable(sweep).await
    }
    async fn changes_since(&self, position: u64, limit: u32) -> Result<Changes, StoreError> {
        self.follows.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panic_in_follow.load(Ordering::SeqCst), "made to panic by the test");
        if self.log_is_silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.reading()?;
        self.travel();
        let changes = self.store.changes_since(position, limit).await;
        self.travel();
        changes
    }
    async fn register_node(&self, node: &Node) -> Result<(), StoreError> {
        self.registrations.fetch_add(1, Ordering::SeqCst);
        *self.last_registered.lock().unwrap() = Some(*node);
        self.writing()?;
        self.travel();
        self.store.register_node(node).await
    }
    async fn heartbeat(&self, node: &Node) -> Result<bool, StoreError> {
        self.beats.fetch_add(1, Ordering::SeqCst);
        self.writing()?;
        if self.heartbeats_hang.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if let Some(failover) = self.loses_an_entry.lock().unwrap().take() {
            let mut tables = self.store.tables();
            tables.log.pop_back();
            tables.head -= 1;
            if failover {
                tables.incarnation = [7; 16];
            }
        }
        self.travel();
        self.store.heartbeat(node).await
    }
    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        self.reading()?;
        if self.registry_is_unreadable.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("the registry was switched off by the test"));
        }
        if self.registry_hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.travel();
        self.store.nodes().await
    }
    async fn forget_node(&self, id: NodeId, beats: u64) -> Result<bool, StoreError> {
        self.writing()?;
        if self.forgetting_hangs.load(Ordering::SeqCst) {
            self.forgetting_held.notify_one();
            std::future::pending::<()>().await;
        }
        self.travel();
        self.store.forget_node(id, beats).await
    }
    async fn hint(&self) -> Result<(), StoreError> {
        self.hints_sent.fetch_add(1, Ordering::SeqCst);
        self.hints.heard();
        Ok(())
    }
    fn hints(&self) -> Option<Hints> {
        Some(self.hints.listen(|| {}))
    }
    async fn migrate(&self) -> Result<(u32, u32), StoreError> {
        self.store.migrate().await
    }
    async fn health(&self, now: Timestamp) -> Result<Health, StoreError> {
        self.store.health(now).await
    }
}

/// Sessions under test.
pub struct House {
    pub sessions: Sessions,
    pub clock: ManualClock,
    pub events: Recorder,
    pub probe: Arc<Probe>,
    pub start: Timestamp,
}

pub fn house(policies: Policies) -> House {
    house_with(policies, ValidationMode::Strict)
}

pub fn house_with(policies: Policies, mode: ValidationMode) -> House {
    let probe = Arc::new(Probe::default());
    house_on(&probe, policies, mode)
}

/// A node on a store that others may use too.
pub fn house_on(probe: &Arc<Probe>, policies: Policies, mode: ValidationMode) -> House {
    use hallpass_core::Clock as _;
    let (clock, events, probe) = (ManualClock::default(), Recorder::default(), Arc::clone(probe));
    let sessions = Sessions::builder(Arc::clone(&probe) as Arc<dyn Store>)
        .policies(policies)
        .clock(clock.clone())
        .events(events.clone())
        .validation(mode)
        .build()
        .unwrap();
    let start = clock.now();
    House { sessions, clock, events, probe, start }
}

impl House {
    pub async fn sign_in(&self, name: &str) -> Issued {
        self.sessions.create(SignIn::new(user(name))).await.unwrap()
    }

    /// Moves the clock to `offset` seconds after the start.
    pub fn at(&self, offset: Duration) {
        self.clock.set(self.start.plus(offset));
    }

    /// Checks a token as the web layer does.
    pub async fn check(&self, token: &Token) -> Result<Validation, StoreError> {
        match self.sessions.validate_now(token) {
            Some(outcome) => outcome,
            None => self.sessions.validate(token).await,
        }
    }

    pub async fn live(&self, token: &Token) -> Option<(Session, bool)> {
        match self.check(token).await.unwrap() {
            Validation::Live { session, renewed } => Some(((*session).clone(), renewed)),
            Validation::Invalid(_) => None,
        }
    }

    pub async fn refused(&self, token: &Token) -> Invalid {
        match self.check(token).await.unwrap() {
            Validation::Live { .. } => panic!("the token was accepted"),
            Validation::Invalid(reason) => reason,
        }
    }
}
