//! Lists and counts.

use hallpass_core::store::{Filter, Listing, Page};
use hallpass_core::{Class, Session, SessionId, Timestamp, UserId};
use mysql_async::Value;

use crate::connection::Connection;
use crate::failure::Fault;
use crate::row::{self, optional_text, text, time};
use crate::statements::{
    COUNT, COUNT_LIVE, COUNT_LIVE_OF_USER, COUNT_OF_USER, LIST, LIST_LIVE, LIST_LIVE_OF_USER, LIST_OF_USER,
};
use crate::work::Read;

/// Above every id: bytes that begin like other ones and go on are greater.
const ABOVE_ALL: [u8; 17] = [0xff; 17];

/// A page of sessions.
pub(crate) struct List<'a> {
    pub(crate) filter: &'a Filter,
    pub(crate) page: Page,
    pub(crate) now: Timestamp,
}

impl Read for List<'_> {
    type Answer = Listing;

    async fn run(&self, connection: &mut Connection) -> Result<Listing, Fault> {
        let limit = self.page.limit.min(Page::MAX_LIMIT);
        // One more tells whether there is a next page.
        let count = Value::from(limit + 1);
        let after = self.page.after.as_ref().map_or(ABOVE_ALL.as_slice(), |id: &SessionId| id.as_bytes());
        let after = Value::from(after);
        let class = optional_text(self.filter.class.as_ref().map(Class::as_str));
        let now = time(self.now);
        let user = self.filter.user.as_ref().map(|user: &UserId| text(user.as_str()));
        let (sql, values) = match (user, self.filter.include_ended) {
            (Some(user), false) => {
                (LIST_LIVE_OF_USER, vec![user, after, class.clone(), class, now.clone(), now, count])
            }
            (Some(user), true) => {
                let half = [user, after, class.clone(), class, count.clone()];
                (LIST_OF_USER, [half.as_slice(), half.as_slice(), &[count]].concat())
            }
            (None, false) => (LIST_LIVE, vec![after, class.clone(), class, now.clone(), now, count]),
            (None, true) => (LIST, vec![after, class.clone(), class, count]),
        };
        let rows = connection.rows(sql, values).await?;
        let more = rows.len() > limit as usize;
        let read = |mut columns| row::record(&mut columns).map(|record| record.session);
        let sessions: Vec<Session> = rows.into_iter().take(limit as usize).map(read).collect::<Result<_, _>>()?;
        let next = sessions.last().map(|session| session.id).filter(|_| more);
        Ok(Listing { sessions, next })
    }
}

/// How many sessions there are.
pub(crate) struct Count<'a> {
    pub(crate) filter: &'a Filter,
    pub(crate) now: Timestamp,
}

impl Read for Count<'_> {
    type Answer = u64;

    async fn run(&self, connection: &mut Connection) -> Result<u64, Fault> {
        let class = optional_text(self.filter.class.as_ref().map(Class::as_str));
        let now = time(self.now);
        let user = self.filter.user.as_ref().map(|user: &UserId| text(user.as_str()));
        let (sql, values) = match (user, self.filter.include_ended) {
            (Some(user), false) => (COUNT_LIVE_OF_USER, vec![user, class.clone(), class, now.clone(), now]),
            (Some(user), true) => (COUNT_OF_USER, vec![user, class.clone(), class]),
            (None, false) => (COUNT_LIVE, vec![class.clone(), class, now.clone(), now]),
            (None, true) => (COUNT, vec![class.clone(), class]),
        };
        let mut columns = connection.first(sql, values).await?.ok_or(Fault::Unreadable("count"))?;
        columns.count(0, "count")
    }
}
