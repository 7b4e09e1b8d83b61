//! hallpass's own tables, beside those of the application.
//!
//! They lie apart, in a schema, a database or a file of their own, since Prisma takes every table that it finds beside its own for a mistake to be mended. A session
//! is one row there and one in the application's table, held together by the token as the application keeps it; when the session ends, the
//! application's row is deleted and the token leaves ours, so that no table keeps one that opens anything.

use async_trait::async_trait;
use hallpass_core::{Entropy as _, OsEntropy, StoreError};

use crate::catalogue::Engine;
use crate::connection::{Connection, Fault, Value};
use crate::dialect::Dialect;
use crate::pool::{Ending, Transaction};
use crate::side::Place;

/// The newest version of the schema.
///
/// | | |
/// |---|---|
/// | 1 | sessions, revocations, nodes, counter |
/// | 2 | application: whose tables these are. Those of version 1 become the application's that opens them first |
pub(crate) const NEWEST: u32 = 2;

/// Whether a table of SQLite is one of these, or one of the server's accounts, which lie in the same file.
pub(crate) fn is_ours(table: &str) -> bool {
    let ours = ["sessions", "revocations", "nodes", "counter", "application"];
    table.starts_with("account_") || table.strip_prefix("hallpass_").is_some_and(|name| ours.contains(&name))
}

/// Types by engine: short text that is compared byte for byte, of at most 255 bytes; long text; a number. MySQL's collations would take texts for alike that are
/// not, so they are bytes there.
struct Types {
    short: &'static str,
    long: &'static str,
    number: &'static str,
    options: &'static str,
}

const fn types(engine: Engine) -> Types {
    match engine {
        Engine::Sqlite => Types { short: "TEXT", long: "TEXT", number: "INTEGER", options: "" },
        Engine::Postgres => Types { short: "text COLLATE \"C\"", long: "text", number: "bigint", options: "" },
        Engine::Mysql => {
            Types { short: "VARBINARY(255)", long: "MEDIUMBLOB", number: "BIGINT", options: " ENGINE=InnoDB" }
        }
    }
}

/// The tables, made if they are not there.
fn tables(dialect: &Dialect) -> Vec<String> {
    let engine = dialect.layout.engine;
    let Types { short, long, number, options } = types(engine);
    let token = match (engine, dialect.layout.table.column("sessionToken")) {
        // Compared as the application's column is, or its index would find nothing.
        (Engine::Mysql, Some(column)) => {
            let collation = column.collation.as_deref().unwrap_or("utf8mb4_bin");
            let charset = collation.split('_').next().unwrap_or("utf8mb4");
            format!("VARCHAR(255) CHARACTER SET {charset} COLLATE {collation}")
        }
        _ => short.to_owned(),
    };
    let index = |name: &str, table: &str, columns: &str| match engine {
        // In the schema of its table.
        Engine::Postgres => format!("CREATE INDEX IF NOT EXISTS hallpass_{name} ON {table} ({columns})"),
        Engine::Sqlite => {
            let table = table.replace("hp.", "hallpass_");
            format!("CREATE INDEX IF NOT EXISTS hallpass.hallpass_{name} ON {table} ({columns})")
        }
        Engine::Mysql => String::new(),
    };
    let inside = |name: &str, columns: &str| match engine {
        Engine::Mysql => format!(", INDEX hallpass_{name} ({columns})"),
        Engine::Sqlite | Engine::Postgres => String::new(),
    };
    let (of_user, by_end, by_limit) = ("user_id, id", "ended_at", "absolute_expires_at");
    let all = [
        format!(
            "CREATE TABLE IF NOT EXISTS hp.sessions (id {short} NOT NULL PRIMARY KEY, token_hash {short} NOT NULL UNIQUE, \
             session_token {token} NULL UNIQUE, user_id {short} NOT NULL, class {short} NOT NULL, created_at {number} NOT NULL, \
             authenticated_at {number} NOT NULL, renewed_at {number} NOT NULL, last_seen_at {number} NOT NULL, \
             idle_expires_at {number} NOT NULL, absolute_expires_at {number} NOT NULL, label {long}, ip {short}, user_agent {long}, \
             source {long} NOT NULL, methods {long} NOT NULL, attributes {long} NOT NULL, attributes_version {number} NOT NULL, \
             ended_at {number}, ended_by_kind {short}, ended_by {long}, ended_reason {short}{}{}{}){options}",
            inside("sessions_user", of_user),
            inside("sessions_ended", by_end),
            inside("sessions_limit", by_limit),
        ),
        index("sessions_user", "hp.sessions", of_user),
        index("sessions_ended", "hp.sessions", by_end),
        index("sessions_limit", "hp.sessions", by_limit),
        format!(
            "CREATE TABLE IF NOT EXISTS hp.revocations (position {number} NOT NULL PRIMARY KEY, kind {short} NOT NULL, session_id {short}, \
             user_id {short}, at {number} NOT NULL){options}"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS hp.nodes (id {short} NOT NULL PRIMARY KEY, lease {number} NOT NULL, reached {number} NOT NULL, \
             beats {number} NOT NULL, digest {number} NOT NULL){options}"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS hp.counter (one {number} NOT NULL PRIMARY KEY, position {number} NOT NULL, \
             incarnation {short} NOT NULL, version {number} NOT NULL){options}"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS hp.application (one {number} NOT NULL PRIMARY KEY, name {long} NOT NULL){options}"
        ),
    ];
    all.into_iter().filter(|sql| !sql.is_empty()).map(|sql| dialect.sql(&sql)).collect()
}

/// Makes the tables. Safe from several processes at once: whoever comes second finds what the first made.
pub(crate) struct Migrate<'a> {
    pub(crate) dialect: &'a Dialect,
    /// Where they lie, and whose they are.
    pub(crate) side: &'a Place,
    /// Where the database is, for messages.
    pub(crate) connected_to: &'a str,
    /// The application's table holds digests of tokens. It may have held tokens before.
    pub(crate) hashes_tokens: bool,
}

/// What the application's row is found by, once its token was replaced by the digest: that is what we have kept beside it.
const HASHED: &str =
    "UPDATE hp.sessions SET session_token = token_hash WHERE ended_at IS NULL AND session_token <> token_hash";

#[async_trait]
impl Transaction for Migrate<'_> {
    type Answer = (u32, u32);

    async fn run(&self, connection: &mut dyn Connection) -> Result<Ending<(u32, u32)>, Fault> {
        let engine = self.dialect.layout.engine;
        if engine == Engine::Postgres {
            // Making a schema or a table that is being made by another is an error there, whatever the words say.
            connection.rows("SELECT 1 FROM pg_advisory_xact_lock(?)", &[Value::Integer(LOCK)]).await?;
        }
        if let Some(making) = &self.side.making {
            connection.batch(making).await?;
        }
        for sql in tables(self.dialect) {
            connection.batch(&sql).await?;
        }
        let version = "SELECT version FROM hp.counter WHERE one = 1";
        let found = connection.rows(&self.dialect.sql(version), &[]).await?;
        let before = match found.first() {
            Some(row) => u32::try_from(row.count(0, "version")?).unwrap_or(u32::MAX),
            None => {
                let mut incarnation = [0_u8; 16];
                OsEntropy.fill(&mut incarnation).map_err(|error| StoreError::unavailable(error.to_string()))?;
                let incarnation: String = incarnation.iter().map(|byte| format!("{byte:02x}")).collect();
                let insert = "INSERT INTO hp.counter (one, position, incarnation, version) VALUES (1, 0, ?, ?)";
                let values = [Value::from(incarnation), Value::from(i64::from(NEWEST))];
                match connection.write(&self.dialect.sql(insert), &values).await {
                    Ok(_) => 0,
                    // MySQL: another process was first.
                    Err(Fault::Duplicate) if engine == Engine::Mysql => NEWEST,
                    Err(fault) => return Err(fault),
                }
            }
        };
        if before > NEWEST {
            return Err(StoreError::TooNew { found: before, known: NEWEST }.into());
        }
        self.take(connection).await?;
        if (1..NEWEST).contains(&before) {
            let update = "UPDATE hp.counter SET version = ? WHERE one = 1 AND version < ?";
            let newest = Value::from(i64::from(NEWEST));
            connection.write(&self.dialect.sql(update), &[newest.clone(), newest]).await?;
        }
        if self.hashes_tokens {
            connection.write(&self.dialect.sql(HASHED), &[]).await?;
        }
        Ok(Ending::Commit((before, NEWEST)))
    }
}

impl Migrate<'_> {
    /// Takes the tables for the application, unless they are another's.
    async fn take(&self, connection: &mut dyn Connection) -> Result<(), Fault> {
        let (engine, application) = (self.dialect.layout.engine, self.side.application.as_str());
        let owner = match self.owner(connection).await? {
            Some(owner) => owner,
            None => {
                let insert = self.dialect.sql("INSERT INTO hp.application (one, name) VALUES (1, ?)");
                match connection.write(&insert, &[application.into()]).await {
                    Ok(_) => application.to_owned(),
                    // MySQL: another process was first, perhaps another application's.
                    Err(Fault::Duplicate) if engine == Engine::Mysql => {
                        self.owner(connection).await?.ok_or(Fault::Unreadable("name"))?
                    }
                    Err(fault) => return Err(fault),
                }
            }
        };
        Ok(self.side.check_owner(&owner, engine, self.connected_to)?)
    }

    async fn owner(&self, connection: &mut dyn Connection) -> Result<Option<String>, Fault> {
        let select = self.dialect.sql("SELECT name FROM hp.application WHERE one = 1");
        let rows = connection.rows(&select, &[]).await?;
        rows.first().map(|row| row.text(0, "name").map(str::to_owned)).transpose()
    }
}

/// A number that no other program is likely to lock.
const LOCK: i64 = 0x6861_6c6c_7061_7373;
