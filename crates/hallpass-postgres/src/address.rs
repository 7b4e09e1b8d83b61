//! Where a database is: a URL, read as libpq reads it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::hosts;
use crate::tls::{self, Verification};

/// A quiet connection is asked for a sign of life this often, so that one that a firewall forgot is noticed before it is needed.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// Why a text is no address of a database. Repeats nothing of it: any part may be a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {fix}")]
pub struct AddressError {
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub fix: String,
}

const FORM: &str =
    "write postgres://user:password@host:5432/database, with other characters than letters and digits as %xx";

/// What a URL says. Shows host, port and database alone.
///
/// Also for programs that keep other tables beside the sessions, and want to be told of the database by the same URL.
///
/// ```
/// use hallpass_postgres::Address;
///
/// let address = Address::parse("postgres://alice:secret@one,two/app?schema=auth&sslmode=verify-full").unwrap();
/// assert_eq!(address.to_string(), "postgres://one:5432,two:5432/app");
/// assert_eq!(address.schema(), Some("auth"));
/// assert!(address.has_password());
/// ```
#[derive(Clone)]
pub struct Address {
    config: Config,
    schema: Option<String>,
    verification: Verification,
    root_certificates: Option<PathBuf>,
    place: String,
    hosts: String,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

/// As a URL, without user, password and parameters.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}/{}", self.hosts, self.config.get_dbname().unwrap_or_default())
    }
}

/// Parameters of the URL that the driver does not know, or not so.
#[derive(Default)]
struct Ours {
    schema: Option<String>,
    sslmode: Option<String>,
    sslrootcert: Option<String>,
}

fn problem<T>(problem: &str, fix: &str) -> Result<T, AddressError> {
    Err(AddressError { problem: problem.to_owned(), fix: fix.to_owned() })
}

impl Address {
    /// Reads `postgres://user:password@host:port/database?parameter=value`, with several hosts and the parameters of libpq, and `schema`.
    ///
    /// # Errors
    /// [`AddressError`], which repeats nothing of the text.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return problem("it does not begin with postgres://", FORM);
        }
        let (rest, ours) = split(url);
        // The driver's own message may quote a part of the URL, and so of a password with an unescaped character.
        let Ok(mut config) = rest.parse::<Config>() else {
            return problem("it is no URL of PostgreSQL, or has a parameter that is not known", FORM);
        };
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return problem("it names no host", FORM);
        }
        if config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains('@'))) {
            return problem(
                "its password or user has an @ in it, and so it seems to name a host with one",
                "write %40 for it",
            );
        }
        let (mode, verification) = ssl_mode(ours.sslmode.as_deref(), ours.sslrootcert.is_some())?;
        config.ssl_mode(mode);
        if config.get_application_name().is_none() {
            config.application_name("hallpass");
        }
        if config.get_target_session_attrs() == TargetSessionAttrs::Any {
            // A standby would answer with what was, and can write nothing.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        // Two hours is the driver's way of saying that nothing was chosen.
        if config.get_keepalives_idle() >= Duration::from_secs(2 * 3600) {
            config.keepalives_idle(KEEPALIVE_IDLE);
        }
        if config.get_keepalives_interval().is_none() {
            config.keepalives_interval(KEEPALIVE_INTERVAL);
        }
        if config.get_keepalives_retries().is_none() {
            config.keepalives_retries(KEEPALIVE_RETRIES);
        }
        ours.schema.as_deref().map_or(Ok(()), check_schema)?;
        let root_certificates = ours.sslrootcert.filter(|path| path != "system").map(PathBuf::from);
        let hosts = hosts(&config);
        let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
        let place = format!("PostgreSQL at {hosts}/{database}");
        Ok(Self { config, schema: ours.schema, verification, root_certificates, place, hosts })
    }

    /// Whether it says a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// The schema that it names.
    #[must_use]
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// Hosts, ports and database in words, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What the driver connects with.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The same for each of its hosts by itself: of several, the driver bounds the socket's part of an attempt alone, and would wait for one that
    /// answers nothing.
    #[must_use]
    pub fn each_host(&self) -> Vec<Config> {
        hosts::each(&self.config)
    }

    /// TLS as `sslmode` and `sslrootcert` say. Reads the certificates.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn tls(&self) -> Result<MakeRustlsConnect, AddressError> {
        tls::connector(self.verification, self.root_certificates.as_deref()).map_err(|problem| AddressError {
            problem: format!("TLS cannot be set up: {problem}"),
            fix: String::from("look at sslmode and sslrootcert"),
        })
    }
}

/// Takes our parameters out of the URL.
fn split(url: &str) -> (String, Ours) {
    let mut ours = Ours::default();
    let Some((before, query)) = url.split_once('?') else {
        return (url.to_owned(), ours);
    };
    let mut others = Vec::new();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let place = match name {
            "schema" => &mut ours.schema,
            "sslmode" => &mut ours.sslmode,
            "sslrootcert" => &mut ours.sslrootcert,
            _ => {
                others.push(pair);
                continue;
            }
        };
        *place = Some(percent_decode_str(value).decode_utf8_lossy().into_owned());
    }
    if others.is_empty() { (before.to_owned(), ours) } else { (format!("{before}?{}", others.join("&")), ours) }
}

fn ssl_mode(mode: Option<&str>, has_root: bool) -> Result<(SslMode, Verification), AddressError> {
    let chain_if_root = if has_root { Verification::Chain } else { Verification::None };
    Ok(match mode {
        Some("disable") => (SslMode::Disable, Verification::None),
        // As libpq: with root certificates at hand they are used, but the name is not looked at.
        None | Some("prefer" | "allow") => (SslMode::Prefer, chain_if_root),
        Some("require") => (SslMode::Require, chain_if_root),
        Some("verify-ca") => (SslMode::Require, Verification::Chain),
        Some("verify-full") => (SslMode::Require, Verification::ChainAndName),
        Some(_) => {
            return problem(
                "its sslmode is not known",
                "use one of: disable, allow, prefer, require, verify-ca, verify-full",
            );
        }
    })
}

/// A name that needs no quoting rules: it also stands in the statements that make the tables.
pub(crate) fn check_schema(schema: &str) -> Result<(), AddressError> {
    let plain = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let begins = schema.chars().next().is_some_and(|c| c == '_' || c.is_ascii_alphabetic());
    if begins && schema.len() <= 63 && schema.chars().all(plain) && !schema.starts_with("pg_") {
        return Ok(());
    }
    problem(
        "its schema is no plain name",
        "use 1 to 63 letters, digits and underscores, beginning with no digit and not with pg_",
    )
}

fn hosts(config: &Config) -> String {
    let port = |n: usize| config.get_ports().get(n).or_else(|| config.get_ports().first()).copied().unwrap_or(5432);
    let host = |(n, host): (usize, &Host)| match host {
        Host::Tcp(name) if name.contains(':') => format!("[{name}]:{}", port(n)),
        Host::Tcp(name) => format!("{name}:{}", port(n)),
        #[cfg(unix)]
        Host::Unix(path) => format!("{}:{}", path.display(), port(n)),
    };
    let named: Vec<String> = config.get_hosts().iter().enumerate().map(host).collect();
    if named.is_empty() {
        let addresses = config.get_hostaddrs().iter().enumerate();
        return addresses.map(|(n, address)| format!("{address}:{}", port(n))).collect::<Vec<_>>().join(",");
    }
    named.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_how_and_which_schema() {
        let address =
            Address::parse("postgres://alice:s%40cret@db.example:6432/app?schema=auth&sslmode=verify-full").unwrap();
        assert_eq!(address.place, "PostgreSQL at db.example:6432/app");
        assert_eq!(address.to_string(), "postgres://db.example:6432/app");
        assert_eq!((address.schema(), address.verification), (Some("auth"), Verification::ChainAndName));
        assert_eq!(address.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(address.config.get_password(), Some(b"s@cret".as_slice()));
        assert_eq!(address.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert!(address.has_password() && !format!("{address:?}{address}").contains("cret"));
        let address = Address::parse("postgresql://h1,h2:6432/app").unwrap();
        assert_eq!((address.to_string().as_str(), address.schema()), ("postgres://h1:5432,h2:6432/app", None));
        assert!(!address.has_password());
        // A password may also stand among the parameters.
        let address = Address::parse("postgres://h/app?password=hunter2").unwrap();
        assert!(address.has_password() && !format!("{address:?}{address}").contains("hunter2"));
    }

    #[test]
    fn sslmode_is_read_as_libpq_reads_it() {
        for (query, mode, verification) in [
            ("", SslMode::Prefer, Verification::None),
            ("?sslmode=disable", SslMode::Disable, Verification::None),
            ("?sslmode=prefer", SslMode::Prefer, Verification::None),
            ("?sslmode=require", SslMode::Require, Verification::None),
            ("?sslmode=require&sslrootcert=/ca.pem", SslMode::Require, Verification::Chain),
            ("?sslmode=verify-ca", SslMode::Require, Verification::Chain),
            ("?sslrootcert=system&sslmode=verify-full", SslMode::Require, Verification::ChainAndName),
        ] {
            let address = Address::parse(&format!("postgres://db/app{query}")).unwrap();
            assert_eq!((address.config.get_ssl_mode(), address.verification), (mode, verification), "{query}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_said_without_the_password() {
        for (url, words) in [
            ("mysql://u:hunter2@db/app", "begin with"),
            ("postgres://u:hunter2@db:port/app", "no URL"),
            ("postgres://u:p@hunter2@db/app", "@ in it"),
            ("postgres://u:hunter2@db/app?hunter2=1", "not known"),
            ("postgres:///app?user=hunter2", "no host"),
            ("postgres://u:hunter2@db/app?sslmode=hunter2", "sslmode"),
            ("postgres://u:hunter2@db/app?schema=a%22hunter2", "schema"),
            ("postgres://u:hunter2@db/app?schema=pg_hunter2", "schema"),
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(
                error.problem.contains(words) && !format!("{error}{error:?}").contains("hunter2"),
                "{url}: {error}"
            );
        }
    }
}
