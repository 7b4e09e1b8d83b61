//! Lists and counts.

use hallpass_core::store::{Filter, Listing, Page};
use hallpass_core::{Class, Session, SessionId, Timestamp, UserId};
use rusqlite::{Connection, params};

use crate::row;
use crate::statements::{
    COUNT, COUNT_LIVE, COUNT_LIVE_OF_USER, COUNT_OF_USER, LIST, LIST_LIVE, LIST_LIVE_OF_USER, LIST_OF_USER,
};

/// Above every id: a blob that begins like another one and goes on is the greater one.
const ABOVE_ALL: [u8; 17] = [0xff; 17];

pub(crate) fn list(connection: &Connection, filter: &Filter, page: Page, now: Timestamp) -> rusqlite::Result<Listing> {
    let sql = match (&filter.user, filter.include_ended) {
        (Some(_), false) => LIST_LIVE_OF_USER,
        (Some(_), true) => LIST_OF_USER,
        (None, false) => LIST_LIVE,
        (None, true) => LIST,
    };
    let limit = page.limit.min(Page::MAX_LIMIT);
    let after = page.after.as_ref().map_or(ABOVE_ALL.as_slice(), |id: &SessionId| id.as_bytes());
    let bound = params![
        filter.user.as_ref().map(UserId::as_str),
        now.as_millis(),
        after,
        filter.class.as_ref().map(Class::as_str),
        // One more tells whether there is a next page.
        limit + 1
    ];
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(bound, |row| row::record(row).map(|record| record.session))?;
    let mut sessions: Vec<Session> = rows.collect::<Result<_, _>>()?;
    let more = sessions.len() > limit as usize;
    sessions.truncate(limit as usize);
    let next = sessions.last().map(|session| session.id).filter(|_| more);
    Ok(Listing { sessions, next })
}

pub(crate) fn count(connection: &Connection, filter: &Filter, now: Timestamp) -> rusqlite::Result<u64> {
    let sql = match (&filter.user, filter.include_ended) {
        (Some(_), false) => COUNT_LIVE_OF_USER,
        (Some(_), true) => COUNT_OF_USER,
        (None, false) => COUNT_LIVE,
        (None, true) => COUNT,
    };
    let bound =
        params![filter.user.as_ref().map(UserId::as_str), now.as_millis(), filter.class.as_ref().map(Class::as_str)];
    connection.prepare_cached(sql)?.query_row(bound, |row| row::position(row, 0))
}
