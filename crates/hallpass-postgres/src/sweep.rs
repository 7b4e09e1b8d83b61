//! Removing dead rows, one bounded step at a time, oldest first through the index of each kind. Each kind is a commit of its own, and several
//! sweepers at once take different rows.

use hallpass_core::store::{Sweep, Swept};

use crate::database::Database;
use crate::failure::Failure;
use crate::row::Reader;
use crate::session::{Durability, Step};
use crate::settle::{count_marks, settle};
use crate::statements::{SWEEP_ENDED, SWEEP_EXPIRED, SWEEP_LOG, SWEEPABLE, Sql};
use crate::value::Value;

/// How often one step looks for expired rows again because those that it found were only renewed: the rest is for the next step.
const LOOKS: u32 = 8;

/// Removes at most `batch` rows. Rows behind a mark are settled first, as many again at most: one that was revoked and has expired since
/// is history to keep, not an expired session.
pub(crate) async fn sweep(database: &Database, sweep: &Sweep) -> Result<Swept, Failure> {
    let mut left = u64::from(sweep.batch.max(1));
    let settled = settle(database, sweep.batch).await?;
    let mut swept = Swept { expired: 0, ended: 0, more: settled.more };
    if !settled.more && count_marks(database).await? == 0 {
        let (expired, more) = expired(database, sweep.expired_before.as_millis(), left).await?;
        swept.expired = expired;
        swept.more |= more;
        left -= expired.min(left);
    }
    swept.ended =
        removed(database, SWEEP_ENDED, vec![Value::time(sweep.ended_before), Value::number(left)], left).await?;
    left -= swept.ended.min(left);
    let log = vec![Value::time(sweep.log_before), Value::number(left), database.keys.trimming()];
    left -= removed(database, SWEEP_LOG, log, left).await?.min(left);
    swept.more |= left == 0;
    Ok(swept)
}

/// How many expired rows were removed, and whether there may be more. Looking again fills the step with those that were only moved and are dead all
/// the same: they come before all that was not looked at, so the oldest go first.
async fn expired(database: &Database, before: i64, limit: u64) -> Result<(u64, bool), Failure> {
    let mut gone = 0;
    for _ in 0..LOOKS {
        let step = Step::new(SWEEP_EXPIRED, vec![Value::Integer(before), Value::number(limit - gone)]);
        let rows = database.write(Durability::Relaxed, &[step]).await?;
        let Some(row) = rows.first().and_then(|rows| rows.first()) else { break };
        let reader = Reader::new(row, database.failures());
        let (due, removed, moved) = (reader.number(0)?, reader.number(1)?, reader.number(2)?);
        let wanted = limit - gone;
        gone += removed.min(wanted);
        if gone >= limit {
            return Ok((gone, true));
        }
        if moved == 0 && due < wanted {
            return Ok((gone, false));
        }
    }
    Ok((gone, true))
}

async fn removed(database: &Database, sql: Sql, values: Vec<Value<'_>>, limit: u64) -> Result<u64, Failure> {
    if limit == 0 {
        return Ok(0);
    }
    let rows = database.write(Durability::Relaxed, &[Step::new(sql, values)]).await?;
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
