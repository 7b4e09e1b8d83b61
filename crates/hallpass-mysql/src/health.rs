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
        let details = vec![
            (String::from("address"), self.place.to_owned()),
            (
                String::from("connections"),
                format!(
                    "{} in use, {} idle, {} at most, {} opened since start",
                    usage.in_use, usage.idle, usage.most, usage.opened
                ),
            ),
            (String::from("encrypted"), if cipher.is_empty() { String::from("no") } else { cipher }),
            (
                String::from("durability"),
                format!(
                    "innodb_flush_log_at_trx_commit {flush}, binary log {}",
                    if log_bin == 0 { String::from("off") } else { format!("on with sync_binlog {sync_binlog}") }
                ),
            ),
            (String::from("revocations still to settle"), marks.to_string()),
        ];
        let mut warnings = not_durable(flush, log_bin != 0, sync_binlog);
        if read_only {
            warnings.push(String::from("the server is read-only; name the primary"));
        }
        if galera.is_some_and(|on| on.eq_ignore_ascii_case("on") || on == "1") {
            warnings.push(String::from(
                "Galera: every hallpass must use the same node, because a lock on one node is not seen by another",
            ));
        }
        Ok(Health {
            engine,
            schema: migrations::version(connection).await?,
            clock: Some(clock),
            live: live(connection, marks, self.now).await?,
            details,
            warnings,
        })
    }
}

/// The settings with which an acknowledged commit does not survive a loss of power.
fn not_durable(flush: i64, log_bin: bool, sync_binlog: i64) -> Vec<String> {
    let mut settings = Vec::new();
    if flush != 1 {
        settings.push(("innodb_flush_log_at_trx_commit", flush));
    }
    if log_bin && sync_binlog != 1 {
        settings.push(("sync_binlog", sync_binlog));
    }
    let warning = |(name, value)| {
        format!("{name} is {value}, so a crash can undo acknowledged sign-ins and revocations; set it to 1")
    };
    settings.into_iter().map(warning).collect()
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
        assert!(not_durable(1, false, 0).is_empty());
        assert!(not_durable(1, true, 1).is_empty());
        for (flush, log_bin, sync, words) in [
            (2, false, 0, "innodb_flush_log_at_trx_commit is 2"),
            (0, true, 1, "innodb_flush_log_at_trx_commit is 0"),
            (1, true, 0, "sync_binlog is 0"),
            (1, true, 100, "sync_binlog is 100"),
        ] {
            let warnings = not_durable(flush, log_bin, sync);
            assert!(warnings.len() == 1 && warnings[0].contains(words), "{warnings:?}");
        }
        assert_eq!(not_durable(2, true, 0).len(), 2);
    }
}
