//! `hallpass cleanup`

use anyhow::Result;
use serde_json::json;

use crate::engine::Engine;
use crate::output::Output;
use crate::progress::Progress;

/// Removes dead sessions: the same work as the background sweeper and the HTTP endpoint.
///
/// # Errors
/// When the database fails; what was removed until then stays removed.
pub async fn run(dry_run: bool, engine: &Engine, output: &mut Output<'_>) -> Result<()> {
    if dry_run {
        let count = engine.sessions.sweepable().await?;
        if output.is_json() {
            output.json(&json!({ "cleaned": 0, "matched": count, "dryRun": true }))?;
        } else {
            output.line(&format!("would remove {count} rows"))?;
        }
        return Ok(());
    }
    let bar = Progress::start("removing dead sessions", Some(0));
    let swept = engine
        .sessions
        .sweep(|progress| {
            bar.total(progress.total.unwrap_or(0).max(progress.removed()));
            bar.at(progress.removed());
        })
        .await;
    bar.finish();
    let swept = swept?;
    if output.is_json() {
        output.json(&json!({ "cleaned": swept.removed(), "expired": swept.expired, "ended": swept.ended }))?;
    } else {
        output.line(&format!("removed {} expired and {} ended sessions", swept.expired, swept.ended))?;
    }
    Ok(())
}
