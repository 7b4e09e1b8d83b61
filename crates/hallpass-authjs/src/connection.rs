//! One connection to any of the three engines: a few verbs, and what can go wrong.

pub(crate) mod mysql;
pub(crate) mod postgres;
pub(crate) mod sqlite;

use std::fmt;

use async_trait::async_trait;
use hallpass_core::StoreError;

/// A parameter of a statement, or a column of a row. Ids and digests are text, so that the tables can be read by people and no engine's form of bytes matters.
///
/// No `Debug`: it may be a token.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// No text.
    Null,
    Integer(i64),
    Text(String),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }
}

/// One row.
pub(crate) struct Columns(pub(crate) Vec<Value>);

/// Why work on a connection did not succeed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A unique key is there already.
    Duplicate,
    /// A row refers to one that is not there.
    NoSuchUser,
    /// The server undid the transaction because of others; trying again is right.
    Conflict(String),
    /// The connection is of no more use.
    Lost(String),
    /// A row holds what cannot be read, in this column.
    Unreadable(&'static str),
    /// Anything else.
    Failed(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl Fault {
    /// In the words of a store.
    pub(crate) fn explained(self, place: &str) -> StoreError {
        match self {
            Self::Duplicate => corrupt(format!("{place}: a key is there already that nobody else makes")),
            Self::NoSuchUser => corrupt(format!(
                "{place}: the user of a session is not in the application's table of users; make the user first"
            )),
            Self::Unreadable(column) => corrupt(format!(
                "{place}: a row holds what this program cannot read in its column {column}; `hallpass doctor --authjs` says what is expected"
            )),
            Self::Conflict(what) | Self::Lost(what) => StoreError::unavailable(what),
            Self::Failed(error) => error,
        }
    }
}

/// Damaged, or not ours.
pub(crate) fn corrupt(message: String) -> StoreError {
    StoreError::Corrupt { message, source: None }
}

/// Readable and not writable.
pub(crate) fn not_writable(message: String) -> StoreError {
    StoreError::NotWritable { message, source: None }
}

/// Opens connections to one database.
#[async_trait]
pub(crate) trait Connector: Send + Sync + fmt::Debug {
    /// Where the database is, for messages: never with a password.
    fn place(&self) -> &str;

    /// A connection that is set up. The caller bounds the time.
    async fn connect(&self) -> Result<Box<dyn Connection>, Fault>;
}

/// One connection. Dropping it closes it, and the server undoes what it had begun. Statements have `?` for a value.
#[async_trait]
pub(crate) trait Connection: Send {
    /// Whether nothing is known that speaks against using it.
    fn is_usable(&self) -> bool;

    /// Begins a transaction that writes, at READ COMMITTED or better, durable once it is committed.
    async fn begin(&mut self) -> Result<(), Fault>;

    /// Runs a statement that answers rows, inside a transaction or by itself.
    async fn rows(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Columns>, Fault>;

    /// Runs a statement that writes, inside a transaction; how many rows it found.
    async fn write(&mut self, sql: &str, values: &[Value]) -> Result<u64, Fault>;

    /// Runs statements without values, for tables.
    async fn batch(&mut self, sql: &str) -> Result<(), Fault>;

    async fn commit(&mut self) -> Result<(), Fault>;

    async fn roll_back(&mut self) -> Result<(), Fault>;
}

impl Columns {
    pub(crate) fn optional_integer(&self, index: usize, name: &'static str) -> Result<Option<i64>, Fault> {
        match self.0.get(index) {
            Some(Value::Integer(number)) => Ok(Some(*number)),
            Some(Value::Null) => Ok(None),
            // Numbers of some functions come as text.
            Some(Value::Text(digits)) => digits.parse().map(Some).map_err(|_| Fault::Unreadable(name)),
            None => Err(Fault::Unreadable(name)),
        }
    }

    pub(crate) fn integer(&self, index: usize, name: &'static str) -> Result<i64, Fault> {
        self.optional_integer(index, name)?.ok_or(Fault::Unreadable(name))
    }

    /// A number that is never negative.
    pub(crate) fn count(&self, index: usize, name: &'static str) -> Result<u64, Fault> {
        u64::try_from(self.integer(index, name)?).map_err(|_| Fault::Unreadable(name))
    }

    pub(crate) fn optional_text(&self, index: usize, name: &'static str) -> Result<Option<&str>, Fault> {
        match self.0.get(index) {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Null) => Ok(None),
            _ => Err(Fault::Unreadable(name)),
        }
    }

    pub(crate) fn text(&self, index: usize, name: &'static str) -> Result<&str, Fault> {
        self.optional_text(index, name)?.ok_or(Fault::Unreadable(name))
    }

    pub(crate) fn parse<T>(
        &self,
        index: usize,
        name: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Fault> {
        read(self.text(index, name)?).ok_or(Fault::Unreadable(name))
    }

    pub(crate) fn optional<T>(
        &self,
        index: usize,
        name: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        let text = self.optional_text(index, name)?;
        text.map(|text| read(text).ok_or(Fault::Unreadable(name))).transpose()
    }
}
