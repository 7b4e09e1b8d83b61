//! Reading one session.

use async_trait::async_trait;
use hallpass_core::store::Record;
use hallpass_core::{SessionId, TokenHash};

use crate::connection::{Connection, Fault};
use crate::pool::Read;
use crate::row::hash_text;
use crate::table::Table;

/// By what it is looked for.
pub(crate) enum By {
    /// Its public id.
    Id(SessionId),
    /// The digest of its token.
    Hash(TokenHash),
}

/// One session, with its end if it has ended.
pub(crate) struct Find<'a> {
    pub(crate) table: &'a Table,
    pub(crate) by: By,
}

#[async_trait]
impl Read for Find<'_> {
    type Answer = Option<Record>;

    async fn run(&self, connection: &mut dyn Connection) -> Result<Option<Record>, Fault> {
        let row = match &self.by {
            By::Id(id) => self.table.row(connection, *id).await?,
            By::Hash(hash) => self.table.rows(connection, "h.token_hash = ?", &[hash_text(hash).into()]).await?.pop(),
        };
        Ok(row.map(|row| row.record))
    }
}
