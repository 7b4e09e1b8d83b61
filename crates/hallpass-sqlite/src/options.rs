//! Settings of a store.

use std::time::Duration;

/// How to use the database file. The defaults suit a server; a command-line tool may want fewer readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteOptions {
    /// How long a write waits for another process's transaction, and for a place in the queue. Default 5 seconds, at most
    /// one hour.
    pub busy_timeout: Duration,
    /// Connections for checks. Default (`None`): one for each core, at least 2 and at most 64.
    pub readers: Option<usize>,
    /// Page cache of the connections for checks, all together, in KiB; each gets an equal share, at least 2048. Default 131072; it is taken only as
    /// the database needs it. A session takes about 410 bytes of the file, and each connection caches for itself.
    pub cache_kib: u32,
    /// How much of the file the readers map into memory, in bytes, instead of copying pages into their caches. Faster where the file is larger
    /// than a cache or written often, but an I/O error of the disk then ends the process (SIGBUS) instead of answering an error.
    /// Default 0: no mapping.
    pub mmap_bytes: u64,
    /// Writes that may wait at once; more wait up to `busy_timeout` for a place and are then refused as unavailable. Default
    /// 1024.
    pub queue: usize,
    /// The file never grows beyond this many pages of 4 KiB; a write that needs more fails as on a full disk. Default: no bound.
    pub max_pages: Option<u32>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            busy_timeout: Duration::from_secs(5),
            readers: None,
            cache_kib: 131_072,
            mmap_bytes: 0,
            queue: 1024,
            max_pages: None,
        }
    }
}

impl SqliteOptions {
    pub(crate) fn busy_timeout(&self) -> Duration {
        self.busy_timeout.min(Duration::from_secs(3600))
    }

    pub(crate) fn readers(&self) -> usize {
        let wanted = self.readers.unwrap_or_else(|| std::thread::available_parallelism().map_or(4, usize::from));
        wanted.clamp(2, 64)
    }

    /// The share of one connection for checks.
    pub(crate) fn reader_cache_kib(&self) -> u32 {
        let readers = u32::try_from(self.readers()).unwrap_or(1);
        (self.cache_kib / readers).max(2048)
    }

    pub(crate) fn queue(&self) -> usize {
        self.queue.clamp(1, 65_536)
    }
}
