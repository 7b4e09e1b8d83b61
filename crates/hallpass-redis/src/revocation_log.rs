//! The revocation log: a stream in a slot of its own, numbered without gaps in the order of its writing.

use hallpass_core::store::{Change, ChangeKind, Changes};
use hallpass_core::{SessionId, StoreError, Timestamp, UserId};
use redis::Value;

use crate::answer::{Read, Unreadable, array, bytes, count, integer, next};
use crate::database::{Database, Twice};
use crate::keys::Place;
use crate::layout;

/// The most entries of one answer.
const MAX_ENTRIES: u32 = 10_000;
/// So many entries are trimmed in one script.
const TRIMMED_TOGETHER: u64 = 1_000;

/// The log after `position`, from one script.
pub(crate) async fn changes_since(database: &Database, position: u64, limit: u32) -> Result<Changes, StoreError> {
    let request =
        database.request(&database.scripts.changes, Place::LOG).number(position).number(limit.min(MAX_ENTRIES));
    for _ in 0..2 {
        let value = database.script(&request, Twice::Same).await?;
        if let Some(changes) = changes(value).map_err(|error| database.unreadable(error))? {
            return Ok(changes);
        }
        // The data is gone: an empty database begins here, as another one.
        layout::recover(database, Place::LOG).await?;
    }
    Err(database.failures.unavailable("the log disappears again and again; is another program deleting keys?"))
}

/// `None` when there is no log.
fn changes(value: Value) -> Read<Option<Changes>> {
    let mut values = array(value)?.into_iter();
    let incarnation = next(&mut values).and_then(bytes)?;
    if incarnation.is_empty() {
        return Ok(None);
    }
    let incarnation = incarnation.try_into().map_err(|_| Unreadable)?;
    let head = next(&mut values).and_then(|head| count(&head))?;
    let oldest = next(&mut values).and_then(|oldest| count(&oldest))?;
    let entries = next(&mut values).and_then(array)?.into_iter().map(change).collect::<Read<_>>()?;
    Ok(Some(Changes { incarnation, head, oldest, entries }))
}

fn change(value: Value) -> Read<Change> {
    let mut values = array(value)?.into_iter();
    let position = next(&mut values).and_then(|position| count(&position))?;
    let kind = next(&mut values).and_then(bytes)?;
    let key = next(&mut values).and_then(bytes)?;
    let at = next(&mut values).and_then(|at| integer(&at))?;
    let kind = match kind.as_slice() {
        b"e" => ChangeKind::Ended(id(key)?),
        b"c" => ChangeKind::Changed(id(key)?),
        b"u" => {
            ChangeKind::User(String::from_utf8(key).ok().and_then(|user| UserId::new(user).ok()).ok_or(Unreadable)?)
        }
        b"a" => ChangeKind::Everyone,
        _ => return Err(Unreadable),
    };
    Ok(Change { position, kind, at: Timestamp::from_millis(at) })
}

fn id(bytes: Vec<u8>) -> Read<SessionId> {
    bytes.try_into().map(SessionId::from_bytes).map_err(|_| Unreadable)
}

/// Cuts the beginning of the log, at most so many entries; answers how many.
pub(crate) async fn trim(database: &Database, before: Timestamp, limit: u64) -> Result<u64, StoreError> {
    let mut trimmed = 0;
    while trimmed < limit {
        let part = (limit - trimmed).min(TRIMMED_TOGETHER);
        let request = database.request(&database.scripts.trim_log, Place::LOG).number(before.as_millis()).number(part);
        let cut =
            count(&database.script(&request, Twice::Differs).await?).map_err(|error| database.unreadable(error))?;
        trimmed += cut;
        if cut < part {
            break;
        }
    }
    Ok(trimmed)
}
