//! Sessions that the application made get a row of ours, and with it a public id, when hallpass first sees them: at a check, in a list, or when a user's sessions are
//! ended.

use std::time::Duration;

use async_trait::async_trait;
use hallpass_core::store::Record;
use hallpass_core::{
    Attributes, Authentication, Class, Client, OsEntropy, Session, SessionId, State, StoreError, Timestamp, Token,
    UserId,
};

use crate::connection::{Connection, Fault, Value};
use crate::pool::{Ending, Read, Transaction};
use crate::row::{INSERT, UNKNOWN_COLUMNS, Unknown, hash_text, moment_of, values};
use crate::table::Table;

/// How many are given an id in one commit.
const BATCH: u32 = 500;

/// Auth.js does not say when a user signed in, where the table has no `createdAt`: only when the session was last extended or made. Taken for the time of the
/// sign-in that would make an old session fresh enough for sensitive acts; more than a day before makes none so, by any `fresh_age` up to a day.
const SIGNED_IN_BEFORE: Duration = Duration::from_secs(25 * 60 * 60);

/// What the name of the provider is in a session that the application made.
pub(crate) const SOURCE: &str = "authjs";

const UNKNOWN: &str = "FROM {shared} LEFT JOIN hp.sessions h ON h.session_token = {token} WHERE h.id IS NULL";

/// Whether the application made sessions, for this user or for anybody, that have no id.
pub(crate) struct AnyUnknown<'a> {
    pub(crate) table: &'a Table,
    pub(crate) user: Option<&'a UserId>,
}

#[async_trait]
impl Read for AnyUnknown<'_> {
    type Answer = bool;

    async fn run(&self, connection: &mut dyn Connection) -> Result<bool, Fault> {
        Ok(!unknown(self.table, connection, self.user, 1).await?.is_empty())
    }
}

/// Gives some of them an id; how many.
pub(crate) struct Adopt<'a> {
    pub(crate) table: &'a Table,
    pub(crate) user: Option<&'a UserId>,
    pub(crate) now: Timestamp,
}

impl Adopt<'_> {
    /// Whether there may be more.
    pub(crate) const fn is_whole_batch(adopted: usize) -> bool {
        adopted >= BATCH as usize
    }
}

#[async_trait]
impl Transaction for Adopt<'_> {
    type Answer = usize;

    async fn run(&self, connection: &mut dyn Connection) -> Result<Ending<usize>, Fault> {
        self.table.turn(connection).await?;
        Ok(Ending::Commit(adopt_some(self.table, connection, self.user, self.now).await?))
    }
}

/// As [`Adopt`], in a transaction that has its turn.
pub(crate) async fn adopt_some(
    table: &Table,
    connection: &mut dyn Connection,
    user: Option<&UserId>,
    now: Timestamp,
) -> Result<usize, Fault> {
    let mut adopted = 0;
    for unknown in unknown(table, connection, user, BATCH).await? {
        adopted += usize::from(adopt(table, connection, &unknown, None, now).await?);
    }
    Ok(adopted)
}

/// As [`adopt_some`], until none is left.
pub(crate) async fn adopt_all_of(
    table: &Table,
    connection: &mut dyn Connection,
    user: &UserId,
    now: Timestamp,
) -> Result<(), Fault> {
    while Adopt::is_whole_batch(adopt_some(table, connection, Some(user), now).await?) {}
    Ok(())
}

/// Gives the session of a token an id, if the application has one; whether it has.
pub(crate) struct AdoptToken<'a> {
    pub(crate) table: &'a Table,
    pub(crate) token: &'a Token,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Transaction for AdoptToken<'_> {
    type Answer = bool;

    async fn run(&self, connection: &mut dyn Connection) -> Result<Ending<bool>, Fault> {
        self.table.turn(connection).await?;
        match of_token(self.table, connection, self.token).await? {
            Some(unknown) => {
                adopt(self.table, connection, &unknown, Some(self.token), self.now).await?;
                Ok(Ending::Commit(true))
            }
            None => Ok(Ending::RollBack(false)),
        }
    }
}

/// The application's session of this token. A column that takes upper and lower case for one answers another token's, too.
async fn of_token(table: &Table, connection: &mut dyn Connection, token: &Token) -> Result<Option<Unknown>, Fault> {
    let key = table.key(token);
    let sql = table.sql(&format!("SELECT {UNKNOWN_COLUMNS} FROM {{shared}} WHERE {{token}} = ?"));
    for columns in connection.rows(&sql, &[Value::from(key.as_str())]).await? {
        if let Some(unknown) = Unknown::of(&columns)?.filter(|unknown| unknown.key == key) {
            return Ok(Some(unknown));
        }
    }
    Ok(None)
}

/// Whether the application has a session of this token.
pub(crate) struct IsThere<'a> {
    pub(crate) table: &'a Table,
    pub(crate) token: &'a Token,
}

#[async_trait]
impl Read for IsThere<'_> {
    type Answer = bool;

    async fn run(&self, connection: &mut dyn Connection) -> Result<bool, Fault> {
        Ok(of_token(self.table, connection, self.token).await?.is_some())
    }
}

async fn unknown(
    table: &Table,
    connection: &mut dyn Connection,
    user: Option<&UserId>,
    limit: u32,
) -> Result<Vec<Unknown>, Fault> {
    let mut sql = format!("SELECT {UNKNOWN_COLUMNS} {UNKNOWN}");
    let mut values = Vec::new();
    if let Some(user) = user {
        let Some(user) = table.dialect.user(user) else { return Ok(Vec::new()) };
        sql.push_str(" AND {is_user}");
        values.push(user);
    }
    sql.push_str(" LIMIT ?");
    values.push(Value::Integer(limit.into()));
    let rows = connection.rows(&table.sql(&sql), &values).await?;
    rows.iter().filter_map(|columns| Unknown::of(columns).transpose()).collect()
}

/// Makes the row of ours; false where there is one, or where what the application keeps is no token.
async fn adopt(
    table: &Table,
    connection: &mut dyn Connection,
    unknown: &Unknown,
    token: Option<&Token>,
    now: Timestamp,
) -> Result<bool, Fault> {
    let Some(hash) = table.hash_of(&unknown.key) else { return Ok(false) };
    let known = table.sql("SELECT 1 FROM hp.sessions WHERE token_hash = ?");
    if !connection.rows(&known, &[hash_text(&hash).into()]).await?.is_empty() {
        return Ok(false);
    }
    // One of our form, as the adapter hallpass-authjs-adapter makes them, says its id and with it when it was made.
    let plain = if table.hashes_tokens { None } else { Token::parse(unknown.key.as_bytes()).ok() };
    let own = token.or(plain.as_ref()).filter(|token| is_own(token)).map(Token::id);
    let extended = unknown.expires.minus(table.max_age).min(now);
    let (created_at, authenticated_at) = match unknown.created.or(own.map(moment_of)) {
        Some(created) => (created.min(now), created.min(now)),
        None => (extended, extended.minus(SIGNED_IN_BEFORE)),
    };
    let taken = match own {
        Some(own) => table.row(connection, own).await?.is_some(),
        None => true,
    };
    let id_of_session = match own.filter(|_| !taken) {
        Some(own) => own,
        None => SessionId::generate(&unknown.user, created_at, &OsEntropy)
            .map_err(|error| StoreError::unavailable(error.to_string()))?,
    };
    let session = Session {
        id: id_of_session,
        user: unknown.user.clone(),
        class: Class::WEB,
        created_at,
        authenticated_at,
        // As Auth.js reckons it.
        renewed_at: extended,
        last_seen_at: extended.max(created_at),
        idle_expires_at: unknown.expires,
        absolute_expires_at: table.absolute_timeout.map_or(Timestamp::NEVER, |timeout| authenticated_at.plus(timeout)),
        client: Client::default(),
        label: None,
        authentication: Authentication { methods: Vec::new(), source: SOURCE.to_owned() }.into(),
        attributes: Attributes::default(),
        attributes_version: 0,
        state: State::Live,
    };
    table.write(connection, INSERT, &values(&Record { session, token_hash: hash }, &unknown.key)).await?;
    Ok(true)
}

fn is_own(token: &Token) -> bool {
    Token::parse(token.expose().as_str().as_bytes()).is_ok()
}
