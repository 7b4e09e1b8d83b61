//! The cache, the fences, the lease and the follower under thousands of schedules (revocation.md R12; R17 for the rules that are broken on purpose).
//!
//! The code is the product's own, on the primitives of shuttle. Each scenario runs under random schedules and under PCT ones, which find with known probability
//! what takes few changes of turns. A failure prints the schedule; `shuttle::replay` plays it again. `HALLPASS_SCHEDULES` multiplies how many are tried.
//!
//! For each rule there is a test that breaks it and must see a scenario fail: the tests of these tests.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what should not fail")]

#[path = "../support/mod.rs"]
mod support;

mod clients;
mod given;
mod rules;
mod scenarios;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, Runner};

/// Schedules of each kind for a scenario.
const SCHEDULES: usize = 1_500;
/// Changes of turns that PCT looks for.
const DEPTH: usize = 4;

#[expect(clippy::disallowed_methods, reason = "a test's own setting")]
fn schedules() -> usize {
    let factor = std::env::var("HALLPASS_SCHEDULES").ok().and_then(|text| text.parse().ok());
    SCHEDULES * factor.unwrap_or(1)
}

fn run(scheduler: impl Scheduler + 'static, on_failure: FailurePersistence, scenario: fn()) {
    let mut config = Config::new();
    config.stack_size = 256 << 10;
    config.silence_warnings = true;
    config.failure_persistence = on_failure;
    Runner::new(scheduler, config).run(scenario);
}

/// Runs a scenario under many schedules, the same ones each time.
fn explore(scenario: fn()) {
    run(RandomScheduler::new_from_seed(1, schedules()), FailurePersistence::Print, scenario);
    run(PctScheduler::new_from_seed(2, DEPTH, schedules()), FailurePersistence::Print, scenario);
}

/// Whether one of as many schedules fails.
fn fails(scenario: fn()) -> bool {
    let quietly = |run: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err();
    quietly(&|| run(RandomScheduler::new_from_seed(1, schedules()), FailurePersistence::None, scenario))
        || quietly(&|| run(PctScheduler::new_from_seed(2, DEPTH, schedules()), FailurePersistence::None, scenario))
}
