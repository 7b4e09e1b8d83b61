//! `hallpass policy`

use std::time::Duration;

use anyhow::Result;
use hallpass_core::{AbsoluteTimeout, Policies};
use serde_json::{Value, json};

use crate::output::Output;

/// Prints the policy in force and where it is laxer than NIST SP 800-63B-4 (OWASP ASVS 5.0, 7.1.1 wants it documented).
///
/// # Errors
/// When it cannot be printed.
pub fn run(policies: &Policies, output: &mut Output<'_>) -> Result<()> {
    let deviations = policies.deviations();
    if output.is_json() {
        let classes: Vec<Value> = policies
            .iter()
            .map(|(class, policy)| {
                json!({
                    "class": class.as_str(),
                    "maxAgeSeconds": policy.max_age.as_secs(),
                    "updateAgeSeconds": policy.update_age.as_secs(),
                    "absoluteTimeoutSeconds": match policy.absolute_timeout {
                        AbsoluteTimeout::After(limit) => Some(limit.as_secs()),
                        AbsoluteTimeout::Never => None,
                    },
                    "freshAgeSeconds": policy.fresh_age.as_secs(),
                    "maxPerUser": policy.max_per_user,
                    "onLimit": policy.on_limit.as_str(),
                    "persistentCookie": policy.persistent_cookie,
                })
            })
            .collect();
        output.json(&json!({ "classes": classes, "deviations": deviations }))?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = policies
        .iter()
        .map(|(class, policy)| {
            vec![
                class.to_string(),
                duration_text(policy.max_age),
                duration_text(policy.update_age),
                match policy.absolute_timeout {
                    AbsoluteTimeout::After(limit) => duration_text(limit),
                    AbsoluteTimeout::Never => "none".to_owned(),
                },
                duration_text(policy.fresh_age),
                policy
                    .max_per_user
                    .map_or_else(|| "none".to_owned(), |most| format!("{most} ({})", policy.on_limit.as_str())),
                if policy.persistent_cookie { "lasting" } else { "until the browser closes" }.to_owned(),
            ]
        })
        .collect();
    output.table(&["CLASS", "MAX AGE", "UPDATE AGE", "ABSOLUTE", "FRESH", "MAX PER USER", "COOKIE"], &rows)?;
    for note in deviations {
        output.line(&format!("note: {note}"))?;
    }
    Ok(())
}

/// A duration as the settings write it: `30d`, `1h 30m`.
fn duration_text(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    let mut parts = Vec::new();
    for (unit, seconds) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if rest >= seconds {
            parts.push(format!("{}{unit}", rest / seconds));
            rest %= seconds;
        }
    }
    if parts.is_empty() { format!("{}ms", duration.as_millis()) } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_the_settings() {
        for (seconds, text) in [(30 * 86_400, "30d"), (5_400, "1h 30m"), (59, "59s")] {
            assert_eq!(duration_text(Duration::from_secs(seconds)), text);
        }
        assert_eq!(duration_text(Duration::from_millis(250)), "250ms");
    }
}
