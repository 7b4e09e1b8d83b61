//! Hearing of commits that others made: SQLite counts them, and reading the count takes microseconds.

use std::sync::Arc;
use std::time::Duration;

use hallpass_core::{HintSource, Hints};
use rusqlite::Connection;
use tokio::time::MissedTickBehavior;

use crate::database::Database;

/// How often the count is read. Any commit moves it, renewals too, and costs one reading of the log.
const EVERY: Duration = Duration::from_millis(20);
/// Until a connection is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// It reads one page.
const CACHE_KIB: u32 = 64;

/// What is heard of commits, by this store's own writer too. Where a connection cannot be had, or its task panics, it is tried again; the log is read all the same.
pub(crate) fn listen(source: &HintSource, database: &Arc<Database>) -> Hints {
    source.listen(|| {
        let (source, database) = (source.clone(), Arc::clone(database));
        tokio::spawn(async move {
            while source.is_wanted() {
                let attempt = tokio::spawn(attempt(source.clone(), Arc::clone(&database)));
                if attempt.await.is_err() || source.is_wanted() {
                    tokio::time::sleep(AGAIN).await;
                }
            }
        });
    })
}

async fn attempt(source: HintSource, database: Arc<Database>) {
    if let Ok(Ok(connection)) = tokio::task::spawn_blocking(move || database.open_reader(CACHE_KIB)).await {
        watch(&source, connection).await;
    }
}

async fn watch(source: &HintSource, connection: Connection) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = version(&connection);
    while source.is_wanted() {
        ticks.tick().await;
        let now = version(&connection);
        if now != seen {
            seen = now;
            source.heard();
        }
    }
}

/// `None` when it cannot be read just now.
fn version(connection: &Connection) -> Option<i64> {
    connection.prepare_cached("PRAGMA data_version").ok()?.query_row([], |row| row.get(0)).ok()
}
