//! The cases, by verb. Each is an `async fn` that wants a fresh store and panics on a violation.

use std::sync::Arc;

use hallpass_core::Store;

mod attempt;
mod given;
mod journal;
mod verdict;

pub mod attributes;
pub mod create;
pub mod label;
pub mod limits;
pub mod list;
pub mod log;
pub mod marks;
pub mod nodes;
pub mod renew;
pub mod resurrection;
pub mod revoke;
pub mod rotate;
pub mod shared;
pub mod storms;
pub mod sweep;
pub mod text;
pub mod touch;
pub mod upkeep;

/// Each database has a log of its own: whoever follows one notices when it is given another.
///
/// # Panics
/// When both logs have the same incarnation.
pub async fn two_stores_have_two_incarnations(first: Arc<dyn Store>, second: Arc<dyn Store>) {
    let first = first.changes_since(0, 0).await.unwrap().incarnation;
    assert_ne!(first, second.changes_since(0, 0).await.unwrap().incarnation, "the incarnation is random");
}

/// The one list of cases: both the tests and the table are made from it.
#[doc(hidden)]
#[macro_export]
macro_rules! __cases {
    ($callback:ident $($argument:ident)?) => {
        $crate::$callback! { [$($argument)?]
            create {
                unknown_ids_are_none,
                a35_every_field_round_trips_at_its_bounds,
                absent_fields_stay_absent,
                user_ids_are_kept_apart_byte_for_byte,
                a05_a_duplicate_id_is_refused,
                a05_the_id_of_a_dead_session_is_refused,
                a05_creations_of_one_id_at_once_have_one_winner,
                a_new_session_lives_and_is_not_logged,
            }
            renew {
                a_due_session_is_extended,
                due_is_exact_at_the_boundary,
                a_deadline_is_dead_at_its_own_millisecond,
                a51_the_absolute_deadline_is_never_passed,
                without_an_absolute_deadline_it_goes_on,
                another_hash_changes_nothing,
                last_seen_never_moves_back,
                a51_an_earlier_clock_finds_nothing_due,
                a_shorter_deadline_is_taken,
                a06_the_dead_and_the_unknown_are_gone,
                thirty_two_at_once_renew_once,
            }
            rotate {
                the_secret_is_replaced_and_nothing_else,
                a_reauthentication_starts_both_clocks_anew,
                a42_fifty_at_once_have_one_winner,
                another_hash_is_a_conflict,
                a06_the_dead_and_the_unknown_are_gone,
                a47_rotations_and_attributes_lose_neither,
            }
            label {
                the_owner_names_it,
                a15_a_foreign_session_is_gone,
                a06_the_dead_and_the_unknown_are_gone,
            }
            attributes {
                a_change_counts_the_version_and_is_logged,
                a47_another_version_is_a_conflict,
                a47_twenty_increments_at_once_lose_none,
                other_writes_leave_the_version,
                a06_the_dead_and_the_unknown_are_gone,
            }
            revoke {
                the_owner_ends_one,
                an_operator_ends_one_of_anybody,
                a15_a_foreign_session_is_left_alone,
                it_ends_only_once,
                sixteen_at_once_end_it_once,
                an_expired_session_is_ended_and_not_counted, a59_no_clock_decides_about_a_revocation,
                others_keeps_exactly_one,
                others_needs_a_live_session_of_ones_own,
                a_user_is_ended_whole,
                everyone_is_ended,
                every_reason_and_actor_is_kept,
                two_thousand_sessions_end_at_once,
                revocations_at_once_count_each_session_once,
            }
            marks {
                a_session_created_after_a_mark_lives,
                what_ended_first_stays,
                settling_changes_nothing_that_shows,
                the_kept_session_can_be_ended_later,
                a41_both_kinds_of_mark_hold,
                a06_nothing_wakes_what_lies_behind_a_mark,
                creations_race_with_a_revocation,
            }
            resurrection {
                g5_after_one_is_revoked,
                g5_after_others_are_revoked,
                g5_after_the_user_is_revoked,
                g5_after_everyone_is_revoked,
                g5_after_the_limit_pushed_it_out,
                g5_storms_around_one,
                g5_storms_around_others,
                g5_storms_around_the_user,
                g5_storms_around_everyone,
                g5_storms_around_the_limit,
            }
            storms {
                g5_sixteen_revokers_against_sixteen_writers,
                g5_sixteen_revokers_and_a_sweep_that_keeps_nothing,
            }
            log {
                a_fresh_log_is_empty,
                one_entry_for_each_in_order,
                nothing_is_logged_for_nothing,
                it_is_read_in_pages,
                it_has_no_gaps_after_mixed_changes_at_once,
                the_incarnation_is_stable,
                head_and_oldest_hold_after_a_sweep,
                marks_hold_after_a_sweep_of_the_log,
                a_clock_that_was_behind_leaves_no_gap,
                times_are_kept_to_the_millisecond,
            }
            list {
                pages_hold_each_session_once_newest_first,
                pages_are_steady_while_sessions_come_and_go,
                a_page_continues_after_any_id,
                a_page_is_cut_at_its_bound,
                filters_show_exactly_what_they_say,
                it_shows_what_find_shows,
            }
            limits {
                the_oldest_makes_room,
                the_age_is_the_time_of_creation,
                a_lowered_limit_ends_as_many_as_are_too_many,
                the_new_one_is_never_ended,
                refusing_writes_nothing,
                each_user_and_class_counts_alone,
                the_dead_do_not_count,
                a43_sixty_four_at_once_never_pass_the_limit,
                a43_sixty_four_at_once_are_refused_beyond_the_limit,
            }
            touch {
                it_moves_forward_only,
                many_move_in_one_call,
                the_latest_of_several_times_stays,
                a06_the_dead_are_left_alone,
                touches_at_once_end_with_the_latest,
            }
            sweep {
                a64_exactly_the_dead_go,
                a64_exactly_the_dead_go_in_steps_of_many_commits,
                what_is_removed_is_unknown,
                steps_are_bounded_and_can_be_resumed,
                the_oldest_go_first,
                a64_two_sweepers_count_each_row_once,
                a41_a_mark_outlives_the_rows_behind_it,
                what_expires_behind_a_mark_leaves,
                the_living_stay_at_every_time,
            }
            text {
                look_alike_users_have_their_own_sessions,
                look_alike_users_end_their_own_sessions,
                look_alike_classes_are_kept_apart,
                every_text_round_trips_byte_for_byte,
                the_longest_texts_are_kept_whole,
            }
            nodes {
                what_is_registered_is_there,
                a_heartbeat_enters_nobody,
                a_node_that_told_more_stays,
                it_outlives_everything_else,
                many_at_once_are_all_there,
            }
            upkeep {
                migrating_again_changes_nothing,
                migrations_at_once_agree,
                health_counts_the_living,
            }
        }
    };
}
