//! What takes long: `./test soak`.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;

use hallpass_core::Store;

async fn fresh_store() -> Arc<dyn Store> {
    Arc::new(common::connect(&common::fresh_url()).await)
}

/// The property that the conformance suite checks on 200 histories, on others and on more.
#[ignore = "takes minutes: ./test soak"]
#[test]
fn two_thousand_random_histories_agree_with_the_model() {
    hallpass_conformance::property_test_from(fresh_store, 2_000, 1_000_003);
}

/// The storms of the suite, with other seeds and more of them, over two handles. A database for a few: the end of everybody's sessions is written by looking
/// at each row that is kept, so that those of earlier storms would cost more and more.
#[ignore = "takes minutes: ./test soak"]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_storms_over_two_handles() {
    for first in (10_000..10_200).step_by(20) {
        let url = common::fresh_url();
        let handles: Vec<Arc<dyn Store>> =
            vec![Arc::new(common::connect(&url).await), Arc::new(common::connect(&url).await)];
        hallpass_conformance::storms_from(handles, first..first + 20).await;
    }
}
