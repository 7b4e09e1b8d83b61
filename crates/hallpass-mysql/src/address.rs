//! What a database URL says.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::{Opts, OptsBuilder, SslOpts};
use url::Url;

use crate::options::MysqlOptions;

/// Where the database is, and how to sign in. Shows host, port and database alone.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) opts: Opts,
    /// For messages: never with a password.
    pub(crate) place: Arc<str>,
    pub(crate) database: Arc<str>,
    pub(crate) encrypted: bool,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

/// Why a text is no address of a database. Names the part, never a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadAddress(pub(crate) String);

fn bad<T>(what: impl Into<String>) -> Result<T, BadAddress> {
    Err(BadAddress(what.into()))
}

const FORM: &str = "write mysql://user:password@host:3306/database";

impl Address {
    pub(crate) fn parse(text: &str, options: &MysqlOptions) -> Result<Self, BadAddress> {
        let Ok(url) = Url::parse(text) else {
            return bad(format!(
                "the database URL cannot be read; {FORM}, with %-encoding for other characters than letters and digits"
            ));
        };
        if !matches!(url.scheme(), "mysql" | "mariadb") {
            return bad(format!("the database URL begins with {}:, not with mysql: or mariadb:; {FORM}", url.scheme()));
        }
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return bad(format!("the database URL names no host; {FORM}"));
        };
        // The brackets of an IPv6 address belong to the URL alone.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let database = decoded(url.path().trim_start_matches('/'), "database")?;
        if database.is_empty() || database.contains('/') {
            return bad(format!("the database URL names no database; {FORM}"));
        }
        let port = url.port().unwrap_or(3306);
        let mut tls = Tls::default();
        let mut socket = None;
        for (name, value) in url.query_pairs() {
            match &*name {
                "ssl-mode" => tls.mode = Mode::parse(&value)?,
                "ssl-ca" => tls.ca_file = Some(value.into_owned()),
                "socket" => socket = Some(value.into_owned()),
                _ => {
                    return bad(format!(
                        "the database URL has the parameter {name:?}; known are ssl-mode, ssl-ca and socket"
                    ));
                }
            }
        }
        let place = match &socket {
            Some(path) => format!("database {database} at {path}"),
            None => format!("database {database} at {host}:{port}"),
        };
        let user = decoded(url.username(), "user")?;
        let password = url.password().map(|password| decoded(password, "password")).transpose()?;
        let ssl = tls.options(socket.is_some())?;
        let encrypted = ssl.is_some();
        let opts = OptsBuilder::default()
            .ip_or_hostname(host)
            .tcp_port(port)
            .user(Some(user).filter(|user| !user.is_empty()))
            .pass(password)
            .db_name(Some(&database))
            .socket(socket)
            // Otherwise the driver asks the server for its socket and connects a second time.
            .prefer_socket(false)
            .tcp_keepalive(Some(Duration::from_secs(30)))
            .ssl_opts(ssl)
            // A row that a conditional write finds counts, also when it already has the values: naming a session as it is named is no "gone".
            .client_found_rows(true)
            // More than there are statements: none is ever prepared twice on a connection.
            .stmt_cache_size(Some(128))
            .max_allowed_packet(Some(16 << 20))
            .wait_timeout(Some(usize::try_from(options.idle_timeout.as_secs()).unwrap_or(usize::MAX).max(1)));
        Ok(Self { opts: opts.into(), place: place.into(), database: database.into(), encrypted })
    }
}

#[derive(Default)]
struct Tls {
    mode: Mode,
    ca_file: Option<String>,
}

/// As the client programs of MySQL name them. There is no "preferred": a connection that falls back to plain text protects nothing. And no
/// `VERIFY_CA`: the driver checks the name as well, or nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Disabled,
    Required,
    VerifyIdentity,
}

impl Mode {
    fn parse(text: &str) -> Result<Self, BadAddress> {
        Ok(match text.to_ascii_uppercase().replace('-', "_").as_str() {
            "DISABLED" => Self::Disabled,
            "REQUIRED" => Self::Required,
            "VERIFY_IDENTITY" => Self::VerifyIdentity,
            _ => return bad(format!("ssl-mode is {text:?}; write DISABLED, REQUIRED or VERIFY_IDENTITY")),
        })
    }
}

impl Tls {
    fn options(self, socket: bool) -> Result<Option<SslOpts>, BadAddress> {
        if self.mode == Mode::Disabled {
            if self.ca_file.is_some() {
                return bad("the database URL has ssl-ca but no ssl-mode; add ssl-mode=VERIFY_IDENTITY");
            }
            return Ok(None);
        }
        if socket {
            return bad("the database URL has both a socket and ssl-mode; a socket is not encrypted");
        }
        let mut ssl = SslOpts::default().with_danger_accept_invalid_certs(self.mode == Mode::Required);
        if let Some(file) = self.ca_file {
            let read = std::fs::read(&file);
            let pem =
                read.or_else(|error| bad(format!("the file {file} that ssl-ca names cannot be read: {error}")))?;
            // Who names an authority means that one alone.
            ssl = ssl.with_root_certs(vec![pem.into()]).with_disable_built_in_roots(true);
        }
        Ok(Some(ssl))
    }
}

fn decoded(text: &str, part: &str) -> Result<String, BadAddress> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded.map(Cow::into_owned).or_else(|_| bad(format!("the {part} in the database URL is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Address, BadAddress> {
        Address::parse(text, &MysqlOptions::default())
    }

    #[test]
    fn addresses_are_read() {
        let address = parsed("mariadb://hall:p%40ss%3A%2f@db.example:3307/app").unwrap();
        let opts = &address.opts;
        assert_eq!((opts.ip_or_hostname(), opts.tcp_port()), ("db.example", 3307));
        assert_eq!((opts.user(), opts.pass(), opts.db_name()), (Some("hall"), Some("p@ss:/"), Some("app")));
        assert!(opts.client_found_rows() && !opts.prefer_socket() && opts.ssl_opts().is_none());
        assert_eq!(&*address.place, "database app at db.example:3307");
        let address = parsed("mysql://[::1]/app?socket=%2Frun%2Fdb.sock").unwrap();
        assert_eq!((address.opts.ip_or_hostname(), address.opts.socket()), ("::1", Some("/run/db.sock")));
    }

    #[test]
    fn encryption_is_as_strict_as_asked_for() {
        let flags = |query: &str| {
            let address = parsed(&format!("mysql://h/app?{query}")).unwrap();
            let flags =
                |ssl: &SslOpts| (ssl.accept_invalid_certs(), ssl.skip_domain_validation(), ssl.root_certs().len());
            address.opts.ssl_opts().map(flags)
        };
        assert_eq!(flags(""), None);
        assert_eq!(flags("ssl-mode=disabled"), None);
        assert_eq!(flags("ssl-mode=REQUIRED"), Some((true, false, 0)));
        assert_eq!(flags("ssl-mode=verify-identity"), Some((false, false, 0)));
        let file = concat!("ssl-mode=VERIFY_IDENTITY&ssl-ca=", env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert_eq!(flags(file), Some((false, false, 1)));
    }

    #[test]
    fn what_is_wrong_is_named_without_the_password() {
        for (text, words) in [
            ("mysql://u:hunter2@host", "names no database"),
            ("postgres://u:hunter2@host/db", "mysql:"),
            ("mysql:u:hunter2", "names no host"),
            ("mysql://u:hunter2@host:port/db", "cannot be read"),
            ("mysql://u:hunter2@h/db?ssl-mode=maybe", "VERIFY_IDENTITY"),
            ("mysql://u:hunter2@h/db?ssl-mode=VERIFY_CA", "VERIFY_IDENTITY"),
            ("mysql://u:hunter2@h/db?ssl-ca=x", "ssl-mode"),
            ("mysql://u:hunter2@h/db?ssl-mode=REQUIRED&ssl-ca=/there/is/none", "/there/is/none"),
            ("mysql://u:hunter2@h/db?timeout=3", "timeout"),
            ("mysql://u:hunter2@h/db?socket=x&ssl-mode=REQUIRED", "socket"),
        ] {
            let BadAddress(message) = parsed(text).unwrap_err();
            assert!(message.contains(words) && !message.contains("hunter2"), "{text}: {message}");
        }
        assert!(!format!("{:?}", parsed("mysql://u:hunter2@host/db").unwrap()).contains("hunter2"));
    }
}
