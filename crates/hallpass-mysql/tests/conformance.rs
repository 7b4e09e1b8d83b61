//! The public suites that every store passes.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;

use hallpass_core::Store;
use hallpass_mysql::MysqlStore;

async fn fresh_store() -> Arc<dyn Store> {
    Arc::new(common::store().await.1)
}

async fn fresh_handles(n: usize) -> Vec<Arc<dyn Store>> {
    let url = common::fresh_database().await;
    let mut handles: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..n {
        handles.push(Arc::new(MysqlStore::connect(&url, common::small()).await.unwrap()));
    }
    handles
}

hallpass_conformance::store_tests!(fresh_store);
hallpass_conformance::shared_store_tests!(fresh_handles);
