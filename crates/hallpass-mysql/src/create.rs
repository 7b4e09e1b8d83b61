//! New sessions, within their limit.

use hallpass_core::store::{ChangeKind, Created, Limit, Record};
use hallpass_core::{Actor, EndReason, SessionId, StoreError, Timestamp, UserId};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::connection::Connection;
use crate::failure::{Failures, Fault};
use crate::literal::{MAX_IDS, fill, ids};
use crate::revocation_log::{log, next_position, return_positions};
use crate::revoke::{End, end_session};
use crate::row::{id, methods_text, number, optional_text, text, time};
use crate::statements::{EXISTS, INSERT, LIMITED, LOCK_STRIPE, LOCK_UNENDED_ROWS};
use crate::work::{Ending, Transaction};

/// Users share as many locks.
const STRIPES: usize = 256;
/// Creations of a stripe that may use a connection at once: one works, and the next one already waits where it will be woken first.
const AT_ONCE: usize = 2;

/// Which of the locks is a user's.
fn stripe(user: &UserId) -> u8 {
    Sha256::digest(user.as_str().as_bytes())[0]
}

/// The queues of creations within a limit, before they take a connection. They follow each other in the database anyway; a crowd that waited there, at the
/// lock of one user, would keep every connection of this store from all others.
#[derive(Debug)]
pub(crate) struct Queues(Vec<Semaphore>);

impl Default for Queues {
    fn default() -> Self {
        Self((0..STRIPES).map(|_| Semaphore::new(AT_ONCE)).collect())
    }
}

impl Queues {
    /// Waits for a turn, by `deadline` at the latest.
    pub(crate) async fn turn(
        &self,
        user: &UserId,
        deadline: Instant,
        failures: &Failures,
    ) -> Result<SemaphorePermit<'_>, StoreError> {
        match timeout_at(deadline, self.0[usize::from(stripe(user))].acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => {
                Err(failures.unavailable("too many sessions are being made for one user at once; try again later"))
            }
        }
    }
}

/// A creation.
///
/// Creations of a user within a limit take turns at a lock, so that each counts what the one before made (G10).
pub(crate) struct Create<'a> {
    pub(crate) new: &'a Record,
    pub(crate) now: Timestamp,
    pub(crate) limit: Option<Limit>,
}

impl Transaction for Create<'_> {
    type Answer = Created;

    async fn run(&self, connection: &mut Connection) -> Result<Ending<Created>, Fault> {
        let mut evicted = Vec::new();
        if let Some(limit) = self.limit {
            connection.first(LOCK_STRIPE, vec![stripe(&self.new.session.user).into()]).await?;
            if connection.exists(EXISTS, vec![id(self.new.session.id)]).await? {
                return Ok(Ending::RollBack(Created::Duplicate));
            }
            let mut counted = self.counted(connection, limit).await?;
            let live = counted.len();
            let max = usize::try_from(limit.max.max(1)).unwrap_or(usize::MAX);
            if live >= max && limit.refuse {
                let live = u32::try_from(live).unwrap_or(u32::MAX);
                return Ok(Ending::RollBack(Created::LimitReached { live }));
            }
            counted.truncate((live + 1).saturating_sub(max));
            evicted = self.evict(connection, counted).await?;
        }
        match self.insert(connection).await {
            Ok(()) => Ok(Ending::Commit(Created::Created { evicted })),
            Err(fault) if fault.is_duplicate() => Ok(Ending::RollBack(Created::Duplicate)),
            Err(fault) => Err(fault),
        }
    }
}

impl Create<'_> {
    async fn counted(&self, connection: &mut Connection, limit: Limit) -> Result<Vec<SessionId>, Fault> {
        let session = &self.new.session;
        let values = vec![
            text(session.user.as_str()),
            text(session.class.as_str()),
            time(limit.renewed_after),
            time(limit.authenticated_after),
            time(self.now),
            time(self.now),
        ];
        let rows = connection.rows(LIMITED, values).await?;
        rows.into_iter().map(|mut columns| columns.array(0, "id").map(SessionId::from_bytes)).collect()
    }

    /// Ends these sessions, the oldest first; those of them that did not end by themselves meanwhile.
    async fn evict(&self, connection: &mut Connection, oldest: Vec<SessionId>) -> Result<Vec<SessionId>, Fault> {
        if oldest.is_empty() {
            return Ok(oldest);
        }
        // Locked in the order of their ids before the counter is, as everywhere.
        let mut sorted: Vec<[u8; 16]> = oldest.iter().map(|id| *id.as_bytes()).collect();
        sorted.sort_unstable();
        let mut locked = Vec::with_capacity(sorted.len());
        for part in sorted.chunks(MAX_IDS) {
            locked.extend(connection.ids_of_text(fill(LOCK_UNENDED_ROWS, &[("{ids}", &ids(part))])).await?);
        }
        let by = Actor::system("max_per_user");
        let mut evicted = Vec::with_capacity(oldest.len());
        let mut spare = None;
        for session in oldest {
            if locked.binary_search(session.as_bytes()).is_err() {
                continue;
            }
            let position = match spare.take() {
                Some(position) => position,
                None => next_position(connection).await?,
            };
            let end = End { position, at: self.now, by: &by, reason: EndReason::Limit };
            if end_session(connection, session, &end).await? {
                log(connection, position, &ChangeKind::Ended(session), self.now).await?;
                evicted.push(session);
            } else {
                // A mark was first: the position is for the next one.
                spare = Some(position);
            }
        }
        if spare.is_some() {
            return_positions(connection, 1).await?;
        }
        Ok(evicted)
    }

    async fn insert(&self, connection: &mut Connection) -> Result<(), Fault> {
        let Record { session, token_hash } = self.new;
        let idle = time(session.idle_expires_at.min(session.absolute_expires_at));
        let values = vec![
            id(session.id),
            token_hash.as_bytes().as_slice().into(),
            text(session.user.as_str()),
            text(session.class.as_str()),
            time(session.created_at),
            time(session.authenticated_at),
            time(session.renewed_at),
            time(session.last_seen_at),
            idle.clone(),
            time(session.absolute_expires_at),
            idle,
            optional_text(session.label.as_ref().map(|label| label.as_str())),
            optional_text(session.client.ip.map(|ip| ip.to_string()).as_deref()),
            number(session.attributes_version),
            text(&methods_text(&session.authentication)),
            text(&session.authentication.source),
            optional_text(session.client.user_agent.as_deref()),
            text(&session.attributes.to_json()),
        ];
        connection.write(INSERT, values).await.map(drop)
    }
}
