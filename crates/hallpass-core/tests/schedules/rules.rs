//! Each rule broken on purpose: a scenario must notice (R17).

use hallpass_core::{Rule, broken};

use crate::fails;
use crate::scenarios::ALL;

fn is_noticed(rule: Rule) {
    broken::set(Some(rule));
    let noticed = ALL.iter().find(|(_, scenario)| fails(*scenario));
    broken::set(None);
    let (name, _) = noticed.unwrap_or_else(|| panic!("no schedule of any scenario notices that {rule:?} is broken"));
    println!("{rule:?}: noticed by {name}");
}

macro_rules! rules {
    ($($test:ident: $rule:ident,)*) => {
        $(#[test]
        fn $test() {
            is_noticed(Rule::$rule);
        })*
    };
}

rules! {
    r17_without_the_fence_of_a_session: FenceOfSession,
    r17_without_the_fence_of_a_user: FenceOfUser,
    r17_without_the_fence_of_everyone: FenceOfEveryone,
    r17_with_readings_from_before_a_new_beginning: FenceBeforeNewBeginning,
    r17_with_the_moment_taken_after_the_reading: MomentBeforeReading,
    r17_with_the_lease_from_the_answer: LeaseFromSending,
    r17_with_the_lease_looked_at_after_the_session: LeaseBeforeLookup,
    r17_with_the_lease_extended_before_the_log_is_applied: ApplyBeforeLease,
    r17_with_an_answer_before_the_session_is_forgotten: ForgetBeforeAnswer,
    r17_with_a_refused_session_kept_in_memory: ForgetWhatWasRefused,
    r17_without_looking_for_another_log: NoticeAnotherLog,
    r17_with_a_part_of_the_log: WholeLog,
    r17_without_looking_for_jumps: NoticeJumps,
    r17_with_checks_that_join_an_earlier_reading: JoinTheNextReading,
    r17_with_a_registration_after_the_lease: RegisterBeforeAsking,
    r17_with_a_node_that_tells_before_it_has_applied: ApplyBeforeTelling,
    r17_without_waiting_for_all: WaitForAll,
}
