//! The public suite that every store passes.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use hallpass_core::Store;
use hallpass_sqlite::{SqliteOptions, SqliteStore};

/// Directories of the stores; removed with the process.
static DIRECTORIES: Mutex<Vec<tempfile::TempDir>> = Mutex::new(Vec::new());

fn fresh_path() -> PathBuf {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hallpass.db");
    DIRECTORIES.lock().unwrap().push(directory);
    path
}

async fn fresh_store() -> Arc<dyn Store> {
    let options = SqliteOptions { readers: Some(2), ..SqliteOptions::default() };
    Arc::new(SqliteStore::open(fresh_path(), options).await.unwrap())
}

hallpass_conformance::store_tests!(fresh_store);

mod in_memory {
    use super::*;

    async fn fresh_store() -> Arc<dyn Store> {
        Arc::new(SqliteStore::in_memory().await.unwrap())
    }

    hallpass_conformance::store_tests!(fresh_store);
}
