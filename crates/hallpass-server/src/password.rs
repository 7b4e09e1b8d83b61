//! Passwords: bounds, argon2id off the async threads, the same work for unknown users.
//!
//! Sources: OWASP Password Storage Cheat Sheet (argon2id, 19 MiB, 2 passes, 1 lane); ASVS 5.0 6.2.1
//! (at least 8 characters), 6.2.8 (verified exactly as received, not cut or changed), 6.3.8 (an unknown
//! account cannot be told by the time the answer takes).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use argon2::password_hash::{self, phc};
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::settings::PasswordCost;

/// Least length of a password in bytes.
pub const MIN_BYTES: usize = 8;
/// Greatest length of a password in bytes.
pub const MAX_BYTES: usize = 1024;
/// Most memory a stored hash may ask for, in KiB: a damaged row must not take the server down.
const MAX_STORED_MEMORY_KIB: u32 = 1_048_576;
const MAX_STORED_ITERATIONS: u32 = 64;

/// A password as somebody typed it, within bounds. `Debug` hides it; it is wiped when dropped.
#[derive(Debug, Clone)]
pub struct Password(SecretString);

impl Password {
    /// Checks the bounds: 8 to 1024 bytes, no NUL. Nothing is trimmed or changed.
    ///
    /// # Errors
    /// [`PasswordRefused`] says which bound was missed.
    pub fn new(text: String) -> Result<Self, PasswordRefused> {
        let text = SecretString::from(text);
        let bytes = text.expose_secret();
        if bytes.len() < MIN_BYTES {
            return Err(PasswordRefused::TooShort);
        }
        if bytes.len() > MAX_BYTES {
            return Err(PasswordRefused::TooLong);
        }
        if bytes.contains('\0') {
            return Err(PasswordRefused::Nul);
        }
        Ok(Self(text))
    }
}

/// Why a text cannot be a password. A sign-in may answer this before any other work: it says nothing
/// about whether the account exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordRefused {
    /// Fewer than [`MIN_BYTES`].
    #[error("the password is too short; use at least 8 characters")]
    TooShort,
    /// More than [`MAX_BYTES`].
    #[error("the password is too long; use at most 1024 bytes")]
    TooLong,
    /// It holds a NUL byte.
    #[error("the password holds a NUL character")]
    Nul,
}

/// A stored hash in PHC form (`$argon2id$v=19$...`). `Debug` hides it.
#[derive(Debug, Clone)]
pub struct PasswordHash(SecretString);

/// The same text: the same password under the same salt. Two hashes of one password are not equal.
impl PartialEq for PasswordHash {
    fn eq(&self, other: &Self) -> bool {
        bool::from(self.expose().as_bytes().ct_eq(other.expose().as_bytes()))
    }
}

impl Eq for PasswordHash {}

impl PasswordHash {
    /// Takes a hash from storage. It is judged when it is used.
    #[must_use]
    pub fn from_stored(phc: String) -> Self {
        Self(SecretString::from(phc))
    }

    /// The PHC text, for storage alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// What a verification found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The password is right.
    Right {
        /// The stored hash was made with other parameters; replace it.
        rehash: bool,
    },
    /// It is not, or there is no such account.
    Wrong,
}

/// Why no verdict was reached. None of these means "wrong password".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// Too many sign-ins wait already. Answer 503 with `Retry-After`.
    #[error("too many sign-ins at once; try again in {} seconds", retry_after.as_secs())]
    Overloaded {
        /// A sensible pause.
        retry_after: Duration,
    },
    /// The stored hash is not one this program makes.
    #[error("a stored password hash cannot be read; set a new password with `hallpass user passwd`")]
    BadHash,
    /// The machine could not do it (memory, random numbers, a worker thread).
    #[error("password hashing failed: {0}")]
    Failed(String),
}

/// Hashes and verifies passwords with bounded parallelism and a bounded queue.
///
/// Cloning is cheap and shares both bounds.
#[derive(Clone)]
pub struct Passwords {
    shared: Arc<Shared>,
}

struct Shared {
    params: Params,
    /// Verified when the account is unknown, so that the work is the same.
    dummy: PasswordHash,
    /// One permit for each computation running or waiting.
    places: Arc<Semaphore>,
    /// One permit for each computation running.
    cores: Arc<Semaphore>,
    verifications: AtomicU64,
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").field("params", &self.shared.params).finish_non_exhaustive()
    }
}

/// A sensible pause for a client that met a full queue.
const RETRY_AFTER: Duration = Duration::from_secs(2);

impl Passwords {
    /// Uses `cost` for new hashes, at most `parallel` computations at once and at most `waiting` more
    /// in line. Computes one hash (tens of milliseconds), for unknown users.
    ///
    /// # Errors
    /// [`PasswordError::Failed`] when argon2 refuses the parameters or there is no memory.
    pub fn new(cost: PasswordCost, parallel: usize, waiting: usize) -> Result<Self, PasswordError> {
        let params = Params::new(cost.memory_kib, cost.iterations, cost.parallelism, None)
            .map_err(|error| PasswordError::Failed(error.to_string()))?;
        let parallel = parallel.max(1);
        // The salt of the dummy is random, and nobody knows a password for it: verification compares
        // with a hash of a text that the bounds refuse.
        let dummy = hash(&params, b"")?;
        Ok(Self {
            shared: Arc::new(Shared {
                params,
                dummy,
                places: Arc::new(Semaphore::new(parallel.saturating_add(waiting))),
                cores: Arc::new(Semaphore::new(parallel)),
                verifications: AtomicU64::new(0),
            }),
        })
    }

    /// As [`Passwords::new`], with one computation for each core and 16 in line for each of them:
    /// under half a second of waiting at the default cost.
    ///
    /// # Errors
    /// As [`Passwords::new`].
    pub fn for_this_machine(cost: PasswordCost) -> Result<Self, PasswordError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::new(cost, cores, cores.saturating_mul(16))
    }

    /// Hashes a new password with a fresh salt.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`] when the queue is full.
    pub async fn hash(&self, password: &Password) -> Result<PasswordHash, PasswordError> {
        let password = password.clone();
        self.run(move |shared| hash(&shared.params, password.0.expose_secret().as_bytes())).await
    }

    /// Verifies `password` against `stored`; `None` (no such account, or one without a password) costs
    /// exactly the same one argon2 computation and is always [`Verdict::Wrong`].
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`] when the queue is full, [`PasswordError::BadHash`] when `stored`
    /// is damaged.
    pub async fn verify(&self, password: &Password, stored: Option<&PasswordHash>) -> Result<Verdict, PasswordError> {
        let password = password.clone();
        let stored = stored.cloned();
        self.run(move |shared| {
            let known = stored.is_some();
            let against = stored.as_ref().unwrap_or(&shared.dummy);
            let verdict = verify(shared, password.0.expose_secret().as_bytes(), against)?;
            Ok(if known { verdict } else { Verdict::Wrong })
        })
        .await
    }

    /// How many argon2 verifications have run, right and wrong, known user or not.
    #[must_use]
    pub fn verifications(&self) -> u64 {
        self.shared.verifications.load(Ordering::Relaxed)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = Arc::clone(&self.shared.places)
            .try_acquire_owned()
            .map_err(|_| PasswordError::Overloaded { retry_after: RETRY_AFTER })?;
        let core = Arc::clone(&self.shared.cores)
            .acquire_owned()
            .await
            .map_err(|_| PasswordError::Failed("shutting down".to_owned()))?;
        let shared = Arc::clone(&self.shared);
        // The permits travel with the work: a client that hangs up does not free its core early.
        let held: (OwnedSemaphorePermit, OwnedSemaphorePermit) = (place, core);
        tokio::task::spawn_blocking(move || {
            let outcome = work(&shared);
            drop(held);
            outcome
        })
        .await
        .map_err(|error| PasswordError::Failed(error.to_string()))?
    }
}

fn argon2(params: &Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
}

fn hash(params: &Params, password: &[u8]) -> Result<PasswordHash, PasswordError> {
    // The salt comes from the operating system inside hash_password.
    let hash = argon2(params).hash_password(password).map_err(|error| PasswordError::Failed(error.to_string()))?;
    Ok(PasswordHash::from_stored(hash.to_string()))
}

fn verify(shared: &Shared, password: &[u8], stored: &PasswordHash) -> Result<Verdict, PasswordError> {
    let parsed = phc::PasswordHash::new(stored.expose()).map_err(|_| PasswordError::BadHash)?;
    let params = Params::try_from(&parsed).map_err(|_| PasswordError::BadHash)?;
    if params.m_cost() > MAX_STORED_MEMORY_KIB || params.t_cost() > MAX_STORED_ITERATIONS {
        return Err(PasswordError::BadHash);
    }
    let rehash = parsed.algorithm.as_str() != "argon2id"
        || parsed.version != Some(Version::V0x13.into())
        || params.m_cost() != shared.params.m_cost()
        || params.t_cost() != shared.params.t_cost()
        || params.p_cost() != shared.params.p_cost();
    shared.verifications.fetch_add(1, Ordering::Relaxed);
    use argon2::PasswordVerifier as _;
    match argon2(&shared.params).verify_password(password, &parsed) {
        Ok(()) => Ok(Verdict::Right { rehash }),
        Err(password_hash::Error::PasswordInvalid) => Ok(Verdict::Wrong),
        Err(password_hash::Error::OutOfMemory) => Err(PasswordError::Failed("out of memory".to_owned())),
        Err(_) => Err(PasswordError::BadHash),
    }
}

#[cfg(test)]
mod tests;
