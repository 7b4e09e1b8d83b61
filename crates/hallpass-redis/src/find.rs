//! The check's read.

use std::sync::Arc;
use std::time::Duration;

use hallpass_core::store::Record;
use hallpass_core::{SessionId, State, StoreError};
use redis::Value;

use crate::answer::{Read, Unreadable, array, bytes, next};
use crate::batch::{Batch, Reading, command, readings};
use crate::database::{Database, Twice};
use crate::keys::Place;
use crate::row;

/// What is known after one command.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large one is the usual one, and a box is an allocation in each check"
)]
pub(crate) enum Found {
    /// It is as it was read.
    Decided(Option<Record>),
    /// It may be behind a mark: a script looks.
    PerhapsMarked,
    /// There is no answer.
    NotRead,
}

/// One command, with whatever else is read at the same time: the session and the newest mark of its shard that is not settled. Small, for it
/// is most of what a check costs.
pub(crate) async fn at_once(database: &Arc<Database>, id: SessionId, patience: Duration) -> Result<Found, StoreError> {
    match Batch::read(database, id, patience).await {
        Some(reading) => found(id, &reading).map_err(|error| unreadable(database, id, &error)),
        None => Ok(Found::NotRead),
    }
}

/// What is left to do after that.
pub(crate) async fn find(database: &Database, id: SessionId, so_far: Found) -> Result<Option<Record>, StoreError> {
    let found = match so_far {
        Found::NotRead => {
            let reading = alone(database, id).await?;
            found(id, &reading).map_err(|error| unreadable(database, id, &error))?
        }
        found => found,
    };
    if let Found::Decided(record) = found {
        return Ok(record);
    }
    // A later reading is as good: it sees what the first one saw and more.
    let request = database.request(&database.scripts.rows, Place::of_session(id));
    let rows = array(database.script(&request.key(database.keys.session(id)), Twice::Same).await?);
    let row = rows.and_then(|rows| shown(id, &mut rows.into_iter()));
    row.map_err(|error| unreadable(database, id, &error))
}

/// With redirections, and with the reason if it fails.
async fn alone(database: &Database, id: SessionId) -> Result<Reading, StoreError> {
    let values = match database.read_unless_moving(Place::of_session(id), &command(database, [id])).await? {
        Some(values) => values,
        None => one_by_one(database, id).await?,
    };
    let reading = readings(database, [id], values).and_then(|mut readings| readings.next().ok_or(Unreadable)?);
    reading.map_err(|error| unreadable(database, id, &error))
}

/// While a slot moves from one node to another, no command reads keys that are on both sides. The newest mark is read first: a mark that is
/// settled and gone after that has written its end into the row.
async fn one_by_one(database: &Database, id: SessionId) -> Result<Value, StoreError> {
    let (place, keys) = (Place::of_session(id), &database.keys);
    let mut values = Vec::with_capacity(2);
    for key in [keys.of(place, "mx"), keys.session(id)] {
        values.push(database.read(place, &redis::cmd("GET").arg(key).to_owned()).await?);
    }
    Ok(Value::Array(values))
}

fn found(id: SessionId, reading: &Reading) -> Read<Found> {
    let Some(row) = &reading.row else { return Ok(Found::Decided(None)) };
    let (record, epoch) = row::decoded(id, row)?;
    if reading.newest > epoch && record.session.state == State::Live {
        return Ok(Found::PerhapsMarked);
    }
    Ok(Found::Decided(Some(record)))
}

/// The next row that `lua/rows.lua` answers, with the end that a mark gave it; `None` for one that is not there.
pub(crate) fn shown(id: SessionId, values: &mut impl Iterator<Item = Value>) -> Read<Option<Record>> {
    let row = next(values).and_then(bytes)?;
    let mark = next(values).and_then(bytes)?;
    if row.is_empty() {
        return Ok(None);
    }
    let (mut record, _) = row::decoded(id, &row)?;
    if !mark.is_empty() {
        record.session.state = State::Ended(row::decoded_end(&mark)?);
    }
    Ok(Some(record))
}

/// Names the session, never its content.
pub(crate) fn unreadable(database: &Database, id: SessionId, _: &Unreadable) -> StoreError {
    database.failures.corrupt(&format!("session {id} cannot be read by this program; restore a backup"))
}
