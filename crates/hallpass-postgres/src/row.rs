//! Sessions to rows and back.

use std::sync::Arc;

use hallpass_core::store::Record;
use hallpass_core::{
    Actor, ActorKind, Attributes, Authentication, Class, Client, EndReason, Ended, Label, Session, SessionId, State,
    Timestamp, TokenHash, UserId,
};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use crate::failure::{Failure, Failures};

/// A row, and the words for what it should not hold.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) row: &'a Row,
    pub(crate) failures: &'a Failures,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(row: &'a Row, failures: &'a Failures) -> Self {
        Self { row, failures }
    }

    pub(crate) fn get<T: FromSql<'a>>(&self, column: usize) -> Result<T, Failure> {
        self.row.try_get(column).map_err(|_| self.unreadable(column))
    }

    /// A number that is never negative.
    pub(crate) fn number(&self, column: usize) -> Result<u64, Failure> {
        u64::try_from(self.get::<i64>(column)?).map_err(|_| self.unreadable(column))
    }

    pub(crate) fn id(&self, column: usize) -> Result<SessionId, Failure> {
        self.get::<Uuid>(column).map(|id| SessionId::from_bytes(id.into_bytes()))
    }

    pub(crate) fn time(&self, column: usize) -> Result<Timestamp, Failure> {
        self.get(column).map(Timestamp::from_millis)
    }

    pub(crate) fn parse<T>(&self, column: usize, read: impl FnOnce(&str) -> Option<T>) -> Result<T, Failure> {
        read(self.get(column)?).ok_or_else(|| self.unreadable(column))
    }

    fn optional<T>(&self, column: usize, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Failure> {
        match self.get::<Option<&str>>(column)? {
            None => Ok(None),
            Some(text) => read(text).map(Some).ok_or_else(|| self.unreadable(column)),
        }
    }

    fn unreadable(&self, column: usize) -> Failure {
        self.failures.unreadable(self.row.columns().get(column).map_or("?", |column| column.name()))
    }

    /// Reads the columns of [`FIND`](crate::statements::FIND): a session that has not ended.
    pub(crate) fn unended(&self) -> Result<Record, Failure> {
        self.with_state(State::Live)
    }

    /// Reads the columns of [`FIND_WITH_ENDS`](crate::statements::FIND_WITH_ENDS) and of the lists.
    pub(crate) fn record(&self) -> Result<Record, Failure> {
        self.with_state(self.state()?)
    }

    fn with_state(&self, state: State) -> Result<Record, Failure> {
        let hash: &[u8] = self.get(1)?;
        let hash: [u8; 32] = hash.try_into().map_err(|_| self.unreadable(1))?;
        let session = Session {
            id: self.id(0)?,
            user: self.parse(2, |text| UserId::new(text).ok())?,
            class: self.parse(3, |text| Class::new(text).ok())?,
            created_at: self.time(4)?,
            authenticated_at: self.time(5)?,
            renewed_at: self.time(6)?,
            last_seen_at: self.time(7)?,
            idle_expires_at: self.time(8)?,
            absolute_expires_at: self.time(9)?,
            label: self.optional(10, |text| Label::new(text).ok().flatten())?,
            client: Client {
                ip: self.optional(11, |text| text.parse().ok())?,
                user_agent: self.get::<Option<&str>>(15)?.map(Arc::from),
            },
            authentication: Arc::new(Authentication { methods: self.parse(12, methods)?, source: self.get(13)? }),
            attributes_version: self.number(14)?,
            attributes: self.parse(16, attributes)?,
            state,
        };
        Ok(Record { session, token_hash: TokenHash::from_bytes(hash) })
    }

    fn state(&self) -> Result<State, Failure> {
        let Some(at) = self.get::<Option<i64>>(17)? else {
            return Ok(State::Live);
        };
        let by = Actor { kind: self.parse(18, ActorKind::parse)?, name: self.get(19)? };
        let reason = self.parse(20, EndReason::parse)?;
        Ok(State::Ended(Ended { at: Timestamp::from_millis(at), by, reason }))
    }
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
