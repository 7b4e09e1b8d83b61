//! The public suites that every store passes, on the tables of several adapters.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;

use common::Application;
use common::with_users::WithUsers;
use hallpass_conformance::{CASES, HISTORIES, SHARED_CASES, bounded, property_test};
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

/// The cases that take longest: on a server each of their thousands of commits waits for a disk. They run on SQLite above, by the same statements, and on the servers as part of the
/// long runs.
const LONG: [&str; 4] = ["storms::", "resurrection::", "visibility::", "revoke::two_thousand"];

/// Every case, or all but the longest, one after the other.
async fn cases(layout: &'static str, with_long: bool) {
    let chosen = |name: &str| with_long || !LONG.iter().any(|long| name.starts_with(long));
    let alone = CASES.iter().filter(|case| chosen(case.name));
    for case in alone {
        let store = handles(layout, false, 1).await.pop().unwrap();
        bounded(case.name, (case.run)(store)).await;
    }
    for case in SHARED_CASES.iter().filter(|case| chosen(case.name)) {
        bounded(case.name, (case.run)(handles(layout, false, case.handles).await)).await;
    }
}

/// Digests, moments with a time zone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn kysely_on_postgres() {
    cases("kysely.postgres", false).await;
}

/// Digests, moments without a time zone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn prisma_on_mysql() {
    cases("prisma.mysql", false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "minutes: part of ./test soak"]
async fn every_case_on_the_servers() {
    for layout in ["kysely.postgres", "prisma.mysql"] {
        cases(layout, true).await;
    }
}

#[test]
#[ignore = "minutes: part of ./test soak"]
fn histories_on_the_servers() {
    property_test(async || handles("kysely.postgres", false, 1).await.pop().unwrap(), HISTORIES);
    property_test(async || handles("prisma.mysql", false, 1).await.pop().unwrap(), HISTORIES);
}
