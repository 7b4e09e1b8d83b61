//! The application's table of users, and of their accounts at providers.
//!
//! Columns of an application are compared as it wishes (without case or accents, for example), so what a statement finds is looked at once more.

use async_trait::async_trait;
use hallpass_authjs::{Engine, Layout, Maker, Table};
use uuid::Uuid;

use super::IdKind;
use crate::accounts::sql::connection::{Columns, Connection, Fault, Value};
use crate::accounts::sql::users::{Question, Users};
use crate::accounts::sql::{lock_setup, optional, text};
use crate::accounts::{Account, AccountId, AccountsError, Email, Identity, LinkedIdentity, MAX_IDENTITIES};
use crate::password::PasswordHash;
use crate::settings::{ProviderKind, ProviderSettings};

const FACTS: &str = "hp.hallpass_account_authjs_users";
const KEEP_FACTS: &str = "INSERT INTO hp.hallpass_account_authjs_users \
    (id, known_email, operator, disabled_at, created_at, credentials_version, password_hash) VALUES (?, ?, ?, ?, ?, ?, ?)";
/// A number may be given again, to somebody whom what was known of the first does not concern.
const FORGET_ANOTHER: &str = "UPDATE hp.hallpass_account_authjs_users SET known_email = ?, operator = ?, password_hash = ?, \
    credentials_version = credentials_version + 1 WHERE id = ? AND (known_email IS NULL OR known_email <> ?)";
const HAS_FACTS: &str = "SELECT 1 FROM hp.hallpass_account_authjs_users WHERE id = ?";
const FORGET_FACTS: &str = "DELETE FROM hp.hallpass_account_authjs_users WHERE id = ?";

/// How many rows an engine may take for alike before some are not looked at.
const MOST_ALIKE: usize = 20;

/// A provider of ours, as Auth.js knows it.
#[derive(Debug)]
struct Provider {
    id: String,
    issuer: String,
    /// What Auth.js says in the column `type`.
    kind: &'static str,
}

/// The application's tables.
#[derive(Debug)]
pub(super) struct AuthjsUsers {
    engine: Engine,
    kind: IdKind,
    users: Target,
    accounts: Option<Target>,
    sessions: String,
    /// Whether the engine itself takes two addresses for one that differ in capitals.
    ignores_case: bool,
    /// The columns of an account, from a user `u` and our facts `f`.
    select: String,
    providers: Vec<Provider>,
}

/// A table that rows are written to.
#[derive(Debug)]
struct Target {
    /// With its schema or database, as it stands in a statement.
    name: String,
    shown: String,
    /// Columns that have to be filled beside those that are known, each with what.
    filled: Vec<(String, &'static str)>,
    /// Where an id stands in a statement, where one has to be made.
    id: Option<&'static str>,
    /// A column that only the application can fill.
    beyond_us: Option<String>,
}

impl Target {
    fn new(layout: &Layout, place: &str, table: &Table, known: &[&str]) -> Self {
        let quoted = |name: &str| layout.engine.quoted(name);
        let needed = |column: &&hallpass_authjs::Column| {
            column.is_required && !column.has_default && !known.contains(&column.name.as_str())
        };
        let is_time = |name: &str| ["createdAt", "updatedAt"].contains(&name);
        let missing: Vec<_> = table.columns.iter().filter(needed).filter(|column| column.name != "id").collect();
        Self {
            name: format!("{}.{}", quoted(place), quoted(&table.name)),
            shown: table.name.clone(),
            filled: missing
                .iter()
                .filter(|column| is_time(&column.name))
                .map(|column| (quoted(&column.name), now(layout, &column.kind)))
                .collect(),
            id: table.column("id").filter(|id| !id.has_default).map(|id| place_of(layout.engine, id.kind == "uuid")),
            beyond_us: missing.iter().find(|column| !is_time(&column.name)).map(|column| column.name.clone()),
        }
    }

    /// The statement that inserts these columns, each with its place, and what else has to be there.
    fn insert(&self, columns: &[(&str, &str)]) -> Result<String, Fault> {
        if let Some(column) = &self.beyond_us {
            return Err(AccountsError::Unavailable(format!(
                "a row of the application's table {} needs a value in its column {column}, which hallpass does not know: \
                 give the column a default, or leave the making of users to the application",
                self.shown
            ))
            .into());
        }
        let filled = self.filled.iter().map(|(column, value)| (column.as_str(), *value));
        let (columns, values): (Vec<&str>, Vec<&str>) = columns.iter().copied().chain(filled).unzip();
        Ok(format!("INSERT INTO {} ({}) VALUES ({})", self.name, columns.join(", "), values.join(", ")))
    }
}

/// The time, in the form in which that column keeps it. It is for people to read, and decides nothing.
fn now(layout: &Layout, kind: &str) -> &'static str {
    match layout.engine {
        Engine::Postgres if kind.ends_with("with time zone") => "clock_timestamp()",
        Engine::Postgres => "(clock_timestamp() AT TIME ZONE 'UTC')",
        Engine::Sqlite if layout.maker == Maker::Drizzle => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
        Engine::Sqlite => "strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')",
        _ => "UTC_TIMESTAMP(3)",
    }
}

impl AuthjsUsers {
    /// `place`: the schema or database of the application's tables.
    pub(super) fn new(layout: &Layout, place: &str, providers: &[ProviderSettings]) -> Self {
        let engine = layout.engine;
        let quoted = |name: &str| engine.quoted(name);
        let users = Target::new(layout, place, layout.users_table(), &["id", "name", "email", "image"]);
        let known = ["userId", "type", "provider", "providerAccountId"];
        let accounts = layout.accounts_table().map(|table| Target::new(layout, place, table, &known));
        let sessions = format!("{}.{}", quoted(place), quoted(&layout.sessions));
        let of_user = |column: &str| as_text(engine, &format!("u.{}", quoted(column)));
        let joined = match engine {
            // Ours is in the collation "C", and the application's may be in any.
            Engine::Postgres => format!("{} COLLATE \"C\"", of_user("id")),
            // Ours are bytes.
            Engine::Mysql => format!("CAST(CONVERT(u.{} USING utf8mb4) AS BINARY)", quoted("id")),
            _ => of_user("id"),
        };
        let select = format!(
            "SELECT {}, {}, {}, {}, coalesce(f.operator, FALSE), f.disabled_at, f.created_at, coalesce(f.credentials_version, 0), f.password_hash, f.known_email\
             {{more}} FROM {} u LEFT JOIN {FACTS} f ON f.id = {joined}",
            of_user("id"),
            of_user("email"),
            of_user("name"),
            of_user("image"),
            users.name,
        );
        let ignores_case = layout.users_table().column("email").is_some_and(|email| {
            email.kind == "citext" || email.collation.as_deref().is_some_and(|name| name.ends_with("_ci"))
        });
        let providers = providers
            .iter()
            .map(|provider| Provider {
                id: provider.id.clone(),
                issuer: provider.issuer.clone(),
                kind: if provider.kind == ProviderKind::Oidc { "oidc" } else { "oauth" },
            })
            .collect();
        Self { engine, kind: IdKind::of(layout), users, accounts, sessions, ignores_case, select, providers }
    }

    fn quoted(&self, name: &str) -> String {
        self.engine.quoted(name)
    }

    /// A user's id as the application keeps it; `None` where it cannot be one of its.
    fn id(&self, id: &AccountId) -> Option<Value> {
        let given = id.as_str();
        match self.kind {
            IdKind::Text => Some(text(given)),
            // "007" is another text than that of the number 7.
            IdKind::Number => given.parse::<i64>().ok().filter(|n| n.to_string() == given).map(Value::Integer),
            IdKind::Uuid => Uuid::try_parse(given).ok().filter(|id| id.to_string() == given).map(|_| text(given)),
        }
    }

    /// Where an id stands in a statement.
    fn place(&self) -> &'static str {
        place_of(self.engine, self.kind == IdKind::Uuid)
    }

    fn select(&self, more: &str, rest: &str, values: Vec<Value>) -> Question {
        Question { sql: format!("{} {rest}", self.select.replace("{more}", more)), values }
    }

    fn accounts(&self) -> Result<&Target, Fault> {
        self.accounts.as_ref().ok_or_else(|| {
            AccountsError::Unavailable(
                "the application has no table of accounts at providers (userId, type, provider, providerAccountId), or several".to_owned(),
            )
            .into()
        })
    }

    /// Removes the rows of a table that are the user's.
    async fn remove(
        &self,
        connection: &mut dyn Connection,
        table: &str,
        column: &str,
        id: &Value,
    ) -> Result<u64, Fault> {
        let sql = format!("DELETE FROM {table} WHERE {} = {}", self.quoted(column), self.place());
        connection.write(&sql, std::slice::from_ref(id)).await
    }
}

fn place_of(engine: Engine, is_uuid: bool) -> &'static str {
    if is_uuid && engine == Engine::Postgres { "CAST(? AS uuid)" } else { "?" }
}

fn as_text(engine: Engine, column: &str) -> String {
    match engine {
        Engine::Mysql => format!("CAST({column} AS CHAR)"),
        _ => format!("CAST({column} AS text)"),
    }
}

fn damaged(id: &str, what: &str) -> Fault {
    AccountsError::Damaged(format!("what hallpass knows of the user {id} has a bad {what}")).into()
}

#[async_trait]
impl Users for AuthjsUsers {
    /// What the application wrote is taken as it is; only an address that can be one counts.
    fn account(&self, row: &Columns) -> Result<Account, Fault> {
        let id = row.text(0, "id")?;
        let kept = row.optional_text(1, "email")?;
        // Only its capitals may differ from how people type it: another spelling is another address for the application.
        let email = kept.as_ref().and_then(|kept| {
            let lower = kept.to_lowercase();
            Email::parse(kept).ok().filter(|email| email.as_str() == lower)
        });
        let is_known = self.kind != IdKind::Number
            || (email.is_some()
                && row.optional_text(9, "known_email")?.as_deref() == email.as_ref().map(Email::as_str));
        Ok(Account {
            email_as_kept: kept.filter(|kept| email.as_ref().is_none_or(|email| email.as_str() != kept)),
            email,
            name: row.optional_text(2, "name")?.unwrap_or_default(),
            image: row.optional_text(3, "image")?,
            operator: row.boolean(4, "operator")? && is_known,
            disabled_at: row.optional_integer(5, "disabled_at")?,
            created_at: row.optional_integer(6, "created_at")?,
            credentials_version: u32::try_from(row.integer(7, "credentials_version")?)
                .map_err(|_| damaged(&id, "version of its credentials"))?,
            password_hash: row.optional_text(8, "password_hash")?.filter(|_| is_known).map(PasswordHash::from_stored),
            id: AccountId::parse(&id).ok_or_else(|| damaged(&id, "id"))?,
        })
    }

    fn find(&self, id: &AccountId) -> Option<Question> {
        let condition = format!("WHERE u.{} = {}", self.quoted("id"), self.place());
        Some(self.select("", &condition, vec![self.id(id)?]))
    }

    /// An application may keep an address with capitals. Without an index over `lower(email)` it reads the whole table, whether the address is there or not: the
    /// time it takes tells nothing.
    fn find_by_email(&self, email: &Email) -> Question {
        let column = format!("u.{}", self.quoted("email"));
        let (condition, values) = if self.ignores_case {
            (format!("{column} = ?"), vec![text(email.as_str())])
        } else {
            (format!("{column} = ? OR lower({column}) = ?"), vec![text(email.as_str()), text(email.as_str())])
        };
        self.select("", &format!("WHERE {condition} LIMIT {MOST_ALIKE}"), values)
    }

    fn list(&self, after: Option<&AccountId>, limit: u16) -> Option<Question> {
        let id = format!("u.{}", self.quoted("id"));
        let limit = Value::Integer(limit.into());
        Some(match after {
            None => self.select("", &format!("ORDER BY {id} LIMIT ?"), vec![limit]),
            Some(after) => {
                let condition = format!("WHERE {id} > {} ORDER BY {id} LIMIT ?", self.place());
                self.select("", &condition, vec![self.id(after)?, limit])
            }
        })
    }

    fn count(&self) -> String {
        format!("SELECT count(*) FROM {}", self.users.name)
    }

    fn any(&self) -> String {
        format!("SELECT 1 FROM {} LIMIT 1", self.users.name)
    }

    fn lock(&self, id: &AccountId) -> Option<Question> {
        let column = self.quoted("id");
        let shown = as_text(self.engine, &column);
        let sql = format!("SELECT {shown} FROM {} WHERE {column} = {} FOR UPDATE", self.users.name, self.place());
        Some(Question { sql, values: vec![self.id(id)?] })
    }

    /// Not every layout has keys over addresses and identities. The application takes no turn.
    async fn take_turn(&self, connection: &mut dyn Connection) -> Result<(), Fault> {
        lock_setup(connection).await.map(drop)
    }

    async fn insert(&self, connection: &mut dyn Connection, account: &Account) -> Result<Account, Fault> {
        let (id, name, email) = (self.quoted("id"), self.quoted("name"), self.quoted("email"));
        let known_email = optional(account.email.as_ref().map(Email::as_str));
        let (shown_name, address) = (text(&account.name), known_email.clone());
        let mut created = account.clone();
        if self.kind == IdKind::Number {
            let sql = self.users.insert(&[(&name, "?"), (&email, "?")])?;
            let values = [shown_name, address];
            let rows = if self.engine == Engine::Mysql {
                connection.write(&sql, &values).await?;
                connection.rows("SELECT CAST(LAST_INSERT_ID() AS CHAR)", &[]).await?
            } else {
                connection.rows(&format!("{sql} RETURNING {}", as_text(self.engine, &id)), &values).await?
            };
            let counted = rows.first().map(|row| row.text(0, "id")).transpose()?;
            created.id = counted.and_then(|id| AccountId::parse(&id)).ok_or_else(|| damaged("that was made", "id"))?;
        } else {
            let sql = self.users.insert(&[(&id, self.place()), (&name, "?"), (&email, "?")])?;
            connection.write(&sql, &[text(account.id.as_str()), shown_name, address]).await?;
        }
        // Of somebody who had the id before, and is gone.
        connection.write(FORGET_FACTS, &[text(created.id.as_str())]).await?;
        let facts = [
            text(created.id.as_str()),
            known_email,
            Value::Boolean(account.operator),
            account.disabled_at.map_or(Value::NoInteger, Value::Integer),
            account.created_at.map_or(Value::NoInteger, Value::Integer),
            Value::Integer(account.credentials_version.into()),
            optional(account.password_hash.as_ref().map(PasswordHash::expose)),
        ];
        connection.write(KEEP_FACTS, &facts).await?;
        Ok(created)
    }

    async fn overwrite(&self, _connection: &mut dyn Connection, _account: &Account) -> Result<(), Fault> {
        let what = "the users of an application with Auth.js are its own; accounts are not copied over them";
        Err(AccountsError::Unavailable(what.to_owned()).into())
    }

    fn facts(&self) -> &'static str {
        FACTS
    }

    async fn keep_facts(&self, connection: &mut dyn Connection, account: &Account) -> Result<(), Fault> {
        let id = text(account.id.as_str());
        let known_email = optional(account.email.as_ref().map(Email::as_str));
        if connection.rows(HAS_FACTS, std::slice::from_ref(&id)).await?.is_empty() {
            let nothing_known = [
                id,
                known_email,
                Value::Boolean(false),
                Value::NoInteger,
                Value::NoInteger,
                Value::Integer(0),
                Value::Null,
            ];
            connection.write(KEEP_FACTS, &nothing_known).await?;
        } else if self.kind == IdKind::Number {
            let values = [known_email.clone(), Value::Boolean(false), Value::Null, id, known_email];
            connection.write(FORGET_ANOTHER, &values).await?;
        }
        Ok(())
    }

    /// Not every layout has keys that take sessions and accounts along.
    async fn delete(&self, connection: &mut dyn Connection, id: &AccountId) -> Result<bool, Fault> {
        let Some(value) = self.id(id) else { return Ok(false) };
        let Some(Question { sql, values }) = self.lock(id) else { return Ok(false) };
        // Exactly this one, whatever else the engine takes for alike.
        let locked = connection.rows(&sql, &values).await?;
        if locked.len() != 1 || locked[0].text(0, "id")? != id.as_str() {
            return Ok(false);
        }
        self.remove(connection, &self.sessions, "userId", &value).await?;
        if let Some(accounts) = &self.accounts {
            self.remove(connection, &accounts.name, "userId", &value).await?;
        }
        self.remove(connection, &self.users.name, "id", &value).await?;
        connection.write(FORGET_FACTS, &[text(id.as_str())]).await?;
        Ok(true)
    }

    fn find_by_identity(&self, identity: &Identity) -> Option<Question> {
        let provider = self.providers.iter().find(|provider| provider.issuer == identity.issuer)?;
        let accounts = self.accounts.as_ref()?;
        let column = |name: &str| format!("a.{}", self.quoted(name));
        let more = format!(
            ", {}, {}",
            as_text(self.engine, &column("provider")),
            as_text(self.engine, &column("providerAccountId"))
        );
        let rest = format!(
            "JOIN {} a ON {} = u.{} WHERE {} = ? AND {} = ? LIMIT {MOST_ALIKE}",
            accounts.name,
            column("userId"),
            self.quoted("id"),
            column("provider"),
            column("providerAccountId"),
        );
        Some(self.select(&more, &rest, vec![text(&provider.id), text(&identity.subject)]))
    }

    fn found_identity(&self, row: &Columns) -> Result<Option<Identity>, Fault> {
        let (provider, subject) = (row.text(10, "provider")?, row.text(11, "providerAccountId")?);
        let provider = self.providers.iter().find(|known| known.id == provider);
        Ok(provider.map(|provider| Identity { issuer: provider.issuer.clone(), subject }))
    }

    fn identities(&self, id: &AccountId) -> Option<Question> {
        let accounts = self.accounts.as_ref()?;
        let (provider, subject) = (self.quoted("provider"), self.quoted("providerAccountId"));
        let sql = format!(
            "SELECT {}, {}, {} FROM {} WHERE {} = {} LIMIT {}",
            as_text(self.engine, &provider),
            as_text(self.engine, &subject),
            as_text(self.engine, &self.quoted("userId")),
            accounts.name,
            self.quoted("userId"),
            self.place(),
            // Those of other providers are among them.
            10 * MAX_IDENTITIES,
        );
        Some(Question { sql, values: vec![self.id(id)?] })
    }

    /// The application keeps neither an address nor a time with it.
    fn linked(&self, owner: &AccountId, row: &Columns) -> Result<Option<LinkedIdentity>, Fault> {
        if row.text(2, "userId")? != owner.as_str() {
            return Ok(None);
        }
        let (id, subject) = (row.text(0, "provider")?, row.text(1, "providerAccountId")?);
        let provider = self.providers.iter().find(|known| known.id == id);
        Ok(provider.map(|provider| LinkedIdentity {
            identity: Identity { issuer: provider.issuer.clone(), subject },
            provider: provider.id.clone(),
            email: None,
            created_at: None,
        }))
    }

    async fn link(
        &self,
        connection: &mut dyn Connection,
        id: &AccountId,
        linked: &LinkedIdentity,
    ) -> Result<(), Fault> {
        let accounts = self.accounts()?;
        let provider = self.providers.iter().find(|provider| provider.issuer == linked.identity.issuer);
        let (Some(provider), Some(user)) = (provider, self.id(id)) else {
            let what = format!("no provider of the settings has the issuer {}", linked.identity.issuer);
            return Err(AccountsError::Unavailable(what).into());
        };
        let [user_id, kind, its_id, subject, own_id] =
            ["userId", "type", "provider", "providerAccountId", "id"].map(|name| self.quoted(name));
        let mut columns = vec![(&*user_id, self.place()), (&*kind, "?"), (&*its_id, "?"), (&*subject, "?")];
        let mut values = vec![user, text(provider.kind), text(&provider.id), text(&linked.identity.subject)];
        if let Some(place) = accounts.id {
            columns.push((&own_id, place));
            values.push(text(&Uuid::now_v7().to_string()));
        }
        connection.write(&accounts.insert(&columns)?, &values).await.map(drop)
    }

    async fn unlink(&self, connection: &mut dyn Connection, id: &AccountId, identity: &Identity) -> Result<(), Fault> {
        let accounts = self.accounts()?;
        let provider = self.providers.iter().find(|provider| provider.issuer == identity.issuer);
        let (Some(provider), Some(user)) = (provider, self.id(id)) else { return Ok(()) };
        let sql = format!(
            "DELETE FROM {} WHERE {} = {} AND {} = ? AND {} = ?",
            accounts.name,
            self.quoted("userId"),
            self.place(),
            self.quoted("provider"),
            self.quoted("providerAccountId"),
        );
        connection.write(&sql, &[user, text(&provider.id), text(&identity.subject)]).await.map(drop)
    }
}
