//! Sessions to rows and back.

use hallpass_core::store::Record;
use hallpass_core::{
    Actor, ActorKind, Attributes, Class, EndReason, Ended, Label, Session, SessionId, State, Timestamp, TokenHash,
    UserId,
};
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Error, Row};

use crate::sign_in_text;

/// Where a session's row lies: what of its id tells it from others, as a number. A read by it goes down one tree, a read by the id two. Rows
/// whose ids agree in all of it lie elsewhere, and are found by their ids.
///
/// 42 bits of the time (until 2109) and 21 of the random ones (RFC 9562, section 5.7), so that new rows go to the end of the table.
pub(crate) fn key(id: SessionId) -> i64 {
    let [t0, t1, t2, t3, t4, t5, r0, r1, r2, r3, ..] = *id.as_bytes();
    let millis = i64::from_be_bytes([0, 0, t0 & 0x03, t1, t2, t3, t4, t5]);
    // Leaves out the version and the variant.
    let random = i64::from(r0 & 0x0f) << 17 | i64::from(r1) << 9 | i64::from(r2 & 0x3f) << 3 | i64::from(r3 >> 5);
    millis << 21 | random
}

/// Reads the columns of [`FIND`](crate::statements::FIND) for the session with this id, which has not ended.
pub(crate) fn live(row: &Row<'_>, id: SessionId) -> rusqlite::Result<Record> {
    facts(row, id, State::Live)
}

/// Reads the columns of [`FIND_BY_ID`](crate::statements::FIND_BY_ID).
pub(crate) fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    facts(row, id(row, 0)?, state(row)?)
}

fn facts(row: &Row<'_>, id: SessionId, state: State) -> rusqlite::Result<Record> {
    let token_hash = TokenHash::from_bytes(row.get(1)?);
    let (client, authentication) = parse(row, 11, sign_in_text::read)?;
    let session = Session {
        id,
        user: parse(row, 2, |text| UserId::new(text).ok())?,
        class: parse(row, 3, |text| Class::new(text).ok())?,
        created_at: time(row, 4)?,
        authenticated_at: time(row, 5)?,
        renewed_at: time(row, 6)?,
        last_seen_at: time(row, 7)?,
        idle_expires_at: time(row, 8)?,
        absolute_expires_at: time(row, 9)?,
        label: optional(row, 10, |text| Label::new(text).ok().flatten())?,
        client,
        authentication,
        attributes_version: position(row, 12)?,
        attributes: parse(row, 13, attributes)?,
        state,
    };
    Ok(Record { session, token_hash })
}

fn state(row: &Row<'_>) -> rusqlite::Result<State> {
    let Some(at) = row.get::<_, Option<i64>>(14)? else {
        return Ok(State::Live);
    };
    let by = Actor { kind: parse(row, 15, ActorKind::parse)?, name: row.get(16)? };
    let reason = parse(row, 17, EndReason::parse)?;
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

fn attributes(text: &str) -> Option<Attributes> {
    // Text of another program is told by its ends; what lies between is parsed when the application looks at it.
    (text.starts_with('{') && text.ends_with('}')).then(|| Attributes::from_stored(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_of_the_time_and_21_random_bits_and_follows_both() {
        // 2026-11-24T00:00:00Z is 1_795_478_400_000 ms.
        let id = SessionId::from_bytes(0x01a2_0a4f_4800_7abc_9ee0_0000_0000_0000_u128.to_be_bytes());
        assert_eq!(key(id) >> 21, 0x01a2_0a4f_4800);
        assert_eq!(key(id) & 0x1f_ffff, 0xabc << 9 | 0x1e << 3 | 0x7);
        let bits = 0x03ff_ffff_ffff_0fff_3fe0_0000_0000_0000_u128;
        for bit in (0..128).map(|bit| 1_u128 << bit) {
            let other = SessionId::from_bytes((u128::from_be_bytes(*id.as_bytes()) ^ bit).to_be_bytes());
            assert_eq!(key(other) != key(id), bits & bit != 0, "{bit:x}");
            assert!(key(other) >= 0);
        }
        assert_eq!(bits.count_ones(), 63);
    }
}
