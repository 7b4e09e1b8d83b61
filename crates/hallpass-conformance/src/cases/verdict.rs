//! Whether what a [`Journal`](super::journal::Journal) holds can have happened in a store that keeps the contract.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use hallpass_core::store::{Change, ChangeKind, Record, Revocation, RevokeOutcome, Target};
use hallpass_core::{Actor, EndReason, Ended, SessionId, State, TokenHash};

use super::journal::{Call, What};

/// What was found when all was quiet again.
pub(crate) struct Outcome {
    /// Every session of the journal that was still kept.
    pub(crate) rows: BTreeMap<SessionId, Record>,
    /// The head of the log before the journal was begun.
    pub(crate) base: u64,
    /// The log from there on.
    pub(crate) log: Vec<Change>,
    pub(crate) head: u64,
    /// Whether ended rows were removed meanwhile, so that not every end can be looked at.
    pub(crate) swept: bool,
}

/// Judges the calls by what was found in the end: an empty list, or what cannot be.
pub(crate) fn judge(calls: &[Call], outcome: &Outcome) -> Vec<String> {
    let mut about: BTreeMap<SessionId, Vec<&Call>> = BTreeMap::new();
    for call in calls {
        if let Some(id) = subject(&call.what) {
            about.entry(id).or_default().push(call);
        }
    }
    let mut verdict = Verdict { calls, about, outcome, ends: ends(calls, outcome), wrong: Vec::new() };
    verdict.the_log_is_whole();
    for call in calls {
        if let What::Created { record, .. } = &call.what {
            verdict.one_session(call, record);
        }
    }
    verdict.each_end_counts_its_own();
    verdict.wrong
}

/// A call that ended sessions, or found that they had ended.
#[derive(Debug)]
struct End<'a> {
    begun: u64,
    answered: u64,
    /// In the log; 0 when it ended nothing.
    position: u64,
    target: Target,
    keep_is_dead: bool,
    counted: Option<u64>,
    state: Ended,
    revocation: Option<&'a Revocation>,
}

impl End<'_> {
    /// After its answer the session is dead, if it was created before.
    fn leaves_dead(&self, session: &Record) -> bool {
        let session = &session.session;
        match &self.target {
            Target::Session { id, owner } => {
                *id == session.id && owner.as_ref().is_none_or(|owner| *owner == session.user)
            }
            Target::Others { user, keep } => !self.keep_is_dead && *user == session.user && *keep != session.id,
            Target::User(user) => *user == session.user,
            Target::Everyone => true,
            other => panic!("the storms do not know the target {other:?}"),
        }
    }

    /// It may have been this that ended the session.
    fn can_have_ended(&self, session: &Record, created: &Call) -> bool {
        self.position > 0 && self.answered > created.begun && self.leaves_dead(session)
    }
}

fn ends<'a>(calls: &'a [Call], outcome: &Outcome) -> Vec<End<'a>> {
    let mut ends = Vec::new();
    for Call { begun, answered, what } in calls {
        let (begun, answered) = (*begun, *answered);
        match what {
            What::Revoked { revocation, outcome: RevokeOutcome { ended, position } } => {
                let Revocation { target, now, by, reason } = revocation.clone();
                let keep_is_dead = matches!(target, Target::Others { .. }) && ended.is_none() && *position == 0;
                let state = Ended { at: now, by, reason };
                let (position, counted) = (*position, *ended);
                ends.push(End {
                    begun,
                    answered,
                    position,
                    target,
                    keep_is_dead,
                    counted,
                    state,
                    revocation: Some(revocation),
                });
            }
            What::Created { evicted, record } => ends.extend(evicted.iter().map(|id| {
                let logged = outcome.log.iter().find(|change| change.kind == ChangeKind::Ended(*id));
                End {
                    begun,
                    answered,
                    position: logged.map_or(u64::MAX, |change| change.position),
                    target: Target::Session { id: *id, owner: None },
                    keep_is_dead: false,
                    counted: Some(1),
                    state: Ended {
                        at: logged.map_or(record.session.created_at, |change| change.at),
                        by: Actor::system("max_per_user"),
                        reason: EndReason::Limit,
                    },
                    revocation: None,
                }
            })),
            _ => {}
        }
    }
    ends
}

struct Verdict<'a> {
    calls: &'a [Call],
    /// The calls that say something of one session.
    about: BTreeMap<SessionId, Vec<&'a Call>>,
    outcome: &'a Outcome,
    ends: Vec<End<'a>>,
    wrong: Vec<String>,
}

impl Verdict<'_> {
    fn about(&self, id: SessionId) -> impl Iterator<Item = &Call> {
        self.about.get(&id).into_iter().flatten().copied()
    }

    /// Gapless, in order, with the entry of each acknowledged change and no other.
    fn the_log_is_whole(&mut self) {
        let Outcome { base, log, head, .. } = self.outcome;
        let positions: Vec<u64> = log.iter().map(|change| change.position).collect();
        if !positions.iter().copied().eq(base + 1..base + 1 + log.len() as u64) || *head != base + log.len() as u64 {
            self.wrong
                .push(format!("the log after {base} has the positions {positions:?} and the head {head}: not gapless"));
            return;
        }
        let mut rest: BTreeMap<u64, &Change> = log.iter().map(|change| (change.position, change)).collect();
        for end in &self.ends {
            let Some(revocation) = end.revocation else { continue };
            if end.position == 0 {
                if end.counted.is_some_and(|ended| ended > 0) {
                    self.wrong.push(format!("{revocation:?} ended {:?} and took no position", end.counted));
                }
                continue;
            }
            let kind = match &revocation.target {
                Target::Session { id, .. } => ChangeKind::Ended(*id),
                Target::User(user) | Target::Others { user, .. } => ChangeKind::User(user.clone()),
                _ => ChangeKind::Everyone,
            };
            let expected = Change { position: end.position, kind, at: revocation.now };
            match rest.remove(&end.position) {
                Some(change) if *change == expected => {}
                Some(change) => self.wrong.push(format!("acknowledged {expected:?}, but the log holds {change:?}")),
                None => self.wrong.push(format!("acknowledged {expected:?}: no such position, or given out twice")),
            }
        }
        let mut unnumbered: Vec<ChangeKind> = Vec::new();
        for call in self.calls {
            match &call.what {
                What::Rotated { id, .. } | What::Changed { id } | What::Labelled { id } => {
                    unnumbered.push(ChangeKind::Changed(*id));
                }
                What::Created { evicted, .. } => unnumbered.extend(evicted.iter().map(|id| ChangeKind::Ended(*id))),
                _ => {}
            }
        }
        for change in rest.into_values() {
            match unnumbered.iter().position(|kind| *kind == change.kind) {
                Some(found) => drop(unnumbered.swap_remove(found)),
                None => self.wrong.push(format!("the log holds {change:?}, which nobody was told of")),
            }
        }
        for kind in unnumbered {
            self.wrong.push(format!("{kind:?} was acknowledged and is not in the log"));
        }
    }

    fn one_session(&mut self, created: &Call, record: &Record) {
        let id = record.session.id;
        let mut wrong = Vec::new();
        self.it_stays_dead(created, record, &mut wrong);
        self.it_does_not_die_alone(created, record, &mut wrong);
        self.nothing_is_logged_after_its_end(created, record, &mut wrong);
        match self.outcome.rows.get(&id) {
            Some(found) => self.it_is_as_it_was_left(created, record, found, &mut wrong),
            None if self.outcome.swept => {}
            None => wrong.push(String::from("its row is gone, though nothing removed it")),
        }
        for wrong in wrong {
            let history = self.history(id);
            self.wrong.push(format!("session {id}: {wrong}\n{history}"));
        }
    }

    /// Once a revocation was acknowledged, or somebody saw it dead, nobody finds it live or writes to it (G1, G5).
    fn it_stays_dead(&self, created: &Call, record: &Record, wrong: &mut Vec<String>) {
        let id = record.session.id;
        let revoked = self.ends.iter().filter(|end| end.begun > created.answered && end.leaves_dead(record));
        // An eviction is told by the creation that did it, begun before or after that of the evicted.
        let evicted = self.ends.iter().filter(|end| end.revocation.is_none() && end.leaves_dead(record));
        let seen = self.about(id).filter(|call| match &call.what {
            What::Dead { id: dead, .. } => *dead == id,
            What::Revoked { revocation, outcome } => {
                matches!(&revocation.target, Target::Others { keep, .. } if *keep == id)
                    && outcome.ended.is_none()
                    && outcome.position == 0
            }
            _ => false,
        });
        let dead_since = revoked.chain(evicted).map(|end| end.answered).chain(seen.map(|call| call.answered)).min();
        let Some(dead_since) = dead_since else { return };
        for call in self.about(id).filter(|call| call.begun > dead_since && is_life(&call.what, id)) {
            wrong.push(format!("dead since {dead_since}, and alive again at {}..{}", call.begun, call.answered));
        }
    }

    /// Whoever found it dead can name what ended it.
    fn it_does_not_die_alone(&self, created: &Call, record: &Record, wrong: &mut Vec<String>) {
        for call in self.about(record.session.id) {
            if !matches!(&call.what, What::Dead { id, .. } if *id == record.session.id) {
                continue;
            }
            let ended = |end: &End<'_>| end.begun < call.answered && end.can_have_ended(record, created);
            if !self.ends.iter().any(ended) {
                wrong.push(format!("dead at {}..{}, and nothing had ended it", call.begun, call.answered));
            }
        }
    }

    /// The log is in the order of the commits, and no write is committed after the end.
    fn nothing_is_logged_after_its_end(&self, created: &Call, record: &Record, wrong: &mut Vec<String>) {
        let certain = self.ends.iter().filter(|end| {
            end.position > 0 && end.leaves_dead(record) && (end.begun > created.answered || end.revocation.is_none())
        });
        let Some(ended) = certain.map(|end| end.position).min() else { return };
        let changed = ChangeKind::Changed(record.session.id);
        for change in self.outcome.log.iter().filter(|change| change.position > ended && change.kind == changed) {
            wrong.push(format!("it ended at position {ended} of the log, which says {change:?}"));
        }
    }

    /// Live, or ended by the first that can have ended it; with the token and the attributes of the last writes.
    fn it_is_as_it_was_left(&self, created: &Call, record: &Record, found: &Record, wrong: &mut Vec<String>) {
        let id = record.session.id;
        match &found.session.state {
            State::Live => {
                let certain = |end: &&End<'_>| end.begun > created.answered && end.leaves_dead(record);
                if let Some(end) = self.ends.iter().find(certain) {
                    wrong.push(format!("alive in the end, after {:?} at {}..{}", end.target, end.begun, end.answered));
                }
            }
            State::Ended(state) => match self.author(record, created, state) {
                None => wrong.push(format!("ended as {state:?}, which nobody wrote")),
                Some(author) => {
                    let earlier = self.ends.iter().find(|end| {
                        end.begun > created.answered
                            && (1..author.position).contains(&end.position)
                            && end.leaves_dead(record)
                    });
                    if let Some(earlier) = earlier {
                        wrong.push(format!(
                            "ended at position {} by {:?}, though it had ended at {} by {:?}",
                            author.position, author.state.by, earlier.position, earlier.state.by
                        ));
                    }
                }
            },
        }
        let mut rotations: BTreeMap<[u8; 32], TokenHash> = BTreeMap::new();
        let mut versions = 0;
        for call in self.about(id) {
            match &call.what {
                What::Rotated { old, new, .. } => {
                    let first = rotations.insert(*old.as_bytes(), *new).is_none();
                    if !first {
                        wrong.push(String::from("two rotations replaced the same token"));
                    }
                }
                What::Changed { .. } => versions += 1,
                _ => {}
            }
        }
        let mut hash = record.token_hash;
        while let Some(next) = rotations.remove(hash.as_bytes()) {
            hash = next;
        }
        if !rotations.is_empty() || hash != found.token_hash {
            wrong.push(String::from("the rotations do not lead from its first token to its last"));
        }
        if found.session.attributes_version != versions {
            wrong.push(format!("{versions} changes of its attributes led to {}", found.session.attributes_version));
        }
    }

    /// What wrote this end.
    fn author(&self, record: &Record, created: &Call, state: &Ended) -> Option<&End<'_>> {
        self.ends.iter().find(|end| end.state == *state && end.can_have_ended(record, created))
    }

    /// Each end reports as many sessions as carry its name.
    fn each_end_counts_its_own(&mut self) {
        if self.outcome.swept {
            return;
        }
        for end in &self.ends {
            let Some(revocation) = end.revocation else { continue };
            if matches!(revocation.target, Target::Everyone) || end.keep_is_dead {
                continue;
            }
            let own = self.outcome.rows.values().filter(|row| row.session.state == State::Ended(end.state.clone()));
            let own = own.count() as u64;
            if end.counted != Some(own) {
                self.wrong.push(format!(
                    "{revocation:?} at {}..{} counted {:?} and ended {own}",
                    end.begun, end.answered, end.counted
                ));
            }
        }
    }

    /// The calls about a session, to read what happened.
    fn history(&self, id: SessionId) -> String {
        let mut text = String::new();
        let mut calls: Vec<&Call> = self.calls.iter().filter(|call| is_about(&call.what, id)).collect();
        calls.sort_by_key(|call| call.begun);
        for Call { begun, answered, what } in calls {
            let line = match what {
                What::Created { record, evicted } if record.session.id == id => {
                    format!("created, evicting {} others", evicted.len())
                }
                What::Created { .. } => String::from("evicted"),
                What::Revoked { revocation, outcome } => {
                    format!("{:?} by {}: {outcome:?}", revocation.target, revocation.by.name)
                }
                What::Rotated { .. } => String::from("rotated"),
                What::Changed { .. } => String::from("attributes changed"),
                What::Labelled { .. } => String::from("labelled"),
                What::Lives { how, .. } => format!("alive: {how}"),
                What::Dead { how, .. } => format!("dead: {how}"),
            };
            let _ = writeln!(text, "    {begun}..{answered} {line}");
        }
        if let Some(row) = self.outcome.rows.get(&id) {
            let _ = writeln!(text, "    in the end {:?}", row.session.state);
        }
        let positions: BTreeSet<u64> =
            self.outcome.log.iter().filter(|c| c.kind == ChangeKind::Changed(id)).map(|c| c.position).collect();
        let _ = writeln!(text, "    logged as changed at {positions:?}");
        text
    }
}

/// The session of which the call says whether it lived.
fn subject(what: &What) -> Option<SessionId> {
    match what {
        What::Created { record, .. } => Some(record.session.id),
        What::Revoked { revocation, .. } => match revocation.target {
            Target::Others { keep, .. } => Some(keep),
            _ => None,
        },
        What::Rotated { id, .. }
        | What::Changed { id }
        | What::Labelled { id }
        | What::Lives { id, .. }
        | What::Dead { id, .. } => Some(*id),
    }
}

/// The answer says that the session lived.
fn is_life(what: &What, id: SessionId) -> bool {
    match what {
        What::Rotated { id: alive, .. }
        | What::Changed { id: alive }
        | What::Labelled { id: alive }
        | What::Lives { id: alive, .. } => *alive == id,
        What::Revoked { revocation: Revocation { target: Target::Others { keep, .. }, .. }, outcome } => {
            *keep == id && (outcome.ended.is_some() || outcome.position > 0)
        }
        _ => false,
    }
}

fn is_about(what: &What, about: SessionId) -> bool {
    match what {
        What::Created { record, evicted } => record.session.id == about || evicted.contains(&about),
        What::Revoked { revocation, .. } => match &revocation.target {
            Target::Session { id, .. } => *id == about,
            _ => true,
        },
        What::Rotated { id, .. }
        | What::Changed { id }
        | What::Labelled { id }
        | What::Lives { id, .. }
        | What::Dead { id, .. } => *id == about,
    }
}

#[cfg(test)]
mod tests;
