//! The version of the layout of keys and rows, and making an empty database.

use hallpass_core::StoreError;

use crate::answer::bytes;
use crate::database::{Asked, Database, Twice};
use crate::health::Info;
use crate::keys::Place;
use crate::outbox;

/// The newest layout that this program knows: 2 has the registry of nodes, which a program that knows 1 alone would not be in.
pub(crate) const NEWEST: u32 = 2;

/// Brings the layout up to date; the versions before and after. Nothing of it is lost or done twice when several processes do it at once.
pub(crate) async fn migrate(database: &Database) -> Result<(u32, u32), StoreError> {
    match version(database, false).await? {
        0 => {
            every_shard_counts(database).await?;
            follow(database).await?;
            // Last: a database with a layout has all its shards.
            let key = database.keys.of(Place::LOG, "layout");
            let command = redis::cmd("SET").arg(key).arg(NEWEST).arg("NX").to_owned();
            database.write(Place::LOG, &command).await?;
            Ok((0, NEWEST))
        }
        found if found > NEWEST => Err(StoreError::TooNew { found, known: NEWEST }),
        NEWEST => Ok((NEWEST, NEWEST)),
        // What is new begins empty.
        found => {
            let request = database.request(&database.scripts.raise_layout, Place::LOG).number(found).number(NEWEST);
            let now = stored(database, database.script(&request, Twice::Same).await?)?;
            if now > NEWEST { Err(StoreError::TooNew { found: now, known: NEWEST }) } else { Ok((found, NEWEST)) }
        }
    }
}

/// Makes the log know every primary, so that it tells another one, after a fail-over or a restart, from these.
pub(crate) async fn follow(database: &Database) -> Result<(), StoreError> {
    if database.is_direct() {
        return Ok(());
    }
    for (place, _) in database.topology.primaries() {
        let info = Info::of(database, place).await?;
        outbox::append(database, info.get("master_replid").as_bytes(), &[], b"").await?;
    }
    Ok(())
}

/// A part of the data is gone. What is cached of it anywhere must go too, so the log gets another incarnation before anything else happens;
/// then the shard is an empty one.
pub(crate) async fn recover(database: &Database, place: Place) -> Result<(), StoreError> {
    tracing::warn!("data is missing: the database was emptied, or a server came back without its data");
    let found = version(database, true).await?;
    if place != Place::LOG {
        shard_counts(database, place).await?;
    }
    if found == 0 { migrate(database).await.map(drop) } else { Ok(()) }
}

/// The stored version, 0 for none. Makes the log if it is missing, and gives it another incarnation if told so.
async fn version(database: &Database, anew: bool) -> Result<u32, StoreError> {
    let nonce = database.nonce()?;
    let request =
        database.request(&database.scripts.found, Place::LOG).argument(nonce).argument(if anew { "1" } else { "0" });
    stored(database, database.script(&request, Twice::Same).await?)
}

fn stored(database: &Database, value: redis::Value) -> Result<u32, StoreError> {
    let stored = bytes(value).map_err(|error| database.unreadable(error))?;
    if stored.is_empty() {
        return Ok(0);
    }
    std::str::from_utf8(&stored).ok().and_then(|text| text.parse().ok()).filter(|found| *found > 0).ok_or_else(|| {
        database
            .failures
            .corrupt("the version of the layout is no number; another program uses the prefix: use another one")
    })
}

/// The counter of a shard is there from the beginning: one without has lost its data.
async fn every_shard_counts(database: &Database) -> Result<(), StoreError> {
    database.on_all_shards(|place| Asked::Command(counter(database, place)), Twice::Same).await.map(drop)
}

async fn shard_counts(database: &Database, place: Place) -> Result<(), StoreError> {
    database.write(place, &counter(database, place)).await.map(drop)
}

fn counter(database: &Database, place: Place) -> redis::Cmd {
    redis::cmd("SET").arg(database.keys.of(place, "c")).arg(0).arg("NX").to_owned()
}
