//! What the writer does between writes: giving freed pages back and checkpointing, in small steps.

use rusqlite::Connection;

/// Free pages that stay for the next sessions: 512 KiB.
const KEPT_FREE_PAGES: u32 = 128;
/// Pages given back in one step: 2 MiB, a few milliseconds.
const VACUUM_STEP: u32 = 512;

/// From here on, 32 MiB, each commit gives pages back: a sweep by a program that ends with it must not leave the space to whoever writes next.
const MANY_FREE_PAGES: u32 = 8192;

/// Whether upkeep is not to wait for a pause.
pub(crate) fn is_pressing(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(free_pages(connection)? > MANY_FREE_PAGES && is_incremental(connection)?)
}

fn free_pages(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "freelist_count", |row| row.get(0))
}

/// One step. Whether another one would find work.
pub(crate) fn step(connection: &Connection) -> rusqlite::Result<bool> {
    let free = free_pages(connection)?;
    if free > KEPT_FREE_PAGES && is_incremental(connection)? {
        let pages = (free - KEPT_FREE_PAGES).min(VACUUM_STEP);
        give_back(connection, pages)?;
        return Ok(true);
    }
    // Passive: never waits for readers, and what it leaves the next one takes. The file shrinks here.
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
    Ok(false)
}

/// An older file may have been made without; it then keeps its size and reuses its pages.
pub(crate) fn is_incremental(connection: &Connection) -> rusqlite::Result<bool> {
    let mode: u32 = connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0))?;
    Ok(mode == 2)
}

fn give_back(connection: &Connection, pages: u32) -> rusqlite::Result<()> {
    // The statement yields once for each page: it must be read to its end.
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}
