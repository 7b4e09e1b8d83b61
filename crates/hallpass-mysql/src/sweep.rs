//! Removing dead rows, one bounded step at a time, oldest first through the index of each kind.
//!
//! A renewal does not move the row in an index. The sweep finds rows by `due_at`, which is never later than the real deadline, removes those
//! that are really dead and moves the others to their real deadline: one more write per idle period instead of one per renewal. Several processes may
//! sweep at once: each passes over the rows that another one holds.

use hallpass_core::store::Sweep;
use mysql_async::Value;

use crate::connection::Connection;
use crate::failure::Fault;
use crate::literal::{MAX_IDS, fill, ids};
use crate::statements::{DUE, MOVE_DUE, OLD_ENDED, OLDEST_ENTRIES, REMOVE, SWEEP_LOG, SWEEPABLE};
use crate::work::{Ending, Read, Transaction};

/// What a step over the due rows did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Looked {
    pub(crate) removed: u64,
    /// As many rows as it may look at: there may be more.
    pub(crate) full: bool,
}

/// Looks at no more than `batch` rows that are due.
pub(crate) struct SweepExpired {
    pub(crate) before: i64,
    pub(crate) batch: u64,
}

impl Transaction for SweepExpired {
    type Answer = Looked;

    async fn run(&self, connection: &mut Connection) -> Result<Ending<Looked>, Fault> {
        let rows = connection.rows(DUE, vec![self.before.into(), self.batch.into()]).await?;
        let full = rows.len() as u64 >= self.batch;
        let (mut dead, mut renewed) = (Vec::new(), Vec::new());
        for mut columns in rows {
            let (id, deadline) = (columns.array(0, "id")?, columns.integer(1, "idle_expires_at")?);
            if deadline <= self.before { dead.push(id) } else { renewed.push(id) }
        }
        let removed = on_rows(connection, REMOVE, &mut dead).await?;
        on_rows(connection, MOVE_DUE, &mut renewed).await?;
        Ok(Ending::Commit(Looked { removed, full }))
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
