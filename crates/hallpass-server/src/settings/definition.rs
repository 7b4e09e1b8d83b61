//! The one table of settings. Flags, environment names, `hallpass.toml` keys, the help text and the
//! documentation's table all come from it, so they cannot disagree.

use std::sync::LazyLock;

use clap::{Arg, ArgAction, Command};

/// The classes a policy can be set for.
pub const CLASSES: [&str; 3] = ["web", "remembered", "api"];

/// The environment variable that names the configuration file.
pub const CONFIG_ENV: &str = "HALLPASS_CONFIG";

/// The file read from the working directory when no other is named.
pub const CONFIG_FILE: &str = "hallpass.toml";

/// What a value must look like. It only chooses the placeholder and the shape of the flag; the value
/// itself is read by `settings::resolve`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `HOST:PORT`.
    Address,
    /// An absolute URL.
    Url,
    /// Free text.
    Text,
    /// A span of time with units: `90s`, `15m`, `24h`, `30d`, `1h30m`.
    Duration,
    /// A span of time or the word `none`.
    DurationOrNone,
    /// A whole number above zero.
    Count,
    /// A whole number above zero or the word `none`.
    CountOrNone,
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Networks in CIDR form, separated by commas (a list in the file).
    Networks,
    /// Words, separated by commas or blanks (a list in the file).
    List,
}

impl Kind {
    /// The placeholder shown in the help text.
    #[must_use]
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::Address => "ADDRESS",
            Self::Url => "URL",
            Self::Text => "TEXT",
            Self::Duration | Self::DurationOrNone => "DURATION",
            Self::Count | Self::CountOrNone => "N",
            Self::Switch => "BOOL",
            Self::Choice(_) => "WORD",
            Self::Networks => "CIDRS",
            Self::List => "WORDS",
        }
    }
}

/// Where a setting may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supply {
    /// Flag, environment, file.
    Plain,
    /// As `Plain`, and the value may also stand in a file of its own (`..._FILE`), because it can
    /// hold a password.
    PlainOrFile,
    /// Never a plain flag (other users of the machine read command lines); environment, file,
    /// and a file of its own. Never printed.
    Secret,
    /// Environment and file only: too many of them for flags.
    NoFlag,
    /// As `NoFlag`, and the value may also stand in a file of its own. Never printed.
    SecretNoFlag,
}

/// One setting.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Setting {
    /// Dotted key in `hallpass.toml`, also its name in messages.
    pub key: String,
    /// Environment name, made from the key.
    pub env: String,
    /// A second environment name that other programs already use.
    pub other_env: Option<&'static str>,
    /// What its value looks like.
    pub kind: Kind,
    /// What happens without it, as shown in help and documentation.
    pub default: &'static str,
    /// One sentence.
    pub help: String,
    /// Where it may come from.
    pub supply: Supply,
}

impl Setting {
    fn new(
        key: String,
        kind: Kind,
        default: &'static str,
        help: String,
        supply: Supply,
        other_env: Option<&'static str>,
    ) -> Self {
        let env = format!("HALLPASS_{}", key.replace(['.', '-'], "_").to_uppercase());
        Self { key, env, other_env, kind, default, help, supply }
    }

    /// The long flag without its dashes, if the value itself may be a flag.
    #[must_use]
    pub fn flag(&self) -> Option<String> {
        match self.supply {
            Supply::Plain | Supply::PlainOrFile => Some(self.key.replace(['.', '_'], "-")),
            Supply::Secret | Supply::NoFlag | Supply::SecretNoFlag => None,
        }
    }

    /// The long flag that names a file holding the value, if there is one.
    #[must_use]
    pub fn file_flag(&self) -> Option<String> {
        matches!(self.supply, Supply::PlainOrFile | Supply::Secret)
            .then(|| format!("{}-file", self.key.replace(['.', '_'], "-")))
    }

    /// Whether the value may stand in a file of its own.
    #[must_use]
    pub fn may_be_file(&self) -> bool {
        matches!(self.supply, Supply::PlainOrFile | Supply::Secret | Supply::SecretNoFlag)
    }

    /// Whether the value is never shown.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        matches!(self.supply, Supply::Secret | Supply::SecretNoFlag)
    }

    /// Every environment name that carries the value itself, the preferred one first.
    pub fn env_names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.env.as_str()).chain(self.other_env)
    }
}

struct Row(&'static str, Kind, &'static str, &'static str, Supply, Option<&'static str>);

const ROWS: &[Row] = &[
    Row("listen", Kind::Address, "127.0.0.1:8080", "Address and port to listen on", Supply::Plain, None),
    Row(
        "public_url",
        Kind::Url,
        "http://<listen>",
        "The origin browsers use; cookies and the cross-origin defence follow it",
        Supply::Plain,
        None,
    ),
    Row(
        "database_url",
        Kind::Url,
        "sqlite:hallpass.db",
        "Where sessions are kept: sqlite:, postgres://, mysql://, redis:// or redis+cluster://; authjs+ before the URL of an application's database",
        Supply::PlainOrFile,
        None,
    ),
    Row(
        "accounts_url",
        Kind::Url,
        "the session database where that is SQL, otherwise sqlite:hallpass.db",
        "Where accounts are kept: sqlite:, postgres:// or mysql://",
        Supply::PlainOrFile,
        None,
    ),
    Row(
        "cron_secret",
        Kind::Text,
        "none: the endpoint does not exist",
        "Bearer secret of the cleanup endpoint, at least 32 bytes",
        Supply::Secret,
        Some("CRON_SECRET"),
    ),
    Row(
        "metrics_secret",
        Kind::Text,
        "none: the endpoint does not exist",
        "Bearer secret of /metrics (Prometheus), at least 32 bytes",
        Supply::Secret,
        None,
    ),
    Row(
        "auth_api",
        Kind::Choice(&["authjs5", "nextauth4"]),
        "authjs5",
        "Which version of Auth.js the sign-in endpoints answer as: that of the application's browser client (next-auth 5 or 4)",
        Supply::Plain,
        None,
    ),
    Row(
        "sign_in_path",
        Kind::Text,
        "/signin",
        "Where people without a session are sent: the path of the sign-in page on the public origin, where that is the application's own",
        Supply::Plain,
        None,
    ),
    Row(
        "auth_secret",
        Kind::Text,
        "made at the first start and kept in the database",
        "Key of the sign-in form's CSRF token, at least 32 bytes",
        Supply::Secret,
        None,
    ),
    Row(
        "pepper",
        Kind::Text,
        "none",
        "Key for the stored hashes of token secrets, at least 32 bytes; changing it signs everybody out",
        Supply::Secret,
        None,
    ),
    Row(
        "validation",
        Kind::Choice(&["strict", "cached"]),
        "strict",
        "How a request's session is checked: strict reads the database each time, cached answers from memory within its lease",
        Supply::Plain,
        None,
    ),
    Row(
        "cache.lease",
        Kind::Duration,
        "2s",
        "With cached validation: how long after its revocation another server may still accept a session, at most",
        Supply::Plain,
        None,
    ),
    Row(
        "cache.memory_mib",
        Kind::Count,
        "64",
        "With cached validation: memory for sessions in MiB; a session takes about 250 bytes",
        Supply::Plain,
        None,
    ),
    Row(
        "policy.preset",
        Kind::Choice(&["default", "aal1", "aal2", "aal3"]),
        "default",
        "The session policy to start from (aal1 to aal3 follow NIST SP 800-63B-4)",
        Supply::Plain,
        None,
    ),
    Row(
        "trusted_proxies",
        Kind::Networks,
        "none",
        "Reverse proxies whose X-Forwarded-For is believed",
        Supply::Plain,
        None,
    ),
    Row(
        "insecure_http",
        Kind::Switch,
        "false",
        "Allow a public URL with http on a host that is not this machine",
        Supply::Plain,
        None,
    ),
    Row(
        "sweep_interval",
        Kind::Duration,
        "10m",
        "Time between two clean-ups of expired and ended sessions",
        Supply::Plain,
        None,
    ),
    Row("ended_retention", Kind::Duration, "30d", "How long an ended session stays as a record", Supply::Plain, None),
    Row(
        "drain_timeout",
        Kind::Duration,
        "10s",
        "How long a stopping server waits for running requests",
        Supply::Plain,
        None,
    ),
    Row("log", Kind::Text, "info", "What to log, as directives such as info,hallpass=debug", Supply::Plain, None),
    Row(
        "log_format",
        Kind::Choice(&["text", "json"]),
        "text",
        "Form of the log lines on standard error",
        Supply::Plain,
        None,
    ),
    Row("password.memory_kib", Kind::Count, "19456", "argon2id memory in KiB", Supply::NoFlag, None),
    Row("password.iterations", Kind::Count, "2", "argon2id passes", Supply::NoFlag, None),
    Row("password.parallelism", Kind::Count, "1", "argon2id lanes", Supply::NoFlag, None),
];

const CLASS_ROWS: &[(&str, Kind, &str)] = &[
    ("max_age", Kind::Duration, "Idle timeout"),
    ("update_age", Kind::Duration, "Least time between two renewals"),
    ("absolute_timeout", Kind::DurationOrNone, "Longest life, whatever the activity"),
    ("fresh_age", Kind::Duration, "How long a sign-in counts as recent"),
    ("max_per_user", Kind::CountOrNone, "Most live sessions of one user"),
    ("on_limit", Kind::Choice(&["evict-oldest", "refuse"]), "What a sign-in beyond that does"),
];

/// What each identity provider has: `[providers.<id>]` in the file, `HALLPASS_PROVIDERS_<ID>_...` in the environment.
const PROVIDER_ROWS: &[(&str, Kind, &str, &str, Supply)] = &[
    (
        "kind",
        Kind::Choice(&["oidc", "github", "oauth2"]),
        "oidc",
        "What the provider speaks: OpenID Connect, GitHub's API, or OAuth 2 with an endpoint that describes the user",
        Supply::NoFlag,
    ),
    ("name", Kind::Text, "the id", "What its button says", Supply::NoFlag),
    (
        "issuer",
        Kind::Url,
        "none; of github its address, of oauth2 the origin of authorization_url",
        "The provider's issuer, letter for letter as it names itself; https, or http on this machine",
        Supply::NoFlag,
    ),
    ("client_id", Kind::Text, "none", "The id under which this server is registered there", Supply::NoFlag),
    ("client_secret", Kind::Text, "none: a public client", "The secret of that registration", Supply::SecretNoFlag),
    (
        "scopes",
        Kind::List,
        "openid, email, profile; of github read:user, user:email",
        "What is asked for",
        Supply::NoFlag,
    ),
    (
        "sign_up",
        Kind::Switch,
        "false",
        "Whether a first sign-in makes an account, for a verified email address that no account has",
        Supply::NoFlag,
    ),
    (
        "logout_at_provider",
        Kind::Switch,
        "false",
        "Whether signing out leads to the provider's end_session_endpoint, to sign out there, too (oidc)",
        Supply::NoFlag,
    ),
    (
        "authorization_url",
        Kind::Url,
        "as the provider says, or GitHub's",
        "Where the browser is sent (github, oauth2)",
        Supply::NoFlag,
    ),
    (
        "token_url",
        Kind::Url,
        "as the provider says, or GitHub's",
        "Where the code is exchanged (github, oauth2)",
        Supply::NoFlag,
    ),
    (
        "user_url",
        Kind::Url,
        "as the provider says, or GitHub's",
        "What describes the user (github, oauth2)",
        Supply::NoFlag,
    ),
    ("emails_url", Kind::Url, "GitHub's", "What lists the user's email addresses (github)", Supply::NoFlag),
];

/// The settings of the provider with this id.
pub(super) fn of_provider(id: &str) -> impl Iterator<Item = Setting> {
    PROVIDER_ROWS.iter().map(move |(field, kind, default, help, supply)| {
        Setting::new(format!("providers.{id}.{field}"), *kind, default, (*help).to_owned(), *supply, None)
    })
}

static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let plain = ROWS.iter().map(|row| Setting::new(row.0.to_owned(), row.1, row.2, row.3.to_owned(), row.4, row.5));
    let classes = CLASSES.iter().flat_map(|class| {
        CLASS_ROWS.iter().map(move |(field, kind, help)| {
            Setting::new(
                format!("policy.{class}.{field}"),
                *kind,
                "as in the preset",
                format!("{help} (class {class})"),
                Supply::NoFlag,
                None,
            )
        })
    });
    plain.chain(classes).collect()
});

/// All settings, in the order of the documentation.
#[must_use]
pub fn all() -> &'static [Setting] {
    &SETTINGS
}

/// Adds `--config` and a flag for each setting to `command`, valid before and after a subcommand.
///
/// Values stay text here; they are read with their origin at hand when the settings are resolved.
#[must_use]
pub fn add_flags(mut command: Command) -> Command {
    command = command.arg(
        Arg::new("config")
            .long("config")
            .value_name("FILE")
            .global(true)
            .help_heading("Settings")
            .help(format!("Configuration file [env: {CONFIG_ENV}] [default: {CONFIG_FILE} if it exists]")),
    );
    for setting in all() {
        if let Some(flag) = setting.flag() {
            let mut arg = flag_arg(setting, &flag, &setting.help, setting.kind.placeholder());
            if setting.kind == Kind::Switch {
                arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
            }
            command = command.arg(arg);
        }
        if let Some(flag) = setting.file_flag() {
            let help = format!("File that holds the value of `{}`", setting.key);
            command = command.arg(flag_arg(setting, &flag, &help, "FILE"));
        }
    }
    command
}

fn flag_arg(setting: &Setting, flag: &str, help: &str, placeholder: &'static str) -> Arg {
    let help = if setting.file_flag().as_deref() == Some(flag) {
        format!("{help} [env: {}_FILE]", setting.env)
    } else {
        format!("{help} [env: {}] [default: {}]", setting.env, setting.default)
    };
    // The short help shows what nearly everybody needs; `--help` shows all.
    let common = ["listen", "public-url", "database-url"].contains(&flag);
    Arg::new(flag.to_owned())
        .long(flag.to_owned())
        .value_name(placeholder)
        .global(true)
        .action(ArgAction::Set)
        .hide_short_help(!common)
        .help_heading("Settings")
        .help(help)
}

/// The documentation's table of all settings, in Markdown, one line each.
#[must_use]
pub fn markdown() -> String {
    let mut table = String::from(
        "| `hallpass.toml` | Environment | Flag | Value | Default | What it does |\n\
         |---|---|---|---|---|---|\n",
    );
    let providers: Vec<Setting> = of_provider("<id>").collect();
    for setting in all().iter().chain(&providers) {
        let env: Vec<String> = setting.env_names().map(|name| format!("`{name}`")).collect();
        let mut env = env.join(", ");
        if setting.may_be_file() {
            for name in setting.env_names() {
                env.push_str(&format!(", `{name}_FILE`"));
            }
        }
        let key = if setting.may_be_file() {
            format!("`{0}`, `{0}_file`", setting.key)
        } else {
            format!("`{}`", setting.key)
        };
        let flags: Vec<String> =
            [setting.flag(), setting.file_flag()].into_iter().flatten().map(|flag| format!("`--{flag}`")).collect();
        let value = match setting.kind {
            Kind::Choice(words) => words.join(", "),
            Kind::Address => "host:port".to_owned(),
            Kind::Url => "URL".to_owned(),
            Kind::Text => "text".to_owned(),
            Kind::Duration => "duration".to_owned(),
            Kind::DurationOrNone => "duration or `none`".to_owned(),
            Kind::Count => "number".to_owned(),
            Kind::CountOrNone => "number or `none`".to_owned(),
            Kind::Switch => "true, false".to_owned(),
            Kind::Networks => "list of CIDR".to_owned(),
            Kind::List => "list of words".to_owned(),
        };
        let default = setting.default.replace('<', "&lt;").replace('>', "&gt;");
        table.push_str(&format!("| {key} | {env} | {} | {value} | {default} | {} |\n", flags.join(", "), setting.help));
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_in_each_source() {
        let mut keys = BTreeSet::new();
        let mut envs = BTreeSet::from([CONFIG_ENV.to_owned()]);
        let mut flags = BTreeSet::from(["config".to_owned()]);
        for setting in all() {
            assert!(keys.insert(setting.key.clone()), "{}", setting.key);
            for env in setting.env_names() {
                assert!(envs.insert(env.to_owned()), "{env}");
            }
            if setting.may_be_file() {
                assert!(keys.insert(format!("{}_file", setting.key)));
                assert!(envs.insert(format!("{}_FILE", setting.env)));
            }
            for flag in [setting.flag(), setting.file_flag()].into_iter().flatten() {
                assert!(flags.insert(flag.clone()), "{flag}");
            }
        }
    }

    #[test]
    fn no_secret_has_a_plain_flag() {
        let secrets: Vec<_> = all().iter().filter(|setting| setting.is_secret()).collect();
        assert_eq!(secrets.len(), 4);
        for setting in secrets {
            assert_eq!(setting.flag(), None, "{}", setting.key);
            assert!(setting.file_flag().is_some());
        }
    }

    #[test]
    fn markdown_has_a_line_for_each_setting() {
        let table = markdown();
        assert_eq!(table.lines().count(), all().len() + PROVIDER_ROWS.len() + 2);
        assert!(table.contains("| `providers.<id>.client_secret`, `providers.<id>.client_secret_file` | `HALLPASS_PROVIDERS_<ID>_CLIENT_SECRET`, `HALLPASS_PROVIDERS_<ID>_CLIENT_SECRET_FILE` |  |"));
        assert!(table.contains("| `cron_secret`, `cron_secret_file` | `HALLPASS_CRON_SECRET`, `CRON_SECRET`, `HALLPASS_CRON_SECRET_FILE`, `CRON_SECRET_FILE` | `--cron-secret-file` |"));
        assert!(table.contains("`policy.web.max_age` | `HALLPASS_POLICY_WEB_MAX_AGE` |"));
    }
}
