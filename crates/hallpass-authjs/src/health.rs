//! What the store says about itself.

use async_trait::async_trait;
use hallpass_core::Timestamp;
use hallpass_core::store::Health;

use crate::catalogue::Engine;
use crate::connection::{Connection, Fault};
use crate::pool::Read;
use crate::row::time;
use crate::side_tables::NEWEST;
use crate::table::Table;

/// Asks the engine, and counts the application's live sessions.
pub(crate) struct Ask<'a> {
    pub(crate) table: &'a Table,
    pub(crate) now: Timestamp,
    pub(crate) place: &'a str,
}

#[async_trait]
impl Read for Ask<'_> {
    type Answer = Health;

    async fn run(&self, connection: &mut dyn Connection) -> Result<Health, Fault> {
        let layout = &self.table.dialect.layout;
        let (name, about) = match layout.engine {
            Engine::Sqlite => ("SQLite", "SELECT sqlite_version(), NULL"),
            Engine::Postgres => (
                "PostgreSQL",
                "SELECT current_setting('server_version'), CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS bigint)",
            ),
            Engine::Mysql => (
                "MySQL protocol",
                "SELECT version(), TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(3)) DIV 1000",
            ),
        };
        let rows = connection.rows(about, &[]).await?;
        let about = rows.first().ok_or(Fault::Unreadable("version"))?;
        let sql = self.table.sql("SELECT COUNT(*) FROM {shared} WHERE {expires} > ?");
        let counted = connection.rows(&sql, &[time(self.now)]).await?;
        let live = counted.first().ok_or(Fault::Unreadable("count"))?.count(0, "count")?;
        let details = [
            ("database", self.place.to_owned()),
            ("layout", layout.maker.to_string()),
            ("tables", format!("{} of users, {} of sessions", layout.users, layout.sessions)),
            ("expires", layout.expires.to_string()),
            ("tokens", String::from(if self.table.hashes_tokens { "SHA-256" } else { "as they are" })),
        ];
        Ok(Health {
            engine: format!("{name} {}", about.text(0, "version")?),
            schema: NEWEST,
            clock: about.optional_integer(1, "clock")?.map(Timestamp::from_millis),
            live,
            details: details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            warnings: self.warnings(),
        })
    }
}

impl Ask<'_> {
    /// What the layout cannot give.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.table.hashes_tokens {
            warnings.push(String::from(
                "the table of sessions holds tokens that can be used as they are: who reads it can be anybody (G9); the adapter hallpass-authjs-adapter with hash: true, \
                 and `hashes_tokens` here (tokens=sha256 in the server's URL), keep digests instead",
            ));
        }
        warnings.push(String::from(
            "Auth.js extends sessions past their absolute timeout, and accepts them until the sweeper has deleted them; the adapter hallpass-authjs-adapter keeps the limit itself",
        ));
        warnings.extend(self.table.dialect.layout.shortcomings().into_iter().map(|shortcoming| {
            match shortcoming.statement {
                Some(statement) => format!("{}: {statement}", shortcoming.what),
                None => shortcoming.what,
            }
        }));
        warnings
    }
}
