//! What must hold in all states, and what must happen in some for that to mean anything.

use stateright::Property;

use crate::checks::{Accepted, Source};
use crate::model::{Noted, Protocol, State};

pub(crate) const G1: &str = "G1: a check of the store that starts after the acknowledgement does not accept";
pub(crate) const G3: &str = "G3: no node accepts from memory a lease after the acknowledgement or later";
pub(crate) const G4: &str =
    "G4: the node that revoked does not accept in a check that starts after the acknowledgement";
pub(crate) const G5: &str = "G5: a node that knows of the revocation does not accept again";
pub(crate) const G6: &str = "G6: no check that starts after the wait returned accepts";
/// More than the protocol promises.
pub(crate) const REFUSED: &str = "a node that refused does not accept again";

fn never(name: &'static str, condition: fn(&Protocol, &State) -> bool) -> Property<Protocol> {
    Property::always(name, condition)
}

fn accepted(state: &State) -> Option<Accepted> {
    if let Noted::Accepted(accepted) = state.noted { Some(accepted) } else { None }
}

fn accepts(state: &State, how: impl Fn(Accepted) -> bool) -> bool {
    accepted(state).is_some_and(how)
}

pub(crate) fn always() -> Vec<Property<Protocol>> {
    vec![
        never(G1, |_, state| !accepts(state, |it| it.from == Source::Store && it.started_late)),
        never(G3, |_, state| !accepts(state, |it| it.from == Source::Memory && it.is_too_late)),
        never(G4, |_, state| !accepts(state, |it| it.started_late_on_revoker)),
        never(G5, |_, state| !accepts(state, |it| it.started_knowing)),
        never(G6, |_, state| !accepts(state, |it| it.started_after_return)),
        never(REFUSED, |_, state| !accepts(state, |it| it.started_after_refusal)),
    ]
}

pub(crate) const HIT: &str = "a check accepts from memory";
pub(crate) const LATE_HIT: &str = "a check that starts after the acknowledgement accepts from memory";
pub(crate) const HIT_AFTER_RETURN: &str = "a check that started before the wait returned accepts afterwards";
pub(crate) const APPLIED: &str = "the log empties the memory";
pub(crate) const FENCED: &str = "a reading comes too late to be kept";
pub(crate) const BY_ACKNOWLEDGEMENT: &str = "the wait returns since all have acknowledged";
pub(crate) const BY_TIME: &str = "the wait returns since a lease is over";

fn happens(name: &'static str, condition: fn(&Protocol, &State) -> bool) -> Property<Protocol> {
    Property::sometimes(name, condition)
}

pub(crate) fn sometimes() -> Vec<Property<Protocol>> {
    vec![
        happens(HIT, |_, state| accepts(state, |it| it.from == Source::Memory)),
        happens(LATE_HIT, |_, state| accepts(state, |it| it.from == Source::Memory && it.started_late)),
        happens(HIT_AFTER_RETURN, |_, state| accepts(state, |it| it.is_after_return)),
        happens(APPLIED, |_, state| state.noted == Noted::AppliedToEntry),
        happens(FENCED, |_, state| state.noted == Noted::Fenced),
        happens(BY_ACKNOWLEDGEMENT, |_, state| state.noted == Noted::ReturnedByAcknowledgement),
        happens(BY_TIME, |_, state| state.noted == Noted::ReturnedByTime),
    ]
}
