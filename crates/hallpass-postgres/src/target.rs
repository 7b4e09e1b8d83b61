//! Where the database is: a URL, read as libpq reads it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hallpass_core::StoreError;
use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::PostgresOptions;
use crate::failure::Failures;
use crate::tls::Verification;

/// A quiet connection is asked for a sign of life this often, so that one that a firewall forgot is noticed before it is needed.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// What a URL and the options say.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) config: Config,
    pub(crate) schema: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) verification: Verification,
    pub(crate) root_certificates: Option<PathBuf>,
    /// `host:port/database`.
    pub(crate) place: String,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("place", &self.place).field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// Parameters of the URL that the driver does not know.
#[derive(Default)]
struct Ours {
    schema: Option<String>,
    sslmode: Option<String>,
    sslrootcert: Option<String>,
}

impl Target {
    pub(crate) fn parse(url: &str, options: &PostgresOptions) -> Result<Self, StoreError> {
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(unreadable("it must begin with postgres://"));
        }
        let (rest, ours) = split(url);
        // The driver's own message may quote a part of the URL, and so of a password with an unescaped character.
        let mut config: Config = rest.parse().map_err(|_| {
            unreadable("it is read as postgres://user:password@host:port/database?option=value; encode special characters as %xx")
        })?;
        let (mode, verification) = ssl_mode(ours.sslmode.as_deref(), ours.sslrootcert.is_some())?;
        config.ssl_mode(mode);
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(unreadable("it names no host"));
        }
        if config.get_application_name().is_none() {
            config.application_name("hallpass");
        }
        if config.get_target_session_attrs() == TargetSessionAttrs::Any {
            // A standby would answer checks with what was, and can write nothing.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let connect_timeout = config.get_connect_timeout().copied().unwrap_or_else(|| options.connect_timeout());
        config.connect_timeout(connect_timeout);
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
        let schema = ours.schema.or_else(|| options.schema.clone()).unwrap_or_else(|| String::from("public"));
        check_schema(&schema)?;
        let root_certificates = ours.sslrootcert.filter(|path| path != "system").map(PathBuf::from);
        let place = place(&config);
        Ok(Self { config, schema, connect_timeout, verification, root_certificates, place })
    }

    pub(crate) fn failures(&self) -> Failures {
        Failures::of(&self.place)
    }
}

fn unreadable(what: &str) -> StoreError {
    StoreError::unavailable(format!("the database URL cannot be used: {what}"))
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

fn ssl_mode(mode: Option<&str>, has_root: bool) -> Result<(SslMode, Verification), StoreError> {
    Ok(match mode {
        Some("disable") => (SslMode::Disable, Verification::None),
        // As libpq: with root certificates at hand they are used, but the name is not looked at.
        None | Some("prefer" | "allow") => {
            (SslMode::Prefer, if has_root { Verification::Chain } else { Verification::None })
        }
        Some("require") => (SslMode::Require, if has_root { Verification::Chain } else { Verification::None }),
        Some("verify-ca") => (SslMode::Require, Verification::Chain),
        Some("verify-full") => (SslMode::Require, Verification::ChainAndName),
        Some(_) => {
            return Err(unreadable("sslmode is one of disable, allow, prefer, require, verify-ca and verify-full"));
        }
    })
}

/// A name that needs no quoting rules: it also stands in statements of migrations.
fn check_schema(schema: &str) -> Result<(), StoreError> {
    let plain = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let begins = schema.chars().next().is_some_and(|c| c == '_' || c.is_ascii_alphabetic());
    if begins && schema.len() <= 63 && schema.chars().all(plain) && !schema.starts_with("pg_") {
        return Ok(());
    }
    Err(unreadable("the schema is 1 to 63 letters, digits and underscores, and begins with no digit and not with pg_"))
}

fn place(config: &Config) -> String {
    let hosts = config.get_hosts().iter().enumerate().map(|(n, host)| {
        let port = config.get_ports().get(n).or_else(|| config.get_ports().first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            #[cfg(unix)]
            Host::Unix(path) => format!("{}:{port}", path.display()),
        }
    });
    let hosts: Vec<String> = hosts.collect();
    let hosts = if hosts.is_empty() { String::from("(address)") } else { hosts.join(",") };
    format!("PostgreSQL at {hosts}/{}", config.get_dbname().or(config.get_user()).unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target, StoreError> {
        Target::parse(url, &PostgresOptions::default())
    }

    #[test]
    fn a_url_says_where_how_and_which_schema() {
        let target =
            target("postgres://alice:s%40cret@db.example:6432/app?schema=auth&sslmode=verify-full&connect_timeout=7")
                .unwrap();
        assert_eq!(target.place, "PostgreSQL at db.example:6432/app");
        assert_eq!((target.schema.as_str(), target.connect_timeout), ("auth", Duration::from_secs(7)));
        assert_eq!(target.verification, Verification::ChainAndName);
        assert_eq!(target.config.get_ssl_mode(), SslMode::Require);
        assert_eq!(target.config.get_password(), Some(b"s@cret".as_slice()));
        assert_eq!(target.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert!(!format!("{target:?}").contains("cret"));
    }

    #[test]
    fn sslmode_is_read_as_libpq_reads_it() {
        let modes = [
            ("", SslMode::Prefer, Verification::None),
            ("?sslmode=disable", SslMode::Disable, Verification::None),
            ("?sslmode=prefer", SslMode::Prefer, Verification::None),
            ("?sslmode=require", SslMode::Require, Verification::None),
            ("?sslmode=require&sslrootcert=/ca.pem", SslMode::Require, Verification::Chain),
            ("?sslmode=verify-ca", SslMode::Require, Verification::Chain),
            ("?sslrootcert=system&sslmode=verify-full", SslMode::Require, Verification::ChainAndName),
        ];
        for (query, mode, verification) in modes {
            let target = target(&format!("postgres://db/app{query}")).unwrap();
            assert_eq!((target.config.get_ssl_mode(), target.verification), (mode, verification), "{query}");
        }
        assert!(target("postgres://db/app?sslmode=full").is_err());
    }

    #[test]
    fn what_cannot_be_used_is_said_without_the_password() {
        for url in [
            "mysql://u:hunter2@db/app",
            "postgres://u:hunter2@db:port/app",
            "postgres://u:hunter2@db/app?hunter2=1",
            "postgres:///app",
            "postgres://u:hunter2@db/app?schema=a%22b",
            "postgres://u:hunter2@db/app?schema=pg_x",
        ] {
            let error = target(url).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.contains("database URL") && !text.contains("hunter2"), "{url}: {text}");
        }
    }
}
