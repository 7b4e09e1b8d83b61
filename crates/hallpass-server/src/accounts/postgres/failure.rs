//! PostgreSQL's errors in the words of the accounts. The server's message, never its detail, which may quote a row.

use std::error::Error as _;
use std::sync::Arc;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::accounts::AccountsError;
use crate::accounts::sql::connection::{Fault, KEEPS_USER};

/// Names the database in every message.
#[derive(Debug, Clone)]
pub(super) struct Failures {
    place: Arc<str>,
}

impl Failures {
    pub(super) fn of(place: &str) -> Self {
        Self { place: place.into() }
    }

    pub(super) fn unavailable(&self, what: &str) -> AccountsError {
        AccountsError::Unavailable(format!("{}: {what}", self.place))
    }

    pub(super) fn damaged(&self, what: &str) -> AccountsError {
        AccountsError::Damaged(format!("{}: {what}", self.place))
    }

    pub(super) fn explain(&self, error: &Error) -> Fault {
        let place = &self.place;
        let Some(server) = error.as_db_error() else {
            let mut what = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                what = format!("{what}: {cause}");
                source = cause.source();
            }
            return Fault::Lost(format!("{place}: {what}; check that the server runs there and can be reached"));
        };
        let said = server.message();
        let failed = |what: String| Fault::Failed(self.unavailable(&what));
        match *server.code() {
            SqlState::UNIQUE_VIOLATION => Fault::Duplicate,
            SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => {
                Fault::Conflict(format!("{place}: others were in the way for too long ({said})"))
            }
            SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN | SqlState::CANNOT_CONNECT_NOW => {
                Fault::Lost(format!("{place}: the server is starting or stopping ({said}); try again soon"))
            }
            // As PgBouncer says it when its server went away.
            SqlState::PROTOCOL_VIOLATION | SqlState::CONNECTION_FAILURE => {
                Fault::Lost(format!("{place}: {said}; check that the server runs there and can be reached"))
            }
            SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE => failed(format!(
                "the statement took too long ({said}); find what holds its locks, or what loads the server"
            )),
            SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => failed(format!(
                "the server refused the sign-in ({said}); check user and password in the URL"
            )),
            SqlState::FOREIGN_KEY_VIOLATION | SqlState::RESTRICT_VIOLATION => failed(format!("{KEEPS_USER} ({said})")),
            SqlState::INVALID_CATALOG_NAME => failed(format!("{said}; create it, or name another one in the URL")),
            SqlState::TOO_MANY_CONNECTIONS => failed(format!("{said}; raise max_connections")),
            SqlState::INSUFFICIENT_PRIVILEGE => failed(format!(
                "the role may not do this ({said}); grant it the rights on the schema and its tables, or let it own them"
            )),
            SqlState::READ_ONLY_SQL_TRANSACTION => failed(format!("it is read-only ({said}); connect to the primary")),
            SqlState::DISK_FULL => failed(String::from("the server has no space left; free some on its disk")),
            SqlState::DATA_CORRUPTED
            | SqlState::INDEX_CORRUPTED
            | SqlState::UNDEFINED_TABLE
            | SqlState::UNDEFINED_COLUMN
            | SqlState::DUPLICATE_TABLE
            | SqlState::INVALID_SCHEMA_NAME => Fault::Failed(self.damaged(&format!(
                "the accounts' tables are damaged or not those of this program ({said}); run `hallpass migrate`, restore a backup, or choose another schema"
            ))),
            _ => failed(format!("{said} (SQLSTATE {})", server.code().code())),
        }
    }
}
