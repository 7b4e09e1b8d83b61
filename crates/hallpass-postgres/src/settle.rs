//! Writing the end into the rows behind a mark.
//!
//! Marks are settled in the order of their positions, one step at a time in all processes together, and each row is looked at once for each
//! mark: what is still live and below the earliest mark was ended by that one, so the first revocation keeps its reason. A settled mark is removed.
//! Nothing can be behind it any more: a session made later has a higher epoch, and one that was being made has been waited for
//! ([`create`](crate::create)).

use std::time::Duration;

use hallpass_core::store::Settled;
use tokio_postgres::error::SqlState;

use crate::database::{Database, Refusal};
use crate::failure::Failure;
use crate::row::Reader;
use crate::session::{Durability, Step};
use crate::statements::{COUNT_MARKS, FENCE, FIRST_MARK, LOCK_ALONE, SETTLE_EVERYONE, SETTLE_USER};
use crate::value::Value;

/// How long settling waits for creations under way. New ones wait behind it, so it is brief; a later step tries again.
const FENCE_PATIENCE: Duration = Duration::from_millis(250);

struct Mark {
    n: i64,
    user: String,
    fenced: bool,
}

/// Looks at no more than `batch` rows. Without marks it is one read of an empty table.
pub(crate) async fn settle(database: &Database, batch: u32) -> Result<Settled, Failure> {
    let mut left = u64::from(batch.max(1));
    let mut rows = 0;
    while left > 0 {
        let Some(mark) = first(database).await? else {
            return Ok(Settled { rows, more: false });
        };
        if !mark.fenced && !fence(database).await? {
            // A creation hangs. Its mark holds, and another step may find it gone.
            return Ok(Settled { rows, more: false });
        }
        let (looked, ended) = step(database, &mark, left).await?;
        rows += ended;
        // A mark without rows counts too: a step stays bounded.
        left -= looked.clamp(1, left);
    }
    Ok(Settled { rows, more: count_marks(database).await? > 0 })
}

/// How many marks wait.
pub(crate) async fn count_marks(database: &Database) -> Result<u64, Failure> {
    let rows = database.read(&[Step::new(COUNT_MARKS, Vec::new())]).await?;
    let row = rows.first().and_then(|rows| rows.first());
    row.map_or(Ok(0), |row| Reader::new(row, database.failures()).number(0))
}

async fn first(database: &Database) -> Result<Option<Mark>, Failure> {
    let rows = database.read(&[Step::new(FIRST_MARK, Vec::new())]).await?;
    let Some(row) = rows.first().and_then(|rows| rows.first()) else {
        return Ok(None);
    };
    let reader = Reader::new(row, database.failures());
    Ok(Some(Mark { n: reader.get(0)?, user: reader.get(1)?, fenced: reader.get(2)? }))
}

/// Whether every creation that may have read an older position has ended.
async fn fence(database: &Database) -> Result<bool, Failure> {
    let steps = [Step::new(LOCK_ALONE, vec![database.keys.creations()]), Step::new(FENCE, Vec::new())];
    match database.write_if_unlocked(FENCE_PATIENCE, &steps).await {
        Ok(_) => Ok(true),
        Err(Refusal::Server(error)) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(false),
        Err(refusal) => Err(database.explain(&refusal)),
    }
}

/// How many rows were looked at, and how many of them ended. Nothing if another process was here first.
async fn step(database: &Database, mark: &Mark, limit: u64) -> Result<(u64, u64), Failure> {
    let mut values = vec![Value::Integer(mark.n), Value::number(limit)];
    let sql = if mark.user.is_empty() {
        SETTLE_EVERYONE
    } else {
        values.push(Value::text(&mark.user));
        SETTLE_USER
    };
    let steps = [Step::new(LOCK_ALONE, vec![database.keys.settling()]), Step::new(sql, values)];
    let mut rows = database.write(Durability::Relaxed, &steps).await?;
    let Some(row) = rows.pop().and_then(|mut rows| rows.pop()) else {
        return Ok((0, 0));
    };
    let reader = Reader::new(&row, database.failures());
    Ok((reader.number(0)?, reader.number(1)?))
}
