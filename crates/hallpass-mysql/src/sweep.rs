//! Removing dead rows, one bounded step at a time, oldest first through the index of each kind.
//!
//! A renewal does not move the row in an index. The sweep finds rows by `due_at`, which is never later than the real deadline, removes those
//! that are really dead and moves the others to their real deadline: one more write per idle period instead of one per renewal. Several processes may
//! sweep at once: each passes over the rows that another one holds.

use std::sync::atomic::{AtomicI64, Ordering};

use hallpass_core::StoreError;
use hallpass_core::store::Sweep;
use mysql_async::Value;

use crate::connection::Connection;
use crate::failure::Fault;
use crate::literal::{MAX_IDS, fill, ids};
use crate::statements::{DUE, MOVE_DUE, OLD_ENDED, OLDEST_ENTRIES, REMOVE, SWEEP_LOG, SWEEPABLE};
use crate::work::{Database, Ending, Patience, Read, Transaction};

/// How many batches of rows that were renewed one step of a sweep moves on, before it answers without a removal.
const MOVED_BATCHES: u32 = 8;

const BEGINNING: i64 = i64::MIN;

/// Where a sweep goes on: from when on rows are due that the last step left.
///
/// The entries of rows that were removed stay in an index until the server has purged them. A step that began with the oldest would pass over all that the
/// steps before it left behind. Everything is looked at from the beginning before a step says that there is no more.
#[derive(Debug)]
pub(crate) struct Reached(AtomicI64);

impl Default for Reached {
    fn default() -> Self {
        Self(AtomicI64::new(BEGINNING))
    }
}

/// One step over rows that are due up to `before`: how many it removed, and whether there may be more.
pub(crate) async fn expired(
    database: &Database,
    reached: &Reached,
    before: i64,
    batch: u64,
) -> Result<(u64, bool), StoreError> {
    let mut gone = 0;
    for _ in 0..MOVED_BATCHES {
        let from = reached.0.load(Ordering::Relaxed);
        let from = if from > before { BEGINNING } else { from };
        let step = SweepExpired { from, before, batch: batch - gone };
        let Looked { removed, next } = database.write(Patience::Long, &step).await?;
        reached.0.store(next.unwrap_or(BEGINNING), Ordering::Relaxed);
        gone += removed.min(batch - gone);
        if from == BEGINNING && next.is_none() {
            return Ok((gone, false));
        }
        if gone >= batch || (gone > 0 && next.is_some()) {
            break;
        }
    }
    Ok((gone, true))
}

/// What a step over the due rows did.
#[derive(Debug, Clone, Copy, Default)]
struct Looked {
    removed: u64,
    /// From when on the next ones are due; `None` if these were fewer than it may look at.
    next: Option<i64>,
}

/// Looks at no more than `batch` rows that are due.
struct SweepExpired {
    from: i64,
    before: i64,
    batch: u64,
}

impl Transaction for SweepExpired {
    type Answer = Looked;

    async fn run(&self, connection: &mut Connection) -> Result<Ending<Looked>, Fault> {
        let rows = connection.rows(DUE, vec![self.from.into(), self.before.into(), self.batch.into()]).await?;
        let full = rows.len() as u64 >= self.batch;
        let (mut dead, mut renewed, mut last) = (Vec::new(), Vec::new(), None);
        for mut columns in rows {
            let (id, deadline) = (columns.array(0, "id")?, columns.integer(1, "idle_expires_at")?);
            if deadline <= self.before {
                dead.push(id);
            } else {
                renewed.push(id);
            }
            last = Some(columns.integer(2, "due_at")?);
        }
        let removed = on_rows(connection, REMOVE, &mut dead).await?;
        on_rows(connection, MOVE_DUE, &mut renewed).await?;
        // Those that were moved are due after `before`, and so after these.
        Ok(Ending::Commit(Looked { removed, next: last.filter(|_| full) }))
    }
}

/// Removes no more than `batch` rows whose retention is over.
pub(crate) struct SweepEnded {
    pub(crate) before: i64,
    pub(crate) batch: u64,
}

impl Transaction for SweepEnded {
    type Answer = u64;

    async fn run(&self, connection: &mut Connection) -> Result<Ending<u64>, Fault> {
        let rows = connection.rows(OLD_ENDED, vec![self.before.into(), self.batch.into()]).await?;
        let mut old: Vec<[u8; 16]> =
            rows.into_iter().map(|mut columns| columns.array(0, "id")).collect::<Result<_, _>>()?;
        Ok(Ending::Commit(on_rows(connection, REMOVE, &mut old).await?))
    }
}

/// Cuts the beginning of the log up to the first entry that is to stay, so that it never has a gap; at most `batch` entries.
pub(crate) struct SweepLog {
    pub(crate) before: i64,
    pub(crate) batch: u64,
}

impl Transaction for SweepLog {
    type Answer = u64;

    async fn run(&self, connection: &mut Connection) -> Result<Ending<u64>, Fault> {
        let mut last = None;
        for mut columns in connection.rows(OLDEST_ENTRIES, vec![self.batch.into()]).await? {
            let (n, at) =
                (columns.integer(0, "hallpass_revocations.n")?, columns.integer(1, "hallpass_revocations.at")?);
            if at > self.before {
                break;
            }
            last = Some(n);
        }
        match last {
            Some(n) => Ok(Ending::Commit(connection.write(SWEEP_LOG, vec![n.into()]).await?)),
            None => Ok(Ending::RollBack(0)),
        }
    }
}

/// Runs a statement on rows that this transaction holds.
async fn on_rows(connection: &mut Connection, sql: &str, rows: &mut [[u8; 16]]) -> Result<u64, Fault> {
    rows.sort_unstable();
    let mut found = 0;
    for part in rows.chunks(MAX_IDS) {
        found += connection.write_text(fill(sql, &[("{ids}", &ids(part))])).await?;
    }
    Ok(found)
}

/// How many sessions a sweep would remove now; rows behind a mark count once they are settled.
pub(crate) struct Sweepable(pub(crate) Sweep);

impl Read for Sweepable {
    type Answer = u64;

    async fn run(&self, connection: &mut Connection) -> Result<u64, Fault> {
        let (expired, ended) = (self.0.expired_before.as_millis(), self.0.ended_before.as_millis());
        let values: Vec<Value> = vec![expired.into(), expired.into(), ended.into()];
        let mut columns = connection.first(SWEEPABLE, values).await?.ok_or(Fault::Unreadable("count"))?;
        columns.count(0, "count")
    }
}
