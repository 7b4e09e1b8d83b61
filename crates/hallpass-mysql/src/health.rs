//! What the database says about itself.

use hallpass_core::Timestamp;
use hallpass_core::store::{Filter, Health};

use crate::connection::Connection;
use crate::failure::Fault;
use crate::list::Count;
use crate::pool::Usage;
use crate::row::{Columns, time};
use crate::server::Server;
use crate::statements::COUNT_LIVE_WITHOUT_MARKS;
use crate::work::Read;
use crate::{migrations, settle};

const SERVER: &str = "SELECT VERSION(), @@global.innodb_flush_log_at_trx_commit, @@global.log_bin, @@global.sync_binlog, @@global.read_only, \
     CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";
const ENCRYPTION: &str = "SHOW SESSION STATUS LIKE 'Ssl_cipher'";
const GALERA: &str = "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'";

/// Asks the server about itself and counts.
pub(crate) struct Ask<'a> {
    pub(crate) now: Timestamp,
    pub(crate) place: &'a str,
    pub(crate) usage: Usage,
}

impl Read for Ask<'_> {
    type Answer = Health;

    async fn run(&self, connection: &mut Connection) -> Result<Health, Fault> {
        let mut server = connection.first(SERVER, Vec::new()).await?.ok_or(Fault::Unreadable("VERSION()"))?;
        let version = server.text(0, "VERSION()")?;
        let engine = Server::parse(&version).map_or(version, |server| server.engine());
        let flush = server.integer(1, "innodb_flush_log_at_trx_commit")?;
        let (log_bin, sync_binlog) = (server.integer(2, "log_bin")?, server.integer(3, "sync_binlog")?);
        let read_only = server.integer(4, "read_only")? != 0;
        let clock = server.time(5, "NOW()")?;
        let cipher = second(connection.first(ENCRYPTION, Vec::new()).await?)?.unwrap_or_default();
        let galera = second(connection.first(GALERA, Vec::new()).await?)?;
        let marks = settle::count_marks(connection).await?;
        let usage = self.usage;
        let mut details = vec![
            (String::from("address"), self.place.to_owned()),
            (
                String::from("connections"),
                format!(
                    "{} in use, {} idle, {} at most, {} opened since start",
                    usage.in_use, usage.idle, usage.most, usage.opened
                ),
            ),
            (String::from("encrypted"), if cipher.is_empty() { String::from("no") } else { cipher }),
            (String::from("durability"), durability(flush, log_bin != 0, sync_binlog)),
            (String::from("revocations still to settle"), marks.to_string()),
        ];
        if read_only {
            details.push((String::from("warning"), String::from("the server is read-only; name the primary")));
        }
        if galera.is_some_and(|on| on.eq_ignore_ascii_case("on") || on == "1") {
            let text =
                "Galera: every hallpass must use the same node, because a lock on one node is not seen by another";
            details.push((String::from("warning"), String::from(text)));
        }
        Ok(Health {
            engine,
            schema: migrations::version(connection).await?,
            clock: Some(clock),
            live: live(connection, marks, self.now).await?,
            details,
        })
    }
}

/// Whether an acknowledged commit survives a loss of power.
fn durability(flush: i64, log_bin: bool, sync_binlog: i64) -> String {
    let mut warnings = Vec::new();
    if flush != 1 {
        warnings.push(format!("innodb_flush_log_at_trx_commit is {flush}; set it to 1"));
    }
    if log_bin && sync_binlog != 1 {
        warnings.push(format!("the binary log is on and sync_binlog is {sync_binlog}; set it to 1"));
    }
    if warnings.is_empty() {
        return String::from("commits are on disk before they are acknowledged");
    }
    format!("WARNING: a crash can undo acknowledged sign-ins and revocations: {}", warnings.join("; "))
}

/// The value of a variable: absent where the server has none.
fn second(columns: Option<Columns>) -> Result<Option<String>, Fault> {
    columns.map(|mut columns| columns.text(1, "Value")).transpose()
}

async fn live(connection: &mut Connection, marks: u64, now: Timestamp) -> Result<u64, Fault> {
    if marks > 0 {
        return Count { filter: &Filter::default(), now }.run(connection).await;
    }
    let values = vec![time(now), time(now), time(now)];
    let mut columns = connection.first(COUNT_LIVE_WITHOUT_MARKS, values).await?.ok_or(Fault::Unreadable("count"))?;
    columns.count(0, "count")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_durable_is_said() {
        assert!(!durability(1, false, 0).contains("WARNING"));
        assert!(!durability(1, true, 1).contains("WARNING"));
        for (flush, log_bin, sync, words) in [
            (2, false, 0, "innodb_flush_log_at_trx_commit is 2"),
            (0, true, 1, "innodb_flush_log_at_trx_commit is 0"),
            (1, true, 0, "sync_binlog is 0"),
            (1, true, 100, "sync_binlog is 100"),
        ] {
            let text = durability(flush, log_bin, sync);
            assert!(text.contains("WARNING") && text.contains(words), "{text}");
        }
    }
}
