//! Many small commits made by the server itself, one after the other, until there is nothing left to do or the time is over.
//!
//! A statement that a client sends for each commit wakes and stops its process on the server 2,000 times for a million rows, each time beside or in place
//! of the one that answers a check. On 2 cores, with 2,000 checks a second, the p99 of the checks was 4 to 6 times that of an idle server
//! with a statement for each 500 rows, and 1.2 to 1.7 times with commits of 200 rows made by the server, which took half as long (`examples/sweep`, bench/README.md).
//!
//! It is a block of `PL/pgSQL` that is sent and not stored: nothing of it stays in the database. It needs a connection without a pooler in between: it
//! leaves its answer in a setting of the connection, and only startup options bound its time.

use std::time::Duration;

use crate::session::Step;
use crate::value::Value;

/// The longest that the series of a step last together, the last commit apart.
const LONGEST: Duration = Duration::from_millis(200);

/// The same where there is one connection for all changes, which wait behind it.
const LONGEST_ALONE: Duration = Duration::from_millis(20);

/// How long the series of a step may last, with so many connections for changes.
pub(crate) const fn longest(connections: usize) -> Duration {
    if connections < 2 { LONGEST_ALONE } else { LONGEST }
}

/// Where the answer is: the number that the block was given, how many rows all commits removed, the value to go on from, and whether the last commit
/// found as many as it may take. Nothing if another connection of the server answers.
pub(crate) const ANSWER: &str = "SELECT string_to_array(current_setting('hallpass.series', true), ' ')::bigint[]";

/// What the block with that number left: how many rows all commits removed, the value to go on from, and whether the last commit was full. `None` if
/// it is not the answer of that block: another connection of the server than the one that worked, so there is a pooler.
pub(crate) fn answer(left: Option<&[i64]>, number: i64) -> Option<[i64; 3]> {
    match *left? {
        [known, removed, next, full] if known == number => Some([removed, next, full]),
        _ => None,
    }
}

/// How far a series goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Rows that it removes at most.
    pub(crate) rows: u64,
    /// How long it lasts, its last commit apart.
    pub(crate) time: Duration,
}

/// The block that commits a statement of the shape of [`SWEEP_EXPIRED`](crate::statements::SWEEP_EXPIRED) (up to `$1`, at most `$2`, from `$3`) again and again,
/// until it reaches its bounds. `number` comes back with the answer. The values are numbers, so nothing has to be quoted.
pub(crate) fn block(text: &str, step: &Step<'_>, bounds: Bounds, number: i64) -> Option<String> {
    let [Value::Integer(before), Value::Integer(batch), Value::Integer(from)] = step.values[..] else { return None };
    let statement = text.replace("$1", "hp_before").replace("$2", "least(hp_batch, hp_left)").replace("$3", "hp_from");
    let (rows, longest) = (bounds.rows.min(1 << 62), bounds.time.as_millis());
    let settings = [
        ("synchronous_commit", "off"),
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("enable_sort", "off"),
    ]
    .map(|(name, value)| format!("set_config('{name}', '{value}', true)"))
    .join(", ");
    Some(format!(
        "DO $hallpass$ DECLARE \
         hp_before CONSTANT bigint := {before}; hp_batch CONSTANT bigint := {batch}; hp_from bigint := {from}; hp_left bigint := {rows}; \
         hp_until CONSTANT timestamptz := clock_timestamp() + interval '{longest} ms'; \
         hp_due bigint; hp_removed bigint; hp_moved bigint; hp_next bigint; hp_marked boolean; \
         hp_full boolean; hp_all_removed bigint := 0; \
         BEGIN LOOP \
         COMMIT; SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; PERFORM {settings}; \
         {statement} INTO hp_due, hp_removed, hp_moved, hp_next, hp_marked; \
         hp_all_removed := hp_all_removed + hp_removed; \
         hp_full := hp_due >= least(hp_batch, hp_left); hp_left := hp_left - hp_removed; hp_from := coalesce(hp_next, hp_from); \
         EXIT WHEN NOT hp_full OR hp_left <= 0 OR clock_timestamp() >= hp_until; \
         END LOOP; \
         PERFORM set_config('hallpass.series', concat_ws(' ', {number}, hp_all_removed, hp_from, hp_full::integer), false); \
         END $hallpass$"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_another_block_is_none() {
        assert_eq!(answer(Some(&[7, 200, 5, 1]), 7), Some([200, 5, 1]));
        assert_eq!(answer(Some(&[8, 200, 5, 1]), 7), None, "left there by an earlier one");
        assert_eq!(answer(Some(&[7, 200, 5]), 7), None);
        assert_eq!(answer(None, 7), None);
    }
}
