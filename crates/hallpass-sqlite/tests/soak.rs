//! What takes long: `./test soak`.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

use std::sync::Arc;

use hallpass_core::Store;
use hallpass_sqlite::SqliteStore;

async fn fresh_store() -> Arc<dyn Store> {
    Arc::new(SqliteStore::in_memory().await.unwrap())
}

/// The property that the conformance suite checks on 200 histories, on others and on many more.
#[ignore = "takes minutes: ./test soak"]
#[test]
fn ten_thousand_random_histories_agree_with_the_model() {
    hallpass_conformance::property_test_from(fresh_store, 10_000, 1_000_003);
}
