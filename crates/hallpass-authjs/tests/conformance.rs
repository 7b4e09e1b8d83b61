//! The public suites that every store passes, on the tables of several adapters.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;

use common::Application;
use common::with_users::WithUsers;
use hallpass_core::Store;

/// Handles on one new database with the tables of a layout, `plain` where the table holds tokens.
async fn handles(layout: &str, plain: bool, n: usize) -> Vec<Arc<dyn Store>> {
    // Users whose ids differ in case or blanks alone are one to most collations, and no two of them can be there.
    let exact = |text: String| {
        text.replace("utf8mb4_unicode_ci", "utf8mb4_nopad_bin")
            .replace("utf8mb4_general_ci", "utf8mb4_nopad_bin")
            .replace("VARCHAR(191)", "VARCHAR(255)")
            .replace("uuid PRIMARY KEY DEFAULT gen_random_uuid()", "text PRIMARY KEY DEFAULT gen_random_uuid()")
            .replace("\"userId\" uuid", "\"userId\" text")
            .replace("\"email\" text NOT NULL", "\"email\" text")
    };
    let application = Arc::new(Application::with_changed(layout, exact).await);
    let users = Arc::default();
    let mut handles: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..n {
        let store = application.store(common::options(!plain)).await;
        let (application, users) = (Arc::clone(&application), Arc::clone(&users));
        handles.push(Arc::new(WithUsers { store, application, users, plain }));
    }
    handles
}

/// Tokens as they are, moments as milliseconds.
mod drizzle_on_sqlite {
    use super::*;

    async fn fresh_store() -> Arc<dyn Store> {
        handles("drizzle.sqlite", true, 1).await.pop().unwrap()
    }

    async fn fresh_handles(n: usize) -> Vec<Arc<dyn Store>> {
        handles("drizzle.sqlite", true, n).await
    }

    hallpass_conformance::store_tests!(fresh_store);
    hallpass_conformance::shared_store_tests!(fresh_handles);
}

/// Digests, moments with a time zone. One handle here and several on the other server: the statements of both are the same, and each commit waits for a disk.
mod kysely_on_postgres {
    use super::*;

    async fn fresh_store() -> Arc<dyn Store> {
        handles("kysely.postgres", false, 1).await.pop().unwrap()
    }

    hallpass_conformance::store_tests!(fresh_store);
}

/// Digests, moments without a time zone.
mod prisma_on_mysql {
    use super::*;

    async fn fresh_handles(n: usize) -> Vec<Arc<dyn Store>> {
        handles("prisma.mysql", false, n).await
    }

    hallpass_conformance::shared_store_tests!(fresh_handles);
}
