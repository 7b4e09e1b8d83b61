//! The revocation log, read.

use hallpass_core::UserId;
use hallpass_core::store::{Change, ChangeKind, Changes};
use sha2::{Digest as _, Sha256};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::database::{Database, Refusal};
use crate::failure::Failure;
use crate::row::Reader;
use crate::session::Step;
use crate::statements::{HISTORY, LOG};
use crate::value::Value;

/// The most entries of one answer.
const MAX_ENTRIES: u32 = 10_000;

/// The log after `position`, from one snapshot.
pub(crate) async fn changes_since(database: &Database, position: u64, limit: u32) -> Result<Changes, Failure> {
    let history = history(database).await?;
    let values = vec![Value::number(position), Value::Integer(i64::from(limit.min(MAX_ENTRIES)))];
    let rows = database.read(&[Step::new(LOG, values)]).await?.pop().unwrap_or_default();
    let first = rows.first().map(|row| Reader::new(row, database.failures()));
    let first =
        first.ok_or_else(|| database.failures().corrupt("the row of hallpass_counter is missing; restore a backup"))?;
    let mut changes = Changes {
        incarnation: incarnation(first.get(0)?, first.get(3)?, &history),
        head: first.number(1)?,
        oldest: first.number(2)?,
        entries: Vec::with_capacity(rows.len()),
    };
    for row in &rows {
        changes.entries.extend(entry(&Reader::new(row, database.failures()))?);
    }
    Ok(changes)
}

fn entry(reader: &Reader<'_>) -> Result<Option<Change>, Failure> {
    if reader.get::<Option<i64>>(4)?.is_none() {
        return Ok(None);
    }
    let kind = match reader.get::<&str>(5)? {
        "ended" => ChangeKind::Ended(reader.id(6)?),
        "changed" => ChangeKind::Changed(reader.id(6)?),
        "user" => ChangeKind::User(reader.parse(7, |text| UserId::new(text).ok())?),
        "everyone" => ChangeKind::Everyone,
        _ => return Err(reader.failures.unreadable("kind")),
    };
    Ok(Some(Change { position: reader.number(4)?, kind, at: reader.time(8)? }))
}

/// Another one after a restore (the cluster, its timeline or the table is another one) and after a failover, where commits may be missing. A
/// copy of the data files that is started as if nothing had happened is not noticed; the head of the log, gone back, may tell.
fn incarnation(stored: Uuid, table: i64, history: &str) -> [u8; 16] {
    let digest = Sha256::new()
        .chain_update(stored.as_bytes())
        .chain_update(table.to_be_bytes())
        .chain_update(history.as_bytes())
        .finalize();
    let mut incarnation = [0; 16];
    incarnation.copy_from_slice(&digest[..16]);
    incarnation
}

/// Empty where the server does not tell: not every host of databases lets a role ask.
async fn history(database: &Database) -> Result<String, Failure> {
    match database.try_read(&[Step::new(HISTORY, Vec::new())]).await {
        Ok(rows) => match rows.first().and_then(|rows| rows.first()) {
            Some(row) => Reader::new(row, database.failures()).get(0),
            None => Ok(String::new()),
        },
        Err(Refusal::Server(error))
            if matches!(
                error.code(),
                Some(
                    &SqlState::INSUFFICIENT_PRIVILEGE
                        | &SqlState::FEATURE_NOT_SUPPORTED
                        | &SqlState::UNDEFINED_FUNCTION
                )
            ) =>
        {
            Ok(String::new())
        }
        Err(refusal) => Err(database.explain(&refusal)),
    }
}
