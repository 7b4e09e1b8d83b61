//! What every implementation of `Accounts` must do. An engine joins by one line at the end.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed helper fails its test")]

mod authjs;
mod contract;
#[path = "../databases/mod.rs"]
mod databases;
mod identities;

use contract::*;
use identities::*;

/// The tests of a list, on one engine.
macro_rules! engine {
    ($engine:ident, $given:expr, [$($test:ident),* $(,)?]) => {
        mod $engine {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let (_kept, accounts) = $given;
                    super::$test(accounts).await;
                }
            )*
        }
    };
}

macro_rules! conformance {
    ($engine:ident, $given:expr) => {
        engine!(
            $engine,
            $given,
            [
                create_and_find,
                ids_sort_by_creation,
                text_is_kept_and_compared_byte_for_byte,
                an_accent_more_is_another_address,
                an_account_may_have_no_password,
                a_duplicate_email_is_an_outcome_and_changes_nothing,
                parallel_creations_of_one_email_make_one_account,
                list_pages_are_complete_ordered_and_stable,
                a09_disabling_leaves_an_end_and_keeps_its_time,
                a08_a_new_password_raises_the_version_and_leaves_an_end,
                a_rehash_ends_nothing_and_never_undoes_a_new_password,
                a09_deleting_leaves_an_end_and_frees_the_email_but_not_the_id,
                a_server_secret_is_made_once,
                a42_of_parallel_uses_of_the_setup_code_one_wins,
                a_setup_code_must_be_the_offered_one_in_time_and_alone,
                an_adopted_account_is_as_it_was,
                an_adopted_account_never_takes_the_email_of_another,
                an_identity_signs_in_to_the_account_it_is_linked_to,
                two_pairs_of_issuer_and_subject_are_never_one,
                a_first_sign_in_creates_both_or_neither,
                the_last_way_in_stays,
                an_account_has_a_bounded_number_of_identities,
                a_session_s_origin_is_kept_and_found,
                a_logout_finds_the_sessions_it_names,
                a_logout_is_taken_once_and_again_until_it_is_done,
                a_logout_meets_a_sign_in_that_was_under_way,
                identities_move_with_their_accounts,
                a_logout_and_a_sign_in_at_once_never_miss_each_other,
            ]
        );
    };
}

conformance!(sqlite, {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hallpass.db");
    let accounts: std::sync::Arc<dyn hallpass_server::accounts::Accounts> =
        std::sync::Arc::new(hallpass_server::accounts::sqlite::SqliteAccounts::open(&path).unwrap());
    (directory, accounts)
});

conformance!(postgres, {
    let url = crate::databases::fresh_postgres();
    let accounts = hallpass_server::accounts::postgres::connect(&url).await.unwrap();
    ((), std::sync::Arc::new(accounts) as std::sync::Arc<dyn hallpass_server::accounts::Accounts>)
});

/// Behind `PgBouncer` in transaction mode, where each transaction may have another connection of the server.
mod pooled {
    use std::sync::OnceLock;

    use crate::databases::instance::Instance;

    /// One for all tests; it ends with this process.
    static POOLER: OnceLock<Instance> = OnceLock::new();

    pub(crate) fn fresh() -> String {
        let server = crate::databases::service(crate::databases::POSTGRES);
        let pooler = POOLER.get_or_init(|| Instance::start("pgbouncer", &["--postgres", &server]));
        crate::databases::with_parameter(&pooler.url, &format!("schema={}", crate::databases::fresh_name()))
    }
}

conformance!(pgbouncer, {
    let accounts = hallpass_server::accounts::postgres::connect(&crate::pooled::fresh()).await.unwrap();
    ((), std::sync::Arc::new(accounts) as std::sync::Arc<dyn hallpass_server::accounts::Accounts>)
});

conformance!(mariadb, {
    let url = crate::databases::fresh_mariadb().await;
    let accounts = hallpass_server::accounts::mysql::connect(&url).await.unwrap();
    ((), std::sync::Arc::new(accounts) as std::sync::Arc<dyn hallpass_server::accounts::Accounts>)
});
