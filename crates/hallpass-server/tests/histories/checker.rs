//! What a history must not contain.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::history::{Answer, History, Moment, Request, Revocation};

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
    /// When somebody first began what may have ended it.
    may_end: Option<Moment>,
}

/// Looks at every request of the history. A node may accept what was ended for less than `lease`.
pub(crate) fn check(history: &History, lease: Duration) -> Result<Summary, Vec<Violation>> {
    let mut ends = ends_of(history);
    for request in history.requests.iter().filter(|request| request.answer == Answer::Refused) {
        first(ends[request.session].refused_by.entry(request.node), request.ended, |at| *at);
    }
    let mut violations = Vec::new();
    for request in &history.requests {
        let ends = &ends[request.session];
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
            }
            Answer::Refused => {
                if ends.may_end.is_none_or(|begun| begun > request.ended) {
                    broken(Promise::SignedOut, None, None);
                }
            }
            Answer::Unavailable | Answer::Unknown => {}
        }
    }
    if violations.is_empty() { Ok(summary(history, &ends, lease)) } else { Err(violations) }
}

fn ends_of(history: &History) -> Vec<Ends> {
    let of_one = |(number, session)| {
        let mut ends = Ends::default();
        for revocation in &history.revocations {
            if revocation.may_have_ended(number, session) {
                ends.may_end = Some(ends.may_end.map_or(revocation.begun, |begun| begun.min(revocation.begun)));
            }
            let Some(at) = revocation.acknowledged.filter(|_| revocation.ended(number, session)) else { continue };
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

fn summary(history: &History, ends: &[Ends], lease: Duration) -> Summary {
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
            && let Some((at, _)) = ends[request.session].acknowledged
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
