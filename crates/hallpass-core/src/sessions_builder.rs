//! How [`Sessions`](crate::Sessions) are set up.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use crate::background::TaskRecord;
use crate::cache::Cache;
use crate::client_notes::ClientNotes;
use crate::follower::Follower;
use crate::hints::Hinting;
use crate::last_seen::LastSeenBuffer;
use crate::nodes::Registration;
use crate::sessions::Inner;
use crate::{
    Clock, Entropy, EventSink, NodeId, OsEntropy, Pepper, Policies, Sessions, Store, SweepSettings, SystemClock,
    TracingEvents, ValidationMode,
};

/// Settings that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(pub String);

/// Settings for [`Sessions`].
#[derive(Debug)]
pub struct SessionsBuilder {
    inner: Inner,
    mode: ValidationMode,
}

impl SessionsBuilder {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            mode: ValidationMode::Strict,
            inner: Inner {
                store,
                clock: Arc::new(SystemClock),
                entropy: Arc::new(OsEntropy),
                events: Arc::new(TracingEvents),
                policies: ArcSwap::from_pointee(Policies::default()),
                pepper: None,
                shares_tokens: false,
                cache: None,
                node: None,
                follower: Mutex::new(Follower::new(Registration::new(NodeId::from_bytes([0; 16]), Duration::ZERO))),
                hinting: Hinting::default(),
                sweep: SweepSettings::default(),
                last_seen: LastSeenBuffer::default(),
                client_notes: ClientNotes::default(),
                last_seen_task: TaskRecord::default(),
                sweep_task: TaskRecord::default(),
                follow_task: TaskRecord::default(),
            },
        }
    }

    /// Another policy than [`Policies::default`].
    #[must_use]
    pub fn policies(mut self, policies: Policies) -> Self {
        self.inner.policies = ArcSwap::from_pointee(policies);
        self
    }

    /// Another clock than the machine's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.inner.clock = Arc::new(clock);
        self
    }

    /// Another source of random bytes than the operating system's.
    #[must_use]
    pub fn entropy(mut self, entropy: impl Entropy) -> Self {
        self.inner.entropy = Arc::new(entropy);
        self
    }

    /// Another sink for events than `tracing`.
    #[must_use]
    pub fn events(mut self, events: impl EventSink) -> Self {
        self.inner.events = Arc::new(events);
        self
    }

    /// Keys the stored hashes with a pepper.
    #[must_use]
    pub fn pepper(mut self, pepper: Pepper) -> Self {
        self.inner.pepper = Some(pepper);
        self
    }

    /// How checks are answered.
    #[must_use]
    pub fn validation(mut self, mode: ValidationMode) -> Self {
        self.mode = mode;
        self
    }

    /// When dead rows leave the database.
    #[must_use]
    pub fn sweep(mut self, settings: SweepSettings) -> Self {
        self.inner.sweep = settings;
        self
    }

    /// Ready to use. Starts no task: see [`Sessions::start_background`].
    ///
    /// # Errors
    /// When settings contradict each other.
    pub fn build(mut self) -> Result<Sessions, SettingsError> {
        let sweep = &self.inner.sweep;
        if sweep.batch == 0 || sweep.batch > 10_000 {
            return Err(SettingsError(format!("sweep batch must be 1 to 10000 rows, not {}", sweep.batch)));
        }
        if sweep.log_retention.as_secs() < 3600 {
            return Err(SettingsError(String::from("the revocation log must be kept for at least 1 hour")));
        }
        self.inner.shares_tokens = self.inner.store.shared_tokens().is_some();
        if self.inner.shares_tokens {
            if self.inner.pepper.is_some() {
                return Err(SettingsError(String::from(
                    "a pepper cannot be used on a table that another program shares: it would not find its sessions; take the pepper away",
                )));
            }
            if matches!(self.mode, ValidationMode::Cached(_)) {
                return Err(SettingsError(String::from(
                    "checks cannot be answered from memory where another program ends sessions, which it writes into no log; choose validation=strict",
                )));
            }
        }
        if let ValidationMode::Cached(settings) = self.mode {
            settings.check().map_err(SettingsError)?;
            self.inner.cache = Some(Cache::new(settings));
            let node = NodeId::generate(&*self.inner.entropy).map_err(|error| SettingsError(error.to_string()))?;
            self.inner.node = Some(node);
            self.inner.follower = Mutex::new(Follower::new(Registration::new(node, settings.lease)));
        }
        Ok(Sessions { inner: Arc::new(self.inner), strict: false, waits: false })
    }
}
