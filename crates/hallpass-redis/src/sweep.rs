//! Removing dead rows, one bounded step at a time, through the index of each kind.

use hallpass_core::store::{Sweep, Swept};
use hallpass_core::{SessionId, StoreError, Timestamp};

use crate::answer::{count, many, member};
use crate::database::{Database, Twice};
use crate::keys::Place;
use crate::revocation_log::trim;
use crate::revoke::{complete, complete_noted};
use crate::settle::{ROWS_TOGETHER, settle};

/// What a shard has to sweep.
#[derive(Debug, Clone, Copy)]
struct Dead {
    place: Place,
    marked: bool,
    waiting: bool,
    expired: Kind,
    ended: Kind,
}

#[derive(Debug, Clone, Copy)]
struct Kind {
    count: u64,
    oldest: i64,
}

/// Removes at most `batch` rows: in each shard oldest first, and the shard with the oldest row first. Rows behind a mark are settled first, as many
/// again at most: one that was revoked and has expired since is history to keep, not an expired session.
pub(crate) async fn sweep(database: &Database, sweep: &Sweep) -> Result<Swept, StoreError> {
    let settled = settle(database, sweep.batch).await?;
    let dead = dead(database, sweep).await?;
    if let Err(error) = complete_noted(database).await {
        tracing::warn!(%error, "a revocation of everyone that another program began could not be completed");
    }
    for shard in dead.iter().filter(|shard| shard.waiting) {
        if let Err(error) = complete(database, shard.place).await {
            tracing::warn!(%error, "entries that another program left could not be moved to the log");
        }
    }
    let mut left = u64::from(sweep.batch.max(1));
    let mut swept = Swept { expired: 0, ended: 0, more: settled.more };
    let mut shards: Vec<(Place, Kind)> =
        dead.iter().filter(|shard| !shard.marked).map(|shard| (shard.place, shard.expired)).collect();
    (swept.expired, left) = remove(database, &mut shards, "x", sweep.expired_before, left, &mut swept.more).await?;
    let mut shards: Vec<(Place, Kind)> = dead.iter().map(|shard| (shard.place, shard.ended)).collect();
    (swept.ended, left) = remove(database, &mut shards, "z", sweep.ended_before, left, &mut swept.more).await?;
    left -= trim(database, sweep.log_before, left).await?.min(left);
    swept.more |= left == 0;
    Ok(swept)
}

async fn dead(database: &Database, sweep: &Sweep) -> Result<Vec<Dead>, StoreError> {
    let before = [sweep.expired_before, sweep.ended_before];
    let told = database.survey(&database.scripts.peek, &["mq", "x", "z", "o", "eo"], &before).await?;
    let dead = |(place, numbers): (Place, Vec<i64>)| {
        let number = |at: usize| numbers.get(at).copied().unwrap_or(0);
        let kind = |at| Kind { count: number(at).unsigned_abs(), oldest: number(at + 1) };
        Dead { place, marked: number(0) > 0, expired: kind(1), ended: kind(3), waiting: number(5) > 0 }
    };
    Ok(told.into_iter().map(dead).collect())
}

/// Answers how many were removed and how many more may be.
async fn remove(
    database: &Database,
    shards: &mut [(Place, Kind)],
    index: &str,
    before: Timestamp,
    mut left: u64,
    more: &mut bool,
) -> Result<(u64, u64), StoreError> {
    shards.sort_by_key(|(_, kind)| kind.oldest);
    let mut removed = 0;
    for (place, kind) in shards.iter().filter(|(_, kind)| kind.count > 0) {
        let mut wanted = kind.count.min(left);
        *more |= wanted < kind.count;
        while wanted > 0 {
            let part = usize::try_from(wanted).unwrap_or(ROWS_TOGETHER).min(ROWS_TOGETHER);
            let rows = oldest(database, *place, index, before, part).await?;
            if rows.is_empty() {
                // Another sweeper was here.
                break;
            }
            let gone = remove_rows(database, *place, index, before, &rows).await?;
            removed += gone;
            left -= gone.min(left);
            wanted -= (rows.len() as u64).min(wanted);
        }
    }
    Ok((removed, left))
}

async fn oldest(
    database: &Database,
    place: Place,
    index: &str,
    before: Timestamp,
    limit: usize,
) -> Result<Vec<(SessionId, String)>, StoreError> {
    let mut command = redis::cmd("ZRANGE");
    command.arg(database.keys.of(place, index)).arg("-inf").arg(before.as_millis());
    command.arg("BYSCORE").arg("LIMIT").arg(0).arg(limit);
    let rows = many(database.read(place, &command).await?).and_then(|members| {
        members.iter().map(|bytes| member(bytes).map(|(id, user)| (id, user.to_owned()))).collect()
    });
    rows.map_err(|error| database.unreadable(error))
}

async fn remove_rows(
    database: &Database,
    place: Place,
    index: &str,
    before: Timestamp,
    rows: &[(SessionId, String)],
) -> Result<u64, StoreError> {
    let mut request = database.request(&database.scripts.sweep, place);
    for (id, user) in rows {
        request = request.keys(database.keys.whole(*id, user));
    }
    request = request.argument(if index == "x" { "expired" } else { "ended" }).number(before.as_millis());
    for (id, user) in rows {
        request = request.argument(*id.as_bytes()).argument(user.as_str());
    }
    count(&database.script(&request, Twice::Differs).await?).map_err(|error| database.unreadable(error))
}

/// How many sessions a sweep would remove now; rows behind a mark count once they are settled.
pub(crate) async fn sweepable(database: &Database, sweep: &Sweep) -> Result<u64, StoreError> {
    Ok(dead(database, sweep).await?.iter().map(|shard| shard.expired.count + shard.ended.count).sum())
}
