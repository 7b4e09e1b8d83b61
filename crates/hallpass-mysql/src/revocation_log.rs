//! The revocation log: a counter and its entries. The counter's row is locked from taking a position to the commit, so positions are in commit
//! order and an undone transaction leaves no gap.

use hallpass_core::store::{Change, ChangeKind, Changes};
use hallpass_core::{Entropy as _, OsEntropy, SessionId, Timestamp, UserId};
use mysql_async::Value;

use crate::connection::Connection;
use crate::failure::Fault;
use crate::row::{self, Columns, number, text, time};
use crate::statements::{CHANGES, LOG, LOG_CHANGED, NEXT_POSITIONS, RETURN_POSITIONS};
use crate::work::Read;

/// The most entries of one answer.
const MAX_ENTRIES: u32 = 10_000;

/// Takes the next position. From here to the commit no other revocation, and no creation, gets past the counter.
pub(crate) async fn next_position(connection: &mut Connection) -> Result<u64, Fault> {
    next_positions(connection, 1).await
}

/// Takes the next positions, so many; the first of them.
pub(crate) async fn next_positions(connection: &mut Connection, count: u64) -> Result<u64, Fault> {
    if connection.write(NEXT_POSITIONS, vec![number(count)]).await? != 1 {
        return Err(Fault::Unreadable("hallpass_counter.n"));
    }
    let before = connection.answered().checked_sub(count).ok_or(Fault::Unreadable("hallpass_counter.n"))?;
    Ok(before + 1)
}

/// Puts the positions that this transaction took last back, so many, not logged.
pub(crate) async fn return_positions(connection: &mut Connection, count: u64) -> Result<(), Fault> {
    connection.write(RETURN_POSITIONS, vec![number(count)]).await.map(drop)
}

/// Writes the entry of a position that this transaction took.
pub(crate) async fn log(
    connection: &mut Connection,
    position: u64,
    kind: &ChangeKind,
    at: Timestamp,
) -> Result<(), Fault> {
    let (name, session, user) = match kind {
        ChangeKind::Ended(id) => ("ended", row::id(*id), Value::NULL),
        ChangeKind::Changed(id) => ("changed", row::id(*id), Value::NULL),
        ChangeKind::User(user) => ("user", Value::NULL, text(user.as_str())),
        ChangeKind::Everyone => ("everyone", Value::NULL, Value::NULL),
        other => return Err(Fault::Other(format!("this store cannot log {other:?}; use a newer one"))),
    };
    let values = vec![number(position), text(name), session, user, nonce()?.as_slice().into(), time(at)];
    connection.write(LOG, values).await.map(drop)
}

/// Logs that what is cached of a session is out of date. False, and nothing is logged, when a mark came first: then the transaction is to be
/// rolled back.
pub(crate) async fn append_changed(connection: &mut Connection, id: SessionId, at: Timestamp) -> Result<bool, Fault> {
    let position = next_position(connection).await?;
    let values = vec![number(position), nonce()?.as_slice().into(), time(at), row::id(id)];
    Ok(connection.write(LOG_CHANGED, values).await? > 0)
}

/// Tells an entry from another one at its position.
pub(crate) fn nonce() -> Result<[u8; 8], Fault> {
    let mut nonce = [0; 8];
    OsEntropy.fill(&mut nonce).map_err(|error| Fault::Other(error.to_string()))?;
    Ok(nonce)
}

/// The log after a position.
pub(crate) struct ChangesSince {
    pub(crate) position: u64,
    pub(crate) limit: u32,
}

impl Read for ChangesSince {
    type Answer = Changes;

    async fn run(&self, connection: &mut Connection) -> Result<Changes, Fault> {
        // No position is beyond what the column holds.
        let after = self.position.min(i64::MAX as u64);
        let limit = u64::from(self.limit.min(MAX_ENTRIES));
        let mut rows = connection.rows(CHANGES, vec![number(after), number(limit)]).await?;
        let first = rows.first_mut().ok_or(Fault::Unreadable("hallpass_counter.one"))?;
        let mut changes = Changes {
            incarnation: first.array(0, "hallpass_counter.incarnation")?,
            head: first.count(1, "hallpass_counter.n")?,
            oldest: first.count(2, "hallpass_revocations.n")?,
            entries: Vec::new(),
        };
        for columns in &mut rows {
            changes.entries.extend(entry(columns)?);
        }
        Ok(changes)
    }
}

fn entry(columns: &mut Columns) -> Result<Option<Change>, Fault> {
    let Some(position) = columns.optional_integer(3, "hallpass_revocations.n")? else {
        return Ok(None);
    };
    let kind = match columns.text(4, "hallpass_revocations.kind")?.as_str() {
        "ended" => ChangeKind::Ended(SessionId::from_bytes(columns.array(5, "hallpass_revocations.session_id")?)),
        "changed" => ChangeKind::Changed(SessionId::from_bytes(columns.array(5, "hallpass_revocations.session_id")?)),
        "user" => ChangeKind::User(columns.parse(6, "hallpass_revocations.user_id", |text| UserId::new(text).ok())?),
        "everyone" => ChangeKind::Everyone,
        _ => return Err(Fault::Unreadable("hallpass_revocations.kind")),
    };
    let position = u64::try_from(position).map_err(|_| Fault::Unreadable("hallpass_revocations.n"))?;
    Ok(Some(Change { position, kind, at: columns.time(7, "hallpass_revocations.at")? }))
}
