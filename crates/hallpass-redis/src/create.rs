//! New sessions, within their limit.

use hallpass_core::store::{Created, Limit, Record};
use hallpass_core::{SessionId, StoreError, Timestamp};

use crate::answer::{Read, Unreadable, integer, many, next};
use crate::database::Database;
use crate::keys::Place;
use crate::outbox::{Before, logged};
use crate::row;

/// How often the rows that count may change under a creation before it gives up.
const MOST_TRIES: usize = 1_000;

/// One script, atomic. With a limit the script must be given the keys of the user's other sessions; the first try names none and is told which
/// there are. Two programs that create for one user at once make each other try again.
pub(crate) async fn create(
    database: &Database,
    new: &Record,
    now: Timestamp,
    limit: Option<Limit>,
) -> Result<Created, StoreError> {
    let session = &new.session;
    let place = Place::of_session(session.id);
    if place != Place::of_user(&session.user) {
        // Every id is made with its user's shard as the last byte, so this one can only be another user's. It is no id for a new session:
        // nothing is written, and the caller makes another one.
        tracing::warn!(id = %session.id, "the last byte of a new session's id is not its user's shard");
        return Ok(Created::Duplicate);
    }
    let stored = row::encoded(new);
    let idle = session.idle_expires_at.min(session.absolute_expires_at);
    let mut others: Vec<SessionId> = Vec::new();
    let mut turn = None;
    for _ in 0..MOST_TRIES {
        let nonce = database.nonce()?;
        let mut request = database
            .request(&database.scripts.create, place)
            .keys(database.keys.whole(session.id, session.user.as_str()))
            .keys(others.iter().map(|id| database.keys.session(*id)))
            .argument(nonce)
            .number(now.as_millis())
            .argument(*session.id.as_bytes())
            .argument(session.user.as_str())
            .argument(stored.as_slice())
            .number(database.expiry(idle, now))
            .number(idle.as_millis());
        request = match limit {
            None => request.argument("").argument("").argument("").argument(""),
            Some(limit) => request
                .number(limit.max.max(1))
                .argument(if limit.refuse { "1" } else { "0" })
                .number(limit.renewed_after.as_millis())
                .number(limit.authenticated_after.as_millis()),
        };
        request = request.argument(session.class.as_str());
        for id in &others {
            request = request.argument(*id.as_bytes());
        }
        let mut logged = logged(database, &request, nonce, Before::OwnEntries, true).await?;
        let unreadable = |error| database.unreadable(error);
        return match logged.word.as_slice() {
            b"created" => {
                let evicted = next(&mut logged.rest).and_then(many).and_then(ids).map_err(unreadable)?;
                Ok(Created::Created { evicted })
            }
            b"duplicate" => Ok(Created::Duplicate),
            b"limit" => {
                let live = next(&mut logged.rest).and_then(|live| integer(&live)).map_err(unreadable)?;
                Ok(Created::LimitReached { live: u32::try_from(live).unwrap_or(u32::MAX) })
            }
            b"again" => {
                if turn.is_none() {
                    turn = database.turn(place).await;
                }
                others = next(&mut logged.rest).and_then(many).and_then(ids).map_err(unreadable)?;
                continue;
            }
            _ => Err(unreadable(Unreadable)),
        };
    }
    Err(database.failures.unavailable("too many creations for one user at once; try again"))
}

pub(crate) fn ids(bytes: Vec<Vec<u8>>) -> Read<Vec<SessionId>> {
    let id = |bytes: Vec<u8>| bytes.try_into().map(SessionId::from_bytes).map_err(|_| Unreadable);
    bytes.into_iter().map(id).collect()
}
