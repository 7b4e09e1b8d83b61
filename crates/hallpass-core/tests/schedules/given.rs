//! What the scenarios begin with, and the judge of what they saw.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hallpass_core::{
    Actor, CacheSettings, Clock as _, EndReason, Entropy, EntropyError, Issued, ManualClock, Session, Sessions, SignIn,
    Store, Timestamp, Token, UserId, Validation, ValidationMode,
};
use shuttle::future::block_on;
use shuttle::rand::Rng as _;

use crate::support::{ELSEWHERE, Probe, Together};

/// The lease of all scenarios.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// Several nodes on one store, with one clock.
pub(crate) struct Given {
    pub(crate) nodes: Vec<Sessions>,
    pub(crate) probe: Arc<Probe>,
    pub(crate) clock: ManualClock,
}

/// Bytes that are the same in each run, or a schedule could not be played again, and others for each node.
#[derive(Debug)]
struct Counted(AtomicU64);

impl Entropy for Counted {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in buffer.chunks_mut(8) {
            let bytes = (self.0.fetch_add(1, Ordering::Relaxed) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        Ok(())
    }
}

/// A place where another thread may go on.
fn travel() {
    shuttle::sync::atomic::AtomicBool::new(false).load(Ordering::SeqCst);
}

impl Given {
    /// So many nodes that have a lease.
    pub(crate) fn nodes(count: usize) -> Self {
        let given = Self::strangers(count);
        for node in &given.nodes {
            follow(node);
        }
        given
    }

    /// So many nodes that have not read the log yet, on a store that answers from afar, to each or to several together, or at once, as the schedule has it.
    pub(crate) fn strangers(count: usize) -> Self {
        let clock = ManualClock::default();
        let gathers = shuttle::rand::thread_rng().r#gen::<bool>().then(|| Arc::new(Together::new(1, 16)));
        let answers_later = gathers.is_some() || shuttle::rand::thread_rng().r#gen();
        let probe = Probe { travel: Some(travel), gathers, ..Probe::default() };
        probe.answers_later.store(answers_later, Ordering::SeqCst);
        let probe = Arc::new(probe);
        let mut cached = CacheSettings::default();
        cached.lease = LEASE;
        cached.bytes = 64 << 10;
        let nodes = (0..count as u64)
            .map(|node| {
                Sessions::builder(Arc::clone(&probe) as Arc<dyn Store>)
                    .clock(clock.clone())
                    .entropy(Counted(AtomicU64::new(node << 32)))
                    .validation(ValidationMode::Cached(cached))
                    .build()
                    .unwrap()
            })
            .collect();
        Self { nodes, probe, clock }
    }

    /// So many nodes on a table that another program shares, which are asked at each check.
    pub(crate) fn beside(count: usize) -> Self {
        let clock = ManualClock::default();
        let probe = Arc::new(Probe { travel: Some(travel), is_shared: true, ..Probe::default() });
        let nodes = (0..count as u64).map(|node| {
            let builder = Sessions::builder(Arc::clone(&probe) as Arc<dyn Store>).clock(clock.clone());
            builder.entropy(Counted(AtomicU64::new(node << 32))).build().unwrap()
        });
        Self { nodes: nodes.collect(), probe, clock }
    }

    /// A session of that program's making.
    pub(crate) fn made_elsewhere(&self, name: &str) -> Issued {
        block_on(self.nodes[0].create(SignIn::new(UserId::new(name).unwrap()).source(ELSEWHERE))).unwrap()
    }

    pub(crate) fn sign_in(&self, name: &str) -> Issued {
        block_on(self.nodes[0].create(SignIn::new(UserId::new(name).unwrap()))).unwrap()
    }

    /// Time passes at once.
    pub(crate) fn later(&self, by: Duration) {
        self.clock.advance(by);
    }
}

pub(crate) fn follow(node: &Sessions) {
    block_on(node.follow()).unwrap();
}

pub(crate) fn accepts(node: &Sessions, token: &Token) -> bool {
    // As the web layer does.
    let outcome = node.validate_now(token).unwrap_or_else(|| block_on(node.validate(token)));
    matches!(outcome.unwrap(), Validation::Live { .. })
}

/// The session as a handler sees it.
pub(crate) fn shown(node: &Sessions, token: &Token) -> Session {
    let outcome = node.validate_now(token).unwrap_or_else(|| block_on(node.validate(token)));
    match outcome.unwrap() {
        Validation::Live { session, .. } => (*session).clone(),
        Validation::Invalid(reason) => panic!("refused: {reason}"),
    }
}

/// What a revocation ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    Session,
    User,
    Everyone,
}

pub(crate) fn revoke(node: &Sessions, what: What, session: &Session) {
    let by = Actor::operator("test");
    match what {
        What::Session => drop(block_on(node.revoke(session.id, None, &by, EndReason::Revoked)).unwrap()),
        What::User => drop(block_on(node.revoke_user(&session.user, &by, EndReason::Revoked)).unwrap()),
        What::Everyone => drop(block_on(node.revoke_everyone(&by)).unwrap()),
    }
}

/// When a revocation was acknowledged, by the time that passes for everybody.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged(AtomicU64);

impl Acknowledged {
    pub(crate) fn now(&self, clock: &ManualClock) {
        self.0.store(clock.now().as_millis().cast_unsigned(), Ordering::SeqCst);
    }

    pub(crate) fn at(&self) -> Option<Timestamp> {
        let at = self.0.load(Ordering::SeqCst).cast_signed();
        (at > 0).then(|| Timestamp::from_millis(at))
    }

    /// G3: a check that began a lease or more after the acknowledgement must not accept.
    pub(crate) fn check(&self, given: &Given, node: usize, token: &Token) {
        let began = given.clock.now();
        let acknowledged = self.at();
        let accepted = accepts(&given.nodes[node], token);
        if let Some(at) = acknowledged {
            let since = began.since(at);
            assert!(!accepted || since < LEASE, "accepted by a check that began {since:?} after the acknowledgement");
        }
    }
}
