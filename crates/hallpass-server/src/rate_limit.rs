//! Failed sign-ins are limited for each address and for each account (ASVS 5.0 6.3.1, threat A19).
//!
//! An attempt takes one unit from each bucket *before* the password is looked at, so that a thousand
//! parallel guesses cannot all pass; a right password gives the units back. IPv6 addresses count by
//! their /64 (threat A36: one household or one rented machine owns a whole /64).
//!
//! An account is limited tightly for each address that tries it and loosely over all of them: one attacker with one
//! address slows himself down and not the owner. Somebody with many addresses can still keep an account's owner
//! waiting; the loose limit is what stands between him and guessing.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How many attempts, and how fast they come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Attempts that may be made at once.
    pub burst: u32,
    /// Time in which one attempt comes back.
    pub refill: Duration,
}

/// Token buckets by key, bounded in number.
///
/// A bucket is one number: the time at which it will be full again (the "theoretical arrival time" of
/// the generic cell rate algorithm). When the map is full the bucket that is full first makes room, so
/// a flood of new keys pushes out the innocent and the long forgotten, never the one being limited.
/// 24 bytes and a tree entry each; all operations are O(log n).
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    capacity: usize,
    full_at: HashMap<K, i64>,
    by_time: BTreeSet<(i64, K)>,
}

impl<K: Copy + Ord + Hash> Buckets<K> {
    /// Empty; holds at most `capacity` buckets (at least one).
    #[must_use]
    pub fn new(rate: Rate, capacity: usize) -> Self {
        Self { rate, capacity: capacity.max(1), full_at: HashMap::new(), by_time: BTreeSet::new() }
    }

    fn refill_ms(&self) -> i64 {
        i64::try_from(self.rate.refill.as_millis()).unwrap_or(i64::MAX / 1_000_000).max(1)
    }

    fn span_ms(&self) -> i64 {
        self.refill_ms().saturating_mul(i64::from(self.rate.burst))
    }

    /// When the bucket of `key` is full, never further ahead than an empty one takes: a clock that
    /// was set back must not limit anybody for years.
    fn fill_time(&self, key: K, now_ms: i64) -> i64 {
        self.full_at.get(&key).map_or(now_ms, |full_at| (*full_at).clamp(now_ms, now_ms.saturating_add(self.span_ms())))
    }

    /// How long until `key` may try; `None`: now.
    #[must_use]
    pub fn wait(&self, key: K, now_ms: i64) -> Option<Duration> {
        let after = self.fill_time(key, now_ms).saturating_add(self.refill_ms());
        let excess = after.saturating_sub(now_ms).saturating_sub(self.span_ms());
        u64::try_from(excess).ok().filter(|ms| *ms > 0).map(Duration::from_millis)
    }

    /// Takes one unit, whether or not there is one; ask [`Buckets::wait`] first.
    pub fn take(&mut self, key: K, now_ms: i64) {
        let full_at = self.fill_time(key, now_ms).saturating_add(self.refill_ms());
        self.put(key, full_at, now_ms);
    }

    /// Gives one unit back.
    pub fn give_back(&mut self, key: K, now_ms: i64) {
        if self.full_at.contains_key(&key) {
            let full_at = self.fill_time(key, now_ms).saturating_sub(self.refill_ms());
            self.put(key, full_at, now_ms);
        }
    }

    fn put(&mut self, key: K, full_at: i64, now_ms: i64) {
        if let Some(old) = self.full_at.remove(&key) {
            self.by_time.remove(&(old, key));
        }
        if full_at <= now_ms {
            return;
        }
        while self.full_at.len() >= self.capacity {
            let Some((_, evicted)) = self.by_time.pop_first() else {
                break;
            };
            self.full_at.remove(&evicted);
        }
        self.full_at.insert(key, full_at);
        self.by_time.insert((full_at, key));
    }

    /// Buckets held, full ones that were not used since included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.full_at.len()
    }

    /// Whether no bucket is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.full_at.is_empty()
    }
}

/// An address for the purpose of limiting: the whole of an IPv4 address, the /64 of an IPv6 one.
/// IPv4 written as IPv6 (`::ffff:a.b.c.d`) is the IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum AddressKey {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for AddressKey {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            // The upper half of 128 bits is 64 bits: nothing is cut.
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// The limits of a sign-in form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignInRates {
    /// For one address.
    pub address: Rate,
    /// For one account from one address.
    pub pair: Rate,
    /// For one account from all addresses together.
    pub account: Rate,
    /// Most addresses, most accounts and most pairs that are remembered.
    pub capacity: usize,
}

impl SignInRates {
    /// Limits of your own; remembers at most `capacity` addresses, accounts and pairs.
    #[must_use]
    pub fn new(address: Rate, pair: Rate, account: Rate, capacity: usize) -> Self {
        Self { address, pair, account, capacity }
    }
}

impl Default for SignInRates {
    /// 30 failures at once and 6 a minute for an address (offices share one); for an account 10 at once and 2 a minute from one
    /// address, 50 at once and 10 a minute from all together: about 2,900 and 14,400 guesses a day.
    fn default() -> Self {
        Self {
            address: Rate { burst: 30, refill: Duration::from_secs(10) },
            pair: Rate { burst: 10, refill: Duration::from_secs(30) },
            account: Rate { burst: 50, refill: Duration::from_secs(6) },
            capacity: 65_536,
        }
    }
}

/// Which of the limits was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitedBy {
    /// The address.
    Address,
    /// The account from this address.
    Pair,
    /// The account from all addresses together.
    Account,
}

/// An attempt that may not be made now. Answer 429 with `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many failed sign-ins; try again in {} seconds", self.retry_after_secs())]
pub struct Limited {
    /// When to try again.
    pub retry_after: Duration,
    /// For the log; the client must not learn it (it would tell which accounts are under attack).
    pub by: LimitedBy,
}

impl Limited {
    /// Whole seconds, rounded up, at least one: the value of `Retry-After` (RFC 9110, section 10.2.3).
    #[must_use]
    pub fn retry_after_secs(&self) -> u64 {
        self.retry_after.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX).max(1)
    }
}

/// A paid attempt. Dropping it leaves it counted as a failure.
#[derive(Debug)]
#[must_use = "give it back with `SignInLimits::give_back` when the sign-in succeeded"]
pub struct Attempt {
    address: AddressKey,
    pair: u64,
    account: u64,
}

/// Failed sign-ins by address and by account. All state is in memory and in this process.
#[derive(Debug)]
pub struct SignInLimits {
    /// Makes accounts into fixed-size keys that nobody outside can aim at.
    hasher: RandomState,
    buckets: Mutex<AllBuckets>,
}

#[derive(Debug)]
struct AllBuckets {
    addresses: Buckets<AddressKey>,
    pairs: Buckets<u64>,
    accounts: Buckets<u64>,
}

impl SignInLimits {
    /// Nobody is limited yet.
    #[must_use]
    pub fn new(rates: SignInRates) -> Self {
        Self {
            hasher: RandomState::new(),
            buckets: Mutex::new(AllBuckets {
                addresses: Buckets::new(rates.address, rates.capacity),
                pairs: Buckets::new(rates.pair, rates.capacity),
                accounts: Buckets::new(rates.account, rates.capacity),
            }),
        }
    }

    /// Pays for one attempt by `address` on `account` (the normalised email, known or not).
    ///
    /// # Errors
    /// [`Limited`] when one of the buckets is empty; nothing is taken then.
    pub fn attempt(&self, address: IpAddr, account: &str, now_ms: i64) -> Result<Attempt, Limited> {
        let address = AddressKey::from(address);
        let pair = self.hasher.hash_one((address, account));
        let attempt = Attempt { address, pair, account: self.hasher.hash_one(account) };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = [
            (buckets.addresses.wait(attempt.address, now_ms), LimitedBy::Address),
            (buckets.pairs.wait(attempt.pair, now_ms), LimitedBy::Pair),
            (buckets.accounts.wait(attempt.account, now_ms), LimitedBy::Account),
        ];
        if let Some((retry_after, by)) = waits.into_iter().find_map(|(wait, by)| Some((wait?, by))) {
            return Err(Limited { retry_after, by });
        }
        buckets.addresses.take(attempt.address, now_ms);
        buckets.pairs.take(attempt.pair, now_ms);
        buckets.accounts.take(attempt.account, now_ms);
        Ok(attempt)
    }

    /// The attempt was no failure (right password, or the server could not answer).
    #[expect(clippy::needless_pass_by_value, reason = "an attempt is given back at most once")]
    pub fn give_back(&self, attempt: Attempt, now_ms: i64) {
        let Attempt { address, pair, account } = attempt;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.addresses.give_back(address, now_ms);
        buckets.pairs.give_back(pair, now_ms);
        buckets.accounts.give_back(account, now_ms);
    }

    /// Addresses and accounts remembered now.
    #[must_use]
    pub fn remembered(&self) -> (usize, usize) {
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        (buckets.addresses.len(), buckets.accounts.len())
    }
}

#[cfg(test)]
mod tests;
