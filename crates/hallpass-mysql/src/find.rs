//! Reading one session: the check of every request.

use hallpass_core::SessionId;
use hallpass_core::store::Record;

use crate::connection::Connection;
use crate::failure::Fault;
use crate::row;
use crate::statements::FIND_ENDED;
use crate::work::Read;

/// One statement, which sees every commit that was acknowledged before it began (G1); a second one for a session that ended, or for any while
/// there is a mark above its epoch.
pub(crate) struct Find(pub(crate) SessionId);

impl Read for Find {
    type Answer = Option<Record>;

    async fn run(&self, connection: &mut Connection) -> Result<Option<Record>, Fault> {
        let Some(mut columns) = connection.find(self.0).await? else {
            return Ok(None);
        };
        // NULL without any mark.
        if columns.optional_integer(row::MAY_HAVE_ENDED, "epoch")?.unwrap_or(0) == 0 {
            return row::live_record(&mut columns).map(Some);
        }
        // A later snapshot is as good: it sees what the first one saw and more.
        let found = connection.first(FIND_ENDED, vec![row::id(self.0)]).await?;
        found.map(|mut columns| row::record(&mut columns)).transpose()
    }
}
