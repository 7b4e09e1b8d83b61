//! New sessions, within their limit.
//!
//! # A creation and a mark
//!
//! A creation reads the newest log position as its session's epoch, and commits a moment later. A revocation in between makes a mark above that
//! epoch, so the session is dead from the moment it is seen. Were the mark settled and removed before the creation commits, nothing would be left
//! that says so, and a session that a check saw as ended would live. So each creation holds shared locks from before it reads the position
//! until its commit shows:
//!
//! - The user's lock is taken alone by whoever sets a mark for that user: no creation of the user's is under way then, and those that were are
//!   counted.
//! - Whoever sets a mark for everyone does not wait: a creation that hangs, of anybody, would hold the revocation up. Instead settling first takes
//!   the lock of all creations alone ([`FENCE`](crate::statements::FENCE)): then every creation that read an older position has ended, and its row
//!   is among those that settling looks at.

use std::borrow::Cow;

use hallpass_core::store::{Created, Limit, Record};
use hallpass_core::{Actor, EndReason, SessionId, Timestamp};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::database::{Database, Refusal};
use crate::failure::Failure;
use crate::row::{Reader, methods_text};
use crate::session::{Durability, Step};
use crate::statements::{INSERT, INSERT_LIMITED, LOCK_COUNTED_CREATION, LOCK_CREATION, LOCK_FOR_LIMIT};
use crate::value::Value;

pub(crate) async fn create(
    database: &Database,
    new: &Record,
    now: Timestamp,
    limit: Option<Limit>,
) -> Result<Created, Failure> {
    let Some(limit) = limit else {
        let keys = vec![database.keys.creations(), Value::Integer(database.keys.user(&new.session.user))];
        let steps = [Step::new(LOCK_CREATION, keys), Step::new(INSERT, columns(new))];
        return match database.write_until(database.deadline(), Durability::Durable, &steps).await {
            Ok(_) => Ok(Created::Created { evicted: Vec::new() }),
            Err(refusal) => duplicate(database, refusal),
        };
    };
    create_within(database, new, now, limit).await
}

/// The user's creations follow each other, in whatever process, so that each counts what the one before it made (G10).
async fn create_within(database: &Database, new: &Record, now: Timestamp, limit: Limit) -> Result<Created, Failure> {
    let session = &new.session;
    let max = Value::Integer(i64::from(limit.max.max(1)));
    let (renewed_after, authenticated_after) =
        (Value::time(limit.renewed_after), Value::time(limit.authenticated_after));
    let keys = vec![database.keys.creations(), Value::Integer(database.keys.user(&session.user))];
    let mut steps = vec![Step::new(LOCK_COUNTED_CREATION, keys)];
    if !limit.refuse {
        let values = vec![
            Value::Id(session.id),
            Value::text(session.user.as_str()),
            Value::text(session.class.as_str()),
            renewed_after.clone(),
            authenticated_after.clone(),
            Value::time(now),
            max.clone(),
        ];
        steps.push(Step::new(LOCK_FOR_LIMIT, values));
    }
    let by = Actor::system("max_per_user");
    let mut values = columns(new);
    values.extend([
        Value::time(now),
        renewed_after,
        authenticated_after,
        max,
        Value::Flag(limit.refuse),
        Value::text(by.kind.as_str()),
        Value::text(&by.name),
        Value::text(EndReason::Limit.as_str()),
    ]);
    steps.push(Step::new(INSERT_LIMITED, values));
    let mut rows = match database.write_until(database.deadline(), Durability::Durable, &steps).await {
        Ok(rows) => rows,
        Err(refusal) => return duplicate(database, refusal),
    };
    let answer = rows.pop().and_then(|mut rows| rows.pop());
    let answer = answer.ok_or_else(|| database.failures().corrupt("a creation was not answered"))?;
    let reader = Reader::new(&answer, database.failures());
    let (taken, live, granted): (bool, u64, bool) = (reader.get(0)?, reader.number(1)?, reader.get(2)?);
    if taken {
        return Ok(Created::Duplicate);
    }
    if !granted {
        return Ok(Created::LimitReached { live: u32::try_from(live).unwrap_or(u32::MAX) });
    }
    let evicted: Vec<Uuid> = reader.get(3)?;
    Ok(Created::Created { evicted: evicted.into_iter().map(|id| SessionId::from_bytes(id.into_bytes())).collect() })
}

/// An id that is taken is an outcome; anything else is not.
fn duplicate(database: &Database, refusal: Refusal) -> Result<Created, Failure> {
    match refusal {
        Refusal::Server(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Ok(Created::Duplicate),
        refusal => Err(database.explain(&refusal)),
    }
}

fn columns(new: &Record) -> Vec<Value<'_>> {
    let Record { session, token_hash } = new;
    vec![
        Value::Id(session.id),
        Value::Hash(token_hash.as_bytes()),
        Value::text(session.user.as_str()),
        Value::text(session.class.as_str()),
        Value::time(session.created_at),
        Value::time(session.authenticated_at),
        Value::time(session.renewed_at),
        Value::time(session.last_seen_at),
        Value::time(session.idle_expires_at),
        Value::time(session.absolute_expires_at),
        Value::text_or_null(session.label.as_ref().map(|label| label.as_str())),
        Value::TextOrNull(session.client.ip.map(|ip| Cow::Owned(ip.to_string()))),
        Value::Text(Cow::Owned(methods_text(&session.authentication))),
        Value::text(&session.authentication.source),
        Value::number(session.attributes_version),
        Value::text_or_null(session.client.user_agent.as_deref()),
        Value::Text(Cow::Owned(session.attributes.to_json())),
    ]
}
