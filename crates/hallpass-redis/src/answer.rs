//! Reading what a server answered.

use redis::Value;

/// The answer has another form than the command gives.
#[derive(Debug)]
pub(crate) struct Unreadable;

pub(crate) type Read<T> = Result<T, Unreadable>;

pub(crate) fn array(value: Value) -> Read<Vec<Value>> {
    match value {
        Value::Array(values) => Ok(values),
        _ => Err(Unreadable),
    }
}

/// The next value of an answer.
pub(crate) fn next(values: &mut impl Iterator<Item = Value>) -> Read<Value> {
    values.next().ok_or(Unreadable)
}

pub(crate) fn bytes(value: Value) -> Read<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text.into_bytes()),
        _ => Err(Unreadable),
    }
}

/// `None` for a key that is not there.
pub(crate) fn optional(value: Value) -> Read<Option<Vec<u8>>> {
    match value {
        Value::Nil | Value::Boolean(false) => Ok(None),
        value => bytes(value).map(Some),
    }
}

pub(crate) fn many(value: Value) -> Read<Vec<Vec<u8>>> {
    array(value)?.into_iter().map(bytes).collect()
}

pub(crate) fn integer(value: &Value) -> Read<i64> {
    match value {
        Value::Int(number) => Ok(*number),
        Value::BulkString(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Unreadable),
        _ => Err(Unreadable),
    }
}

pub(crate) fn count(value: &Value) -> Read<u64> {
    integer(value).and_then(|number| u64::try_from(number).map_err(|_| Unreadable))
}

/// The 16 bytes of an id, and what follows them.
pub(crate) fn member(bytes: &[u8]) -> Read<(hallpass_core::SessionId, &str)> {
    let (id, user) = bytes.split_first_chunk::<16>().ok_or(Unreadable)?;
    let user = std::str::from_utf8(user).map_err(|_| Unreadable)?;
    Ok((hallpass_core::SessionId::from_bytes(*id), user))
}
