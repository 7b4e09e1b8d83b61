//! hallpass sessions in MariaDB or MySQL.
//!
//! Needs MariaDB 10.6 or MySQL 8.0.1, or newer. Tested with MariaDB; for MySQL the statements and the protocol are the common ones, untested so
//! far.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use hallpass_core::Sessions;
//! use hallpass_mysql::{MysqlOptions, MysqlStore};
//!
//! let url = "mysql://hallpass:secret@db.example:3306/app?ssl-mode=VERIFY_IDENTITY";
//! let store = MysqlStore::connect(url, MysqlOptions::default()).await?;
//! let sessions = Sessions::builder(Arc::new(store)).build()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What it costs
//!
//! | call | round trips |
//! |---|---|
//! | `find` | 1; 2 for a session that has ended, and for any that is older than a revocation of many which is not settled yet |
//! | `create` | 3; within a limit 6, and where sessions have to make room 1 more and 3 for each of them |
//! | `renew` | 3 |
//! | `rotate`, `set_label`, `set_attributes` | 5 |
//! | `revoke` | 5 or 6, 9 for all others of a user; then 1 to count them; whatever their number |
//! | `touch` | 2, and 1 for 200 sessions |
//! | `list`, `count`, `changes_since` | 1 |
//!
//! Each call uses one of a bounded number of connections (`connections` of [`MysqlOptions`]): the protocol answers one statement after the other, so
//! this number, divided by the time of a round trip, bounds the checks per second. On one machine `find` costs what a hand-written read of two columns
//! by the same driver's pool costs (0.95 to 0.97 of its time; `examples/read_cost.rs`).
//!
//! Revocations, rotations and changes of labels and attributes take turns at the counter of the log, from taking a position to the commit: three or four round trips
//! and a sync. Creations go on side by side, and wait for the turn that is under way. Revocations of single sessions that come while one is under way go together in the next
//! turn, 64 at most, with 6 round trips for all of them. At most half of the connections do so at once.
//!
//! # Tables
//!
//! The database must exist; it may belong to an application. hallpass makes its tables, whose names begin with `hallpass_`, when it connects, and needs
//! the privileges SELECT, INSERT, UPDATE, DELETE there, and CREATE, ALTER, INDEX for a new version. Texts are stored and compared byte for
//! byte and times are milliseconds in integers, whatever collations and time zones the server prefers; isolation level, SQL mode and whatever else a
//! server may have set otherwise are pinned for each connection.
//!
//! # What the server has to promise
//!
//! A session or a revocation is acknowledged when its commit is. That a commit is on disk by then is a setting of the server, and cannot be
//! asked for by a client: `innodb_flush_log_at_trx_commit = 1` (the default), and with a binary log also `sync_binlog = 1`. `health` says so when it
//! is otherwise.
//!
//! On Galera all programs have to use the same node, since locks of one node are not seen by the others; `health` reminds of it. Never name a replica.
//!
//! # When the server is away
//!
//! Every call answers [`StoreError::Unavailable`](hallpass_core::StoreError::Unavailable) within its time-out, at once where the connection is
//! refused. Connections are made anew as calls need them; between failed ones lies a pause of at most 0.8 seconds, so that a server that is
//! back is used within a second. A deadlock or a lock that is not had in time is tried again, for as long as the call may take. A write whose
//! commit was sent and not answered is never tried again: the answer is *unavailable*, and it may or may not have happened.

mod address;
mod change;
mod connection;
mod create;
mod failure;
mod find;
mod health;
mod list;
mod literal;
mod migrations;
mod nodes;
mod options;
mod outage;
mod pool;
mod revocation_log;
mod revoke;
mod row;
mod server;
mod settle;
mod shared_commits;
#[doc(hidden)]
pub mod statements;
mod store;
mod sweep;
mod touch;
mod work;

pub use address::{Address, AddressError};
pub use options::MysqlOptions;
pub use store::MysqlStore;

/// The newest schema version that this program knows.
pub const SCHEMA_VERSION: u32 = migrations::NEWEST;
