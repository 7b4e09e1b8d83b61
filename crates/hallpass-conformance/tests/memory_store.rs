//! The model passes its own suite.

use std::sync::Arc;

use hallpass_conformance::MemoryStore;
use hallpass_core::Store;

async fn fresh_store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

hallpass_conformance::store_tests!(fresh_store);

async fn fresh_handles(n: usize) -> Vec<Arc<dyn Store>> {
    vec![fresh_store().await; n]
}

hallpass_conformance::shared_store_tests!(fresh_handles);
