//! Connections for reading.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use hallpass_core::store::Record;
use hallpass_core::{SessionId, StoreError};
use rusqlite::{Connection, OptionalExtension as _};

use crate::anchor::ReadMark;
use crate::database::Database;
use crate::row;
use crate::statements::{FIND, FIND_BY_ID};

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

    /// One session: a read of microseconds, on the calling thread.
    ///
    /// A read transaction of its own begins here, so it sees every commit of every process that was acknowledged before (G1). It ends with
    /// the statement.
    pub(crate) fn find(&self, id: SessionId) -> rusqlite::Result<Option<Record>> {
        self.reads.set();
        let connection = own_or_free(&self.short);
        let mut find = connection.prepare_cached(FIND)?;
        let mut rows = find.query([row::key(id)])?;
        if let Some(row) = rows.next()?
            && row.get_ref(0)?.as_blob()? == id.as_bytes()
        {
            return row::live(row, id).map(Some);
        }
        // Unknown, ended, perhaps behind a mark, or another id has its key. A later snapshot is as good: it sees what the first one saw and
        // more.
        drop(rows);
        connection.prepare_cached(FIND_BY_ID)?.query_row([id.as_bytes().as_slice()], row::record).optional()
    }

    /// Whether anything is read.
    pub(crate) fn reads(&self) -> ReadMark {
        self.reads.clone()
    }

    /// A read that may take long; not for the threads of an async runtime.
    pub(crate) fn long<T>(&self, read: impl FnOnce(&Connection) -> T) -> T {
        read(&own_or_free(&self.long))
    }
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
