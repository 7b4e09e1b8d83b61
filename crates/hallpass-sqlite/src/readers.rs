//! Connections for reading.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use hallpass_core::StoreError;
use rusqlite::Connection;

use crate::anchor::ReadMark;
use crate::database::Database;

/// Long reads at once; they run on blocking threads.
const LONG_READERS: usize = 2;
/// They read much once, so a cache helps them little.
const LONG_CACHE_KIB: u32 = 2048;

/// A connection for each thread, as far as there are cores, and a few for long reads, so that a long list makes no check wait.
///
/// Around one shared connection a lock would halve the throughput; here each thread nearly always finds its own one free.
#[derive(Debug)]
pub(crate) struct Readers {
    short: Box<[Mutex<Connection>]>,
    /// Tells the anchor that its lock is of use.
    reads: ReadMark,
    long: Box<[Mutex<Connection>]>,
}

impl Readers {
    pub(crate) fn open(database: &Database, count: usize, cache_kib: u32) -> Result<Self, StoreError> {
        let open = |count, cache_kib| {
            (0..count).map(|_| database.open_reader(cache_kib).map(Mutex::new)).collect::<Result<_, _>>()
        };
        let reads = ReadMark::default();
        Ok(Self { short: open(count, cache_kib)?, reads, long: open(LONG_READERS, LONG_CACHE_KIB)? })
    }

    /// A read of microseconds, on the calling thread.
    pub(crate) fn short<T>(&self, read: impl FnOnce(&Connection) -> T) -> T {
        self.reads.set();
        with_one(&self.short, read)
    }

    /// Whether anything is read.
    pub(crate) fn reads(&self) -> ReadMark {
        self.reads.clone()
    }

    /// A read that may take long; not for the threads of an async runtime.
    pub(crate) fn long<T>(&self, read: impl FnOnce(&Connection) -> T) -> T {
        with_one(&self.long, read)
    }
}

fn with_one<T>(connections: &[Mutex<Connection>], read: impl FnOnce(&Connection) -> T) -> T {
    read(&own_or_free(connections))
}

fn own_or_free(connections: &[Mutex<Connection>]) -> MutexGuard<'_, Connection> {
    let own = slot() % connections.len();
    for connection in connections[own..].iter().chain(&connections[..own]) {
        match connection.try_lock() {
            Ok(guard) => return guard,
            // A read that panicked left nothing behind: statements are reset when dropped.
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {}
        }
    }
    connections[own].lock().unwrap_or_else(PoisonError::into_inner)
}

fn slot() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SLOT: usize = THREADS.fetch_add(1, Ordering::Relaxed);
    }
    SLOT.with(|slot| *slot)
}
