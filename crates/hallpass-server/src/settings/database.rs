//! Where sessions and accounts are kept: one URL each. What is shown of one is never more than scheme, host, port and database.

use std::fmt;
use std::path::{Path, PathBuf};

use hallpass_redis::Location;
use secrecy::{ExposeSecret as _, SecretString};

use super::authjs_database::{self, AuthjsDatabase};
use super::values::Problem;

const FORMS: &str = "write sqlite:hallpass.db, postgres://user:password@host/database, mysql://user:password@host/database, \
    redis://host:6379/0 or redis+cluster://host:7000,host:7001; before the URL of an application's database with Auth.js write authjs+";

/// The schemes, in the order of the documentation.
const SCHEMES: [&str; 9] =
    ["sqlite", "postgres", "postgresql", "mysql", "mariadb", "redis", "rediss", "redis+cluster", "rediss+cluster"];

/// How far a word may be from a scheme to be taken for a misspelt one, and repeated. Anything else may be a password.
const NEAR: usize = 3;

/// Where sessions are kept.
#[derive(Clone)]
pub enum Database {
    /// A database that can hold the accounts as well.
    Sql(SqlDatabase),
    /// Redis or Valkey.
    Redis(RedisDatabase),
    /// An application's, which shares its sessions and users.
    Authjs(AuthjsDatabase),
}

/// Where accounts are kept.
#[derive(Debug, Clone)]
pub enum AccountsDatabase {
    /// In tables of our own.
    Own(SqlDatabase),
    /// In those of an application with Auth.js.
    Authjs(AuthjsDatabase),
}

/// Where accounts are kept, and sessions too.
#[derive(Clone)]
pub enum SqlDatabase {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// PostgreSQL.
    Postgres(DatabaseUrl),
    /// MariaDB or MySQL.
    Mysql(DatabaseUrl),
}

/// The URL of a database server. Shown without user, password and parameters.
#[derive(Clone)]
pub struct DatabaseUrl {
    text: SecretString,
    shown: String,
    has_password: bool,
}

/// Redis or Valkey: one server, or a Cluster.
#[derive(Clone)]
pub struct RedisDatabase {
    /// The servers.
    pub location: Location,
    /// Begins every key (`prefix=`).
    pub prefix: Option<String>,
    /// How many replicas must have a creation or a revocation before it is acknowledged (`wait-replicas=`).
    pub wait_replicas: u32,
    /// The certificate of the authority to trust, in PEM (`ssl-ca=`).
    pub authority: Option<PathBuf>,
    has_password: bool,
}

impl DatabaseUrl {
    /// The whole URL, for whoever connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

fn problem<T>(problem: impl Into<String>, fix: impl Into<String>) -> Result<T, Problem> {
    Err((problem.into(), fix.into()))
}

impl Database {
    /// Reads a URL. Neither problem nor fix repeats any of it but a scheme.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        if let Some(of_application) = text.strip_prefix(authjs_database::PREFIX) {
            return AuthjsDatabase::parse(of_application).map(Self::Authjs);
        }
        let Some((scheme, rest)) = text.split_once(':') else {
            return problem("it has no scheme", FORMS);
        };
        let url = |shown: String, has_password| DatabaseUrl { text: SecretString::from(text), shown, has_password };
        Ok(match scheme {
            "sqlite" => Self::Sql(SqlDatabase::Sqlite(sqlite_path(rest)?)),
            "postgres" | "postgresql" => {
                let address = hallpass_postgres::Address::parse(text).map_err(|error| (error.problem, error.fix))?;
                Self::Sql(SqlDatabase::Postgres(url(address.to_string(), address.has_password())))
            }
            "mysql" | "mariadb" => {
                let address = hallpass_mysql::Address::parse(text).map_err(|error| (error.problem, error.fix))?;
                Self::Sql(SqlDatabase::Mysql(url(address.to_string(), address.has_password())))
            }
            "redis" | "rediss" | "redis+cluster" | "rediss+cluster" => Self::Redis(RedisDatabase::parse(text)?),
            other => return unknown_scheme(other),
        })
    }

    /// Whether it is there already. Of a server nobody knows before it is asked.
    #[must_use]
    pub fn exists(&self) -> bool {
        match self {
            Self::Sql(database) => database.exists(),
            Self::Redis(_) => true,
            Self::Authjs(database) => database.tables.exists(),
        }
    }

    /// Whether the URL holds a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        match self {
            Self::Sql(database) => database.has_password(),
            Self::Redis(database) => database.has_password,
            Self::Authjs(database) => database.tables.has_password(),
        }
    }

    /// Where accounts are kept when nobody says otherwise.
    #[must_use]
    pub fn for_accounts(&self) -> AccountsDatabase {
        match self {
            Self::Sql(database) => AccountsDatabase::Own(database.clone()),
            Self::Redis(_) => AccountsDatabase::Own(SqlDatabase::default()),
            Self::Authjs(database) => AccountsDatabase::Authjs(database.clone()),
        }
    }
}

impl AccountsDatabase {
    fn tables(&self) -> &SqlDatabase {
        match self {
            Self::Own(database) => database,
            Self::Authjs(database) => &database.tables,
        }
    }

    /// As [`Database::exists`].
    #[must_use]
    pub fn exists(&self) -> bool {
        self.tables().exists()
    }

    /// As [`Database::has_password`].
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.tables().has_password()
    }
}

impl fmt::Display for AccountsDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(database) => database.fmt(f),
            Self::Authjs(database) => database.fmt(f),
        }
    }
}

impl SqlDatabase {
    /// As [`Database::parse`], for one in SQL.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        match Database::parse(text)? {
            Database::Sql(database) => Ok(database),
            Database::Redis(_) => {
                problem("Redis keeps sessions alone", "name an SQL database: sqlite:, postgres:// or mysql://")
            }
            Database::Authjs(_) => problem("it begins with authjs+", "leave that out here"),
        }
    }

    /// As [`Database::exists`].
    #[must_use]
    pub fn exists(&self) -> bool {
        match self {
            Self::Sqlite(path) => path.exists(),
            Self::Postgres(_) | Self::Mysql(_) => true,
        }
    }

    /// As [`Database::has_password`].
    #[must_use]
    pub fn has_password(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(url) | Self::Mysql(url) => url.has_password,
        }
    }
}

impl Default for SqlDatabase {
    fn default() -> Self {
        Self::Sqlite(PathBuf::from("hallpass.db"))
    }
}

impl Default for Database {
    fn default() -> Self {
        Self::Sql(SqlDatabase::default())
    }
}

impl RedisDatabase {
    fn parse(text: &str) -> Result<Self, Problem> {
        let (url, query) = text.split_once('?').unwrap_or((text, ""));
        let Ok(location) = url.parse::<Location>() else {
            return problem(
                "it is no URL of Redis",
                "write redis://host:6379/0, rediss://user:password@host:6379 (with TLS) or redis+cluster://host:7000,host:7001, \
                 with other characters than letters and digits as %xx",
            );
        };
        let has_password = url.contains('@');
        let mut database = Self { location, prefix: None, wait_replicas: 0, authority: None, has_password };
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "prefix" => database.prefix = Some(prefix(&value)?),
                "wait-replicas" => database.wait_replicas = super::values::count(&value, 0, 16)?,
                "ssl-ca" => database.authority = Some(PathBuf::from(&*value)),
                _ => {
                    return problem(
                        "it has a parameter that is not known",
                        "use prefix, wait-replicas and ssl-ca alone",
                    );
                }
            }
        }
        Ok(database)
    }
}

fn prefix(text: &str) -> Result<String, Problem> {
    let sound = |c: char| c.is_ascii_alphanumeric() || ":._-".contains(c);
    if (1..=64).contains(&text.len()) && text.chars().all(sound) {
        return Ok(text.to_owned());
    }
    problem("its prefix cannot begin a key", "use 1 to 64 letters, digits, and : . _ -")
}

fn unknown_scheme<T>(scheme: &str) -> Result<T, Problem> {
    let lower = scheme.to_lowercase();
    let distance = |known: &&str| strsim::damerau_levenshtein(&lower, known);
    let plain = scheme.len() <= 20 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-".contains(c));
    match SCHEMES.iter().min_by_key(|known| distance(known)) {
        Some(nearest) if plain && distance(nearest) <= NEAR => {
            problem(format!("the scheme {scheme}: is not known"), format!("did you mean {nearest}:? {FORMS}"))
        }
        _ => problem("its scheme is not known", FORMS),
    }
}

/// Reads what follows `sqlite:`.
fn sqlite_path(rest: &str) -> Result<PathBuf, Problem> {
    const FIX: &str = "write sqlite:hallpass.db or sqlite:/var/lib/hallpass/hallpass.db";
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() {
        return problem("it names no file", FIX);
    }
    if path.contains(":memory:") {
        return problem(
            "a database in memory forgets every session when the server stops",
            "name a file, such as sqlite:hallpass.db",
        );
    }
    if path.contains(['?', '\0']) {
        return problem("it has parameters, and an SQLite file takes none", FIX);
    }
    Ok(PathBuf::from(path))
}

impl fmt::Display for SqlDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", Path::display(path)),
            Self::Postgres(url) | Self::Mysql(url) => f.write_str(&url.shown),
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql(database) => database.fmt(f),
            Self::Redis(database) => database.location.fmt(f),
            Self::Authjs(database) => database.fmt(f),
        }
    }
}

/// As it is shown, so that no derived `Debug` around it shows more.
macro_rules! debug_as_shown {
    ($($name:ty => $shown:expr),* $(,)?) => {
        $(impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let shown: fn(&Self) -> &dyn fmt::Display = $shown;
                fmt::Display::fmt(shown(self), f)
            }
        })*
    };
}

debug_as_shown! {
    Database => |database| database,
    SqlDatabase => |database| database,
    DatabaseUrl => |url| &url.shown,
    RedisDatabase => |database| &database.location,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let database = Database::parse(text).unwrap();
        let shown = database.to_string();
        assert_eq!(format!("{database:?}"), shown);
        shown
    }

    #[test]
    fn every_scheme_is_read_and_shown_without_user_and_password() {
        for (text, seen, password) in [
            ("sqlite:hallpass.db", "sqlite:hallpass.db", false),
            ("sqlite:///var/x.db", "sqlite:/var/x.db", false),
            ("postgres://u:hunter2@h/d?sslmode=require", "postgres://h:5432/d", true),
            ("postgresql://h1:1,h2:2/d?schema=x", "postgres://h1:1,h2:2/d", false),
            ("postgres://h/d?password=hunter2", "postgres://h:5432/d", true),
            ("mysql://u:hunter2@h/d", "mysql://h:3306/d", true),
            ("mariadb://u@h:7/d?ssl-mode=REQUIRED", "mariadb://h:7/d", false),
            ("redis://h", "redis://h:6379/0", false),
            // What stands before the @ is a user by the rules, and a password by mistake.
            ("redis://hunter2@h/3", "redis://h:6379/3", true),
            ("rediss://:hunter2@h:1", "rediss://h:1/0", true),
            ("redis+cluster://u:hunter2@a:1,b:2?prefix=hall:", "redis+cluster://a:1,b:2", true),
            ("rediss+cluster://a", "rediss+cluster://a:6379", false),
        ] {
            assert_eq!(shown(text), seen);
            assert_eq!(Database::parse(text).unwrap().has_password(), password, "{text}");
        }
    }

    #[test]
    fn the_whole_url_reaches_who_connects() {
        let text = "postgres://u:hunter2@h/d?sslmode=require";
        let Database::Sql(SqlDatabase::Postgres(url)) = Database::parse(text).unwrap() else { panic!() };
        assert_eq!(url.expose(), text);
        assert_eq!(format!("{url:?}"), "postgres://h:5432/d");
        let Ok(Database::Redis(redis)) = Database::parse("redis://h?prefix=a:b&wait-replicas=2&ssl-ca=%2Fca.pem")
        else {
            panic!()
        };
        assert_eq!((redis.prefix.as_deref(), redis.wait_replicas), (Some("a:b"), 2));
        assert_eq!(redis.authority.as_deref(), Some(Path::new("/ca.pem")));
    }

    #[test]
    fn a_misspelt_scheme_is_answered_with_the_nearest() {
        for (text, nearest) in [
            ("postgre://u:hunter2@h/d", "did you mean postgres:?"),
            ("psotgresql://u:hunter2@h/d", "did you mean postgresql:?"),
            ("mysq://u:hunter2@h/d", "did you mean mysql:?"),
            ("sqlite3:x.db", "did you mean sqlite:?"),
            ("redis-cluster://h", "did you mean redis+cluster:?"),
            ("POSTGRES://h/d", "did you mean postgres:?"),
        ] {
            let (what, fix) = Database::parse(text).unwrap_err();
            assert!(what.contains("is not known") && fix.contains(nearest), "{what}; {fix}");
            assert!(!format!("{what}{fix}").contains("hunter2"));
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_nothing_is_repeated() {
        for (text, words) in [
            ("hunter2", "no scheme"),
            ("hunter2:x", "scheme is not known"),
            ("u:hunter2@h/d", "scheme is not known"),
            ("http://u:hunter2@h/d", "scheme is not known"),
            ("sqlite:", "names no file"),
            ("sqlite::memory:", "forgets"),
            ("sqlite:x?hunter2", "parameters"),
            ("postgres:hunter2", "begin with"),
            ("postgres://u:hunter2@h/d?sslmode=hunter2", "sslmode"),
            ("mysql://u:hunter2@h", "no database"),
            ("redis://u:hunter2@h/x", "no URL of Redis"),
            ("redis://u:hunter2@h,i", "no URL of Redis"),
            ("redis://u:hunter2@h?hunter2=1", "parameter"),
            ("redis://h?prefix={hunter2}", "prefix"),
            ("redis://h?wait-replicas=many", "whole number"),
        ] {
            let (what, fix) = Database::parse(text).unwrap_err();
            assert!(what.contains(words), "{text}: {what}");
            assert!(!format!("{what}{fix}").contains("hunter2"), "{text}: {what}; {fix}");
        }
    }

    #[test]
    fn accounts_live_in_sql() {
        let (what, fix) = SqlDatabase::parse("redis://u:hunter2@h").unwrap_err();
        assert!(what.contains("Redis") && fix.contains("postgres://"), "{what}; {fix}");
        assert!(SqlDatabase::parse("mysql://h/d").is_ok());
        let kept = |text| Database::parse(text).unwrap().for_accounts().to_string();
        assert_eq!(kept("postgres://u@h/d"), "postgres://h:5432/d");
        assert_eq!(kept("sqlite:x.db"), "sqlite:x.db");
        assert_eq!(kept("redis+cluster://h"), "sqlite:hallpass.db");
    }
}
