//! Writing the end into the rows behind a mark.
//!
//! Marks are settled in the order of their positions, and each row is looked at once for each: what is still live and below the earliest
//! mark was ended by that one, so the first revocation keeps its reason. A settled mark is removed. Nothing can be behind it any
//! more: a session made later has a higher epoch.

use hallpass_core::store::Settled;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::row::{self, integer};
use crate::statements::{
    ADVANCE_MARK, COUNT_MARKS, END_BY_MARK, FIRST_MARK, REMOVE_MARK, UNSETTLED, UNSETTLED_OF_USER,
};

struct Mark {
    n: i64,
    user: String,
    at: i64,
    by_kind: String,
    by_name: String,
    reason: String,
    settled_up_to: Vec<u8>,
}

struct Behind {
    id: [u8; 16],
    epoch: i64,
    ended: bool,
}

/// Looks at no more than `batch` rows. Without marks it is one read of an empty table.
pub(crate) fn settle(connection: &Connection, batch: u32) -> rusqlite::Result<Settled> {
    let mut left = batch.max(1) as usize;
    let mut rows = 0;
    while left > 0 {
        let Some(mark) = first(connection)? else {
            return Ok(Settled { rows, more: false });
        };
        let next = next_rows(connection, &mark, left)?;
        for row in next.iter().filter(|row| !row.ended && row.epoch < mark.n) {
            end(connection, row, &mark)?;
            rows += 1;
        }
        match next.last() {
            Some(last) if next.len() == left => {
                connection.prepare_cached(ADVANCE_MARK)?.execute(params![mark.n, last.id.as_slice()])?;
            }
            _ => {
                connection.prepare_cached(REMOVE_MARK)?.execute([mark.n])?;
            }
        }
        left -= next.len();
    }
    Ok(Settled { rows, more: count_marks(connection)? > 0 })
}

/// How many marks wait.
pub(crate) fn count_marks(connection: &Connection) -> rusqlite::Result<u64> {
    connection.prepare_cached(COUNT_MARKS)?.query_row([], |row| row::position(row, 0))
}

fn first(connection: &Connection) -> rusqlite::Result<Option<Mark>> {
    let read = |row: &Row<'_>| {
        Ok(Mark {
            n: row.get(0)?,
            user: row.get(1)?,
            at: row.get(2)?,
            by_kind: row.get(3)?,
            by_name: row.get(4)?,
            reason: row.get(5)?,
            settled_up_to: row.get(6)?,
        })
    };
    connection.prepare_cached(FIRST_MARK)?.query_row([], read).optional()
}

fn next_rows(connection: &Connection, mark: &Mark, limit: usize) -> rusqlite::Result<Vec<Behind>> {
    let limit = integer(limit as u64);
    let read = |row: &Row<'_>| Ok(Behind { id: row.get(0)?, epoch: row.get(1)?, ended: row.get(2)? });
    if mark.user.is_empty() {
        let mut statement = connection.prepare_cached(UNSETTLED)?;
        statement.query_map(params![mark.settled_up_to, limit], read)?.collect()
    } else {
        let mut statement = connection.prepare_cached(UNSETTLED_OF_USER)?;
        statement.query_map(params![mark.user, mark.settled_up_to, limit], read)?.collect()
    }
}

fn end(connection: &Connection, row: &Behind, mark: &Mark) -> rusqlite::Result<()> {
    let bound = params![row.id.as_slice(), mark.at, mark.n, mark.by_kind, mark.by_name, mark.reason];
    connection.prepare_cached(END_BY_MARK)?.execute(bound).map(drop)
}
