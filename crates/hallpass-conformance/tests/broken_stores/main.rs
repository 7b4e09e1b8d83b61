//! The suite under test: stores with one defect each must fail, in the case that is about it.

mod broken;
mod clean_up;
mod defect;
mod likeness;
mod limit;
mod revocation;

use std::collections::BTreeSet;
use std::sync::Arc;

use hallpass_conformance::{
    CASES, CaseFuture, HISTORIES, SHARED_CASES, differs, property_test, shared_differs, shared_property_test,
};
use hallpass_core::Store;

use Defect as D;
use broken::Broken;
use defect::Defect;

/// Each defect with a case that must fail because of it.
const CAUGHT_BY: &[(Defect, &str)] = &[
    (D::CreateOverwritesDuplicates, "create::a05_a_duplicate_id_is_refused"),
    (D::CreateIgnoresThatTheFirstEnded, "create::a05_the_id_of_a_dead_session_is_refused"),
    (D::CreateCutsTheUserAgent, "create::a35_every_field_round_trips_at_its_bounds"),
    (D::RenewUpserts, "renew::a06_the_dead_and_the_unknown_are_gone"),
    (D::RenewUpserts, "sweep::what_is_removed_is_unknown"),
    (D::RenewIgnoresEnded, "renew::a06_the_dead_and_the_unknown_are_gone"),
    (D::RenewIgnoresEnded, "resurrection::g5_after_the_user_is_revoked"),
    (D::RenewPassesAbsolute, "renew::a51_the_absolute_deadline_is_never_passed"),
    (D::RenewIgnoresTheHash, "renew::another_hash_changes_nothing"),
    (D::RenewKeepsRenewedAtWhenShortening, "renew::a_shorter_deadline_is_taken"),
    (D::RenewLivesAtTheDeadline, "renew::a_deadline_is_dead_at_its_own_millisecond"),
    (D::RenewIsNotAtomic, "renew::thirty_two_at_once_renew_once"),
    (D::RotateWithoutCompare, "rotate::a42_fifty_at_once_have_one_winner"),
    (D::RotateWithoutCompare, "rotate::another_hash_is_a_conflict"),
    (D::RotateIsNotLogged, "rotate::the_secret_is_replaced_and_nothing_else"),
    (D::LabelOfForeignSession, "label::a15_a_foreign_session_is_gone"),
    (D::LabelIsNotLogged, "label::the_owner_names_it"),
    (D::AttributesWithoutCompare, "attributes::a47_another_version_is_a_conflict"),
    (D::AttributesDecidedOutsideTheLock, "attributes::a47_twenty_increments_at_once_lose_none"),
    (D::RevokeIgnoresOwner, "revoke::a15_a_foreign_session_is_left_alone"),
    (D::RevokeTwiceChangesTheReason, "revoke::it_ends_only_once"),
    (D::RevokeOthersEndsKeep, "revoke::others_keeps_exactly_one"),
    (D::RevokeOthersWithoutKeep, "revoke::others_needs_a_live_session_of_ones_own"),
    (D::RevokeOthersForgetsTheLog, "log::one_entry_for_each_in_order"),
    (D::MarkIgnoresOlderSessions, "revoke::a_user_is_ended_whole"),
    (D::MarkIgnoresOlderSessions, "revoke::two_thousand_sessions_end_at_once"),
    (D::MarkEndsNewerSessions, "marks::a_session_created_after_a_mark_lives"),
    (D::MarkIsOfTheUserInAnyCase, "create::user_ids_are_kept_apart_byte_for_byte"),
    (D::MarkIsSweptTooEarly, "sweep::a41_a_mark_outlives_the_rows_behind_it"),
    (D::SettleOverwritesTheFirstEnd, "marks::what_ended_first_stays"),
    (D::LimitCountedOutsideTheLock, "limits::a43_sixty_four_at_once_never_pass_the_limit"),
    (D::LimitCountedOutsideTheLock, "limits::a43_sixty_four_at_once_are_refused_beyond_the_limit"),
    (D::LimitEndsTheNewOne, "limits::the_new_one_is_never_ended"),
    (D::LimitCountsTheDead, "limits::the_dead_do_not_count"),
    (D::LimitIgnoresTheClass, "limits::each_user_and_class_counts_alone"),
    (D::TouchMovesBack, "touch::it_moves_forward_only"),
    (D::TouchExtends, "touch::it_moves_forward_only"),
    (D::TouchReachesTheDead, "touch::a06_the_dead_are_left_alone"),
    (D::SweepRemovesLiveRows, "sweep::a64_exactly_the_dead_go"),
    (D::SweepRemovesEndedRowsWithTheirDeadline, "sweep::a64_exactly_the_dead_go"),
    (D::SweepIgnoresTheBatch, "sweep::steps_are_bounded_and_can_be_resumed"),
    (D::LogHasGaps, "log::it_has_no_gaps_after_mixed_changes_at_once"),
    (D::LogNumbersStartAnewAfterASweep, "log::head_and_oldest_hold_after_a_sweep"),
    (D::LogIsSweptInTheMiddle, "log::a_clock_that_was_behind_leaves_no_gap"),
    (D::ListLeaksEnded, "list::filters_show_exactly_what_they_say"),
    (D::ListRepeatsTheLastOfAPage, "list::pages_hold_each_session_once_newest_first"),
    (D::ListIsOldestFirst, "list::pages_hold_each_session_once_newest_first"),
    (D::CountIgnoresTheClass, "list::filters_show_exactly_what_they_say"),
    (D::HealthCountsTheExpired, "upkeep::health_counts_the_living"),
    (D::HeartbeatEnters, "nodes::a_heartbeat_enters_nobody"),
    (D::HeartbeatChangesNothing, "nodes::a_heartbeat_enters_nobody"),
    (D::HeartbeatChangesNothing, "nodes::many_at_once_are_all_there"),
    (D::RegisterLeavesWhatIsThere, "nodes::what_is_registered_is_there"),
    (D::ForgetIgnoresTheBeats, "nodes::a_node_that_told_more_stays"),
    (D::SweepForgetsNodes, "nodes::it_outlives_everything_else"),
    (D::NodesAreRemembered, "shared::nodes::g6_who_is_registered_is_seen_by_all_at_once"),
    (D::UserIsFolded, "text::look_alike_users_have_their_own_sessions"),
    (D::UserIsFolded, "text::look_alike_users_end_their_own_sessions"),
    (D::UserIsTrimmed, "text::look_alike_users_have_their_own_sessions"),
    (D::UserIsTrimmed, "text::look_alike_users_end_their_own_sessions"),
    (D::UserIsNormalised, "text::look_alike_users_have_their_own_sessions"),
    (D::UserEmojiAreOne, "text::look_alike_users_have_their_own_sessions"),
    (D::UserEmojiAreOne, "text::the_longest_texts_are_kept_whole"),
    (D::UserIsCut, "text::look_alike_users_have_their_own_sessions"),
    (D::UserIsAPattern, "text::look_alike_users_end_their_own_sessions"),
    (D::ClassIgnoresHyphens, "text::look_alike_classes_are_kept_apart"),
    (D::TextIsNormalised, "text::every_text_round_trips_byte_for_byte"),
    (D::LogNamesUsersInLowerCase, "text::look_alike_users_end_their_own_sessions"),
    (D::RevokeIsAcknowledgedEarly, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::RevokeCountsOutsideTheLock, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::LogIsNumberedOutsideTheLock, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::LogIsNumberedOutsideTheLock, "shared::storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::LogHasGaps, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::RevokeOthersForgetsTheLog, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::RotateWithoutCompare, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::AttributesWithoutCompare, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::CreateOverwritesDuplicates, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::RevokeIgnoresOwner, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::RevokeTwiceChangesTheReason, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::RevokeOthersEndsKeep, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::MarkIgnoresOlderSessions, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::MarkEndsNewerSessions, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::RotateIsLoggedLater, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::RotateIsNotLogged, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::RotateIgnoresMarks, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::RotateIgnoresMarks, "storms::g5_sixteen_revokers_and_a_sweep_that_keeps_nothing"),
    (D::RotateIgnoresMarks, "shared::storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::RotateIgnoresMarks, "shared::storms::g5_sixteen_revokers_and_a_sweep_that_keeps_nothing"),
    (D::RotateIgnoresMarks, "shared::visibility::g1_every_revocation_holds_through_the_others_at_once"),
    (D::RotateAnswersForMarkedOnes, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::RotateWritesTheWholeRowBack, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::RotateWritesTheWholeRowBack, "storms::g5_sixteen_revokers_and_a_sweep_that_keeps_nothing"),
    (D::RenewWritesTheWholeRowBack, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::SettleOverwritesTheFirstEnd, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::SettleOverwritesTheFirstEnd, "shared::settle::what_was_seen_ended_stays_ended_while_all_settle"),
    (D::MarkGoesAfterOneBatch, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::MarkGoesAfterOneBatch, "shared::settle::what_was_seen_ended_stays_ended_while_all_settle"),
    (D::MarkGoesAfterOneBatch, "shared::settle::three_settlers_write_each_row_once"),
    (D::MarkGoesAMomentBeforeItsRows, "shared::settle::what_was_seen_ended_stays_ended_while_all_settle"),
    (D::SettleCountsWhatItSelected, "shared::settle::three_settlers_write_each_row_once"),
    (D::MarkIsSweptTooEarly, "shared::sweep::a41_marks_outlive_the_rows_behind_them_while_three_sweep"),
    (D::MarkGoesAMomentWhileSwept, "shared::sweep::a41_marks_outlive_the_rows_behind_them_while_three_sweep"),
    (D::SweepCountsWhatItSelected, "shared::sweep::a64_three_sweepers_count_each_row_once"),
    (D::SweepRemovesLiveRows, "shared::sweep::a64_three_sweepers_count_each_row_once"),
    (D::SweepFailsWhenItMeetsAnother, "shared::sweep::a64_three_sweepers_count_each_row_once"),
    (D::LogIsSweptInTheMiddle, "shared::sweep::three_sweepers_leave_no_gap_in_the_log"),
    (D::LogNumbersStartAnewAfterASweep, "shared::sweep::three_sweepers_leave_no_gap_in_the_log"),
    (D::LimitLockIsOfTheHandle, "shared::limits::a43_sixty_four_at_once_over_all_handles_keep_the_newest"),
    (D::LimitLockIsOfTheHandle, "shared::limits::a43_sixty_four_at_once_over_all_handles_are_refused_beyond_the_limit"),
    (D::LimitLockIsOfTheHandle, "shared::limits::a43_both_modes_and_sign_outs_at_once_keep_the_limit"),
    (D::LimitIsKeptAfterwards, "shared::limits::a43_sixty_four_at_once_over_all_handles_keep_the_newest"),
    (D::LimitEndsTheNewest, "shared::limits::a43_sixty_four_at_once_over_all_handles_keep_the_newest"),
    (D::LimitEndsTheNewOne, "shared::limits::a43_sixty_four_at_once_over_all_handles_keep_the_newest"),
    (D::FindIsRemembered, "shared::visibility::g1_every_write_shows_through_the_others_at_once"),
    (D::FindIsRemembered, "shared::visibility::g1_every_revocation_holds_through_the_others_at_once"),
    (D::FindNowIsRemembered, "shared::visibility::g1_every_write_shows_through_the_others_at_once"),
    (D::FindNowIsRemembered, "shared::visibility::g1_every_revocation_holds_through_the_others_at_once"),
    (D::FindNowIgnoresMarks, "storms::g5_sixteen_revokers_against_sixteen_writers"),
    (D::ListIsRemembered, "shared::visibility::g1_every_revocation_holds_through_the_others_at_once"),
    (D::LogIsRemembered, "shared::visibility::g1_every_revocation_holds_through_the_others_at_once"),
    (D::EpochIsRemembered, "shared::visibility::a_creation_lives_if_it_was_begun_after_a_revocation_elsewhere"),
    (D::EpochIsRemembered, "shared::visibility::creations_race_with_revocations_elsewhere"),
];

/// What a search through random histories cannot find: races, and rules that its histories do not reach.
const BEYOND_HISTORIES: &[Defect] = &[
    D::None,
    // One verb at a time.
    D::RenewIsNotAtomic,
    D::AttributesDecidedOutsideTheLock,
    D::LimitCountedOutsideTheLock,
    // Its user agents are short, its batches are compared by their sum, and it settles before it sweeps.
    D::CreateCutsTheUserAgent,
    D::SweepIgnoresTheBatch,
    D::MarkIsSweptTooEarly,
    // It has no nodes.
    D::HeartbeatEnters,
    D::HeartbeatChangesNothing,
    D::RegisterLeavesWhatIsThere,
    D::ForgetIgnoresTheBeats,
    D::SweepForgetsNodes,
    D::NodesAreRemembered,
    // Its users are three.
    D::UserIsTrimmed,
    D::UserIsNormalised,
    D::UserEmojiAreOne,
    D::UserIsCut,
    D::UserIsAPattern,
    D::ClassIgnoresHyphens,
    D::TextIsNormalised,
    // One verb at a time, again.
    D::RevokeIsAcknowledgedEarly,
    D::RevokeCountsOutsideTheLock,
    D::LogIsNumberedOutsideTheLock,
    D::RotateIsLoggedLater,
    D::RotateWritesTheWholeRowBack,
    D::RenewWritesTheWholeRowBack,
    D::MarkGoesAMomentBeforeItsRows,
    D::SettleCountsWhatItSelected,
    D::SweepCountsWhatItSelected,
    D::SweepFailsWhenItMeetsAnother,
    D::MarkGoesAMomentWhileSwept,
    D::LimitIsKeptAfterwards,
    D::LimitLockIsOfTheHandle,
];

/// What is right for whoever has one handle.
const BETWEEN_HANDLES: &[Defect] =
    &[D::FindIsRemembered, D::FindNowIsRemembered, D::ListIsRemembered, D::EpochIsRemembered, D::LogIsRemembered];

/// How often a case may fail to see a defect.
const TRIES: u32 = 5;

/// How many handles a case of the suite is given, and how it is run on them.
type Run = (usize, Box<dyn Fn(Vec<Arc<dyn Store>>) -> CaseFuture>);

/// The case of that name; one for several handles has the name `shared::...`.
#[expect(clippy::panic, reason = "a name that is no case is an error of these tests")]
fn run_of(name: &str) -> Run {
    if let Some(name) = name.strip_prefix("shared::") {
        let case = SHARED_CASES.iter().find(|case| case.name == name);
        let case = case.unwrap_or_else(|| panic!("there is no case {name} for several handles"));
        (case.handles, Box::new(case.run))
    } else {
        let case = CASES.iter().find(|case| case.name == name);
        let run = case.unwrap_or_else(|| panic!("there is no case {name}")).run;
        (1, Box::new(move |mut handles| run(handles.remove(0))))
    }
}

/// Whether the case fails on a fresh store with the defect.
#[expect(clippy::unwrap_used, reason = "a test without a runtime has no other way to fail")]
fn fails(name: &str, defect: Defect) -> bool {
    let (handles, run) = run_of(name);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let outcome = runtime.block_on(async { tokio::spawn(run(Broken::handles(defect, handles))).await });
    match outcome {
        Ok(()) => false,
        Err(failure) => {
            assert!(failure.is_panic(), "a case fails by a panic");
            true
        }
    }
}

#[test]
fn every_defect_fails_the_case_that_is_about_it() {
    // A race need not happen: in one of some hundred runs it does not.
    let caught = |defect, name| (0..TRIES).any(|_| fails(name, defect));
    let missed: Vec<_> = CAUGHT_BY.iter().filter(|(defect, name)| !caught(*defect, name)).collect();
    assert!(missed.is_empty(), "these cases pass stores with these defects: {missed:?}");
}

/// A case that fails whatever the store is shows nothing.
#[test]
fn the_wrapper_without_a_defect_passes_every_case() {
    let shared = SHARED_CASES.iter().map(|case| format!("shared::{}", case.name));
    for name in CASES.iter().map(|case| case.name.to_owned()).chain(shared) {
        assert!(!fails(&name, Defect::None), "{name}");
    }
    property_test(|| async { Broken::store(Defect::None) }, HISTORIES);
    shared_property_test(|n| async move { Broken::handles(Defect::None, n) }, HISTORIES);
}

/// What is wrong between handles alone passes the cases for one, also those about the same.
#[test]
fn the_cases_for_several_handles_are_needed() {
    const ALIKE: &[&str] = &["create", "revoke", "marks", "storms", "log", "list", "limits", "sweep"];
    for defect in BETWEEN_HANDLES.iter().copied().chain([D::LimitLockIsOfTheHandle]) {
        let alike = CASES.iter().filter(|case| ALIKE.iter().any(|subject| case.name.starts_with(subject)));
        let caught = alike.clone().find(|case| fails(case.name, defect));
        assert!(caught.is_none(), "{defect:?} fails {caught:?}");
        assert!(!differs(|| async { Broken::store(defect) }, HISTORIES), "{defect:?}");
    }
}

#[test]
fn every_defect_without_a_race_fails_random_histories() {
    let mut missed = Vec::new();
    let mut looked_at = BTreeSet::new();
    for (defect, _) in CAUGHT_BY {
        if BEYOND_HISTORIES.contains(defect) || !looked_at.insert(format!("{defect:?}")) {
            continue;
        }
        let fails = if BETWEEN_HANDLES.contains(defect) {
            shared_differs(|n| async move { Broken::handles(*defect, n) }, HISTORIES)
        } else {
            differs(|| async { Broken::store(*defect) }, HISTORIES)
        };
        if !fails {
            missed.push(defect);
        }
    }
    assert!(missed.is_empty(), "random histories pass stores with these defects: {missed:?}");
}
