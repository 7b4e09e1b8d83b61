//! New sessions, within their limit.

use async_trait::async_trait;
use hallpass_core::store::{ChangeKind, Created, Limit, Record};
use hallpass_core::{Actor, EndReason, Ended, Timestamp};

use crate::adopt::adopt_all_of;
use crate::connection::{Connection, Fault, Value};
use crate::dialect::Filled;
use crate::pool::{Ending, Transaction};
use crate::revoke::end_one;
use crate::row::{INSERT, Row, id, values};
use crate::table::{LIVE, Table, live_at};

/// A creation.
pub(crate) struct Create<'a> {
    pub(crate) table: &'a Table,
    pub(crate) new: &'a Record,
    /// As what the application's table holds the token.
    pub(crate) key: &'a str,
    pub(crate) now: Timestamp,
    pub(crate) limit: Option<Limit>,
}

#[async_trait]
impl Transaction for Create<'_> {
    type Answer = Created;

    async fn run(&self, connection: &mut dyn Connection) -> Result<Ending<Created>, Fault> {
        let (table, session) = (self.table, &self.new.session);
        let user = table.dialect.user(&session.user).ok_or(Fault::NoSuchUser)?;
        let mut turn = table.turn(connection).await?;
        if table.row(connection, session.id).await?.is_some() {
            return Ok(Ending::RollBack(Created::Duplicate));
        }
        // Where the table has no foreign key, Auth.js would not accept the session, and nobody would know why.
        if connection.rows(&table.sql("{find_user}"), std::slice::from_ref(&user)).await?.is_empty() {
            return Err(Fault::NoSuchUser);
        }
        let mut evicted = Vec::new();
        if let Some(limit) = self.limit {
            adopt_all_of(table, connection, &session.user, self.now).await?;
            let mut counted = self.counted(connection, limit).await?;
            let (live, max) = (counted.len(), usize::try_from(limit.max.max(1)).unwrap_or(usize::MAX));
            if live >= max && limit.refuse {
                return Ok(Ending::RollBack(Created::LimitReached { live: u32::try_from(live).unwrap_or(u32::MAX) }));
            }
            counted.truncate((live + 1).saturating_sub(max));
            let end = Ended { at: self.now, by: Actor::system("max_per_user"), reason: EndReason::Limit };
            for row in counted {
                end_one(table, connection, &row, &end).await?;
                turn.log(connection, &ChangeKind::Ended(row.record.session.id), self.now).await?;
                evicted.push(row.record.session.id);
            }
        }
        self.insert(connection, user).await?;
        Ok(Ending::Commit(Created::Created { evicted }))
    }
}

impl Create<'_> {
    /// The sessions that count for the limit, oldest first.
    async fn counted(&self, connection: &mut dyn Connection, limit: Limit) -> Result<Vec<Row>, Fault> {
        let session = &self.new.session;
        let filter = format!("h.user_id = ? AND h.class = ? AND {LIVE} ORDER BY h.created_at, h.id");
        let [now, again] = live_at(self.now);
        let values = [session.user.as_str().into(), session.class.as_str().into(), now, again];
        let mut rows = self.table.rows(connection, &filter, &values).await?;
        rows.retain(|row| {
            let old = &row.record.session;
            old.renewed_at > limit.renewed_after && old.authenticated_at > limit.authenticated_after
        });
        Ok(rows)
    }

    async fn insert(&self, connection: &mut dyn Connection, user: Value) -> Result<(), Fault> {
        let (table, session) = (self.table, &self.new.session);
        let dialect = &table.dialect;
        let form = dialect.new_form();
        let expires = dialect.moment(session.idle_expires_at.min(session.absolute_expires_at), form);
        let filled = dialect.filled();
        let names: String = filled.iter().map(|(name, _)| format!(", {name}")).collect();
        let places: String = filled.iter().map(|(_, filled)| format!(", {}", filled.place())).collect();
        let sql = format!(
            "INSERT INTO {{shared}} ({{token}}, {{user}}, {{raw_expires}}{names}) VALUES (?, {}, {{moment}}{places})",
            dialect.user_place()
        );
        let mut shared = vec![self.key.into(), user, expires];
        shared.extend(filled.iter().map(|(_, filled)| match filled {
            Filled::Id(_) => id(session.id),
            Filled::Moment(_) => dialect.moment(self.now, form),
        }));
        table.write(connection, &sql, &shared).await?;
        table.write(connection, INSERT, &values(self.new, self.key)).await.map(drop)
    }
}
