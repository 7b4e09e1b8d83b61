//! Revocations that return only when no node accepts what they ended (G6), and the registry of nodes that they rest on. All clocks are the timers', which run by
//! themselves.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what should not fail")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hallpass_core::{
    Actor, Background, CacheSettings, Clock, EndReason, Event, Issued, Node, NodeId, Sessions, SignIn, Store,
    Timestamp, Uptime, Validation, ValidationMode, Waited,
};
use support::{Probe, Recorder, user};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(2);
/// More than a lease of another node may last by this one's clock, and the longest pause between two looks at the registry.
const AT_MOST: Duration = Duration::from_millis(2_000 + 400 + 1 + 50);

/// The timers' time as both clocks of a node; its uptime may have missed some of it, and both may run slowly.
#[derive(Debug, Clone)]
struct Timers {
    begun: Instant,
    missed: Arc<AtomicU64>,
    /// How many thousandths of each second they count.
    rate: u32,
}

impl Timers {
    fn misses(&self, time: Duration) {
        self.missed.fetch_add(time.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for Timers {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_767_225_600_000).plus(self.begun.elapsed() * self.rate / 1_000)
    }

    fn uptime(&self) -> Uptime {
        let missed = Duration::from_millis(self.missed.load(Ordering::SeqCst));
        Uptime::from_nanos(1).plus(self.begun.elapsed().saturating_sub(missed) * self.rate / 1_000)
    }
}

/// A store, and nodes on it that keep time together.
struct Town {
    probe: Arc<Probe>,
    begun: Instant,
}

struct Inhabitant {
    sessions: Sessions,
    events: Recorder,
    clock: Timers,
}

impl Town {
    fn new() -> Self {
        Self { probe: Arc::default(), begun: Instant::now() }
    }

    fn node_with(&self, mode: ValidationMode) -> Inhabitant {
        self.node_by(mode, 1_000)
    }

    fn node_by(&self, mode: ValidationMode, rate: u32) -> Inhabitant {
        let events = Recorder::default();
        let clock = Timers { begun: self.begun, missed: Arc::default(), rate };
        let sessions = Sessions::builder(Arc::clone(&self.probe) as Arc<dyn Store>)
            .clock(clock.clone())
            .events(events.clone())
            .validation(mode)
            .build()
            .unwrap();
        Inhabitant { sessions, events, clock }
    }

    fn node(&self) -> Inhabitant {
        self.node_with(ValidationMode::Cached(CacheSettings::default()))
    }

    /// A node that has its lease and does nothing more, as one that stands still.
    async fn frozen(&self) -> Inhabitant {
        let node = self.node();
        node.sessions.follow().await.unwrap();
        node
    }

    async fn registry(&self) -> Vec<Node> {
        self.probe.store.nodes().await.unwrap()
    }
}

impl Inhabitant {
    async fn sign_in(&self) -> Issued {
        self.sessions.create(SignIn::new(user("alice"))).await.unwrap()
    }

    async fn accepts(&self, issued: &Issued) -> bool {
        matches!(self.sessions.validate(&issued.token).await.unwrap(), Validation::Live { .. })
    }

    fn accepts_from_memory(&self, issued: &Issued) -> bool {
        matches!(self.sessions.validate_now(&issued.token), Some(Ok(Validation::Live { .. })))
    }

    async fn revoke_and_wait(&self, issued: &Issued) -> (u64, Duration) {
        let begun = Instant::now();
        let by = Actor::operator("test");
        let ended = self.sessions.waiting().revoke(issued.session.id, None, &by, EndReason::Revoked).await.unwrap();
        (ended, begun.elapsed())
    }

    fn waited(&self) -> Waited {
        let last = |event| if let Event::Waited(waited) = event { Some(waited) } else { None };
        self.events.all().into_iter().rev().find_map(last).unwrap()
    }

    fn has_lease(&self) -> bool {
        self.sessions.cache_status().is_some_and(|status| !status.lease_left.is_zero())
    }
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..100_000 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("not within 100 seconds: {what}");
}

/// Nodes whose background tasks run.
async fn running(nodes: &[&Inhabitant]) -> Vec<Background> {
    let background = nodes.iter().map(|node| node.sessions.start_background()).collect();
    for node in nodes {
        until("a lease", async || node.has_lease()).await;
    }
    background
}

#[tokio::test(start_paused = true)]
async fn g6_it_returns_when_the_others_have_told_that_they_followed() {
    let town = Town::new();
    let (here, there, elsewhere) = (town.node(), town.node(), town.node());
    let _background = running(&[&here, &there, &elsewhere]).await;
    for _ in 0..20 {
        let issued = here.sign_in().await;
        assert!(there.accepts(&issued).await && there.accepts_from_memory(&issued));
        assert!(elsewhere.accepts(&issued).await && elsewhere.accepts_from_memory(&issued));
        let (ended, took) = here.revoke_and_wait(&issued).await;
        assert_eq!(ended, 1);
        for node in [&here, &there, &elsewhere] {
            assert!(!node.accepts(&issued).await, "accepted after the wait");
        }
        let waited = here.waited();
        assert_eq!((waited.nodes, waited.acknowledged), (2, 2), "{waited:?}");
        // A hint, a reading of the log, a heartbeat, and a look at the registry.
        assert!(took < Duration::from_millis(150), "{took:?} though hints are heard");
    }
}

#[tokio::test(start_paused = true)]
async fn g6_a_node_that_stands_still_is_waited_for_as_long_as_its_lease_may_last() {
    let town = Town::new();
    let here = town.frozen().await;
    let there = town.frozen().await;
    let issued = here.sign_in().await;
    assert!(there.accepts(&issued).await);
    let by = Actor::operator("test");
    here.sessions.revoke(issued.session.id, None, &by, EndReason::Revoked).await.unwrap();
    assert!(there.accepts_from_memory(&issued), "without a wait it may");
    let other = here.sign_in().await;
    assert!(there.accepts(&other).await);
    let (ended, took) = here.revoke_and_wait(&other).await;
    assert_eq!(ended, 1);
    assert!(!there.accepts(&other).await && !there.accepts(&issued).await);
    assert!(took > LEASE && took <= AT_MOST, "{took:?}");
    let waited = here.waited();
    assert_eq!((waited.nodes, waited.acknowledged), (1, 0));
}

/// A lease of two seconds by a clock that is slow takes longer by this one.
#[tokio::test(start_paused = true)]
async fn g6_clocks_may_differ_by_nearly_a_fifth() {
    let town = Town::new();
    let here = town.frozen().await;
    let there = town.node_by(ValidationMode::Cached(CacheSettings::default()), 840);
    there.sessions.follow().await.unwrap();
    let issued = here.sign_in().await;
    assert!(there.accepts(&issued).await);
    let (_, took) = here.revoke_and_wait(&issued).await;
    assert!(!there.accepts_from_memory(&issued), "accepted after the wait, of {took:?}");
    assert!(took <= AT_MOST, "{took:?}");
}

/// What another node has asked the log while the revocation was on its way to its commit told it nothing: its lease counts from then.
#[tokio::test(start_paused = true)]
async fn g6_the_wait_counts_from_the_commit() {
    let town = Town::new();
    let (here, there) = (town.frozen().await, town.frozen().await);
    let issued = here.sign_in().await;
    assert!(there.accepts(&issued).await);
    town.probe.commit_takes_ms.store(1_000, Ordering::SeqCst);
    let ((_, took), ()) = tokio::join!(here.revoke_and_wait(&issued), async {
        tokio::time::sleep(Duration::from_millis(990)).await;
        there.sessions.follow().await.unwrap();
    });
    assert!(!there.accepts_from_memory(&issued), "accepted after the wait, of {took:?}");
    assert!(took > SECOND + LEASE, "{took:?}");
}

/// Who signs out with a secret that was replaced elsewhere has nothing to end; but until the others know, one of them may accept that secret.
#[tokio::test(start_paused = true)]
async fn g6_signing_out_with_a_replaced_secret_waits_too() {
    let town = Town::new();
    let (here, there) = (town.frozen().await, town.frozen().await);
    let issued = here.sign_in().await;
    assert!(there.accepts(&issued).await);
    here.sessions.rotate(&issued.token).await.unwrap();
    assert!(there.accepts_from_memory(&issued));
    assert!(!here.sessions.end(&issued.token).await.unwrap());
    assert!(there.accepts_from_memory(&issued), "without a wait it may");
    assert!(!here.sessions.waiting().end(&issued.token).await.unwrap());
    assert!(!there.accepts_from_memory(&issued), "accepted after the wait");
}

#[tokio::test(start_paused = true)]
async fn g6_the_longest_lease_counts_not_the_own_one() {
    let town = Town::new();
    let mut long = CacheSettings::default();
    long.lease = 6 * SECOND;
    let there = town.node_with(ValidationMode::Cached(long));
    there.sessions.follow().await.unwrap();
    let _short = town.frozen().await;
    for here in [town.frozen().await, town.node_with(ValidationMode::Strict)] {
        there.sessions.follow().await.unwrap();
        let issued = here.sign_in().await;
        assert!(there.accepts(&issued).await);
        let (_, took) = here.revoke_and_wait(&issued).await;
        assert!(!there.accepts(&issued).await, "accepted after the wait");
        assert!(took > 6 * SECOND && took < 8 * SECOND, "{took:?}");
    }
}

/// R16: a node that joins during the wait asks the log later than the commit.
#[tokio::test(start_paused = true)]
async fn g6_a_node_that_joins_meanwhile_is_told_by_the_log() {
    let town = Town::new();
    let (here, _frozen, late) = (town.frozen().await, town.frozen().await, town.node());
    let issued = here.sign_in().await;
    // Read before there is a lease: it must not come to use with one.
    assert!(late.accepts(&issued).await);
    let waiting = {
        let (sessions, id) = (here.sessions.waiting(), issued.session.id);
        tokio::spawn(async move { sessions.revoke(id, None, &Actor::operator("test"), EndReason::Revoked).await })
    };
    until("it is revoked", async || town.probe.store.tables().head == 1).await;
    late.sessions.follow().await.unwrap();
    assert!(late.has_lease() && !late.accepts(&issued).await);
    // One that has not come so far yet, and whose lease would last.
    let slow = Node { id: NodeId::from_bytes([7; 16]), lease: 60 * SECOND, reached: 0, digest: 0, beats: 1 };
    town.probe.store.register_node(&slow).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
    assert_eq!(here.waited().nodes, 1, "who came later is not waited for");
    assert!(here.waited().after < AT_MOST, "{:?}", here.waited());
}

/// A program without background tasks, such as a command, hints by itself before it waits.
#[tokio::test(start_paused = true)]
async fn g6_whoever_waits_hints() {
    let town = Town::new();
    let (there, here) = (town.node(), town.node_with(ValidationMode::Strict));
    let _background = running(&[&there]).await;
    for _ in 0..10 {
        let issued = here.sign_in().await;
        assert!(there.accepts(&issued).await && there.accepts_from_memory(&issued));
        let (_, took) = here.revoke_and_wait(&issued).await;
        assert!(!there.accepts(&issued).await);
        assert!(took < Duration::from_millis(150), "{took:?} though hints are heard");
    }
}

#[tokio::test(start_paused = true)]
async fn g6_what_had_ended_already_is_waited_for_too() {
    let town = Town::new();
    let (here, there) = (town.frozen().await, town.frozen().await);
    let issued = here.sign_in().await;
    assert!(there.accepts(&issued).await);
    let by = Actor::operator("test");
    here.sessions.revoke(issued.session.id, None, &by, EndReason::Revoked).await.unwrap();
    let (ended, took) = here.revoke_and_wait(&issued).await;
    assert_eq!(ended, 0, "it had ended");
    assert!(took > LEASE, "{took:?}");
    assert!(!there.accepts(&issued).await);
    there.sessions.follow().await.unwrap();
    let (_, took) = here.revoke_and_wait(&issued).await;
    assert!(took < Duration::from_millis(1), "{took:?}: the other one has told by now");
}

#[tokio::test(start_paused = true)]
async fn g6_every_revocation_waits() {
    let town = Town::new();
    let (here, there) = (town.frozen().await, town.frozen().await);
    // One handle may be both.
    let waiting = here.sessions.waiting().strictly();
    let by = Actor::operator("test");
    for verb in ["revoke_others", "revoke_user", "revoke_everyone", "end"] {
        there.sessions.follow().await.unwrap();
        let (kept, issued) = (here.sign_in().await, here.sign_in().await);
        assert!(there.accepts(&issued).await);
        let begun = Instant::now();
        match verb {
            "revoke_others" => waiting.revoke_others(&kept.session, &by, EndReason::RevokedOthers).await.map(drop),
            "revoke_user" => waiting.revoke_user(&user("alice"), &by, EndReason::RevokedUser).await.map(drop),
            "revoke_everyone" => waiting.revoke_everyone(&by).await.map(drop),
            _ => waiting.end(&issued.token).await.map(drop),
        }
        .unwrap();
        assert!(begun.elapsed() > LEASE, "{verb} returned after {:?}", begun.elapsed());
        assert!(!there.accepts(&issued).await, "accepted after {verb}");
    }
}

#[tokio::test(start_paused = true)]
async fn g6_without_the_registry_the_revocation_holds_and_the_error_says_so() {
    let town = Town::new();
    let here = town.frozen().await;
    let issued = here.sign_in().await;
    town.probe.registry_is_unreadable.store(true, Ordering::SeqCst);
    let by = Actor::operator("test");
    let waiting = here.sessions.waiting();
    let error = waiting.revoke(issued.session.id, None, &by, EndReason::Revoked).await.unwrap_err().to_string();
    assert!(error.contains("the sessions have ended") && error.contains("Repeat"), "{error}");
    assert!(!here.accepts(&issued).await);
    town.probe.registry_is_unreadable.store(false, Ordering::SeqCst);
    assert_eq!(here.revoke_and_wait(&issued).await.0, 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_shut_down_is_not_waited_for() {
    let town = Town::new();
    let (here, there) = (town.node(), town.node());
    let mut background = running(&[&here, &there]).await;
    assert_eq!(town.registry().await.len(), 2);
    let issued = here.sign_in().await;
    assert!(there.accepts(&issued).await && there.accepts_from_memory(&issued));
    background.pop().unwrap().shutdown().await;
    assert_eq!(town.registry().await.len(), 1);
    assert!(!there.has_lease(), "it answers nothing from memory any more");
    let (_, took) = here.revoke_and_wait(&issued).await;
    assert!(took < Duration::from_millis(1), "{took:?}");
    assert!(!there.accepts(&issued).await);
}

/// Whoever finds no row of a node takes it for one that accepts nothing: so it must not, from before its row goes.
#[tokio::test(start_paused = true)]
async fn g6_a_node_that_leaves_accepts_nothing_before_its_row_is_gone() {
    let town = Town::new();
    let there = town.node();
    let mut background = running(&[&there]).await;
    town.probe.forgetting_hangs.store(true, Ordering::SeqCst);
    let leaving = tokio::spawn(background.pop().unwrap().shutdown());
    town.probe.forgetting_held.notified().await;
    assert!(!there.has_lease(), "it may still answer from memory");
    leaving.abort();
}

/// An idle node writes once in half a minute, and once for what it has read of the log.
#[tokio::test(start_paused = true)]
async fn a_node_tells_what_is_new_and_little_else() {
    let town = Town::new();
    let (here, there) = (town.node(), town.node_with(ValidationMode::Strict));
    let _background = running(&[&here]).await;
    let beats = || town.probe.beats.load(Ordering::SeqCst);
    let before = beats();
    let mut told = town.registry().await[0].beats;
    for _ in 0..25 {
        tokio::time::sleep(60 * SECOND).await;
        let beats = town.registry().await[0].beats;
        assert!(beats > told, "it should be seen that it is there");
        told = beats;
    }
    let idle = beats() - before;
    assert!((45..=51).contains(&idle), "{idle} in 25 minutes");
    assert_eq!(town.probe.registrations.load(Ordering::SeqCst), 1, "registered once, and nobody took it for gone");
    let before = beats();
    for position in 1..=5 {
        let issued = there.sign_in().await;
        there.sessions.end(&issued.token).await.unwrap();
        until("it is told", async || town.registry().await[0].reached == position).await;
    }
    assert!((5..=6).contains(&(beats() - before)), "{} for five revocations", beats() - before);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_be_registered_reads_the_store() {
    let town = Town::new();
    let here = town.node_with(ValidationMode::Strict);
    let issued = here.sign_in().await;
    town.probe.read_only.store(true, Ordering::SeqCst);
    let there = town.node();
    let background = there.sessions.start_background();
    until("it is said", async || there.events.count(|event| matches!(event, Event::LeaseLost { .. })) == 1).await;
    assert!(!there.has_lease() && there.accepts(&issued).await);
    town.probe.read_only.store(false, Ordering::SeqCst);
    until("a lease", async || there.has_lease()).await;
    drop(background);
}

/// Whoever cannot say that it is there for a minute must not rely on being waited for: others may take it for gone.
#[tokio::test(start_paused = true)]
async fn a_node_that_could_tell_nothing_for_a_minute_is_registered_anew_before_its_next_lease() {
    let town = Town::new();
    let here = town.node();
    let _background = running(&[&here]).await;
    town.probe.read_only.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    let lost = async || here.events.count(|event| matches!(event, Event::LeaseLost { error: Some(_) })) == 1;
    until("the lease is lost", lost).await;
    let took = begun.elapsed();
    assert!(took > 30 * SECOND && took < 65 * SECOND, "{took:?}");
    assert!(!here.has_lease());
    let registrations = town.probe.registrations.load(Ordering::SeqCst);
    assert!(registrations > 1, "it is tried again");
    town.probe.read_only.store(false, Ordering::SeqCst);
    until("a lease", async || here.has_lease()).await;
    assert_eq!(town.registry().await[0].reached, 0);
}

/// What could not be told is told at the next turn, and not when it is time to say something anyway.
#[tokio::test(start_paused = true)]
async fn what_could_not_be_told_is_told_soon() {
    let town = Town::new();
    let (here, there) = (town.node(), town.node_with(ValidationMode::Strict));
    let _background = running(&[&here]).await;
    let issued = there.sign_in().await;
    there.sessions.end(&issued.token).await.unwrap();
    town.probe.read_only.store(true, Ordering::SeqCst);
    let beats = town.probe.beats.load(Ordering::SeqCst);
    until("it tries", async || town.probe.beats.load(Ordering::SeqCst) > beats).await;
    assert_eq!(town.registry().await[0].reached, 0);
    town.probe.read_only.store(false, Ordering::SeqCst);
    tokio::time::sleep(SECOND).await;
    assert_eq!(town.registry().await[0].reached, 1);
}

/// A node that was away for longer than a minute is registered again before it asks the log, even if nobody removed it.
#[tokio::test(start_paused = true)]
async fn a_node_that_was_away_is_registered_anew() {
    let town = Town::new();
    let (here, there) = (town.frozen().await, town.node());
    let registrations = || town.probe.registrations.load(Ordering::SeqCst);
    let beats = town.probe.beats.load(Ordering::SeqCst);
    tokio::time::sleep(59 * SECOND).await;
    here.sessions.follow().await.unwrap();
    assert_eq!(registrations(), 1, "a minute is not over");
    assert_eq!(town.probe.beats.load(Ordering::SeqCst), beats + 1, "and it was time to say that it is there");
    // Another one takes it for gone.
    let background = there.sessions.start_background();
    tokio::time::sleep(1_300 * SECOND).await;
    assert_eq!(town.registry().await.len(), 1, "the one that told nothing was removed, the other one not");
    here.sessions.follow().await.unwrap();
    assert_eq!(town.registry().await.len(), 2);
    assert!(here.has_lease());
    drop(background);
}

/// A machine that stood still, and whose uptime did not count that: others have taken its node for gone meanwhile. Its wall clock tells.
#[tokio::test(start_paused = true)]
async fn g6_a_machine_that_lost_time_is_registered_anew() {
    let town = Town::new();
    let (here, there) = (town.frozen().await, town.frozen().await);
    let issued = here.sign_in().await;
    assert!(there.accepts(&issued).await && there.accepts_from_memory(&issued));
    let row = town.registry().await.into_iter().find(|node| node.lease == LEASE).unwrap();
    for node in town.registry().await {
        assert!(town.probe.store.forget_node(node.id, node.beats).await.unwrap(), "{row:?}");
    }
    tokio::time::sleep(1_200 * SECOND).await;
    there.clock.misses(1_200 * SECOND);
    there.sessions.follow().await.unwrap();
    assert!(there.accepts(&issued).await && there.accepts_from_memory(&issued));
    assert_eq!(town.registry().await.len(), 1, "it has a lease, and is in the registry");
    let (_, took) = here.revoke_and_wait(&issued).await;
    assert!(!there.accepts(&issued).await, "accepted after the wait");
    assert!(took > LEASE, "{took:?}");
}

/// What a node tells arrives when the database has lost its last entries and counts on: at the position that it names there is another entry now.
#[tokio::test(start_paused = true)]
async fn g6_what_was_told_of_a_log_that_went_back_counts_for_nothing() {
    for another_incarnation in [false, true] {
        let town = Town::new();
        let (here, there) = (town.node_with(ValidationMode::Strict), town.frozen().await);
        let (issued, other) = (here.sign_in().await, here.sign_in().await);
        // An entry that may be lost in a crash.
        assert!(here.sessions.set_label(other.session.id, &user("alice"), None).await.unwrap());
        town.probe.loses_the_last_entry_before_the_next_heartbeat(another_incarnation);
        there.sessions.follow().await.unwrap();
        assert!(there.accepts(&issued).await && there.accepts_from_memory(&issued));
        let told = town.registry().await[0];
        assert_eq!((town.probe.store.tables().head, told.reached), (0, 1), "as it is meant");
        let (_, took) = here.revoke_and_wait(&issued).await;
        assert!(!there.accepts(&issued).await, "accepted after the wait");
        assert!(took > LEASE, "{took:?}");
    }
}

/// A store that takes no heartbeat keeps nobody from following.
#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_hangs_costs_no_lease() {
    let town = Town::new();
    let (here, there) = (town.node(), town.node_with(ValidationMode::Strict));
    let _background = running(&[&here]).await;
    town.probe.heartbeats_hang.store(true, Ordering::SeqCst);
    for position in 1..=5 {
        let issued = there.sign_in().await;
        there.sessions.end(&issued.token).await.unwrap();
        let begun = Instant::now();
        until("it is followed", async || here.sessions.cache_status().unwrap().position == Some(position)).await;
        assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
        assert!(here.has_lease());
    }
    assert_eq!(here.events.count(|event| matches!(event, Event::LeaseLost { .. })), 0);
}

/// A registry that does not answer during the wait keeps nobody longer than the leases.
#[tokio::test(start_paused = true)]
async fn g6_a_registry_that_hangs_keeps_nobody() {
    let town = Town::new();
    let (here, there) = (town.frozen().await, town.frozen().await);
    let issued = here.sign_in().await;
    assert!(there.accepts(&issued).await);
    let waiting = {
        let (sessions, id) = (here.sessions.waiting(), issued.session.id);
        tokio::spawn(async move { sessions.revoke(id, None, &Actor::operator("test"), EndReason::Revoked).await })
    };
    until("it waits", async || town.probe.store.tables().head == 1).await;
    tokio::time::sleep(SECOND).await;
    town.probe.registry_hangs.store(true, Ordering::SeqCst);
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
    assert!(here.waited().after > LEASE && here.waited().after < AT_MOST, "{:?}", here.waited());
    assert!(!there.accepts(&issued).await);
}

/// Removed by mistake, or with a table that was emptied: a node notices when it tells something, and is there again before its next lease.
#[tokio::test(start_paused = true)]
async fn a_node_that_was_removed_by_mistake_comes_back() {
    let town = Town::new();
    let (here, there) = (town.node(), town.node_with(ValidationMode::Strict));
    let _background = running(&[&here]).await;
    town.probe.store.tables().nodes.clear();
    let issued = there.sign_in().await;
    there.sessions.end(&issued.token).await.unwrap();
    until("it is there again", async || town.registry().await.first().is_some_and(|node| node.reached == 1)).await;
}

/// Positions of a log that went back count anew: what was told of the old ones says nothing.
#[tokio::test(start_paused = true)]
async fn r5_a_node_on_a_log_that_went_back_is_registered_anew() {
    let town = Town::new();
    let here = town.frozen().await;
    for _ in 0..3 {
        let issued = here.sign_in().await;
        here.sessions.end(&issued.token).await.unwrap();
    }
    let backup = town.probe.store.tables().clone();
    here.sessions.follow().await.unwrap();
    assert_eq!(town.registry().await[0].reached, 3);
    let mut restored = backup.clone();
    restored.incarnation = [7; 16];
    restored.log.truncate(1);
    restored.head = 1;
    restored.nodes = town.probe.store.tables().nodes.clone();
    *town.probe.store.tables() = restored;
    let registrations = town.probe.registrations.load(Ordering::SeqCst);
    let beats = town.registry().await[0].beats;
    here.sessions.follow().await.unwrap();
    assert_eq!(town.probe.registrations.load(Ordering::SeqCst), registrations + 1);
    let registered = town.probe.last_registered.lock().unwrap().unwrap();
    assert_eq!(registered.reached, 0, "nothing of the log that there is now");
    assert!(registered.beats > beats, "whoever had seen the old row must not remove the new one");
    assert_eq!(town.registry().await[0].reached, 1);
}
