//! Settings of a store.

use std::time::Duration;

/// How to use the database server. The defaults suit a server of an application; a command-line tool wants fewer connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MysqlOptions {
    /// The most connections of this store, from 1 to 1000. Default 16. They are opened as needed and reused; keep the sum over all programs
    /// below the server's `max_connections`.
    pub connections: usize,
    /// How long opening a connection may take, TLS and sign-in included. Default 2 seconds.
    pub connect_timeout: Duration,
    /// How long a call may wait for one of the connections, opening one included, and before it a creation within a limit for its turn among those of
    /// the same user. Default 3 seconds.
    pub acquire_timeout: Duration,
    /// How long one call may take in all: waiting for a connection, every statement, and trying again after a deadlock. After it the answer is
    /// *unavailable* and the connection is given up. Default 5 seconds.
    pub call_timeout: Duration,
    /// The same for calls whose work grows with the number of sessions: counting, sweeping, health, migrating. Default 60 seconds.
    pub long_call_timeout: Duration,
    /// How long an unused connection is kept. Default 10 minutes.
    pub idle_timeout: Duration,
}

impl Default for MysqlOptions {
    fn default() -> Self {
        Self {
            connections: 16,
            connect_timeout: Duration::from_secs(2),
            acquire_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(5),
            long_call_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(600),
        }
    }
}

impl MysqlOptions {
    pub(crate) fn connections(&self) -> usize {
        self.connections.clamp(1, 1000)
    }

    /// How long the server lets a statement wait for a row or a table: less than a call may take, so that the server gives up first and nothing goes on for
    /// a caller that was told no.
    pub(crate) fn lock_wait_seconds(&self) -> u64 {
        (self.call_timeout.as_secs() / 2).clamp(1, 10)
    }
}
