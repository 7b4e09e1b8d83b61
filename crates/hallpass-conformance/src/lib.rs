//! What a hallpass store must pass: every verb, every refusal, every interleaving with a revocation.
//!
//! # How to run it on your own store
//!
//! In your crate, add `hallpass-conformance` and `tokio` (features `macros` and `rt-multi-thread`) to the
//! `dev-dependencies`, and write one file under `tests/`:
//!
//! ```
//! use std::sync::Arc;
//!
//! use hallpass_conformance::MemoryStore;
//! use hallpass_core::Store;
//!
//! /// A fresh, empty, migrated store. Each call makes another one.
//! async fn fresh_store() -> Arc<dyn Store> {
//!     let store = MemoryStore::new(); // your store here
//!     store.migrate().await.expect("the schema can be made");
//!     Arc::new(store)
//! }
//!
//! hallpass_conformance::store_tests!(fresh_store);
//! # fn main() {}
//! ```
//!
//! [`store_tests!`] makes one test of each case in [`CASES`], named `conformance::<verb>::<case>`, one that compares two fresh
//! stores, and `conformance::property::histories`, which drives the store and [`MemoryStore`] through the same random histories. The
//! functions in [`cases`] can be called by hand; each wants a fresh store. A violation is a panic that says what was expected.
//!
//! Nothing here sleeps, reads a clock or needs a network: times are arguments of the verbs. Cases that run tasks at once want
//! the multi-threaded runtime to be of use.
//!
//! # Several handles on one database
//!
//! A database that several processes use has to keep its promises between them. [`shared_store_tests!`] wants several stores on one
//! fresh database, each opened as another process would open it: with connections, writers, caches and locks of its own, and nothing
//! in common in memory. Use it beside [`store_tests!`], in the same file or another one:
//!
//! ```
//! use std::sync::Arc;
//!
//! use hallpass_conformance::MemoryStore;
//! use hallpass_core::Store;
//!
//! /// So many handles on one fresh, empty, migrated database. Each call makes another database.
//! async fn fresh_handles(n: usize) -> Vec<Arc<dyn Store>> {
//!     let store: Arc<dyn Store> = Arc::new(MemoryStore::new()); // a database of its own: a file, a schema, a key prefix
//!     vec![store; n] // your store here, opened n times on that database
//! }
//!
//! hallpass_conformance::shared_store_tests!(fresh_handles);
//! # fn main() {}
//! ```
//!
//! It makes one test of each case in [`SHARED_CASES`], named `shared_conformance::<subject>::<case>`, and
//! `shared_conformance::property::histories`, which drives random histories whose every verb goes to any of two handles. The
//! functions in [`cases::shared`] can be called by hand, with any number of handles. For longer searches there is [`storms_from`].
//!
//! # What it does not show
//!
//! That a commit survives a loss of power or of a process, and how fast a store is. Test these in the store's own crate.
//!
//! # Where the contract left a choice
//!
//! The suite settles these, so that every store answers alike:
//!
//! - Ending a session for a limit is written as `Actor::system("max_per_user")` with `EndReason::Limit`, and logged as one
//!   `Ended` for each, oldest first.
//! - A row behind several marks shows the first of them: what ended first keeps its reason, settled or not.
//! - A revocation ends what has not ended, past its deadline or not, and counts what is live. Where all have ended it is a no-op: `Some(0)`,
//!   position 0, no entry.
//!   `Target::Everyone` cannot count and always takes a position.
//! - `Target::Others` is logged as one `User` entry; a mark also ends rows that had passed a deadline unnoticed.
//! - A label is not logged; a rotation and a change of attributes are, as `Changed`. These stand in the order of the commits, too: none of a
//!   session follows the entry of the revocation that ended it.
//! - An answer that says a session lives (`NotDue`, `Conflict`, a kept session of `Target::Others`) is a sighting like any other: it is wrong
//!   when it was asked for after a revocation of that session was acknowledged.
//! - A rotation without re-authentication changes the hash alone.
//! - An ended session leaves by `ended_before` alone, whatever its deadlines. Whether a row that expired behind a mark leaves as
//!   expired or as ended is open until it is settled, which the sweeper does first.
//! - The log is swept from its beginning, so that it has no gaps even when the writers' clocks disagree.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this is test code: a violation is reported by a panic"
)]

mod any_handle;
pub mod builders;
pub mod cases;
mod history;
mod memory;
mod property;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hallpass_core::Store;

pub use cases::storms::{storms_from, sweeping_storms_from};
pub use memory::MemoryStore;
#[doc(hidden)]
pub use memory::Tables;
pub use property::{
    HISTORIES, SHARED_HISTORIES, property_test, property_test_from, shared_property_test, shared_property_test_from,
};
#[doc(hidden)]
pub use property::{differs, shared_differs};

/// A case under way.
pub type CaseFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A case of the suite with its name, for tables and for the tests of the suite itself.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The verb and the case, for example `create::a05_a_duplicate_id_is_refused`.
    pub name: &'static str,
    /// Runs it on a fresh store; panics on a violation.
    pub run: fn(Arc<dyn Store>) -> CaseFuture,
}

/// A case that wants several handles on one fresh database.
#[derive(Debug, Clone, Copy)]
pub struct SharedCase {
    /// The subject and the case, for example `sweep::a64_three_sweepers_count_each_row_once`.
    pub name: &'static str,
    /// How many handles [`shared_store_tests!`] gives it.
    pub handles: usize,
    /// Runs it on the handles; panics on a violation.
    pub run: fn(Vec<Arc<dyn Store>>) -> CaseFuture,
}

/// How long one case may take before it counts as hung.
const CASE_LIMIT: Duration = Duration::from_secs(300);

/// Awaits a case, and fails it when it hangs.
///
/// # Panics
/// When the case panics, or takes longer than five minutes.
pub async fn bounded(name: &str, case: impl Future<Output = ()>) {
    assert!(tokio::time::timeout(CASE_LIMIT, case).await.is_ok(), "{name} did not end within {CASE_LIMIT:?}");
}

/// Makes a test of every case, and the property test, from an `async fn() -> Arc<dyn Store>` that makes a fresh, empty,
/// migrated store.
///
/// The tests are in a module `conformance`; use the macro once in a module. See the [crate](crate) for an example.
#[macro_export]
macro_rules! store_tests {
    ($fresh_store:ident) => {
        $crate::__cases! { __store_tests $fresh_store }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __store_tests {
    ([$fresh_store:ident] $($verb:ident { $($case:ident),* $(,)? })*) => {
        mod conformance {
            $(
                mod $verb {
                    use super::super::$fresh_store as fresh_store;
                    $(
                        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                        async fn $case() {
                            let store = fresh_store().await;
                            $crate::bounded(stringify!($case), $crate::cases::$verb::$case(store)).await;
                        }
                    )*
                }
            )*
            mod two_stores {
                use super::super::$fresh_store as fresh_store;

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn have_two_incarnations() {
                    $crate::cases::two_stores_have_two_incarnations(fresh_store().await, fresh_store().await).await;
                }
            }
            mod property {
                use super::super::$fresh_store as fresh_store;

                #[test]
                fn histories() {
                    $crate::property_test(fresh_store, $crate::HISTORIES);
                }
            }
        }
    };
}

/// Makes a test of every case for several handles on one database, and the property test across two of them, from an
/// `async fn(n: usize) -> Vec<Arc<dyn Store>>` that makes one fresh, empty, migrated database and opens it `n` times.
///
/// The tests are in a module `shared_conformance`; use the macro once in a module. It does not replace [`store_tests!`]. See the
/// [crate](crate#several-handles-on-one-database) for an example.
#[macro_export]
macro_rules! shared_store_tests {
    ($fresh_handles:ident) => {
        $crate::__shared_cases! { __shared_store_tests $fresh_handles }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __shared_store_tests {
    ([$fresh_handles:ident] $($subject:ident $handles:literal { $($case:ident),* $(,)? })*) => {
        mod shared_conformance {
            $(
                mod $subject {
                    use super::super::$fresh_handles as fresh_handles;
                    $(
                        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                        async fn $case() {
                            let handles = fresh_handles($handles).await;
                            $crate::bounded(stringify!($case), $crate::cases::shared::$subject::$case(handles)).await;
                        }
                    )*
                }
            )*
            mod property {
                use super::super::$fresh_handles as fresh_handles;

                #[test]
                fn histories() {
                    $crate::shared_property_test(fresh_handles, $crate::SHARED_HISTORIES);
                }
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __shared_case_table {
    ([] $($subject:ident $handles:literal { $($case:ident),* $(,)? })*) => {
        /// Every case for several handles on one database.
        pub const SHARED_CASES: &[SharedCase] = &[$($(
            SharedCase {
                name: concat!(stringify!($subject), "::", stringify!($case)),
                handles: $handles,
                run: |handles| Box::pin(cases::shared::$subject::$case(handles)),
            },
        )*)*];
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __case_table {
    ([] $($verb:ident { $($case:ident),* $(,)? })*) => {
        /// Every case of the suite.
        pub const CASES: &[Case] = &[$($(
            Case {
                name: concat!(stringify!($verb), "::", stringify!($case)),
                run: |store| Box::pin(cases::$verb::$case(store)),
            },
        )*)*];
    };
}

__cases! { __case_table }
__shared_cases! { __shared_case_table }
