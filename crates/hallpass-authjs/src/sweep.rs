//! Removing dead rows, on both sides.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use hallpass_core::store::{Sweep, Swept};
use hallpass_core::{SessionId, Timestamp};

use crate::connection::{Connection, Fault, Value};
use crate::pool::{Ending, Read, Transaction};
use crate::revoke::said;
use crate::row::{ended_there, id, time};
use crate::table::{BOTH, Table};

/// Up to where our rows were compared with the application's: they go round and round, a part at each step.
#[derive(Debug, Default)]
pub(crate) struct Reached(Mutex<Option<SessionId>>);

/// One step: one commit.
pub(crate) struct Step<'a> {
    pub(crate) table: &'a Table,
    pub(crate) sweep: &'a Sweep,
    pub(crate) reached: &'a Reached,
}

/// The application's rows that have expired, the oldest first, so many. Twice selected, since MySQL deletes from no table that it reads beside.
const EXPIRED: &str =
    "SELECT {token} FROM (SELECT {token} FROM {shared} WHERE {expired} ORDER BY {raw_expires} LIMIT ?) dead";
/// Ours that have passed their absolute deadline.
const LIMITED: &str = "SELECT id, session_token FROM hp.sessions WHERE ended_at IS NULL AND absolute_expires_at <= ? \
     ORDER BY absolute_expires_at LIMIT ?";
const ENDED: &str = "SELECT id FROM (SELECT id FROM hp.sessions WHERE ended_at <= ? ORDER BY ended_at LIMIT ?) dead";

#[async_trait]
impl Transaction for Step<'_> {
    type Answer = Swept;

    async fn run(&self, connection: &mut dyn Connection) -> Result<Ending<Swept>, Fault> {
        let Self { table, sweep, .. } = *self;
        table.turn(connection).await?;
        let mut left = u64::from(sweep.batch.max(1));
        let mut swept = Swept { expired: self.expired(connection, left).await?, ..Swept::default() };
        left -= swept.expired.min(left);
        if left > 0 {
            let limited = self.limited(connection, left).await?;
            swept.expired += limited;
            left -= limited.min(left);
        }
        if left > 0 {
            let sql = format!("DELETE FROM hp.sessions WHERE id IN ({ENDED})");
            let values = [time(sweep.ended_before), Value::Integer(i64::try_from(left).unwrap_or(i64::MAX))];
            swept.ended = table.write(connection, &sql, &values).await?;
            left -= swept.ended.min(left);
        }
        if left > 0 {
            left -= self.log(connection, left).await?.min(left);
        }
        swept.more = left == 0;
        if left > 0 {
            self.ended_there(connection).await?;
        }
        Ok(Ending::Commit(swept))
    }
}

impl Step<'_> {
    /// The application's rows go whether hallpass knew them or not; what it had made meanwhile, or extended, stays.
    async fn expired(&self, connection: &mut dyn Connection, batch: u64) -> Result<u64, Fault> {
        let (table, bound) = (self.table, self.table.dialect.bound(self.sweep.expired_before));
        let batch = Value::Integer(i64::try_from(batch).unwrap_or(i64::MAX));
        let ours = format!("DELETE FROM hp.sessions WHERE session_token IN ({EXPIRED})");
        table.write(connection, &ours, &[bound.clone(), batch.clone()]).await?;
        let theirs = format!("DELETE FROM {{shared}} WHERE {{token}} IN ({EXPIRED}) AND {{expired}}");
        table.write(connection, &theirs, &[bound.clone(), batch, bound]).await
    }

    /// Sessions past their absolute timeout: the application goes on extending them until their row is gone.
    async fn limited(&self, connection: &mut dyn Connection, batch: u64) -> Result<u64, Fault> {
        let table = self.table;
        let values = [time(self.sweep.expired_before), Value::Integer(i64::try_from(batch).unwrap_or(i64::MAX))];
        let rows = connection.rows(&table.sql(LIMITED), &values).await?;
        for columns in &rows {
            if let Some(key) = columns.optional_text(1, "session_token")? {
                table.write(connection, "DELETE FROM {shared} WHERE {token} = ?", &[key.into()]).await?;
            }
            table.write(connection, "DELETE FROM hp.sessions WHERE id = ?", &[columns.text(0, "id")?.into()]).await?;
        }
        Ok(rows.len() as u64)
    }

    /// The log from its beginning alone, so that it has no gap inside. How many entries.
    async fn log(&self, connection: &mut dyn Connection, batch: u64) -> Result<u64, Fault> {
        let sql = "SELECT MIN(position), (SELECT MIN(position) FROM hp.revocations WHERE at > ?), MAX(position) FROM hp.revocations";
        let rows = connection.rows(&self.table.sql(sql), &[time(self.sweep.log_before)]).await?;
        let Some(columns) = rows.first() else { return Ok(0) };
        let Some(oldest) = columns.optional_integer(0, "position")? else { return Ok(0) };
        let newest = columns.integer(2, "position")?;
        let kept = columns.optional_integer(1, "position")?.unwrap_or(newest + 1);
        let until = kept.min(oldest.saturating_add(i64::try_from(batch).unwrap_or(i64::MAX)));
        if until <= oldest {
            return Ok(0);
        }
        let delete = "DELETE FROM hp.revocations WHERE position < ?";
        self.table.write(connection, delete, &[Value::Integer(until)]).await
    }

    /// Gives those an end that the application has ended: their users signed out there, or are gone.
    async fn ended_there(&self, connection: &mut dyn Connection) -> Result<(), Fault> {
        let table = self.table;
        let after = *self.reached.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sql = format!(
            "SELECT h.id, CASE WHEN {{token}} IS NULL THEN 1 ELSE 0 END {BOTH} \
             WHERE h.ended_at IS NULL AND h.id > ? ORDER BY h.id LIMIT ?"
        );
        let batch = self.sweep.batch.max(1);
        let values = [after.map_or(Value::from(""), id), Value::Integer(batch.into())];
        let rows = connection.rows(&table.sql(&sql), &values).await?;
        // A moment that this step knows; the end itself was some time before.
        let end = said(&ended_there(self.sweep.expired_before));
        for columns in &rows {
            if columns.integer(1, "sessionToken")? == 1 {
                let sql = "UPDATE hp.sessions SET ended_at = ?, ended_by_kind = ?, ended_by = ?, ended_reason = ?, \
                     session_token = NULL WHERE id = ?";
                let mut values = end.to_vec();
                values.push(columns.text(0, "id")?.into());
                table.write(connection, sql, &values).await?;
            }
        }
        let is_whole = rows.len() == batch as usize;
        let last = rows.last().map(|columns| columns.parse(0, "id", |text| text.parse().ok())).transpose()?;
        *self.reached.0.lock().unwrap_or_else(PoisonError::into_inner) = last.filter(|_| is_whole);
        Ok(())
    }
}

/// How many rows sweeping would remove.
pub(crate) struct Sweepable<'a> {
    pub(crate) table: &'a Table,
    pub(crate) sweep: &'a Sweep,
}

#[async_trait]
impl Read for Sweepable<'_> {
    type Answer = u64;

    async fn run(&self, connection: &mut dyn Connection) -> Result<u64, Fault> {
        let before: Timestamp = self.sweep.expired_before;
        let sql = self.table.sql(
            "SELECT (SELECT COUNT(*) FROM {shared} WHERE {expired}) + (SELECT COUNT(*) FROM hp.sessions WHERE ended_at <= ?) \
             + (SELECT COUNT(*) FROM hp.sessions h JOIN {shared} ON {token} = h.session_token \
                WHERE h.ended_at IS NULL AND h.absolute_expires_at <= ? AND NOT ({expired}))",
        );
        let bound = self.table.dialect.bound(before);
        let values = [bound.clone(), time(self.sweep.ended_before), time(before), bound];
        let rows = connection.rows(&sql, &values).await?;
        rows.first().ok_or(Fault::Unreadable("count"))?.count(0, "count")
    }
}
