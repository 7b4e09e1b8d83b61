//! From the effect of a change to its entry in the log, and only then to its acknowledgement.
//!
//! On one server the same script writes both. In a Cluster the script of the shard writes the effect and puts the entry into the shard's outbox;
//! here the entry moves on to the log, which takes each entry once.

use hallpass_core::StoreError;
use redis::Value;

use crate::answer::{array, bytes, count, many, next, optional};
use crate::database::{Asked, Database, Twice};
use crate::keys::Place;
use crate::revoke;
use crate::script::Request;

/// An outbox is read in parts of so many (`lua/outbox.lua`).
const PART: usize = 256;
/// More parts than any outbox has: a bound for the loop.
const MOST_PARTS: usize = 1_000;
/// A nonce and a number.
const ENTRY_ID: usize = 18;

/// What must be in the log before the verb is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// What the verb itself has written. What others left behind is moved as far as possible.
    OwnEntries,
    /// All that is in the outbox, too.
    AllEntries,
    /// And, where the verb relies on an end that another program wrote and did not live to log, the revocation of everyone that is under way.
    Everything,
}

/// What a script answered, once its entries are in the log.
#[derive(Debug)]
pub(crate) struct Logged {
    /// The word it begins with.
    pub(crate) word: Vec<u8>,
    pub(crate) rest: std::vec::IntoIter<Value>,
    /// The position of its first entry in the log, where the log has a slot of its own.
    pub(crate) position: Option<u64>,
}

/// Runs a script whose first argument is the nonce.
pub(crate) async fn logged(
    database: &Database,
    request: &Request<'_>,
    nonce: [u8; 16],
    before: Before,
    durable: bool,
) -> Result<Logged, StoreError> {
    let (value, replicas) = if durable {
        let answered = database.durable_script(request).await?;
        (answered.value, answered.replicas)
    } else {
        (database.script(request, Twice::Differs).await?, None)
    };
    let logged = told(database, request.place(), value, nonce, before).await?;
    database.replicated(replicas)?;
    Ok(logged)
}

/// What such a script answered, once its entries are in the log.
pub(crate) async fn told(
    database: &Database,
    place: Place,
    value: Value,
    nonce: [u8; 16],
    before: Before,
) -> Result<Logged, StoreError> {
    let unreadable = |error| database.unreadable(error);
    let mut parts = array(value).map_err(unreadable)?.into_iter();
    let mut result = next(&mut parts).and_then(array).map_err(unreadable)?.into_iter();
    let word = next(&mut result).and_then(bytes).map_err(unreadable)?;
    let mut position = None;
    if !database.is_direct() {
        let replid = next(&mut parts).and_then(bytes).map_err(unreadable)?;
        let waiting = next(&mut parts).and_then(many).map_err(unreadable)?;
        let everyone = parts.next().map_or(Ok(None), optional).map_err(unreadable)?;
        let own = waiting.iter().any(|entry| entry.starts_with(&nonce)) || waiting.len() >= PART;
        let moved = empty(database, place, replid, waiting, Some(nonce)).await;
        position = match moved {
            Err(error) if own || before != Before::OwnEntries => return Err(not_logged(database, error)),
            Err(error) => {
                tracing::warn!(%error, "entries that another program left could not be moved to the log");
                None
            }
            Ok(position) => position,
        };
        let relies = before == Before::Everything && matches!(word.as_slice(), b"nothing" | b"keep" | b"pending");
        if let Some(everyone) = everyone.filter(|_| relies) {
            revoke::complete_everyone(database, place, everyone).await.map_err(|error| not_logged(database, error))?;
        }
    }
    Ok(Logged { word, rest: result, position })
}

/// The effect is there, its entry is not.
pub(crate) fn not_logged(database: &Database, error: StoreError) -> StoreError {
    database.failures.because("it is in effect, but other nodes could not be told of it (the log); ask again", error)
}

/// Moves what waits to the log, in order, and takes it out of the outbox. Answers the position of the first entry with this
/// nonce.
pub(crate) async fn empty(
    database: &Database,
    place: Place,
    replid: Vec<u8>,
    mut waiting: Vec<Vec<u8>>,
    nonce: Option<[u8; 16]>,
) -> Result<Option<u64>, StoreError> {
    let mut position = None;
    let long = waiting.len() >= PART;
    if waiting.is_empty() && (replid.is_empty() || database.is_followed(&replid)) {
        return Ok(None);
    }
    for _ in 0..MOST_PARTS {
        let positions = append(database, &replid, &waiting, b"").await?;
        let own = |entry: &Vec<u8>| nonce.is_some_and(|nonce| entry.starts_with(&nonce));
        position =
            position.or(waiting.iter().zip(&positions).find(|(entry, _)| own(entry)).map(|(_, position)| *position));
        if waiting.is_empty() {
            break;
        }
        let more = waiting.len() >= PART;
        if let Err(error) = forget(database, place, &waiting, b"").await {
            // The log knows them: whoever finds them again appends nothing.
            tracing::debug!(%error, "entries that are in the log stay in the outbox for now");
            break;
        }
        if !more {
            break;
        }
        waiting = read(database, place).await?;
    }
    if let (true, None, Some(nonce)) = (long, position, nonce) {
        // In a long outbox, another program may have come to it first.
        let command = redis::cmd("GET").arg(known(database, &entry(nonce, 0, 0))).to_owned();
        let stored = database.read(Place::LOG, &command).await?;
        position =
            if stored == Value::Nil { None } else { Some(count(&stored).map_err(|error| database.unreadable(error))?) };
    }
    Ok(position)
}

/// The beginning of an outbox.
pub(crate) async fn read(database: &Database, place: Place) -> Result<Vec<Vec<u8>>, StoreError> {
    let command = redis::cmd("LRANGE").arg(database.keys.of(place, "o")).arg(0).arg(PART - 1).to_owned();
    many(database.read(place, &command).await?).map_err(|error| database.unreadable(error))
}

/// Appends each entry that the log does not have yet; answers the positions of all. Ends the revocation of everyone that is complete with
/// them.
pub(crate) async fn append(
    database: &Database,
    replid: &[u8],
    entries: &[Vec<u8>],
    everyone: &[u8],
) -> Result<Vec<u64>, StoreError> {
    let nonce = database.nonce()?;
    let mut request = database
        .request(&database.scripts.append, Place::LOG)
        .keys(entries.iter().map(|entry| known(database, entry)))
        .argument(nonce)
        .argument(replid)
        .argument(everyone);
    for entry in entries {
        request = request.argument(entry.as_slice());
    }
    let positions = array(database.script(&request, Twice::Same).await?)
        .and_then(|positions| positions.iter().map(count).collect::<Result<Vec<u64>, _>>());
    let positions = positions.map_err(|error| database.unreadable(error))?;
    database.has_followed(replid.to_vec());
    Ok(positions)
}

/// Where the log remembers the position of an entry.
fn known(database: &Database, entry: &[u8]) -> Vec<u8> {
    let id = entry.iter().take(ENTRY_ID).map(|byte| format!("{byte:02x}")).collect::<String>();
    database.keys.of(Place::LOG, &format!("p:{id}"))
}

/// Takes entries out of an outbox, and a revocation of everyone that was completed.
pub(crate) async fn forget(
    database: &Database,
    place: Place,
    entries: &[Vec<u8>],
    everyone: &[u8],
) -> Result<(), StoreError> {
    let mut request = database.request(&database.scripts.forget, place).argument(everyone);
    for entry in entries {
        request = request.argument(entry.as_slice());
    }
    database.script(&request, Twice::Same).await.map(drop)
}

/// Takes a revocation of everyone that was completed out of every shard.
pub(crate) async fn forget_everyone(database: &Database, everyone: &[u8]) -> Result<(), StoreError> {
    let asked = |place| Asked::Script(database.request(&database.scripts.forget, place).argument(everyone));
    database.on_all_shards(asked, Twice::Same).await.map(drop)
}

/// An entry as `lua/outbox.lua` writes it.
pub(crate) fn entry(id: [u8; 16], kind: u8, at: i64) -> Vec<u8> {
    let mut entry = Vec::with_capacity(ENTRY_ID + 9);
    entry.extend_from_slice(&id);
    entry.extend_from_slice(&1_u16.to_be_bytes());
    entry.push(kind);
    entry.extend_from_slice(&at.to_be_bytes());
    entry
}
