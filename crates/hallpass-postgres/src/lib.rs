//! hallpass sessions in PostgreSQL (13 or later; tested with 15).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use hallpass_core::Sessions;
//! use hallpass_postgres::{PostgresOptions, PostgresStore};
//!
//! let url = "postgres://hallpass:password@db.example/app?sslmode=verify-full";
//! let store = PostgresStore::connect(url, PostgresOptions::default()).await?;
//! let sessions = Sessions::builder(Arc::new(store)).build()?;
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! - **Checks** gather: those that come while queries are under way go together in the next one, `WHERE id = ANY(...)`, so that under load each
//!   costs the server a fraction of a query. None joins a query that was sent before it began: it could miss a revocation that was acknowledged
//!   since. A check alone goes at once. `cargo run --release -p hallpass-postgres --example read_cost` compares them with a hand-written read.
//! - **Changes** are one transaction and one round trip each, on a connection that nothing else uses meanwhile. Creations, rotations and revocations
//!   are durable before they are acknowledged (`synchronous_commit`, whatever the server's default); renewals, last-seen times, labels,
//!   attributes and clean-up are not waited for. One that the server rolled back because of others is tried again; one that may have been committed
//!   never is.
//! - **Revocations** that come while one is under way go together in the next transaction: one sync of the disk for up to 64 of them.
//! - **Renewals** change no indexed column: PostgreSQL updates such rows within their page (HOT).
//! - **Several processes** may use one database. Limits, revocations, settling, sweeping and migrations of all of them fit together.
//! - **A server that is away** is answered with *unavailable* within [`statement_timeout`](field@PostgresOptions::statement_timeout); the connections come back by themselves.
//!
//! # In a database of the application
//!
//! The tables begin with `hallpass_` and lie in the schema `public`, or in another one ([`PostgresOptions::schema`], or `schema=` in the URL), which
//! is made if it is missing. The role needs the right to make tables there; one that owns a database has it. The database has to be encoded as
//! UTF-8. Its collation, time zone, isolation level, `search_path` and other defaults do not matter.
//!
//! # Poolers
//!
//! Through a pooler that gives each transaction another connection (`PgBouncer` in transaction mode, also before its version 1.21), nothing is prepared
//! and nothing is set or locked beyond a transaction. The store notices by itself what it is connected to; [`PostgresOptions::pooler`] says so where
//! it cannot. Directly is faster. The pooler must reach the primary.
//!
//! # Hints
//!
//! A program with checks from memory keeps one more connection, on which it hears (`LISTEN`) that another one has logged something, so that it reads the log at once. Telling others
//! is a small transaction of its own (`NOTIFY`) after each change, never a part of it. Through a pooler in transaction mode nothing can be heard; the store
//! notices that, says so once in its log, and reads the revocation log at its interval, as it does anyway.
//!
//! # TLS
//!
//! `sslmode` means what it means to libpq: `disable` none; `prefer` (the default) if the server has it; `require` always, but from whomever;
//! `verify-ca` from a server with a certificate of a known authority; `verify-full` from one whose certificate is for this host. Only the last one
//! keeps out who can change the network. Known are the authorities in the file `sslrootcert`, or without it (or with `system`) those of the operating
//! system; libpq would look into `~/.postgresql`. Differences: `prefer` does not try again without TLS when the handshake fails, and there are no
//! client certificates and no revocation lists.
//!
//! # What is promised beyond one machine
//!
//! An acknowledged revocation holds on the primary, through its crash. Through a failover it holds if the standby that takes over was synchronous
//! (`synchronous_standby_names`); health shows whether there is one. A change whose wait for the standby was cut short, by a time-out or an operator, is answered
//! with *unavailable*, although the server calls it committed. Checks are read on the primary alone: several hosts may stand in the URL
//! (`postgres://user@first:5432,second:5432/app`), and the one that takes writes is used, found anew by itself when a standby took over. A host that does
//! not answer at all costs one [`connect_timeout`](field@PostgresOptions::connect_timeout) before the next one is tried. An old primary that comes back must not take
//! writes any more: keeping it out is the task of whoever promotes the standby.
//!
//! The log's incarnation changes when the table was restored from a dump, the cluster was restored to a point in time, or a standby took over.
//! Copied data files that are started as if nothing had happened are not noticed by it.

mod address;
mod change;
mod checks;
mod connector;
mod create;
mod database;
mod failure;
mod health;
mod hints;
mod hosts;
mod keys;
mod lanes;
mod link;
mod list;
mod migrations;
mod nodes;
mod options;
mod revocation_log;
mod revoke;
mod row;
mod series;
mod session;
mod settle;
mod shared_commits;
#[doc(hidden)]
pub mod statements;
mod store;
mod sweep;
mod target;
mod texts;
mod tls;
mod value;

pub use address::{Address, AddressError};
pub use options::PostgresOptions;
pub use store::PostgresStore;

/// The newest schema version that this program knows.
pub const SCHEMA_VERSION: u32 = migrations::NEWEST;
