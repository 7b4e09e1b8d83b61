//! What a database URL says.

use std::fmt;
use std::time::Duration;

use mysql_async::{Conn, Opts, OptsBuilder, SslOpts};
use url::Url;

use crate::connection;

/// Why a text is no address of a database. Repeats nothing of it but the name of a file: any other part may be a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {fix}")]
pub struct AddressError {
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub fix: String,
}

const FORM: &str =
    "write mysql://user:password@host:3306/database, with other characters than letters and digits as %xx";

/// Where the database is, and how to sign in. Shows host, port and database alone.
///
/// Also for programs that keep other tables beside the sessions, and want to be told of the database by the same URL.
///
/// ```
/// use hallpass_mysql::Address;
///
/// let address = Address::parse("mysql://alice:secret@db.example/app").unwrap();
/// assert_eq!(address.to_string(), "mysql://db.example:3306/app");
/// assert_eq!((address.database(), address.has_password()), ("app", true));
/// ```
#[derive(Clone)]
pub struct Address {
    opts: Opts,
    database: String,
    place: String,
    encrypted: bool,
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

fn problem<T>(problem: impl Into<String>, fix: &str) -> Result<T, AddressError> {
    Err(AddressError { problem: problem.into(), fix: fix.to_owned() })
}

impl Address {
    /// Reads `mysql://user:password@host:port/database` (or `mariadb:`), with the parameters `ssl-mode`, `ssl-ca` and `socket`. Reads the file that
    /// `ssl-ca` names.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let Ok(url) = Url::parse(text) else {
            return problem("it is no URL of MariaDB or MySQL", FORM);
        };
        if !matches!(url.scheme(), "mysql" | "mariadb") {
            return problem("it does not begin with mysql: or mariadb:", FORM);
        }
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

    /// Whether it says a password.
    #[must_use]
    pub const fn has_password(&self) -> bool {
        self.has_password
    }

    /// The database's name.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Host, port and database in words, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    pub(crate) const fn opts(&self) -> &Opts {
        &self.opts
    }

    /// With features for several, TLS would panic at its first use. Who chose a provider before keeps it.
    pub(crate) fn prepare_tls(&self) {
        if self.encrypted && rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
    }

    /// Opens a connection that is set up as the store's are: READ COMMITTED, bytes as they are, strict, and with this bound on waiting for locks
    /// (whole seconds) and on standing still in a transaction. Four round trips and TLS; the caller bounds the time.
    ///
    /// # Errors
    /// The driver's.
    pub async fn connect(&self, lock_wait: Duration) -> mysql_async::Result<Conn> {
        self.prepare_tls();
        connection::set_up(self.opts.clone(), lock_wait.as_secs().max(1)).await
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
    fn parse(text: &str) -> Result<Self, AddressError> {
        Ok(match text.to_ascii_uppercase().replace('-', "_").as_str() {
            "DISABLED" => Self::Disabled,
            "REQUIRED" => Self::Required,
            "VERIFY_IDENTITY" => Self::VerifyIdentity,
            _ => {
                return problem("its ssl-mode is not known", "use one of: DISABLED, REQUIRED, VERIFY_IDENTITY");
            }
        })
    }

    fn options(self, authority: Option<String>, socket: bool) -> Result<Option<SslOpts>, AddressError> {
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
            let read = std::fs::read(&file);
            let pem = read.or_else(|error| {
                problem(format!("the file {file} that ssl-ca names cannot be read: {error}"), "name a readable one")
            })?;
            // Who names an authority means that one alone.
            ssl = ssl.with_root_certs(vec![pem.into()]).with_disable_built_in_roots(true);
        }
        Ok(Some(ssl))
    }
}

fn decoded(text: &str, part: &str) -> Result<String, AddressError> {
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
        let file = concat!("ssl-mode=verify-identity&ssl-ca=", env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert_eq!(flags(file), Some((false, false, 1)));
        assert_eq!(flags("ssl-mode=VERIFY_IDENTITY"), Some((false, false, 0)));
        assert!(Address::parse("mysql://h/app?ssl-mode=VERIFY_CA").is_err());
    }

    #[test]
    fn what_is_wrong_is_named_without_the_password() {
        for (text, words) in [
            ("mysql://u:hunter2@host", "no database"),
            ("postgres://u:hunter2@host/db", "begin with"),
            ("mysql:u:hunter2", "no host"),
            ("mysql://u:hunter2@host:port/db", "no URL"),
            ("mysql://u:hunter2@h/db?ssl-mode=hunter2", "ssl-mode"),
            ("mysql://u:hunter2@h/db?ssl-ca=hunter2", "ssl-ca"),
            ("mysql://u:hunter2@h/db?ssl-mode=REQUIRED&ssl-ca=/there/is/none", "/there/is/none"),
            ("mysql://u:hunter2@h/db?hunter2=3", "parameter"),
            ("mysql://u:hunter2@h/db?socket=x&ssl-mode=REQUIRED", "socket"),
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(
                error.problem.contains(words) && !format!("{error}{error:?}").contains("hunter2"),
                "{text}: {error}"
            );
        }
        assert!(!format!("{:?}", Address::parse("mysql://u:hunter2@host/db").unwrap()).contains("hunter2"));
    }
}
