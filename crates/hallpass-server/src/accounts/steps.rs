//! Schemas as numbered steps. A step that was released is never changed, only followed by another; its checksum is kept with its number, so
//! that a changed one is noticed.

use sha2::{Digest as _, Sha256};

use super::AccountsError;

/// One step of an engine's schema. Its number is its place in the list, from 1.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
}

impl Step {
    pub(super) fn checksum(&self) -> [u8; 32] {
        Sha256::digest(self.sql.as_bytes()).into()
    }
}

/// The number of the newest step.
pub(super) fn newest(steps: &[Step]) -> u32 {
    u32::try_from(steps.len()).unwrap_or(u32::MAX)
}

/// The steps that a database lacks which remembers these `applied` ones (number and checksum, in the order of their numbers).
///
/// # Errors
/// [`AccountsError::Newer`] when it has later ones, [`AccountsError::Damaged`] when one of them is another than ours.
pub(super) fn missing<'a>(
    place: &str,
    steps: &'a [Step],
    applied: &[(u32, Vec<u8>)],
) -> Result<Vec<(u32, &'a Step)>, AccountsError> {
    let known = newest(steps);
    if let Some((found, _)) = applied.last()
        && *found > known
    {
        return Err(AccountsError::Newer { place: place.to_owned(), found: *found, known });
    }
    let mut missing = Vec::new();
    for (number, step) in (1_u32..).zip(steps) {
        match applied.iter().find(|(applied, _)| *applied == number) {
            Some((_, stored)) if stored.as_slice() == step.checksum() => {}
            Some(_) => {
                return Err(AccountsError::Damaged(format!(
                    "{place}: account migration {number} ({}) is not the one this program knows; was the database made by a build of your own?",
                    step.name
                )));
            }
            None => missing.push((number, step)),
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: &[Step] = &[Step { name: "a", sql: "A" }, Step { name: "b", sql: "B" }];

    fn numbers(applied: &[(u32, Vec<u8>)]) -> Result<Vec<u32>, AccountsError> {
        missing("here", STEPS, applied).map(|steps| steps.into_iter().map(|(number, _)| number).collect())
    }

    #[test]
    fn what_is_missing_what_is_changed_and_what_is_newer() {
        let of = |n: usize| STEPS[n].checksum().to_vec();
        assert_eq!(numbers(&[]).unwrap(), [1, 2]);
        assert_eq!(numbers(&[(1, of(0))]).unwrap(), [2]);
        assert_eq!(numbers(&[(1, of(0)), (2, of(1))]).unwrap(), [] as [u32; 0]);
        assert!(matches!(numbers(&[(1, of(1))]), Err(AccountsError::Damaged(what)) if what.contains("here")));
        let newer = numbers(&[(1, of(0)), (2, of(1)), (3, of(0))]);
        assert!(matches!(newer, Err(AccountsError::Newer { found: 3, known: 2, .. })), "{newer:?}");
    }
}
