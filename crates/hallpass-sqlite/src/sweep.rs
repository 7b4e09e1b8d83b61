//! Removing dead rows, one bounded step at a time, oldest first through the index of each kind.

use hallpass_core::store::{Sweep, Swept};
use rusqlite::{Connection, params};

use crate::row;
use crate::settle::settle;
use crate::statements::{OLDEST_ENTRIES, SWEEP_ENDED, SWEEP_EXPIRED, SWEEP_LOG, SWEEPABLE};

/// Removes at most `batch` rows. Rows behind a mark are settled first, as many again at most: one that was revoked and has expired since
/// is history to keep, not an expired session.
pub(crate) fn sweep(connection: &Connection, sweep: &Sweep) -> rusqlite::Result<Swept> {
    let mut left = u64::from(sweep.batch.max(1));
    let settled = settle(connection, sweep.batch)?;
    let mut swept = Swept { expired: 0, ended: 0, more: settled.more };
    if !settled.more {
        swept.expired = remove(connection, SWEEP_EXPIRED, sweep.expired_before.as_millis(), left)?;
        left -= swept.expired.min(left);
    }
    swept.ended = remove(connection, SWEEP_ENDED, sweep.ended_before.as_millis(), left)?;
    left -= swept.ended.min(left);
    left -= trim_log(connection, sweep.log_before.as_millis(), left)?.min(left);
    swept.more |= left == 0;
    Ok(swept)
}

fn remove(connection: &Connection, sql: &str, before: i64, limit: u64) -> rusqlite::Result<u64> {
    if limit == 0 {
        return Ok(0);
    }
    Ok(connection.prepare_cached(sql)?.execute(params![before, row::integer(limit)])? as u64)
}

/// Cuts the beginning of the log up to the first entry that is to stay, so that it never has a gap.
fn trim_log(connection: &Connection, before: i64, limit: u64) -> rusqlite::Result<u64> {
    if limit == 0 {
        return Ok(0);
    }
    let mut last = None;
    {
        let mut statement = connection.prepare_cached(OLDEST_ENTRIES)?;
        let mut rows = statement.query([row::integer(limit)])?;
        while let Some(row) = rows.next()? {
            let (n, at): (i64, i64) = (row.get(0)?, row.get(1)?);
            if at > before {
                break;
            }
            last = Some(n);
        }
    }
    match last {
        Some(n) => Ok(connection.prepare_cached(SWEEP_LOG)?.execute([n])? as u64),
        None => Ok(0),
    }
}

/// How many sessions a sweep would remove now; rows behind a mark count once they are settled.
pub(crate) fn sweepable(connection: &Connection, sweep: &Sweep) -> rusqlite::Result<u64> {
    let bound = params![sweep.expired_before.as_millis(), sweep.ended_before.as_millis()];
    connection.prepare_cached(SWEEPABLE)?.query_row(bound, |row| row::position(row, 0))
}
