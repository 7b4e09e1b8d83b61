//! A sign-out under way: what must be remembered while a browser is at a provider to sign out there, too.

use std::fmt;

use hallpass_core::{Entropy, EntropyError};
use serde::{Deserialize, Serialize};

use super::state_cookies::{StateCookies, UnderWay};
use super::transaction::random;

/// What is remembered. Its session here has ended.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Departure {
    pub(crate) provider: String,
    pub(crate) state: String,
    /// Where the user wanted to go after signing out.
    pub(crate) target: String,
    /// Whether the browser was sent to the provider at all.
    pub(crate) sent: bool,
    pub(crate) begun_at: i64,
}

/// The state is a secret until it comes back.
impl fmt::Debug for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Departure").field("provider", &self.provider).finish_non_exhaustive()
    }
}

impl Departure {
    /// A new one, with a state of 256 bits.
    pub(crate) fn begin(
        provider: &str,
        target: &str,
        now_ms: i64,
        entropy: &dyn Entropy,
    ) -> Result<Self, EntropyError> {
        Ok(Self {
            provider: provider.to_owned(),
            state: random(entropy)?,
            target: target.to_owned(),
            sent: false,
            begun_at: now_ms,
        })
    }
}

impl UnderWay for Departure {
    const NAME: &'static str = "hallpass.sign-out.";
    const KEY: &'static str = "hallpass: sign-outs under way";

    fn state(&self) -> &str {
        &self.state
    }

    fn begun_at(&self) -> i64 {
        self.begun_at
    }
}

/// The cookies of the sign-outs under way.
pub(crate) type Departures = StateCookies<Departure>;
