//! [`Accounts`] in an SQLite file, normally the one that holds the sessions, through connections of
//! its own.
//!
//! One connection writes and a few read; a call waits for one at most [`PATIENCE`]. Blocking work runs
//! on tokio's blocking threads, never more of it than there are connections. Write-ahead log,
//! `synchronous=FULL`: what was acknowledged survives a power cut. Every write begins with
//! `BEGIN IMMEDIATE`, so that two processes take turns instead of failing half-way.

mod identities;
mod migrations;
mod pool;
mod provider_sessions;

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};
use secrecy::{ExposeSecret as _, SecretString};

use self::pool::Pool;
pub(super) use self::pool::migrated;
use super::rows::{AccountRow, COLUMNS, SetupOffer, new_account, pending_end};
use super::{
    Account, AccountId, Accounts, AccountsError, Adopted, Created, Email, EndReason, FirstCreated, MAX_PAGE,
    NewAccount, PendingEnd, ServerSecret,
};
use crate::password::PasswordHash;

/// How long a call waits for a free connection, and a connection for another process's lock.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Accounts in an SQLite file.
#[derive(Debug)]
pub struct SqliteAccounts {
    pool: Pool,
}

impl SqliteAccounts {
    /// Opens the file, creating it (readable by its owner alone) if it is missing, and brings its
    /// schema up to date. Blocks.
    ///
    /// # Errors
    /// [`AccountsError::Newer`] when a newer program made the schema, [`AccountsError::Damaged`] when the
    /// file is no database or holds other migrations than ours, [`AccountsError::Unavailable`]
    /// otherwise; each names the file.
    pub fn open(path: &Path) -> Result<Self, AccountsError> {
        let pool = Pool::open(path)?;
        Ok(Self { pool })
    }

    /// The schema number of this program.
    #[must_use]
    pub fn schema_version() -> u32 {
        migrations::newest()
    }

    /// Runs one write transaction; rolled back when `work` fails.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, AccountsError> + Send + 'static,
    ) -> Result<T, AccountsError> {
        self.pool.write(work).await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, AccountsError> + Send + 'static,
    ) -> Result<T, AccountsError> {
        self.pool.read(work).await
    }
}

fn insert(tx: &Transaction<'_>, new: NewAccount, now_ms: i64) -> Result<Created, AccountsError> {
    let created = new_account(new, now_ms);
    if email_is_of_another(tx, &created)? {
        return Ok(Created::Duplicate);
    }
    insert_row(tx, &created)?;
    Ok(Created::Account(created))
}

fn email_is_of_another(tx: &Transaction<'_>, account: &Account) -> Result<bool, AccountsError> {
    tx.prepare_cached("SELECT 1 FROM account_users WHERE email = ?1 AND id <> ?2")
        .and_then(|mut taken| taken.exists([account.email.as_ref().map_or("", Email::as_str), account.id.as_str()]))
        .map_err(unavailable)
}

fn insert_row(tx: &Transaction<'_>, account: &Account) -> Result<(), AccountsError> {
    write_row(
        tx,
        account,
        "INSERT INTO account_users
           (id, email, name, operator, disabled_at, created_at, credentials_version, password_hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
}

fn write_row(tx: &Transaction<'_>, account: &Account, sql: &str) -> Result<(), AccountsError> {
    tx.execute(
        sql,
        params![
            account.id.as_str(),
            account.email.as_ref().map_or("", Email::as_str),
            account.name,
            account.operator,
            account.disabled_at,
            account.created_at.unwrap_or_default(),
            account.credentials_version,
            account.password_hash.as_ref().map(PasswordHash::expose),
        ],
    )
    .map(drop)
    .map_err(unavailable)
}

fn by_id(connection: &Connection, id: &AccountId) -> Result<Option<Account>, AccountsError> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM account_users WHERE id = ?1"))
        .map_err(unavailable)?
        .query_row([id.as_str()], |row| Ok(account(row)))
        .optional()
        .map_err(unavailable)?
        .transpose()
}

fn leave_end(tx: &Transaction<'_>, id: &AccountId, reason: EndReason, now_ms: i64) -> Result<(), AccountsError> {
    tx.execute(
        "INSERT INTO account_session_ends (user_id, reason, created_at) VALUES (?1, ?2, ?3)",
        params![id.as_str(), reason.as_str(), now_ms],
    )
    .map_err(unavailable)?;
    Ok(())
}

/// Whether the code is the offered one, still valid, and no account exists.
fn setup_open(connection: &Connection, code_hash: [u8; 32], now_ms: i64) -> Result<bool, AccountsError> {
    let offered = connection
        .query_row(
            "SELECT code_hash, expires_at FROM account_setup
              WHERE NOT EXISTS (SELECT 1 FROM account_users)",
            [],
            |row| Ok(SetupOffer { code_hash: row.get(0)?, expires_at: row.get(1)? }),
        )
        .optional()
        .map_err(unavailable)?;
    Ok(offered.is_some_and(|offer| offer.is_open(code_hash, now_ms)))
}

/// Reads the account in [`COLUMNS`].
fn account(row: &Row<'_>) -> Result<Account, AccountsError> {
    let columns = AccountRow {
        id: row.get(0).map_err(unavailable)?,
        email: row.get(1).map_err(unavailable)?,
        name: row.get(2).map_err(unavailable)?,
        operator: row.get(3).map_err(unavailable)?,
        disabled_at: row.get(4).map_err(unavailable)?,
        created_at: row.get(5).map_err(unavailable)?,
        credentials_version: row.get(6).map_err(unavailable)?,
        password_hash: row.get(7).map_err(unavailable)?,
    };
    columns.account()
}

#[async_trait]
impl Accounts for SqliteAccounts {
    async fn create(&self, new: NewAccount, now_ms: i64) -> Result<Created, AccountsError> {
        self.write(move |tx| insert(tx, new, now_ms)).await
    }

    async fn adopt(&self, account: &Account) -> Result<Adopted, AccountsError> {
        let account = account.clone();
        self.write(move |tx| {
            let there = by_id(tx, &account.id)?;
            if there.as_ref() == Some(&account) {
                return Ok(Adopted::Present);
            }
            if there.as_ref().is_some_and(|there| there.is_newer_than(&account)) {
                return Ok(Adopted::Newer);
            }
            if email_is_of_another(tx, &account)? {
                return Ok(Adopted::EmailTaken);
            }
            if there.is_none() {
                insert_row(tx, &account)?;
                return Ok(Adopted::Created);
            }
            write_row(
                tx,
                &account,
                "UPDATE account_users
                    SET email = ?2, name = ?3, operator = ?4, disabled_at = ?5, created_at = ?6, credentials_version = ?7,
                        password_hash = ?8
                  WHERE id = ?1",
            )?;
            Ok(Adopted::Updated)
        })
        .await
    }

    async fn find(&self, id: &AccountId) -> Result<Option<Account>, AccountsError> {
        let id = id.clone();
        self.read(move |connection| by_id(connection, &id)).await
    }

    async fn find_by_email(&self, email: &Email) -> Result<Option<Account>, AccountsError> {
        let email = email.clone();
        self.read(move |connection| {
            connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM account_users WHERE email = ?1"))
                .map_err(unavailable)?
                .query_row([email.as_str()], |row| Ok(account(row)))
                .optional()
                .map_err(unavailable)?
                .transpose()
        })
        .await
    }

    async fn list(&self, after: Option<&AccountId>, limit: u16) -> Result<Vec<Account>, AccountsError> {
        let after = after.map_or_else(String::new, |id| id.as_str().to_owned());
        self.read(move |connection| {
            let mut page = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM account_users WHERE id > ?1 ORDER BY id LIMIT ?2"))
                .map_err(unavailable)?;
            let rows =
                page.query_map(params![after, limit.min(MAX_PAGE)], |row| Ok(account(row))).map_err(unavailable)?;
            rows.map(|row| row.map_err(unavailable)?).collect()
        })
        .await
    }

    async fn count(&self) -> Result<u64, AccountsError> {
        self.read(|connection| {
            let count: i64 = connection
                .query_row("SELECT count(*) FROM account_users", [], |row| row.get(0))
                .map_err(unavailable)?;
            Ok(u64::try_from(count).unwrap_or(0))
        })
        .await
    }

    async fn disable(&self, id: &AccountId, now_ms: i64) -> Result<Option<Account>, AccountsError> {
        let id = id.clone();
        self.write(move |tx| {
            let changed = tx
                .execute(
                    "UPDATE account_users SET disabled_at = coalesce(disabled_at, ?2) WHERE id = ?1",
                    params![id.as_str(), now_ms],
                )
                .map_err(unavailable)?;
            if changed == 0 {
                return Ok(None);
            }
            leave_end(tx, &id, EndReason::UserDisabled, now_ms)?;
            by_id(tx, &id)
        })
        .await
    }

    async fn enable(&self, id: &AccountId) -> Result<Option<Account>, AccountsError> {
        let id = id.clone();
        self.write(move |tx| {
            tx.execute("UPDATE account_users SET disabled_at = NULL WHERE id = ?1", [id.as_str()])
                .map_err(unavailable)?;
            by_id(tx, &id)
        })
        .await
    }

    async fn set_password(
        &self,
        id: &AccountId,
        hash: PasswordHash,
        now_ms: i64,
    ) -> Result<Option<Account>, AccountsError> {
        let id = id.clone();
        self.write(move |tx| {
            let changed = tx
                .execute(
                    "UPDATE account_users
                        SET password_hash = ?2, credentials_version = credentials_version + 1
                      WHERE id = ?1",
                    params![id.as_str(), hash.expose()],
                )
                .map_err(unavailable)?;
            if changed == 0 {
                return Ok(None);
            }
            leave_end(tx, &id, EndReason::CredentialsChanged, now_ms)?;
            by_id(tx, &id)
        })
        .await
    }

    async fn rehash(&self, id: &AccountId, old: &PasswordHash, new: PasswordHash) -> Result<bool, AccountsError> {
        let (id, old) = (id.clone(), old.clone());
        self.write(move |tx| {
            let changed = tx
                .execute(
                    "UPDATE account_users SET password_hash = ?3 WHERE id = ?1 AND password_hash = ?2",
                    params![id.as_str(), old.expose(), new.expose()],
                )
                .map_err(unavailable)?;
            Ok(changed == 1)
        })
        .await
    }

    async fn delete(&self, id: &AccountId, now_ms: i64) -> Result<bool, AccountsError> {
        let id = id.clone();
        self.write(move |tx| {
            let deleted = tx.execute("DELETE FROM account_users WHERE id = ?1", [id.as_str()]).map_err(unavailable)?;
            if deleted == 0 {
                return Ok(false);
            }
            tx.execute("DELETE FROM account_identities WHERE account_id = ?1", [id.as_str()]).map_err(unavailable)?;
            leave_end(tx, &id, EndReason::UserDeleted, now_ms)?;
            Ok(true)
        })
        .await
    }

    async fn pending_ends(&self, limit: u16) -> Result<Vec<PendingEnd>, AccountsError> {
        self.read(move |connection| {
            let mut pending = connection
                .prepare_cached(
                    "SELECT number, user_id, reason FROM account_session_ends
                      ORDER BY number LIMIT ?1",
                )
                .map_err(unavailable)?;
            let rows =
                pending.query_map([limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).map_err(unavailable)?;
            rows.filter_map(|row| {
                let (number, user, reason): (i64, String, String) = match row {
                    Ok(row) => row,
                    Err(error) => return Some(Err(unavailable(error))),
                };
                pending_end(number, &user, &reason).map(Ok)
            })
            .collect()
        })
        .await
    }

    async fn end_done(&self, number: i64) -> Result<(), AccountsError> {
        self.write(move |tx| {
            tx.execute("DELETE FROM account_session_ends WHERE number = ?1", [number]).map_err(unavailable)?;
            Ok(())
        })
        .await
    }

    async fn secret_or(&self, secret: ServerSecret, candidate: SecretString) -> Result<SecretString, AccountsError> {
        self.write(move |tx| {
            let stored: Option<String> = tx
                .query_row("SELECT value FROM account_server_secrets WHERE name = ?1", [secret.as_str()], |row| {
                    row.get(0)
                })
                .optional()
                .map_err(unavailable)?;
            if let Some(stored) = stored {
                return Ok(SecretString::from(stored));
            }
            tx.execute(
                "INSERT INTO account_server_secrets (name, value) VALUES (?1, ?2)",
                params![secret.as_str(), candidate.expose_secret()],
            )
            .map_err(unavailable)?;
            Ok(candidate)
        })
        .await
    }

    async fn offer_setup(&self, code_hash: [u8; 32], expires_at_ms: i64) -> Result<bool, AccountsError> {
        self.write(move |tx| {
            let any = tx
                .prepare_cached("SELECT 1 FROM account_users LIMIT 1")
                .and_then(|mut any| any.exists([]))
                .map_err(unavailable)?;
            if any {
                return Ok(false);
            }
            tx.execute("DELETE FROM account_setup", []).map_err(unavailable)?;
            tx.execute(
                "INSERT INTO account_setup (one, code_hash, expires_at) VALUES (1, ?1, ?2)",
                params![code_hash.as_slice(), expires_at_ms],
            )
            .map_err(unavailable)?;
            Ok(true)
        })
        .await
    }

    async fn setup_is_open(&self, code_hash: [u8; 32], now_ms: i64) -> Result<bool, AccountsError> {
        self.read(move |connection| setup_open(connection, code_hash, now_ms)).await
    }

    async fn create_first(
        &self,
        code_hash: [u8; 32],
        new: NewAccount,
        now_ms: i64,
    ) -> Result<FirstCreated, AccountsError> {
        self.write(move |tx| {
            if !setup_open(tx, code_hash, now_ms)? {
                return Ok(FirstCreated::Refused);
            }
            tx.execute("DELETE FROM account_setup", []).map_err(unavailable)?;
            match insert(tx, new, now_ms)? {
                Created::Account(account) => Ok(FirstCreated::Account(account)),
                Created::Duplicate => Ok(FirstCreated::Refused),
            }
        })
        .await
    }
}

/// A driver's error in words that help; no values, since messages of SQLite quote none.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn unavailable(error: rusqlite::Error) -> AccountsError {
    use rusqlite::ErrorCode;
    let advice = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process holds the write lock; a network file system may also cause this, use a local disk"
        }
        Some(ErrorCode::ReadOnly) => "the file or its directory cannot be written; check its permissions",
        Some(ErrorCode::DiskFull) => "the disk is full",
        Some(ErrorCode::CannotOpen) => "the file cannot be opened; check the path and its permissions",
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            return AccountsError::Damaged(format!("{error}; restore it from a backup"));
        }
        _ => return AccountsError::Unavailable(error.to_string()),
    };
    AccountsError::Unavailable(format!("{error}: {advice}"))
}
