//! The sessions that there are, and the history that is being written.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hallpass_core::{SessionId, Token};

use crate::history::{Answer, Created, History, Moment, Request, Revocation, Target, now};
use crate::random::Random;
use crate::went_back::WentBack;

/// A session with its secret.
pub(crate) struct Known {
    /// Its place in the history.
    pub(crate) number: usize,
    pub(crate) user: usize,
    pub(crate) id: SessionId,
    pub(crate) token: Token,
}

#[derive(Default)]
struct Pages {
    history: History,
    known: Vec<Arc<Known>>,
    /// Nobody has begun to end these.
    live: Vec<usize>,
    /// Somebody has, at these times.
    ending: Vec<(usize, Duration)>,
}

#[derive(Default)]
pub(crate) struct Book(Mutex<Pages>);

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap()
    }

    pub(crate) fn created(&self, user: usize, id: SessionId, token: Token, begun: Duration) {
        let mut pages = self.pages();
        let number = pages.known.len();
        pages.history.sessions.push(Created { user, begun, ended: now() });
        pages.known.push(Arc::new(Known { number, user, id, token }));
        pages.live.push(number);
    }

    /// How many of the user's nobody has begun to end.
    pub(crate) fn live_of(&self, user: usize) -> usize {
        let pages = self.pages();
        pages.live.iter().filter(|number| pages.known[**number].user == user).count()
    }

    /// One to ask for: of those that live, or of those whose end began within this time.
    pub(crate) fn any(&self, random: &mut Random, recently: Duration) -> Option<Arc<Known>> {
        let mut pages = self.pages();
        let now = now();
        pages.ending.retain(|(_, begun)| now.saturating_sub(*begun) < recently);
        let number = if pages.ending.is_empty() || random.below(2) == 0 {
            *pages.live.get(random.below(pages.live.len().max(1)))?
        } else {
            pages.ending[random.below(pages.ending.len())].0
        };
        Some(Arc::clone(&pages.known[number]))
    }

    /// All that were acknowledged to have ended between these times.
    pub(crate) fn ended_between(&self, from: Duration, to: Duration) -> Vec<Arc<Known>> {
        let pages = self.pages();
        let Pages { history, known, .. } = &*pages;
        let within = |revocation: &&Revocation| revocation.acknowledged.is_some_and(|at| at >= from && at <= to);
        let has_ended = |session: &&Arc<Known>| {
            let created = &history.sessions[session.number];
            history.revocations.iter().filter(within).any(|revocation| revocation.ended(session.number, created))
        };
        known.iter().filter(has_ended).map(Arc::clone).collect()
    }

    /// All that were created between these times.
    pub(crate) fn created_between(&self, from: Moment, to: Moment) -> Vec<Arc<Known>> {
        let pages = self.pages();
        let within = |session: &&Arc<Known>| {
            let created = &pages.history.sessions[session.number];
            created.begun >= from && created.ended <= to
        };
        pages.known.iter().filter(within).map(Arc::clone).collect()
    }

    /// Two different ones of this user's that have lived for a while, so that the nodes may have them in memory.
    pub(crate) fn two_of(&self, user: usize, random: &mut Random) -> Option<(Arc<Known>, Arc<Known>)> {
        let pages = self.pages();
        let now = now();
        let has_lived =
            |number: &usize| now.saturating_sub(pages.history.sessions[*number].ended) > Duration::from_millis(400);
        let of_user: Vec<usize> = pages
            .live
            .iter()
            .copied()
            .filter(|number| pages.known[*number].user == user && has_lived(number))
            .collect();
        if of_user.len() < 2 {
            return None;
        }
        let one = random.below(of_user.len());
        let other = (one + 1 + random.below(of_user.len() - 1)) % of_user.len();
        Some((Arc::clone(&pages.known[of_user[one]]), Arc::clone(&pages.known[of_user[other]])))
    }

    /// Somebody begins to end these; now.
    pub(crate) fn begins_to_end(&self, target: Target) -> Duration {
        let mut pages = self.pages();
        let begun = now();
        let Pages { known, live, ending, .. } = &mut *pages;
        live.retain(|number| {
            let concerns = match target {
                Target::Session(ended) => ended == *number,
                Target::Others { user, keep } => known[*number].user == user && keep != *number,
                Target::User(user) => known[*number].user == user,
            };
            if concerns {
                ending.push((*number, begun));
            }
            !concerns
        });
        begun
    }

    pub(crate) fn revoked(&self, revocation: Revocation) {
        self.pages().history.revocations.push(revocation);
    }

    pub(crate) fn requested(&self, request: Request) {
        let mut pages = self.pages();
        pages.history.requests.push(request);
        // Ended by what nobody has an answer of: not to be asked for as a live one for ever.
        if request.answer == Answer::Refused && pages.live.contains(&request.session) {
            pages.live.retain(|number| *number != request.session);
            pages.ending.push((request.session, request.ended));
        }
    }

    /// How many were acknowledged, and how many of these had waited.
    pub(crate) fn acknowledged(&self) -> (usize, usize) {
        let pages = self.pages();
        let acknowledged = || pages.history.revocations.iter().filter(|revocation| revocation.acknowledged.is_some());
        (acknowledged().count(), acknowledged().filter(|revocation| revocation.waited).count())
    }

    /// What was acknowledged since.
    pub(crate) fn acknowledged_since(&self, since: Duration) -> usize {
        let pages = self.pages();
        let revocations = pages.history.revocations.iter();
        revocations.filter(|revocation| revocation.acknowledged.is_some_and(|at| at >= since)).count()
    }

    /// The database went back to an earlier state.
    pub(crate) fn went_back(&self, when: WentBack) {
        let earlier = self.pages().history.went_back.replace(when);
        assert_eq!(earlier, None, "once in a history");
    }

    pub(crate) fn history(&self) -> History {
        self.pages().history.clone()
    }
}
