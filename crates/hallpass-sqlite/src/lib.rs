//! hallpass sessions in SQLite: the embedded default. One file, no server.
//!
//! - **Reads** run on the calling thread, each thread on a connection of its own: a check is one point read of a few microseconds.
//! - **Writes** go to one thread with one connection. Those that wait are committed together, each in a savepoint of its own, and
//!   nobody is answered before the commit. A commit with a creation, rotation or revocation in it is synced (`synchronous=FULL`).
//! - **Several processes** may use one file; SQLite's write-ahead log (WAL) orders them. WAL needs a local disk: on a network file system
//!   opening or locking fails with a message that says so.
//! - **Upkeep** (checkpoints, giving freed pages back to the file system) happens between writes in small steps.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use hallpass_core::Sessions;
//! use hallpass_sqlite::{SqliteOptions, SqliteStore};
//!
//! let store = SqliteStore::open("hallpass.db", SqliteOptions::default()).await?;
//! let sessions = Sessions::builder(Arc::new(store)).build()?;
//! # Ok(())
//! # }
//! ```

mod anchor;
mod change;
mod create;
mod database;
mod failure;
mod health;
mod hints;
mod list;
mod location;
mod migrations;
mod nodes;
mod options;
mod place;
mod readers;
mod revocation_log;
mod revoke;
mod row;
mod settle;
#[doc(hidden)]
mod sign_in_text;
pub mod statements;
mod store;
mod sweep;
mod upkeep;
mod write_stats;
mod writer;

pub use location::{Location, LocationError};
pub use options::SqliteOptions;
pub use store::SqliteStore;
pub use write_stats::WriteStats;

/// The newest schema version that this program knows.
pub const SCHEMA_VERSION: u32 = migrations::NEWEST;
