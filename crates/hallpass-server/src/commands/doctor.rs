//! `hallpass doctor`

use std::borrow::Cow;

use anyhow::{Result, bail};
use hallpass_authjs::Layout;
use hallpass_core::{Sessions, StoreError, ValidationMode};
use serde_json::json;

use crate::auth::sign_out::post_logout_redirect_uri;
use crate::authjs_catalogue;
use crate::commands::running_server::{self, Found};
use crate::engine::Engine;
use crate::output::Output;
use crate::providers::{Provider, Providers};
use crate::serve::site::cookie_name;
use crate::settings::{Origin, Settings, SqlDatabase};

/// How far two clocks may differ without a warning: a deadline moves by at most the skew.
const MAX_SKEW_MS: u64 = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fine,
    Warning,
    Failed,
}

#[derive(Debug)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    found: String,
    fix: Option<Cow<'static, str>>,
}

fn fine(what: &'static str, found: impl Into<String>) -> Finding {
    Finding { what, verdict: Verdict::Fine, found: found.into(), fix: None }
}

fn warning(what: &'static str, found: impl Into<String>, fix: &'static str) -> Finding {
    Finding { what, verdict: Verdict::Warning, found: found.into(), fix: Some(fix.into()) }
}

fn failed(what: &'static str, found: String) -> Finding {
    Finding { what, verdict: Verdict::Failed, found, fix: None }
}

/// Checks configuration, database and clocks, and the Auth.js database that is named, and says how to mend what is wrong. Creates no database.
///
/// # Errors
/// When a check failed.
pub async fn run(settings: &Settings, authjs: Option<&SqlDatabase>, output: &mut Output<'_>) -> Result<()> {
    let mut findings = configuration(settings);
    let places = [
        (settings.database.exists(), settings.database.to_string(), "check database_url (HALLPASS_DATABASE_URL)"),
        (settings.accounts.exists(), settings.accounts.to_string(), "check accounts_url (HALLPASS_ACCOUNTS_URL)"),
    ];
    if let Some((_, place, check)) = places.iter().find(|(there, ..)| !there) {
        findings.push(Finding {
            what: "database",
            verdict: Verdict::Warning,
            found: format!("{place} does not exist yet"),
            fix: Some(format!("`hallpass serve` creates it; otherwise {check}").into()),
        });
    } else {
        match Engine::open(settings).await {
            Ok(engine) => {
                database(settings, &engine, &mut findings).await;
                findings.push(nodes(&engine.sessions).await);
            }
            Err(error) => findings.push(failed("database", format!("{error:#}"))),
        }
    }
    findings.extend(providers(settings).await);
    findings.push(server(running_server::ask(settings.listen).await, settings));
    if let Some(database) = authjs {
        findings.extend(authjs_database(database).await);
    }
    print(&findings, output)?;
    if findings.iter().any(|finding| finding.verdict == Verdict::Failed) {
        bail!("at least one check failed");
    }
    Ok(())
}

fn configuration(settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![match settings.config_file() {
        Some(file) => fine("configuration", format!("read {}", file.display())),
        None => fine("configuration", "no hallpass.toml; defaults, flags and environment"),
    }];
    findings.push(if settings.is_https() {
        let cookie = cookie_name(settings).of(true);
        fine("public URL", format!("{}; the cookie is {cookie}", settings.public_origin(settings.listen)))
    } else {
        warning(
            "public URL",
            format!("{} is plain http: for this machine only", settings.public_origin(settings.listen)),
            "set public_url (HALLPASS_PUBLIC_URL) to the https:// address that browsers use",
        )
    });
    for (key, has_password) in
        [("database_url", settings.database.has_password()), ("accounts_url", settings.accounts.has_password())]
    {
        if has_password && settings.origin_of(key) == Origin::Flag(key.replace('_', "-")) {
            findings.push(warning(
                "password",
                format!("{key} is given as a flag, and every user of this machine can read command lines"),
                "give the URL in a file (the flag with -file at its end), or in the environment",
            ));
        }
    }
    findings.push(match &settings.cron_secret {
        Some(_) => fine("cleanup endpoint", "on; the background sweeper works without it as well"),
        None => fine("cleanup endpoint", "off (cron_secret is not set); the background sweeper cleans up by itself"),
    });
    findings.push(match settings.validation {
        ValidationMode::Cached(cache) => fine(
            "validation",
            format!(
                "cached: other servers may accept a revoked session for up to {:?}; up to {} MiB of sessions in memory",
                cache.lease,
                cache.bytes >> 20
            ),
        ),
        _ => fine("validation", "strict: each check reads the database"),
    });
    match settings.policy.policies() {
        Ok(policies) => findings.push(match policies.deviations().as_slice() {
            [] => fine("policy", "within NIST SP 800-63B-4"),
            notes => {
                warning("policy", notes.join("; "), "choose a preset (policy.preset = \"aal1\") or keep it knowingly")
            }
        }),
        Err(error) => findings.push(Finding {
            what: "policy",
            verdict: Verdict::Failed,
            found: error.to_string(),
            fix: Some("change the setting that the message names".into()),
        }),
    }
    findings
}

async fn database(settings: &Settings, engine: &Engine, findings: &mut Vec<Finding>) {
    match engine.sessions.health().await {
        Ok(health) => {
            findings.push(fine(
                "database",
                format!("{}, schema {}, {} live sessions", health.engine, health.schema, health.live),
            ));
            findings.extend(health.details.iter().map(|(name, value)| fine("database", format!("{name}: {value}"))));
            findings.extend(health.warnings.into_iter().map(of_engine));
            findings.push(clock(&engine.sessions, health.clock.map(hallpass_core::Timestamp::as_millis)));
        }
        Err(error) => findings.push(failed("database", error.to_string())),
    }
    findings.push(match engine.accounts.count().await {
        Ok(0) => warning("accounts", "none yet", "`hallpass serve` prints a one-time link, or use `hallpass user add`"),
        Ok(count) => fine("accounts", format!("{count} in {}", settings.accounts)),
        Err(error) => failed("accounts", error.to_string()),
    });
    match engine.sessions.sweepable().await {
        Ok(dead) => findings.push(fine("clean-up", format!("{dead} dead rows wait for the next sweep"))),
        Err(error) => findings.push(failed("clean-up", error.to_string())),
    }
}

/// Whether each identity provider answers, and is who the settings say.
async fn providers(settings: &Settings) -> Vec<Finding> {
    const WHAT: &str = "provider";
    let providers = match Providers::new(&settings.providers) {
        Ok(providers) => providers,
        Err(error) => return vec![failed(WHAT, format!("{error:#}"))],
    };
    let mut findings = Vec::new();
    for provider in providers.iter() {
        let id = provider.id();
        let asked = provider.ask().await;
        let answers = asked.is_ok();
        findings.push(match asked {
            Ok(Some(says)) => fine(WHAT, format!("{id}: {says}")),
            Ok(None) => fine(WHAT, format!("{id}: {} is asked at the first sign-in", provider.settings().issuer)),
            Err(error) => failed(WHAT, format!("{id}: {error}")),
        });
        if answers && provider.signs_out() {
            findings.push(sign_out_at(settings, provider).await);
        }
    }
    findings
}

/// Whether signing out can lead to the provider, which has answered.
async fn sign_out_at(settings: &Settings, provider: &Provider) -> Finding {
    const WHAT: &str = "provider";
    let id = provider.id();
    let back = post_logout_redirect_uri(&settings.public_origin(settings.listen));
    match provider.end_session_endpoint().await {
        Ok(Some(address)) => {
            fine(WHAT, format!("{id}: signing out leads to {address}; register the post-logout redirect URI {back}"))
        }
        Ok(None) => warning(
            WHAT,
            format!("{id}: it names no end_session_endpoint, so signing out ends the session here alone"),
            "take logout_at_provider out of its settings, or have the provider offer RP-initiated logout",
        ),
        Err(error) => failed(WHAT, format!("{id}: {error}")),
    }
}

/// Who may answer checks from memory, and whether somebody is behind.
async fn nodes(sessions: &Sessions) -> Finding {
    let read = async {
        let head = sessions.store().changes_since(0, 0).await?.head;
        Ok::<_, StoreError>((head, sessions.nodes().await?))
    };
    match read.await {
        Ok((_, nodes)) if nodes.is_empty() => fine("servers", "none answers from memory"),
        Ok((head, nodes)) => {
            let behind: Vec<String> = nodes
                .iter()
                .filter(|node| node.reached < head)
                .map(|node| format!("{} by {}", node.id, head - node.reached))
                .collect();
            let all = format!("{} may answer from memory; the revocation log ends at {head}", nodes.len());
            if behind.is_empty() {
                fine("servers", all)
            } else {
                warning(
                    "servers",
                    format!("{all}; not yet there: {}", behind.join(", ")),
                    "run this again; one that stays behind is stopped or cut off from the database, and leaves the list within twenty minutes",
                )
            }
        }
        Err(error) => failed("servers", error.to_string()),
    }
}

/// What the server that runs here says of its validation.
fn server(found: Found, settings: &Settings) -> Finding {
    let says = match found {
        Found::Nobody => return fine("server", format!("none listens on {}", settings.listen)),
        Found::Unclear(what) => {
            return warning("server", what, "check listen (HALLPASS_LISTEN), and the server's log");
        }
        Found::Says(says) => says,
    };
    let number = |name: &str| says["validation"][name].as_u64().unwrap_or(0);
    let text = match says["validation"]["mode"].as_str() {
        Some("cached") => {
            let (hits, misses) = (number("hits"), number("misses"));
            let share = 100.0 * hits as f64 / (hits + misses).max(1) as f64;
            let hint = match says["validation"]["lastHintSecondsAgo"].as_u64() {
                Some(seconds) => format!("the last hint came {seconds} s ago"),
                None => String::from("no hint came yet"),
            };
            format!(
                "cached; {} of {} ms of its lease left, log position {}, {share:.1} % of {} checks from memory, {} sessions in {} KiB, {hint}",
                number("leaseLeftMs"),
                number("leaseMs"),
                number("logPosition"),
                hits + misses,
                number("sessions"),
                number("bytes") >> 10,
            )
        }
        Some(mode) => String::from(mode),
        None => {
            let what = format!("{} answers, but not as a hallpass server of this version", settings.listen);
            return warning("server", what, "check listen (HALLPASS_LISTEN)");
        }
    };
    let is_cached = text.starts_with("cached");
    if is_cached && number("leaseLeftMs") == 0 {
        return warning(
            "server",
            text,
            "it reads the database for each check, because it could not read the revocation log in time: see its log",
        );
    }
    if is_cached != matches!(settings.validation, ValidationMode::Cached(_)) {
        return warning("server", text, "it runs with another setting of validation than this command was given");
    }
    fine("server", text)
}

async fn authjs_database(database: &SqlDatabase) -> Vec<Finding> {
    const WHAT: &str = "Auth.js";
    let layout = match authjs_catalogue::read(database).await.map(|catalogue| Layout::recognise(&catalogue)) {
        Ok(Ok(layout)) => layout,
        Ok(Err(unrecognised)) => return vec![failed(WHAT, format!("{database}: {unrecognised}"))],
        Err(error) => return vec![failed(WHAT, format!("{error:#}"))],
    };
    let (sessions, users) = (&layout.sessions, &layout.users);
    let mut findings = vec![
        fine(WHAT, format!("{}, in {database}: sessions in {sessions}, users in {users}", layout.maker)),
        fine(WHAT, format!("expires is {}", layout.expires)),
    ];
    findings.extend(layout.shortcomings().into_iter().map(|shortcoming| {
        let steps: Vec<String> = shortcoming.statement.into_iter().chain(shortcoming.note).collect();
        let fix = (!steps.is_empty()).then(|| steps.join(" ").into());
        Finding { what: WHAT, verdict: Verdict::Warning, found: shortcoming.what, fix }
    }));
    findings
}

/// The engine says what to do in the same breath.
fn of_engine(warning: String) -> Finding {
    Finding { what: "database", verdict: Verdict::Warning, found: warning, fix: None }
}

fn clock(sessions: &Sessions, database_ms: Option<i64>) -> Finding {
    match database_ms {
        None => fine("clock", "the database has none of its own"),
        Some(theirs) => {
            let skew = sessions.now().as_millis().abs_diff(theirs);
            if skew > MAX_SKEW_MS {
                warning(
                    "clock",
                    format!("this machine and the database differ by {skew} ms"),
                    "run an NTP service on both; deadlines move by the difference",
                )
            } else {
                fine("clock", format!("within {MAX_SKEW_MS} ms of the database's"))
            }
        }
    }
}

fn print(findings: &[Finding], output: &mut Output<'_>) -> Result<()> {
    let word = |verdict| match verdict {
        Verdict::Fine => "ok",
        Verdict::Warning => "warning",
        Verdict::Failed => "failed",
    };
    if output.is_json() {
        let findings: Vec<_> = findings
            .iter()
            .map(|finding| json!({ "check": finding.what, "verdict": word(finding.verdict), "found": finding.found, "fix": finding.fix }))
            .collect();
        return Ok(output.json(&json!({ "findings": findings }))?);
    }
    for finding in findings {
        output.line(&format!("{:<8} {}: {}", word(finding.verdict), finding.what, finding.found))?;
        if let Some(fix) = &finding.fix {
            output.line(&format!("{:<8} fix: {fix}", ""))?;
        }
    }
    Ok(())
}
