//! The connections for everything but checks, one piece of work at a time on each.
//!
//! The messages of a change must not mix with those of another one, and nothing is to wait behind it in the server's queue, where it could not
//! be taken back. So a caller takes a lane for its work; who finds none free waits in order, and whoever goes away while waiting has done nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::connector::{Connector, Purpose};
use crate::failure::{Failure, Failures};
use crate::link::Link;
use crate::session::Session;

/// Callers that may wait for a lane at once; more are refused.
const MAX_WAITING: usize = 4096;

/// How soon a caller looks again that found only a connection that cannot be opened, while others are open and busy.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(crate) struct Lanes {
    links: Vec<Link>,
    /// The longest free first: what a caller that went away left behind has then had the most time to end.
    free: Mutex<VecDeque<usize>>,
    places: Semaphore,
    waiting: AtomicUsize,
    failures: Failures,
}

impl Lanes {
    pub(crate) fn start(connector: &Arc<Connector>, count: usize) -> Self {
        Self {
            links: (0..count).map(|_| Link::start(connector, Purpose::Anything)).collect(),
            free: Mutex::new((0..count).collect()),
            places: Semaphore::new(count),
            waiting: AtomicUsize::new(0),
            failures: connector.failures().clone(),
        }
    }

    /// A lane of one's own, with an open connection. While some connections cannot be had, those that are open serve all.
    pub(crate) async fn take(&self, deadline: Instant) -> Result<Lane<'_>, Failure> {
        loop {
            let place = self.place(deadline).await?;
            let index = self.any_free();
            let returned = Returned { lanes: self, index, _place: place };
            match self.links[index].session(deadline).await {
                Ok(session) => return Ok(Lane { session, _returned: returned }),
                Err(failure) => {
                    let others = self.links.iter().any(Link::is_up);
                    if !others || Instant::now() + LOOK_AGAIN >= deadline {
                        return Err(failure);
                    }
                }
            }
            drop(returned);
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn place(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, Failure> {
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        let _waiting = Counted::one_more(&self.waiting).ok_or_else(|| {
            self.failures.unavailable("too many changes are waiting; the database is too slow for this load")
        })?;
        match tokio::time::timeout_at(deadline, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(self.failures.unavailable(
                "no connection was free in time; raise the store's connections, or find what slows the database down",
            )),
        }
    }

    /// There is one: the semaphore counts them. One whose connection is open goes before one whose is not.
    fn any_free(&self) -> usize {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let up = free.iter().position(|index| self.links[*index].is_up()).unwrap_or(0);
        free.remove(up).unwrap_or(0)
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> usize {
        self.links.len()
    }

    /// How many connections are open, and how many were opened in all.
    pub(crate) fn counts(&self) -> (usize, u64) {
        (self.links.iter().filter(|link| link.is_up()).count(), self.links.iter().map(Link::opened).sum())
    }

    pub(crate) async fn close(self) {
        for link in self.links {
            link.close().await;
        }
    }
}

/// A connection that nobody else uses.
#[derive(Debug)]
pub(crate) struct Lane<'a> {
    pub(crate) session: Arc<Session>,
    _returned: Returned<'a>,
}

#[derive(Debug)]
struct Returned<'a> {
    lanes: &'a Lanes,
    index: usize,
    _place: SemaphorePermit<'a>,
}

impl Drop for Returned<'_> {
    fn drop(&mut self) {
        // Before the place is given back, so that whoever gets it finds a lane.
        self.lanes.free.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.index);
    }
}

struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn one_more(count: &'a AtomicUsize) -> Option<Self> {
        let counted = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < MAX_WAITING).then_some(counted)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
