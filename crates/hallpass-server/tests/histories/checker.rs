//! What a history must not contain.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::history::{Answer, History, Moment, Request, Revocation};
use crate::went_back::WentBack;

/// Which promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// G1: accepted by a strict check that began after the acknowledgement.
    Strict,
    /// G3: accepted by a check that began later than a lease after it.
    Bound,
    /// G4: accepted by the node that revoked.
    OwnNode,
    /// G5: accepted by a node that had refused before.
    Refused,
    /// G6: accepted by a check that began after a revocation returned that waited.
    Waited,
    /// R5: accepted later than a lease after a database that went back had refused it: from a memory of what there is no more.
    Remembered,
    /// G8: signed out, although nobody ended it.
    SignedOut,
}

/// One request that should have been answered otherwise.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) promise: Promise,
    pub(crate) request: Request,
    /// The acknowledgement, the return, or the earlier refusal, after which it began.
    pub(crate) since: Option<Moment>,
    pub(crate) revocation: Option<Revocation>,
}

impl fmt::Debug for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { promise, request, since, revocation } = self;
        let after = since.map(|since| request.begun.saturating_sub(since));
        write!(f, "{promise:?}: {request:?}, begun {after:?} after what forbids it, {revocation:?}")
    }
}

/// What a history without a violation amounts to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Summary {
    pub(crate) sessions: usize,
    pub(crate) requests: usize,
    pub(crate) accepted: usize,
    pub(crate) refused: usize,
    pub(crate) unavailable: usize,
    pub(crate) unknown: usize,
    /// Acknowledged.
    pub(crate) revocations: usize,
    /// Those of them that waited.
    pub(crate) waited: usize,
    /// Those of them that ended a session that was accepted within the last second before, and asked for within a lease after the acknowledgement.
    pub(crate) observed: usize,
    /// Nobody knows whether they were made.
    pub(crate) not_acknowledged: usize,
    /// How long after the first acknowledgement that ended its session the last accepted request began.
    pub(crate) latest: Duration,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sessions, {} requests ({} accepted, {} refused, {} unavailable, {} without an answer), {} revocations ({} waited, {} observed, {} more \
             not acknowledged), latest acceptance {} ms after an acknowledgement",
            self.sessions,
            self.requests,
            self.accepted,
            self.refused,
            self.unavailable,
            self.unknown,
            self.revocations,
            self.waited,
            self.observed,
            self.not_acknowledged,
            self.latest.as_millis(),
        )
    }
}

/// The first of each kind of moment for one session.
#[derive(Default)]
struct Ends {
    acknowledged: Option<(Moment, Revocation)>,
    waited: Option<(Moment, Revocation)>,
    by_node: HashMap<usize, (Moment, Revocation)>,
    refused_by: HashMap<usize, Moment>,
    /// By whomever, after the database went back, and not by what may have been done without an answer.
    refused: Option<Moment>,
    /// When somebody first began what may have ended it.
    may_end: Option<Moment>,
}

/// What ended each session, for the requests before the database went back and for those afterwards.
struct Known {
    ever: Vec<Ends>,
    /// Where it did.
    kept: Option<(WentBack, Vec<Ends>)>,
}

impl Known {
    fn of(history: &History) -> Self {
        let mut ever = ends_of(history, |_| true, |_| true);
        let mut kept = history.went_back.map(|went_back| {
            let kept = ends_of(history, |revocation| went_back.keeps(revocation), |other| !went_back.loses(other));
            (went_back, kept)
        });
        for request in history.requests.iter().filter(|request| request.answer == Answer::Refused) {
            first(ever[request.session].refused_by.entry(request.node), request.ended, |at| *at);
            let Some((_, kept)) = kept.as_mut().filter(|(went_back, _)| went_back.is_after(request)) else { continue };
            let ends = &mut kept[request.session];
            first(ends.refused_by.entry(request.node), request.ended, |at| *at);
            ends.refused = Some(ends.refused.map_or(request.ended, |at| at.min(request.ended)));
        }
        // In a Cluster what has no answer may be in effect without being in the log.
        for revocation in history.revocations.iter().filter(|revocation| revocation.acknowledged.is_none()) {
            for (ends, (number, session)) in
                kept.iter_mut().flat_map(|(_, kept)| kept).zip(history.sessions.iter().enumerate())
            {
                if revocation.may_have_ended(number, session) {
                    ends.refused = None;
                }
            }
        }
        Self { ever, kept }
    }

    fn of_request(&self, request: &Request) -> &Ends {
        match &self.kept {
            Some((went_back, kept)) if went_back.may_be_after(request) => &kept[request.session],
            _ => &self.ever[request.session],
        }
    }

    /// Whether there is a reason for this refusal, in one of the states of the database that may have given it.
    fn explains(&self, history: &History, refusal: &Request) -> bool {
        let has_begun = |of: &[Ends]| of[refusal.session].may_end.is_some_and(|begun| begun <= refusal.ended);
        let Some((went_back, kept)) = &self.kept else { return has_begun(&self.ever) };
        let by_later = !went_back.is_after(refusal) && has_begun(&self.ever);
        let lacks = || went_back.may_lack(&history.sessions[refusal.session]);
        by_later || (went_back.may_be_after(refusal) && (has_begun(kept) || lacks()))
    }
}

/// Looks at every request of the history. A node may accept what was ended for less than `lease`.
pub(crate) fn check(history: &History, lease: Duration) -> Result<Summary, Vec<Violation>> {
    let known = Known::of(history);
    let mut violations = Vec::new();
    for request in &history.requests {
        let ends = known.of_request(request);
        let mut broken = |promise, since: Option<Moment>, revocation| {
            violations.push(Violation { promise, request: *request, since, revocation });
        };
        match request.answer {
            Answer::Accepted => {
                let late = |found: Option<&(Moment, Revocation)>, patience: Duration| {
                    found.filter(|(at, _)| request.begun > *at + patience).copied()
                };
                if let Some((at, revocation)) = late(ends.acknowledged.as_ref(), lease) {
                    broken(Promise::Bound, Some(at), Some(revocation));
                }
                if request.strict
                    && let Some((at, revocation)) = late(ends.acknowledged.as_ref(), Duration::ZERO)
                {
                    broken(Promise::Strict, Some(at), Some(revocation));
                }
                if let Some((at, revocation)) = late(ends.waited.as_ref(), Duration::ZERO) {
                    broken(Promise::Waited, Some(at), Some(revocation));
                }
                if let Some((at, revocation)) = late(ends.by_node.get(&request.node), Duration::ZERO) {
                    broken(Promise::OwnNode, Some(at), Some(revocation));
                }
                if let Some(at) = ends.refused_by.get(&request.node).filter(|at| request.begun > **at) {
                    broken(Promise::Refused, Some(*at), None);
                }
                if let Some(at) = ends.refused.filter(|at| request.begun > *at + lease) {
                    broken(Promise::Remembered, Some(at), None);
                }
            }
            Answer::Refused => {
                if !known.explains(history, request) {
                    broken(Promise::SignedOut, None, None);
                }
            }
            Answer::Unavailable | Answer::Unknown => {}
        }
    }
    if violations.is_empty() { Ok(summary(history, &known, lease)) } else { Err(violations) }
}

/// By the acknowledged revocations that `binds` holds for, and those that may have been made by `excuses`.
fn ends_of(history: &History, binds: impl Fn(&Revocation) -> bool, excuses: impl Fn(&Revocation) -> bool) -> Vec<Ends> {
    let of_one = |(number, session)| {
        let mut ends = Ends::default();
        for revocation in &history.revocations {
            if revocation.may_have_ended(number, session) && excuses(revocation) {
                ends.may_end = Some(ends.may_end.map_or(revocation.begun, |begun| begun.min(revocation.begun)));
            }
            let is_bound = revocation.ended(number, session) && binds(revocation);
            let Some(at) = revocation.acknowledged.filter(|_| is_bound) else { continue };
            let earlier = |known: Option<(Moment, Revocation)>| match known {
                Some(known) if known.0 <= at => Some(known),
                _ => Some((at, *revocation)),
            };
            ends.acknowledged = earlier(ends.acknowledged);
            if revocation.waited {
                ends.waited = earlier(ends.waited);
            }
            first(ends.by_node.entry(revocation.node), (at, *revocation), |known| known.0);
        }
        ends
    };
    history.sessions.iter().enumerate().map(of_one).collect()
}

/// Keeps the earlier one.
fn first<T>(entry: std::collections::hash_map::Entry<'_, usize, T>, new: T, moment: impl Fn(&T) -> Moment) {
    match entry {
        std::collections::hash_map::Entry::Occupied(mut known) => {
            if moment(known.get()) > moment(&new) {
                known.insert(new);
            }
        }
        std::collections::hash_map::Entry::Vacant(place) => {
            place.insert(new);
        }
    }
}

fn summary(history: &History, known: &Known, lease: Duration) -> Summary {
    let mut summary =
        Summary { sessions: history.sessions.len(), requests: history.requests.len(), ..Summary::default() };
    let mut of_session: Vec<Vec<&Request>> = vec![Vec::new(); history.sessions.len()];
    for request in &history.requests {
        match request.answer {
            Answer::Accepted => summary.accepted += 1,
            Answer::Refused => summary.refused += 1,
            Answer::Unavailable => summary.unavailable += 1,
            Answer::Unknown => summary.unknown += 1,
        }
        if request.answer == Answer::Accepted
            && let Some((at, _)) = known.of_request(request).acknowledged
        {
            summary.latest = summary.latest.max(request.begun.saturating_sub(at));
        }
        of_session[request.session].push(request);
    }
    for revocation in &history.revocations {
        let Some(at) = revocation.acknowledged else {
            summary.not_acknowledged += 1;
            continue;
        };
        summary.revocations += 1;
        summary.waited += usize::from(revocation.waited);
        let is_observed = history.sessions.iter().enumerate().any(|(number, session)| {
            let requests = &of_session[number];
            let before = |request: &&&Request| {
                request.answer == Answer::Accepted
                    && request.ended <= revocation.begun
                    && request.ended + Duration::from_secs(1) > revocation.begun
            };
            revocation.ended(number, session)
                && requests.iter().any(|request| before(&request))
                && requests.iter().any(|request| request.begun > at && request.begun <= at + lease)
        });
        summary.observed += usize::from(is_observed);
    }
    summary
}
