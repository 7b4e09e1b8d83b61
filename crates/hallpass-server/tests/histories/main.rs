//! Histories under faults: several nodes on one database, under load, with revocations, while something goes wrong; and a checker that looks through all that was
//! asked and answered (docs/GUARANTEES.md: G1, G3 to G6, G8). `scripts/services run -- cargo test -p hallpass-server --test histories -- --nocapture` prints a line for
//! each; `./test soak` goes on for longer.
//!
//! The nodes are processes of the program. Only where uptimes miss time are they sessions of this process, each with a store and a clock of its own: nobody can take time from the
//! uptime of a process that runs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed helper fails its test")]

mod book;
mod checker;
mod clock;
mod cluster;
mod faults;
mod history;
mod load;
mod node;
mod operator;
mod planted;
mod process_clock;
mod proxy;
mod random;
mod restored;
mod runs;
#[path = "../support/mod.rs"]
mod support;
mod takeover;
mod went_back;

use restored::restored;
use runs::{
    Setting, clocks, cut_off, frozen, hints_dropped, planted_violation, process_clocks, server_killed, store_killed,
};
use support::databases::engine::Engine;
use takeover::{cluster_failover, failover, replica_with_all, replica_without_the_last};

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
        fn g3_sqlite_clocks_that_jump = clocks,
        fn r5_sqlite_a_database_that_went_back = restored;
    Postgres:
        fn g3_postgres_a_frozen_node = frozen,
        fn g3_postgres_a_node_that_is_cut_off = cut_off,
        fn g3_postgres_a_database_that_is_killed = store_killed,
        fn g3_postgres_a_failover = failover,
        fn g3_postgres_without_hints = hints_dropped,
        fn g3_postgres_a_killed_node = server_killed,
        fn g3_postgres_clocks_that_jump = clocks,
        fn g3_postgres_clocks_of_processes_that_jump = process_clocks,
        fn r5_postgres_a_database_that_went_back = restored,
        fn the_checker_catches_servers_whose_lease_is_longer_than_promised = planted_violation;
    Mariadb:
        fn g3_mariadb_a_frozen_node = frozen,
        fn g3_mariadb_a_node_that_is_cut_off = cut_off,
        fn g3_mariadb_a_database_that_is_killed = store_killed;
    Redis:
        fn g3_redis_a_frozen_node = frozen,
        fn g3_redis_a_node_that_is_cut_off = cut_off,
        fn g3_redis_a_database_that_is_killed = store_killed,
        fn g3_redis_without_hints = hints_dropped,
        fn r8_redis_a_replica_with_all_takes_over = replica_with_all,
        fn r8_redis_a_replica_without_the_last_takes_over = replica_without_the_last;
    RedisCluster:
        fn r8_redis_cluster_a_replica_takes_over = cluster_failover;
}

/// More rounds of all that an engine has, with a seed that nobody has tried.
async fn more_of_all(engine: Engine) {
    let setting = || Setting::long(engine);
    frozen(setting()).await;
    server_killed(setting()).await;
    clocks(setting()).await;
    process_clocks(setting()).await;
    restored(setting()).await;
    if engine != Engine::Sqlite {
        cut_off(setting()).await;
        store_killed(setting()).await;
    }
    if matches!(engine, Engine::Postgres | Engine::Redis) {
        hints_dropped(setting()).await;
    }
    match engine {
        Engine::Postgres => failover(setting()).await,
        Engine::Redis => {
            replica_with_all(setting()).await;
            replica_without_the_last(setting()).await;
            cluster_failover(setting()).await;
        }
        _ => {}
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
