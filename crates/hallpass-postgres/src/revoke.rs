//! Ending sessions.
//!
//! One session is one row. A user's or everybody's sessions are one mark, whatever their number: the log position *n* of the revocation. Each
//! row knows the newest position of its creation, its epoch, and is ended by any mark above it. [`settle`](crate::settle) writes the
//! end into the rows later and then removes the mark.

use std::sync::Arc;

use hallpass_core::UserId;
use hallpass_core::group_commit;
use hallpass_core::store::{Revocation, RevokeOutcome, Target};
use tokio::time::Instant;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::database::Database;
use crate::failure::Failure;
use crate::row::Reader;
use crate::session::{Durability, Step};
use crate::statements::{
    ENDED_BY_MARK, LOCK_ALONE, LOCK_FOR_OTHERS, LOCK_FOR_SESSION, LOCK_FOR_USER, REVOKE_EVERYONE, REVOKE_OTHERS,
    REVOKE_SESSION, REVOKE_USER,
};
use crate::value::{Value, uuid};

const NOTHING: RevokeOutcome = RevokeOutcome { ended: Some(0), position: 0 };

/// What a revocation takes and does, in this order.
pub(crate) struct Parts<'a> {
    /// The lock of a user's creations.
    pub(crate) user: Option<i64>,
    /// The lock of the counter, if there is something to do.
    pub(crate) lock: Option<Step<'a>>,
    pub(crate) act: Step<'a>,
    /// The session whose row it changes.
    pub(crate) row: Option<Uuid>,
}

impl<'a> Parts<'a> {
    pub(crate) fn of(database: &Database, revocation: &'a Revocation) -> Result<Self, Failure> {
        let by = by(revocation);
        let now = Value::time(revocation.now);
        let with = |mut values: Vec<Value<'a>>| {
            values.extend(by);
            values
        };
        Ok(match &revocation.target {
            Target::Session { id, owner } => {
                let owner = Value::text_or_null(owner.as_ref().map(UserId::as_str));
                Self {
                    user: None,
                    lock: Some(Step::new(LOCK_FOR_SESSION, vec![Value::Id(*id), owner.clone()])),
                    act: Step::new(REVOKE_SESSION, with(vec![Value::Id(*id), now, owner])),
                    row: Some(uuid(*id)),
                }
            }
            Target::User(user) => {
                let owner = Value::text(user.as_str());
                Self {
                    user: Some(database.keys.user(user)),
                    lock: Some(Step::new(LOCK_FOR_USER, vec![owner.clone()])),
                    act: Step::new(REVOKE_USER, with(vec![owner, now])),
                    row: None,
                }
            }
            Target::Others { user, keep } => {
                let owner = Value::text(user.as_str());
                Self {
                    user: Some(database.keys.user(user)),
                    lock: Some(Step::new(LOCK_FOR_OTHERS, vec![owner.clone(), Value::Id(*keep)])),
                    act: Step::new(REVOKE_OTHERS, with(vec![owner, now, Value::Id(*keep)])),
                    row: Some(uuid(*keep)),
                }
            }
            Target::Everyone => {
                Self { user: None, lock: None, act: Step::new(REVOKE_EVERYONE, with(vec![now])), row: None }
            }
            _ => return Err(database.failures().unavailable("this store does not know how to end these sessions")),
        })
    }
}

pub(crate) async fn revoke(database: &Arc<Database>, revocation: &Revocation) -> Result<RevokeOutcome, Failure> {
    let deadline = database.deadline();
    let row = group_commit::commit(database, revocation, deadline).await?;
    let read = |row| Reader::new(row, database.failures());
    let missing = || database.failures().corrupt("the row of hallpass_counter is missing; restore a backup");
    match (&revocation.target, &row) {
        (Target::Session { .. } | Target::User(_), None) => Ok(NOTHING),
        (Target::Session { .. }, Some(row)) => {
            let (position, live): (u64, bool) = (read(row).number(0)?, read(row).get(1)?);
            Ok(RevokeOutcome { ended: Some(u64::from(live)), position })
        }
        (Target::User(user), Some(row)) => {
            Ok(counted(database, deadline, user, read(row).number(0)?, revocation).await)
        }
        (Target::Others { user, .. }, row) => {
            let row = row.as_ref().ok_or_else(|| database.failures().corrupt("a revocation was not answered"))?;
            let (kept, position): (bool, Option<i64>) = (read(row).get(0)?, read(row).get(1)?);
            match position.and_then(|position| u64::try_from(position).ok()) {
                Some(position) => Ok(counted(database, deadline, user, position, revocation).await),
                None if kept => Ok(NOTHING),
                None => Ok(RevokeOutcome { ended: None, position: 0 }),
            }
        }
        (_, row) => {
            let position = read(row.as_ref().ok_or_else(missing)?).number(0)?;
            Ok(RevokeOutcome { ended: None, position })
        }
    }
}

/// In a transaction of its own; what the last statement answered.
pub(crate) async fn alone(
    database: &Database,
    deadline: Instant,
    revocation: &Revocation,
) -> Result<Option<Row>, Failure> {
    let Parts { user, lock, act, .. } = Parts::of(database, revocation)?;
    let user = user.map(|key| Step::new(LOCK_ALONE, vec![Value::Integer(key)]));
    let steps: Vec<Step<'_>> = user.into_iter().chain(lock).chain([act]).collect();
    let rows = database.write_until(deadline, Durability::Durable, &steps).await;
    let mut rows = rows.map_err(|refusal| database.explain(&refusal))?;
    Ok(rows.pop().and_then(|mut rows| rows.pop()))
}

/// Who and why.
fn by(revocation: &Revocation) -> [Value<'_>; 3] {
    let Revocation { by, reason, .. } = revocation;
    [Value::text(by.kind.as_str()), Value::text(&by.name), Value::text(reason.as_str())]
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
