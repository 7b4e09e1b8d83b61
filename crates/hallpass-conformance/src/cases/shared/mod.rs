//! The cases for several handles on one database, by subject. Each is an `async fn` that wants handles on one fresh database, and
//! panics on a violation. Any number of handles will do; given one, they show less.

pub mod limits;
pub mod nodes;
pub mod settle;
pub mod storms;
pub mod sweep;
pub mod visibility;

/// The one list of cases for several handles, and how many handles each subject is given.
#[doc(hidden)]
#[macro_export]
macro_rules! __shared_cases {
    ($callback:ident $($argument:ident)?) => {
        $crate::$callback! { [$($argument)?]
            storms 2 {
                g5_sixteen_revokers_against_sixteen_writers,
                g5_sixteen_revokers_and_a_sweep_that_keeps_nothing,
            }
            limits 2 {
                a43_sixty_four_at_once_over_all_handles_keep_the_newest,
                a43_sixty_four_at_once_over_all_handles_are_refused_beyond_the_limit,
                a43_both_modes_and_sign_outs_at_once_keep_the_limit,
            }
            sweep 3 {
                a64_three_sweepers_count_each_row_once,
                a41_marks_outlive_the_rows_behind_them_while_three_sweep,
                three_sweepers_leave_no_gap_in_the_log,
            }
            visibility 2 {
                g1_every_write_shows_through_the_others_at_once,
                g1_every_revocation_holds_through_the_others_at_once,
                a_creation_lives_if_it_was_begun_after_a_revocation_elsewhere,
                creations_race_with_revocations_elsewhere,
                all_handles_agree_about_the_database,
            }
            nodes 3 {
                g6_who_is_registered_is_seen_by_all_at_once,
            }
            settle 3 {
                what_was_seen_ended_stays_ended_while_all_settle,
                three_settlers_write_each_row_once,
            }
        }
    };
}
