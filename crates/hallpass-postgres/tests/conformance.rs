//! The public suite that every store passes, on a server, and through what stands before one.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;

use hallpass_core::Store;
use hallpass_postgres::{PostgresOptions, PostgresStore};

async fn fresh_store() -> Arc<dyn Store> {
    Arc::new(common::connect(&common::fresh_url()).await)
}

async fn fresh_handles(n: usize) -> Vec<Arc<dyn Store>> {
    let url = common::fresh_url();
    let mut handles: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..n {
        handles.push(Arc::new(common::connect(&url).await));
    }
    handles
}

hallpass_conformance::store_tests!(fresh_store);
hallpass_conformance::shared_store_tests!(fresh_handles);

/// As if a pooler stood between: nothing is prepared, nothing is set beyond a transaction.
mod as_through_a_pooler {
    use super::*;

    async fn fresh_store() -> Arc<dyn Store> {
        let options = PostgresOptions { pooler: true, ..common::small() };
        Arc::new(PostgresStore::connect(&common::fresh_url(), options).await.unwrap())
    }

    hallpass_conformance::store_tests!(fresh_store);
}
