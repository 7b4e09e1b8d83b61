//! Writing the end into the rows behind a mark.
//!
//! Marks are settled in the order of their positions, and each row is looked at once for each: what is still live and below the earliest
//! mark was ended by that one, so the first revocation keeps its reason. A settled mark is removed, in the transaction that wrote the last of its
//! rows. Nothing can be behind it any more: a session made later has a higher epoch, and one made earlier was committed before the mark was
//! (see [`revoke`](crate::revoke)).

use hallpass_core::store::Settled;
use mysql_async::Value;

use crate::connection::Connection;
use crate::failure::Fault;
use crate::literal::{MAX_IDS, bytes, fill, ids};
use crate::row::Columns;
use crate::statements::{
    ADVANCE_MARK, ANY_MARK, COUNT_MARKS, END_BY_MARK, FIRST_MARK, REMOVE_MARK, UNSETTLED, UNSETTLED_OF_USER,
};
use crate::work::{Ending, Read, Transaction};

struct Mark {
    n: i64,
    user: Vec<u8>,
    at: i64,
    by_kind: Vec<u8>,
    by_name: Vec<u8>,
    reason: Vec<u8>,
    settled_up_to: Vec<u8>,
}

struct Behind {
    id: [u8; 16],
    epoch: i64,
    ended: bool,
}

/// Whether any mark waits: a read of a nearly always empty table.
pub(crate) struct AnyMark;

impl Read for AnyMark {
    type Answer = bool;

    async fn run(&self, connection: &mut Connection) -> Result<bool, Fault> {
        connection.exists(ANY_MARK, Vec::new()).await
    }
}

/// Looks at no more than `batch` rows. One process does so at a time; others wait for it at the first mark.
pub(crate) struct Settle {
    pub(crate) batch: u32,
}

impl Transaction for Settle {
    type Answer = Settled;

    async fn run(&self, connection: &mut Connection) -> Result<Ending<Settled>, Fault> {
        let mut left = self.batch.max(1) as usize;
        let mut rows = 0;
        while left > 0 {
            let Some(mark) = first(connection).await? else {
                return Ok(Ending::Commit(Settled { rows, more: false }));
            };
            let next = next_rows(connection, &mark, left).await?;
            rows += end(connection, &mark, &next).await?;
            match next.last() {
                Some(last) if next.len() == left => {
                    connection.write(ADVANCE_MARK, vec![last.id.as_slice().into(), mark.n.into()]).await?;
                }
                _ => {
                    connection.write(REMOVE_MARK, vec![mark.n.into()]).await?;
                }
            }
            left -= next.len();
        }
        let more = count_marks(connection).await? > 0;
        Ok(Ending::Commit(Settled { rows, more }))
    }
}

/// How many marks wait.
pub(crate) async fn count_marks(connection: &mut Connection) -> Result<u64, Fault> {
    let mut columns = connection.first(COUNT_MARKS, Vec::new()).await?.ok_or(Fault::Unreadable("count"))?;
    columns.count(0, "count")
}

async fn first(connection: &mut Connection) -> Result<Option<Mark>, Fault> {
    let Some(mut columns) = connection.first(FIRST_MARK, Vec::new()).await? else {
        return Ok(None);
    };
    Ok(Some(Mark {
        n: columns.integer(0, "hallpass_marks.n")?,
        user: columns.bytes(1, "hallpass_marks.user_id")?,
        at: columns.integer(2, "hallpass_marks.at")?,
        by_kind: columns.bytes(3, "hallpass_marks.by_kind")?,
        by_name: columns.bytes(4, "hallpass_marks.by_name")?,
        reason: columns.bytes(5, "hallpass_marks.reason")?,
        settled_up_to: columns.bytes(6, "hallpass_marks.settled_up_to")?,
    }))
}

async fn next_rows(connection: &mut Connection, mark: &Mark, limit: usize) -> Result<Vec<Behind>, Fault> {
    let (after, limit) = (Value::Bytes(mark.settled_up_to.clone()), Value::from(limit as u64));
    let rows = if mark.user.is_empty() {
        connection.rows(UNSETTLED, vec![after, limit]).await?
    } else {
        connection.rows(UNSETTLED_OF_USER, vec![Value::Bytes(mark.user.clone()), after, limit]).await?
    };
    let read = |mut columns: Columns| {
        let (id, epoch) = (columns.array(0, "id")?, columns.integer(1, "epoch")?);
        Ok(Behind { id, epoch, ended: columns.integer(2, "ended")? != 0 })
    };
    rows.into_iter().map(read).collect()
}

async fn end(connection: &mut Connection, mark: &Mark, rows: &[Behind]) -> Result<u64, Fault> {
    let behind: Vec<&[u8; 16]> =
        rows.iter().filter(|row| !row.ended && row.epoch < mark.n).map(|row| &row.id).collect();
    let (at, n) = (mark.at.to_string(), mark.n.to_string());
    let (by_kind, by_name, reason) = (bytes(&mark.by_kind), bytes(&mark.by_name), bytes(&mark.reason));
    let mut ended = 0;
    for part in behind.chunks(MAX_IDS) {
        let ids = ids(part.iter().copied());
        let values = [
            ("{ids}", ids.as_str()),
            ("{at}", &at),
            ("{n}", &n),
            ("{by_kind}", &by_kind),
            ("{by_name}", &by_name),
            ("{reason}", &reason),
        ];
        ended += connection.write_text(fill(END_BY_MARK, &values)).await?;
    }
    Ok(ended)
}
