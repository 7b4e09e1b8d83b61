//! Configuration: flags over `HALLPASS_*` environment over `hallpass.toml`.
//!
//! [`definition`] is the one table all three come from. [`Sources`] is the low half (who said what),
//! [`Settings`] the high half (values that can be used). This is the only module that reads the
//! environment.

mod authjs_database;
mod database;
pub mod definition;
mod error;
mod policy;
mod provider_ids;
mod providers;
mod sources;
mod values;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;
use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

pub use self::authjs_database::AuthjsDatabase;
pub use self::database::{AccountsDatabase, Database, DatabaseUrl, RedisDatabase, SqlDatabase};
pub use self::definition::{add_flags, markdown};
pub use self::error::{Origin, SettingsError};
pub use self::policy::{ClassOverride, PolicySettings, SessionLimit};
pub use self::providers::{Endpoints, ProviderKind, ProviderSettings};
pub use self::sources::Sources;
use self::values::Problem;
pub use crate::auth::AuthApi;
use crate::pages::SIGN_IN;
use hallpass_core::{AbsoluteTimeout, CacheSettings, OnLimit, Preset, ValidationMode};

/// Least length of a configured secret, in bytes (threat A31): 32 bytes cannot be guessed.
pub const MIN_SECRET_BYTES: usize = 32;

const MAKE_SECRET: &str = "make one with: openssl rand -base64 32";

/// Form of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// argon2id parameters. The default is the OWASP Password Storage Cheat Sheet's second choice:
/// 19 MiB, two passes, one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
}

impl Default for PasswordCost {
    fn default() -> Self {
        Self { memory_kib: 19_456, iterations: 2, parallelism: 1 }
    }
}

/// The configuration in force.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Sessions.
    pub database: Database,
    /// Accounts.
    pub accounts: AccountsDatabase,
    /// Bearer secret of the cleanup endpoint. `None`: the endpoint does not exist.
    pub cron_secret: Option<SecretString>,
    /// Bearer secret of `/metrics`. `None`: the endpoint does not exist.
    pub metrics_secret: Option<SecretString>,
    /// Which version of Auth.js the sign-in endpoints answer as.
    pub auth_api: AuthApi,
    /// Where people without a session are sent, on the public origin.
    pub sign_in_path: String,
    /// Key of the CSRF token. `None`: the one kept in the database.
    pub auth_secret: Option<SecretString>,
    /// Key for the hashes of token secrets.
    pub pepper: Option<SecretString>,
    /// How sessions are checked.
    pub validation: ValidationMode,
    /// The session policy.
    pub policy: PolicySettings,
    /// Proxies whose forwarded address is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// http is allowed on a public URL that is not this machine.
    pub insecure_http: bool,
    /// Time between two clean-ups.
    pub sweep_interval: Duration,
    /// How long ended sessions stay.
    pub ended_retention: Duration,
    /// Patience at shutdown.
    pub drain_timeout: Duration,
    /// Log directives, known to parse.
    pub log: String,
    /// Form of the log.
    pub log_format: LogFormat,
    /// Password hashing.
    pub password: PasswordCost,
    /// Identity providers, in the order of their ids.
    pub providers: Vec<ProviderSettings>,
    public_url: Option<Url>,
    origins: BTreeMap<String, Origin>,
    config_file: Option<PathBuf>,
}

impl Settings {
    /// Reads flags, the process's environment and the configuration file.
    ///
    /// # Errors
    /// See [`SettingsError`]; the first problem found is reported.
    pub fn load(flags: &ArgMatches) -> Result<Self, SettingsError> {
        Self::resolve(&Sources::gather(flags, std::env::vars_os(), Path::new(""))?)
    }

    /// Turns gathered texts into values and checks what can be checked without touching the world.
    ///
    /// # Errors
    /// [`SettingsError::Invalid`] for the first value that cannot be used.
    pub fn resolve(sources: &Sources) -> Result<Self, SettingsError> {
        let read = Reader { sources };
        let listen = read.or("listen", values::address, || SocketAddr::from(([127, 0, 0, 1], 8080)))?;
        let insecure_http = read.or("insecure_http", values::switch, || false)?;
        let public_url = read.get("public_url", values::origin)?;
        check_transport(sources, public_url.as_ref(), listen, insecure_http)?;
        let database = read.or("database_url", Database::parse, Database::default)?;
        let accounts = read.or("accounts_url", |text| of_accounts(text, &database), || database.for_accounts())?;
        let log = read.or(
            "log",
            |text| match tracing_subscriber::EnvFilter::try_new(text) {
                Ok(_) => Ok(text.to_owned()),
                Err(error) => Err((
                    format!("{text:?} is no log directive ({error})"),
                    "write a level or target=level pairs: info,hallpass=debug".to_owned(),
                )),
            },
            || "info".to_owned(),
        )?;
        let validation = resolve_validation(&read)?;
        let log_format = read.or(
            "log_format",
            |text| match text {
                "text" => Ok(LogFormat::Text),
                "json" => Ok(LogFormat::Json),
                _ => Err(choice(definition::all(), "log_format", text)),
            },
            LogFormat::default,
        )?;
        Ok(Self {
            listen,
            database,
            accounts,
            cron_secret: read.secret("cron_secret")?,
            metrics_secret: read.secret("metrics_secret")?,
            auth_api: read.or(
                "auth_api",
                |text| AuthApi::parse(text).ok_or_else(|| choice(definition::all(), "auth_api", text)),
                AuthApi::default,
            )?,
            sign_in_path: read.or("sign_in_path", values::sign_in_path, || SIGN_IN.to_owned())?,
            auth_secret: read.secret("auth_secret")?,
            pepper: read.secret("pepper")?,
            validation,
            policy: resolve_policy(&read)?,
            trusted_proxies: read.or("trusted_proxies", values::networks, Vec::new)?,
            insecure_http,
            sweep_interval: read.or("sweep_interval", values::duration, || Duration::from_secs(10 * 60))?,
            ended_retention: read.or("ended_retention", values::duration, || Duration::from_secs(30 * 24 * 60 * 60))?,
            drain_timeout: read.or("drain_timeout", values::duration, || Duration::from_secs(10))?,
            log,
            log_format,
            password: resolve_password(&read)?,
            providers: providers::resolve(&read)?,
            public_url,
            origins: definition::all()
                .iter()
                .map(|setting| (setting.key.clone(), sources.origin(&setting.key)))
                .collect(),
            config_file: sources.config_file().map(Path::to_owned),
        })
    }

    /// The origin browsers use: the configured one, or `http://` and the address the server is bound
    /// to (which differs from `listen` when that asked for port 0).
    #[must_use]
    pub fn public_origin(&self, bound: SocketAddr) -> String {
        self.public_url.as_ref().map_or_else(|| format!("http://{bound}"), |url| url.origin().ascii_serialization())
    }

    /// Whether the public origin is https, so that cookies are `Secure`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
    }

    /// Who set `key`, for `doctor`.
    #[must_use]
    pub fn origin_of(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// The configuration file that was read.
    #[must_use]
    pub fn config_file(&self) -> Option<&Path> {
        self.config_file.as_deref()
    }
}

/// Plain http outside this machine lets anybody on the way read the cookie.
fn check_transport(
    sources: &Sources,
    public_url: Option<&Url>,
    listen: SocketAddr,
    insecure_http: bool,
) -> Result<(), SettingsError> {
    let plain = match public_url {
        Some(url) => url.scheme() == "http" && !values::is_loopback(url),
        None => !listen.ip().is_loopback(),
    };
    if !plain || insecure_http {
        return Ok(());
    }
    let (key, problem) = match public_url {
        Some(_) => ("public_url", "http on a host that is not this machine shows the session cookie to the network"),
        None => ("listen", "the server would be reachable from the network, but no public URL is set"),
    };
    Err(SettingsError::Invalid {
        key: key.to_owned(),
        origin: sources.origin(key),
        problem: problem.to_owned(),
        fix: "set public_url (HALLPASS_PUBLIC_URL) to the https:// address browsers use, or, on a closed network only, insecure_http (--insecure-http)".to_owned(),
    })
}

fn resolve_password(read: &Reader<'_>) -> Result<PasswordCost, SettingsError> {
    let default = PasswordCost::default();
    Ok(PasswordCost {
        // The least memory OWASP names; the most is what one sign-in may cost.
        memory_kib: read.or(
            "password.memory_kib",
            |text| values::count(text, 7_168, 1_048_576),
            || default.memory_kib,
        )?,
        iterations: read.or("password.iterations", |text| values::count(text, 1, 20), || default.iterations)?,
        parallelism: read.or("password.parallelism", |text| values::count(text, 1, 16), || default.parallelism)?,
    })
}

fn resolve_validation(read: &Reader<'_>) -> Result<ValidationMode, SettingsError> {
    let mut cache = CacheSettings::default();
    let lease = |text: &str| {
        let lease = values::duration(text)?;
        if lease > Duration::from_secs(300) {
            return Err((
                format!("{text:?} is longer than 5 minutes"),
                "choose how long a revoked session may still be accepted elsewhere".to_owned(),
            ));
        }
        Ok(lease)
    };
    cache.lease = read.or("cache.lease", lease, || cache.lease)?;
    cache.poll = cache.lease / 4;
    let mebibytes = read.get("cache.memory_mib", |text| values::count(text, 1, 1_048_576))?;
    cache.bytes = mebibytes.map_or(cache.bytes, |mebibytes| u64::from(mebibytes) << 20);
    read.or(
        "validation",
        |text| match text {
            "strict" => Ok(ValidationMode::Strict),
            "cached" => Ok(ValidationMode::Cached(cache)),
            _ => Err(choice(definition::all(), "validation", text)),
        },
        || ValidationMode::Strict,
    )
}

fn resolve_policy(read: &Reader<'_>) -> Result<PolicySettings, SettingsError> {
    let preset = read.or(
        "policy.preset",
        |text| Preset::parse(text).ok_or_else(|| choice(definition::all(), "policy.preset", text)),
        Preset::default,
    )?;
    let mut classes = BTreeMap::new();
    for class in definition::CLASSES {
        let key = |field: &str| format!("policy.{class}.{field}");
        let of_class = ClassOverride {
            max_age: read.get(&key("max_age"), values::duration)?,
            update_age: read.get(&key("update_age"), values::duration)?,
            absolute_timeout: read.get(&key("absolute_timeout"), |text| match text {
                "none" => Ok(AbsoluteTimeout::Never),
                _ => values::duration(text).map(AbsoluteTimeout::After),
            })?,
            fresh_age: read.get(&key("fresh_age"), values::duration)?,
            max_per_user: read.get(&key("max_per_user"), |text| match text {
                "none" => Ok(SessionLimit::Unlimited),
                _ => values::count(text, 1, 1_000_000).map(SessionLimit::AtMost),
            })?,
            on_limit: read.get(&key("on_limit"), |text| {
                OnLimit::parse(text).ok_or_else(|| choice(definition::all(), &key("on_limit"), text))
            })?,
        };
        if of_class != ClassOverride::default() {
            classes.insert(class, of_class);
        }
    }
    Ok(PolicySettings { preset, classes })
}

/// The message for a word that is none of the setting's choices.
fn choice(settings: &[definition::Setting], key: &str, text: &str) -> Problem {
    let words = settings
        .iter()
        .find(|setting| setting.key == key)
        .and_then(|setting| match setting.kind {
            definition::Kind::Choice(words) => Some(words.join(", ")),
            _ => None,
        })
        .unwrap_or_default();
    (format!("{text:?} is none of its words"), format!("use one of: {words}"))
}

/// Where accounts shall be that are not beside the sessions.
fn of_accounts(text: &str, sessions: &Database) -> Result<AccountsDatabase, Problem> {
    if matches!(sessions, Database::Authjs(_)) {
        return Err((
            "with an Auth.js database the accounts are its users".to_owned(),
            "leave accounts_url (HALLPASS_ACCOUNTS_URL) out".to_owned(),
        ));
    }
    SqlDatabase::parse(text).map(AccountsDatabase::Own)
}

/// The database that a command's own flag names: `--NAME URL`, or `--NAME-file PATH` with the URL in a file.
///
/// # Errors
/// An unreadable file, and a URL that is none.
pub fn database_of_flag(name: &str, url: Option<&str>, path: Option<&Path>) -> Result<Option<Database>, SettingsError> {
    let raw = sources::of_flag(name, url, path)?;
    raw.map(|raw| parsed(name, &raw, Database::parse)).transpose()
}

/// As [`database_of_flag`], for one in SQL.
///
/// # Errors
/// An unreadable file, a URL that is none, and one of Redis.
pub fn sql_database_of_flag(
    name: &str,
    url: Option<&str>,
    path: Option<&Path>,
) -> Result<Option<SqlDatabase>, SettingsError> {
    let raw = sources::of_flag(name, url, path)?;
    raw.map(|raw| parsed(name, &raw, SqlDatabase::parse)).transpose()
}

/// Adds name and origin to what goes wrong.
fn parsed<T>(
    key: &str,
    raw: &sources::Raw,
    parse: impl FnOnce(&str) -> Result<T, Problem>,
) -> Result<T, SettingsError> {
    parse(&raw.text).map_err(|(problem, fix)| SettingsError::Invalid {
        key: key.to_owned(),
        origin: raw.origin.clone(),
        problem,
        fix,
    })
}

/// Reads single settings, adding name and origin to what goes wrong.
struct Reader<'a> {
    sources: &'a Sources,
}

impl Reader<'_> {
    fn get<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, Problem>) -> Result<Option<T>, SettingsError> {
        self.sources.get(key).map(|raw| parsed(key, raw, parse)).transpose()
    }

    fn or<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, Problem>,
        default: impl FnOnce() -> T,
    ) -> Result<T, SettingsError> {
        Ok(self.get(key, parse)?.unwrap_or_else(default))
    }

    /// A secret: absent or blank is none, short is refused. The text never enters a message.
    fn secret(&self, key: &str) -> Result<Option<SecretString>, SettingsError> {
        let secret = self.get(key, |text| {
            if text.is_empty() {
                return Ok(None);
            }
            if text.len() < MIN_SECRET_BYTES {
                return Err((
                    format!("it has {} bytes, fewer than {MIN_SECRET_BYTES}, and could be guessed", text.len()),
                    MAKE_SECRET.to_owned(),
                ));
            }
            // It travels in a header, where blanks and other bytes do not arrive as they were sent.
            if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err((
                    "it holds blanks or characters outside printable ASCII".to_owned(),
                    MAKE_SECRET.to_owned(),
                ));
            }
            Ok(Some(SecretString::from(text.to_owned())))
        })?;
        Ok(secret.flatten())
    }
}

#[cfg(test)]
mod tests;
