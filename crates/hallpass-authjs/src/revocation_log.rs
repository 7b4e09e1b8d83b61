//! The revocation log: a counter and its entries. The counter's row is locked from the beginning of each write to its commit, so positions are in commit
//! order and an undone transaction leaves no gap.
//!
//! Nobody answers checks from memory by this log, since the application ends sessions without an entry in it. It is there for whoever wants to know what hallpass
//! ended, and for the contract.

use async_trait::async_trait;
use hallpass_core::store::{Change, ChangeKind, Changes};
use hallpass_core::{StoreError, Timestamp, UserId};

use crate::connection::{Columns, Connection, Fault, Value};
use crate::pool::Read;
use crate::row::{id, number, time};
use crate::table::Table;

/// The most entries of one answer.
const MAX_ENTRIES: u32 = 10_000;

pub(crate) async fn append(
    table: &Table,
    connection: &mut dyn Connection,
    position: u64,
    kind: &ChangeKind,
    at: Timestamp,
) -> Result<(), Fault> {
    let (name, session, user) = match kind {
        ChangeKind::Ended(session) => ("ended", id(*session), Value::Null),
        ChangeKind::Changed(session) => ("changed", id(*session), Value::Null),
        ChangeKind::User(user) => ("user", Value::Null, user.as_str().into()),
        ChangeKind::Everyone => ("everyone", Value::Null, Value::Null),
        other => {
            return Err(StoreError::unavailable(format!("this store cannot log {other:?}; use a newer one")).into());
        }
    };
    table
        .write(
            connection,
            "INSERT INTO hp.revocations (position, kind, session_id, user_id, at) VALUES (?, ?, ?, ?, ?)",
            &[number(position), name.into(), session, user, time(at)],
        )
        .await?;
    table.write(connection, "UPDATE hp.counter SET position = ? WHERE one = 1", &[number(position)]).await.map(drop)
}

/// The log after a position.
pub(crate) struct ChangesSince<'a> {
    pub(crate) table: &'a Table,
    pub(crate) position: u64,
    pub(crate) limit: u32,
}

#[async_trait]
impl Read for ChangesSince<'_> {
    type Answer = Changes;

    async fn run(&self, connection: &mut dyn Connection) -> Result<Changes, Fault> {
        // One statement, so that head, oldest and entries are of one moment.
        let sql = self.table.sql(
            "SELECT c.incarnation, c.position, COALESCE((SELECT MIN(position) FROM hp.revocations), c.position + 1), \
             r.position, r.kind, r.session_id, r.user_id, r.at FROM hp.counter c LEFT JOIN \
             (SELECT position, kind, session_id, user_id, at FROM hp.revocations WHERE position > ? ORDER BY position LIMIT ?) r \
             ON c.one = 1 ORDER BY r.position",
        );
        let values = [number(self.position), i64::from(self.limit.min(MAX_ENTRIES)).into()];
        let rows = connection.rows(&sql, &values).await?;
        let first = rows.first().ok_or(Fault::Unreadable("incarnation"))?;
        Ok(Changes {
            incarnation: first.parse(0, "incarnation", incarnation)?,
            head: first.count(1, "position")?,
            oldest: first.count(2, "position")?,
            entries: rows.iter().filter_map(|columns| entry(columns).transpose()).collect::<Result<_, _>>()?,
        })
    }
}

fn incarnation(text: &str) -> Option<[u8; 16]> {
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}

fn entry(columns: &Columns) -> Result<Option<Change>, Fault> {
    let Some(position) = columns.optional_integer(3, "position")? else {
        return Ok(None);
    };
    let session = || columns.parse(5, "session_id", |text| text.parse().ok());
    let kind = match columns.text(4, "kind")? {
        "ended" => ChangeKind::Ended(session()?),
        "changed" => ChangeKind::Changed(session()?),
        "user" => ChangeKind::User(columns.parse(6, "user_id", |text| UserId::new(text).ok())?),
        "everyone" => ChangeKind::Everyone,
        _ => return Err(Fault::Unreadable("kind")),
    };
    let position = u64::try_from(position).map_err(|_| Fault::Unreadable("position"))?;
    Ok(Some(Change { position, kind, at: Timestamp::from_millis(columns.integer(7, "at")?) }))
}
