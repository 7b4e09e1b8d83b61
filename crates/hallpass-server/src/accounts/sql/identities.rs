//! Identities in a database server. What must not happen twice is held by the primary key, and the number of an account's ways in by the lock on its
//! row.

use async_trait::async_trait;

use super::connection::{Connection, Fault, Value};
use super::{EMAIL_OF_ANOTHER, LOCK_ACCOUNT, SqlAccounts, account, insert, text};
use crate::accounts::identities::{
    Identities, Identity, Linked, LinkedIdentity, MAX_IDENTITIES, Unlinked, has_other_way_in,
};
use crate::accounts::rows::{COLUMNS, new_account};
use crate::accounts::{Account, AccountId, AccountsError, Created, NewAccount};

const OWNER: &str = "SELECT account_id FROM hp.hallpass_account_identities WHERE issuer = ? AND subject = ?";
const OF_ACCOUNT: &str = "SELECT issuer, subject, provider, email, created_at FROM hp.hallpass_account_identities \
    WHERE account_id = ? ORDER BY issuer, subject";
const LINK: &str = "INSERT INTO hp.hallpass_account_identities (issuer, subject, account_id, provider, email, created_at) \
    VALUES (?, ?, ?, ?, ?, ?)";
const UNLINK: &str = "DELETE FROM hp.hallpass_account_identities WHERE issuer = ? AND subject = ? AND account_id = ?";

fn identity_values(identity: &Identity) -> [Value; 2] {
    [text(&identity.issuer), text(&identity.subject)]
}

fn optional(value: Option<&str>) -> Value {
    value.map_or(Value::Null, text)
}

fn linked(row: &super::Columns) -> Result<LinkedIdentity, Fault> {
    Ok(LinkedIdentity {
        identity: Identity { issuer: row.text(0, "issuer")?, subject: row.text(1, "subject")? },
        provider: row.text(2, "provider")?,
        email: row.optional_text(3, "email")?,
        created_at: row.integer(4, "created_at")?,
    })
}

async fn of_account(connection: &mut dyn Connection, id: &AccountId) -> Result<Vec<LinkedIdentity>, Fault> {
    connection.rows(OF_ACCOUNT, &[text(id.as_str())]).await?.iter().map(linked).collect()
}

async fn owner(connection: &mut dyn Connection, identity: &Identity) -> Result<Option<String>, Fault> {
    let rows = connection.rows(OWNER, &identity_values(identity)).await?;
    rows.first().map(|row| row.text(0, "account_id")).transpose()
}

async fn insert_link(connection: &mut dyn Connection, id: &AccountId, linked: &LinkedIdentity) -> Result<(), Fault> {
    let [issuer, subject] = identity_values(&linked.identity);
    let values = [
        issuer,
        subject,
        text(id.as_str()),
        text(&linked.provider),
        optional(linked.email.as_deref()),
        Value::Integer(linked.created_at),
    ];
    connection.write(LINK, &values).await.map(drop)
}

#[async_trait]
impl Identities for SqlAccounts {
    async fn find_by_identity(&self, identity: &Identity) -> Result<Option<Account>, AccountsError> {
        let sql = format!("SELECT {COLUMNS} FROM hp.hallpass_account_users WHERE id = ({OWNER})");
        let rows = self.pool.read(&sql, &identity_values(identity)).await?;
        Ok(rows.first().map(account).transpose()?)
    }

    async fn identities(&self, id: &AccountId) -> Result<Vec<LinkedIdentity>, AccountsError> {
        let rows = self.pool.read(OF_ACCOUNT, &[text(id.as_str())]).await?;
        Ok(rows.iter().map(linked).collect::<Result<_, _>>()?)
    }

    async fn create_with_identity(&self, new: NewAccount, identity: &LinkedIdentity) -> Result<Created, AccountsError> {
        let created = new_account(new, identity.created_at);
        let account = &created;
        let inserted = self.pool.write(|connection| {
            Box::pin(async move {
                let values = [text(account.email.as_str()), text(account.id.as_str())];
                let taken = !connection.rows(EMAIL_OF_ANOTHER, &values).await?.is_empty();
                if taken || owner(connection, &identity.identity).await?.is_some() {
                    return Ok(false);
                }
                insert(connection, account).await?;
                insert_link(connection, &account.id, identity).await.map(|()| true)
            })
        });
        match inserted.await {
            Ok(true) => Ok(Created::Account(created)),
            // After a duplicate: somebody was first meanwhile, and nothing of ours is there.
            Ok(false) | Err(Fault::Duplicate) => Ok(Created::Duplicate),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn link(&self, id: &AccountId, identity: &LinkedIdentity) -> Result<Linked, AccountsError> {
        let outcome = self.pool.write(|connection| {
            Box::pin(async move {
                // Until the end nobody deletes the account or links another identity to it.
                connection.rows(LOCK_ACCOUNT, &[text(id.as_str())]).await?;
                if self.by_id(connection, id).await?.is_none() {
                    return Ok(Linked::NoAccount);
                }
                match owner(connection, &identity.identity).await? {
                    Some(owner) if owner == id.as_str() => return Ok(Linked::Done),
                    Some(_) => return Ok(Linked::OfAnother),
                    None => {}
                }
                if of_account(connection, id).await?.len() >= MAX_IDENTITIES {
                    return Ok(Linked::TooMany);
                }
                insert_link(connection, id, identity).await.map(|()| Linked::Done)
            })
        });
        match outcome.await {
            Err(Fault::Duplicate) => Ok(Linked::OfAnother),
            outcome => Ok(outcome?),
        }
    }

    async fn unlink(&self, id: &AccountId, identity: &Identity, issuers: &[String]) -> Result<Unlinked, AccountsError> {
        let outcome = self.pool.write(|connection| {
            Box::pin(async move {
                connection.rows(LOCK_ACCOUNT, &[text(id.as_str())]).await?;
                let Some(account) = self.by_id(connection, id).await? else {
                    return Ok(Unlinked::NotLinked);
                };
                let identities = of_account(connection, id).await?;
                if !identities.iter().any(|linked| linked.identity == *identity) {
                    return Ok(Unlinked::NotLinked);
                }
                if !has_other_way_in(account.password_hash.is_some(), &identities, identity, issuers) {
                    return Ok(Unlinked::LastWayIn);
                }
                let [issuer, subject] = identity_values(identity);
                connection.write(UNLINK, &[issuer, subject, text(id.as_str())]).await?;
                Ok(Unlinked::Done)
            })
        });
        Ok(outcome.await?)
    }
}
