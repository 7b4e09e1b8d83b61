//! The suite under test: stores with one defect each must fail, in the case that is about it.

mod broken;

use hallpass_conformance::{CASES, Case, HISTORIES, differs, property_test};

use Defect as D;
use broken::{Broken, Defect};

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
];

/// Whether the case fails on a fresh store with the defect.
#[expect(clippy::unwrap_used, reason = "a test without a runtime has no other way to fail")]
fn fails(case: &Case, defect: Defect) -> bool {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let outcome = runtime.block_on(async { tokio::spawn((case.run)(Broken::store(defect))).await });
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
    let mut missed = Vec::new();
    for (defect, name) in CAUGHT_BY {
        let case = CASES.iter().find(|case| case.name == *name);
        let case = case.unwrap_or_else(|| panic!("there is no case {name}"));
        if !fails(case, *defect) {
            missed.push((defect, name));
        }
    }
    assert!(missed.is_empty(), "these cases pass stores with these defects: {missed:?}");
}

#[test]
fn the_wrapper_without_a_defect_passes_every_case() {
    for case in CASES {
        assert!(!fails(case, Defect::None), "{}", case.name);
    }
    property_test(|| async { Broken::store(Defect::None) }, HISTORIES);
}

#[test]
fn every_defect_without_a_race_fails_random_histories() {
    let mut missed = Vec::new();
    let mut looked_at = Defect::None;
    for (defect, _) in CAUGHT_BY {
        if BEYOND_HISTORIES.contains(defect) || looked_at == *defect {
            continue;
        }
        looked_at = *defect;
        if !differs(|| async { Broken::store(*defect) }, HISTORIES) {
            missed.push(defect);
        }
    }
    assert!(missed.is_empty(), "random histories pass stores with these defects: {missed:?}");
}
