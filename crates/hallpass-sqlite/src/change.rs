//! Conditional writes to one live session. None of them can make or revive one.

use hallpass_core::store::{LastSeen, Renewal, Renewed, Rotation, Write};
use hallpass_core::{Attributes, Label, SessionId, Timestamp, UserId};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::revocation_log::append_changed;
use crate::row::{self, integer};
use crate::sign_in_text;
use crate::statements::{IS_LIVE, REAUTHENTICATE, RENEW, ROTATE, SET_ATTRIBUTES, SET_LABEL, TOUCH};

pub(crate) fn renew(connection: &Connection, renewal: &Renewal) -> rusqlite::Result<Renewed> {
    let bound = params![
        renewal.id.as_bytes().as_slice(),
        renewal.now.as_millis(),
        renewal.idle_expires_at.as_millis(),
        renewal.token_hash.as_bytes().as_slice(),
        renewal.due_before.as_millis()
    ];
    let stored = connection.prepare_cached(RENEW)?.query_row(bound, |row| row.get(0)).optional()?;
    Ok(match stored {
        Some(millis) => Renewed::Renewed { idle_expires_at: Timestamp::from_millis(millis) },
        None if is_live(connection, renewal.id, renewal.now)? => Renewed::NotDue,
        None => Renewed::Gone,
    })
}

pub(crate) fn rotate(connection: &Connection, rotation: &Rotation) -> rusqlite::Result<Write<()>> {
    let (id, now) = (rotation.id.as_bytes().as_slice(), rotation.now.as_millis());
    let (new, old) = (rotation.new_hash.as_bytes().as_slice(), rotation.old_hash.as_bytes().as_slice());
    let changed = match &rotation.reauthentication {
        None => connection.prepare_cached(ROTATE)?.execute(params![id, now, new, old])?,
        Some(fresh) => connection.prepare_cached(REAUTHENTICATE)?.execute(params![
            id,
            now,
            new,
            old,
            fresh.idle_expires_at.as_millis(),
            fresh.absolute_expires_at.as_millis(),
            sign_in_text::write(&fresh.client, &fresh.authentication),
        ])?,
    };
    if changed == 0 {
        return gone_or_conflict(connection, rotation.id, rotation.now);
    }
    append_changed(connection, rotation.id, rotation.now)?;
    Ok(Write::Done(()))
}

pub(crate) fn set_label(
    connection: &Connection,
    id: SessionId,
    owner: &UserId,
    label: Option<&Label>,
    now: Timestamp,
) -> rusqlite::Result<Write<()>> {
    let bound = params![id.as_bytes().as_slice(), now.as_millis(), owner.as_str(), label.map(Label::as_str)];
    if connection.prepare_cached(SET_LABEL)?.execute(bound)? == 0 {
        return Ok(Write::Gone);
    }
    append_changed(connection, id, now)?;
    Ok(Write::Done(()))
}

pub(crate) fn set_attributes(
    connection: &Connection,
    id: SessionId,
    expected: u64,
    attributes: &Attributes,
    now: Timestamp,
) -> rusqlite::Result<Write<u64>> {
    let bound = params![id.as_bytes().as_slice(), now.as_millis(), integer(expected), attributes.to_json()];
    let version =
        connection.prepare_cached(SET_ATTRIBUTES)?.query_row(bound, |row| row::position(row, 0)).optional()?;
    let Some(version) = version else {
        return gone_or_conflict(connection, id, now);
    };
    append_changed(connection, id, now)?;
    Ok(Write::Done(version))
}

pub(crate) fn touch(connection: &Connection, seen: &[LastSeen], now: Timestamp) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(TOUCH)?;
    let mut changed = 0;
    for LastSeen { id, at } in seen {
        changed += statement.execute(params![id.as_bytes().as_slice(), now.as_millis(), at.as_millis()])? as u64;
    }
    Ok(changed)
}

fn gone_or_conflict<T>(connection: &Connection, id: SessionId, now: Timestamp) -> rusqlite::Result<Write<T>> {
    Ok(if is_live(connection, id, now)? { Write::Conflict } else { Write::Gone })
}

fn is_live(connection: &Connection, id: SessionId, now: Timestamp) -> rusqlite::Result<bool> {
    connection.prepare_cached(IS_LIVE)?.exists(params![id.as_bytes().as_slice(), now.as_millis()])
}
