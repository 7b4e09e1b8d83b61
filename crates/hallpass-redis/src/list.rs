//! Lists and counts.

use hallpass_core::store::{Filter, Listing, Page};
use hallpass_core::{Class, Session, SessionId, StoreError, Timestamp, UserId};
use redis::Cmd;

use crate::answer::{Read, array, count as number, many, member};
use crate::database::{Asked, Database, Twice};
use crate::find::{shown, unreadable};
use crate::keys::Place;

/// So many rows in one script: a server does nothing else meanwhile.
const ROWS_TOGETHER: usize = 200;

/// Of so many shards a part of the rows is looked at in one turn.
const SHARDS_TOGETHER: usize = 16;

/// One page. A user's lies in one shard; everybody's is merged from all of them: first a small share of ids from each, then the rows of the newest
/// alone.
pub(crate) async fn list(
    database: &Database,
    filter: &Filter,
    page: Page,
    now: Timestamp,
) -> Result<Listing, StoreError> {
    let limit = page.limit.min(Page::MAX_LIMIT) as usize;
    // One more tells whether there is a next page.
    let mut taking = Taking { database, filter, now, wanted: limit + 1, sessions: Vec::new() };
    match &filter.user {
        Some(user) => of_user(&mut taking, user, page.after).await?,
        None => of_everybody(&mut taking, page.after).await?,
    }
    let mut sessions = taking.sessions;
    let more = sessions.len() > limit;
    sessions.truncate(limit);
    let next = sessions.last().map(|session| session.id).filter(|_| more);
    Ok(Listing { sessions, next })
}

async fn of_user(taking: &mut Taking<'_>, user: &UserId, mut after: Option<SessionId>) -> Result<(), StoreError> {
    let place = Place::of_user(user);
    loop {
        // Where a filter hides some, a few more at once save another turn.
        let part = if taking.filter.class.is_some() { ROWS_TOGETHER } else { taking.missing().min(ROWS_TOGETHER) };
        let ids = ids_of(taking.database, &[(place, after)], taking.filter, part).await?;
        let ids: Vec<SessionId> = ids.into_iter().flat_map(|(_, ids)| ids).collect();
        taking.take(&ids).await?;
        if ids.len() < part || taking.missing() == 0 {
            return Ok(());
        }
        after = ids.last().copied();
    }
}

async fn of_everybody(taking: &mut Taking<'_>, mut after: Option<SessionId>) -> Result<(), StoreError> {
    let places = taking.database.shards_in_use().await?;
    let mut share = ((4 * taking.wanted).div_ceil(places.len().max(1)) + 3).min(Page::MAX_LIMIT as usize);
    loop {
        let (ids, whole) = newest(taking.database, &places, taking.filter, after, share).await?;
        let mut rest = ids.as_slice();
        while !rest.is_empty() && taking.missing() > 0 {
            let (part, later) = rest.split_at(taking.missing().max(16).min(rest.len()));
            taking.take(part).await?;
            rest = later;
        }
        if whole || taking.missing() == 0 {
            return Ok(());
        }
        after = ids.last().copied().or(after);
        share = (share * 4).min(Page::MAX_LIMIT as usize);
    }
}

/// The newest ids below `after`, as far as they are known to be complete when each shard tells so many; and whether these are all.
async fn newest(
    database: &Database,
    places: &[Place],
    filter: &Filter,
    after: Option<SessionId>,
    share: usize,
) -> Result<(Vec<SessionId>, bool), StoreError> {
    let mut asked = Vec::new();
    for place in places {
        for index in indexes(database, *place, filter) {
            asked.push((*place, Asked::Command(below(index, after, share))));
        }
    }
    // Below this one, a shard may have more than it told.
    let mut complete: Option<SessionId> = None;
    let mut ids = Vec::new();
    for (_, value) in database.together(asked, Twice::Same).await? {
        let told = many(value).and_then(|bytes| members(&bytes)).map_err(|error| database.unreadable(error))?;
        if told.len() >= share {
            complete = complete.max(told.last().copied());
        }
        ids.extend(told);
    }
    sort(&mut ids);
    ids.retain(|id| complete.is_none_or(|complete| *id >= complete));
    Ok((ids, complete.is_none()))
}

/// Sessions as they are found.
struct Taking<'a> {
    database: &'a Database,
    filter: &'a Filter,
    now: Timestamp,
    wanted: usize,
    sessions: Vec<Session>,
}

impl Taking<'_> {
    const fn missing(&self) -> usize {
        self.wanted.saturating_sub(self.sessions.len())
    }

    /// Reads the rows and takes those that the filter shows, in the order of the ids.
    async fn take(&mut self, ids: &[SessionId]) -> Result<(), StoreError> {
        let database = self.database;
        let mut by_place: Vec<(Place, Vec<SessionId>)> = Vec::new();
        for id in ids {
            let place = Place::of_session(*id);
            match by_place.iter_mut().find(|(known, ids)| *known == place && ids.len() < ROWS_TOGETHER) {
                Some((_, ids)) => ids.push(*id),
                None => by_place.push((place, vec![*id])),
            }
        }
        let asked = by_place.iter().map(|(place, ids)| {
            let request = database.request(&database.scripts.rows, *place);
            let keys = ids.iter().map(|id| database.keys.session(*id));
            (*place, Asked::Script(request.keys(keys)))
        });
        let answers = database.together(asked.collect(), Twice::Same).await?;
        let mut found = Vec::with_capacity(ids.len());
        for ((_, ids), (_, value)) in by_place.iter().zip(answers) {
            let mut values = array(value).map_err(|error| database.unreadable(error))?.into_iter();
            for id in ids {
                // What expired natively is in an index until it is swept.
                let record = shown(*id, &mut values).map_err(|error| unreadable(database, *id, &error))?;
                found.extend(record.map(|record| record.session).filter(|session| self.shows(session)));
            }
        }
        found.sort_unstable_by_key(|session| std::cmp::Reverse(session.id));
        let missing = self.missing();
        self.sessions.extend(found.into_iter().take(missing));
        Ok(())
    }

    fn shows(&self, session: &Session) -> bool {
        let Filter { user, class, include_ended } = self.filter;
        (*include_ended || session.is_live_at(self.now))
            && user.as_ref().is_none_or(|user| *user == session.user)
            && class.as_ref().is_none_or(|class| *class == session.class)
    }
}

/// The index of what has not ended, and, if the filter wants it, that of what has.
fn indexes(database: &Database, place: Place, filter: &Filter) -> Vec<Vec<u8>> {
    let keys = &database.keys;
    let mut indexes = match &filter.user {
        Some(user) => vec![keys.of_user(place, "u", user.as_str()), keys.of_user(place, "h", user.as_str())],
        None => vec![keys.of(place, "a"), keys.of(place, "b")],
    };
    if !filter.include_ended {
        indexes.truncate(1);
    }
    indexes
}

/// The newest of an index below an id.
fn below(index: Vec<u8>, after: Option<SessionId>, limit: usize) -> Cmd {
    let from = after.map_or_else(|| b"+".to_vec(), |id| [b"(", id.as_bytes().as_slice()].concat());
    let mut command = redis::cmd("ZRANGE");
    command.arg(index).arg(from).arg("-").arg("BYLEX").arg("REV").arg("LIMIT").arg(0).arg(limit);
    command
}

fn members(bytes: &[Vec<u8>]) -> Read<Vec<SessionId>> {
    bytes.iter().map(|bytes| member(bytes).map(|(id, _)| id)).collect()
}

/// Newest first. A session that ended between two readings is in both indexes.
fn sort(ids: &mut Vec<SessionId>) {
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids.dedup();
}

/// The next ids of each of these shards.
async fn ids_of(
    database: &Database,
    places: &[(Place, Option<SessionId>)],
    filter: &Filter,
    limit: usize,
) -> Result<Vec<(Place, Vec<SessionId>)>, StoreError> {
    let mut asked = Vec::new();
    for (place, after) in places {
        for index in indexes(database, *place, filter) {
            asked.push((*place, Asked::Command(below(index, *after, limit))));
        }
    }
    let mut found: Vec<(Place, Vec<SessionId>)> = places.iter().map(|(place, _)| (*place, Vec::new())).collect();
    for (place, value) in database.together(asked, Twice::Same).await? {
        let told = many(value).and_then(|bytes| members(&bytes)).map_err(|error| database.unreadable(error))?;
        if let Some((_, ids)) = found.iter_mut().find(|(known, _)| *known == place) {
            ids.extend(told);
        }
    }
    for (_, ids) in &mut found {
        sort(ids);
        ids.truncate(limit);
    }
    Ok(found)
}

/// A user's are looked at one by one, and so are everybody's of one class or of a shard with marks; the others are counted by the indexes
/// alone. There, what expired natively is counted until it is swept.
pub(crate) async fn count(database: &Database, filter: &Filter, now: Timestamp) -> Result<u64, StoreError> {
    if let Some(user) = &filter.user {
        return rows(database, &[Place::of_user(user)], filter, now).await;
    }
    let (mut count, mut one_by_one) = (0, Vec::new());
    for (place, told) in database.survey(&database.scripts.census, &["mq", "x", "a", "b"], &[now]).await? {
        let [marked, live, unended, ended] = told.as_slice() else { continue };
        count += match (filter.include_ended, filter.class.is_some()) {
            (true, false) => (unended + ended).unsigned_abs(),
            (false, false) if *marked == 0 => live.unsigned_abs(),
            (include_ended, _) if *unended > 0 || (include_ended && *ended > 0) => {
                one_by_one.push(place);
                0
            }
            _ => 0,
        };
    }
    for some in one_by_one.chunks(SHARDS_TOGETHER) {
        count += rows(database, some, filter, now).await?;
    }
    Ok(count)
}

/// The rows of some shards, a part of each at a time.
async fn rows(database: &Database, places: &[Place], filter: &Filter, now: Timestamp) -> Result<u64, StoreError> {
    let mut left: Vec<(Place, Option<SessionId>)> = places.iter().map(|place| (*place, None)).collect();
    let mut count = 0;
    while !left.is_empty() {
        let parts = ids_of(database, &left, filter, ROWS_TOGETHER).await?;
        let mut asked = Vec::with_capacity(parts.len());
        let mut more = Vec::new();
        for (place, ids) in parts.into_iter().filter(|(_, ids)| !ids.is_empty()) {
            if ids.len() >= ROWS_TOGETHER {
                more.push((place, ids.last().copied()));
            }
            let request = database
                .request(&database.scripts.count, place)
                .keys(ids.iter().map(|id| database.keys.session(*id)))
                .number(now.as_millis())
                .argument(filter.class.as_ref().map_or("", Class::as_str))
                .argument(if filter.include_ended { "1" } else { "0" });
            asked.push((place, Asked::Script(request)));
        }
        for (_, counted) in database.together(asked, Twice::Same).await? {
            count += number(&counted).map_err(|error| database.unreadable(error))?;
        }
        left = more;
    }
    Ok(count)
}
