//! An Auth.js database as hallpass sees it.
//!
//! Adapters of Auth.js agree on the names of columns and on little else: tables are called `Session`, `sessions` or `session`, the moment at which a
//! session expires is a timestamp with or without a time zone, text, or a number, and most layouts lack the indexes that listing and ending
//! sessions needs. [`Catalogue`] is what a database says of its tables, [`Layout`] what was recognised in it, and [`Layout::shortcomings`]
//! what to mend, with the statements.
//!
//! ```
//! use hallpass_authjs::{Catalogue, Layout, Maker};
//! use rusqlite::Connection;
//!
//! let database = Connection::open_in_memory()?;
//! database.execute_batch(
//!     r#"CREATE TABLE "user" (id text PRIMARY KEY, name text, email text UNIQUE, "emailVerified" integer, image text);
//!        CREATE TABLE "session" ("sessionToken" text PRIMARY KEY, "userId" text NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
//!          expires integer NOT NULL);"#,
//! )?;
//! let layout = Layout::recognise(&Catalogue::of_sqlite(&database)?)?;
//! assert_eq!((layout.maker, layout.sessions.as_str()), (Maker::Drizzle, "session"));
//! assert_eq!(layout.shortcomings().len(), 2, "no index by user, and none by expiry");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`AuthjsStore`] keeps sessions there beside Auth.js. What Auth.js does not keep, it keeps in tables of its own; by which browser a session of Auth.js's making is used,
//! it learns from the first request that brings it here
//! ([`Sessions::note_client`](hallpass_core::Sessions::note_client), which the layer of `hallpass-axum` does), and keeps that whoever comes later.
//!
//! Those tables lie apart ([`AuthjsOptions::side`]), in a place that belongs to one application alone: two applications give their users the same ids. A place that is the
//! application's own, or another's, is refused.

mod adopt;
mod catalogue;
mod change;
mod connection;
mod create;
mod dialect;
mod find;
mod health;
mod layout;
mod list;
mod nodes;
mod pool;
mod revocation_log;
mod revoke;
mod row;
mod shortcomings;
mod side;
mod side_tables;
mod store;
mod sweep;
mod table;

pub use catalogue::{Catalogue, Column, Engine, ForeignKey, Index, Table};
pub use layout::{Expires, Layout, Maker, Unrecognised};
pub use shortcomings::Shortcoming;
pub use side::Side;
pub use store::{AuthjsOptions, AuthjsStore};
