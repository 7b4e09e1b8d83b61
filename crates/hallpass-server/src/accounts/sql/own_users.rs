//! Users and identities in tables of our own, compared byte for byte.

use async_trait::async_trait;

use super::connection::{Columns, Connection, Fault, Value};
use super::users::{Question, Users};
use super::{optional, text};
use crate::accounts::rows::{AccountRow, COLUMNS};
use crate::accounts::{Account, AccountId, AccountsError, Email, Identity, LinkedIdentity, MAX_PAGE};

const INSERT: &str = "INSERT INTO hp.hallpass_account_users \
    (id, email, name, operator, disabled_at, created_at, credentials_version, password_hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
const UPDATE: &str = "UPDATE hp.hallpass_account_users SET email = ?, name = ?, operator = ?, disabled_at = ?, created_at = ?, \
    credentials_version = ?, password_hash = ? WHERE id = ?";
const LOCK: &str = "SELECT id FROM hp.hallpass_account_users WHERE id = ? FOR UPDATE";
const ANY: &str = "SELECT 1 FROM hp.hallpass_account_users LIMIT 1";
const COUNT: &str = "SELECT count(*) FROM hp.hallpass_account_users";
const DELETE: &str = "DELETE FROM hp.hallpass_account_users WHERE id = ?";
const OF_ACCOUNT: &str = "SELECT issuer, subject, provider, email, created_at FROM hp.hallpass_account_identities \
    WHERE account_id = ? ORDER BY issuer, subject";
const LINK: &str = "INSERT INTO hp.hallpass_account_identities (issuer, subject, account_id, provider, email, created_at) \
    VALUES (?, ?, ?, ?, ?, ?)";
const UNLINK: &str = "DELETE FROM hp.hallpass_account_identities WHERE issuer = ? AND subject = ? AND account_id = ?";
const UNLINK_ALL: &str = "DELETE FROM hp.hallpass_account_identities WHERE account_id = ?";

/// Tables of our own.
#[derive(Debug)]
pub(super) struct OwnUsers;

fn select(condition: &str, values: Vec<Value>) -> Question {
    Question { sql: format!("SELECT {COLUMNS} FROM hp.hallpass_account_users WHERE {condition}"), values }
}

/// All but the id.
fn columns(account: &Account) -> Result<[Value; 7], Fault> {
    let (Some(email), Some(created_at)) = (&account.email, account.created_at) else {
        let what = "a user without an email address or a time of its creation cannot be kept here";
        return Err(AccountsError::Unavailable(what.to_owned()).into());
    };
    Ok([
        text(email.as_str()),
        text(&account.name),
        Value::Boolean(account.operator),
        account.disabled_at.map_or(Value::NoInteger, Value::Integer),
        Value::Integer(created_at),
        Value::Integer(account.credentials_version.into()),
        optional(account.password_hash.as_ref().map(crate::password::PasswordHash::expose)),
    ])
}

#[async_trait]
impl Users for OwnUsers {
    fn account(&self, row: &Columns) -> Result<Account, Fault> {
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

    fn find(&self, id: &AccountId) -> Option<Question> {
        Some(select("id = ?", vec![text(id.as_str())]))
    }

    fn find_by_email(&self, email: &Email) -> Question {
        select("email = ?", vec![text(email.as_str())])
    }

    fn list(&self, after: Option<&AccountId>, limit: u16) -> Option<Question> {
        let after = text(after.map_or("", AccountId::as_str));
        Some(select("id > ? ORDER BY id LIMIT ?", vec![after, Value::Integer(limit.min(MAX_PAGE).into())]))
    }

    fn count(&self) -> String {
        COUNT.to_owned()
    }

    fn any(&self) -> String {
        ANY.to_owned()
    }

    fn lock(&self, id: &AccountId) -> Option<Question> {
        Some(Question { sql: LOCK.to_owned(), values: vec![text(id.as_str())] })
    }

    /// Both tables have keys.
    async fn take_turn(&self, _connection: &mut dyn Connection) -> Result<(), Fault> {
        Ok(())
    }

    async fn insert(&self, connection: &mut dyn Connection, account: &Account) -> Result<Account, Fault> {
        let [email, name, operator, disabled_at, created_at, version, hash] = columns(account)?;
        let values = [text(account.id.as_str()), email, name, operator, disabled_at, created_at, version, hash];
        connection.write(INSERT, &values).await?;
        Ok(account.clone())
    }

    async fn overwrite(&self, connection: &mut dyn Connection, account: &Account) -> Result<(), Fault> {
        let [email, name, operator, disabled_at, created_at, version, hash] = columns(account)?;
        let values = [email, name, operator, disabled_at, created_at, version, hash, text(account.id.as_str())];
        connection.write(UPDATE, &values).await.map(drop)
    }

    fn facts(&self) -> &'static str {
        "hp.hallpass_account_users"
    }

    /// They are the user's own row.
    async fn keep_facts(&self, _connection: &mut dyn Connection, _account: &Account) -> Result<(), Fault> {
        Ok(())
    }

    async fn delete(&self, connection: &mut dyn Connection, id: &AccountId) -> Result<bool, Fault> {
        if connection.write(DELETE, &[text(id.as_str())]).await? == 0 {
            return Ok(false);
        }
        connection.write(UNLINK_ALL, &[text(id.as_str())]).await?;
        Ok(true)
    }

    fn find_by_identity(&self, identity: &Identity) -> Option<Question> {
        let columns: Vec<String> = COLUMNS.split(", ").map(|column| format!("u.{column}")).collect();
        let sql = format!(
            "SELECT {}, i.issuer, i.subject FROM hp.hallpass_account_users u \
             JOIN hp.hallpass_account_identities i ON i.account_id = u.id WHERE i.issuer = ? AND i.subject = ?",
            columns.join(", ")
        );
        Some(Question { sql, values: vec![text(&identity.issuer), text(&identity.subject)] })
    }

    fn found_identity(&self, row: &Columns) -> Result<Option<Identity>, Fault> {
        Ok(Some(Identity { issuer: row.text(8, "issuer")?, subject: row.text(9, "subject")? }))
    }

    fn identities(&self, id: &AccountId) -> Option<Question> {
        Some(Question { sql: OF_ACCOUNT.to_owned(), values: vec![text(id.as_str())] })
    }

    fn linked(&self, _owner: &AccountId, row: &Columns) -> Result<Option<LinkedIdentity>, Fault> {
        Ok(Some(LinkedIdentity {
            identity: Identity { issuer: row.text(0, "issuer")?, subject: row.text(1, "subject")? },
            provider: row.text(2, "provider")?,
            email: row.optional_text(3, "email")?,
            created_at: Some(row.integer(4, "created_at")?),
        }))
    }

    async fn link(
        &self,
        connection: &mut dyn Connection,
        id: &AccountId,
        linked: &LinkedIdentity,
    ) -> Result<(), Fault> {
        let values = [
            text(&linked.identity.issuer),
            text(&linked.identity.subject),
            text(id.as_str()),
            text(&linked.provider),
            optional(linked.email.as_deref()),
            Value::Integer(linked.created_at.unwrap_or_default()),
        ];
        connection.write(LINK, &values).await.map(drop)
    }

    async fn unlink(&self, connection: &mut dyn Connection, id: &AccountId, identity: &Identity) -> Result<(), Fault> {
        let values = [text(&identity.issuer), text(&identity.subject), text(id.as_str())];
        connection.write(UNLINK, &values).await.map(drop)
    }
}
