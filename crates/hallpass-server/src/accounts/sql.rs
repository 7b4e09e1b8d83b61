//! [`Accounts`] in a database server: PostgreSQL, MariaDB or MySQL.
//!
//! The statements are the same everywhere and stand here once; what differs between the servers is behind [`Connection`]. They are written with
//! `?` for a value and `hp.` before each table, which a connection makes its own.
//!
//! Every write is one transaction at READ COMMITTED, so what must not happen twice is held by a lock on a row or by a unique key, never by a read
//! alone: a second caller waits for the first and then sees what it did.

pub(super) mod connection;
mod identities;
mod own_users;
mod pool;
mod provider_sessions;
pub(super) mod users;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};

use self::connection::{Columns, Connection, Connector, Fault, Value};
use self::own_users::OwnUsers;
use self::pool::Pool;
use self::users::{Question, Users};
use super::rows::{SetupOffer, new_account, pending_end};
use super::{
    Account, AccountId, Accounts, AccountsError, Adopted, Created, Email, EndReason, FirstCreated, MAX_PAGE,
    NewAccount, PendingEnd, ServerSecret,
};
use crate::password::PasswordHash;

/// How long a call may take in all: waiting for a connection, every statement, and trying again.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long a server lets one statement run, or wait for a lock: it gives up before the caller does, so that nothing goes on for a caller that
/// was told no.
pub(super) const SERVER_PATIENCE: Duration = Duration::from_secs(4);

/// How long opening a connection may take, TLS and sign-in included.
pub(super) const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// How long bringing the schema up to date may take, waiting for another process included.
pub(super) const MIGRATION_PATIENCE: Duration = Duration::from_secs(60);

const LEAVE_END: &str = "INSERT INTO hp.hallpass_account_session_ends (user_id, reason, created_at) VALUES (?, ?, ?)";
const PENDING_ENDS: &str =
    "SELECT number, user_id, reason FROM hp.hallpass_account_session_ends ORDER BY number LIMIT ?";
const END_DONE: &str = "DELETE FROM hp.hallpass_account_session_ends WHERE number = ?";
const SECRET: &str = "SELECT value FROM hp.hallpass_account_server_secrets WHERE name = ?";
const KEEP_SECRET: &str = "INSERT INTO hp.hallpass_account_server_secrets (name, value) VALUES (?, ?)";
/// There is always one row, which the schema's first step made. Its lock lets one caller at a time offer a code or use it.
const LOCK_SETUP: &str = "SELECT code_hash, expires_at FROM hp.hallpass_account_setup WHERE one = 1 FOR UPDATE";
const SETUP: &str = "SELECT code_hash, expires_at FROM hp.hallpass_account_setup WHERE one = 1";
const SET_SETUP: &str = "UPDATE hp.hallpass_account_setup SET code_hash = ?, expires_at = ? WHERE one = 1";

/// Accounts in a database server, or in the database of an application with Auth.js; made by [`postgres::connect`](super::postgres::connect),
/// [`mysql::connect`](super::mysql::connect) and [`authjs::open`](super::authjs::open).
#[derive(Debug)]
pub struct SqlAccounts {
    pool: Pool,
    users: Box<dyn Users>,
}

impl SqlAccounts {
    pub(super) fn new(connector: Arc<dyn Connector>) -> Self {
        Self::with_users(connector, Box::new(OwnUsers))
    }

    pub(super) fn with_users(connector: Arc<dyn Connector>, users: Box<dyn Users>) -> Self {
        Self { pool: Pool::new(connector), users }
    }

    /// The first account among rows that is the one asked for.
    fn pick(&self, rows: &[Columns], is_it: impl Fn(&Account) -> bool) -> Result<Option<Account>, Fault> {
        for row in rows {
            let account = self.users.account(row)?;
            if is_it(&account) {
                return Ok(Some(account));
            }
        }
        Ok(None)
    }

    async fn by_id(&self, connection: &mut dyn Connection, id: &AccountId) -> Result<Option<Account>, Fault> {
        let Some(Question { sql, values }) = self.users.find(id) else { return Ok(None) };
        self.pick(&connection.rows(&sql, &values).await?, |account| account.id == *id)
    }

    /// Keeps the user from being deleted or changed by us until the end. `false`: there is none.
    async fn lock(&self, connection: &mut dyn Connection, id: &AccountId) -> Result<bool, Fault> {
        let Some(Question { sql, values }) = self.users.lock(id) else { return Ok(false) };
        let rows = connection.rows(&sql, &values).await?;
        for row in &rows {
            if row.text(0, "id")? == id.as_str() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// As [`SqlAccounts::lock`], for a change of what hallpass alone knows.
    async fn lock_facts(&self, connection: &mut dyn Connection, id: &AccountId) -> Result<bool, Fault> {
        if !self.lock(connection, id).await? {
            return Ok(false);
        }
        let Some(account) = self.by_id(connection, id).await? else { return Ok(false) };
        self.users.keep_facts(connection, &account).await?;
        Ok(true)
    }

    async fn any(&self, connection: &mut dyn Connection) -> Result<bool, Fault> {
        Ok(!connection.rows(&self.users.any(), &[]).await?.is_empty())
    }

    async fn email_is_of_another(&self, connection: &mut dyn Connection, account: &Account) -> Result<bool, Fault> {
        let Some(email) = &account.email else { return Ok(false) };
        let of_another = |other: &Account| other.email.as_ref() == Some(email) && other.id != account.id;
        let Question { sql, values } = self.users.find_by_email(email);
        Ok(self.pick(&connection.rows(&sql, &values).await?, of_another)?.is_some())
    }

    /// Whether somebody has the address of an account that could not be made.
    async fn has_email(&self, account: &Account) -> Result<bool, AccountsError> {
        let Some(email) = &account.email else { return Ok(false) };
        let Question { sql, values } = self.users.find_by_email(email);
        let rows = self.pool.read(&sql, &values).await?;
        Ok(self.pick(&rows, |other| other.email.as_ref() == Some(email))?.is_some())
    }

    /// Changes one of the facts of a user who is there.
    fn set_fact(&self, assignment: &str, condition: &str) -> String {
        format!("UPDATE {} SET {assignment} WHERE {condition}", self.users.facts())
    }
}

/// Only an application's own tables have others than ours.
fn another_key() -> AccountsError {
    AccountsError::Unavailable(String::from(
        "a row with one of these values is there already: a key of the application's tables, other than that of the email address, lets no second one in",
    ))
}

pub(super) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub(super) fn optional(value: Option<&str>) -> Value {
    value.map_or(Value::Null, text)
}

fn offer(row: &Columns) -> Result<SetupOffer, Fault> {
    Ok(SetupOffer { code_hash: row.bytes(0, "code_hash")?, expires_at: row.integer(1, "expires_at")? })
}

/// Waits for whoever offers or uses a code, and keeps others from it until the transaction ends.
pub(super) async fn lock_setup(connection: &mut dyn Connection) -> Result<SetupOffer, Fault> {
    let rows = connection.rows(LOCK_SETUP, &[]).await?;
    let row = rows.first().ok_or_else(|| {
        AccountsError::Damaged(String::from("hallpass_account_setup has lost its row; restore a backup"))
    })?;
    offer(row)
}

async fn leave_end(
    connection: &mut dyn Connection,
    id: &AccountId,
    reason: EndReason,
    now_ms: i64,
) -> Result<(), Fault> {
    let values = [text(id.as_str()), text(reason.as_str()), Value::Integer(now_ms)];
    connection.write(LEAVE_END, &values).await?;
    Ok(())
}

#[async_trait]
impl Accounts for SqlAccounts {
    async fn create(&self, new: NewAccount, now_ms: i64) -> Result<Created, AccountsError> {
        let account = &new_account(new, now_ms);
        let inserted = self.pool.write(|connection| {
            Box::pin(async move {
                self.users.take_turn(connection).await?;
                // Usually the answer; two at once are told apart by the unique key.
                if self.email_is_of_another(connection, account).await? {
                    return Ok(None);
                }
                self.users.insert(connection, account).await.map(Some)
            })
        });
        match inserted.await {
            Ok(Some(created)) => Ok(Created::Account(created)),
            Ok(None) => Ok(Created::Duplicate),
            Err(Fault::Duplicate) if self.has_email(account).await? => Ok(Created::Duplicate),
            Err(Fault::Duplicate) => Err(another_key()),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn adopt(&self, account: &Account) -> Result<Adopted, AccountsError> {
        let adopted = self.pool.write(|connection| {
            Box::pin(async move {
                // So that nobody changes it between the look and the write.
                self.lock(connection, &account.id).await?;
                let there = self.by_id(connection, &account.id).await?;
                if there.as_ref() == Some(account) {
                    return Ok(Adopted::Present);
                }
                if there.as_ref().is_some_and(|there| there.is_newer_than(account)) {
                    return Ok(Adopted::Newer);
                }
                if self.email_is_of_another(connection, account).await? {
                    return Ok(Adopted::EmailTaken);
                }
                if there.is_none() {
                    return self.users.insert(connection, account).await.map(|_| Adopted::Created);
                }
                self.users.overwrite(connection, account).await.map(|()| Adopted::Updated)
            })
        });
        match adopted.await {
            Err(Fault::Duplicate) => Err(AccountsError::Unavailable(String::from(
                "another program creates the same account just now; stop it and try again",
            ))),
            outcome => Ok(outcome?),
        }
    }

    async fn find(&self, id: &AccountId) -> Result<Option<Account>, AccountsError> {
        let Some(Question { sql, values }) = self.users.find(id) else { return Ok(None) };
        Ok(self.pick(&self.pool.read(&sql, &values).await?, |account| account.id == *id)?)
    }

    async fn find_by_email(&self, email: &Email) -> Result<Option<Account>, AccountsError> {
        let mut found = Vec::new();
        let Question { sql, values } = self.users.find_by_email(email);
        for row in self.pool.read(&sql, &values).await? {
            found.extend(Some(self.users.account(&row)?).filter(|account| account.email.as_ref() == Some(email)));
        }
        if found.len() > 1 {
            // Whoever signs in by it would be either of them.
            tracing::warn!(target: "hallpass", users = found.len(), user.email = ?email.as_str(), "several users have one email address, which names none of them until that is mended");
            return Ok(None);
        }
        Ok(found.pop())
    }

    async fn list(&self, after: Option<&AccountId>, limit: u16) -> Result<Vec<Account>, AccountsError> {
        let Some(Question { sql, values }) = self.users.list(after, limit.min(MAX_PAGE)) else { return Ok(Vec::new()) };
        let rows = self.pool.read(&sql, &values).await?;
        Ok(rows.iter().map(|row| self.users.account(row)).collect::<Result<_, _>>()?)
    }

    async fn count(&self) -> Result<u64, AccountsError> {
        let rows = self.pool.read(&self.users.count(), &[]).await?;
        let count = rows.first().map_or(Ok(0), |row| row.integer(0, "count"))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn disable(&self, id: &AccountId, now_ms: i64) -> Result<Option<Account>, AccountsError> {
        let disabled = self.pool.write(|connection| {
            Box::pin(async move {
                if !self.lock_facts(connection, id).await? {
                    return Ok(None);
                }
                let sql = self.set_fact("disabled_at = coalesce(disabled_at, ?)", "id = ?");
                connection.write(&sql, &[Value::Integer(now_ms), text(id.as_str())]).await?;
                leave_end(connection, id, EndReason::UserDisabled, now_ms).await?;
                self.by_id(connection, id).await
            })
        });
        Ok(disabled.await?)
    }

    async fn enable(&self, id: &AccountId) -> Result<Option<Account>, AccountsError> {
        let enabled = self.pool.write(|connection| {
            Box::pin(async move {
                connection.write(&self.set_fact("disabled_at = NULL", "id = ?"), &[text(id.as_str())]).await?;
                self.by_id(connection, id).await
            })
        });
        Ok(enabled.await?)
    }

    async fn set_password(
        &self,
        id: &AccountId,
        hash: PasswordHash,
        now_ms: i64,
    ) -> Result<Option<Account>, AccountsError> {
        let hash = &hash;
        let changed = self.pool.write(|connection| {
            Box::pin(async move {
                if !self.lock_facts(connection, id).await? {
                    return Ok(None);
                }
                let assignment = "password_hash = ?, credentials_version = credentials_version + 1";
                let values = [text(hash.expose()), text(id.as_str())];
                connection.write(&self.set_fact(assignment, "id = ?"), &values).await?;
                leave_end(connection, id, EndReason::CredentialsChanged, now_ms).await?;
                self.by_id(connection, id).await
            })
        });
        Ok(changed.await?)
    }

    async fn rehash(&self, id: &AccountId, old: &PasswordHash, new: PasswordHash) -> Result<bool, AccountsError> {
        let new = &new;
        let changed = self.pool.write(|connection| {
            Box::pin(async move {
                let values = [text(new.expose()), text(id.as_str()), text(old.expose())];
                connection.write(&self.set_fact("password_hash = ?", "id = ? AND password_hash = ?"), &values).await
            })
        });
        Ok(changed.await? == 1)
    }

    async fn delete(&self, id: &AccountId, now_ms: i64) -> Result<bool, AccountsError> {
        let deleted = self.pool.write(|connection| {
            Box::pin(async move {
                if !self.users.delete(connection, id).await? {
                    return Ok(false);
                }
                leave_end(connection, id, EndReason::UserDeleted, now_ms).await?;
                Ok(true)
            })
        });
        Ok(deleted.await?)
    }

    async fn pending_ends(&self, limit: u16) -> Result<Vec<PendingEnd>, AccountsError> {
        let rows = self.pool.read(PENDING_ENDS, &[Value::Integer(limit.into())]).await?;
        let mut pending = Vec::with_capacity(rows.len());
        for row in rows {
            let (user, reason) = (row.text(1, "user_id")?, row.text(2, "reason")?);
            pending.extend(pending_end(row.integer(0, "number")?, &user, &reason));
        }
        Ok(pending)
    }

    async fn end_done(&self, number: i64) -> Result<(), AccountsError> {
        let done = self.pool.write(|connection| {
            Box::pin(async move { connection.write(END_DONE, &[Value::Integer(number)]).await.map(drop) })
        });
        Ok(done.await?)
    }

    async fn secret_or(&self, secret: ServerSecret, candidate: SecretString) -> Result<SecretString, AccountsError> {
        let name = [text(secret.as_str())];
        let stored = |rows: Vec<Columns>| rows.first().map(|row| row.text(0, "value")).transpose();
        if let Some(kept) = stored(self.pool.read(SECRET, &name).await?)? {
            return Ok(SecretString::from(kept));
        }
        let offered = &candidate;
        let keeping = self.pool.write(|connection| {
            Box::pin(async move {
                let values = [text(secret.as_str()), text(offered.expose_secret())];
                connection.write(KEEP_SECRET, &values).await.map(drop)
            })
        });
        match keeping.await {
            Ok(()) => Ok(candidate),
            // Another process was first.
            Err(Fault::Duplicate) => match stored(self.pool.read(SECRET, &name).await?)? {
                Some(kept) => Ok(SecretString::from(kept)),
                None => Err(AccountsError::Unavailable(String::from("a secret of the server was removed just now"))),
            },
            Err(fault) => Err(fault.into()),
        }
    }

    async fn offer_setup(&self, code_hash: [u8; 32], expires_at_ms: i64) -> Result<bool, AccountsError> {
        let offered = self.pool.write(|connection| {
            Box::pin(async move {
                lock_setup(connection).await?;
                if self.any(connection).await? {
                    return Ok(false);
                }
                let values = [Value::Bytes(code_hash.to_vec()), Value::Integer(expires_at_ms)];
                connection.write(SET_SETUP, &values).await?;
                Ok(true)
            })
        });
        Ok(offered.await?)
    }

    async fn setup_is_open(&self, code_hash: [u8; 32], now_ms: i64) -> Result<bool, AccountsError> {
        let sql = format!("{SETUP} AND NOT EXISTS ({})", self.users.any());
        let rows = self.pool.read(&sql, &[]).await?;
        let offered = rows.first().map(offer).transpose()?;
        Ok(offered.is_some_and(|offer| offer.is_open(code_hash, now_ms)))
    }

    async fn create_first(
        &self,
        code_hash: [u8; 32],
        new: NewAccount,
        now_ms: i64,
    ) -> Result<FirstCreated, AccountsError> {
        let account = &new_account(new, now_ms);
        let used = self.pool.write(|connection| {
            Box::pin(async move {
                let offered = lock_setup(connection).await?;
                // Asked after the lock is had: what another caller created is seen.
                if !offered.is_open(code_hash, now_ms) || self.any(connection).await? {
                    return Ok(None);
                }
                connection.write(SET_SETUP, &[Value::Bytes(Vec::new()), Value::Integer(0)]).await?;
                self.users.insert(connection, account).await.map(Some)
            })
        });
        match used.await {
            Ok(Some(created)) => Ok(FirstCreated::Account(created)),
            // After a duplicate: somebody made an account of that email by another way meanwhile; the code stays as it was.
            Ok(None) | Err(Fault::Duplicate) => Ok(FirstCreated::Refused),
            Err(fault) => Err(fault.into()),
        }
    }
}
