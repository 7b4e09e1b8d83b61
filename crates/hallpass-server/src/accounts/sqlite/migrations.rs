//! The schema of the SQLite file.

use rusqlite::{Connection, TransactionBehavior, params};

use super::unavailable;
use crate::accounts::AccountsError;
use crate::accounts::steps::{self, Step};

const STEPS: &[Step] = &[
    Step {
        name: "accounts",
        sql: "CREATE TABLE account_users (
       id TEXT PRIMARY KEY,
       email TEXT NOT NULL UNIQUE,
       name TEXT NOT NULL,
       operator INTEGER NOT NULL,
       disabled_at INTEGER,
       created_at INTEGER NOT NULL,
       credentials_version INTEGER NOT NULL,
       password_hash TEXT
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE account_session_ends (
       number INTEGER PRIMARY KEY AUTOINCREMENT,
       user_id TEXT NOT NULL,
       reason TEXT NOT NULL,
       created_at INTEGER NOT NULL
     ) STRICT;
     CREATE TABLE account_server_secrets (
       name TEXT PRIMARY KEY,
       value TEXT NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE account_setup (
       one INTEGER PRIMARY KEY CHECK (one = 1),
       code_hash BLOB NOT NULL,
       expires_at INTEGER NOT NULL
     ) STRICT;",
    },
    Step {
        name: "identities",
        sql: "CREATE TABLE account_identities (
       issuer TEXT NOT NULL,
       subject TEXT NOT NULL,
       account_id TEXT NOT NULL,
       provider TEXT NOT NULL,
       email TEXT,
       created_at INTEGER NOT NULL,
       PRIMARY KEY (issuer, subject)
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX account_identities_account ON account_identities (account_id);
     CREATE TABLE account_provider_sessions (
       session_id TEXT PRIMARY KEY,
       provider TEXT NOT NULL,
       issuer TEXT NOT NULL,
       subject TEXT NOT NULL,
       sid TEXT,
       acr TEXT,
       auth_time INTEGER,
       created_at INTEGER NOT NULL
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX account_provider_sessions_sid ON account_provider_sessions (issuer, sid, session_id);
     CREATE INDEX account_provider_sessions_subject ON account_provider_sessions (issuer, subject, session_id);
     CREATE TABLE account_logouts (
       issuer TEXT NOT NULL,
       jti_hash BLOB NOT NULL,
       subject TEXT,
       sid TEXT,
       issued_at INTEGER NOT NULL,
       received_at INTEGER NOT NULL,
       done INTEGER NOT NULL,
       PRIMARY KEY (issuer, jti_hash)
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX account_logouts_received ON account_logouts (received_at);",
    },
    Step {
        // What hallpass alone knows of the users of an application with Auth.js, beside whose file this one lies.
        name: "authjs users",
        sql: "CREATE TABLE account_authjs_users (
       id TEXT PRIMARY KEY,
       known_email TEXT,
       operator INTEGER NOT NULL,
       disabled_at INTEGER,
       created_at INTEGER,
       credentials_version INTEGER NOT NULL,
       password_hash TEXT
     ) STRICT, WITHOUT ROWID;",
    },
];

/// The number of the newest step.
pub(super) fn newest() -> u32 {
    steps::newest(STEPS)
}

/// Brings the schema up to date in one transaction. Of two processes at once one waits for the other
/// and then finds nothing to do.
pub(super) fn run(connection: &mut Connection, place: &str) -> Result<(), AccountsError> {
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(unavailable)?;
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS account_migrations (
           number INTEGER PRIMARY KEY,
           name TEXT NOT NULL,
           checksum BLOB NOT NULL,
           applied_at INTEGER NOT NULL
         ) STRICT",
    )
    .map_err(unavailable)?;
    let applied: Vec<(u32, Vec<u8>)> = tx
        .prepare("SELECT number, checksum FROM account_migrations ORDER BY number")
        .and_then(|mut applied| applied.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
        .map_err(unavailable)?;
    for (number, step) in steps::missing(place, STEPS, &applied)? {
        tx.execute_batch(step.sql).map_err(unavailable)?;
        // The store's own clock: the time is for people to read and decides nothing.
        tx.execute(
            "INSERT INTO account_migrations (number, name, checksum, applied_at)
             VALUES (?1, ?2, ?3, CAST(unixepoch('subsec') * 1000 AS INTEGER))",
            params![number, step.name, step.checksum().as_slice()],
        )
        .map_err(unavailable)?;
    }
    tx.commit().map_err(unavailable)
}
