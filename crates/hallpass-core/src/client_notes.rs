//! The clients of sessions that another program made: noted at the first request that shows one, and written behind.
//!
//! A program that shares its table ([`Store::shared_tokens`](crate::Store::shared_tokens)) need not keep where a session was begun from; Auth.js keeps neither user
//! agent nor address. Whoever uses the session first here is then the best that there is for its owner to know it by. What is noted stays: a browser that comes
//! later, with a stolen token perhaps, must not take the place of the one that the owner knows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::ClientNote;
use crate::{Client, Session, SessionId, Sessions, State, StoreError};

/// At most this many sessions wait for a flush (about 3 MiB); others are noted at a later request.
const CAPACITY: usize = 4_096;
/// How many are written in one commit.
const BATCH: usize = 256;

/// A bounded buffer with at most one client per session: the first.
#[derive(Default)]
pub(crate) struct ClientNotes {
    /// In the order of their ids, so that concurrent writers lock rows in one order.
    waiting: Mutex<BTreeMap<SessionId, Client>>,
}

impl ClientNotes {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SessionId, Client>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, id: SessionId, client: Client) {
        let mut waiting = self.lock();
        if waiting.len() < CAPACITY {
            waiting.entry(id).or_insert(client);
        }
    }

    fn of(&self, id: SessionId) -> Option<Client> {
        self.lock().get(&id).cloned()
    }

    fn has(&self, id: SessionId) -> bool {
        self.lock().contains_key(&id)
    }

    /// All of them. They stay until they are [written](Self::written), so that a list shows each at any time and no request notes one anew.
    fn all(&self) -> Vec<ClientNote> {
        self.lock().iter().map(|(id, client)| ClientNote { id: *id, client: client.clone() }).collect()
    }

    fn written(&self, notes: &[ClientNote]) {
        let mut waiting = self.lock();
        for note in notes {
            waiting.remove(&note.id);
        }
    }
}

impl fmt::Debug for ClientNotes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Addresses are for no log.
        f.debug_struct("ClientNotes").field("waiting", &self.lock().len()).finish()
    }
}

impl Sessions {
    /// Whether [`Sessions::note_client`] would note something of this session: another program made it, and nobody knows by which client. No access to the store,
    /// and `false` after one comparison where no other program shares it.
    #[must_use]
    pub fn lacks_client(&self, session: &Session) -> bool {
        self.has_no_client(session) && !self.inner.client_notes.has(session.id)
    }

    /// Notes the client of a session that another program made and that was just accepted, if nobody has noted one yet: the first one stays. Does nothing for all
    /// other sessions. Costs no access to the store: it is written with the last-seen times ([`Sessions::flush_last_seen`]), which the background tasks do every
    /// 15 seconds, and [`Sessions::list`] and [`Sessions::show`] of this node show it until then.
    ///
    /// The web layer does this for requests that a browser sent; it is for integrations that have no such layer.
    ///
    /// ```
    /// use hallpass_core::{Client, Session, Sessions};
    ///
    /// /// After each check that accepted a session.
    /// fn accepted(sessions: &Sessions, session: &Session, address: std::net::IpAddr, user_agent: &[u8]) {
    ///     if sessions.lacks_client(session) {
    ///         sessions.note_client(session, &Client::new(Some(address), Some(user_agent)));
    ///     }
    /// }
    /// ```
    pub fn note_client(&self, session: &Session, client: &Client) {
        // What a store cannot write would keep all others from being written.
        let client = Client::new(client.ip, client.user_agent.as_deref().map(str::as_bytes));
        if client != Client::default() && self.has_no_client(session) {
            self.inner.client_notes.note(session.id, client);
        }
    }

    /// By the store alone, whatever waits to be written.
    fn has_no_client(&self, session: &Session) -> bool {
        // First what costs nothing: it is asked at each request.
        self.inner.shares_tokens && self.inner.store.shared_tokens().is_some_and(|shared| shared.lacks_client(session))
    }

    /// Shows the client that waits to be written, if one does.
    pub(crate) fn show_noted_client(&self, session: &mut Session) {
        if session.state == State::Live
            && self.has_no_client(session)
            && let Some(client) = self.inner.client_notes.of(session.id)
        {
            session.client = client;
        }
    }

    /// Writes the clients that wait in memory; how many rows changed. Those of sessions that have ended meanwhile are dropped by the store's own condition.
    pub(crate) async fn flush_client_notes(&self) -> Result<u64, StoreError> {
        let Some(shared) = self.inner.store.shared_tokens() else { return Ok(0) };
        let mut changed = 0;
        for notes in self.inner.client_notes.all().chunks(BATCH) {
            changed += shared.note_clients(notes, self.now()).await?;
            self.inner.client_notes.written(notes);
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> SessionId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        SessionId::from_bytes(bytes)
    }

    fn client(user_agent: &str) -> Client {
        Client::new(None, Some(user_agent.as_bytes()))
    }

    #[test]
    fn the_first_of_a_session_stays_until_it_is_written() {
        let notes = ClientNotes::default();
        notes.note(id(2), client("first"));
        notes.note(id(2), client("second"));
        notes.note(id(1), client("another"));
        let all = notes.all();
        assert_eq!(all[0], ClientNote { id: id(1), client: client("another") }, "ordered by id");
        assert_eq!(all[1], ClientNote { id: id(2), client: client("first") });
        assert_eq!(notes.of(id(2)), Some(client("first")), "while it is being written");
        notes.written(&all[1..]);
        assert_eq!((notes.of(id(2)), notes.of(id(1))), (None, Some(client("another"))));
    }

    #[test]
    fn it_is_bounded_and_debug_shows_no_address() {
        let notes = ClientNotes::default();
        for n in 0..u32::try_from(CAPACITY).unwrap() + 7 {
            notes.note(id(n), Client::new(Some([203, 0, 113, 9].into()), None));
        }
        assert_eq!(notes.all().len(), CAPACITY);
        assert!(!format!("{notes:?}").contains("203"));
    }
}
