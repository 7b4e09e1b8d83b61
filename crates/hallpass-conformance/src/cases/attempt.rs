//! Everything that writes to a session, in one shape: what must be refused once it is dead.

use hallpass_core::store::{
    Created, LastSeen, Reauthentication, Record, Renewal, Renewed, Rotation, Sweep, Target, Write,
};
use hallpass_core::{Client, EndReason, Ended, Label, State, Timestamp};

use super::given::{Given, SWEEP_NOTHING, attributes_n, everything};
use crate::builders::{DAY, HOUR};

/// A verb that could bring a session back if a store were wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    Renew,
    Rotate,
    Reauthenticate,
    Touch,
    SetLabel,
    SetAttributes,
    CreateAgain,
    Settle,
    Sweep,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The session was written.
    Written,
    /// It lives, but another write was first.
    Late,
    /// Nothing was written: gone, a duplicate, or no row.
    Refused,
}

impl Attempt {
    pub(crate) const ALL: [Self; 9] = [
        Self::Renew,
        Self::Rotate,
        Self::Reauthenticate,
        Self::Touch,
        Self::SetLabel,
        Self::SetAttributes,
        Self::CreateAgain,
        Self::Settle,
        Self::Sweep,
    ];

    /// Whether it writes to a session that lives.
    pub(crate) const fn writes_to_the_living(self) -> bool {
        !matches!(self, Self::CreateAgain | Self::Settle | Self::Sweep)
    }

    /// Tries it with arguments computed from `read`, which may be older than the store.
    pub(crate) async fn run(self, given: &Given, read: &Record, now: Timestamp) -> Answer {
        let session = &read.session;
        let id = session.id;
        let store = &given.store;
        match self {
            Self::Renew => {
                let renewal = Renewal {
                    id,
                    token_hash: read.token_hash,
                    now,
                    due_before: now,
                    idle_expires_at: now.plus(30 * DAY),
                };
                match store.renew(&renewal).await.unwrap() {
                    Renewed::Renewed { .. } => Answer::Written,
                    Renewed::NotDue => Answer::Late,
                    Renewed::Gone => Answer::Refused,
                }
            }
            Self::Rotate | Self::Reauthenticate => {
                let reauthentication = (self == Self::Reauthenticate).then(|| Reauthentication {
                    idle_expires_at: now.plus(30 * DAY),
                    absolute_expires_at: now.plus(90 * DAY),
                    authentication: session.authentication.clone(),
                    client: Client::default(),
                });
                let new_hash = given.records.hash();
                let rotation = Rotation { id, old_hash: read.token_hash, new_hash, now, reauthentication };
                answer(&store.rotate(&rotation).await.unwrap())
            }
            Self::Touch => match store.touch(&[LastSeen { id, at: now }], now).await.unwrap() {
                0 => {
                    let lives = store.find(id).await.unwrap().is_some_and(|found| found.session.is_live_at(now));
                    if lives { Answer::Late } else { Answer::Refused }
                }
                1 => Answer::Written,
                rows => panic!("touching one session changed {rows} rows"),
            },
            Self::SetLabel => {
                let label = Label::new("Kitchen").unwrap();
                answer(&store.set_label(id, &session.user, label.as_ref(), now).await.unwrap())
            }
            Self::SetAttributes => {
                let version = session.attributes_version;
                answer(&store.set_attributes(id, version, &attributes_n(1), now).await.unwrap())
            }
            Self::CreateAgain => {
                let mut again = read.clone();
                again.session.state = State::Live;
                match store.create(&again, now, None).await.unwrap() {
                    Created::Created { .. } => Answer::Written,
                    Created::LimitReached { .. } => panic!("a creation without a limit answered LimitReached"),
                    Created::Duplicate => Answer::Refused,
                }
            }
            Self::Settle => {
                store.settle(1, now).await.unwrap();
                Answer::Refused
            }
            Self::Sweep => {
                // Within the retention of what ended: the row stays, with its end.
                let sweep =
                    Sweep { expired_before: now.minus(HOUR), ended_before: now.minus(30 * DAY), ..SWEEP_NOTHING };
                store.sweep(&sweep).await.unwrap();
                let kept = store.find(id).await.unwrap().is_some();
                if kept { Answer::Refused } else { Answer::Written }
            }
        }
    }
}

fn answer<T>(write: &Write<T>) -> Answer {
    match write {
        Write::Done(_) => Answer::Written,
        Write::Conflict => Answer::Late,
        Write::Gone => Answer::Refused,
    }
}

/// The session is dead in the store as `read` shows it: found unchanged, in no list, and refused by every verb, also by those that
/// come from an older reading.
pub(crate) async fn assert_stays_dead(given: &Given, older: &Record, end: &Ended, now: Timestamp, context: &str) {
    let id = older.session.id;
    let found = given.found(id).await;
    assert_eq!(found.session.state, State::Ended(end.clone()), "{context}: how it ended");
    for read in [older, &found] {
        assert_refused(given, read, &found, now, context).await;
    }
}

/// Every verb refuses the session, which stays as `found`.
pub(crate) async fn assert_refused(given: &Given, read: &Record, found: &Record, now: Timestamp, context: &str) {
    let id = read.session.id;
    for attempt in Attempt::ALL {
        assert_eq!(attempt.run(given, read, now).await, Answer::Refused, "{context}: then {attempt:?}");
        assert_eq!(given.found(id).await, *found, "{context}: {attempt:?} left the row alone");
    }
    let head = given.head().await;
    let outcome = given.end(id, now, EndReason::SignedOut).await;
    assert_eq!((outcome.ended, outcome.position), (Some(0), 0), "{context}: ended only once");
    assert_eq!(given.head().await, head, "{context}: not logged a second time");
    let filter = hallpass_core::store::Filter { user: Some(read.session.user.clone()), ..Default::default() };
    let listed = given.list(&filter, 100, now).await;
    assert!(listed.iter().all(|session| session.id != id), "{context}: not listed among the living");
    assert_eq!(given.count(&filter, now).await, listed.len() as u64, "{context}: not counted among the living");
    assert_eq!(given.found(id).await, *found, "{context}: unchanged in the end");
    let kept = given.list(&everything(), 100, now).await;
    assert!(kept.contains(&found.session), "{context}: listed as found while it is kept");
    // Others of the target are refused as well when the one to keep is dead.
    let others = Target::Others { user: read.session.user.clone(), keep: id };
    let outcome = given.revoke(others, now, EndReason::RevokedOthers).await;
    assert_eq!((outcome.ended, outcome.position), (None, 0), "{context}: a dead session keeps nobody");
}
