//! The revocation log: a counter and its entries, in commit order because there is one writer at a time.

use hallpass_core::store::{Change, ChangeKind, Changes};
use hallpass_core::{SessionId, Timestamp, UserId};
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, Error, Row, TransactionBehavior, params};

use crate::row::{self, integer};
use crate::statements::{LOG, LOG_ENTRIES, LOG_HEAD, NEXT_POSITION};

/// The most entries of one answer.
const MAX_ENTRIES: u32 = 10_000;

/// Takes the next position and writes its entry, inside the writer's transaction.
pub(crate) fn append(connection: &Connection, kind: &ChangeKind, at: Timestamp) -> rusqlite::Result<u64> {
    let n = connection.prepare_cached(NEXT_POSITION)?.query_row([], |row| row::position(row, 0))?;
    let (name, session, user): (_, Option<&[u8]>, Option<&str>) = match kind {
        ChangeKind::Ended(id) => ("ended", Some(id.as_bytes()), None),
        ChangeKind::Changed(id) => ("changed", Some(id.as_bytes()), None),
        ChangeKind::User(user) => ("user", None, Some(user.as_str())),
        ChangeKind::Everyone => ("everyone", None, None),
        _ => return Err(Error::InvalidQuery),
    };
    connection.prepare_cached(LOG)?.execute(params![integer(n), name, session, user, at.as_millis()])?;
    Ok(n)
}

/// The log after `position`, from one snapshot.
pub(crate) fn changes_since(connection: &Connection, position: u64, limit: u32) -> rusqlite::Result<Changes> {
    let snapshot = rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
    let mut changes = snapshot.prepare_cached(LOG_HEAD)?.query_row([], |row| {
        Ok(Changes {
            incarnation: row.get(0)?,
            head: row::position(row, 1)?,
            oldest: row::position(row, 2)?,
            entries: Vec::new(),
        })
    })?;
    let mut entries = snapshot.prepare_cached(LOG_ENTRIES)?;
    let rows = entries.query_map(params![integer(position), limit.min(MAX_ENTRIES)], entry)?;
    changes.entries = rows.collect::<Result<_, _>>()?;
    Ok(changes)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Change> {
    let session = || row::id(row, 2);
    let user = || row::parse(row, 3, |text| UserId::new(text).ok());
    let kind = match row.get_ref(1)?.as_str() {
        Ok("ended") => ChangeKind::Ended(session()?),
        Ok("changed") => ChangeKind::Changed(session()?),
        Ok("user") => ChangeKind::User(user()?),
        Ok("everyone") => ChangeKind::Everyone,
        _ => return Err(Error::FromSqlConversionFailure(1, Type::Text, Box::new(FromSqlError::InvalidType))),
    };
    Ok(Change { position: row::position(row, 0)?, kind, at: Timestamp::from_millis(row.get(4)?) })
}

/// Logs that what is cached of a session is out of date.
pub(crate) fn append_changed(connection: &Connection, id: SessionId, at: Timestamp) -> rusqlite::Result<u64> {
    append(connection, &ChangeKind::Changed(id), at)
}
