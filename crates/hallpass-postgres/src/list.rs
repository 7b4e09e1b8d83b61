//! Lists and counts.

use hallpass_core::store::{Filter, Listing, Page};
use hallpass_core::{Class, Session, SessionId, Timestamp, UserId};

use crate::database::Database;
use crate::failure::Failure;
use crate::row::Reader;
use crate::session::Step;
use crate::statements::{
    COUNT, COUNT_LIVE, COUNT_LIVE_OF_USER, COUNT_OF_USER, LIST, LIST_LIVE, LIST_LIVE_OF_USER, LIST_OF_USER,
};
use crate::value::Value;

pub(crate) async fn list(database: &Database, filter: &Filter, page: Page, now: Timestamp) -> Result<Listing, Failure> {
    let limit = page.limit.min(Page::MAX_LIMIT);
    let Some(first) = first_of(page.after) else {
        return Ok(Listing { sessions: Vec::new(), next: None });
    };
    let user = filter.user.as_ref().map(|user| Value::text(user.as_str()));
    let mut values: Vec<Value<'_>> = user.into_iter().collect();
    values.push(Value::Id(first));
    let sql = match (&filter.user, filter.include_ended) {
        (Some(_), false) => LIST_LIVE_OF_USER,
        (Some(_), true) => LIST_OF_USER,
        (None, false) => LIST_LIVE,
        (None, true) => LIST,
    };
    if !filter.include_ended {
        values.push(Value::time(now));
    }
    values.push(Value::text_or_null(filter.class.as_ref().map(Class::as_str)));
    // One more tells whether there is a next page.
    values.push(Value::Integer(i64::from(limit) + 1));
    let rows = database.read(&[Step::new(sql, values)]).await?.pop().unwrap_or_default();
    let mut sessions: Vec<Session> = Vec::with_capacity(rows.len());
    for row in &rows {
        sessions.push(Reader::new(row, database.failures()).record()?.session);
    }
    let more = sessions.len() > limit as usize;
    sessions.truncate(limit as usize);
    let next = sessions.last().map(|session| session.id).filter(|_| more);
    Ok(Listing { sessions, next })
}

/// The greatest id of a page: the one before `after`. `None` if there is none.
fn first_of(after: Option<SessionId>) -> Option<SessionId> {
    let greatest = match after {
        None => u128::MAX,
        Some(after) => u128::from_be_bytes(*after.as_bytes()).checked_sub(1)?,
    };
    Some(SessionId::from_bytes(greatest.to_be_bytes()))
}

pub(crate) async fn count(database: &Database, filter: &Filter, now: Timestamp) -> Result<u64, Failure> {
    let mut values: Vec<Value<'_>> = filter.user.as_ref().map(UserId::as_str).map(Value::text).into_iter().collect();
    let sql = match (&filter.user, filter.include_ended) {
        (Some(_), false) => COUNT_LIVE_OF_USER,
        (Some(_), true) => COUNT_OF_USER,
        (None, false) => COUNT_LIVE,
        (None, true) => COUNT,
    };
    if !filter.include_ended {
        values.push(Value::time(now));
    }
    values.push(Value::text_or_null(filter.class.as_ref().map(Class::as_str)));
    let rows = database.read(&[Step::new(sql, values)]).await?;
    let row = rows.first().and_then(|rows| rows.first());
    row.map_or(Ok(0), |row| Reader::new(row, database.failures()).number(0))
}
