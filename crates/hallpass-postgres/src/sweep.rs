//! Removing dead rows, one bounded step at a time, oldest first through the index of each kind. Each kind is a commit of its own, and several
//! sweepers at once take different rows.
//!
//! # Where a sweep goes on
//!
//! The entries of rows that were removed stay in an index until a vacuum has been there. A step that began with the oldest would pass over all that the steps
//! before it left behind: a million rows took five times as long. So a step goes on where the one before it ended, and looks at
//! everything from the beginning before it says that there is no more.

use std::sync::atomic::{AtomicI64, Ordering};

use hallpass_core::store::{Sweep, Swept};
use tokio::time::Instant;

use crate::database::Database;
use crate::failure::Failure;
use crate::row::Reader;
use crate::series::{Bounds, longest};
use crate::session::{Durability, Step};
use crate::settle::settle;
use crate::statements::{SWEEP_ENDED, SWEEP_EXPIRED, SWEEP_LOG, SWEEPABLE};
use crate::value::Value;

/// How often one step looks for expired rows again because those that it found were only renewed: the rest is for the next step.
const LOOKS: u32 = 8;

const BEGINNING: i64 = i64::MIN;

/// Where the last step ended with rows of each kind.
#[derive(Debug, Default)]
pub(crate) struct Places {
    expired: Reached,
    ended: Reached,
}

/// The time at which the rows were due, or ended, at which the last step ended.
#[derive(Debug)]
struct Reached(AtomicI64);

impl Reached {
    /// Where to go on, for a step up to that time.
    fn before(&self, time: i64) -> i64 {
        Some(self.0.load(Ordering::Relaxed)).filter(|from| *from <= time).unwrap_or(BEGINNING)
    }

    fn ended_at(&self, time: i64) {
        self.0.store(time, Ordering::Relaxed);
    }
}

impl Default for Reached {
    fn default() -> Self {
        Self(AtomicI64::new(BEGINNING))
    }
}

/// Rows in one commit of a series. Fewer make it slower, and more are felt by the checks: [`series`](crate::series).
const ROWS: u32 = 200;

/// Removes at most `batch` rows in a commit, and in one commit, or in a series of many and then in one. Rows behind a mark are settled first, as many
/// again at most: one that was revoked and has expired since is history to keep, not an expired session.
pub(crate) async fn sweep(database: &Database, sweep: &Sweep) -> Result<Swept, Failure> {
    let batch = u64::from(sweep.batch.max(1));
    let rows = batch * u64::from(sweep.commits.max(1));
    let many = if sweep.commits > 1 { in_series(database, sweep, rows).await? } else { Swept::default() };
    let left = rows.saturating_sub(many.expired + many.ended);
    if many.more || left == 0 {
        return Ok(Swept { more: true, ..many });
    }
    let one = in_one_commit(database, sweep, left.min(batch)).await?;
    Ok(Swept { expired: many.expired + one.expired, ended: many.ended + one.ended, more: one.more })
}

/// Expired rows and then ended ones. There is more if a series ended before a commit found fewer than it may take; what it cannot do (marks, the
/// log, rows that others held) is for the single commit after it.
async fn in_series(database: &Database, sweep: &Sweep, rows: u64) -> Result<Swept, Failure> {
    let (begun, longest) = (Instant::now(), longest(database.lanes.count()));
    let mut swept = Swept::default();
    let kinds = [
        (SWEEP_EXPIRED, sweep.expired_before, &database.swept.expired, &mut swept.expired),
        (SWEEP_ENDED, sweep.ended_before, &database.swept.ended, &mut swept.ended),
    ];
    let mut left = rows;
    for (sql, before, reached, count) in kinds {
        let bounds = Bounds { rows: left, time: longest.saturating_sub(begun.elapsed()) };
        let (before, batch) = (before.as_millis(), i64::from(sweep.batch.clamp(1, ROWS)));
        let step = Step::new(sql, [before, batch, reached.before(before)].map(Value::Integer).to_vec());
        let Some([removed, next, full]) = database.series(step, bounds).await? else { continue };
        reached.ended_at(next);
        *count = u64::try_from(removed).unwrap_or(0);
        left = left.saturating_sub(*count);
        swept.more = full != 0;
        if swept.more {
            break;
        }
    }
    Ok(swept)
}

/// At most `left` rows.
async fn in_one_commit(database: &Database, sweep: &Sweep, mut left: u64) -> Result<Swept, Failure> {
    let mut swept = Swept::default();
    let before = sweep.expired_before.as_millis();
    let mut looked = expired(database, before, left).await?;
    if looked.unsettled {
        let settled = settle(database, sweep.batch).await?;
        swept.more = settled.more;
        if !settled.more {
            looked = expired(database, before, left).await?;
        }
    }
    swept.expired = looked.removed;
    swept.more |= looked.more;
    left -= looked.removed.min(left);
    swept.ended = ended(database, sweep.ended_before.as_millis(), left).await?;
    left -= swept.ended.min(left);
    left -= log(database, sweep, left).await?.min(left);
    swept.more |= left == 0;
    Ok(swept)
}

/// What a step over expired rows did.
struct Looked {
    removed: u64,
    /// There may be more.
    more: bool,
    /// Nothing was done, because a mark waits to be settled.
    unsettled: bool,
}

/// Looking again fills the step with those that were only moved and are dead all the same: they come before all that was not looked at, so the
/// oldest go first.
async fn expired(database: &Database, before: i64, limit: u64) -> Result<Looked, Failure> {
    let reached = &database.swept.expired;
    let mut gone = 0;
    for _ in 0..LOOKS {
        let wanted = limit - gone;
        let from = reached.before(before);
        let step = Step::new(SWEEP_EXPIRED, vec![Value::Integer(before), Value::number(wanted), Value::Integer(from)]);
        let rows = database.write_by_one_plan(&[step]).await?;
        let Some(row) = rows.first().and_then(|rows| rows.first()) else { break };
        let reader = Reader::new(row, database.failures());
        let (due, removed, moved) = (reader.number(0)?, reader.number(1)?, reader.number(2)?);
        if reader.get(4)? {
            return Ok(Looked { removed: gone, more: gone > 0, unsettled: gone == 0 });
        }
        gone += removed.min(wanted);
        let next = if due < wanted { BEGINNING } else { reader.get::<Option<i64>>(3)?.unwrap_or(BEGINNING) };
        reached.ended_at(next);
        if gone >= limit {
            return Ok(Looked { removed: gone, more: true, unsettled: false });
        }
        if moved == 0 && due < wanted && from == BEGINNING {
            return Ok(Looked { removed: gone, more: false, unsettled: false });
        }
    }
    Ok(Looked { removed: gone, more: true, unsettled: false })
}

/// From where the last step ended, and from the beginning if that is not enough.
async fn ended(database: &Database, before: i64, limit: u64) -> Result<u64, Failure> {
    let reached = &database.swept.ended;
    let mut gone = 0;
    while gone < limit {
        let (from, wanted) = (reached.before(before), limit - gone);
        let values = vec![Value::Integer(before), Value::number(wanted), Value::Integer(from)];
        let rows = database.write(Durability::Relaxed, &[Step::new(SWEEP_ENDED, values)]).await?;
        let Some(row) = rows.first().and_then(|rows| rows.first()) else { break };
        let reader = Reader::new(row, database.failures());
        let (found, removed) = (reader.number(0)?, reader.number(1)?);
        gone += removed;
        let next = if found < wanted { BEGINNING } else { reader.get::<Option<i64>>(3)?.unwrap_or(BEGINNING) };
        reached.ended_at(next);
        if from == BEGINNING || found >= wanted {
            break;
        }
    }
    Ok(gone)
}

async fn log(database: &Database, sweep: &Sweep, limit: u64) -> Result<u64, Failure> {
    if limit == 0 {
        return Ok(0);
    }
    let values = vec![Value::time(sweep.log_before), Value::number(limit), database.keys.trimming()];
    let rows = database.write(Durability::Relaxed, &[Step::new(SWEEP_LOG, values)]).await?;
    let row = rows.first().and_then(|rows| rows.first());
    row.map_or(Ok(0), |row| Reader::new(row, database.failures()).number(0))
}

/// How many sessions a sweep would remove now; rows behind a mark count once they are settled.
pub(crate) async fn sweepable(database: &Database, sweep: &Sweep) -> Result<u64, Failure> {
    let values = vec![Value::time(sweep.expired_before), Value::time(sweep.ended_before)];
    let rows = database.read(&[Step::new(SWEEPABLE, values)]).await?;
    let row = rows.first().and_then(|rows| rows.first());
    row.map_or(Ok(0), |row| Reader::new(row, database.failures()).number(0))
}
