//! Ending sessions.
//!
//! One session is one row. A user's or everybody's sessions are one mark, whatever their number: the log position *n* of the revocation. Each
//! row knows the newest position of its creation, its epoch, and is ended by any mark above it. [`settle`](crate::settle) writes the
//! end into the rows later and then removes the mark.

use hallpass_core::store::{ChangeKind, Revocation, RevokeOutcome, Target};
use hallpass_core::{Actor, EndReason, SessionId, Timestamp, UserId};
use rusqlite::{Connection, Error, OptionalExtension as _, params};

use crate::revocation_log::append;
use crate::row::{self, integer};
use crate::statements::{ANY_UNENDED, END, ENDED_BY_MARK, IS_LIVE_OF, MARK, RAISE_EPOCH, UNENDED};

/// What a row says about its end.
pub(crate) struct End<'a> {
    pub(crate) position: u64,
    pub(crate) at: Timestamp,
    pub(crate) by: &'a Actor,
    pub(crate) reason: EndReason,
}

/// A revocation that holds as soon as its transaction commits.
pub(crate) enum Effect {
    /// This is the whole answer.
    Known(RevokeOutcome),
    /// A mark at this position; how many sessions it ended is counted after the commit, so that the time to the effect does not grow
    /// with them.
    Marked(u64),
}

const NOTHING: Effect = Effect::Known(RevokeOutcome { ended: Some(0), position: 0 });

pub(crate) fn revoke(connection: &Connection, revocation: &Revocation) -> rusqlite::Result<Effect> {
    match &revocation.target {
        Target::Session { id, owner } => session(connection, *id, owner.as_ref(), revocation),
        Target::User(user) => {
            if !any_unended(connection, user, None)? {
                return Ok(NOTHING);
            }
            mark_user(connection, user, revocation).map(Effect::Marked)
        }
        Target::Others { user, keep } => {
            let bound = params![keep.as_bytes().as_slice(), revocation.now.as_millis(), user.as_str()];
            if !connection.prepare_cached(IS_LIVE_OF)?.exists(bound)? {
                return Ok(Effect::Known(RevokeOutcome { ended: None, position: 0 }));
            }
            if !any_unended(connection, user, Some(*keep))? {
                return Ok(NOTHING);
            }
            let n = mark_user(connection, user, revocation)?;
            connection.prepare_cached(RAISE_EPOCH)?.execute(params![keep.as_bytes().as_slice(), integer(n)])?;
            Ok(Effect::Marked(n))
        }
        Target::Everyone => {
            let n = append(connection, &ChangeKind::Everyone, revocation.now)?;
            mark(connection, n, "", revocation)?;
            Ok(Effect::Known(RevokeOutcome { ended: None, position: n }))
        }
        _ => Err(Error::InvalidQuery),
    }
}

fn session(
    connection: &Connection,
    id: SessionId,
    owner: Option<&UserId>,
    revocation: &Revocation,
) -> rusqlite::Result<Effect> {
    let bound = params![id.as_bytes().as_slice(), revocation.now.as_millis(), owner.map(UserId::as_str)];
    let live: Option<bool> = connection.prepare_cached(UNENDED)?.query_row(bound, |row| row.get(0)).optional()?;
    let Some(live) = live else {
        return Ok(NOTHING);
    };
    let position = append(connection, &ChangeKind::Ended(id), revocation.now)?;
    end_session(connection, id, &End { position, at: revocation.now, by: &revocation.by, reason: revocation.reason })?;
    Ok(Effect::Known(RevokeOutcome { ended: Some(u64::from(live)), position }))
}

/// Writes the end into a session that has not ended.
pub(crate) fn end_session(connection: &Connection, id: SessionId, end: &End<'_>) -> rusqlite::Result<()> {
    let bound = params![
        id.as_bytes().as_slice(),
        end.at.as_millis(),
        integer(end.position),
        end.by.kind.as_str(),
        end.by.name,
        end.reason.as_str()
    ];
    connection.prepare_cached(END)?.execute(bound).map(drop)
}

fn any_unended(connection: &Connection, user: &UserId, except: Option<SessionId>) -> rusqlite::Result<bool> {
    let except = except.as_ref().map(|id| id.as_bytes().as_slice());
    connection.prepare_cached(ANY_UNENDED)?.exists(params![user.as_str(), except])
}

fn mark_user(connection: &Connection, user: &UserId, revocation: &Revocation) -> rusqlite::Result<u64> {
    let n = append(connection, &ChangeKind::User(user.clone()), revocation.now)?;
    mark(connection, n, user.as_str(), revocation)?;
    Ok(n)
}

fn mark(connection: &Connection, n: u64, user: &str, revocation: &Revocation) -> rusqlite::Result<()> {
    let Revocation { now, by, reason, .. } = revocation;
    let bound = params![integer(n), user, now.as_millis(), by.kind.as_str(), by.name, reason.as_str()];
    connection.prepare_cached(MARK)?.execute(bound).map(drop)
}

/// How many sessions of the user the mark at `position` ended. Its cost grows with the user's sessions.
pub(crate) fn count_ended(
    connection: &Connection,
    user: &UserId,
    position: u64,
    now: Timestamp,
) -> rusqlite::Result<u64> {
    let bound = params![user.as_str(), now.as_millis(), integer(position)];
    connection.prepare_cached(ENDED_BY_MARK)?.query_row(bound, |row| row::position(row, 0))
}

#[cfg(test)]
mod tests {
    use hallpass_core::store::Record;
    use hallpass_core::{Attributes, Class, Client, OsEntropy, Session, State, TokenHash};

    use super::*;
    use crate::failure::Failures;
    use crate::{create, migrations, settle};

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn created(connection: &Connection, user: &UserId, idle_expires_at: Timestamp) {
        let session = Session {
            id: SessionId::generate(user, NOW, &OsEntropy).unwrap(),
            user: user.clone(),
            class: Class::WEB,
            created_at: NOW,
            authenticated_at: NOW,
            renewed_at: NOW,
            last_seen_at: NOW,
            idle_expires_at,
            absolute_expires_at: Timestamp::NEVER,
            client: Client::default(),
            label: None,
            authentication: std::sync::Arc::default(),
            attributes: Attributes::default(),
            attributes_version: 0,
            state: State::Live,
        };
        let new = Record { session, token_hash: TokenHash::from_bytes([7; 32]) };
        create::create(connection, &new, NOW, None).unwrap();
    }

    #[test]
    fn the_count_is_the_same_before_during_and_after_settling() {
        let connection = Connection::open_in_memory().unwrap();
        migrations::migrate(&connection, &Failures::in_memory()).unwrap();
        let (alice, bob) = (UserId::new("alice").unwrap(), UserId::new("bob").unwrap());
        let revoked = |now| {
            let (target, by) = (Target::User(alice.clone()), Actor::operator("root"));
            let revocation = Revocation { target, now, by, reason: EndReason::RevokedUser };
            match revoke(&connection, &revocation).unwrap() {
                Effect::Marked(position) => position,
                Effect::Known(outcome) => panic!("{outcome:?}"),
            }
        };
        let later = Timestamp::from_millis(2_000_000);
        for expires in [later, Timestamp::NEVER, Timestamp::NEVER, Timestamp::NEVER] {
            created(&connection, &alice, expires);
            created(&connection, &bob, expires);
        }
        let first = revoked(later);
        created(&connection, &alice, Timestamp::NEVER);
        let second = revoked(later);
        let counts = || [first, second].map(|n| count_ended(&connection, &alice, n, later).unwrap());
        assert_eq!(counts(), [3, 1], "one had expired");
        let mut steps = 0;
        while settle::settle(&connection, 1).unwrap().more {
            assert_eq!(counts(), [3, 1]);
            steps += 1;
        }
        assert!(steps >= 4);
        assert_eq!(counts(), [3, 1]);
    }
}
