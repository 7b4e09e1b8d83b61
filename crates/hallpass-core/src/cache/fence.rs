//! Which readings are still good: a count of what was revoked, and where it stood when each part of the sessions was last hit.
//!
//! A reading notes the count before it is sent ([`Fences::moment`]). Each revocation that this node makes or reads in the log raises the count by one and
//! notes the new one for its session, its user or everybody. A reading whose parts were not raised since its moment has seen all of them: a raise that it
//! does not know of came after it began, and one that was counted before had been committed before, so the reading saw it in the store.
//!
//! Sessions and users share the notes of a fixed table by a keyed hash. Two that meet there cost each other a reading of the store, never a wrong answer.
//! So ending a user's or everybody's sessions takes the same time however many are cached, nothing is ever cleaned up, and a session that was read before
//! and is put in afterwards is refused.

use std::hash::BuildHasher;
use std::sync::PoisonError;

use crate::shim::{AtomicU64, Keyed, Mutex, MutexGuard, Ordering, Rule, keeps};
use crate::{SessionId, UserId};

/// The count of revocations when a reading began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// The places of a session and of its user in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places {
    session: u32,
    user: u32,
}

#[derive(Debug)]
pub(crate) struct Fences {
    count: AtomicU64,
    everyone: AtomicU64,
    table: Box<[AtomicU64]>,
    /// Where the count stood when the store last refused a session: of concern to readings that are still under way, and to nothing that is in memory.
    refused: Box<[Mutex<u64>]>,
    hasher: Keyed,
}

impl Fences {
    /// A table of about so many notes of 8 bytes, and at least 64.
    pub(crate) fn new(notes: u64) -> Self {
        let notes = notes.clamp(64, 1 << 18).next_power_of_two();
        Self {
            count: AtomicU64::new(0),
            everyone: AtomicU64::new(0),
            table: (0..notes).map(|_| AtomicU64::new(0)).collect(),
            // Readings do not take long: those that meet another's refusal are few.
            refused: (0..notes.min(1 << 10)).map(|_| Mutex::new(0)).collect(),
            hasher: Keyed::default(),
        }
    }

    /// To be taken before a reading is sent.
    pub(crate) fn moment(&self) -> Moment {
        Moment(self.count.load(Ordering::SeqCst))
    }

    pub(crate) fn places(&self, id: SessionId, user: &UserId) -> Places {
        Places { session: self.of_session(id), user: self.of_user(user) }
    }

    /// What was read of this session before is not good any more.
    pub(crate) fn raise_session(&self, id: SessionId) {
        self.raise(self.note(self.of_session(id)));
    }

    /// What was read of this user's sessions before is not good any more.
    pub(crate) fn raise_user(&self, user: &UserId) {
        self.raise(self.note(self.of_user(user)));
    }

    /// Nothing that was read before is good any more.
    pub(crate) fn raise_everyone(&self) {
        self.raise(Some(&self.everyone));
    }

    /// The store has refused this session: what was read of it before is not to be kept any more, and what is kept goes, by `forget`. Anybody may send what is
    /// refused, so this costs nobody who is in memory anything.
    pub(crate) fn refuse(&self, id: SessionId, forget: impl FnOnce()) {
        let mut refused = self.refusal(self.of_session(id));
        let now = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(refused) = &mut refused {
            **refused = now;
        }
        forget();
    }

    /// Keeps, by `keep`, what was read at that moment, unless the store has refused the session since. None is refused meanwhile: either the refusal finds what was kept, or it is
    /// found here.
    pub(crate) fn keep_unless_refused(&self, moment: Moment, places: Places, keep: impl FnOnce()) -> bool {
        let refused = self.refusal(places.session);
        let is_good = refused.as_ref().is_none_or(|refused| **refused <= moment.0);
        if is_good {
            keep();
        }
        is_good
    }

    fn refusal(&self, place: u32) -> Option<MutexGuard<'_, u64>> {
        let note = self.refused.get(place as usize & (self.refused.len() - 1))?;
        Some(note.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether what was read at that moment is still good. Three loads.
    pub(crate) fn hold(&self, moment: Moment, places: Places) -> bool {
        let since = |note: Option<&AtomicU64>| note.is_none_or(|note| note.load(Ordering::SeqCst) > moment.0);
        !(keeps(Rule::FenceOfSession) && since(self.note(places.session))
            || keeps(Rule::FenceOfUser) && since(self.note(places.user))
            || keeps(Rule::FenceOfEveryone) && since(Some(&self.everyone)))
    }

    fn raise(&self, note: Option<&AtomicU64>) {
        // Counted first: a reading that begins between the two steps begins after the revocation, and may stay.
        let now = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(note) = note {
            note.fetch_max(now, Ordering::SeqCst);
        }
    }

    fn note(&self, place: u32) -> Option<&AtomicU64> {
        self.table.get(place as usize)
    }

    fn of_session(&self, id: SessionId) -> u32 {
        self.place(self.hasher.hash_one(id))
    }

    fn of_user(&self, user: &UserId) -> u32 {
        self.place(self.hasher.hash_one(user))
    }

    fn place(&self, hash: u64) -> u32 {
        // The table has a power of two of notes, at most 2^18.
        (hash & (self.table.len() as u64 - 1)) as u32
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_good_until_one_of_its_parts_is_raised() {
        let fences = Fences::new(1 << 16);
        let (alice, bob) = (UserId::new("alice").unwrap(), UserId::new("bob").unwrap());
        let (one, two) = (SessionId::from_bytes([1; 16]), SessionId::from_bytes([2; 16]));
        let (of_one, of_two) = (fences.places(one, &alice), fences.places(two, &bob));
        let raises: [(&dyn Fn(), bool, bool); 5] = [
            (&|| fences.raise_session(one), false, true),
            (&|| fences.raise_user(&alice), false, true),
            (&|| fences.raise_user(&bob), true, false),
            (&|| fences.raise_session(two), true, false),
            (&|| fences.raise_everyone(), false, false),
        ];
        for (n, (raise, one_holds, two_holds)) in raises.into_iter().enumerate() {
            let before = fences.moment();
            raise();
            assert_eq!((fences.hold(before, of_one), fences.hold(before, of_two)), (one_holds, two_holds), "raise {n}");
            let after = fences.moment();
            assert!(fences.hold(after, of_one) && fences.hold(after, of_two), "a later reading, raise {n}");
        }
    }

    #[test]
    fn the_table_is_bounded() {
        for (wanted, notes) in [(0, 64), (65, 128), (u64::MAX, 1 << 18)] {
            assert_eq!(Fences::new(wanted).table.len(), notes);
        }
    }
}
