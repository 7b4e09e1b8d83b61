//! What an engine has to be able to do: a few verbs on one connection, and the words for what went wrong.

use std::fmt;

use async_trait::async_trait;

use crate::accounts::AccountsError;

/// A parameter of a statement, or a column of a row.
///
/// No `Debug`: it may be a password's hash.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::accounts) enum Value {
    /// As a parameter: no text.
    Null,
    /// As a parameter: no integer. Never in a row.
    NoInteger,
    Boolean(bool),
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// Why a user cannot be deleted: only an application's own tables refer to one.
pub(in crate::accounts) const KEEPS_USER: &str =
    "a table of the application refers to the user and keeps it; remove what is there first, or disable the user";

/// One row.
pub(in crate::accounts) struct Columns(pub(in crate::accounts) Vec<Value>);

/// Why work on a connection did not succeed.
#[derive(Debug)]
pub(in crate::accounts) enum Fault {
    /// A unique key is there already.
    Duplicate,
    /// The server undid the transaction because of others; trying again is right.
    Conflict(String),
    /// The connection is of no more use.
    Lost(String),
    /// Anything else.
    Failed(AccountsError),
}

impl From<AccountsError> for Fault {
    fn from(error: AccountsError) -> Self {
        Self::Failed(error)
    }
}

impl From<Fault> for AccountsError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Duplicate => Self::Damaged(String::from("a key is there already that nobody else makes")),
            Fault::Conflict(what) | Fault::Lost(what) => Self::Unavailable(what),
            Fault::Failed(error) => error,
        }
    }
}

/// Opens connections to one database.
#[async_trait]
pub(in crate::accounts) trait Connector: Send + Sync + fmt::Debug {
    /// Where the database is, for messages: never with a password.
    fn place(&self) -> &str;

    /// A connection that is set up. The caller bounds the time.
    async fn connect(&self) -> Result<Box<dyn Connection>, Fault>;
}

/// One connection. Dropping it closes it, and the server undoes what it had begun.
#[async_trait]
pub(in crate::accounts) trait Connection: Send {
    /// Whether nothing is known that speaks against using it.
    fn is_usable(&self) -> bool;

    /// Runs one statement that only reads, by itself.
    async fn read(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Columns>, Fault>;

    /// Begins a transaction that writes, at READ COMMITTED, durable once it is committed.
    async fn begin(&mut self) -> Result<(), Fault>;

    /// Runs a statement of the transaction that answers rows.
    async fn rows(&mut self, sql: &str, values: &[Value]) -> Result<Vec<Columns>, Fault>;

    /// Runs a statement of the transaction that writes; how many rows it found.
    async fn write(&mut self, sql: &str, values: &[Value]) -> Result<u64, Fault>;

    async fn commit(&mut self) -> Result<(), Fault>;

    async fn roll_back(&mut self) -> Result<(), Fault>;
}

/// Names the column that holds what no hallpass wrote, never its content.
fn unreadable(column: &str) -> Fault {
    Fault::Failed(AccountsError::Damaged(format!("a row holds what this program cannot read in its column {column}")))
}

impl Columns {
    pub(in crate::accounts) fn optional_integer(&self, index: usize, name: &str) -> Result<Option<i64>, Fault> {
        match self.0.get(index) {
            Some(Value::Integer(number)) => Ok(Some(*number)),
            Some(Value::Null) => Ok(None),
            _ => Err(unreadable(name)),
        }
    }

    pub(in crate::accounts) fn integer(&self, index: usize, name: &str) -> Result<i64, Fault> {
        self.optional_integer(index, name)?.ok_or_else(|| unreadable(name))
    }

    pub(in crate::accounts) fn boolean(&self, index: usize, name: &str) -> Result<bool, Fault> {
        match self.0.get(index) {
            Some(Value::Boolean(yes)) => Ok(*yes),
            // Not every engine has such a type.
            Some(Value::Integer(number)) => Ok(*number != 0),
            _ => Err(unreadable(name)),
        }
    }

    pub(in crate::accounts) fn optional_text(&self, index: usize, name: &str) -> Result<Option<String>, Fault> {
        match self.0.get(index) {
            Some(Value::Text(text)) => Ok(Some(text.clone())),
            // Text that is compared byte for byte is kept as bytes by some.
            Some(Value::Bytes(bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Some(text.to_owned())),
                Err(_) => Err(unreadable(name)),
            },
            Some(Value::Null) => Ok(None),
            _ => Err(unreadable(name)),
        }
    }

    pub(in crate::accounts) fn text(&self, index: usize, name: &str) -> Result<String, Fault> {
        self.optional_text(index, name)?.ok_or_else(|| unreadable(name))
    }

    pub(in crate::accounts) fn bytes(&self, index: usize, name: &str) -> Result<Vec<u8>, Fault> {
        match self.0.get(index) {
            Some(Value::Bytes(bytes)) => Ok(bytes.clone()),
            _ => Err(unreadable(name)),
        }
    }
}
