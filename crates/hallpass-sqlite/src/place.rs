//! Whether the file at the database's path is still the one that is open.
//!
//! A file that was moved, deleted or replaced (by a restored backup, say) stays readable and writable through the open connections: the program
//! would go on with sessions that nobody else sees any more, accept those that were revoked in the new file, and write new ones
//! into nothing. So it stops instead (G8).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What to say then.
pub(crate) const ELSEWHERE: &str = "its file was moved, deleted or replaced while the program has it open; restart the program, and stop it before you restore a backup";

/// The path, and which file was there. Clones share what was found last.
#[derive(Debug, Clone)]
pub(crate) struct Place(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    identity: (u64, u64),
    elsewhere: AtomicBool,
}

impl Place {
    /// The file that is at `path` now. Without a path, or where files have no identity, nothing is ever found wrong.
    pub(crate) fn of(path: Option<&Path>) -> Self {
        let inner = path.and_then(|path| {
            // The working directory may change.
            let path = std::path::absolute(path).ok()?;
            let identity = identity(&path)?;
            Some(Arc::new(Inner { path, identity, elsewhere: AtomicBool::new(false) }))
        });
        Self(inner)
    }

    /// Looks at the path: one call of `stat`. Whether the file is in its place.
    pub(crate) fn look(&self) -> bool {
        let Some(inner) = &self.0 else { return true };
        let in_place = identity(&inner.path) == Some(inner.identity);
        inner.elsewhere.store(!in_place, Ordering::Relaxed);
        in_place
    }

    /// Whether the file was in its place at the last look, at most a second ago.
    pub(crate) fn was_in_place(&self) -> bool {
        self.0.as_ref().is_none_or(|inner| !inner.elsewhere.load(Ordering::Relaxed))
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Path) -> Option<(u64, u64)> {
    None
}
