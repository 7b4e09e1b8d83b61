//! Histories under faults: several nodes on one database, under load, with revocations, while something goes wrong; and a checker that looks through all that was
//! asked and answered (docs/GUARANTEES.md: G1, G3 to G6, G8). `scripts/services run -- cargo test -p hallpass-server --test histories -- --nocapture` prints a line for
//! each; `./test soak` goes on for longer.
//!
//! The nodes are processes of the program, but for jumps of the clock: a process has the machine's clock, so there the nodes are sessions of this process, each with a store and
//! a clock of its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed helper fails its test")]

mod book;
mod checker;
mod clock;
mod cluster;
mod faults;
mod history;
mod load;
mod node;
mod planted;
mod proxy;
mod random;
mod runs;
#[path = "../support/mod.rs"]
mod support;

use runs::{Setting, clocks, cut_off, failover, frozen, hints_dropped, planted_violation, server_killed, store_killed};
use support::databases::engine::Engine;

/// The tests of one engine, always with the same seed.
macro_rules! on {
    ($($engine:ident: $(fn $name:ident = $run:ident),*;)*) => {$(
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                $run(Setting::short(Engine::$engine)).await;
            }
        )*
    )*};
}

on! {
    Sqlite:
        fn g3_sqlite_a_frozen_node = frozen,
        fn g3_sqlite_a_killed_node = server_killed,
        fn g3_sqlite_clocks_that_jump = clocks;
    Postgres:
        fn g3_postgres_a_frozen_node = frozen,
        fn g3_postgres_a_node_that_is_cut_off = cut_off,
        fn g3_postgres_a_database_that_is_killed = store_killed,
        fn g3_postgres_a_failover = failover,
        fn g3_postgres_without_hints = hints_dropped,
        fn g3_postgres_a_killed_node = server_killed,
        fn g3_postgres_clocks_that_jump = clocks,
        fn the_checker_catches_servers_whose_lease_is_longer_than_promised = planted_violation;
    Mariadb:
        fn g3_mariadb_a_frozen_node = frozen,
        fn g3_mariadb_a_node_that_is_cut_off = cut_off,
        fn g3_mariadb_a_database_that_is_killed = store_killed;
    Redis:
        fn g3_redis_a_frozen_node = frozen,
        fn g3_redis_a_node_that_is_cut_off = cut_off,
        fn g3_redis_a_database_that_is_killed = store_killed;
}

/// More rounds of all that an engine has, with a seed that nobody has tried.
async fn more_of_all(engine: Engine) {
    let setting = || Setting::long(engine);
    frozen(setting()).await;
    server_killed(setting()).await;
    clocks(setting()).await;
    if engine != Engine::Sqlite {
        cut_off(setting()).await;
        store_killed(setting()).await;
    }
    if engine == Engine::Postgres {
        failover(setting()).await;
        hints_dropped(setting()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes minutes: ./test soak"]
async fn g3_more_of_all_on_sqlite() {
    more_of_all(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes minutes: ./test soak"]
async fn g3_more_of_all_on_postgres() {
    more_of_all(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes minutes: ./test soak"]
async fn g3_more_of_all_on_mariadb() {
    more_of_all(Engine::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "takes minutes: ./test soak"]
async fn g3_more_of_all_on_redis() {
    more_of_all(Engine::Redis).await;
}
