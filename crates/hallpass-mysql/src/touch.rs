//! Moving last-seen times forward.

use std::collections::BTreeMap;

use hallpass_core::Timestamp;
use hallpass_core::store::LastSeen;

use crate::connection::Connection;
use crate::failure::Fault;
use crate::literal::{by_id, fill, ids};
use crate::statements::TOUCH;
use crate::work::{Ending, Transaction};

/// Rows of one statement: each row looks its time up among them one by one, so more would cost more than another round trip.
const ROWS: usize = 200;

/// One time for each session, the latest, in the order of the ids: every process locks rows in that order.
pub(crate) struct Touch {
    times: Vec<([u8; 16], i64)>,
    now: Timestamp,
}

impl Touch {
    pub(crate) fn new(seen: &[LastSeen], now: Timestamp) -> Self {
        let mut latest = BTreeMap::new();
        for LastSeen { id, at } in seen {
            let time = latest.entry(*id.as_bytes()).or_insert_with(|| at.as_millis());
            *time = at.as_millis().max(*time);
        }
        Self { times: latest.into_iter().collect(), now }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }
}

impl Transaction for Touch {
    type Answer = u64;

    async fn run(&self, connection: &mut Connection) -> Result<Ending<u64>, Fault> {
        let now = self.now.as_millis().to_string();
        let mut changed = 0;
        for rows in self.times.chunks(ROWS) {
            let times = by_id(rows.iter().map(|(id, at)| (id, at.to_string())));
            let ids = ids(rows.iter().map(|(id, _)| id));
            changed +=
                connection.write_text(fill(TOUCH, &[("{times}", &times), ("{ids}", &ids), ("{now}", &now)])).await?;
        }
        Ok(Ending::Commit(changed))
    }
}
