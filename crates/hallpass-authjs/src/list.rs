//! Lists and counts.

use async_trait::async_trait;
use hallpass_core::Timestamp;
use hallpass_core::store::{Filter, Listing, Page};

use crate::connection::{Connection, Fault, Value};
use crate::pool::Read;
use crate::row::id;
use crate::table::{BOTH, LIVE, Table, live_at};

fn filtered(filter: &Filter, now: Timestamp) -> (String, Vec<Value>) {
    let (mut sql, mut values) = (String::from("1 = 1"), Vec::new());
    let mut and = |condition: &str, value: &str| {
        sql.push_str(condition);
        values.push(Value::from(value));
    };
    if let Some(user) = &filter.user {
        and(" AND h.user_id = ?", user.as_str());
    }
    if let Some(class) = &filter.class {
        and(" AND h.class = ?", class.as_str());
    }
    if !filter.include_ended {
        sql.push_str(" AND ");
        sql.push_str(LIVE);
        values.extend(live_at(now));
    }
    (sql, values)
}

/// A page of sessions.
pub(crate) struct List<'a> {
    pub(crate) table: &'a Table,
    pub(crate) filter: &'a Filter,
    pub(crate) page: Page,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Read for List<'_> {
    type Answer = Listing;

    async fn run(&self, connection: &mut dyn Connection) -> Result<Listing, Fault> {
        let limit = self.page.limit.min(Page::MAX_LIMIT);
        let (mut sql, mut values) = filtered(self.filter, self.now);
        if let Some(after) = self.page.after {
            sql.push_str(" AND h.id < ?");
            values.push(id(after));
        }
        sql.push_str(" ORDER BY h.id DESC LIMIT ?");
        // One more tells whether there is a next page.
        values.push(Value::Integer(i64::from(limit) + 1));
        let rows = self.table.rows(connection, &sql, &values).await?;
        let more = rows.len() > limit as usize;
        let sessions: Vec<_> = rows.into_iter().take(limit as usize).map(|row| row.record.session).collect();
        let next = sessions.last().map(|session| session.id).filter(|_| more);
        Ok(Listing { sessions, next })
    }
}

/// How many sessions match.
pub(crate) struct Count<'a> {
    pub(crate) table: &'a Table,
    pub(crate) filter: &'a Filter,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Read for Count<'_> {
    type Answer = u64;

    async fn run(&self, connection: &mut dyn Connection) -> Result<u64, Fault> {
        let (filter, values) = filtered(self.filter, self.now);
        let sql = self.table.sql(&format!("SELECT COUNT(*) {BOTH} WHERE {filter}"));
        let rows = connection.rows(&sql, &values).await?;
        rows.first().ok_or(Fault::Unreadable("count"))?.count(0, "count")
    }
}
