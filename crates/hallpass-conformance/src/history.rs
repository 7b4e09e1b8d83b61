//! Histories of verbs, as random choices: small numbers that shrink, given a meaning when they are driven.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

/// One step: some time passes (or the clock of another node is behind), then a verb.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Milliseconds; negative when this node's clock is behind the last one's.
    pub(crate) passes: i64,
    pub(crate) verb: Verb,
}

/// A verb with choices in place of arguments. `pick` chooses among the sessions made so far.
#[derive(Debug, Clone)]
pub(crate) enum Verb {
    Create { user: u8, class: u8, lives: Lives, limit: Option<Limited> },
    CreateAgain { pick: u8 },
    Renew { pick: u8, proof: Proof, update_age: i64, idle: i64 },
    Rotate { pick: u8, proof: Proof, reauthenticate: Option<Lives> },
    SetLabel { pick: u8, owner: Owner, label: Option<u8> },
    SetAttributes { pick: u8, late: u64, value: u8 },
    RevokeOne { pick: u8, owner: Option<Owner> },
    RevokeOthers { pick: u8, owner: Owner },
    RevokeUser { user: u8 },
    RevokeEveryone,
    Touch { first: u8, step: u8, ago: i64 },
    Settle { batch: u32 },
    Sweep { grace: i64, retention: i64, log: i64, batch: u32 },
    List { user: Option<u8>, class: Option<u8>, include_ended: bool, limit: u32, after: Option<u8> },
    ChangesSince { position: u64, limit: u32 },
}

/// Deadlines, in milliseconds from the time of the verb; no absolute one for `None`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lives {
    pub(crate) idle: i64,
    pub(crate) absolute: Option<i64>,
}

/// A limit, its policy in milliseconds before the time of the verb.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limited {
    pub(crate) max: u32,
    pub(crate) refuse: bool,
    pub(crate) max_age: i64,
    pub(crate) absolute: i64,
}

/// Which hash a request comes with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Proof {
    /// That of the current token.
    Current,
    /// The one the session began with, which may have been rotated away.
    First,
    /// None that the session ever had.
    Wrong,
}

/// Who claims to own a session.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owner {
    TheOwner,
    User(u8),
}

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

/// Spans that meet each other's boundaries often.
fn span() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0), Just(1), Just(SECOND), Just(HOUR), Just(2 * HOUR), Just(DAY), Just(30 * DAY)]
}

/// Spans of a living session.
fn lifetime() -> impl Strategy<Value = i64> {
    prop_oneof![1 => Just(1), 1 => Just(HOUR), 2 => Just(2 * HOUR), 4 => Just(DAY), 4 => Just(30 * DAY)]
}

fn passes() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => Just(0), 4 => Just(1), 4 => Just(SECOND), 3 => Just(HOUR), 2 => Just(DAY), 1 => Just(-1), 1 => Just(-HOUR)
    ]
}

fn lives() -> impl Strategy<Value = Lives> {
    (lifetime(), option::of(lifetime())).prop_map(|(idle, absolute)| Lives { idle, absolute })
}

fn limited() -> impl Strategy<Value = Limited> {
    (1..4_u32, any::<bool>(), span(), span()).prop_map(|(max, refuse, max_age, absolute)| Limited {
        max,
        refuse,
        max_age: max_age.max(1),
        absolute: absolute.max(1),
    })
}

fn proof() -> impl Strategy<Value = Proof> {
    prop_oneof![8 => Just(Proof::Current), 1 => Just(Proof::First), 1 => Just(Proof::Wrong)]
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![4 => Just(Owner::TheOwner), 1 => (0..3_u8).prop_map(Owner::User)]
}

fn verb() -> impl Strategy<Value = Verb> {
    let pick = any::<u8>;
    let batch = || prop_oneof![Just(1_u32), Just(3), Just(100)];
    prop_oneof![
        12 => (0..3_u8, 0..2_u8, lives(), option::weighted(0.4, limited()))
            .prop_map(|(user, class, lives, limit)| Verb::Create { user, class, lives, limit }),
        1 => pick().prop_map(|pick| Verb::CreateAgain { pick }),
        6 => (pick(), proof(), span(), lifetime()).prop_map(|(pick, proof, update_age, idle)| {
            Verb::Renew { pick, proof, update_age, idle }
        }),
        4 => (pick(), proof(), option::of(lives())).prop_map(|(pick, proof, reauthenticate)| {
            Verb::Rotate { pick, proof, reauthenticate }
        }),
        2 => (pick(), owner(), option::of(0..4_u8)).prop_map(|(pick, owner, label)| Verb::SetLabel { pick, owner, label }),
        3 => (pick(), prop_oneof![3 => Just(0_u64), 1 => Just(1)], any::<u8>())
            .prop_map(|(pick, late, value)| Verb::SetAttributes { pick, late, value }),
        3 => (pick(), option::of(owner())).prop_map(|(pick, owner)| Verb::RevokeOne { pick, owner }),
        3 => (pick(), owner()).prop_map(|(pick, owner)| Verb::RevokeOthers { pick, owner }),
        2 => (0..3_u8).prop_map(|user| Verb::RevokeUser { user }),
        1 => Just(Verb::RevokeEveryone),
        3 => (pick(), 1..4_u8, span()).prop_map(|(first, step, ago)| Verb::Touch { first, step, ago }),
        3 => batch().prop_map(|batch| Verb::Settle { batch }),
        2 => (span(), span(), span(), batch())
            .prop_map(|(grace, retention, log, batch)| Verb::Sweep { grace, retention, log, batch }),
        3 => (option::of(0..3_u8), option::of(0..2_u8), any::<bool>(), 1..6_u32, option::of(pick())).prop_map(
            |(user, class, include_ended, limit, after)| Verb::List { user, class, include_ended, limit, after }
        ),
        1 => (0..12_u64, 0..6_u32).prop_map(|(position, limit)| Verb::ChangesSince { position, limit }),
    ]
}

/// Histories of 40 steps on average.
pub(crate) fn history() -> impl Strategy<Value = Vec<Step>> {
    vec((passes(), verb()).prop_map(|(passes, verb)| Step { passes, verb }), 1..80)
}
