//! Where the database is: a URL, read as libpq and the session store read it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::tls::Verification;
use crate::accounts::sql::CONNECT_PATIENCE;

/// What is wrong, and the fix.
type Problem = (String, String);

const FORM: &str =
    "write postgres://user:password@host:5432/database, with other characters than letters and digits as %xx";

/// What a URL says. Shows host, port and database alone.
#[derive(Clone)]
pub(crate) struct Address {
    pub(super) config: Config,
    pub(super) schema: String,
    pub(super) verification: Verification,
    pub(super) root_certificates: Option<PathBuf>,
    /// For messages.
    pub(super) place: String,
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

fn problem<T>(what: &str, fix: &str) -> Result<T, Problem> {
    Err((what.to_owned(), fix.to_owned()))
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, Problem> {
        let (rest, ours) = split(url);
        // The driver's own message may quote a part of the URL, and so of a password with an unescaped character.
        let Ok(mut config) = rest.parse::<Config>() else {
            return problem("it is no URL of PostgreSQL, or has a parameter that is not known", FORM);
        };
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return problem("it names no host", FORM);
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
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_PATIENCE);
        }
        // So that a connection that a firewall forgot is noticed before it is needed.
        config
            .keepalives_idle(Duration::from_secs(30))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
        let schema = ours.schema.unwrap_or_else(|| String::from("public"));
        check_schema(&schema)?;
        let root_certificates = ours.sslrootcert.filter(|path| path != "system").map(PathBuf::from);
        let hosts = hosts(&config);
        let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
        let place = format!("PostgreSQL at {hosts}/{database}");
        Ok(Self { config, schema, verification, root_certificates, place, hosts })
    }

    pub(crate) fn has_password(&self) -> bool {
        self.config.get_password().is_some()
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

fn ssl_mode(mode: Option<&str>, has_root: bool) -> Result<(SslMode, Verification), Problem> {
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
fn check_schema(schema: &str) -> Result<(), Problem> {
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
        assert_eq!((address.schema.as_str(), address.verification), ("auth", Verification::ChainAndName));
        assert_eq!(address.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(address.config.get_password(), Some(b"s@cret".as_slice()));
        assert_eq!(address.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert!(address.has_password() && !format!("{address:?}{address}").contains("cret"));
        let address = Address::parse("postgresql://h1,h2:6432/app").unwrap();
        assert_eq!(
            (address.to_string().as_str(), address.schema.as_str()),
            ("postgres://h1:5432,h2:6432/app", "public")
        );
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
            ("postgres://u:hunter2@db:port/app", "no URL"),
            ("postgres://u:hunter2@db/app?hunter2=1", "not known"),
            ("postgres:///app?user=hunter2", "no host"),
            ("postgres://u:hunter2@db/app?sslmode=hunter2", "sslmode"),
            ("postgres://u:hunter2@db/app?schema=a%22hunter2", "schema"),
            ("postgres://u:hunter2@db/app?schema=pg_hunter2", "schema"),
        ] {
            let (what, fix) = Address::parse(url).unwrap_err();
            assert!(what.contains(words) && !format!("{what}{fix}").contains("hunter2"), "{url}: {what}");
        }
    }
}
