//! The check's read.

use hallpass_core::store::Record;
use hallpass_core::{SessionId, State, StoreError};
use redis::Value;

use crate::answer::{Read, Unreadable, array, bytes, next, optional};
use crate::batch::name_keys;
use crate::database::{Database, Twice};
use crate::keys::Place;
use crate::row;

/// One command, with whatever else is read at the same time: both parts of the session and the newest mark of its shard that is not settled.
/// Only when that is above the session's epoch, a script looks which mark ended it; a later reading is as good, for it sees what the
/// first one saw and more.
pub(crate) async fn find(database: &Database, id: SessionId) -> Result<Option<Record>, StoreError> {
    let values = match database.reads.read(database, id).await {
        Some(values) => values.into(),
        None => alone(database, id).await?,
    };
    match found(id, values).map_err(|error| unreadable(database, id, &error))? {
        Found::None => Ok(None),
        Found::Row(record) => Ok(Some(*record)),
        Found::PerhapsMarked => {
            let keys = &database.keys;
            let request = database.request(&database.scripts.rows, Place::of_session(id));
            let request = request.key(keys.session(id)).key(keys.touched(id));
            let rows = array(database.script(&request, Twice::Same).await?);
            let row = rows.and_then(|rows| shown(id, &mut rows.into_iter()));
            row.map_err(|error| unreadable(database, id, &error))
        }
    }
}

/// With redirections, and with the reason if it fails.
async fn alone(database: &Database, id: SessionId) -> Result<Vec<Value>, StoreError> {
    let mut command = redis::cmd("MGET");
    name_keys(database, id, &mut command);
    match database.read_unless_moving(Place::of_session(id), &command).await? {
        Some(values) => array(values).map_err(|error| unreadable(database, id, &error)),
        None => one_by_one(database, id).await,
    }
}

/// While a slot moves from one node to another, no command reads keys that are on both sides. The newest mark is read first: a mark that is
/// settled and gone after that has written its end into the row.
async fn one_by_one(database: &Database, id: SessionId) -> Result<Vec<Value>, StoreError> {
    let (place, keys) = (Place::of_session(id), &database.keys);
    let mut values = Vec::with_capacity(3);
    for key in [keys.of(place, "mx"), keys.session(id), keys.touched(id)] {
        values.push(database.read(place, &redis::cmd("GET").arg(key).to_owned()).await?);
    }
    values.rotate_left(1);
    Ok(values)
}

enum Found {
    None,
    Row(Box<Record>),
    PerhapsMarked,
}

fn found(id: SessionId, values: Vec<Value>) -> Read<Found> {
    let mut values = values.into_iter();
    let row = next(&mut values).and_then(optional)?;
    let touched = next(&mut values).and_then(optional)?;
    let newest = next(&mut values).and_then(optional)?;
    let (Some(row), Some(touched)) = (row, touched) else {
        return Ok(Found::None);
    };
    let (record, epoch) = row::decoded(id, &row, &touched)?;
    let newest: u64 = match newest {
        None => 0,
        Some(text) => std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).ok_or(Unreadable)?,
    };
    if newest > epoch && record.session.state == State::Live {
        return Ok(Found::PerhapsMarked);
    }
    Ok(Found::Row(Box::new(record)))
}

/// The next row that `lua/rows.lua` answers, with the end that a mark gave it; `None` for one that is not there.
pub(crate) fn shown(id: SessionId, values: &mut impl Iterator<Item = Value>) -> Read<Option<Record>> {
    let row = next(values).and_then(bytes)?;
    let touched = next(values).and_then(bytes)?;
    let mark = next(values).and_then(bytes)?;
    if row.is_empty() {
        return Ok(None);
    }
    let (mut record, _) = row::decoded(id, &row, &touched)?;
    if !mark.is_empty() {
        record.session.state = State::Ended(row::decoded_end(&mark)?);
    }
    Ok(Some(record))
}

/// Names the session, never its content.
pub(crate) fn unreadable(database: &Database, id: SessionId, _: &Unreadable) -> StoreError {
    database.failures.corrupt(&format!("session {id} cannot be read by this program; restore a backup"))
}
