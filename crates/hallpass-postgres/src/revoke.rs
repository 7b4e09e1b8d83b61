//! Ending sessions.
//!
//! One session is one row. A user's or everybody's sessions are one mark, whatever their number: the log position *n* of the revocation. Each
//! row knows the newest position of its creation, its epoch, and is ended by any mark above it. [`settle`](crate::settle) writes the
//! end into the rows later and then removes the mark.

use hallpass_core::store::{Revocation, RevokeOutcome, Target};
use hallpass_core::{SessionId, UserId};
use tokio::time::Instant;
use tokio_postgres::Row;

use crate::database::Database;
use crate::failure::Failure;
use crate::row::Reader;
use crate::session::{Durability, Step};
use crate::statements::{
    ENDED_BY_MARK, LOCK_ALONE, LOCK_FOR_OTHERS, LOCK_FOR_SESSION, LOCK_FOR_USER, REVOKE_EVERYONE, REVOKE_OTHERS,
    REVOKE_SESSION, REVOKE_USER,
};
use crate::value::Value;

const NOTHING: RevokeOutcome = RevokeOutcome { ended: Some(0), position: 0 };

pub(crate) async fn revoke(database: &Database, revocation: &Revocation) -> Result<RevokeOutcome, Failure> {
    let deadline = database.deadline();
    match &revocation.target {
        Target::Session { id, owner } => session(database, deadline, *id, owner.as_ref(), revocation).await,
        Target::User(user) => {
            let user_value = Value::text(user.as_str());
            let mut values = vec![user_value.clone(), Value::time(revocation.now)];
            values.extend(by(revocation));
            let steps = [
                Step::new(LOCK_ALONE, vec![database.keys.user(user)]),
                Step::new(LOCK_FOR_USER, vec![user_value]),
                Step::new(REVOKE_USER, values),
            ];
            match last_row(database, deadline, &steps).await? {
                None => Ok(NOTHING),
                Some(row) => {
                    let position = Reader::new(&row, database.failures()).number(0)?;
                    Ok(counted(database, deadline, user, position, revocation).await)
                }
            }
        }
        Target::Others { user, keep } => others(database, deadline, user, *keep, revocation).await,
        Target::Everyone => {
            let mut values = vec![Value::time(revocation.now)];
            values.extend(by(revocation));
            let row = last_row(database, deadline, &[Step::new(REVOKE_EVERYONE, values)]).await?;
            let row = row.ok_or_else(|| {
                database.failures().corrupt("the row of hallpass_counter is missing; restore a backup")
            })?;
            Ok(RevokeOutcome { ended: None, position: Reader::new(&row, database.failures()).number(0)? })
        }
        _ => Err(database.failures().unavailable("this store does not know how to end these sessions")),
    }
}

async fn session(
    database: &Database,
    deadline: Instant,
    id: SessionId,
    owner: Option<&UserId>,
    revocation: &Revocation,
) -> Result<RevokeOutcome, Failure> {
    let (id, owner) = (Value::Id(id), Value::text_or_null(owner.map(UserId::as_str)));
    let lock = Step::new(LOCK_FOR_SESSION, vec![id.clone(), owner.clone()]);
    let mut values = vec![id, Value::time(revocation.now), owner];
    values.extend(by(revocation));
    let Some(row) = last_row(database, deadline, &[lock, Step::new(REVOKE_SESSION, values)]).await? else {
        return Ok(NOTHING);
    };
    let reader = Reader::new(&row, database.failures());
    let (position, live): (u64, bool) = (reader.number(0)?, reader.get(1)?);
    Ok(RevokeOutcome { ended: Some(u64::from(live)), position })
}

async fn others(
    database: &Database,
    deadline: Instant,
    user: &UserId,
    keep: SessionId,
    revocation: &Revocation,
) -> Result<RevokeOutcome, Failure> {
    let (owner, keep) = (Value::text(user.as_str()), Value::Id(keep));
    let alone = Step::new(LOCK_ALONE, vec![database.keys.user(user)]);
    let lock = Step::new(LOCK_FOR_OTHERS, vec![owner.clone(), keep.clone()]);
    let mut values = vec![owner, Value::time(revocation.now), keep];
    values.extend(by(revocation));
    let row = last_row(database, deadline, &[alone, lock, Step::new(REVOKE_OTHERS, values)]).await?;
    let row = row.ok_or_else(|| database.failures().corrupt("a revocation was not answered"))?;
    let reader = Reader::new(&row, database.failures());
    let (kept, position): (bool, Option<i64>) = (reader.get(0)?, reader.get(1)?);
    match position.and_then(|position| u64::try_from(position).ok()) {
        Some(position) => Ok(counted(database, deadline, user, position, revocation).await),
        None if kept => Ok(NOTHING),
        None => Ok(RevokeOutcome { ended: None, position: 0 }),
    }
}

/// Who and why.
fn by(revocation: &Revocation) -> [Value<'_>; 3] {
    let Revocation { by, reason, .. } = revocation;
    [Value::text(by.kind.as_str()), Value::text(&by.name), Value::text(reason.as_str())]
}

async fn last_row(database: &Database, deadline: Instant, steps: &[Step<'_>]) -> Result<Option<Row>, Failure> {
    let rows = database.write_until(deadline, Durability::Durable, steps).await;
    let mut rows = rows.map_err(|refusal| database.explain(&refusal))?;
    Ok(rows.pop().and_then(|mut rows| rows.pop()))
}

/// How many sessions of the user the mark ended, after the commit, so that the time to the effect does not grow with them. The revocation is
/// durable and in effect: a count that fails must not read as a revocation that failed.
async fn counted(
    database: &Database,
    deadline: Instant,
    user: &UserId,
    position: u64,
    revocation: &Revocation,
) -> RevokeOutcome {
    let values = vec![Value::text(user.as_str()), Value::time(revocation.now), Value::number(position)];
    let counted = database.read_until(deadline, &[Step::new(ENDED_BY_MARK, values)]).await;
    let ended = counted.and_then(|rows| {
        let row = rows.first().and_then(|rows| rows.first());
        row.map(|row| Reader::new(row, database.failures()).number(0)).transpose()
    });
    match ended {
        Ok(ended) => RevokeOutcome { ended, position },
        Err(failure) => {
            tracing::warn!(error = failure.message(), "ended sessions could not be counted");
            RevokeOutcome { ended: None, position }
        }
    }
}
