//! A sign-in under way: what must be remembered between sending a browser to a provider and its coming back.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hallpass_core::{Entropy, EntropyError};
use serde::{Deserialize, Serialize};

use super::state_cookies::{StateCookies, UnderWay};

/// What the sign-in is for, beside signing in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Linking {
    /// The account to link, and the session that asked for it.
    pub(crate) account: String,
    pub(crate) session: String,
}

/// What is remembered.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Transaction {
    pub(crate) provider: String,
    pub(crate) state: String,
    pub(crate) nonce: String,
    pub(crate) verifier: String,
    pub(crate) target: String,
    pub(crate) linking: Option<Linking>,
    /// Whether the session is to survive the browser.
    #[serde(default)]
    pub(crate) remember: bool,
    /// The authentication may be this old, in seconds.
    pub(crate) max_age: Option<u32>,
    pub(crate) begun_at: i64,
}

/// Three of the fields are secrets.
impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("provider", &self.provider).finish_non_exhaustive()
    }
}

impl Transaction {
    /// A new one: state and nonce of 256 bits, and a verifier of 256 bits (RFC 7636, section 4.1).
    pub(crate) fn begin(
        provider: &str,
        target: &str,
        now_ms: i64,
        entropy: &dyn Entropy,
    ) -> Result<Self, EntropyError> {
        Ok(Self {
            provider: provider.to_owned(),
            state: random(entropy)?,
            nonce: random(entropy)?,
            verifier: random(entropy)?,
            target: target.to_owned(),
            linking: None,
            remember: false,
            max_age: None,
            begun_at: now_ms,
        })
    }
}

/// 256 bits, for an address.
pub(super) fn random(entropy: &dyn Entropy) -> Result<String, EntropyError> {
    let mut bytes = [0_u8; 32];
    entropy.fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

impl UnderWay for Transaction {
    const NAME: &'static str = "hallpass.sign-in.";
    const KEY: &'static str = "hallpass: sign-ins under way";

    fn state(&self) -> &str {
        &self.state
    }

    fn begun_at(&self) -> i64 {
        self.begun_at
    }
}

/// The cookies of the sign-ins under way.
pub(crate) type Transactions = StateCookies<Transaction>;
