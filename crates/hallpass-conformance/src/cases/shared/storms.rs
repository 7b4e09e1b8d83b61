//! Sixteen that revoke against sixteen that write, over several handles.

use std::sync::Arc;

use hallpass_core::Store;

use crate::cases::storms::{storms_from, sweeping_storms_from};

/// How many storms the suite itself drives, of each kind. They are others than those on one handle.
const STORMS: std::ops::Range<u64> = 100..116;

/// As `storms::g5_sixteen_revokers_against_sixteen_writers`, each call through any of the handles.
pub async fn g5_sixteen_revokers_against_sixteen_writers(handles: Vec<Arc<dyn Store>>) {
    storms_from(handles, STORMS).await;
}

/// As `storms::g5_sixteen_revokers_and_a_sweep_that_keeps_nothing`, each call through any of the handles.
pub async fn g5_sixteen_revokers_and_a_sweep_that_keeps_nothing(handles: Vec<Arc<dyn Store>>) {
    sweeping_storms_from(handles, STORMS).await;
}
