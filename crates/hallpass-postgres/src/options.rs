//! What can be chosen about a store.

use std::time::Duration;

/// How a [`PostgresStore`](crate::PostgresStore) connects. The defaults fit most programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// Connections in all, at least 2: one for checks, which gather on it, and the others for everything else, one change at a time on each.
    /// Hearing of other nodes' changes takes one more where checks are answered from memory.
    /// More of them let more durable commits share one sync of the disk. Default 4.
    pub connections: usize,
    /// How long one attempt to connect to one host may take, the sign-in included. A `connect_timeout` in the URL goes before it. Default 2 seconds.
    pub connect_timeout: Duration,
    /// How long a verb may take in all, waiting for a connection included; then it answers unavailable. The server is told the same, so that it
    /// stops by itself. Default 5 seconds.
    pub statement_timeout: Duration,
    /// The schema of the tables; made if it is missing. A `schema` in the URL goes before it. Default `public`.
    pub schema: Option<String>,
    /// Whether a pooler stands between that gives each transaction another connection, such as `PgBouncer` in transaction mode: then nothing is
    /// prepared or set beyond a transaction. Default `false`: it is found out at each connection, and need be said only of a pooler that passes
    /// startup options on and pretends to be the server.
    pub pooler: bool,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            connections: 4,
            connect_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(5),
            schema: None,
            pooler: false,
        }
    }
}

impl PostgresOptions {
    /// Connections for everything but checks.
    pub(crate) fn lanes(&self) -> usize {
        self.connections.clamp(2, 64) - 1
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.connect_timeout.clamp(Duration::from_millis(50), Duration::from_secs(600))
    }

    pub(crate) fn statement_timeout(&self) -> Duration {
        self.statement_timeout.clamp(Duration::from_millis(50), Duration::from_secs(3600))
    }
}
