//! The server's and the driver's errors in the words of the contract.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hallpass_core::StoreError;
use mysql_async::{DriverError, Error, IoError, ServerError};

/// What went wrong on a connection.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The driver's or the server's error.
    Driver(Error),
    /// A column holds what no hallpass wrote. Names the column, never the content.
    Unreadable(&'static str),
    /// Anything else that makes a call fail, in words that say what to do.
    Other(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Driver(error)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(error) => fmt::Display::fmt(error, f),
            Self::Unreadable(column) => write!(f, "unreadable column {column}"),
            Self::Other(message) => f.write_str(message),
        }
    }
}

impl Fault {
    /// The server's error number.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Driver(Error::Server(error)) => Some(error.code),
            _ => None,
        }
    }

    /// Whether the connection is of no more use.
    pub(crate) fn is_connection_lost(&self) -> bool {
        match self {
            Self::Driver(Error::Server(_)) => matches!(
                self.code(),
                // Shutting down; killed; idle for too long, by the server's own time-outs; another server behind the same address.
                Some(
                    code::SERVER_SHUTDOWN
                        | code::UNKNOWN_STATEMENT
                        | code::CONNECTION_KILLED
                        | code::CLIENT_TIMEOUT
                        | code::IDLE_TRANSACTION
                )
            ),
            Self::Driver(_) => true,
            Self::Unreadable(_) | Self::Other(_) => false,
        }
    }

    /// Whether the server undid the transaction, or the statement, because of others, or wants to plan it anew: trying again is right and may
    /// succeed.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(
            self.code(),
            Some(code::DEADLOCK | code::LOCK_WAIT | code::CHANGED_SINCE_READ | code::STATEMENT_TO_PREPARE)
        )
    }

    pub(crate) fn is_duplicate(&self) -> bool {
        self.code() == Some(code::DUPLICATE)
    }
}

/// Numbers of server errors, as both MariaDB and MySQL give them.
pub(crate) mod code {
    pub(crate) const CHANGED_SINCE_READ: u16 = 1020;
    pub(crate) const OUT_OF_DISK: u16 = 1021;
    pub(crate) const ERROR_ON_WRITE: u16 = 1026;
    pub(crate) const TOO_MANY_CONNECTIONS: u16 = 1040;
    pub(crate) const NO_ACCESS_TO_DATABASE: u16 = 1044;
    pub(crate) const ACCESS_DENIED: u16 = 1045;
    pub(crate) const UNKNOWN_DATABASE: u16 = 1049;
    pub(crate) const SERVER_SHUTDOWN: u16 = 1053;
    pub(crate) const UNKNOWN_COLUMN: u16 = 1054;
    pub(crate) const DUPLICATE: u16 = 1062;
    pub(crate) const TABLE_FULL: u16 = 1114;
    pub(crate) const COMMAND_DENIED: u16 = 1142;
    pub(crate) const COLUMN_DENIED: u16 = 1143;
    pub(crate) const NO_SUCH_TABLE: u16 = 1146;
    pub(crate) const LOCK_WAIT: u16 = 1205;
    pub(crate) const DEADLOCK: u16 = 1213;
    pub(crate) const UNKNOWN_STATEMENT: u16 = 1243;
    pub(crate) const OPTION_PREVENTS: u16 = 1290;
    pub(crate) const STATEMENT_TO_PREPARE: u16 = 1615;
    pub(crate) const STATEMENT_BINLOG: u16 = 1665;
    pub(crate) const READ_ONLY_TRANSACTION: u16 = 1792;
    pub(crate) const READ_ONLY_MODE: u16 = 1836;
    pub(crate) const INDEX_CORRUPT: u16 = 1712;
    pub(crate) const CRASHED: u16 = 1194;
    pub(crate) const USER_LIMIT: u16 = 1203;
    pub(crate) const CONNECTION_KILLED: u16 = 1927;
    pub(crate) const CLIENT_TIMEOUT: u16 = 4031;
    pub(crate) const IDLE_TRANSACTION: u16 = 4147;
}

/// Names the database in every message.
#[derive(Debug, Clone)]
pub(crate) struct Failures {
    place: Arc<str>,
}

impl Failures {
    pub(crate) fn of(place: Arc<str>) -> Self {
        Self { place }
    }

    /// What `fault` means to a caller.
    pub(crate) fn explain(&self, fault: Fault) -> StoreError {
        let place = &self.place;
        let error = match fault {
            Fault::Driver(error) => error,
            Fault::Unreadable(column) => {
                return self.corrupt(&format!(
                    "a row holds what this program cannot read (column {column}); restore a backup, or start the program that wrote it"
                ));
            }
            Fault::Other(message) => return self.unavailable(&message),
        };
        match &error {
            Error::Server(server) => {
                let (kind, what) = in_words(server);
                let message = format!("{place}: {what}");
                match kind {
                    Kind::Unavailable => unavailable(message, error),
                    Kind::NotWritable => not_writable(message, error),
                    Kind::Corrupt => corrupt(message, error),
                }
            }
            Error::Io(io) if is_tls(io) => unavailable(
                format!("{place}: the encrypted connection failed ({error}); check ssl-mode and ssl-ca"),
                error,
            ),
            Error::Driver(DriverError::NoClientSslFlagFromServer) => unavailable(
                format!("{place}: the server offers no encryption, and the database URL asks for it; set up TLS there"),
                error,
            ),
            // Its text may show what the server sent.
            Error::Driver(
                DriverError::UnexpectedPacket { .. } | DriverError::FromRow { .. } | DriverError::FromValue { .. },
            ) => StoreError::unavailable(format!(
                "{place}: the server answered what is no MySQL protocol; check host and port"
            )),
            _ => unavailable(
                format!("{place}: the connection failed ({error}); check that the server runs and can be reached"),
                error,
            ),
        }
    }

    /// The call took longer than it may.
    pub(crate) fn timed_out(&self, doing: &str, limit: Duration) -> StoreError {
        self.unavailable(&format!(
            "{doing} took longer than {limit:?}; check that the server runs, can be reached, and is not overloaded"
        ))
    }

    /// The same for one of several callers, without the driver's error, which cannot be copied.
    pub(crate) fn repeated(&self, error: &StoreError) -> StoreError {
        match error {
            StoreError::Unavailable { message, .. } => StoreError::unavailable(message.clone()),
            StoreError::NotWritable { message, .. } => {
                StoreError::NotWritable { message: message.clone(), source: None }
            }
            StoreError::Corrupt { message, .. } => StoreError::Corrupt { message: message.clone(), source: None },
            other => self.unavailable(&other.to_string()),
        }
    }

    pub(crate) fn unavailable(&self, what: &str) -> StoreError {
        StoreError::unavailable(format!("{}: {what}", self.place))
    }

    pub(crate) fn corrupt(&self, what: &str) -> StoreError {
        StoreError::Corrupt { message: format!("{}: {what}", self.place), source: None }
    }
}

/// The driver gives some errors of TLS as such, and others inside those of the socket.
fn is_tls(error: &IoError) -> bool {
    match error {
        IoError::Tls(_) => true,
        IoError::Io(error) => error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
    }
}

enum Kind {
    Unavailable,
    NotWritable,
    Corrupt,
}

/// What the server's error means, and what to do.
fn in_words(error: &ServerError) -> (Kind, String) {
    let said = &error.message;
    match error.code {
        code::OUT_OF_DISK | code::TABLE_FULL | code::ERROR_ON_WRITE => {
            (Kind::NotWritable, format!("the server cannot write ({said}); free space on its disk"))
        }
        code::OPTION_PREVENTS | code::READ_ONLY_TRANSACTION | code::READ_ONLY_MODE => {
            (Kind::NotWritable, format!("the server is read-only ({said}); name the primary, not a replica"))
        }
        code::COMMAND_DENIED | code::COLUMN_DENIED => {
            let rights = "it needs SELECT, INSERT, UPDATE and DELETE, and to migrate CREATE, ALTER and INDEX";
            (Kind::NotWritable, format!("the database user lacks a privilege ({said}); {rights}"))
        }
        code::NO_SUCH_TABLE | code::UNKNOWN_COLUMN => {
            let what = "a table of hallpass is missing or not ours";
            (Kind::Corrupt, format!("{what} ({said}); restore a backup, or name another database"))
        }
        code::CRASHED | code::INDEX_CORRUPT => {
            (Kind::Corrupt, format!("a table is damaged ({said}); restore a backup"))
        }
        code::ACCESS_DENIED | code::NO_ACCESS_TO_DATABASE => {
            let check = "check user and password in the database URL";
            (Kind::Unavailable, format!("the server refuses the sign-in ({said}); {check}"))
        }
        code::UNKNOWN_DATABASE => {
            let text = "there is no such database; make it with CREATE DATABASE, or check the database URL";
            (Kind::Unavailable, String::from(text))
        }
        code::TOO_MANY_CONNECTIONS | code::USER_LIMIT => {
            let fix = "lower `connections`, or raise its max_connections";
            (Kind::Unavailable, format!("the server takes no more connections ({said}); {fix}"))
        }
        code::LOCK_WAIT | code::DEADLOCK | code::CHANGED_SINCE_READ => {
            let fix = "look for a long transaction in the server's process list";
            (Kind::Unavailable, format!("rows stayed locked by others ({said}); {fix}"))
        }
        code::STATEMENT_BINLOG => {
            let text = "the server writes a binary log by statement; set binlog_format to ROW or MIXED";
            (Kind::Unavailable, String::from(text))
        }
        number => (Kind::Unavailable, format!("the server answered error {number}: {said}")),
    }
}

fn unavailable(message: String, error: Error) -> StoreError {
    StoreError::Unavailable { message, source: Some(Box::new(error)) }
}

fn not_writable(message: String, error: Error) -> StoreError {
    StoreError::NotWritable { message, source: Some(Box::new(error)) }
}

fn corrupt(message: String, error: Error) -> StoreError {
    StoreError::Corrupt { message, source: Some(Box::new(error)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16) -> Fault {
        Fault::Driver(Error::Server(ServerError { code, message: String::from("said"), state: String::from("HY000") }))
    }

    #[test]
    fn each_error_becomes_what_a_caller_can_act_on() {
        type Is = fn(&StoreError) -> bool;
        let unavailable: Is = |error| matches!(error, StoreError::Unavailable { source: Some(_), .. });
        let not_writable: Is = |error| matches!(error, StoreError::NotWritable { source: Some(_), .. });
        let corrupt: Is = |error| matches!(error, StoreError::Corrupt { source: Some(_), .. });
        let table: [(u16, Is, &str); 14] = [
            (1040, unavailable, "max_connections"),
            (1044, unavailable, "user and password"),
            (1045, unavailable, "user and password"),
            (1049, unavailable, "CREATE DATABASE"),
            (1205, unavailable, "long transaction"),
            (1213, unavailable, "long transaction"),
            (1665, unavailable, "binlog_format"),
            (9999, unavailable, "error 9999: said"),
            (1021, not_writable, "free space"),
            (1114, not_writable, "free space"),
            (1290, not_writable, "primary"),
            (1142, not_writable, "privilege"),
            (1146, corrupt, "backup"),
            (1194, corrupt, "damaged"),
        ];
        let failures = Failures::of("database app at db:3306".into());
        for (code, is, words) in table {
            let error = failures.explain(answered(code));
            let text = error.to_string();
            assert!(
                is(&error) && text.contains(words) && text.contains("database app at db:3306"),
                "{code}: {error:?}"
            );
        }
        let error = failures.explain(Fault::Unreadable("user_id"));
        assert!(matches!(error, StoreError::Corrupt { .. }) && error.to_string().contains("user_id"), "{error:?}");
    }

    #[test]
    fn only_what_the_server_undid_is_tried_again() {
        for (code, conflict, lost) in [
            (1213, true, false),
            (1205, true, false),
            (1615, true, false),
            (1053, false, true),
            (1927, false, true),
            (1062, false, false),
            (1146, false, false),
            (1290, false, false),
        ] {
            let fault = answered(code);
            assert_eq!((fault.is_conflict(), fault.is_connection_lost()), (conflict, lost), "{code}");
        }
        let closed = Fault::Driver(Error::Driver(DriverError::ConnectionClosed));
        assert!(closed.is_connection_lost() && !closed.is_conflict());
        assert!(!Fault::Unreadable("id").is_connection_lost());
    }

    #[test]
    fn what_a_stranger_sent_is_not_shown() {
        let packet = DriverError::UnexpectedPacket { payload: b"hunter2".to_vec() };
        let error = Failures::of("database app at db:22".into()).explain(Fault::Driver(Error::Driver(packet)));
        assert!(
            !format!("{error:?}").contains("104, 117") && error.to_string().contains("check host and port"),
            "{error:?}"
        );
    }
}
