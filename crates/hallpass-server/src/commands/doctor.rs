//! `hallpass doctor`

use anyhow::{Result, bail};
use hallpass_core::Sessions;
use serde_json::json;

use crate::engine::Engine;
use crate::output::Output;
use crate::settings::Settings;

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
    fix: Option<&'static str>,
}

fn fine(what: &'static str, found: impl Into<String>) -> Finding {
    Finding { what, verdict: Verdict::Fine, found: found.into(), fix: None }
}

fn warning(what: &'static str, found: impl Into<String>, fix: &'static str) -> Finding {
    Finding { what, verdict: Verdict::Warning, found: found.into(), fix: Some(fix) }
}

/// Checks configuration, database and clocks, and says how to mend what is wrong. Creates no database.
///
/// # Errors
/// When a check failed.
pub async fn run(settings: &Settings, output: &mut Output<'_>) -> Result<()> {
    let mut findings = configuration(settings);
    if settings.database.exists() {
        match Engine::open(settings).await {
            Ok(engine) => database(&engine, &mut findings).await,
            Err(error) => findings.push(Finding {
                what: "database",
                verdict: Verdict::Failed,
                found: format!("{error:#}"),
                fix: None,
            }),
        }
    } else {
        findings.push(warning(
            "database",
            format!("{} does not exist yet", settings.database),
            "`hallpass serve` creates it; otherwise check database_url (HALLPASS_DATABASE_URL)",
        ));
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
        fine("public URL", format!("{}; the cookie is __Host-session", settings.public_origin(settings.listen)))
    } else {
        warning(
            "public URL",
            format!("{} is plain http: for this machine only", settings.public_origin(settings.listen)),
            "set public_url (HALLPASS_PUBLIC_URL) to the https:// address that browsers use",
        )
    });
    findings.push(match &settings.cron_secret {
        Some(_) => fine("cleanup endpoint", "on; the background sweeper works without it as well"),
        None => fine("cleanup endpoint", "off (cron_secret is not set); the background sweeper cleans up by itself"),
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
            fix: Some("change the setting that the message names"),
        }),
    }
    findings
}

async fn database(engine: &Engine, findings: &mut Vec<Finding>) {
    match engine.sessions.health().await {
        Ok(health) => {
            findings.push(fine(
                "database",
                format!("{}, schema {}, {} live sessions", health.engine, health.schema, health.live),
            ));
            for (name, value) in &health.details {
                findings.push(fine("database", format!("{name}: {value}")));
            }
            findings.push(clock(&engine.sessions, health.clock.map(hallpass_core::Timestamp::as_millis)));
        }
        Err(error) => {
            findings.push(Finding { what: "database", verdict: Verdict::Failed, found: error.to_string(), fix: None });
        }
    }
    findings.push(match engine.accounts.count().await {
        Ok(0) => warning("accounts", "none yet", "`hallpass serve` prints a one-time link, or use `hallpass user add`"),
        Ok(count) => fine("accounts", format!("{count}")),
        Err(error) => Finding { what: "accounts", verdict: Verdict::Failed, found: error.to_string(), fix: None },
    });
    match engine.sessions.sweepable().await {
        Ok(dead) => findings.push(fine("clean-up", format!("{dead} dead rows wait for the next sweep"))),
        Err(error) => {
            findings.push(Finding { what: "clean-up", verdict: Verdict::Failed, found: error.to_string(), fix: None });
        }
    }
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
        if let Some(fix) = finding.fix {
            output.line(&format!("{:<8} fix: {fix}", ""))?;
        }
    }
    Ok(())
}
