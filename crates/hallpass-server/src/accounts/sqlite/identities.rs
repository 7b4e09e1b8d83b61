//! Identities in the SQLite file.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{SqliteAccounts, account, by_id, email_is_of_another, insert_row, unavailable};
use crate::accounts::identities::{
    Identities, Identity, Linked, LinkedIdentity, MAX_IDENTITIES, Unlinked, has_other_way_in,
};
use crate::accounts::rows::{COLUMNS, new_account};
use crate::accounts::{Account, AccountId, AccountsError, Created, NewAccount};

fn of_account(connection: &Connection, id: &AccountId) -> Result<Vec<LinkedIdentity>, AccountsError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT issuer, subject, provider, email, created_at FROM account_identities
              WHERE account_id = ?1 ORDER BY issuer, subject",
        )
        .map_err(unavailable)?;
    let rows = statement.query_map([id.as_str()], |row| {
        Ok(LinkedIdentity {
            identity: Identity { issuer: row.get(0)?, subject: row.get(1)? },
            provider: row.get(2)?,
            email: row.get(3)?,
            created_at: Some(row.get(4)?),
        })
    });
    rows.map_err(unavailable)?.collect::<Result<_, _>>().map_err(unavailable)
}

fn owner(connection: &Connection, identity: &Identity) -> Result<Option<String>, AccountsError> {
    connection
        .query_row(
            "SELECT account_id FROM account_identities WHERE issuer = ?1 AND subject = ?2",
            [&identity.issuer, &identity.subject],
            |row| row.get(0),
        )
        .optional()
        .map_err(unavailable)
}

fn insert(tx: &Transaction<'_>, id: &AccountId, linked: &LinkedIdentity) -> Result<(), AccountsError> {
    tx.execute(
        "INSERT INTO account_identities (issuer, subject, account_id, provider, email, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            linked.identity.issuer,
            linked.identity.subject,
            id.as_str(),
            linked.provider,
            linked.email,
            linked.created_at
        ],
    )
    .map(drop)
    .map_err(unavailable)
}

#[async_trait]
impl Identities for SqliteAccounts {
    async fn find_by_identity(&self, identity: &Identity) -> Result<Option<Account>, AccountsError> {
        let identity = identity.clone();
        self.read(move |connection| {
            connection
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM account_users WHERE id =
                       (SELECT account_id FROM account_identities WHERE issuer = ?1 AND subject = ?2)"
                ))
                .map_err(unavailable)?
                .query_row([&identity.issuer, &identity.subject], |row| Ok(account(row)))
                .optional()
                .map_err(unavailable)?
                .transpose()
        })
        .await
    }

    async fn identities(&self, id: &AccountId) -> Result<Vec<LinkedIdentity>, AccountsError> {
        let id = id.clone();
        self.read(move |connection| of_account(connection, &id)).await
    }

    async fn create_with_identity(&self, new: NewAccount, identity: &LinkedIdentity) -> Result<Created, AccountsError> {
        let linked = identity.clone();
        self.write(move |tx| {
            let created = new_account(new, linked.created_at.unwrap_or_default());
            if email_is_of_another(tx, &created)? || owner(tx, &linked.identity)?.is_some() {
                return Ok(Created::Duplicate);
            }
            insert_row(tx, &created)?;
            insert(tx, &created.id, &linked)?;
            Ok(Created::Account(created))
        })
        .await
    }

    async fn link(&self, id: &AccountId, identity: &LinkedIdentity) -> Result<Linked, AccountsError> {
        let (id, linked) = (id.clone(), identity.clone());
        self.write(move |tx| {
            if by_id(tx, &id)?.is_none() {
                return Ok(Linked::NoAccount);
            }
            match owner(tx, &linked.identity)? {
                Some(owner) if owner == id.as_str() => return Ok(Linked::Done),
                Some(_) => return Ok(Linked::OfAnother),
                None => {}
            }
            if of_account(tx, &id)?.len() >= MAX_IDENTITIES {
                return Ok(Linked::TooMany);
            }
            insert(tx, &id, &linked)?;
            Ok(Linked::Done)
        })
        .await
    }

    async fn unlink(&self, id: &AccountId, identity: &Identity, issuers: &[String]) -> Result<Unlinked, AccountsError> {
        let (id, identity, issuers) = (id.clone(), identity.clone(), issuers.to_vec());
        self.write(move |tx| {
            let (Some(account), identities) = (by_id(tx, &id)?, of_account(tx, &id)?) else {
                return Ok(Unlinked::NotLinked);
            };
            if !identities.iter().any(|linked| linked.identity == identity) {
                return Ok(Unlinked::NotLinked);
            }
            if !has_other_way_in(account.password_hash.is_some(), &identities, &identity, &issuers) {
                return Ok(Unlinked::LastWayIn);
            }
            tx.execute(
                "DELETE FROM account_identities WHERE issuer = ?1 AND subject = ?2 AND account_id = ?3",
                params![identity.issuer, identity.subject, id.as_str()],
            )
            .map_err(unavailable)?;
            Ok(Unlinked::Done)
        })
        .await
    }
}
