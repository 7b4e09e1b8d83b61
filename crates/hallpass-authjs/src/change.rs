//! Writes to a live session. The application's row is changed under a condition that holds nothing that has ended or was extended meanwhile there; ours under the turn
//! that all writes of hallpass take.

use async_trait::async_trait;
use hallpass_core::store::{ChangeKind, ClientNote, LastSeen, Renewal, Renewed, Rotation, Write};
use hallpass_core::{Attributes, Label, SessionId, Timestamp, UserId};

use crate::adopt::SOURCE;
use crate::connection::{Connection, Fault, Value};
use crate::pool::{Ending, Transaction};
use crate::row::{Row, hash_text, id, methods, number, time};
use crate::table::{Table, live_at};

/// How often the application may extend a session between a reading and a write here.
const MOST_EXTENSIONS: u32 = 8;

/// An extension.
pub(crate) struct Renew<'a> {
    pub(crate) table: &'a Table,
    pub(crate) renewal: &'a Renewal,
}

#[async_trait]
impl Transaction for Renew<'_> {
    type Answer = Renewed;

    async fn run(&self, connection: &mut dyn Connection) -> Result<Ending<Renewed>, Fault> {
        let Self { table, renewal } = *self;
        table.turn(connection).await?;
        let Some(row) = table.live(connection, renewal.id, renewal.now).await? else {
            return Ok(Ending::RollBack(Renewed::Gone));
        };
        let session = &row.record.session;
        if row.record.token_hash != renewal.token_hash || session.renewed_at > renewal.due_before {
            return Ok(Ending::RollBack(Renewed::NotDue));
        }
        let idle = renewal.idle_expires_at.min(session.absolute_expires_at);
        if !expires_at(table, connection, &row, None, idle, renewal.now).await? {
            // The application was first: it has ended the session, or extended it.
            let lives = table.live(connection, renewal.id, renewal.now).await?.is_some();
            return Ok(Ending::RollBack(if lives { Renewed::NotDue } else { Renewed::Gone }));
        }
        let sql = "UPDATE hp.sessions SET renewed_at = ?, last_seen_at = ?, idle_expires_at = ? WHERE id = ?";
        let seen = session.last_seen_at.max(renewal.now);
        table.write(connection, sql, &[time(renewal.now), time(seen), time(idle), id(renewal.id)]).await?;
        Ok(Ending::Commit(Renewed::Renewed { idle_expires_at: idle }))
    }
}

/// Writes the moment, and with a key another token, into the application's row if that is as it was read; whether it was.
async fn expires_at(
    table: &Table,
    connection: &mut dyn Connection,
    row: &Row,
    key: Option<&str>,
    idle: Timestamp,
    now: Timestamp,
) -> Result<bool, Fault> {
    let Some(old) = row.unended() else { return Ok(false) };
    let dialect = &table.dialect;
    let touched = dialect.touched().unwrap_or_default();
    let token = if key.is_some() { "{token} = ?, " } else { "" };
    let sql = format!(
        "UPDATE {{shared}} SET {token}{{raw_expires}} = {{moment}}{touched} WHERE {{token}} = ? AND {{expires}} = ?"
    );
    let mut values: Vec<Value> = key.map(Value::from).into_iter().collect();
    values.push(dialect.moment(idle, row.form));
    if !touched.is_empty() {
        values.push(dialect.moment(now, row.form));
    }
    values.extend([old.into(), Value::Integer(row.expires)]);
    Ok(table.write(connection, &sql, &values).await? > 0)
}

/// Another secret.
pub(crate) struct Rotate<'a> {
    pub(crate) table: &'a Table,
    pub(crate) rotation: &'a Rotation,
    /// As what the application's table holds the new token.
    pub(crate) key: &'a str,
}

#[async_trait]
impl Transaction for Rotate<'_> {
    type Answer = Write<()>;

    async fn run(&self, connection: &mut dyn Connection) -> Result<Ending<Write<()>>, Fault> {
        let Self { table, rotation, key } = *self;
        let now = rotation.now;
        let mut turn = table.turn(connection).await?;
        let mut rotated = None;
        // Again if the application extends it meanwhile, which it does once in its update_age.
        for _ in 0..MOST_EXTENSIONS {
            let Some(row) = table.live(connection, rotation.id, now).await? else {
                return Ok(Ending::RollBack(Write::Gone));
            };
            if row.record.token_hash != rotation.old_hash {
                return Ok(Ending::RollBack(Write::Conflict));
            }
            let idle = match &rotation.reauthentication {
                Some(fresh) => fresh.idle_expires_at.min(fresh.absolute_expires_at),
                None => row.record.session.idle_expires_at,
            };
            if expires_at(table, connection, &row, Some(key), idle, now).await? {
                rotated = Some(row);
                break;
            }
        }
        let Some(row) = rotated else { return Ok(Ending::RollBack(Write::Conflict)) };
        let secret = "UPDATE hp.sessions SET token_hash = ?, session_token = ? WHERE id = ?";
        let values = [hash_text(&rotation.new_hash).into(), key.into(), id(rotation.id)];
        table.write(connection, secret, &values).await?;
        let session = &row.record.session;
        if let Some(fresh) = &rotation.reauthentication {
            let sql = "UPDATE hp.sessions SET authenticated_at = ?, renewed_at = ?, last_seen_at = ?, idle_expires_at = ?, \
                 absolute_expires_at = ?, source = ?, methods = ?, ip = ?, user_agent = ? WHERE id = ?";
            let values = [
                time(now),
                time(now),
                time(session.last_seen_at.max(now)),
                time(fresh.idle_expires_at.min(fresh.absolute_expires_at)),
                time(fresh.absolute_expires_at),
                fresh.authentication.source.as_str().into(),
                methods(&fresh.authentication).into(),
                fresh.client.ip.map(|ip| ip.to_string()).into(),
                fresh.client.user_agent.as_deref().map(str::to_owned).into(),
                id(rotation.id),
            ];
            table.write(connection, sql, &values).await?;
        }
        turn.log(connection, &ChangeKind::Changed(rotation.id), now).await?;
        Ok(Ending::Commit(Write::Done(())))
    }
}

/// A name, or none.
pub(crate) struct SetLabel<'a> {
    pub(crate) table: &'a Table,
    pub(crate) session: SessionId,
    pub(crate) owner: &'a UserId,
    pub(crate) label: Option<&'a Label>,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Transaction for SetLabel<'_> {
    type Answer = Write<()>;

    async fn run(&self, connection: &mut dyn Connection) -> Result<Ending<Write<()>>, Fault> {
        let mut turn = self.table.turn(connection).await?;
        let row = self.table.live(connection, self.session, self.now).await?;
        if row.is_none_or(|row| row.record.session.user != *self.owner) {
            return Ok(Ending::RollBack(Write::Gone));
        }
        let label = self.label.map(|label| label.as_str().to_owned()).into();
        let sql = "UPDATE hp.sessions SET label = ? WHERE id = ?";
        self.table.write(connection, sql, &[label, id(self.session)]).await?;
        turn.log(connection, &ChangeKind::Changed(self.session), self.now).await?;
        Ok(Ending::Commit(Write::Done(())))
    }
}

/// The application's data.
pub(crate) struct SetAttributes<'a> {
    pub(crate) table: &'a Table,
    pub(crate) session: SessionId,
    pub(crate) expected: u64,
    pub(crate) attributes: &'a Attributes,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Transaction for SetAttributes<'_> {
    type Answer = Write<u64>;

    async fn run(&self, connection: &mut dyn Connection) -> Result<Ending<Write<u64>>, Fault> {
        let mut turn = self.table.turn(connection).await?;
        let Some(row) = self.table.live(connection, self.session, self.now).await? else {
            return Ok(Ending::RollBack(Write::Gone));
        };
        if row.record.session.attributes_version != self.expected {
            return Ok(Ending::RollBack(Write::Conflict));
        }
        let version = self.expected + 1;
        let sql = "UPDATE hp.sessions SET attributes = ?, attributes_version = ? WHERE id = ?";
        let values = [self.attributes.to_json().into(), number(version), id(self.session)];
        self.table.write(connection, sql, &values).await?;
        turn.log(connection, &ChangeKind::Changed(self.session), self.now).await?;
        Ok(Ending::Commit(Write::Done(version)))
    }
}

/// Last-seen times.
pub(crate) struct Touch<'a> {
    pub(crate) table: &'a Table,
    pub(crate) seen: &'a [LastSeen],
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Transaction for Touch<'_> {
    type Answer = u64;

    async fn run(&self, connection: &mut dyn Connection) -> Result<Ending<u64>, Fault> {
        const TOUCH: &str = "UPDATE hp.sessions SET last_seen_at = ? WHERE id = ? AND last_seen_at < ? AND ended_at IS NULL \
             AND absolute_expires_at > ? AND EXISTS (SELECT 1 FROM {shared} WHERE {token} = session_token AND {expires} > ?)";
        self.table.turn(connection).await?;
        // Several times for one session are one, so that each session counts once.
        let mut newest = std::collections::BTreeMap::new();
        for LastSeen { id, at } in self.seen {
            let seen = newest.entry(*id).or_insert(*at);
            *seen = (*seen).max(*at);
        }
        let mut changed = 0;
        for (session, at) in newest {
            let [now, again] = live_at(self.now);
            changed += self.table.write(connection, TOUCH, &[time(at), id(session), time(at), now, again]).await?;
        }
        Ok(Ending::Commit(changed))
    }
}

/// The clients of sessions that the application made, which it does not keep.
pub(crate) struct NoteClients<'a> {
    pub(crate) table: &'a Table,
    pub(crate) notes: &'a [ClientNote],
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Transaction for NoteClients<'_> {
    type Answer = u64;

    async fn run(&self, connection: &mut dyn Connection) -> Result<Ending<u64>, Fault> {
        // One that hallpass has authenticated anew has another source, and the client of that.
        const NOTE: &str = "UPDATE hp.sessions SET ip = ?, user_agent = ? WHERE id = ? AND ip IS NULL AND user_agent IS NULL AND source = ? \
             AND ended_at IS NULL AND absolute_expires_at > ? AND EXISTS (SELECT 1 FROM {shared} WHERE {token} = session_token AND {expires} > ?)";
        self.table.turn(connection).await?;
        let mut changed = 0;
        for ClientNote { id: session, client } in self.notes {
            let [now, again] = live_at(self.now);
            let ip = client.ip.map(|ip| ip.to_string()).into();
            let user_agent = client.user_agent.as_deref().map(str::to_owned).into();
            let values = [ip, user_agent, id(*session), SOURCE.into(), now, again];
            changed += self.table.write(connection, NOTE, &values).await?;
        }
        Ok(Ending::Commit(changed))
    }
}
