//! The public suite that every store passes.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use hallpass_core::Store;
use hallpass_sqlite::{SqliteOptions, SqliteStore};

/// The suite hands stores on, so no test can remove its file: all lie in one directory of the build, which the next run empties.
static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance");
    // Nothing is there at the first run.
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir_all(&root).unwrap();
    root
});

fn fresh_path() -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    ROOT.join(format!("{}.db", COUNT.fetch_add(1, Ordering::Relaxed)))
}

async fn open(path: PathBuf) -> Arc<dyn Store> {
    let options = SqliteOptions { readers: Some(2), ..SqliteOptions::default() };
    Arc::new(SqliteStore::open(path, options).await.unwrap())
}

async fn fresh_store() -> Arc<dyn Store> {
    open(fresh_path()).await
}

/// Stores on one file, as so many processes on one machine would open it.
async fn fresh_handles(n: usize) -> Vec<Arc<dyn Store>> {
    let path = fresh_path();
    let mut handles = Vec::new();
    for _ in 0..n {
        handles.push(open(path.clone()).await);
    }
    handles
}

hallpass_conformance::store_tests!(fresh_store);
hallpass_conformance::shared_store_tests!(fresh_handles);

mod in_memory {
    use super::*;

    async fn fresh_store() -> Arc<dyn Store> {
        Arc::new(SqliteStore::in_memory().await.unwrap())
    }

    hallpass_conformance::store_tests!(fresh_store);
}
