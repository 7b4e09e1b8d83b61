//! Writing the end into the rows behind a mark.
//!
//! Marks of a shard are settled in the order of their numbers, so what is live and below the first mark was ended by that one: the
//! first revocation keeps its reason. A settled mark is removed. Nothing can be behind it any more: scripts are atomic, and a session that is made
//! after the mark has its number or a higher one.
//!
//! A step reads which rows to look at, and gives their keys to a script that checks that the mark is still the first and nobody
//! else has moved on.

use hallpass_core::store::Settled;
use hallpass_core::{SessionId, StoreError};
use redis::Value;

use crate::answer::{Read, Unreadable, array, bytes, integer, many, member, next, optional};
use crate::database::{Asked, Database, Twice};
use crate::keys::Place;
use crate::newest::Newest;

/// So many rows in one script: a server does nothing else meanwhile.
pub(crate) const ROWS_TOGETHER: usize = 200;
/// A user id, a NUL and the number come before the end in a mark.
const NUMBER: usize = 16;

/// Looks at no more than `batch` rows. Without marks it is one small read of each shard, all at once.
pub(crate) async fn settle(database: &Database, batch: u32) -> Result<Settled, StoreError> {
    let marked = marked_shards(database).await?;
    let mut left = batch.max(1) as usize;
    let mut settled = Settled { rows: 0, more: false };
    for place in marked {
        let mut more = true;
        while more && left > 0 {
            let step = step(database, place, left.min(ROWS_TOGETHER)).await?;
            left -= step.looked_at.min(left);
            settled.rows += step.written;
            more = step.more;
        }
        settled.more |= more;
    }
    Ok(settled)
}

/// The shards that have marks.
async fn marked_shards(database: &Database) -> Result<Vec<Place>, StoreError> {
    let unreadable = |error| database.unreadable(error);
    if database.is_direct() {
        let command = redis::cmd("GET").arg(database.keys.newest_of_all()).to_owned();
        let newest = Newest::read(database.read(Place::LOG, &command).await?).map_err(unreadable)?;
        return Ok(Place::shards().filter(|place| newest.of(*place) > 0).collect());
    }
    let asked = |place| Asked::Command(redis::cmd("EXISTS").arg(database.keys.of(place, "mx")).to_owned());
    let told = database.on_all_shards(asked, Twice::Same).await?;
    Ok(told.into_iter().filter(|(_, marked)| *marked == Value::Int(1)).map(|(place, _)| place).collect())
}

struct Step {
    looked_at: usize,
    written: u64,
    more: bool,
}

async fn step(database: &Database, place: Place, limit: usize) -> Result<Step, StoreError> {
    let keys = &database.keys;
    let first = redis::cmd("ZRANGE").arg(keys.of(place, "mq")).arg(0).arg(0).to_owned();
    let first = many(database.read(place, &first).await?).map_err(|error| database.unreadable(error))?;
    let Some(mark) = first.into_iter().next() else {
        return Ok(Step { looked_at: 0, written: 0, more: false });
    };
    let Mark { user, number } = Mark::read(&mark).map_err(|error| database.unreadable(error))?;
    let (rows, before, after) = if user.is_empty() {
        rows_of_everyone(database, place, limit).await?
    } else {
        (rows_of_user(database, place, user, number, limit).await?, Vec::new(), Vec::new())
    };
    let whole = rows.len() < limit;
    let mut request = database.request(&database.scripts.settle, place);
    for (id, owner) in &rows {
        request = request.keys(keys.whole(*id, owner));
    }
    request = request.argument(mark.as_slice()).argument(user).argument(before).argument(after);
    request = request.argument(if whole { "1" } else { "0" });
    for (id, owner) in &rows {
        request = request.argument(*id.as_bytes()).argument(owner.as_str());
    }
    let mut answer = array(database.script(&request, Twice::Differs).await?)
        .map_err(|error| database.unreadable(error))?
        .into_iter();
    let read = next(&mut answer).and_then(bytes).and_then(|word| match word.as_slice() {
        b"settled" => next(&mut answer).and_then(|written| integer(&written)).map(i64::unsigned_abs),
        // Somebody else was faster; what is left is looked at anew.
        b"again" => Ok(0),
        _ => Err(Unreadable),
    });
    let written = read.map_err(|error| database.unreadable(error))?;
    Ok(Step { looked_at: rows.len().max(1), written, more: true })
}

struct Mark<'a> {
    user: &'a str,
    number: u64,
}

impl<'a> Mark<'a> {
    fn read(member: &'a [u8]) -> Read<Self> {
        let end = member.iter().position(|byte| *byte == 0).ok_or(Unreadable)?;
        let (user, rest) = member.split_at(end);
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Unreadable);
        let number = rest.get(1..=NUMBER).ok_or(Unreadable).and_then(text)?.parse().map_err(|_| Unreadable)?;
        Ok(Self { user: text(user)?, number })
    }
}

type Rows = Vec<(SessionId, String)>;

/// Exactly those behind the mark: the index has their epochs.
async fn rows_of_user(
    database: &Database,
    place: Place,
    user: &str,
    number: u64,
    limit: usize,
) -> Result<Rows, StoreError> {
    let mut command = redis::cmd("ZRANGE");
    command.arg(database.keys.of_user(place, "e", user)).arg("-inf").arg(format!("({number}"));
    command.arg("BYSCORE").arg("LIMIT").arg(0).arg(limit);
    let ids = many(database.read(place, &command).await?).and_then(crate::create::ids);
    let ids = ids.map_err(|error| database.unreadable(error))?;
    Ok(ids.into_iter().map(|id| (id, user.to_owned())).collect())
}

/// The next rows of the shard, where the last step stopped and where this one will.
async fn rows_of_everyone(
    database: &Database,
    place: Place,
    limit: usize,
) -> Result<(Rows, Vec<u8>, Vec<u8>), StoreError> {
    let unreadable = |error| database.unreadable(error);
    let cursor = redis::cmd("GET").arg(database.keys.of(place, "mc")).to_owned();
    let before = optional(database.read(place, &cursor).await?).map_err(unreadable)?.unwrap_or_default();
    let from = if before.is_empty() { b"-".to_vec() } else { [b"(", before.as_slice()].concat() };
    let mut command = redis::cmd("ZRANGE");
    command.arg(database.keys.of(place, "a")).arg(from).arg("+").arg("BYLEX").arg("LIMIT").arg(0).arg(limit);
    let members = many(database.read(place, &command).await?).map_err(unreadable)?;
    let after = members.last().cloned().unwrap_or_default();
    let rows =
        members.iter().map(|bytes| member(bytes).map(|(id, user)| (id, user.to_owned()))).collect::<Read<Rows>>();
    Ok((rows.map_err(unreadable)?, before, after))
}
