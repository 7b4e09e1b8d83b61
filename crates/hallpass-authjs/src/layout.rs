//! What was recognised.

use std::fmt;

use crate::catalogue::{Catalogue, Column, Engine, Table};

/// Whose layout it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Maker {
    /// Prisma, by the schema of next-auth 4's documentation: no times beside `expires`.
    PrismaClassic,
    /// Prisma, by the schema of authjs.dev: with `createdAt` and `updatedAt`.
    Prisma,
    /// `@auth/pg-adapter`.
    PgAdapter,
    /// Drizzle.
    Drizzle,
    /// Kysely.
    Kysely,
    /// None of these: an application's own, which has the columns that Auth.js needs.
    Other,
}

impl fmt::Display for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PrismaClassic => "Prisma, classic schema",
            Self::Prisma => "Prisma, with createdAt and updatedAt",
            Self::PgAdapter => "@auth/pg-adapter",
            Self::Drizzle => "Drizzle",
            Self::Kysely => "Kysely",
            Self::Other => "an application's own layout",
        })
    }
}

/// How the moment is kept at which a session expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expires {
    /// A timestamp without a time zone, which means UTC.
    Timestamp {
        /// How many digits of a second are kept.
        fraction: u8,
    },
    /// A timestamp with a time zone.
    TimestampWithTimeZone,
    /// SQLite: each row as it was written, as text or as a number of milliseconds. An integer sorts below every text, so that no comparison may mix them.
    PerRow,
}

impl fmt::Display for Expires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timestamp { fraction: 0 } => {
                f.write_str("a timestamp without a time zone, read as UTC, in whole seconds")
            }
            Self::Timestamp { .. } => f.write_str("a timestamp without a time zone, read as UTC"),
            Self::TimestampWithTimeZone => f.write_str("a timestamp with a time zone"),
            Self::PerRow => f.write_str("text or milliseconds, as each row was written"),
        }
    }
}

/// The tables of sessions and users, and what a reader and a writer have to know of them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layout {
    /// The dialect.
    pub engine: Engine,
    /// Whose layout it is.
    pub maker: Maker,
    /// The table of sessions.
    pub sessions: String,
    /// The table of users.
    pub users: String,
    /// The table of accounts at providers that users sign in with; `None` where there is none, or several that could be it.
    pub accounts: Option<String>,
    /// How `expires` is kept.
    pub expires: Expires,
    /// Whether a user's id is a number there. A session's `userId` is of the same kind.
    pub has_numbered_users: bool,
    pub(crate) table: Table,
    users_table: Table,
    accounts_table: Option<Table>,
}

/// Why a database is none of Auth.js's, or one that hallpass must not touch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unrecognised {
    /// There is no table of sessions.
    #[error(
        "none of its {tables} tables has the columns sessionToken, userId and expires: is it the database of the application, and the schema? (columns with other names, as @map makes them, are not read)"
    )]
    NoSessions {
        /// How many tables there are.
        tables: usize,
    },
    /// There are several.
    #[error("several tables look like sessions of Auth.js: {}", .0.join(", "))]
    SeveralSessions(
        /// Their names.
        Vec<String>,
    ),
    /// There is no table of users beside it.
    #[error(
        "the users of the table {sessions} are nowhere: it refers to no table, and there is none with the columns id, name, email and image"
    )]
    NoUsers {
        /// The table of sessions.
        sessions: String,
    },
    /// A column has a type that no adapter of Auth.js gives it.
    #[error("the column {column} of the table {table} is of the type {kind}, which hallpass does not write")]
    Type {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        kind: String,
    },
    /// A session cannot be written without a value that only the application knows.
    #[error(
        "a session needs a value in the column {column} of the table {table}, which Auth.js does not know: give the column a default"
    )]
    RequiredColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
}

/// What Auth.js reads and writes of a session.
const OF_A_SESSION: [&str; 3] = ["sessionToken", "userId", "expires"];
/// What a writer can fill beside that.
const FILLED: [&str; 3] = ["id", "createdAt", "updatedAt"];
const OF_A_USER: [&str; 4] = ["id", "name", "email", "image"];
const OF_AN_ACCOUNT: [&str; 4] = ["userId", "type", "provider", "providerAccountId"];

impl Layout {
    /// Finds the tables of sessions and users.
    ///
    /// # Errors
    /// [`Unrecognised`] says what is not there, or what is there that hallpass does not know. Nothing is guessed.
    pub fn recognise(catalogue: &Catalogue) -> Result<Self, Unrecognised> {
        let has = |table: &Table, columns: &[&str]| columns.iter().all(|column| table.column(column).is_some());
        let found: Vec<&Table> = catalogue.tables.iter().filter(|table| has(table, &OF_A_SESSION)).collect();
        let table = match found.as_slice() {
            [] => return Err(Unrecognised::NoSessions { tables: catalogue.tables.len() }),
            [table] => *table,
            several => {
                return Err(Unrecognised::SeveralSessions(several.iter().map(|table| table.name.clone()).collect()));
            }
        };
        let referred = table.foreign_keys.iter().find(|key| key.column == "userId").map(|key| key.table.as_str());
        let named = match table.name.as_str() {
            "Session" => Some("User"),
            "sessions" => Some("users"),
            "session" => Some("user"),
            _ => None,
        };
        let users = referred
            .or(named)
            .and_then(|name| catalogue.table(name))
            .filter(|users| has(users, &OF_A_USER))
            .ok_or_else(|| Unrecognised::NoUsers { sessions: table.name.clone() })?;
        if let Some(column) = table.columns.iter().find(|column| must_be_known(catalogue.engine, column)) {
            let (table, column) = (table.name.clone(), column.name.clone());
            return Err(Unrecognised::RequiredColumn { table, column });
        }
        let expires = expires(catalogue.engine, table)?;
        let accounts = accounts(catalogue, users);
        Ok(Self {
            engine: catalogue.engine,
            maker: maker(catalogue.engine, table, expires),
            sessions: table.name.clone(),
            users: users.name.clone(),
            accounts: accounts.map(|accounts| accounts.name.clone()),
            expires,
            has_numbered_users: has_numbered_users(catalogue.engine, table, users)?,
            table: table.clone(),
            users_table: users.clone(),
            accounts_table: accounts.cloned(),
        })
    }

    /// The columns and keys of the table of users.
    #[must_use]
    pub const fn users_table(&self) -> &Table {
        &self.users_table
    }

    /// The columns and keys of the table of accounts at providers.
    #[must_use]
    pub const fn accounts_table(&self) -> Option<&Table> {
        self.accounts_table.as_ref()
    }
}

/// The table of accounts at providers, which is told from others by its columns and by the users that it refers to.
fn accounts<'c>(catalogue: &'c Catalogue, users: &Table) -> Option<&'c Table> {
    let is_one = |table: &&Table| {
        OF_AN_ACCOUNT.iter().all(|column| table.column(column).is_some())
            && table.foreign_keys.iter().filter(|key| key.column == "userId").all(|key| key.table == users.name)
    };
    let mut found = catalogue.tables.iter().filter(is_one);
    found.next().filter(|_| found.next().is_none())
}

/// Whether a row takes a value there that only its application can give.
fn must_be_known(engine: Engine, column: &Column) -> bool {
    let name = column.name.as_str();
    let is_filled = FILLED.contains(&name) && (name != "id" || is_text(engine, column) || column.kind == "uuid");
    column.is_required && !column.has_default && !OF_A_SESSION.contains(&name) && !is_filled
}

fn is_text(engine: Engine, column: &Column) -> bool {
    let kind = column.kind.as_str();
    match engine {
        Engine::Sqlite => kind.contains("char") || kind.contains("text") || kind.contains("clob"),
        Engine::Postgres => kind.starts_with("character") || kind == "text",
        Engine::Mysql => kind.contains("char") || kind.ends_with("text"),
    }
}

fn is_number(column: &Column) -> bool {
    let kind = column.kind.split(['(', ' ']).next().unwrap_or_default();
    ["integer", "int", "bigint", "smallint", "mediumint"].contains(&kind)
}

fn strange(table: &Table, column: &Column) -> Unrecognised {
    Unrecognised::Type { table: table.name.clone(), column: column.name.clone(), kind: column.kind.clone() }
}

/// The digits of a second in `timestamp(3)`; `unsaid` where the type names none.
fn fraction(kind: &str, unsaid: u8) -> u8 {
    let inside = kind.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    inside.and_then(|(digits, _)| digits.parse().ok()).unwrap_or(unsaid)
}

fn expires(engine: Engine, table: &Table) -> Result<Expires, Unrecognised> {
    let column = table.column("expires").ok_or(Unrecognised::NoSessions { tables: 1 })?;
    let kind = column.kind.as_str();
    match engine {
        Engine::Sqlite => match table.expires_forms.iter().find(|form| !["integer", "text"].contains(&form.as_str())) {
            Some(form) => {
                Err(Unrecognised::Type { kind: form.clone(), table: table.name.clone(), column: column.name.clone() })
            }
            None => Ok(Expires::PerRow),
        },
        Engine::Postgres if kind.starts_with("timestamp") && kind.ends_with("without time zone") => {
            Ok(Expires::Timestamp { fraction: fraction(kind, 6) })
        }
        Engine::Postgres if kind.starts_with("timestamp") => Ok(Expires::TimestampWithTimeZone),
        Engine::Mysql if kind.starts_with("datetime") || kind.starts_with("timestamp") => {
            Ok(Expires::Timestamp { fraction: fraction(kind, 0) })
        }
        _ => Err(strange(table, column)),
    }
}

fn has_numbered_users(engine: Engine, sessions: &Table, users: &Table) -> Result<bool, Unrecognised> {
    let kinds = [(sessions, "userId"), (users, "id")].map(|(table, name)| {
        let column = table.column(name).ok_or_else(|| Unrecognised::NoUsers { sessions: sessions.name.clone() })?;
        match (is_number(column), is_text(engine, column) || column.kind == "uuid") {
            (true, _) => Ok(true),
            (false, true) => Ok(false),
            (false, false) => Err(strange(table, column)),
        }
    });
    let [session, user] = kinds;
    if session? == user.clone()? {
        user
    } else {
        Err(strange(sessions, sessions.column("userId").unwrap_or(&Column::default())))
    }
}

fn maker(engine: Engine, table: &Table, expires: Expires) -> Maker {
    let id = table.column("id");
    let kind = table.column("expires").map_or("", |column| column.kind.as_str());
    match table.name.as_str() {
        "sessions" if expires == Expires::TimestampWithTimeZone && id.is_some_and(is_number) => Maker::PgAdapter,
        "session" if id.is_none() && table.is_unique("sessionToken") => Maker::Drizzle,
        "Session" => {
            // Kysely leaves the id to the database, Prisma to its client.
            let is_kysely = match engine {
                Engine::Postgres => expires == Expires::TimestampWithTimeZone,
                Engine::Mysql => id.is_some_and(|id| id.has_default),
                Engine::Sqlite => kind == "timestamptz",
            };
            if is_kysely {
                Maker::Kysely
            } else if table.column("createdAt").is_some() {
                Maker::Prisma
            } else {
                Maker::PrismaClassic
            }
        }
        _ => Maker::Other,
    }
}
