//! PostgreSQL's errors in the words of the contract.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use hallpass_core::StoreError;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// Why a store could not answer, to tell many callers of one batch.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    kind: Kind,
    message: Arc<str>,
    cause: Option<Cause>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unavailable,
    NotWritable,
    Corrupt,
    TooNew { found: u32, known: u32 },
}

/// The driver's error in words: without the details, which may quote rows.
#[derive(Debug, Clone)]
struct Cause(Arc<str>);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Cause {}

impl Failure {
    fn new(kind: Kind, message: String) -> Self {
        Self { kind, message: message.into(), cause: None }
    }

    /// What happened, where, and what to do.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        let message = failure.message.to_string();
        let source = failure.cause.map(|cause| Box::new(cause) as Box<dyn StdError + Send + Sync>);
        match failure.kind {
            Kind::Unavailable => Self::Unavailable { message, source },
            Kind::NotWritable => Self::NotWritable { message, source },
            Kind::Corrupt => Self::Corrupt { message, source },
            Kind::TooNew { found, known } => Self::TooNew { found, known },
        }
    }
}

/// Names the database in every message, never the password.
#[derive(Debug, Clone)]
pub(crate) struct Failures {
    place: Arc<str>,
}

impl Failures {
    pub(crate) fn of(place: &str) -> Self {
        Self { place: place.into() }
    }

    pub(crate) fn unavailable(&self, what: &str) -> Failure {
        Failure::new(Kind::Unavailable, format!("{}: {what}", self.place))
    }

    pub(crate) fn corrupt(&self, what: &str) -> Failure {
        Failure::new(Kind::Corrupt, format!("{}: {what}", self.place))
    }

    pub(crate) fn too_new(found: u32, known: u32) -> Failure {
        Failure::new(Kind::TooNew { found, known }, String::new())
    }

    /// A row that holds what no store wrote. Names the column, never the content.
    pub(crate) fn unreadable(&self, column: &str) -> Failure {
        self.corrupt(&format!(
            "a row holds a value in column {column} that this program cannot read; it was written by another program: restore a backup"
        ))
    }

    /// What `error` means to a caller.
    pub(crate) fn explain(&self, error: &Error) -> Failure {
        let place = &self.place;
        let cause = describe(error);
        let Some(db) = error.as_db_error() else {
            let what = if error.is_closed() {
                format!("{place}: the connection was lost; what was under way may or may not have happened")
            } else {
                format!("{place}: {cause}; check that the server runs there and can be reached")
            };
            return with_cause(Failure::new(Kind::Unavailable, what), cause);
        };
        let said = db.message();
        let (kind, what) = match *db.code() {
            SqlState::DISK_FULL => {
                (Kind::NotWritable, String::from("the server has no space left; free some on its disk"))
            }
            SqlState::READ_ONLY_SQL_TRANSACTION => (
                Kind::NotWritable,
                format!(
                    "the database is read-only ({said}); connect to the primary, or lift default_transaction_read_only"
                ),
            ),
            SqlState::INSUFFICIENT_PRIVILEGE => (
                Kind::NotWritable,
                format!(
                    "the role may not do this ({said}); grant it the rights on the schema and its tables, or let it own them"
                ),
            ),
            SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => {
                (Kind::Corrupt, format!("the server found damage ({said}); restore a backup"))
            }
            SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN | SqlState::INVALID_SCHEMA_NAME => (
                Kind::Corrupt,
                format!(
                    "the hallpass tables are not those of this program ({said}); choose another schema for hallpass, or restore a backup"
                ),
            ),
            SqlState::DUPLICATE_TABLE | SqlState::DUPLICATE_OBJECT | SqlState::WRONG_OBJECT_TYPE => (
                Kind::Corrupt,
                format!(
                    "there is something else under a name of this program ({said}); choose another schema for hallpass"
                ),
            ),
            SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE => (
                Kind::Unavailable,
                format!("the statement took too long ({said}); find what holds its locks, or what loads the server"),
            ),
            SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => (
                Kind::Unavailable,
                format!("the server refused the sign-in ({said}); check user and password in the URL"),
            ),
            SqlState::INVALID_CATALOG_NAME => {
                (Kind::Unavailable, format!("{said}; create it, or name another one in the URL"))
            }
            SqlState::TOO_MANY_CONNECTIONS => {
                (Kind::Unavailable, format!("{said}; raise max_connections or lower the store's connections"))
            }
            SqlState::CANNOT_CONNECT_NOW | SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN => {
                (Kind::Unavailable, format!("the server is starting or stopping ({said}); it is tried again"))
            }
            _ => (Kind::Unavailable, format!("{said} (SQLSTATE {})", db.code().code())),
        };
        with_cause(Failure::new(kind, format!("{place}: {what}")), cause)
    }
}

fn with_cause(mut failure: Failure, cause: String) -> Failure {
    failure.cause = Some(Cause(cause.into()));
    failure
}

/// The error and its causes in one line. An error of the server in its own words, without the detail, which may quote a row.
fn describe(error: &Error) -> String {
    if let Some(db) = error.as_db_error() {
        return format!("{}: {} (SQLSTATE {})", db.severity(), db.message(), db.code().code());
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}

/// Rolled back by the server because of others: may be done again.
pub(crate) fn is_conflict(error: &Error) -> bool {
    matches!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED))
}

/// The role may not do it, or the server cannot.
pub(crate) fn is_not_allowed(error: &Error) -> bool {
    let codes = [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::UNDEFINED_OBJECT, SqlState::FEATURE_NOT_SUPPORTED];
    error.code().is_some_and(|code| codes.contains(code))
}

/// The server that runs the statement is not the one that prepared it: a pooler stands between. It was not run.
pub(crate) fn is_unprepared(error: &Error) -> bool {
    matches!(error.code(), Some(&SqlState::INVALID_SQL_STATEMENT_NAME | &SqlState::DUPLICATE_PSTATEMENT))
}

/// The connection ended under way.
pub(crate) fn is_lost(error: &Error) -> bool {
    let ended = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW];
    error.is_closed() || error.code().map_or(error.as_db_error().is_none(), |code| ended.contains(code))
}
