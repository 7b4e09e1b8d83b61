//! [`Accounts`] in a database server: PostgreSQL, MariaDB or MySQL.
//!
//! The statements are the same everywhere and stand here once; what differs between the servers is behind [`Connection`]. They are written with
//! `?` for a value and `hp.` before each table, which a connection makes its own.
//!
//! Every write is one transaction at READ COMMITTED, so what must not happen twice is held by a lock on a row or by a unique key, never by a read
//! alone: a second caller waits for the first and then sees what it did.

pub(super) mod connection;
mod identities;
mod pool;
mod provider_sessions;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};

use self::connection::{Columns, Connection, Connector, Fault, Value};
use self::pool::Pool;
use super::rows::{AccountRow, COLUMNS, SetupOffer, new_account, pending_end};
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

const EMAIL_OF_ANOTHER: &str = "SELECT 1 FROM hp.hallpass_account_users WHERE email = ? AND id <> ?";
const INSERT: &str = "INSERT INTO hp.hallpass_account_users \
    (id, email, name, operator, disabled_at, created_at, credentials_version, password_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
const UPDATE: &str = "UPDATE hp.hallpass_account_users SET email = ?, name = ?, operator = ?, disabled_at = ?, created_at = ?, \
    credentials_version = ?, password_hash = ? WHERE id = ?";
const LOCK_ACCOUNT: &str = "SELECT 1 FROM hp.hallpass_account_users WHERE id = ? FOR UPDATE";
const ANY: &str = "SELECT 1 FROM hp.hallpass_account_users LIMIT 1";
const COUNT: &str = "SELECT count(*) FROM hp.hallpass_account_users";
const DISABLE: &str = "UPDATE hp.hallpass_account_users SET disabled_at = coalesce(disabled_at, ?) WHERE id = ?";
const ENABLE: &str = "UPDATE hp.hallpass_account_users SET disabled_at = NULL WHERE id = ?";
const SET_PASSWORD: &str = "UPDATE hp.hallpass_account_users SET password_hash = ?, credentials_version = credentials_version + 1 \
    WHERE id = ?";
const REHASH: &str = "UPDATE hp.hallpass_account_users SET password_hash = ? WHERE id = ? AND password_hash = ?";
const DELETE: &str = "DELETE FROM hp.hallpass_account_users WHERE id = ?";
const UNLINK_ALL: &str = "DELETE FROM hp.hallpass_account_identities WHERE account_id = ?";
const LEAVE_END: &str = "INSERT INTO hp.hallpass_account_session_ends (user_id, reason, created_at) VALUES (?, ?, ?)";
const PENDING_ENDS: &str =
    "SELECT number, user_id, reason FROM hp.hallpass_account_session_ends ORDER BY number LIMIT ?";
const END_DONE: &str = "DELETE FROM hp.hallpass_account_session_ends WHERE number = ?";
const SECRET: &str = "SELECT value FROM hp.hallpass_account_server_secrets WHERE name = ?";
const KEEP_SECRET: &str = "INSERT INTO hp.hallpass_account_server_secrets (name, value) VALUES (?, ?)";
/// There is always one row, which the schema's first step made. Its lock lets one caller at a time offer a code or use it.
const LOCK_SETUP: &str = "SELECT code_hash, expires_at FROM hp.hallpass_account_setup WHERE one = 1 FOR UPDATE";
const SETUP_OF_NOBODY: &str = "SELECT code_hash, expires_at FROM hp.hallpass_account_setup \
    WHERE one = 1 AND NOT EXISTS (SELECT 1 FROM hp.hallpass_account_users)";
const SET_SETUP: &str = "UPDATE hp.hallpass_account_setup SET code_hash = ?, expires_at = ? WHERE one = 1";

/// Accounts in a database server; made by [`postgres::connect`](super::postgres::connect) and [`mysql::connect`](super::mysql::connect).
#[derive(Debug)]
pub struct SqlAccounts {
    pool: Pool,
    find: String,
    find_by_email: String,
    list: String,
}

impl SqlAccounts {
    pub(super) fn new(connector: Arc<dyn Connector>) -> Self {
        let select = format!("SELECT {COLUMNS} FROM hp.hallpass_account_users");
        Self {
            pool: Pool::new(connector),
            find: format!("{select} WHERE id = ?"),
            find_by_email: format!("{select} WHERE email = ?"),
            list: format!("{select} WHERE id > ? ORDER BY id LIMIT ?"),
        }
    }

    async fn by_id(&self, connection: &mut dyn Connection, id: &AccountId) -> Result<Option<Account>, Fault> {
        let rows = connection.rows(&self.find, &[text(id.as_str())]).await?;
        rows.first().map(account).transpose()
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn account(row: &Columns) -> Result<Account, Fault> {
    let columns = AccountRow {
        id: row.text(0, "id")?,
        email: row.text(1, "email")?,
        name: row.text(2, "name")?,
        operator: row.boolean(3, "operator")?,
        disabled_at: row.optional_integer(4, "disabled_at")?,
        created_at: row.integer(5, "created_at")?,
        credentials_version: row.integer(6, "credentials_version")?,
        password_hash: row.optional_text(7, "password_hash")?,
    };
    Ok(columns.account()?)
}

fn offer(row: &Columns) -> Result<SetupOffer, Fault> {
    Ok(SetupOffer { code_hash: row.bytes(0, "code_hash")?, expires_at: row.integer(1, "expires_at")? })
}

/// Waits for whoever offers or uses a code, and keeps others from it until the transaction ends.
async fn lock_setup(connection: &mut dyn Connection) -> Result<SetupOffer, Fault> {
    let rows = connection.rows(LOCK_SETUP, &[]).await?;
    let row = rows.first().ok_or_else(|| {
        AccountsError::Damaged(String::from("hallpass_account_setup has lost its row; restore a backup"))
    })?;
    offer(row)
}

async fn any(connection: &mut dyn Connection) -> Result<bool, Fault> {
    Ok(!connection.rows(ANY, &[]).await?.is_empty())
}

async fn email_is_of_another(connection: &mut dyn Connection, account: &Account) -> Result<bool, Fault> {
    let values = [text(account.email.as_str()), text(account.id.as_str())];
    Ok(!connection.rows(EMAIL_OF_ANOTHER, &values).await?.is_empty())
}

async fn insert(connection: &mut dyn Connection, account: &Account) -> Result<(), Fault> {
    let [email, name, operator, disabled_at, created_at, version, hash] = columns(account);
    let values = [text(account.id.as_str()), email, name, operator, disabled_at, created_at, version, hash];
    connection.write(INSERT, &values).await.map(drop)
}

async fn update(connection: &mut dyn Connection, account: &Account) -> Result<(), Fault> {
    let [email, name, operator, disabled_at, created_at, version, hash] = columns(account);
    let values = [email, name, operator, disabled_at, created_at, version, hash, text(account.id.as_str())];
    connection.write(UPDATE, &values).await.map(drop)
}

/// All but the id.
fn columns(account: &Account) -> [Value; 7] {
    [
        text(account.email.as_str()),
        text(&account.name),
        Value::Boolean(account.operator),
        account.disabled_at.map_or(Value::NoInteger, Value::Integer),
        Value::Integer(account.created_at),
        Value::Integer(account.credentials_version.into()),
        account.password_hash.as_ref().map_or(Value::Null, |hash| text(hash.expose())),
    ]
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
        let created = new_account(new, now_ms);
        let account = &created;
        let inserted = self.pool.write(|connection| {
            Box::pin(async move {
                // Usually the answer; two at once are told apart by the unique key.
                if email_is_of_another(connection, account).await? {
                    return Ok(false);
                }
                insert(connection, account).await.map(|()| true)
            })
        });
        match inserted.await {
            Ok(true) => Ok(Created::Account(created)),
            Ok(false) | Err(Fault::Duplicate) => Ok(Created::Duplicate),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn adopt(&self, account: &Account) -> Result<Adopted, AccountsError> {
        let adopted = self.pool.write(|connection| {
            Box::pin(async move {
                // So that nobody changes it between the look and the write.
                connection.rows(LOCK_ACCOUNT, &[text(account.id.as_str())]).await?;
                let there = self.by_id(connection, &account.id).await?;
                if there.as_ref() == Some(account) {
                    return Ok(Adopted::Present);
                }
                if there.as_ref().is_some_and(|there| there.is_newer_than(account)) {
                    return Ok(Adopted::Newer);
                }
                if email_is_of_another(connection, account).await? {
                    return Ok(Adopted::EmailTaken);
                }
                if there.is_none() {
                    return insert(connection, account).await.map(|()| Adopted::Created);
                }
                update(connection, account).await.map(|()| Adopted::Updated)
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
        let rows = self.pool.read(&self.find, &[text(id.as_str())]).await?;
        Ok(rows.first().map(account).transpose()?)
    }

    async fn find_by_email(&self, email: &Email) -> Result<Option<Account>, AccountsError> {
        let rows = self.pool.read(&self.find_by_email, &[text(email.as_str())]).await?;
        Ok(rows.first().map(account).transpose()?)
    }

    async fn list(&self, after: Option<&AccountId>, limit: u16) -> Result<Vec<Account>, AccountsError> {
        let after = text(after.map_or("", AccountId::as_str));
        let rows = self.pool.read(&self.list, &[after, Value::Integer(limit.min(MAX_PAGE).into())]).await?;
        Ok(rows.iter().map(account).collect::<Result<_, _>>()?)
    }

    async fn count(&self) -> Result<u64, AccountsError> {
        let rows = self.pool.read(COUNT, &[]).await?;
        let count = rows.first().map_or(Ok(0), |row| row.integer(0, "count"))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn disable(&self, id: &AccountId, now_ms: i64) -> Result<Option<Account>, AccountsError> {
        let disabled = self.pool.write(|connection| {
            Box::pin(async move {
                let values = [Value::Integer(now_ms), text(id.as_str())];
                if connection.write(DISABLE, &values).await? == 0 {
                    return Ok(None);
                }
                leave_end(connection, id, EndReason::UserDisabled, now_ms).await?;
                self.by_id(connection, id).await
            })
        });
        Ok(disabled.await?)
    }

    async fn enable(&self, id: &AccountId) -> Result<Option<Account>, AccountsError> {
        let enabled = self.pool.write(|connection| {
            Box::pin(async move {
                connection.write(ENABLE, &[text(id.as_str())]).await?;
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
                let values = [text(hash.expose()), text(id.as_str())];
                if connection.write(SET_PASSWORD, &values).await? == 0 {
                    return Ok(None);
                }
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
                connection.write(REHASH, &values).await
            })
        });
        Ok(changed.await? == 1)
    }

    async fn delete(&self, id: &AccountId, now_ms: i64) -> Result<bool, AccountsError> {
        let deleted = self.pool.write(|connection| {
            Box::pin(async move {
                if connection.write(DELETE, &[text(id.as_str())]).await? == 0 {
                    return Ok(false);
                }
                connection.write(UNLINK_ALL, &[text(id.as_str())]).await?;
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
                if any(connection).await? {
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
        let rows = self.pool.read(SETUP_OF_NOBODY, &[]).await?;
        let offered = rows.first().map(offer).transpose()?;
        Ok(offered.is_some_and(|offer| offer.is_open(code_hash, now_ms)))
    }

    async fn create_first(
        &self,
        code_hash: [u8; 32],
        new: NewAccount,
        now_ms: i64,
    ) -> Result<FirstCreated, AccountsError> {
        let created = new_account(new, now_ms);
        let account = &created;
        let used = self.pool.write(|connection| {
            Box::pin(async move {
                let offered = lock_setup(connection).await?;
                // Asked after the lock is had: what another caller created is seen.
                if !offered.is_open(code_hash, now_ms) || any(connection).await? {
                    return Ok(false);
                }
                connection.write(SET_SETUP, &[Value::Bytes(Vec::new()), Value::Integer(0)]).await?;
                insert(connection, account).await.map(|()| true)
            })
        });
        match used.await {
            Ok(true) => Ok(FirstCreated::Account(created)),
            // After a duplicate: somebody made an account of that email by another way meanwhile; the code stays as it was.
            Ok(false) | Err(Fault::Duplicate) => Ok(FirstCreated::Refused),
            Err(fault) => Err(fault.into()),
        }
    }
}
