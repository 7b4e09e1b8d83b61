//! Conditional writes to one live session. None of them can make or revive one.

use hallpass_core::store::{Renewal, Renewed, Rotation, Write};
use hallpass_core::{Attributes, Label, SessionId, Timestamp, UserId};

use crate::connection::Connection;
use crate::failure::Fault;
use crate::revocation_log::append_changed;
use crate::row::{id, methods_text, number, optional_text, text, time};
use crate::statements::{IS_LIVE, REAUTHENTICATE, RENEW, ROTATE, SET_ATTRIBUTES, SET_LABEL};
use crate::work::{Ending, Transaction};

impl Transaction for Renewal {
    type Answer = Renewed;

    async fn run(&self, connection: &mut Connection) -> Result<Ending<Renewed>, Fault> {
        let (idle, now) = (time(self.idle_expires_at), time(self.now));
        let values = vec![
            idle.clone(),
            idle,
            now.clone(),
            now.clone(),
            id(self.id),
            self.token_hash.as_bytes().as_slice().into(),
            time(self.due_before),
            now.clone(),
            now,
        ];
        if connection.write(RENEW, values).await? > 0 {
            let millis = i64::try_from(connection.answered()).unwrap_or(i64::MAX);
            return Ok(Ending::Commit(Renewed::Renewed { idle_expires_at: Timestamp::from_millis(millis) }));
        }
        let lives = is_live(connection, self.id, self.now).await?;
        Ok(Ending::RollBack(if lives { Renewed::NotDue } else { Renewed::Gone }))
    }
}

impl Transaction for Rotation {
    type Answer = Write<()>;

    async fn run(&self, connection: &mut Connection) -> Result<Ending<Write<()>>, Fault> {
        let now = time(self.now);
        let (new, old) = (self.new_hash.as_bytes().as_slice().into(), self.old_hash.as_bytes().as_slice().into());
        let changed = match &self.reauthentication {
            None => connection.write(ROTATE, vec![new, id(self.id), old, now.clone(), now]).await?,
            Some(fresh) => {
                let idle = time(fresh.idle_expires_at.min(fresh.absolute_expires_at));
                let values = vec![
                    new,
                    now.clone(),
                    now.clone(),
                    now.clone(),
                    idle.clone(),
                    time(fresh.absolute_expires_at),
                    idle,
                    text(&methods_text(&fresh.authentication)),
                    text(&fresh.authentication.source),
                    optional_text(fresh.client.ip.map(|ip| ip.to_string()).as_deref()),
                    optional_text(fresh.client.user_agent.as_deref()),
                    id(self.id),
                    old,
                    now.clone(),
                    now,
                ];
                connection.write(REAUTHENTICATE, values).await?
            }
        };
        if changed == 0 {
            return gone_or_conflict(connection, self.id, self.now).await;
        }
        let logged = append_changed(connection, self.id, self.now).await?;
        Ok(if logged { Ending::Commit(Write::Done(())) } else { Ending::RollBack(Write::Gone) })
    }
}

/// Names a session of its owner.
pub(crate) struct SetLabel<'a> {
    pub(crate) id: SessionId,
    pub(crate) owner: &'a UserId,
    pub(crate) label: Option<&'a Label>,
    pub(crate) now: Timestamp,
}

impl Transaction for SetLabel<'_> {
    type Answer = Write<()>;

    async fn run(&self, connection: &mut Connection) -> Result<Ending<Write<()>>, Fault> {
        let now = time(self.now);
        let label = optional_text(self.label.map(Label::as_str));
        let values = vec![label, id(self.id), text(self.owner.as_str()), now.clone(), now];
        if connection.write(SET_LABEL, values).await? == 0 {
            return Ok(Ending::RollBack(Write::Gone));
        }
        let logged = append_changed(connection, self.id, self.now).await?;
        Ok(if logged { Ending::Commit(Write::Done(())) } else { Ending::RollBack(Write::Gone) })
    }
}

/// Replaces the attributes of the expected version.
pub(crate) struct SetAttributes<'a> {
    pub(crate) id: SessionId,
    pub(crate) expected: u64,
    pub(crate) attributes: &'a Attributes,
    pub(crate) now: Timestamp,
}

impl Transaction for SetAttributes<'_> {
    type Answer = Write<u64>;

    async fn run(&self, connection: &mut Connection) -> Result<Ending<Write<u64>>, Fault> {
        let now = time(self.now);
        let attributes = text(&self.attributes.to_json());
        let values = vec![attributes, id(self.id), number(self.expected), now.clone(), now];
        if connection.write(SET_ATTRIBUTES, values).await? == 0 {
            return gone_or_conflict(connection, self.id, self.now).await;
        }
        let logged = append_changed(connection, self.id, self.now).await?;
        Ok(if logged { Ending::Commit(Write::Done(self.expected + 1)) } else { Ending::RollBack(Write::Gone) })
    }
}

async fn gone_or_conflict<T>(
    connection: &mut Connection,
    id: SessionId,
    now: Timestamp,
) -> Result<Ending<Write<T>>, Fault> {
    let lives = is_live(connection, id, now).await?;
    Ok(Ending::RollBack(if lives { Write::Conflict } else { Write::Gone }))
}

async fn is_live(connection: &mut Connection, session: SessionId, now: Timestamp) -> Result<bool, Fault> {
    connection.exists(IS_LIVE, vec![id(session), time(now), time(now)]).await
}
