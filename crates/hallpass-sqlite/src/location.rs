//! Where a database lives.

use std::path::PathBuf;
use std::str::FromStr;

/// A database file, or memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file; its `-wal` and `-shm` files lie beside it.
    File(PathBuf),
    /// Memory of this process: gone with the store. For tests and trials.
    Memory,
}

/// The text names no SQLite database. It is not repeated: a URL for another database may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the URL of an SQLite database{0}: write sqlite:hallpass.db, sqlite:///var/lib/hallpass/hallpass.db or sqlite::memory:"
)]
pub struct LocationError(&'static str);

impl FromStr for Location {
    type Err = LocationError;

    /// Reads `sqlite:relative.db`, `sqlite:/absolute.db`, `sqlite:///absolute.db` and `sqlite::memory:`. The path is taken as written:
    /// nothing is percent-decoded.
    ///
    /// ```
    /// use hallpass_sqlite::Location;
    ///
    /// assert_eq!("sqlite:hallpass.db".parse(), Ok(Location::File("hallpass.db".into())));
    /// assert_eq!("sqlite:///var/lib/a.db".parse(), Ok(Location::File("/var/lib/a.db".into())));
    /// assert_eq!("sqlite::memory:".parse(), Ok(Location::Memory));
    /// assert!("sqlite://host/a.db".parse::<Location>().is_err());
    /// assert!("mysql:a".parse::<Location>().is_err());
    /// ```
    fn from_str(text: &str) -> Result<Self, LocationError> {
        let refuse = |what| Err(LocationError(what));
        let Some(rest) = text.strip_prefix("sqlite:") else {
            return refuse("");
        };
        if rest == ":memory:" {
            return Ok(Self::Memory);
        }
        let path = match rest.strip_prefix("//") {
            Some(path) if path.starts_with('/') => path,
            Some(_) => return refuse(" (after sqlite:// comes an absolute path, so three slashes)"),
            None => rest,
        };
        if path.contains('?') {
            return refuse(" (parameters after ? are not supported; use the settings)");
        }
        if path.is_empty() || path.starts_with(':') || path.contains('\0') {
            return refuse("");
        }
        Ok(Self::File(PathBuf::from(path)))
    }
}
