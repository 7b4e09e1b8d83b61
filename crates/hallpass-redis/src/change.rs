//! Conditional writes to one live session. None of them can make or revive one.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use hallpass_core::store::{LastSeen, Renewal, Renewed, Rotation, Write};
use hallpass_core::{Attributes, Label, SessionId, StoreError, Timestamp, UserId};
use redis::Value;

use crate::answer::{Unreadable, array, bytes, count, integer, next};
use crate::database::{Database, Twice};
use crate::keys::Place;
use crate::outbox::{Before, logged};
use crate::row::{self, methods_text, present};
use crate::script::{Request, Script};

/// So many sessions in one script: a server does nothing else meanwhile.
const TOUCHED_TOGETHER: usize = 200;

impl Database {
    fn of_session<'a>(&self, script: &'a Script, id: SessionId) -> Request<'a> {
        let request = self.request(script, Place::of_session(id));
        request.key(self.keys.session(id))
    }

    /// The word and what follows it.
    async fn told(&self, request: &Request<'_>) -> Result<(Vec<u8>, std::vec::IntoIter<Value>), StoreError> {
        let answer = array(self.script(request, Twice::Differs).await?).map(Vec::into_iter);
        let told = answer.and_then(|mut answer| Ok((next(&mut answer).and_then(bytes)?, answer)));
        told.map_err(|error| self.unreadable(error))
    }
}

pub(crate) async fn renew(database: &Database, renewal: &Renewal) -> Result<Renewed, StoreError> {
    let request = database
        .of_session(&database.scripts.renew, renewal.id)
        .number(renewal.now.as_millis())
        .argument(*renewal.token_hash.as_bytes())
        .number(renewal.due_before.as_millis())
        .number(renewal.idle_expires_at.as_millis())
        .argument(*renewal.id.as_bytes());
    let (word, mut rest) = database.told(&request).await?;
    match word.as_slice() {
        b"renewed" => {
            let idle = next(&mut rest).and_then(|idle| integer(&idle)).map_err(|error| database.unreadable(error))?;
            Ok(Renewed::Renewed { idle_expires_at: Timestamp::from_millis(idle) })
        }
        b"not due" => Ok(Renewed::NotDue),
        b"gone" => Ok(Renewed::Gone),
        _ => Err(database.unreadable(Unreadable)),
    }
}

pub(crate) async fn rotate(database: &Database, rotation: &Rotation) -> Result<Write<()>, StoreError> {
    let nonce = database.nonce()?;
    let mut request = database
        .of_session(&database.scripts.rotate, rotation.id)
        .argument(nonce)
        .number(rotation.now.as_millis())
        .argument(*rotation.id.as_bytes())
        .argument(*rotation.old_hash.as_bytes())
        .argument(*rotation.new_hash.as_bytes());
    request = match &rotation.reauthentication {
        None => request.argument(""),
        Some(fresh) => request
            .number(fresh.idle_expires_at.as_millis())
            .number(fresh.absolute_expires_at.as_millis())
            .argument(methods_text(&fresh.authentication))
            .argument(fresh.authentication.source.as_str())
            .argument(row::address(fresh.client.ip))
            .argument(present(fresh.client.user_agent.as_deref())),
    };
    let logged = logged(database, &request, nonce, Before::OwnEntries, true).await?;
    match logged.word.as_slice() {
        b"done" => Ok(Write::Done(())),
        b"conflict" => Ok(Write::Conflict),
        b"gone" => Ok(Write::Gone),
        _ => Err(database.unreadable(Unreadable)),
    }
}

pub(crate) async fn set_label(
    database: &Database,
    id: SessionId,
    owner: &UserId,
    label: Option<&Label>,
    now: Timestamp,
) -> Result<Write<()>, StoreError> {
    let nonce = database.nonce()?;
    let request = database
        .of_session(&database.scripts.label, id)
        .argument(nonce)
        .number(now.as_millis())
        .argument(*id.as_bytes())
        .argument(owner.as_str())
        .argument(present(label.map(Label::as_str)));
    match logged(database, &request, nonce, Before::OwnEntries, false).await?.word.as_slice() {
        b"done" => Ok(Write::Done(())),
        b"gone" => Ok(Write::Gone),
        _ => Err(database.unreadable(Unreadable)),
    }
}

pub(crate) async fn set_attributes(
    database: &Database,
    id: SessionId,
    expected: u64,
    attributes: &Attributes,
    now: Timestamp,
) -> Result<Write<u64>, StoreError> {
    let nonce = database.nonce()?;
    let request = database
        .of_session(&database.scripts.attributes, id)
        .argument(nonce)
        .number(now.as_millis())
        .argument(*id.as_bytes())
        .number(expected)
        .argument(attributes.to_json());
    let mut logged = logged(database, &request, nonce, Before::OwnEntries, false).await?;
    match logged.word.as_slice() {
        b"done" => {
            let version = next(&mut logged.rest).and_then(|version| count(&version));
            version.map(Write::Done).map_err(|error| database.unreadable(error))
        }
        b"conflict" => Ok(Write::Conflict),
        b"gone" => Ok(Write::Gone),
        _ => Err(database.unreadable(Unreadable)),
    }
}

/// A script for each shard, in parts, all at once.
pub(crate) async fn touch(database: &Database, seen: &[LastSeen], now: Timestamp) -> Result<u64, StoreError> {
    let mut by_shard: BTreeMap<u8, Vec<LastSeen>> = BTreeMap::new();
    for seen in seen {
        by_shard.entry(seen.id.shard()).or_default().push(*seen);
    }
    let parts = by_shard.iter().flat_map(|(shard, seen)| seen.chunks(TOUCHED_TOGETHER).map(|part| (*shard, part)));
    let one = |(shard, part): (u8, &[LastSeen])| {
        let mut request = database.request(&database.scripts.touch, Place::shard(shard)).number(now.as_millis());
        for LastSeen { id, at } in part {
            request = request.key(database.keys.session(*id)).number(at.as_millis());
        }
        async move { count(&database.script(&request, Twice::Differs).await?).map_err(|error| database.unreadable(error)) }
    };
    Ok(try_join_all(parts.map(one)).await?.into_iter().sum())
}
