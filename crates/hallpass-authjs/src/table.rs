//! What every verb works with: the words of the layout, and what is known of the application's sessions.

use std::time::Duration;

use hallpass_core::store::ChangeKind;
use hallpass_core::{SessionId, StoreError, Timestamp, Token, TokenHash};

use crate::connection::{Connection, Fault, Value};
use crate::dialect::Dialect;
use crate::revocation_log;
use crate::row::{COLUMNS, Row, hash_of_plain, hash_text, id, read_hash, time};

/// Both tables of a session.
pub(crate) const BOTH: &str = "FROM hp.sessions h LEFT JOIN {shared} ON {token} = h.session_token";
/// A session that has ended on neither side and passed no deadline. Takes the time twice.
pub(crate) const LIVE: &str = "h.ended_at IS NULL AND h.absolute_expires_at > ? AND {expires} > ?";

/// The application's table of sessions, and ours beside it.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) dialect: Dialect,
    /// Both sides' idle timeout.
    pub(crate) max_age: Duration,
    /// The absolute timeout of sessions that the application made.
    pub(crate) absolute_timeout: Option<Duration>,
    /// Whether the application's table holds digests of tokens instead of tokens.
    pub(crate) hashes_tokens: bool,
}

impl Table {
    pub(crate) fn sql(&self, template: &str) -> String {
        self.dialect.sql(template)
    }

    /// As what the application's table holds a token.
    pub(crate) fn key(&self, token: &Token) -> String {
        if self.hashes_tokens { hash_text(&token.digest()) } else { token.expose().as_str().to_owned() }
    }

    /// As what it holds the token of this digest. Where it holds tokens themselves nobody can say.
    pub(crate) fn key_of(&self, hash: &TokenHash) -> Result<String, StoreError> {
        if self.hashes_tokens {
            Ok(hash_text(hash))
        } else {
            Err(StoreError::unavailable(
                "sessions on this table are made with their tokens, which hallpass_core::Sessions does; a digest alone makes none",
            ))
        }
    }

    /// The digest of the token that is kept as this text; `None` where it is no token.
    pub(crate) fn hash_of(&self, key: &str) -> Option<TokenHash> {
        if self.hashes_tokens { read_hash(key) } else { hash_of_plain(key) }
    }

    /// The rows of both tables that match.
    pub(crate) async fn rows(
        &self,
        connection: &mut dyn Connection,
        filter: &str,
        values: &[Value],
    ) -> Result<Vec<Row>, Fault> {
        let sql = self.sql(&format!("SELECT {COLUMNS} {BOTH} WHERE {filter}"));
        let rows = connection.rows(&sql, values).await?;
        rows.iter().map(|columns| Row::of(columns, &self.dialect, self.max_age)).collect()
    }

    /// The session of this id.
    pub(crate) async fn row(&self, connection: &mut dyn Connection, session: SessionId) -> Result<Option<Row>, Fault> {
        Ok(self.rows(connection, "h.id = ?", &[id(session)]).await?.pop())
    }

    /// The session of this id, if it is live.
    pub(crate) async fn live(
        &self,
        connection: &mut dyn Connection,
        session: SessionId,
        now: Timestamp,
    ) -> Result<Option<Row>, Fault> {
        Ok(self.row(connection, session).await?.filter(|row| row.record.session.is_live_at(now)))
    }

    pub(crate) async fn write(
        &self,
        connection: &mut dyn Connection,
        template: &str,
        values: &[Value],
    ) -> Result<u64, Fault> {
        connection.write(&self.sql(template), values).await
    }

    /// Takes the turn that all writes of hallpass take, until the transaction ends, and with it the newest position of the log. The application takes none: what it does is held
    /// by conditions in the statements on its table.
    pub(crate) async fn turn(&self, connection: &mut dyn Connection) -> Result<Turn<'_>, Fault> {
        let lock = match self.dialect.layout.engine {
            // There the transaction itself is the turn.
            crate::Engine::Sqlite => "",
            crate::Engine::Postgres | crate::Engine::Mysql => " FOR UPDATE",
        };
        let sql = self.sql(&format!("SELECT position FROM hp.counter WHERE one = 1{lock}"));
        let rows = connection.rows(&sql, &[]).await?;
        let head = rows.first().ok_or(Fault::Unreadable("position"))?.count(0, "position")?;
        Ok(Turn { table: self, head })
    }
}

/// The turn of one transaction.
pub(crate) struct Turn<'a> {
    table: &'a Table,
    head: u64,
}

impl Turn<'_> {
    /// Writes the next entry of the log; its position.
    pub(crate) async fn log(
        &mut self,
        connection: &mut dyn Connection,
        kind: &ChangeKind,
        at: Timestamp,
    ) -> Result<u64, Fault> {
        let position = self.head + 1;
        revocation_log::append(self.table, connection, position, kind, at).await?;
        self.head = position;
        Ok(position)
    }
}

/// The time twice, for [`LIVE`].
pub(crate) fn live_at(now: Timestamp) -> [Value; 2] {
    [time(now), time(now)]
}
