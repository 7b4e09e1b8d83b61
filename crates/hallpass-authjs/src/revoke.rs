//! Ending sessions: the application's rows are deleted, since it knows no other end; who ended them, when and why stays in ours.
//!
//! It costs as much as there are sessions to delete: a mark that ends any number at once would say nothing to the application.
//!
//! A session whose row the application has deleted has an end that ours does not tell yet. Where its user is still there, the user signed out at the application: that stays
//! the end of it, whatever is revoked later. Where the user is gone, the rows went with the user before anybody could revoke, and the revocation that follows the deletion says
//! who, when and why: it counts them as the sessions that it ended. Either way the token leaves our row.

use async_trait::async_trait;
use hallpass_core::store::{ChangeKind, Revocation, RevokeOutcome, Target};
use hallpass_core::{Ended, SessionId, StoreError, UserId};

use crate::adopt::adopt_all_of;
use crate::connection::{Connection, Fault, Value};
use crate::pool::{Ending, Transaction};
use crate::row::{Row, ended_there, id, time};
use crate::table::{Table, Turn};

const NOTHING: RevokeOutcome = RevokeOutcome { ended: Some(0), position: 0 };
const NOBODY_TO_KEEP: RevokeOutcome = RevokeOutcome { ended: None, position: 0 };

/// What ours keep of an end. The token goes.
const END: &str =
    "UPDATE hp.sessions SET ended_at = ?, ended_by_kind = ?, ended_by = ?, ended_reason = ?, session_token = NULL";

pub(crate) fn said(end: &Ended) -> [Value; 4] {
    [time(end.at), end.by.kind.as_str().into(), end.by.name.as_str().into(), end.reason.as_str().into()]
}

/// Ends one session that was read as not ended.
pub(crate) async fn end_one(
    table: &Table,
    connection: &mut dyn Connection,
    row: &Row,
    end: &Ended,
) -> Result<(), Fault> {
    if let Some(key) = &row.key {
        table.write(connection, "DELETE FROM {shared} WHERE {token} = ?", &[key.as_str().into()]).await?;
    }
    let mut values = said(end).to_vec();
    values.push(id(row.record.session.id));
    table.write(connection, &format!("{END} WHERE id = ? AND ended_at IS NULL"), &values).await.map(drop)
}

/// A revocation.
pub(crate) struct Revoke<'a> {
    pub(crate) table: &'a Table,
    pub(crate) revocation: &'a Revocation,
}

#[async_trait]
impl Transaction for Revoke<'_> {
    type Answer = RevokeOutcome;

    async fn run(&self, connection: &mut dyn Connection) -> Result<Ending<RevokeOutcome>, Fault> {
        let mut turn = self.table.turn(connection).await?;
        match &self.revocation.target {
            Target::Session { id, owner } => self.session(connection, &mut turn, *id, owner.as_ref()).await,
            Target::User(user) => self.user(connection, &mut turn, user, None).await,
            Target::Others { user, keep } => {
                let keeper = self.table.live(connection, *keep, self.revocation.now).await?;
                match keeper.filter(|row| row.record.session.user == *user) {
                    Some(keeper) => self.user(connection, &mut turn, user, Some(&keeper)).await,
                    None => Ok(Ending::RollBack(NOBODY_TO_KEEP)),
                }
            }
            Target::Everyone => self.everyone(connection, &mut turn).await,
            other => {
                Err(StoreError::unavailable(format!("this store does not know the target {other:?}; use a newer one"))
                    .into())
            }
        }
    }
}

impl Revoke<'_> {
    fn end(&self) -> Ended {
        let Revocation { now, by, reason, .. } = self.revocation;
        Ended { at: *now, by: by.clone(), reason: *reason }
    }

    /// How many sessions this ends that were live; those of a user who is gone by the deadlines that we know.
    fn live(&self, rows: &[Row], is_user_gone: bool) -> u64 {
        let now = self.revocation.now;
        let is_live = |row: &Row| if is_user_gone { row.was_live_at(now) } else { row.record.session.is_live_at(now) };
        rows.iter().filter(|row| is_live(row)).count() as u64
    }

    /// Whether a user of these rows went with some of them.
    async fn is_user_gone(&self, connection: &mut dyn Connection, user: &UserId, rows: &[Row]) -> Result<bool, Fault> {
        let Some(theirs) = self.table.dialect.user(user).filter(|_| rows.iter().any(Row::is_orphan)) else {
            return Ok(false);
        };
        Ok(connection.rows(&self.table.sql("{find_user}"), &[theirs]).await?.is_empty())
    }

    async fn session(
        &self,
        connection: &mut dyn Connection,
        turn: &mut Turn<'_>,
        session: SessionId,
        owner: Option<&UserId>,
    ) -> Result<Ending<RevokeOutcome>, Fault> {
        let row = self.table.row(connection, session).await?.filter(|row| row.key.is_some());
        let Some(row) = row.filter(|row| owner.is_none_or(|owner| row.record.session.user == *owner)) else {
            return Ok(Ending::RollBack(NOTHING));
        };
        let rows = [row];
        let [row] = &rows;
        let is_user_gone = self.is_user_gone(connection, &row.record.session.user, &rows).await?;
        let is_ended_there = row.is_orphan() && !is_user_gone;
        let end = if is_ended_there { ended_there(self.revocation.now) } else { self.end() };
        end_one(self.table, connection, row, &end).await?;
        let position = turn.log(connection, &ChangeKind::Ended(session), self.revocation.now).await?;
        Ok(Ending::Commit(RevokeOutcome { ended: Some(self.live(&rows, is_user_gone)), position }))
    }

    /// All of a user's sessions but the keeper. Those that the application made meanwhile are later than this.
    async fn user(
        &self,
        connection: &mut dyn Connection,
        turn: &mut Turn<'_>,
        user: &UserId,
        keeper: Option<&Row>,
    ) -> Result<Ending<RevokeOutcome>, Fault> {
        let Some(theirs) = self.table.dialect.user(user) else { return Ok(Ending::RollBack(NOTHING)) };
        adopt_all_of(self.table, connection, user, self.revocation.now).await?;
        let filter = "h.user_id = ? AND h.ended_at IS NULL";
        let mut rows = self.table.rows(connection, filter, &[user.as_str().into()]).await?;
        let kept = keeper.map(|keeper| keeper.record.session.id);
        rows.retain(|row| kept != Some(row.record.session.id));
        if rows.is_empty() {
            return Ok(Ending::RollBack(NOTHING));
        }
        let (mut delete, mut deleted) = (String::from("DELETE FROM {shared} WHERE {is_user}"), vec![theirs]);
        let (mut end, mut ended) =
            (format!("{END} WHERE user_id = ? AND ended_at IS NULL"), said(&self.end()).to_vec());
        ended.push(user.as_str().into());
        if let Some(keeper) = keeper {
            let Some(key) = keeper.unended() else { return Ok(Ending::RollBack(NOBODY_TO_KEEP)) };
            delete.push_str(" AND {token} <> ?");
            deleted.push(key.into());
            end.push_str(" AND id <> ?");
            ended.push(id(keeper.record.session.id));
        }
        let is_user_gone = self.is_user_gone(connection, user, &rows).await?;
        if !is_user_gone && rows.iter().any(Row::is_orphan) {
            let sql = format!(
                "{END} WHERE user_id = ? AND ended_at IS NULL AND NOT EXISTS (SELECT 1 FROM {{shared}} WHERE {{token}} = session_token)"
            );
            let mut values = said(&ended_there(self.revocation.now)).to_vec();
            values.push(user.as_str().into());
            self.table.write(connection, &sql, &values).await?;
        }
        self.table.write(connection, &delete, &deleted).await?;
        self.table.write(connection, &end, &ended).await?;
        let position = turn.log(connection, &ChangeKind::User(user.clone()), self.revocation.now).await?;
        Ok(Ending::Commit(RevokeOutcome { ended: Some(self.live(&rows, is_user_gone)), position }))
    }

    async fn everyone(
        &self,
        connection: &mut dyn Connection,
        turn: &mut Turn<'_>,
    ) -> Result<Ending<RevokeOutcome>, Fault> {
        self.table.write(connection, "DELETE FROM {shared}", &[]).await?;
        self.table.write(connection, &format!("{END} WHERE ended_at IS NULL"), &said(&self.end())).await?;
        let position = turn.log(connection, &ChangeKind::Everyone, self.revocation.now).await?;
        Ok(Ending::Commit(RevokeOutcome { ended: None, position }))
    }
}
