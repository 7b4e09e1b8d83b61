//! The watched node: its memory, the readings that fill it and the log that empties it (revocation.md 4.2 and 4.4).

use crate::checks::{Source, Stage};
use crate::model::{Noted, Protocol, Refusals, State};
use crate::rules::Rule;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Node {
    /// Since it was started last.
    pub(crate) is_registered: bool,
    /// The position in the log that it has reached; `None` before it began.
    cursor: Option<u8>,
    /// What is left of the lease.
    pub(crate) lease: u8,
    /// The count of revocations, and where it stood when the session was last hit.
    count: u8,
    raised: u8,
    /// The moment of the session in memory.
    entry: Option<u8>,
    pub(crate) reading: Option<Reading>,
    pub(crate) turn: Option<Turn>,
    /// Whether it ever revoked the session or read so in the log, even if it crashed since. The protocol does not know it.
    pub(crate) has_known: bool,
    /// Whether a check ever found the session ended. Nor that.
    pub(crate) has_refused: bool,
}

/// A reading of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Reading {
    moment: u8,
    stage: ReadingStage,
    /// Whether the check waits for it.
    serves: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ReadingStage {
    Sent,
    Answered {
        live: bool,
    },
    /// The fence was looked at.
    Good,
}

/// A reading of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Turn {
    /// Since it was sent.
    pub(crate) age: u8,
    stage: TurnStage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum TurnStage {
    Sent,
    /// Up to this position.
    Answered(u8),
    /// The first half of what is to be done was done.
    Half(u8),
}

impl Node {
    /// What a revocation of the session does, whoever made it.
    pub(crate) fn forget(&mut self) {
        self.raise();
        self.entry = None;
        self.has_known = true;
    }

    fn raise(&mut self) {
        self.count += 1;
        self.raised = self.count;
    }

    fn holds(&self, moment: u8) -> bool {
        self.raised <= moment
    }

    /// Counts from the oldest moment on that is still in use: only comparisons matter, so states that differ in nothing else are one.
    pub(crate) fn count_anew(&mut self) {
        let moments = [self.entry, self.reading.map(|reading| reading.moment)];
        let oldest = moments.into_iter().flatten().fold(self.count, u8::min);
        self.count -= oldest;
        self.raised = self.raised.saturating_sub(oldest);
        self.entry = self.entry.map(|moment| moment - oldest);
        if let Some(reading) = &mut self.reading {
            reading.moment -= oldest;
        }
    }

    /// The position that its heartbeat tells.
    pub(crate) fn acknowledges(&self, too_early: bool) -> Option<u8> {
        match self.turn.map(|turn| turn.stage) {
            Some(TurnStage::Answered(head) | TurnStage::Half(head)) if too_early => Some(head),
            _ => self.cursor,
        }
    }

    /// It is started again at once: one that stays away is one that makes no step.
    pub(crate) fn crash(&mut self) {
        *self = Self { has_known: self.has_known, has_refused: self.has_refused, ..Self::default() };
    }
}

impl Protocol {
    /// Whether the session is in memory, and nothing that the node knows of was revoked since it was read.
    pub(crate) fn finds(&self, node: &Node) -> bool {
        node.entry
            .is_some_and(|moment| node.holds(moment) || !self.keeps(Rule::Fence) || !self.keeps(Rule::FenceAtLookup))
    }

    pub(crate) fn ask_for_log(&self, state: &mut State) -> Option<()> {
        let may_ask = state.node.is_registered
            || !self.waits
            || !self.keeps(Rule::RegisterBeforeAsking)
            || !self.keeps(Rule::RegisterBeforeLease);
        (state.node.turn.is_none() && may_ask).then(|| state.node.turn = Some(Turn { age: 0, stage: TurnStage::Sent }))
    }

    pub(crate) fn answer_log(state: &mut State) -> Option<()> {
        let turn = state.node.turn.as_mut().filter(|turn| turn.stage == TurnStage::Sent)?;
        turn.stage = TurnStage::Answered(state.store.head);
        Some(())
    }

    pub(crate) fn take_log(&self, state: &mut State) -> Option<()> {
        let mut turn = state.node.turn?;
        let TurnStage::Answered(head) = turn.stage else { return None };
        if !self.keeps(Rule::LeaseFromSending) {
            turn.age = 0;
        }
        turn.stage = TurnStage::Half(head);
        state.node.turn = Some(turn);
        if self.keeps(Rule::ApplyBeforeLease) {
            apply(state, head);
        } else {
            self.extend(state, turn)?;
        }
        Some(())
    }

    pub(crate) fn finish_log(&self, state: &mut State) -> Option<()> {
        let turn = state.node.turn?;
        let TurnStage::Half(head) = turn.stage else { return None };
        if self.keeps(Rule::ApplyBeforeLease) {
            self.extend(state, turn)?;
        } else {
            apply(state, head);
        }
        state.node.cursor = Some(head);
        state.node.turn = None;
        Some(())
    }

    fn extend(&self, state: &mut State, turn: Turn) -> Option<()> {
        if self.waits && !state.node.is_registered && self.keeps(Rule::RegisterBeforeLease) {
            return None;
        }
        state.node.lease = self.lease - turn.age;
        Some(())
    }

    pub(crate) fn lose_log(state: &mut State) -> Option<()> {
        let turn = state.node.turn.take()?;
        (!matches!(turn.stage, TurnStage::Half(_))).then_some(())
    }

    pub(crate) fn obey_hint(&self, state: &mut State) -> Option<()> {
        let cursor = state.node.cursor.as_mut().filter(|cursor| **cursor < state.store.head)?;
        (!self.keeps(Rule::HintsMoveNothing)).then(|| *cursor += 1)
    }

    pub(crate) fn begin_reading(state: &mut State) -> Option<()> {
        if state.node.reading.is_some() {
            return None;
        }
        let serves = state.check.is_some_and(|check| check.stage == Stage::Waiting);
        state.node.reading = Some(Reading { moment: state.node.count, stage: ReadingStage::Sent, serves });
        Some(())
    }

    /// A check waits for the next reading: one that was sent already may have been answered before the check began.
    pub(crate) fn wait_for_reading(&self, node: &mut Node) {
        if let Some(reading) = &mut node.reading {
            reading.serves = !self.keeps(Rule::NextReading) && reading.stage != ReadingStage::Good;
        }
    }

    pub(crate) fn answer_reading(state: &mut State) -> Option<()> {
        let reading = state.node.reading.as_mut().filter(|reading| reading.stage == ReadingStage::Sent)?;
        reading.stage = ReadingStage::Answered { live: state.store.ours == 0 };
        Some(())
    }

    pub(crate) fn take_reading(&self, state: &mut State) -> Option<()> {
        let mut reading = state.node.reading?;
        let ReadingStage::Answered { live } = reading.stage else { return None };
        if !self.keeps(Rule::MomentBeforeReading) {
            reading.moment = state.node.count;
        }
        state.node.reading = None;
        if !live {
            self.refuse(&mut state.node);
        } else if state.node.holds(reading.moment) || !self.keeps(Rule::Fence) {
            state.node.reading = Some(Reading { stage: ReadingStage::Good, serves: false, ..reading });
        } else {
            state.noted = Noted::Fenced;
        }
        if reading.serves {
            self.end_check(state, live.then_some(Source::Store));
        }
        Some(())
    }

    fn refuse(&self, node: &mut Node) {
        node.has_refused = self.refusals != Refusals::Unnoticed;
        if self.refusals == Refusals::Raise {
            node.raise();
            node.entry = None;
        }
    }

    pub(crate) fn keep_reading(state: &mut State) -> Option<()> {
        let reading = state.node.reading.filter(|reading| reading.stage == ReadingStage::Good)?;
        state.node.entry = Some(reading.moment);
        state.node.reading = None;
        Some(())
    }

    /// The check that waits for it fails.
    pub(crate) fn lose_reading(state: &mut State) -> Option<()> {
        let reading = state.node.reading.take()?;
        if reading.serves {
            state.check = None;
        }
        Some(())
    }
}

/// Applies what the answer says up to this position. At the beginning there is no place to go on from, and everything is forgotten.
fn apply(state: &mut State, head: u8) {
    let (node, ours) = (&mut state.node, state.store.ours);
    let begins = node.cursor.is_none();
    let is_new = ours > 0 && ours <= head && node.cursor.is_none_or(|cursor| cursor < ours);
    if is_new {
        if node.entry.is_some() {
            state.noted = Noted::AppliedToEntry;
        }
        node.forget();
    } else if begins {
        node.raise();
        node.entry = None;
    } else if node.cursor.is_some_and(|cursor| cursor < head) {
        // The entry of another session.
        node.count += 1;
    }
}
