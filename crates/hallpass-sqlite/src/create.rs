//! New sessions, within their limit.

use hallpass_core::store::{ChangeKind, Created, Limit, Record};
use hallpass_core::{Actor, EndReason, Session, SessionId, Timestamp};
use rusqlite::{Connection, params};

use crate::revocation_log;
use crate::revoke::{End, end_session};
use crate::row::{self, integer};
use crate::sign_in_text;
use crate::statements::{EXISTS, INSERT, LIMITED};

/// Inside the writer's transaction: the limit holds under concurrent creations because there is one writer at a time (G10).
pub(crate) fn create(
    connection: &Connection,
    new: &Record,
    now: Timestamp,
    limit: Option<Limit>,
) -> rusqlite::Result<Created> {
    if connection.prepare_cached(EXISTS)?.exists([new.session.id.as_bytes().as_slice()])? {
        return Ok(Created::Duplicate);
    }
    let mut evicted = Vec::new();
    if let Some(limit) = limit {
        evicted = counted(connection, &new.session, now, limit)?;
        let live = evicted.len();
        let max = usize::try_from(limit.max.max(1)).unwrap_or(usize::MAX);
        if live >= max && limit.refuse {
            return Ok(Created::LimitReached { live: u32::try_from(live).unwrap_or(u32::MAX) });
        }
        evicted.truncate((live + 1).saturating_sub(max));
        for id in &evicted {
            evict(connection, *id, now)?;
        }
    }
    insert(connection, new)?;
    Ok(Created::Created { evicted })
}

fn counted(connection: &Connection, new: &Session, now: Timestamp, limit: Limit) -> rusqlite::Result<Vec<SessionId>> {
    let mut statement = connection.prepare_cached(LIMITED)?;
    let bound = params![
        new.user.as_str(),
        now.as_millis(),
        new.class.as_str(),
        limit.renewed_after.as_millis(),
        limit.authenticated_after.as_millis()
    ];
    let rows = statement.query_map(bound, |row| row::id(row, 0))?;
    rows.collect()
}

fn evict(connection: &Connection, id: SessionId, now: Timestamp) -> rusqlite::Result<()> {
    let position = revocation_log::append(connection, &ChangeKind::Ended(id), now)?;
    let by = Actor::system("max_per_user");
    let end = End { position, at: now, by: &by, reason: EndReason::Limit };
    end_session(connection, id, &end)
}

fn insert(connection: &Connection, new: &Record) -> rusqlite::Result<()> {
    let Record { session, token_hash } = new;
    let columns = params![
        session.id.as_bytes().as_slice(),
        token_hash.as_bytes().as_slice(),
        session.user.as_str(),
        session.class.as_str(),
        session.created_at.as_millis(),
        session.authenticated_at.as_millis(),
        session.renewed_at.as_millis(),
        session.last_seen_at.as_millis(),
        session.idle_expires_at.as_millis(),
        session.absolute_expires_at.as_millis(),
        session.label.as_ref().map(|label| label.as_str()),
        sign_in_text::write(&session.client, &session.authentication),
        integer(session.attributes_version),
        session.attributes.to_json(),
        row::key(session.id),
    ];
    connection.prepare_cached(INSERT)?.execute(columns).map(drop)
}
