//! Removing dead rows.

use std::time::Duration;

use crate::store::{Store, Sweep};
use crate::{StoreError, Timestamp};

/// When dead rows leave the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepSettings {
    /// How often the background sweeper runs. Default 10 minutes.
    pub interval: Duration,
    /// Expired sessions stay this long, so that skew between clocks removes nobody's live session. Default 3 minutes.
    pub expired_grace: Duration,
    /// Ended sessions stay this long as history: who, when, why. Default 30 days.
    pub ended_retention: Duration,
    /// Entries of the revocation log stay this long. Default 24 hours; at least 1 hour, or nodes with a cache would have to
    /// start over too often.
    pub log_retention: Duration,
    /// Rows in one commit. Default 500.
    pub batch: u32,
}

impl Default for SweepSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(600),
            expired_grace: Duration::from_secs(180),
            ended_retention: Duration::from_secs(30 * 86_400),
            log_retention: Duration::from_secs(86_400),
            batch: 500,
        }
    }
}

/// Commits of one step, where a store makes several.
const COMMITS: u32 = 100;

impl SweepSettings {
    pub(crate) fn step(&self, now: Timestamp) -> Sweep {
        Sweep {
            expired_before: now.minus(self.expired_grace),
            ended_before: now.minus(self.ended_retention),
            log_before: now.minus(self.log_retention),
            batch: self.batch.clamp(1, 10_000),
            commits: COMMITS,
        }
    }
}

/// How far a sweep has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweepProgress {
    /// Expired sessions removed so far.
    pub expired: u64,
    /// Ended sessions removed so far.
    pub ended: u64,
    /// How many rows there were to remove when it began; `None` unless asked for.
    pub total: Option<u64>,
}

impl SweepProgress {
    /// All rows removed so far.
    #[must_use]
    pub const fn removed(&self) -> u64 {
        self.expired + self.ended
    }
}

/// A pause after a step, so that requests keep their share of the database, and writers of other processes get their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// For a sweep that somebody waits for: half as long as a commit took. A step of many commits gave others their turn in between; on
    /// PostgreSQL a rest after it made the p99 of the checks two to four times as long, since the server's process was woken anew each time.
    AfterSingleCommits,
    /// At most a tenth of the time is spent in the database.
    NineTenths,
}

impl Rest {
    async fn after(self, begun: tokio::time::Instant, many_commits: bool) {
        let rest = match self {
            Self::AfterSingleCommits if many_commits => Duration::ZERO,
            Self::AfterSingleCommits => begun.elapsed() / 2,
            Self::NineTenths => begun.elapsed() * 9,
        };
        tokio::time::sleep(rest.min(LONGEST_REST)).await;
    }
}

const LONGEST_REST: Duration = Duration::from_secs(10);

/// Settles revocations and removes dead rows until none are left, resting between the steps.
pub(crate) async fn sweep(
    store: &dyn Store,
    settings: &SweepSettings,
    now: Timestamp,
    rest: Rest,
    count: bool,
    progress: &mut (dyn FnMut(&SweepProgress) + Send),
) -> Result<SweepProgress, StoreError> {
    let step = settings.step(now);
    let mut so_far = SweepProgress::default();
    if count {
        so_far.total = Some(store.sweepable(&step).await?);
    }
    progress(&so_far);
    loop {
        let begun = tokio::time::Instant::now();
        let settled = store.settle(step.batch, now).await?;
        rest.after(begun, false).await;
        if !settled.more {
            break;
        }
    }
    // Each turn removes or settles at least one row, or is the last: the loop ends with the dead rows.
    loop {
        let begun = tokio::time::Instant::now();
        let swept = store.sweep(&step).await?;
        so_far.expired += swept.expired;
        so_far.ended += swept.ended;
        progress(&so_far);
        if !swept.more {
            return Ok(so_far);
        }
        rest.after(begun, swept.expired + swept.ended > u64::from(step.batch)).await;
    }
}
