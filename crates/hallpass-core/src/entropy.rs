//! Where random bytes come from. Injected, so that a failing or repeating generator can be tested (A05, A18).

use std::fmt;

/// The generator gave no bytes. No session is made from what could be predictable.
#[derive(Debug, thiserror::Error)]
#[error("the random number generator failed: {0}; no session was created")]
pub struct EntropyError(pub String);

/// A source of random bytes for secrets and ids.
pub trait Entropy: Send + Sync + fmt::Debug + 'static {
    /// Fills the whole buffer or fails.
    ///
    /// # Errors
    /// When the source has no bytes to give; callers never fall back to another source.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError>;
}

/// The operating system's generator (`getrandom(2)` on Linux): OWASP ASVS 5.0, 7.2.3 and 11.5.1.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the operating system for secrets")]
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(buffer).map_err(|error| EntropyError(error.to_string()))
    }
}
