use std::ffi::OsString;

use secrecy::ExposeSecret as _;
use tempfile::TempDir;

use hallpass_core::{AbsoluteTimeout, OnLimit, Preset, ValidationMode};

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

struct Given {
    directory: TempDir,
    flags: Vec<String>,
    env: Vec<(OsString, OsString)>,
}

fn given() -> Given {
    Given { directory: TempDir::new().unwrap(), flags: vec!["hallpass".to_owned()], env: Vec::new() }
}

impl Given {
    fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    fn toml(self, text: &str) -> Self {
        std::fs::write(self.directory.path().join("hallpass.toml"), text).unwrap();
        self
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn load(self) -> Result<Settings, SettingsError> {
        let flags = add_flags(clap::Command::new("hallpass")).try_get_matches_from(self.flags).unwrap();
        Settings::resolve(&Sources::gather(&flags, self.env, self.directory.path())?)
    }

    fn settings(self) -> Settings {
        self.load().unwrap()
    }

    fn error(self) -> String {
        self.load().unwrap_err().to_string()
    }
}

#[test]
fn nothing_set_is_enough() {
    let settings = given().settings();
    assert_eq!(settings.listen, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(settings.database.to_string(), "sqlite:hallpass.db");
    assert_eq!(settings.public_origin(settings.listen), "http://127.0.0.1:8080");
    assert!(settings.cron_secret.is_none() && settings.pepper.is_none());
    assert!(settings.trusted_proxies.is_empty());
    assert_eq!(settings.policy, PolicySettings::default());
    assert_eq!(settings.password, PasswordCost::default());
    assert_eq!(settings.config_file(), None);
}

/// The defaults in the table (help, documentation) are the defaults in force.
#[test]
fn documented_defaults_are_the_real_ones() {
    let plain = format!("{:?}", given().settings());
    let mut explicit = given();
    for setting in definition::all() {
        let documented = setting.default;
        if documented.contains(' ') || documented == "none" || documented.contains('<') {
            continue;
        }
        explicit = explicit.env(&setting.env, documented);
    }
    let set: usize = explicit.env.len();
    assert!(set >= 12, "{set}");
    let explicit = format!("{:?}", explicit.settings());
    let cut = |text: &str| text.split("origins:").next().unwrap().to_owned();
    assert_eq!(cut(&plain), cut(&explicit));
}

#[test]
fn flags_win_over_environment_over_file() {
    let all =
        || given().toml("listen = \"127.0.0.1:1\"").env("HALLPASS_LISTEN", "127.0.0.1:2").flag("--listen=127.0.0.1:3");
    let settings = all().settings();
    assert_eq!(settings.listen.port(), 3);
    assert_eq!(settings.origin_of("listen"), Origin::Flag("listen".into()));

    let mut without_flag = all();
    without_flag.flags.pop();
    let settings = without_flag.settings();
    assert_eq!(settings.listen.port(), 2);
    assert_eq!(settings.origin_of("listen"), Origin::Env("HALLPASS_LISTEN".into()));

    let settings = given().toml("listen = \"127.0.0.1:1\"").settings();
    assert_eq!(settings.listen.port(), 1);
    assert!(settings.config_file().is_some());
}

/// Every setting can be given by every name the table promises: a bad value is answered with that name.
#[test]
fn every_name_of_every_setting_is_read() {
    for setting in definition::all() {
        let free_text = matches!(setting.kind, definition::Kind::Text) && !setting.is_secret();
        let bad = if free_text { "=[" } else { "?" };
        for env in setting.env_names() {
            let error = given().env(env, bad).error();
            assert!(error.contains(env) && error.contains(&setting.key), "{error}");
        }
        let key = &setting.key;
        let error = given().toml(&format!("{key} = \"{bad}\"")).error();
        assert!(error.contains("hallpass.toml") && error.contains(key), "{error}");
        if let Some(flag) = setting.flag() {
            let error = given().flag(&format!("--{flag}={bad}")).error();
            assert!(error.contains(&format!("--{flag}")), "{error}");
        }
        if setting.may_be_file() {
            let file = given();
            let path = file.file("value", bad);
            let error = file.env(&format!("{}_FILE", setting.env), &path).error();
            assert!(error.contains(&format!("{}_FILE", setting.env)), "{error}");
            let file = given();
            let path = file.file("value", bad);
            let error = file.toml(&format!("{key}_file = \"{path}\"")).error();
            assert!(error.contains(&format!("{key}_file")), "{error}");
            let file = given();
            let path = file.file("value", bad);
            let flag = setting.file_flag().unwrap();
            let error = file.flag(&format!("--{flag}={path}")).error();
            assert!(error.contains(&flag), "{error}");
        }
    }
}

#[test]
fn unknown_names_are_refused_with_the_nearest_known_one() {
    let error = given().env("HALLPASS_LISTN", "x").error();
    assert!(error.contains("HALLPASS_LISTN") && error.contains("`HALLPASS_LISTEN`"), "{error}");
    let error = given().toml("databse_url = \"sqlite:x\"").error();
    assert!(error.contains("hallpass.toml") && error.contains("`database_url`"), "{error}");
    let error = given().toml("[policy.web]\nmax_agee = \"1d\"").error();
    assert!(error.contains("`policy.web.max_age`"), "{error}");
    let error = given().toml("[policy.wbe]\nmax_age = \"1d\"").error();
    assert!(error.contains("`policy.web.max_age`"), "{error}");
    assert!(given().toml("[polcy]").error().contains("polcy"));
    // A class's own section may be empty; variables of other programs are none of our business.
    given().toml("[policy.web]").env("HALLPAS_X", "1").settings();
}

#[test]
fn the_config_file_can_be_named() {
    let named = given().toml("listen = \"127.0.0.1:1\"");
    let path = named.file("other.toml", "listen = \"127.0.0.1:9\"");
    let settings = named.flag(&format!("--config={path}")).settings();
    assert_eq!(settings.listen.port(), 9);

    let named = given().toml("listen = \"127.0.0.1:1\"");
    let path = named.file("other.toml", "listen = \"127.0.0.1:9\"");
    assert_eq!(named.env("HALLPASS_CONFIG", &path).settings().listen.port(), 9);

    let error = given().flag("--config=/nowhere/x.toml").error();
    assert!(error.contains("/nowhere/x.toml") && error.contains("--config"), "{error}");
}

#[test]
fn broken_toml_names_the_line_and_repeats_no_secret() {
    let error = given().toml("listen = \"127.0.0.1:1\"\ncron_secret = \"hunter22hunter22").error();
    assert!(error.contains("line 2"), "{error}");
    assert!(!error.contains("hunter22"), "{error}");
    let error = given().toml("listen = 1.5").error();
    assert!(error.contains("wrong type"), "{error}");
    let error = given().toml("[listen]\nx = 1").error();
    assert!(error.contains("wrong type"), "{error}");
}

#[test]
fn secrets_from_every_place() {
    for settings in [
        given().env("CRON_SECRET", SECRET).settings(),
        given().env("HALLPASS_CRON_SECRET", SECRET).settings(),
        given().env("CRON_SECRET", SECRET).env("HALLPASS_CRON_SECRET", SECRET).settings(),
        given().toml(&format!("cron_secret = \"{SECRET}\"")).settings(),
    ] {
        assert_eq!(settings.cron_secret.as_ref().unwrap().expose_secret(), SECRET);
        assert!(!format!("{settings:?}").contains(SECRET));
    }
    let file = given();
    let path = file.file("secret", &format!("{SECRET}\n"));
    let settings = file.env("CRON_SECRET_FILE", &path).settings();
    assert_eq!(settings.cron_secret.unwrap().expose_secret(), SECRET);
}

#[test]
fn two_values_in_one_place_are_refused() {
    let file = given();
    let path = file.file("secret", SECRET);
    let error = file.env("CRON_SECRET", SECRET).env("CRON_SECRET_FILE", &path).error();
    assert!(error.contains("twice") && error.contains("CRON_SECRET_FILE"), "{error}");
    let error = given()
        .env("CRON_SECRET", SECRET)
        .env("HALLPASS_CRON_SECRET", "another-another-another-another-another")
        .error();
    assert!(error.contains("twice") && !error.contains(SECRET), "{error}");
}

#[test]
fn a31_unset_and_blank_cron_secrets_turn_the_endpoint_off() {
    assert!(given().settings().cron_secret.is_none());
    for blank in ["", " ", "\t\n"] {
        assert!(given().env("CRON_SECRET", blank).settings().cron_secret.is_none());
        assert!(given().env("HALLPASS_CRON_SECRET", blank).settings().cron_secret.is_none());
    }
    assert!(given().toml("cron_secret = \"  \"").settings().cron_secret.is_none());
}

#[test]
fn a31_short_secrets_stop_the_start() {
    for short in ["undefined", "null", "None", "x", &SECRET[1..]] {
        for name in ["CRON_SECRET", "HALLPASS_AUTH_SECRET", "HALLPASS_PEPPER"] {
            let error = given().env(name, short).error();
            assert!(error.contains(name) && error.contains("openssl rand"), "{error}");
            assert!(short.len() < 9 || !error.contains(short), "{error}");
        }
    }
    // 40 characters of blanks around a short secret do not make it long.
    let error = given().env("CRON_SECRET", &format!("{}short{}", " ".repeat(40), " ".repeat(40))).error();
    assert!(error.contains("5 bytes"), "{error}");
    let error = given().env("CRON_SECRET", &format!("{SECRET} {SECRET}")).error();
    assert!(error.contains("blanks"), "{error}");
    let file = given();
    let path = file.file("secret", "\n");
    let error = file.env("CRON_SECRET_FILE", &path).error();
    assert!(error.contains("is empty"), "{error}");
    let error = given().env("CRON_SECRET_FILE", "/nowhere/secret").error();
    assert!(error.contains("/nowhere/secret") && error.contains("CRON_SECRET_FILE"), "{error}");
    let file = given();
    let path = file.file("secret", &"x".repeat(70_000));
    assert!(file.env("CRON_SECRET_FILE", &path).error().contains("larger"));
}

#[test]
fn http_outside_this_machine_needs_the_explicit_flag() {
    let error = given().env("HALLPASS_PUBLIC_URL", "http://id.example.com").error();
    assert!(error.contains("public_url") && error.contains("--insecure-http"), "{error}");
    let error = given().env("HALLPASS_LISTEN", "0.0.0.0:8080").error();
    assert!(error.contains("listen") && error.contains("HALLPASS_PUBLIC_URL"), "{error}");
    let forced = given().env("HALLPASS_PUBLIC_URL", "http://id.example.com").flag("--insecure-http").settings();
    assert!(forced.insecure_http && !forced.is_https());
    let settings =
        given().env("HALLPASS_LISTEN", "0.0.0.0:8080").env("HALLPASS_PUBLIC_URL", "https://id.example.com/").settings();
    assert!(settings.is_https());
    assert_eq!(settings.public_origin(settings.listen), "https://id.example.com");
    given().env("HALLPASS_PUBLIC_URL", "http://localhost:3000").settings();
}

#[test]
fn port_zero_is_replaced_by_the_bound_one() {
    let settings = given().flag("--listen=127.0.0.1:0").settings();
    assert_eq!(settings.public_origin("127.0.0.1:4567".parse().unwrap()), "http://127.0.0.1:4567");
}

#[test]
fn policy_overrides() {
    let settings = given()
        .toml(
            r#"
            [policy]
            preset = "aal2"
            [policy.web]
            max_age = "30d"
            update_age = "24h"
            absolute_timeout = "90d"
            fresh_age = "15m"
            max_per_user = 20
            on_limit = "evict-oldest"
            [policy.api]
            absolute_timeout = "none"
            max_per_user = "none"
            on_limit = "refuse"
            "#,
        )
        .env("HALLPASS_POLICY_WEB_FRESH_AGE", "5m")
        .settings();
    assert_eq!(settings.policy.preset, Preset::Aal2);
    assert_eq!(settings.policy.classes.len(), 2);
    let web = &settings.policy.classes["web"];
    assert_eq!(web.max_age, Some(Duration::from_secs(30 * 86_400)));
    assert_eq!(web.update_age, Some(Duration::from_secs(86_400)));
    assert_eq!(web.absolute_timeout, Some(AbsoluteTimeout::After(Duration::from_secs(90 * 86_400))));
    assert_eq!(web.fresh_age, Some(Duration::from_secs(300)));
    assert_eq!(web.max_per_user, Some(SessionLimit::AtMost(20)));
    assert_eq!(web.on_limit, Some(OnLimit::EvictOldest));
    let api = &settings.policy.classes["api"];
    assert_eq!(api.absolute_timeout, Some(AbsoluteTimeout::Never));
    assert_eq!(api.max_per_user, Some(SessionLimit::Unlimited));
    assert_eq!(api.on_limit, Some(OnLimit::Refuse));
    // "none" is a word for these two alone.
    assert!(given().toml("[policy.web]\nmax_age = \"none\"").load().is_err());
    assert!(given().toml("[policy.web]\nmax_per_user = 0").load().is_err());
    let error = given().toml("[policy.web]\non_limit = \"drop\"").error();
    assert!(error.contains("evict-oldest, refuse"), "{error}");
}

#[test]
fn lists_switches_and_words() {
    let settings = given()
        .toml("trusted_proxies = [\"10.0.0.0/8\", \"192.0.2.1\"]\ninsecure_http = true\nlog_format = \"json\"")
        .settings();
    assert_eq!(settings.trusted_proxies.len(), 2);
    assert!(settings.insecure_http);
    assert_eq!(settings.log_format, LogFormat::Json);
    let settings = given().env("HALLPASS_TRUSTED_PROXIES", "10.0.0.0/8,::1").settings();
    assert_eq!(settings.trusted_proxies.len(), 2);
    let error = given().env("HALLPASS_VALIDATION", "jwt").error();
    assert!(error.contains("strict, cached"), "{error}");
}

#[test]
fn the_sign_in_endpoints_answer_version_5_unless_4_is_asked_for() {
    assert_eq!(given().settings().auth_api, AuthApi::Authjs5);
    assert_eq!(given().env("HALLPASS_AUTH_API", "authjs5").settings().auth_api, AuthApi::Authjs5);
    assert_eq!(given().toml("auth_api = \"nextauth4\"").settings().auth_api, AuthApi::Nextauth4);
    let error = given().env("HALLPASS_AUTH_API", "nextauth5").error();
    assert!(error.contains("authjs5, nextauth4"), "{error}");
}

#[test]
fn validation_is_strict_unless_cached_is_asked_for() {
    assert_eq!(given().settings().validation, ValidationMode::Strict);
    let of = |given: Given| match given.env("HALLPASS_VALIDATION", "cached").settings().validation {
        ValidationMode::Cached(cache) => (cache.lease.as_millis(), cache.poll.as_millis(), cache.bytes),
        mode => panic!("{mode:?}"),
    };
    assert_eq!(of(given()), (2_000, 500, 64 << 20));
    let chosen = given().toml("[cache]\nlease = \"8s\"\nmemory_mib = 1");
    assert_eq!(of(chosen), (8_000, 2_000, 1 << 20));
    for (name, text, word) in
        [("LEASE", "6m", "5 minutes"), ("LEASE", "2", "unit"), ("MEMORY_MIB", "0", "whole number")]
    {
        let error = given().env(&format!("HALLPASS_CACHE_{name}"), text).error();
        assert!(error.contains(word) && error.contains(name), "{error}");
    }
}

#[test]
fn the_accounts_are_where_the_sessions_are_unless_that_is_no_sql() {
    let settings = given().env("HALLPASS_DATABASE_URL", "postgres://u:hunter22@h/d").settings();
    assert_eq!(settings.database.to_string(), "postgres://h:5432/d");
    assert_eq!(settings.accounts.to_string(), "postgres://h:5432/d");
    let settings = given().env("HALLPASS_DATABASE_URL", "redis://h/1").settings();
    assert_eq!(
        (settings.database.to_string().as_str(), settings.accounts.to_string().as_str()),
        ("redis://h:6379/1", "sqlite:hallpass.db")
    );
    let settings = given().toml("database_url = \"redis+cluster://h\"").flag("--accounts-url=mysql://h/d").settings();
    assert_eq!(settings.accounts.to_string(), "mysql://h:3306/d");
    assert_eq!(settings.origin_of("accounts_url"), Origin::Flag("accounts-url".into()));
    let error = given().env("HALLPASS_ACCOUNTS_URL", "redis://u:hunter22@h").error();
    assert!(
        error.contains("HALLPASS_ACCOUNTS_URL") && error.contains("Redis") && !error.contains("hunter22"),
        "{error}"
    );
}

#[test]
fn a52_a_database_password_comes_from_every_place_and_is_shown_nowhere() {
    for url in [
        "postgres://u:hunter22@h/d",
        "postgres://h/d?password=hunter22",
        "mysql://u:hunter22@h/d",
        "redis://:hunter22@h",
        "redis+cluster://u:hunter22@h",
    ] {
        let given_by = [
            given().env("HALLPASS_DATABASE_URL", url),
            given().toml(&format!("database_url = \"{url}\"")),
            given().flag(&format!("--database-url={url}")),
            {
                let file = given();
                let path = file.file("url", &format!("{url}\n"));
                file.env("HALLPASS_DATABASE_URL_FILE", &path)
            },
            {
                let file = given();
                let path = file.file("url", &format!("{url}\n"));
                file.toml(&format!("database_url_file = \"{path}\""))
            },
        ];
        for given in given_by {
            let settings = given.settings();
            assert!(settings.database.has_password());
            let shown = format!("{settings:?} {settings:#?} {} {}", settings.database, settings.accounts);
            assert!(!shown.contains("hunter22"), "{shown}");
            if let Database::Sql(SqlDatabase::Postgres(whole) | SqlDatabase::Mysql(whole)) = &settings.database {
                assert_eq!(whole.expose(), url);
            }
        }
        // Every way to misread it.
        for broken in
            [url.replace("://", ":/"), url.replacen('s', "", 1), format!("{url}?x=hunter22"), format!("{url}:x/y")]
        {
            if let Err(error) = given().env("HALLPASS_DATABASE_URL", &broken).load() {
                let shown = format!("{error} {error:?}");
                assert!(shown.contains("HALLPASS_DATABASE_URL") && !shown.contains("hunter22"), "{broken}: {shown}");
            }
        }
    }
    let error = given().env("HALLPASS_DATABASE_URL", "postgre://u:hunter22@h/d").error();
    assert!(error.contains("`database_url`") && error.contains("did you mean postgres:?"), "{error}");
    let twice = given()
        .env("HALLPASS_DATABASE_URL", "postgres://u:hunter22@h/d")
        .env("HALLPASS_DATABASE_URL_FILE", "/nowhere")
        .error();
    assert!(twice.contains("twice") && !twice.contains("hunter22"), "{twice}");
}

const CORP: &str = "[providers.corp]\nissuer = \"https://id.example.com/realm\"\nclient_id = \"hallpass\"\n";

#[test]
fn a_provider_comes_from_the_file_the_environment_and_a_secret_file() {
    let given = given().toml(&format!("{CORP}scopes = [\"openid\", \"email\"]"));
    let secret = given.file("secret", "the provider's secret\n");
    let settings = given
        .env("HALLPASS_PROVIDERS_CORP_CLIENT_SECRET_FILE", &secret)
        .env("HALLPASS_PROVIDERS_MY_OTHER_ISSUER", "http://127.0.0.1:9000")
        .env("HALLPASS_PROVIDERS_MY_OTHER_CLIENT_ID", "x")
        .env("HALLPASS_PROVIDERS_MY_OTHER_SIGN_UP", "true")
        .env("HALLPASS_PROVIDERS_MY_OTHER_LOGOUT_AT_PROVIDER", "true")
        .settings();
    let [corp, other] = settings.providers.as_slice() else { panic!("{:?}", settings.providers) };
    assert_eq!(
        (corp.id.as_str(), corp.name.as_str(), corp.issuer.as_str()),
        ("corp", "corp", "https://id.example.com/realm")
    );
    assert_eq!(
        (corp.kind.clone(), corp.sign_up, corp.scopes.join(" ").as_str()),
        (ProviderKind::Oidc, false, "openid email")
    );
    assert_eq!(corp.client_secret.as_ref().unwrap().expose_secret(), "the provider's secret");
    assert!(!format!("{settings:?}").contains("provider's secret"));
    assert_eq!((other.id.as_str(), other.sign_up, other.logout_at_provider), ("my-other", true, true));
    assert!(!corp.logout_at_provider);
    assert!(other.client_secret.is_none());
    assert_eq!(other.scopes, ["openid", "email", "profile"]);
}

#[test]
fn github_needs_no_addresses_and_oauth2_all_of_them() {
    let github = given().toml("[providers.github]\nkind = \"github\"\nclient_id = \"x\"").settings();
    let ProviderKind::Github(endpoints) = &github.providers[0].kind else { panic!() };
    assert_eq!(github.providers[0].issuer, "https://github.com");
    assert_eq!(endpoints.user.as_str(), "https://api.github.com/user");
    assert!(endpoints.emails.is_some());
    let whole = "[providers.x]\nkind = \"oauth2\"\nclient_id = \"x\"\nauthorization_url = \"https://a.example/authorize\"\n\
                 token_url = \"https://a.example/token\"\nuser_url = \"https://a.example/user\"\n";
    assert_eq!(given().toml(whole).settings().providers[0].issuer, "https://a.example");
    for missing in ["authorization_url", "token_url", "user_url"] {
        let rest: String =
            whole.lines().filter(|line| !line.starts_with(missing)).map(|line| format!("{line}\n")).collect();
        let error = given().toml(&rest).error();
        assert!(error.contains(&format!("providers.x.{missing}")) && error.contains("kind oauth2"), "{error}");
    }
}

#[test]
fn what_is_wrong_with_a_provider_is_said_with_its_name_and_the_fix() {
    for (text, words) in [
        ("[providers.corp]\nclient_id = \"x\"", ["providers.corp.issuer", "missing"]),
        ("[providers.corp]\nissuer = \"https://id.example\"", ["providers.corp.client_id", "register"]),
        ("[providers.corp]\nissuer = \"http://id.example\"\nclient_id = \"x\"", ["providers.corp.issuer", "not https"]),
        (
            "[providers.corp]\nissuer = \"https://u:p@id.example\"\nclient_id = \"x\"",
            ["providers.corp.issuer", "user name"],
        ),
        ("[providers.corp]\nissuer = \"https://id.example?x\"\nclient_id = \"x\"", ["providers.corp.issuer", "query"]),
        ("[providers.corp]\nisuer = \"https://id.example\"", ["providers.corp.isuer", "providers.corp.issuer"]),
        ("[providers.Corp]\nissuer = \"https://id.example\"", ["providers.Corp", "small letters"]),
        ("[providers.credentials]\nissuer = \"https://id.example\"", ["providers.credentials", "taken"]),
        (&format!("{CORP}kind = \"saml\""), ["providers.corp.kind", "oidc, github, oauth2"]),
        (&format!("{CORP}scopes = [\"email\"]"), ["providers.corp.scopes", "openid"]),
        (&format!("{CORP}token_url = \"https://id.example/token\""), ["providers.corp.token_url", "oauth2"]),
        (
            "[providers.github]\nkind = \"github\"\nclient_id = \"x\"\nlogout_at_provider = true",
            ["providers.github.logout_at_provider", "kind github"],
        ),
        (&format!("{CORP}\n{}", CORP.replace("corp", "twin")), ["providers.twin.issuer", "same issuer"]),
    ] {
        let error = given().toml(text).error();
        assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
    }
    let error = given().env("HALLPASS_PROVIDERS_CORP_ISUER", "https://id.example").error();
    assert!(error.contains("HALLPASS_PROVIDERS_CORP_ISUER"), "{error}");
}
