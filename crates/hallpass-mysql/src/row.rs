//! Sessions to rows and back.

use std::sync::Arc;

use hallpass_core::store::Record;
use hallpass_core::{
    Actor, ActorKind, Attributes, Authentication, Class, Client, EndReason, Ended, Label, Session, SessionId, State,
    Timestamp, TokenHash, UserId,
};
use mysql_async::{Row, Value};

use crate::failure::Fault;

/// The values of a row, taken one by one.
#[derive(Debug)]
pub(crate) struct Columns(Vec<Value>);

impl Columns {
    pub(crate) fn of(row: Row) -> Self {
        Self(row.unwrap())
    }

    fn take(&mut self, column: usize) -> Value {
        self.0.get_mut(column).map_or(Value::NULL, |value| std::mem::replace(value, Value::NULL))
    }

    /// An integer, or `None` for NULL. The text protocol answers digits.
    pub(crate) fn optional_integer(&mut self, column: usize, name: &'static str) -> Result<Option<i64>, Fault> {
        match self.take(column) {
            Value::NULL => Ok(None),
            Value::Int(number) => Ok(Some(number)),
            Value::UInt(number) => i64::try_from(number).map(Some).map_err(|_| Fault::Unreadable(name)),
            Value::Bytes(digits) => {
                let number = std::str::from_utf8(&digits).ok().and_then(|digits| digits.parse().ok());
                number.map(Some).ok_or(Fault::Unreadable(name))
            }
            _ => Err(Fault::Unreadable(name)),
        }
    }

    pub(crate) fn integer(&mut self, column: usize, name: &'static str) -> Result<i64, Fault> {
        self.optional_integer(column, name)?.ok_or(Fault::Unreadable(name))
    }

    /// A number that is never negative.
    pub(crate) fn count(&mut self, column: usize, name: &'static str) -> Result<u64, Fault> {
        u64::try_from(self.integer(column, name)?).map_err(|_| Fault::Unreadable(name))
    }

    pub(crate) fn time(&mut self, column: usize, name: &'static str) -> Result<Timestamp, Fault> {
        self.integer(column, name).map(Timestamp::from_millis)
    }

    pub(crate) fn optional_bytes(&mut self, column: usize, name: &'static str) -> Result<Option<Vec<u8>>, Fault> {
        match self.take(column) {
            Value::NULL => Ok(None),
            Value::Bytes(bytes) => Ok(Some(bytes)),
            _ => Err(Fault::Unreadable(name)),
        }
    }

    pub(crate) fn bytes(&mut self, column: usize, name: &'static str) -> Result<Vec<u8>, Fault> {
        self.optional_bytes(column, name)?.ok_or(Fault::Unreadable(name))
    }

    pub(crate) fn array<const N: usize>(&mut self, column: usize, name: &'static str) -> Result<[u8; N], Fault> {
        self.bytes(column, name)?.try_into().map_err(|_| Fault::Unreadable(name))
    }

    pub(crate) fn optional_text(&mut self, column: usize, name: &'static str) -> Result<Option<String>, Fault> {
        let bytes = self.optional_bytes(column, name)?;
        bytes.map(String::from_utf8).transpose().map_err(|_| Fault::Unreadable(name))
    }

    pub(crate) fn text(&mut self, column: usize, name: &'static str) -> Result<String, Fault> {
        self.optional_text(column, name)?.ok_or(Fault::Unreadable(name))
    }

    pub(crate) fn parse<T>(
        &mut self,
        column: usize,
        name: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Fault> {
        read(&self.text(column, name)?).ok_or(Fault::Unreadable(name))
    }

    fn optional<T>(
        &mut self,
        column: usize,
        name: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        let text = self.optional_text(column, name)?;
        text.map(|text| read(&text).ok_or(Fault::Unreadable(name))).transpose()
    }
}

/// The column of [`FIND`](crate::statements::FIND) that tells whether the session may have ended.
pub(crate) const MAY_HAVE_ENDED: usize = 17;

/// Reads the columns of [`FIND`](crate::statements::FIND) as those of a session that has not ended.
pub(crate) fn live_record(columns: &mut Columns) -> Result<Record, Fault> {
    record_in(columns, State::Live)
}

/// Reads the columns of [`FIND_ENDED`](crate::statements::FIND_ENDED) and the lists.
pub(crate) fn record(columns: &mut Columns) -> Result<Record, Fault> {
    let state = match columns.optional_integer(17, "ended_at")? {
        None => State::Live,
        Some(at) => {
            let kind = columns.parse(18, "ended_by_kind", ActorKind::parse)?;
            let by = Actor { kind, name: columns.text(19, "ended_by")? };
            let reason = columns.parse(20, "ended_reason", EndReason::parse)?;
            State::Ended(Ended { at: Timestamp::from_millis(at), by, reason })
        }
    };
    record_in(columns, state)
}

fn record_in(columns: &mut Columns, state: State) -> Result<Record, Fault> {
    let session = Session {
        id: SessionId::from_bytes(columns.array(0, "id")?),
        user: columns.parse(2, "user_id", |text| UserId::new(text).ok())?,
        class: columns.parse(3, "class", |text| Class::new(text).ok())?,
        created_at: columns.time(4, "created_at")?,
        authenticated_at: columns.time(5, "authenticated_at")?,
        renewed_at: columns.time(6, "renewed_at")?,
        last_seen_at: columns.time(7, "last_seen_at")?,
        idle_expires_at: columns.time(8, "idle_expires_at")?,
        absolute_expires_at: columns.time(9, "absolute_expires_at")?,
        state,
        label: columns.optional(10, "label", |text| Label::new(text).ok().flatten())?,
        client: Client {
            ip: columns.optional(11, "ip", |text| text.parse().ok())?,
            user_agent: columns.optional_text(15, "user_agent")?.map(Arc::from),
        },
        authentication: Arc::new(Authentication {
            methods: columns.parse(12, "methods", methods)?,
            source: columns.text(13, "source")?,
        }),
        attributes_version: columns.count(14, "attributes_version")?,
        attributes: columns.parse(16, "attributes", attributes)?,
    };
    Ok(Record { session, token_hash: TokenHash::from_bytes(columns.array(1, "token_hash")?) })
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

/// An id as a parameter.
pub(crate) fn id(id: SessionId) -> Value {
    Value::Bytes(id.as_bytes().to_vec())
}

/// A time as a parameter.
pub(crate) fn time(time: Timestamp) -> Value {
    Value::Int(time.as_millis())
}

/// A position or a count as a parameter.
pub(crate) fn number(number: u64) -> Value {
    Value::UInt(number)
}

/// A text as a parameter.
pub(crate) fn text(text: &str) -> Value {
    Value::Bytes(text.as_bytes().to_vec())
}

/// A text or NULL as a parameter.
pub(crate) fn optional_text(optional: Option<&str>) -> Value {
    optional.map_or(Value::NULL, text)
}
