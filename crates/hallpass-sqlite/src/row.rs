//! Sessions to rows and back.

use hallpass_core::store::Record;
use hallpass_core::{
    Actor, ActorKind, Attributes, Authentication, Class, Client, EndReason, Ended, Label, Session, SessionId, State,
    Timestamp, TokenHash, UserId,
};
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Error, Row};

/// Reads the columns of [`FIND`](crate::statements::FIND).
pub(crate) fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let token_hash = TokenHash::from_bytes(row.get(1)?);
    let session = Session {
        id: id(row, 0)?,
        user: parse(row, 2, |text| UserId::new(text).ok())?,
        class: parse(row, 3, |text| Class::new(text).ok())?,
        created_at: time(row, 4)?,
        authenticated_at: time(row, 5)?,
        renewed_at: time(row, 6)?,
        last_seen_at: time(row, 7)?,
        idle_expires_at: time(row, 8)?,
        absolute_expires_at: time(row, 9)?,
        state: state(row)?,
        label: optional(row, 14, |text| Label::new(text).ok().flatten())?,
        client: Client { ip: optional(row, 15, |text| text.parse().ok())?, user_agent: row.get(19)? },
        authentication: Authentication { methods: parse(row, 16, methods)?, source: row.get(17)? },
        attributes_version: position(row, 18)?,
        attributes: parse(row, 20, attributes)?,
    };
    Ok(Record { session, token_hash })
}

fn state(row: &Row<'_>) -> rusqlite::Result<State> {
    let Some(at) = row.get::<_, Option<i64>>(10)? else {
        return Ok(State::Live);
    };
    let by = Actor { kind: parse(row, 11, ActorKind::parse)?, name: row.get(12)? };
    let reason = parse(row, 13, EndReason::parse)?;
    Ok(State::Ended(Ended { at: Timestamp::from_millis(at), by, reason }))
}

pub(crate) fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<SessionId> {
    row.get(column).map(SessionId::from_bytes)
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

/// A number that is never negative.
pub(crate) fn position(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| Error::IntegralValueOutOfRange(column, number))
}

/// A number for SQLite; positions and counts stay far below the bound.
pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Parses text without copying it first.
pub(crate) fn parse<T>(row: &Row<'_>, column: usize, read: impl FnOnce(&str) -> Option<T>) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str().map_err(|error| unreadable(column, error))?;
    read(text).ok_or_else(|| unreadable(column, FromSqlError::InvalidType))
}

fn optional<T>(row: &Row<'_>, column: usize, read: impl FnOnce(&str) -> Option<T>) -> rusqlite::Result<Option<T>> {
    let text = row.get_ref(column)?.as_str_or_null().map_err(|error| unreadable(column, error))?;
    match text {
        None => Ok(None),
        Some(text) => read(text).map(Some).ok_or_else(|| unreadable(column, FromSqlError::InvalidType)),
    }
}

/// Names the column, never the content.
fn unreadable(column: usize, error: FromSqlError) -> Error {
    Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

fn methods(text: &str) -> Option<Vec<String>> {
    // Nearly every row holds this one.
    if text == r#"["pwd"]"# { Some(vec![String::from("pwd")]) } else { serde_json::from_str(text).ok() }
}

fn attributes(text: &str) -> Option<Attributes> {
    // Text of another program is told by its ends; what lies between is parsed when the application looks at it.
    (text.starts_with('{') && text.ends_with('}')).then(|| Attributes::from_stored(text))
}

/// The methods as JSON text.
pub(crate) fn methods_text(authentication: &Authentication) -> String {
    serde_json::to_string(&authentication.methods).unwrap_or_else(|_| String::from("[]"))
}
