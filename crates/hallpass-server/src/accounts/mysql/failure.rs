//! The errors of MariaDB and MySQL in the words of the accounts.

use std::sync::Arc;

use mysql_async::{DriverError, Error, IoError};

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
        let server = match error {
            Error::Server(server) => server,
            Error::Io(IoError::Tls(_)) => {
                return Fault::Lost(format!(
                    "{place}: the encrypted connection failed ({error}); check ssl-mode and ssl-ca"
                ));
            }
            Error::Driver(DriverError::NoClientSslFlagFromServer) => {
                return Fault::Lost(format!(
                    "{place}: the server offers no encryption, and the URL asks for it; set up TLS there"
                ));
            }
            // Its text may show what the server sent.
            Error::Driver(
                DriverError::UnexpectedPacket { .. } | DriverError::FromRow { .. } | DriverError::FromValue { .. },
            ) => {
                return Fault::Lost(format!(
                    "{place}: the server answered what is no MySQL protocol; check host and port"
                ));
            }
            _ => {
                return Fault::Lost(format!(
                    "{place}: the connection failed ({error}); check that the server runs there and can be reached"
                ));
            }
        };
        let said = &server.message;
        let failed = |what: String| Fault::Failed(self.unavailable(&what));
        match server.code {
            1062 => Fault::Duplicate,
            // Waited for as long as the caller does: no time is left to try again.
            1205 => failed(format!(
                "rows or tables stayed locked by others ({said}); look for a long transaction in the server's process list"
            )),
            // Deadlock, and a row that another node changed.
            1020 | 1213 => Fault::Conflict(format!("{place}: rows stayed locked by others ({said})")),
            // Shutting down; killed; idle for too long, by the server's own time-outs.
            1053 | 1927 | 4031 | 4147 => {
                Fault::Lost(format!("{place}: the server ended the connection ({said}); try again soon"))
            }
            1044 | 1045 => failed(format!("the server refuses the sign-in ({said}); check user and password in the URL")),
            1049 => failed(String::from("there is no such database; make it with CREATE DATABASE, or check the URL")),
            1217 | 1451 => failed(format!("{KEEPS_USER} ({said})")),
            1040 | 1203 => failed(format!("the server takes no more connections ({said}); raise its max_connections")),
            1142 | 1143 => failed(format!(
                "the database user lacks a privilege ({said}); it needs SELECT, INSERT, UPDATE and DELETE, and to migrate CREATE"
            )),
            1290 | 1792 | 1836 => failed(format!("the server is read-only ({said}); name the primary, not a replica")),
            1021 | 1026 | 1114 => failed(format!("the server cannot write ({said}); free space on its disk")),
            1054 | 1146 | 1194 | 1712 => Fault::Failed(self.damaged(&format!(
                "the accounts' tables are damaged or not those of this program ({said}); run `hallpass migrate`, or restore a backup"
            ))),
            number => failed(format!("the server answered error {number}: {said}")),
        }
    }
}
