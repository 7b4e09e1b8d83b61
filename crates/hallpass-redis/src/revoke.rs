//! Ending sessions.
//!
//! One session is one row. A user's or everybody's sessions are one mark in the shard or in every shard, whatever their number: the next number
//! of the shard's counter. Each row carries the number that was current at its creation, its epoch, and is ended by any mark above it.
//! [`settle`](crate::settle) writes the end into the rows later and then removes the mark.

use futures_util::future::try_join_all;
use hallpass_core::store::{Revocation, RevokeOutcome, Target};
use hallpass_core::{Ended, SessionId, StoreError, Timestamp, UserId};

use crate::answer::{Read, Unreadable, array, bytes, count, many, next, optional};
use crate::create::ids;
use crate::database::{Asked, Database, Twice};
use crate::find::Found;
use crate::keys::Place;
use crate::outbox::{self, Before, Logged, logged};
use crate::script::Request;
use crate::{layout, row};

const NOTHING: RevokeOutcome = RevokeOutcome { ended: Some(0), position: 0 };
/// Above so many sessions they are not counted (`lua/revoke_user.lua`).
const MOST_COUNTED: usize = 50_000;
/// How often something else may have to be completed first.
const MOST_TRIES: usize = 100;
/// So many rows in one script: a server does nothing else meanwhile.
const COUNTED_TOGETHER: usize = 200;

pub(crate) async fn revoke(database: &Database, revocation: &Revocation) -> Result<RevokeOutcome, StoreError> {
    let Revocation { target, now, by, reason } = revocation;
    let end = Ended { at: *now, by: by.clone(), reason: *reason };
    match target {
        Target::Session { id, owner: Some(owner) } => one(database, *id, owner, &end).await,
        Target::Session { id, owner: None } => match owner_of(database, *id).await? {
            Some(owner) => one(database, *id, &owner, &end).await,
            None => {
                // It may have left after an end that is not in the log yet.
                complete(database, Place::of_session(*id)).await?;
                Ok(NOTHING)
            }
        },
        Target::User(user) => of_user(database, user, None, &end).await,
        Target::Others { user, keep } => of_user(database, user, Some(*keep), &end).await,
        Target::Everyone => everyone(database, &end).await,
        _ => Err(database
            .failures
            .unavailable("this version of hallpass-redis does not know the target of the revocation")),
    }
}

/// Runs the script of a revocation. A shard that lost its data gets it back as an empty one, and the log another incarnation: a cache may hold
/// sessions that the revocation does not find.
async fn decided<'a>(
    database: &Database,
    place: Place,
    request: impl Fn([u8; 16]) -> Request<'a>,
    before: Before,
    durable: bool,
) -> Result<Logged, StoreError> {
    for _ in 0..MOST_TRIES {
        let nonce = database.nonce()?;
        let answer = logged(database, &request(nonce), nonce, before, durable).await?;
        match answer.word.as_slice() {
            b"lost" => layout::recover(database, place).await?,
            // It has been completed meanwhile.
            b"pending" => {}
            _ => return Ok(answer),
        }
    }
    Err(database.failures.unavailable("other revocations or losses of data come before it again and again; try again"))
}

async fn one(database: &Database, id: SessionId, owner: &UserId, end: &Ended) -> Result<RevokeOutcome, StoreError> {
    let place = Place::of_session(id);
    let request = |nonce: [u8; 16]| {
        with_end(
            database
                .request(&database.scripts.revoke_one, place)
                .keys(database.keys.whole(id, owner.as_str()))
                .argument(nonce)
                .number(end.at.as_millis())
                .argument(*id.as_bytes())
                .argument(owner.as_str()),
            end,
        )
    };
    let mut answer = decided(database, place, request, Before::Everything, true).await?;
    match answer.word.as_slice() {
        b"nothing" => Ok(NOTHING),
        b"done" => {
            let read = position(&mut answer).and_then(|position| {
                let live = next(&mut answer.rest).and_then(|live| count(&live))?;
                Ok(RevokeOutcome { ended: Some(live), position })
            });
            read.map_err(|error| database.unreadable(error))
        }
        _ => Err(database.unreadable(Unreadable)),
    }
}

fn with_end<'a>(request: Request<'a>, end: &Ended) -> Request<'a> {
    request.argument(end.by.kind.as_str()).argument(end.by.name.as_str()).argument(end.reason.as_str())
}

/// As the script says, or, where the log has a slot of its own, as the log does.
fn position(answer: &mut Logged) -> Read<u64> {
    let told = next(&mut answer.rest).and_then(|position| count(&position))?;
    if told > 0 { Ok(told) } else { answer.position.ok_or(Unreadable) }
}

/// The user of a session never changes.
async fn owner_of(database: &Database, id: SessionId) -> Result<Option<UserId>, StoreError> {
    Ok(crate::find::find(database, id, Found::NotRead).await?.map(|record| record.session.user))
}

async fn of_user(
    database: &Database,
    user: &UserId,
    keep: Option<SessionId>,
    end: &Ended,
) -> Result<RevokeOutcome, StoreError> {
    const KEEP_IS_GONE: RevokeOutcome = RevokeOutcome { ended: None, position: 0 };
    let place = Place::of_user(user);
    if keep.is_some_and(|keep| Place::of_session(keep) != place) {
        return Ok(KEEP_IS_GONE);
    }
    let request = |nonce: [u8; 16]| {
        let mut request = database.request(&database.scripts.revoke_user, place).key(database.keys.of_user(
            place,
            "e",
            user.as_str(),
        ));
        if let Some(keep) = keep {
            request = request.key(database.keys.session(keep));
        }
        let request = request.argument(nonce).number(end.at.as_millis()).argument(user.as_str());
        let request = with_end(request, end);
        match keep {
            Some(keep) => request.argument(*keep.as_bytes()),
            None => request.argument(""),
        }
    };
    let mut answer = decided(database, place, request, Before::Everything, true).await?;
    match answer.word.as_slice() {
        b"nothing" => Ok(NOTHING),
        b"keep" => Ok(KEEP_IS_GONE),
        b"done" => {
            let read = position(&mut answer)
                .and_then(|position| Ok((position, next(&mut answer.rest).and_then(many).and_then(ids)?)));
            let (position, mut ended) = read.map_err(|error| database.unreadable(error))?;
            if ended.is_empty() || ended.len() > MOST_COUNTED {
                return Ok(RevokeOutcome { ended: None, position });
            }
            ended.retain(|id| Some(*id) != keep);
            let counted = live_at(database, place, &ended, end.at).await;
            // The revocation is durable and in effect: a count that fails must not read as a revocation that failed.
            let ended = counted.inspect_err(|error| tracing::warn!(%error, "ended sessions could not be counted")).ok();
            Ok(RevokeOutcome { ended, position })
        }
        _ => Err(database.unreadable(Unreadable)),
    }
}

/// How many of them had not expired. No write moves the deadline of what lies behind a mark, so it can be read afterwards.
async fn live_at(database: &Database, place: Place, ended: &[SessionId], now: Timestamp) -> Result<u64, StoreError> {
    let mut live = 0;
    for part in ended.chunks(COUNTED_TOGETHER) {
        let keys = part.iter().map(|id| database.keys.session(*id));
        let request = database.request(&database.scripts.unexpired, place).keys(keys).number(now.as_millis());
        live += count(&database.script(&request, Twice::Same).await?).map_err(|error| database.unreadable(error))?;
    }
    Ok(live)
}

/// A mark in every shard, and then one entry. On one server that is one script. In a Cluster it is noted first, so that whoever finds it
/// half done can complete it, and the next one waits for that: shards and log have all of them in one order.
async fn everyone(database: &Database, end: &Ended) -> Result<RevokeOutcome, StoreError> {
    if database.is_direct() {
        let request = |nonce: [u8; 16]| {
            let groups = Place::shards().flat_map(|place| shard_keys(database, place));
            let request = database.request(&database.scripts.revoke_everyone, Place::LOG).keys(groups);
            with_end(request.argument(nonce).number(end.at.as_millis()), end)
        };
        let mut answer = decided(database, Place::LOG, request, Before::Everything, true).await?;
        let position = position(&mut answer).map_err(|error| database.unreadable(error))?;
        return Ok(RevokeOutcome { ended: None, position });
    }
    let name = database.nonce()?;
    let noted = row::encoded_end(end);
    for _ in 0..MOST_TRIES {
        let request = begin_everyone(database).argument(name).argument(noted.as_slice()).argument("").argument("");
        let (word, noted) = noted_by(database, &request).await?;
        let position = mark_everyone(database, noted).await?;
        if word == b"noted" {
            database.wait_everywhere().await?;
            return Ok(RevokeOutcome { ended: None, position });
        }
    }
    Err(database.failures.unavailable("too many revocations of everyone at once; try again"))
}

fn begin_everyone(database: &Database) -> Request<'_> {
    database.request(&database.scripts.begin_everyone, Place::LOG)
}

/// The word of `lua/begin_everyone.lua`, and what is noted.
async fn noted_by(database: &Database, request: &Request<'_>) -> Result<(Vec<u8>, Vec<u8>), StoreError> {
    let answer = array(database.script(request, Twice::Differs).await?).map(Vec::into_iter);
    let answer =
        answer.and_then(|mut answer| Ok((next(&mut answer).and_then(bytes)?, next(&mut answer).and_then(bytes)?)));
    answer.map_err(|error| database.unreadable(error))
}

fn shard_keys(database: &Database, place: Place) -> [Vec<u8>; 4] {
    ["c", "marks", "mq", "a"].map(|name| database.keys.of(place, name))
}

/// Does or completes the revocation of everyone that is noted. Nobody does it twice: each shard knows the last one, and the log the
/// entry.
async fn mark_everyone(database: &Database, mut noted: Vec<u8>) -> Result<u64, StoreError> {
    // One task of this program does it, and the others wait for its answer.
    let mut last = database.everyone.lock().await;
    for _ in 0..MOST_TRIES {
        let (name, end) = read_noted(&noted).map_err(|error| database.unreadable(error))?;
        if last.0 == name {
            return Ok(last.1);
        }
        let Some(number) = mark_shards(database, &noted, &end).await? else {
            let position = log_everyone(database, name, &noted, end.at).await?;
            *last = (name, position);
            return Ok(position);
        };
        let end = row::encoded_end(&end);
        let request = begin_everyone(database).argument(name).argument(end).argument(noted.as_slice()).number(number);
        match noted_by(database, &request).await? {
            (word, anew) if word == b"noted" => noted = anew,
            // Others completed it.
            _ => return log_everyone(database, name, &[], decided_at(&noted)).await,
        }
    }
    Err(database.failures.unavailable("the numbers of revocations of everyone are in disorder; try again"))
}

/// A number (8 bytes), a name (16), and the end.
fn read_noted(noted: &[u8]) -> Read<([u8; 16], Ended)> {
    let (_, rest) = noted.split_first_chunk::<8>().ok_or(Unreadable)?;
    let (name, end) = rest.split_first_chunk::<16>().ok_or(Unreadable)?;
    Ok((*name, row::decoded_end(end)?))
}

fn decided_at(noted: &[u8]) -> Timestamp {
    read_noted(noted).map_or(Timestamp::EPOCH, |(_, end)| end.at)
}

/// A mark in every shard; answers the number that one of them had seen before on another one.
async fn mark_shards(database: &Database, noted: &[u8], end: &Ended) -> Result<Option<u64>, StoreError> {
    let request = |place: Place, nonce: [u8; 16]| {
        let request = database.request(&database.scripts.revoke_everyone, place).keys(shard_keys(database, place));
        with_end(request.argument(nonce).number(end.at.as_millis()), end).argument(noted)
    };
    let nonce = database.nonce()?;
    let one = |(place, value)| async move {
        let mut answer = outbox::told(database, place, value, nonce, Before::AllEntries).await?;
        if answer.word == b"lost" {
            layout::recover(database, place).await?;
            answer = decided(database, place, |nonce| request(place, nonce), Before::AllEntries, false).await?;
        }
        let number = next(&mut answer.rest).and_then(|number| count(&number));
        let number = number.map_err(|error| database.unreadable(error))?;
        Ok((answer.word == b"late").then_some(number))
    };
    let in_part = |error: StoreError| {
        database.failures.because("sessions of some shards have been ended and of others not; ask again", error)
    };
    let asked = |place| Asked::Script(request(place, nonce));
    let told = database.on_all_shards(asked, Twice::Differs).await.map_err(in_part)?;
    let late = try_join_all(told.into_iter().map(one)).await.map_err(in_part)?;
    Ok(late.into_iter().flatten().max())
}

/// Every shard has its mark, and the log has what each told before: now, and not earlier, it may tell of this.
async fn log_everyone(database: &Database, name: [u8; 16], noted: &[u8], at: Timestamp) -> Result<u64, StoreError> {
    let entry = outbox::entry(name, b'a', at.as_millis());
    let appended = outbox::append(database, b"", &[entry], noted).await;
    let positions = appended.map_err(|error| outbox::not_logged(database, error))?;
    if !noted.is_empty()
        && let Err(error) = outbox::forget_everyone(database, noted).await
    {
        // Whoever finds it completes it once more, which changes nothing.
        tracing::debug!(%error, "a revocation of everyone that is complete is still noted in some shards");
    }
    positions.first().copied().ok_or_else(|| database.unreadable(Unreadable))
}

/// Completes a revocation of everyone that another task or program began, as a shard noted it. One task does it, the others wait for it.
pub(crate) async fn complete_everyone(database: &Database, place: Place, noted: Vec<u8>) -> Result<(), StoreError> {
    // Boxed: each of its scripts may itself find something to complete, as far as the compiler knows.
    Box::pin(mark_everyone(database, noted.clone())).await?;
    // It may have been complete before, and only the note was left.
    outbox::forget(database, place, &[], &noted).await
}

/// Completes the revocation of everyone that a program did not live to complete.
pub(crate) async fn complete_noted(database: &Database) -> Result<(), StoreError> {
    if database.is_direct() {
        return Ok(());
    }
    let command = redis::cmd("GET").arg(database.keys.of(Place::LOG, "everyone")).to_owned();
    let noted = optional(database.read(Place::LOG, &command).await?).map_err(|error| database.unreadable(error))?;
    match noted {
        Some(noted) => Box::pin(mark_everyone(database, noted)).await.map(drop),
        None => Ok(()),
    }
}

/// Moves to the log what programs that did not live to do so left in a shard.
pub(crate) async fn complete(database: &Database, place: Place) -> Result<(), StoreError> {
    if database.is_direct() {
        return Ok(());
    }
    let waiting = outbox::read(database, place).await?;
    outbox::empty(database, place, Vec::new(), waiting, None).await?;
    let command = redis::cmd("GET").arg(database.keys.of(place, "eo")).to_owned();
    let pending = optional(database.read(place, &command).await?).map_err(|error| database.unreadable(error))?;
    match pending {
        Some(pending) => complete_everyone(database, place, pending).await,
        None => Ok(()),
    }
}
