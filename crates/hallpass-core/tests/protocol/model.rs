//! What there is, and what can happen to it.
//!
//! Time is counted in ticks and kept as ages, none of which grows beyond the lease: nothing in the protocol asks whether something is older than that. So there
//! are finitely many states and no last moment, and what holds in all of them holds in runs of any length.
//!
//! Every step of the protocol may be put off for ever, and time passes whether a step is made or not. A node that is stopped and continued, a network that is
//! cut or slow, a store that does not answer: these are runs in which certain steps come late or never. Only two faults have steps of their own: the loss of a
//! question or an answer, after which a node may ask again, and the crash of a node, which loses its memory.

use stateright::{Model, Property};

use crate::checks::{Accepted, Check};
use crate::node::Node;
use crate::rules::Rule;

pub(crate) const NODES: usize = 3;
/// The node on which the session is revoked.
pub(crate) const REVOKER: usize = 0;

/// What is explored: the protocol, or one in which a rule is broken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Protocol {
    /// The node on which the session is checked, and whose memory is in the state. No node looks into the memory of another one: of those, only what they write
    /// into the store can have a part in a wrong answer.
    pub(crate) watched: usize,
    /// Whether the revoker waits for the others. Where it does, only what follows from that is asked; where it does not, nobody needs the registry.
    pub(crate) waits: bool,
    /// The length of a lease, in ticks.
    pub(crate) lease: u8,
    /// How many other sessions may be revoked, before this one or after it.
    pub(crate) others: u8,
    pub(crate) refusals: Refusals,
    pub(crate) broken: Option<Rule>,
    /// The properties that are looked at.
    pub(crate) asks: &'static [&'static str],
}

/// What becomes of a reading that finds the session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusals {
    /// Nothing, and no property asks.
    Unnoticed,
    /// Nothing.
    Noticed,
    /// It raises the fence of its node, as the entry of the log will do later.
    Raise,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) revocation: Revocation,
    /// The watched node.
    pub(crate) node: Node,
    /// One check at a time is followed from its beginning to its end. Others leave nothing behind but readings, which may begin at any time.
    pub(crate) check: Option<Check>,
    /// What the last step did that a property asks for.
    pub(crate) noted: Noted,
}

/// Linearizable and durable: each of its steps happens at once, and none is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Store {
    /// How many entries the log has.
    pub(crate) head: u8,
    /// The entry of the session, which is live until there is one; 0 for none.
    pub(crate) ours: u8,
    /// The nodes that have registered, each with whether the position that it acknowledged includes that entry: nobody asks for more.
    pub(crate) registry: [Option<bool>; NODES],
}

/// `revoke` on [`REVOKER`]. Where it waits for the others the acknowledgement is its return.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Revocation {
    /// The store has answered it.
    pub(crate) is_made: bool,
    /// How long ago, from which the wait counts.
    pub(crate) since: Option<u8>,
    pub(crate) has_forgotten: bool,
    /// How long ago it was acknowledged.
    pub(crate) acknowledged: Option<u8>,
    /// The nodes that it found in the registry.
    pub(crate) waits_for: Option<[bool; NODES]>,
    pub(crate) has_returned: bool,
    /// Its node crashed before it returned.
    pub(crate) is_abandoned: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Noted {
    #[default]
    Nothing,
    Accepted(Accepted),
    /// A node applied the entry of the session while it had it in memory.
    AppliedToEntry,
    /// A reading came too late to be kept.
    Fenced,
    ReturnedByAcknowledgement,
    ReturnedByTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Tick,
    /// Another session is revoked.
    RevokeOther,
    /// The session is revoked by somebody else, who is not heard of again.
    RevokeElsewhere,
    /// The revoker sends its question. Only where the wait counts from there.
    AskToRevoke,
    /// The store commits the revocation, or finds that the session has ended already.
    Revoke,
    ReadRegistry,
    /// The revoker raises the fence for what it has revoked.
    ForgetOwn,
    Acknowledge,
    Return,
    /// The store commits the row of a node.
    Register(usize),
    /// The store commits the position of a node. A heartbeat that arrives late tells less than the node knows by then, as one before that step would.
    Publish(usize),
    /// The node asks for the log: because it is time, or upon a hint. Since it may do so at any time, hints of every sort are in the model, lost, late,
    /// repeated and forged ones, without a step of their own.
    AskForLog,
    AnswerLog,
    /// The answer has arrived, and is applied.
    TakeLog,
    /// What comes after that.
    FinishLog,
    LoseLog,
    /// A hint that does more than to make the node ask. Only where that rule is broken.
    ObeyHint,
    /// A reading of the session is sent.
    BeginReading,
    AnswerReading,
    /// The answer has arrived, and the fence is looked at.
    TakeReading,
    /// The session is put into memory.
    KeepReading,
    LoseReading,
    Crash,
    /// A check begins with a look at the lease.
    StartCheck,
    /// A check begins that does not look into memory.
    StartStrictCheck,
    LookUp,
    /// Where the lease is looked at after the session.
    LookAtLease,
    Decide,
}

impl Protocol {
    /// Checks on the node that revokes.
    pub(crate) const OWN: Self = Self {
        watched: REVOKER,
        waits: false,
        lease: 2,
        others: 0,
        refusals: Refusals::Unnoticed,
        broken: None,
        asks: &[],
    };
    /// Checks on another node.
    pub(crate) const FOREIGN: Self = Self { watched: 1, ..Self::OWN };
    /// The same, while the revoker waits for that node and a third one. On its own node G6 is no more than G4: it has forgotten before it waits.
    pub(crate) const WAITING: Self = Self { waits: true, ..Self::FOREIGN };

    pub(crate) fn keeps(&self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    /// Makes the step, if it can be made in this state.
    fn step(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Tick => self.tick(state),
            Action::RevokeOther => self.revoke_other(state),
            Action::RevokeElsewhere => Self::revoke_elsewhere(state),
            Action::AskToRevoke => self.ask_to_revoke(state),
            Action::Revoke => self.revoke(state),
            Action::ReadRegistry => self.read_registry(state),
            Action::ForgetOwn => self.forget_own(state),
            Action::Acknowledge => self.acknowledge(state),
            Action::Return => self.return_from_wait(state),
            Action::Register(node) => self.register(state, node),
            Action::Publish(node) => self.publish(state, node),
            Action::AskForLog => self.ask_for_log(state),
            Action::AnswerLog => Self::answer_log(state),
            Action::TakeLog => self.take_log(state),
            Action::FinishLog => self.finish_log(state),
            Action::LoseLog => Self::lose_log(state),
            Action::ObeyHint => self.obey_hint(state),
            Action::BeginReading => Self::begin_reading(state),
            Action::AnswerReading => Self::answer_reading(state),
            Action::TakeReading => self.take_reading(state),
            Action::KeepReading => Self::keep_reading(state),
            Action::LoseReading => Self::lose_reading(state),
            Action::Crash => self.crash(state),
            Action::StartCheck => self.start_check(state),
            Action::StartStrictCheck => self.start_strict_check(state),
            Action::LookUp => self.look_up(state),
            Action::LookAtLease => Self::look_at_lease(state),
            Action::Decide => self.decide(state),
        }
    }

    fn tick(&self, state: &mut State) -> Option<()> {
        let older = |age: u8| (age + 1).min(self.lease);
        let revocation = &mut state.revocation;
        // Only one of the two is asked for.
        if self.waits {
            revocation.since = revocation.since.map(older);
        } else {
            revocation.acknowledged = revocation.acknowledged.map(older);
        }
        if let Some(turn) = &mut state.node.turn {
            turn.age = older(turn.age);
        }
        state.node.lease = state.node.lease.saturating_sub(1);
        if let Some(held) = state.check.as_mut().and_then(Check::lease) {
            *held = held.saturating_sub(1);
        }
        Some(())
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::default()]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        use Action::*;
        actions.extend([
            Tick,
            RevokeOther,
            RevokeElsewhere,
            AskToRevoke,
            Revoke,
            ReadRegistry,
            ForgetOwn,
            Acknowledge,
            Return,
        ]);
        actions.extend((0..NODES).flat_map(|node| [Register(node), Publish(node)]));
        actions.extend([AskForLog, AnswerLog, TakeLog, FinishLog, LoseLog, ObeyHint]);
        actions.extend([BeginReading, AnswerReading, TakeReading, KeepReading, LoseReading, Crash]);
        actions.extend([StartCheck, StartStrictCheck, LookUp, LookAtLease, Decide]);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut next = *last;
        next.noted = Noted::Nothing;
        self.step(&mut next, action)?;
        next.node.count_anew();
        if self.waits {
            // Not asked for.
            next.node.has_known = false;
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = crate::guarantees::always();
        properties.extend(crate::guarantees::sometimes());
        properties.retain(|property| self.asks.contains(&property.name));
        properties
    }
}
