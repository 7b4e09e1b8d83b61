//! Ending sessions.
//!
//! One session is one row. A user's or everybody's sessions are one mark, whatever their number: the log position *n* of the revocation. Each
//! row knows the newest position of its creation, its epoch, and is ended by any mark above it. [`settle`](crate::settle) writes the
//! end into the rows later and then removes the mark.
//!
//! # What may not happen, and why it does not
//!
//! A creation that reads the counter (4), and commits only after a revocation took the next position (5), was settled and its mark removed, would
//! leave a session that was dead behind the mark and lives without it. So a creation holds the counter's row with a shared lock until it
//! commits, and a revocation takes its position with an exclusive one: when position 5 is taken, every session with an epoch below 5 is
//! committed, and settling finds it. The server (`InnoDB`) makes a commit visible before it releases the commit's locks.
//!
//! For the same reason what a revocation decides after it has its position is final: no other revocation, and no creation, can commit in between.
//! It looks again then whether there is anything to end, and rolls back otherwise, which gives the position back.

use hallpass_core::store::{ChangeKind, Revocation, RevokeOutcome, Target};
use hallpass_core::{Actor, EndReason, SessionId, Timestamp, UserId};
use mysql_async::Value;

use crate::connection::Connection;
use crate::failure::Fault;
use crate::revocation_log::{log, next_position};
use crate::row::{id, number, text, time};
use crate::statements::{ANY_UNENDED, END, ENDED_BY_MARK, IS_LIVE_OF, LOCK_LIVE_OF, LOCK_UNENDED, MARK, RAISE_EPOCH};
use crate::work::{Ending, Read, Transaction};

/// What a row says about its end.
pub(crate) struct End<'a> {
    pub(crate) position: u64,
    pub(crate) at: Timestamp,
    pub(crate) by: &'a Actor,
    pub(crate) reason: EndReason,
}

/// A revocation that holds as soon as its transaction commits.
pub(crate) enum Effect {
    /// This is the whole answer.
    Known(RevokeOutcome),
    /// A mark at this position; how many sessions it ended is counted after the commit, so that the time to the effect does not grow
    /// with them.
    Marked(u64),
}

const NOTHING: Ending<Effect> = Ending::RollBack(Effect::Known(RevokeOutcome { ended: Some(0), position: 0 }));
const NOBODY_TO_KEEP: Ending<Effect> = Ending::RollBack(Effect::Known(RevokeOutcome { ended: None, position: 0 }));

impl Transaction for Revocation {
    type Answer = Effect;

    async fn run(&self, connection: &mut Connection) -> Result<Ending<Effect>, Fault> {
        match &self.target {
            Target::Session { id, owner } => session(connection, *id, owner.as_ref(), self).await,
            Target::User(user) => {
                let n = next_position(connection).await?;
                if !any_unended(connection, user, None).await? {
                    return Ok(NOTHING);
                }
                mark_user(connection, n, user, self).await
            }
            Target::Others { user, keep } => others(connection, user, *keep, self).await,
            Target::Everyone => {
                let n = next_position(connection).await?;
                log(connection, n, &ChangeKind::Everyone, self.now).await?;
                mark(connection, n, "", self).await?;
                Ok(Ending::Commit(Effect::Known(RevokeOutcome { ended: None, position: n })))
            }
            other => Err(Fault::Other(format!("this store does not know the target {other:?}; use a newer one"))),
        }
    }
}

async fn session(
    connection: &mut Connection,
    session: SessionId,
    owner: Option<&UserId>,
    revocation: &Revocation,
) -> Result<Ending<Effect>, Fault> {
    let now = time(revocation.now);
    let owner = owner.map_or(Value::NULL, |owner| text(owner.as_str()));
    let values = vec![now.clone(), now, id(session), owner.clone(), owner];
    let Some(mut columns) = connection.first(LOCK_UNENDED, values).await? else {
        return Ok(NOTHING);
    };
    let live = columns.count(0, "idle_expires_at")?;
    let position = next_position(connection).await?;
    let end = End { position, at: revocation.now, by: &revocation.by, reason: revocation.reason };
    if !end_session(connection, session, &end).await? {
        return Ok(NOTHING);
    }
    log(connection, position, &ChangeKind::Ended(session), revocation.now).await?;
    Ok(Ending::Commit(Effect::Known(RevokeOutcome { ended: Some(live), position })))
}

async fn others(
    connection: &mut Connection,
    user: &UserId,
    keep: SessionId,
    revocation: &Revocation,
) -> Result<Ending<Effect>, Fault> {
    let keeper = || vec![id(keep), text(user.as_str()), time(revocation.now), time(revocation.now)];
    if !connection.exists(LOCK_LIVE_OF, keeper()).await? {
        return Ok(NOBODY_TO_KEEP);
    }
    let n = next_position(connection).await?;
    // A mark may have been set before the position was ours.
    if !connection.exists(IS_LIVE_OF, keeper()).await? {
        return Ok(NOBODY_TO_KEEP);
    }
    if !any_unended(connection, user, Some(keep)).await? {
        return Ok(NOTHING);
    }
    connection.write(RAISE_EPOCH, vec![number(n), id(keep)]).await?;
    mark_user(connection, n, user, revocation).await
}

/// Writes the end into a session that has not ended; whether it did.
pub(crate) async fn end_session(connection: &mut Connection, session: SessionId, end: &End<'_>) -> Result<bool, Fault> {
    let values = vec![
        time(end.at),
        number(end.position),
        text(end.by.kind.as_str()),
        text(&end.by.name),
        text(end.reason.as_str()),
        id(session),
    ];
    Ok(connection.write(END, values).await? > 0)
}

async fn any_unended(connection: &mut Connection, user: &UserId, except: Option<SessionId>) -> Result<bool, Fault> {
    let except = except.map_or(Value::NULL, id);
    connection.exists(ANY_UNENDED, vec![text(user.as_str()), except.clone(), except]).await
}

async fn mark_user(
    connection: &mut Connection,
    n: u64,
    user: &UserId,
    revocation: &Revocation,
) -> Result<Ending<Effect>, Fault> {
    log(connection, n, &ChangeKind::User(user.clone()), revocation.now).await?;
    mark(connection, n, user.as_str(), revocation).await?;
    Ok(Ending::Commit(Effect::Marked(n)))
}

async fn mark(connection: &mut Connection, n: u64, user: &str, revocation: &Revocation) -> Result<(), Fault> {
    let Revocation { now, by, reason, .. } = revocation;
    let values = vec![number(n), text(user), time(*now), text(by.kind.as_str()), text(&by.name), text(reason.as_str())];
    connection.write(MARK, values).await.map(drop)
}

/// How many sessions of the user a mark ended. Its cost grows with the user's sessions.
pub(crate) struct CountEnded<'a> {
    pub(crate) user: &'a UserId,
    pub(crate) position: u64,
    pub(crate) now: Timestamp,
}

impl Read for CountEnded<'_> {
    type Answer = u64;

    async fn run(&self, connection: &mut Connection) -> Result<u64, Fault> {
        let (user, n, now) = (text(self.user.as_str()), number(self.position), time(self.now));
        let values = vec![user.clone(), n.clone(), now.clone(), n.clone(), n.clone(), user, n, now];
        let mut columns = connection.first(ENDED_BY_MARK, values).await?.ok_or(Fault::Unreadable("count"))?;
        columns.count(0, "count")
    }
}
