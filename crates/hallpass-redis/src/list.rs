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
        let ids = ids_of(taking.database, place, taking.filter, after, part).await?;
        taking.take(&ids).await?;
        if ids.len() < part || taking.missing() == 0 {
            return Ok(());
        }
        after = ids.last().copied();
    }
}

async fn of_everybody(taking: &mut Taking<'_>, mut after: Option<SessionId>) -> Result<(), StoreError> {
    let mut share = taking.wanted / 64 + 3;
    loop {
        let (ids, whole) = newest(taking.database, taking.filter, after, share).await?;
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
    filter: &Filter,
    after: Option<SessionId>,
    share: usize,
) -> Result<(Vec<SessionId>, bool), StoreError> {
    let mut asked = Vec::new();
    for place in Place::shards() {
        for index in indexes(database, place, filter) {
            asked.push((place, Asked::Command(below(index, after, share))));
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
            let keys = ids.iter().flat_map(|id| [database.keys.session(*id), database.keys.touched(*id)]);
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

/// The next ids of one shard.
async fn ids_of(
    database: &Database,
    place: Place,
    filter: &Filter,
    after: Option<SessionId>,
    limit: usize,
) -> Result<Vec<SessionId>, StoreError> {
    let asked = indexes(database, place, filter).into_iter();
    let asked = asked.map(|index| (place, Asked::Command(below(index, after, limit)))).collect();
    let mut ids = Vec::new();
    for (_, value) in database.together(asked, Twice::Same).await? {
        ids.extend(many(value).and_then(|bytes| members(&bytes)).map_err(|error| database.unreadable(error))?);
    }
    sort(&mut ids);
    ids.truncate(limit);
    Ok(ids)
}

/// A user's are looked at one by one, and so are everybody's of one class or of a shard with marks; the others are counted by the indexes
/// alone. There, what expired natively is counted until it is swept.
pub(crate) async fn count(database: &Database, filter: &Filter, now: Timestamp) -> Result<u64, StoreError> {
    if let Some(user) = &filter.user {
        return rows(database, Place::of_user(user), filter, now).await;
    }
    let mut count = 0;
    for (place, told) in database.survey(&database.scripts.census, &["mx", "x", "a", "b"], &[now]).await? {
        let [marked, live, unended, ended] = told.as_slice() else { continue };
        count += match (filter.include_ended, filter.class.is_some()) {
            (true, false) => (unended + ended).unsigned_abs(),
            (false, false) if *marked == 0 => live.unsigned_abs(),
            (include_ended, _) if *unended > 0 || (include_ended && *ended > 0) => {
                rows(database, place, filter, now).await?
            }
            _ => 0,
        };
    }
    Ok(count)
}

async fn rows(database: &Database, place: Place, filter: &Filter, now: Timestamp) -> Result<u64, StoreError> {
    let (mut after, mut count) = (None, 0);
    loop {
        let ids = ids_of(database, place, filter, after, ROWS_TOGETHER).await?;
        if ids.is_empty() {
            return Ok(count);
        }
        let request = database
            .request(&database.scripts.count, place)
            .keys(ids.iter().flat_map(|id| [database.keys.session(*id), database.keys.touched(*id)]))
            .number(now.as_millis())
            .argument(filter.class.as_ref().map_or("", Class::as_str))
            .argument(if filter.include_ended { "1" } else { "0" });
        count += number(&database.script(&request, Twice::Same).await?).map_err(|error| database.unreadable(error))?;
        if ids.len() < ROWS_TOGETHER {
            return Ok(count);
        }
        after = ids.last().copied();
    }
}
