//! What is bound to a statement. Each value knows its type, so that a statement needs no preparation to be understood.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use bytes::BytesMut;
use hallpass_core::{NodeId, SessionId, Timestamp};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

/// A parameter.
#[derive(Clone)]
pub(crate) enum Value<'a> {
    Id(SessionId),
    Node(NodeId),
    Ids(Vec<Uuid>),
    Hash(&'a [u8; 32]),
    Text(Cow<'a, str>),
    TextOrNull(Option<Cow<'a, str>>),
    Integer(i64),
    Integers(Vec<i64>),
    Flag(bool),
}

/// The kind alone: the driver logs the parameters of every statement at its debug level.
impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.pg_type().name())
    }
}

impl<'a> Value<'a> {
    pub(crate) fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    pub(crate) fn text_or_null(text: Option<&'a str>) -> Self {
        Self::TextOrNull(text.map(Cow::Borrowed))
    }

    pub(crate) fn time(time: Timestamp) -> Self {
        Self::Integer(time.as_millis())
    }

    /// Positions, counts and versions stay far below the bound.
    pub(crate) fn number(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }

    pub(crate) const fn pg_type(&self) -> Type {
        match self {
            Self::Id(_) | Self::Node(_) => Type::UUID,
            Self::Ids(_) => Type::UUID_ARRAY,
            Self::Hash(_) => Type::BYTEA,
            Self::Text(_) | Self::TextOrNull(_) => Type::TEXT,
            Self::Integer(_) => Type::INT8,
            Self::Integers(_) => Type::INT8_ARRAY,
            Self::Flag(_) => Type::BOOL,
        }
    }

    /// As the driver wants it.
    pub(crate) fn bound(&self) -> &(dyn ToSql + Sync) {
        self
    }
}

pub(crate) fn uuid(id: SessionId) -> Uuid {
    Uuid::from_bytes(*id.as_bytes())
}

impl ToSql for Value<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Id(id) => uuid(*id).to_sql(ty, out),
            Self::Node(id) => Uuid::from_bytes(*id.as_bytes()).to_sql(ty, out),
            Self::Ids(ids) => ids.to_sql(ty, out),
            Self::Hash(hash) => hash.as_slice().to_sql(ty, out),
            Self::Text(text) => text.as_ref().to_sql(ty, out),
            Self::TextOrNull(text) => text.as_deref().to_sql(ty, out),
            Self::Integer(number) => number.to_sql(ty, out),
            Self::Integers(numbers) => numbers.to_sql(ty, out),
            Self::Flag(flag) => flag.to_sql(ty, out),
        }
    }

    // Each value comes with its own type.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bound_does_not_show_in_the_drivers_log() {
        let values =
            [Value::text("alice"), Value::Hash(&[7; 32]), Value::Integer(1_234_567), Value::text_or_null(Some("x"))];
        assert_eq!(format!("{values:?}"), "[text, bytea, int8, text]");
    }
}
