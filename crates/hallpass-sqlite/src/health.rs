//! What the database says about itself.

use std::path::Path;

use hallpass_core::Timestamp;
use hallpass_core::store::{Filter, Health};
use rusqlite::Connection;

use crate::statements::COUNT_LIVE_WITHOUT_MARKS;
use crate::write_stats::WriteStats;
use crate::{list, migrations, row, settle, upkeep};

pub(crate) fn health(
    connection: &Connection,
    path: Option<&Path>,
    writes: WriteStats,
    now: Timestamp,
) -> rusqlite::Result<Health> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row::position(row, 0));
    let (pages, page_bytes, free) = (pragma("page_count")?, pragma("page_size")?, pragma("freelist_count")?);
    let marks = settle::count_marks(connection)?;
    let journal: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let mut details = vec![
        (String::from("file"), path.map_or_else(|| String::from("(in memory)"), |path| path.display().to_string())),
        (String::from("file size"), format!("{} bytes ({pages} pages)", pages * page_bytes)),
        (String::from("free pages"), free.to_string()),
        (String::from("journal mode"), journal),
        (String::from("gives freed pages back"), upkeep::is_incremental(connection)?.to_string()),
        (String::from("revocations still to settle"), marks.to_string()),
        (String::from("commits since start"), format!("{} ({} synced)", writes.commits, writes.durable_commits)),
    ];
    if let Some(bytes) = path.and_then(wal_bytes) {
        details.push((String::from("write-ahead log"), format!("{bytes} bytes")));
    }
    Ok(Health {
        engine: format!("SQLite {}", rusqlite::version()),
        schema: migrations::version(connection)?,
        // The same machine's: there is nothing to compare.
        clock: None,
        live: live(connection, marks, now)?,
        details,
        warnings: Vec::new(),
    })
}

fn live(connection: &Connection, marks: u64, now: Timestamp) -> rusqlite::Result<u64> {
    if marks > 0 {
        return list::count(connection, &Filter::default(), now);
    }
    let mut statement = connection.prepare_cached(COUNT_LIVE_WITHOUT_MARKS)?;
    statement.query_row([now.as_millis()], |row| row::position(row, 0))
}

fn wal_bytes(path: &Path) -> Option<u64> {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    std::fs::metadata(wal).ok().map(|metadata| metadata.len())
}

/// SQLite's own check of structure, at most 20 findings; empty when the database is sound. Reads the whole file.
pub(crate) fn findings(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("PRAGMA quick_check(20)")?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut findings: Vec<String> = rows.collect::<Result<_, _>>()?;
    findings.retain(|finding| finding != "ok");
    Ok(findings)
}
