//! Conditional writes to one live session. None of them can make or revive one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hallpass_core::store::{LastSeen, Renewal, Renewed, Rotation, Write};
use hallpass_core::{Attributes, Label, SessionId, Timestamp, UserId};
use tokio::time::Instant;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::database::Database;
use crate::failure::Failure;
use crate::row::{Reader, methods_text};
use crate::session::{Durability, Step};
use crate::statements::{
    IS_LIVE, LOCK_FOR_ATTRIBUTES, LOCK_FOR_LABEL, LOCK_FOR_ROTATION, REAUTHENTICATE, RENEW, ROTATE, SET_ATTRIBUTES,
    SET_LABEL, TOUCH,
};
use crate::value::{Value, uuid};

/// Sessions in one statement of [`touch`].
const MAX_TOUCHED: usize = 1000;

pub(crate) async fn renew(database: &Database, renewal: &Renewal) -> Result<Renewed, Failure> {
    let deadline = database.deadline();
    let step = Step::new(
        RENEW,
        vec![
            Value::Id(renewal.id),
            Value::time(renewal.now),
            Value::time(renewal.idle_expires_at),
            Value::Hash(renewal.token_hash.as_bytes()),
            Value::time(renewal.due_before),
        ],
    );
    if let Some(row) = changed(database, deadline, Durability::Relaxed, &[step]).await? {
        let idle_expires_at = Reader::new(&row, database.failures()).time(0)?;
        return Ok(Renewed::Renewed { idle_expires_at });
    }
    let live = is_live(database, deadline, renewal.id, renewal.now).await?;
    Ok(if live { Renewed::NotDue } else { Renewed::Gone })
}

pub(crate) async fn rotate(database: &Database, rotation: &Rotation) -> Result<Write<()>, Failure> {
    let deadline = database.deadline();
    let (id, now) = (Value::Id(rotation.id), Value::time(rotation.now));
    let (new, old) = (Value::Hash(rotation.new_hash.as_bytes()), Value::Hash(rotation.old_hash.as_bytes()));
    let lock = Step::new(LOCK_FOR_ROTATION, vec![id.clone(), now.clone(), old.clone()]);
    let mut values = vec![id, now, new, old];
    let sql = match &rotation.reauthentication {
        None => ROTATE,
        Some(fresh) => {
            values.extend([
                Value::time(fresh.idle_expires_at),
                Value::time(fresh.absolute_expires_at),
                Value::Text(Cow::Owned(methods_text(&fresh.authentication))),
                Value::text(&fresh.authentication.source),
                Value::TextOrNull(fresh.client.ip.map(|ip| Cow::Owned(ip.to_string()))),
                Value::text_or_null(fresh.client.user_agent.as_deref()),
            ]);
            REAUTHENTICATE
        }
    };
    let steps = [lock, Step::new(sql, values)];
    if changed(database, deadline, Durability::Durable, &steps).await?.is_some() {
        return Ok(Write::Done(()));
    }
    gone_or_conflict(database, deadline, rotation.id, rotation.now).await
}

pub(crate) async fn set_label(
    database: &Database,
    id: SessionId,
    owner: &UserId,
    label: Option<&Label>,
    now: Timestamp,
) -> Result<Write<()>, Failure> {
    let mut values = vec![Value::Id(id), Value::time(now), Value::text(owner.as_str())];
    let lock = Step::new(LOCK_FOR_LABEL, values.clone());
    values.push(Value::text_or_null(label.map(Label::as_str)));
    let steps = [lock, Step::new(SET_LABEL, values)];
    let row = changed(database, database.deadline(), Durability::Relaxed, &steps).await?;
    Ok(if row.is_some() { Write::Done(()) } else { Write::Gone })
}

pub(crate) async fn set_attributes(
    database: &Database,
    id: SessionId,
    expected: u64,
    attributes: &Attributes,
    now: Timestamp,
) -> Result<Write<u64>, Failure> {
    let deadline = database.deadline();
    let mut values = vec![Value::Id(id), Value::time(now), Value::number(expected)];
    let lock = Step::new(LOCK_FOR_ATTRIBUTES, values.clone());
    values.push(Value::Text(Cow::Owned(attributes.to_json())));
    let steps = [lock, Step::new(SET_ATTRIBUTES, values)];
    if let Some(row) = changed(database, deadline, Durability::Relaxed, &steps).await? {
        return Reader::new(&row, database.failures()).number(0).map(Write::Done);
    }
    gone_or_conflict(database, deadline, id, now).await
}

/// In steps of their own, each with its sessions in the order of their ids, so that two of them never wait for each other.
pub(crate) async fn touch(database: &Database, seen: &[LastSeen], now: Timestamp) -> Result<u64, Failure> {
    let mut latest: BTreeMap<Uuid, i64> = BTreeMap::new();
    for LastSeen { id, at } in seen {
        let newest = latest.entry(uuid(*id)).or_insert(i64::MIN);
        *newest = at.as_millis().max(*newest);
    }
    let latest: Vec<(Uuid, i64)> = latest.into_iter().collect();
    let mut changed = 0;
    for chunk in latest.chunks(MAX_TOUCHED) {
        let (ids, times) = chunk.iter().copied().unzip();
        let step = Step::new(TOUCH, vec![Value::Ids(ids), Value::Integers(times), Value::time(now)]);
        let rows = database.write(Durability::Relaxed, &[step]).await?;
        changed += rows.first().map_or(0, Vec::len) as u64;
    }
    Ok(changed)
}

/// What the last statement changed.
async fn changed(
    database: &Database,
    deadline: Instant,
    durability: Durability,
    steps: &[Step<'_>],
) -> Result<Option<Row>, Failure> {
    let rows = database.write_until(deadline, durability, steps).await;
    let mut rows = rows.map_err(|refusal| database.explain(&refusal))?;
    Ok(rows.pop().and_then(|mut rows| rows.pop()))
}

async fn gone_or_conflict<T>(
    database: &Database,
    deadline: Instant,
    id: SessionId,
    now: Timestamp,
) -> Result<Write<T>, Failure> {
    Ok(if is_live(database, deadline, id, now).await? { Write::Conflict } else { Write::Gone })
}

/// In a statement of its own: the one that changed nothing may have waited for whoever ended the session, and would not see it.
async fn is_live(database: &Database, deadline: Instant, id: SessionId, now: Timestamp) -> Result<bool, Failure> {
    let step = Step::new(IS_LIVE, vec![Value::Id(id), Value::time(now)]);
    let rows = database.read_until(deadline, &[step]).await?;
    Ok(rows.first().is_some_and(|rows| !rows.is_empty()))
}
