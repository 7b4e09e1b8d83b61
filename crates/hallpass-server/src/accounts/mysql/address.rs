//! Where the database is: a URL, read as the session store reads it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use mysql_async::{Opts, OptsBuilder, SslOpts};
use url::Url;

/// What is wrong, and the fix.
type Problem = (String, String);

const FORM: &str =
    "write mysql://user:password@host:3306/database, with other characters than letters and digits as %xx";

/// What a URL says. Shows host, port and database alone.
#[derive(Clone)]
pub(crate) struct Address {
    pub(super) opts: Opts,
    pub(super) database: String,
    /// For messages.
    pub(super) place: String,
    pub(super) encrypted: bool,
    shown: String,
    has_password: bool,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

/// As a URL, without user, password and parameters.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn problem<T>(what: impl Into<String>, fix: &str) -> Result<T, Problem> {
    Err((what.into(), fix.to_owned()))
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let Ok(url) = Url::parse(text) else {
            return problem("it is no URL of MariaDB or MySQL", FORM);
        };
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return problem("it names no host", FORM);
        };
        let database = decoded(url.path().trim_start_matches('/'), "database")?;
        if database.is_empty() || database.contains('/') {
            return problem("it names no database", FORM);
        }
        let port = url.port().unwrap_or(3306);
        let (mut mode, mut authority, mut socket) = (Mode::Disabled, None, None);
        for (name, value) in url.query_pairs() {
            match &*name {
                "ssl-mode" => mode = Mode::parse(&value)?,
                "ssl-ca" => authority = Some(value.into_owned()),
                "socket" => socket = Some(value.into_owned()),
                _ => return problem("it has a parameter that is not known", "use ssl-mode, ssl-ca and socket alone"),
            }
        }
        let user = decoded(url.username(), "user")?;
        let password = url.password().map(|password| decoded(password, "password")).transpose()?;
        let ssl = mode.options(authority, socket.is_some())?;
        let place = match &socket {
            Some(path) => format!("database {database} at {path}"),
            None => format!("database {database} at {host}:{port}"),
        };
        let shown = format!("{}://{host}:{port}/{database}", url.scheme());
        let (has_password, encrypted) = (password.is_some(), ssl.is_some());
        let opts = OptsBuilder::default()
            // The brackets of an IPv6 address belong to the URL alone.
            .ip_or_hostname(host.trim_start_matches('[').trim_end_matches(']'))
            .tcp_port(port)
            .user(Some(user).filter(|user| !user.is_empty()))
            .pass(password)
            .db_name(Some(&database))
            .socket(socket)
            // Otherwise the driver asks the server for its socket and connects a second time.
            .prefer_socket(false)
            .tcp_keepalive(Some(Duration::from_secs(30)))
            .ssl_opts(ssl)
            // A row that a conditional write finds counts, also when it already has the values.
            .client_found_rows(true);
        Ok(Self { opts: opts.into(), database, place, encrypted, shown, has_password })
    }

    pub(crate) fn has_password(&self) -> bool {
        self.has_password
    }
}

/// As the client programs of MySQL name them. There is no "preferred": a connection that falls back to plain text protects nothing. And no
/// `VERIFY_CA`: the driver checks the name as well, or nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Disabled,
    Required,
    VerifyIdentity,
}

impl Mode {
    fn parse(text: &str) -> Result<Self, Problem> {
        Ok(match text.to_ascii_uppercase().replace('-', "_").as_str() {
            "DISABLED" => Self::Disabled,
            "REQUIRED" => Self::Required,
            "VERIFY_IDENTITY" => Self::VerifyIdentity,
            _ => {
                return problem("its ssl-mode is not known", "use one of: DISABLED, REQUIRED, VERIFY_IDENTITY");
            }
        })
    }

    fn options(self, authority: Option<String>, socket: bool) -> Result<Option<SslOpts>, Problem> {
        if self == Self::Disabled {
            return match authority {
                Some(_) => problem("it has ssl-ca but no ssl-mode", "add ssl-mode=VERIFY_IDENTITY"),
                None => Ok(None),
            };
        }
        if socket {
            return problem("it has both a socket and ssl-mode", "leave one of them out; a socket is not encrypted");
        }
        let mut ssl = SslOpts::default().with_danger_accept_invalid_certs(self == Self::Required);
        if let Some(file) = authority {
            // Who names an authority means that one alone.
            ssl = ssl.with_root_certs(vec![PathBuf::from(file).into()]).with_disable_built_in_roots(true);
        }
        Ok(Some(ssl))
    }
}

fn decoded(text: &str, part: &str) -> Result<String, Problem> {
    match percent_encoding::percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => problem(format!("its {part} is not UTF-8"), FORM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let address = Address::parse("mariadb://hall:p%40ss%3A%2f@db.example:3307/app").unwrap();
        let opts = &address.opts;
        assert_eq!((opts.ip_or_hostname(), opts.tcp_port()), ("db.example", 3307));
        assert_eq!((opts.user(), opts.pass(), opts.db_name()), (Some("hall"), Some("p@ss:/"), Some("app")));
        assert!(opts.client_found_rows() && opts.ssl_opts().is_none() && address.has_password());
        assert_eq!(address.place, "database app at db.example:3307");
        assert_eq!(address.to_string(), "mariadb://db.example:3307/app");
        let address = Address::parse("mysql://[::1]/app?socket=%2Frun%2Fdb.sock").unwrap();
        assert_eq!((address.opts.ip_or_hostname(), address.opts.socket()), ("::1", Some("/run/db.sock")));
        assert_eq!(address.to_string(), "mysql://[::1]:3306/app");
        assert!(!address.has_password());
    }

    #[test]
    fn encryption_is_as_strict_as_asked_for() {
        let flags = |query: &str| {
            let address = Address::parse(&format!("mysql://h/app?{query}")).unwrap();
            let ssl = address.opts.ssl_opts().cloned();
            ssl.map(|ssl| (ssl.accept_invalid_certs(), ssl.skip_domain_validation(), ssl.root_certs().len()))
        };
        assert_eq!(flags(""), None);
        assert_eq!(flags("ssl-mode=REQUIRED"), Some((true, false, 0)));
        assert_eq!(flags("ssl-mode=verify-identity&ssl-ca=/ca.pem"), Some((false, false, 1)));
        assert_eq!(flags("ssl-mode=VERIFY_IDENTITY"), Some((false, false, 0)));
        // The session store refuses it as well.
        assert!(Address::parse("mysql://h/app?ssl-mode=VERIFY_CA").is_err());
    }

    #[test]
    fn what_is_wrong_is_named_without_the_password() {
        for (text, words) in [
            ("mysql://u:hunter2@host", "no database"),
            ("mysql:u:hunter2", "no host"),
            ("mysql://u:hunter2@host:port/db", "no URL"),
            ("mysql://u:hunter2@h/db?ssl-mode=hunter2", "ssl-mode"),
            ("mysql://u:hunter2@h/db?ssl-ca=hunter2", "ssl-ca"),
            ("mysql://u:hunter2@h/db?hunter2=3", "parameter"),
            ("mysql://u:hunter2@h/db?socket=x&ssl-mode=REQUIRED", "socket"),
        ] {
            let (what, fix) = Address::parse(text).unwrap_err();
            assert!(what.contains(words) && !format!("{what}{fix}").contains("hunter2"), "{text}: {what}");
        }
        assert!(!format!("{:?}", Address::parse("mysql://u:hunter2@host/db").unwrap()).contains("hunter2"));
    }
}
