//! Settings of a store.

use std::time::Duration;

/// How to use the database. Every wait has a bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisOptions {
    /// Begins every key, so that several stores (or an application's own keys) share a database. No braces: the hash tag of a
    /// Cluster comes after it. Default `hallpass:`.
    pub prefix: String,
    /// How long a connection may take to be made, TLS and authentication included. Default 1 second.
    pub connect_timeout: Duration,
    /// How long the server may take to answer one command. Default 2 seconds.
    pub response_timeout: Duration,
    /// How long a verb may take, with redirections and every command it needs; then it answers *unavailable*. Counting, settling, sweeping and
    /// health are not bounded as a whole: each of their commands is. Default 5 seconds.
    pub verb_timeout: Duration,
    /// Connections to each server; each carries many requests at once. Default 2: a second one lets another core read
    /// answers.
    pub connections: usize,
    /// How many replicas must have a creation, a rotation or a revocation before it is acknowledged (`WAIT`). Default 0: none. It makes a loss in a
    /// fail-over less likely and does not exclude it. With fewer the verb answers *unavailable*, although it was written.
    pub replicas_to_wait_for: u32,
    /// How long to wait for them. Default 1 second.
    pub wait_timeout: Duration,
    /// How long the server keeps a session beyond its deadline if no sweep removes it. Default 1 hour. Longer than clocks may be apart.
    pub expiry_grace: Duration,
    /// How long the server keeps an ended session if no sweep removes it; at least the retention of the sweeper. Default 60
    /// days.
    pub ended_retention: Duration,
    /// Certificates (PEM) of the authority to trust for `rediss://`, in place of the operating system's. Default: those.
    pub authority: Option<Vec<u8>>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            prefix: String::from("hallpass:"),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(2),
            verb_timeout: Duration::from_secs(5),
            connections: 2,
            replicas_to_wait_for: 0,
            wait_timeout: Duration::from_secs(1),
            expiry_grace: Duration::from_secs(3600),
            ended_retention: Duration::from_secs(60 * 86_400),
            authority: None,
        }
    }
}

const HOUR: Duration = Duration::from_secs(3600);

impl RedisOptions {
    pub(crate) fn connect_timeout(&self) -> Duration {
        bounded(self.connect_timeout, HOUR)
    }

    pub(crate) fn response_timeout(&self) -> Duration {
        bounded(self.response_timeout, HOUR)
    }

    pub(crate) fn verb_timeout(&self) -> Duration {
        bounded(self.verb_timeout, HOUR)
    }

    /// Zero would wait for ever.
    pub(crate) fn wait_timeout(&self) -> Duration {
        bounded(self.wait_timeout, HOUR)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.clamp(1, 64)
    }

    pub(crate) fn expiry_grace(&self) -> Duration {
        bounded(self.expiry_grace, 100 * 365 * 24 * HOUR)
    }

    pub(crate) fn ended_retention(&self) -> Duration {
        bounded(self.ended_retention, 100 * 365 * 24 * HOUR)
    }
}

fn bounded(duration: Duration, most: Duration) -> Duration {
    duration.clamp(Duration::from_millis(1), most)
}
