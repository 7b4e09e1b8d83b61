//! How fast a million expired sessions leave among a million live ones, and what 2,000 checks a second notice of it. The first argument is a directory, in
//! which a file `sweep_cost.db` is made and removed: `cargo run --release -p hallpass-sqlite --example sweep -- /tmp [ROWS [BATCH]]`.

#[path = "../../hallpass-postgres/examples/sweep/measure.rs"]
mod measure;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hallpass_sqlite::{SqliteOptions, SqliteStore};
use measure::{Arguments, Failure, Fill, measure};

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::read()?;
    let file = Path::new(&arguments.database).join("sweep_cost.db");
    remove(&file);
    let store = Arc::new(SqliteStore::open(&file, SqliteOptions::default()).await?);
    let measured = measure("SQLite", store, &arguments, async |wanted| fill(&file, wanted)).await;
    remove(&file);
    measured
}

fn remove(file: &Path) {
    for ending in ["", "-wal", "-shm"] {
        // What is not there need not be removed.
        let _ = std::fs::remove_file(format!("{}{ending}", file.display()));
    }
}

fn fill(file: &Path, wanted: Fill) -> Result<(), Failure> {
    let Fill { rows, all_expired, first, expired, live } = wanted;
    let database = rusqlite::Connection::open(file)?;
    database.busy_timeout(Duration::from_secs(60))?;
    database.pragma_update(None, "synchronous", "OFF")?;
    let same = "token_hash, class, created_at, authenticated_at, renewed_at, last_seen_at, epoch, sign_in, attributes_version, attributes";
    let deadline = format!("iif({all_expired} OR n % 2 = 0, {expired}, {live}) + n");
    database.execute_batch(&format!(
        "INSERT INTO hallpass_sessions (id, user_id, idle_expires_at, absolute_expires_at, {same}) \
         WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows}) \
         SELECT unhex(printf('%012x7000%s', {first} + n, hex(randomblob(8)))), 'user ' || n % 300000, {deadline}, {deadline}, {same} \
         FROM c, (SELECT * FROM hallpass_sessions LIMIT 1); \
         PRAGMA wal_checkpoint(TRUNCATE);"
    ))?;
    Ok(())
}
