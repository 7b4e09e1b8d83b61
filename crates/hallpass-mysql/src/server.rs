//! What the server is, and whether it is one that the store can work with.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row};

use crate::failure::Fault;
use crate::row::Columns;

/// The kind of server and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    name: &'static str,
    version: (u32, u32, u32),
}

impl Server {
    pub(crate) async fn ask(conn: &mut Conn) -> Result<Self, Fault> {
        let row: Option<Row> = conn.query_first("SELECT VERSION()").await?;
        let text = row.map(|row| Columns::of(row).text(0, "VERSION()")).transpose()?.unwrap_or_default();
        Self::parse(&text).ok_or_else(|| Fault::Other(format!("the server's version {text:?} cannot be read")))
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let name = if text.to_ascii_lowercase().contains("mariadb") { "MariaDB" } else { "MySQL" };
        // A prefix that old replicas needed.
        let digits = text.strip_prefix("5.5.5-").filter(|_| name == "MariaDB").unwrap_or(text);
        let mut numbers = digits.split(['.', '-', '+']).map(str::parse::<u32>);
        let mut next = || numbers.next()?.ok();
        Some(Self { name, version: (next()?, next()?, next().unwrap_or(0)) })
    }

    /// The engine and its version, for people.
    pub(crate) fn engine(&self) -> String {
        let (major, minor, patch) = self.version;
        format!("{} {major}.{minor}.{patch}", self.name)
    }

    /// Both can pass over locked rows (`SKIP LOCKED`) from these versions on.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let least = if self.name == "MariaDB" { (10, 6, 0) } else { (8, 0, 1) };
        if self.version >= least {
            return Ok(());
        }
        let (major, minor, patch) = least;
        Err(Fault::Other(format!(
            "the server is {}; hallpass needs {} {major}.{minor}.{patch} or newer",
            self.engine(),
            self.name
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_judged() {
        for (text, engine, fits) in [
            ("10.11.19-MariaDB-0+deb12u1", "MariaDB 10.11.19", true),
            ("5.5.5-10.6.1-MariaDB-log", "MariaDB 10.6.1", true),
            ("11.8.2-MariaDB", "MariaDB 11.8.2", true),
            ("10.5.29-MariaDB", "MariaDB 10.5.29", false),
            ("8.0.36-0ubuntu0.22.04.1", "MySQL 8.0.36", true),
            ("8.4.0", "MySQL 8.4.0", true),
            ("9.1", "MySQL 9.1.0", true),
            ("5.7.44-log", "MySQL 5.7.44", false),
        ] {
            let server = Server::parse(text).unwrap();
            assert_eq!(server.engine(), engine);
            let checked = server.check();
            assert_eq!(checked.is_ok(), fits, "{text}");
            if let Err(fault) = checked {
                assert!(fault.to_string().contains("needs"), "{fault}");
            }
        }
        assert_eq!(Server::parse("who knows"), None);
    }
}
