//! Identities in a database server. What must not happen twice is held by a key or a turn, and the number of an account's ways in by the lock on its
//! row.

use async_trait::async_trait;

use super::SqlAccounts;
use super::connection::{Columns, Connection, Fault};
use super::users::Question;
use crate::accounts::identities::{
    Identities, Identity, Linked, LinkedIdentity, MAX_IDENTITIES, Unlinked, has_other_way_in,
};
use crate::accounts::rows::new_account;
use crate::accounts::{Account, AccountId, AccountsError, Created, NewAccount};

/// Whose identity it is.
enum Owner {
    Nobody,
    One(Box<Account>),
    /// Not every layout of Auth.js has a key over identities.
    Several,
}

impl SqlAccounts {
    /// The account in the row of exactly this identity.
    fn of_identity(&self, rows: &[Columns], identity: &Identity) -> Result<Owner, Fault> {
        let mut owner = Owner::Nobody;
        for row in rows {
            if self.users.found_identity(row)?.as_ref() == Some(identity) {
                let account = self.users.account(row)?;
                owner = match owner {
                    Owner::Several => Owner::Several,
                    Owner::One(other) if other.id != account.id => {
                        tracing::warn!(target: "hallpass", issuer = identity.issuer, user = %account.id, other = %other.id, "an identity is linked to several users, and signs in to none of them until that is mended");
                        Owner::Several
                    }
                    Owner::Nobody | Owner::One(_) => Owner::One(Box::new(account)),
                };
            }
        }
        Ok(owner)
    }

    async fn owner(&self, connection: &mut dyn Connection, identity: &Identity) -> Result<Owner, Fault> {
        let Some(Question { sql, values }) = self.users.find_by_identity(identity) else { return Ok(Owner::Nobody) };
        self.of_identity(&connection.rows(&sql, &values).await?, identity)
    }

    fn all_linked(&self, id: &AccountId, rows: &[Columns]) -> Result<Vec<LinkedIdentity>, Fault> {
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            all.extend(self.users.linked(id, row)?);
        }
        all.sort_by(|one, other| one.identity.cmp(&other.identity));
        Ok(all)
    }

    async fn of_account(&self, connection: &mut dyn Connection, id: &AccountId) -> Result<Vec<LinkedIdentity>, Fault> {
        let Some(Question { sql, values }) = self.users.identities(id) else { return Ok(Vec::new()) };
        self.all_linked(id, &connection.rows(&sql, &values).await?)
    }
}

#[async_trait]
impl Identities for SqlAccounts {
    async fn find_by_identity(&self, identity: &Identity) -> Result<Option<Account>, AccountsError> {
        let Some(Question { sql, values }) = self.users.find_by_identity(identity) else { return Ok(None) };
        match self.of_identity(&self.pool.read(&sql, &values).await?, identity)? {
            Owner::One(account) => Ok(Some(*account)),
            Owner::Nobody | Owner::Several => Ok(None),
        }
    }

    async fn identities(&self, id: &AccountId) -> Result<Vec<LinkedIdentity>, AccountsError> {
        let Some(Question { sql, values }) = self.users.identities(id) else { return Ok(Vec::new()) };
        Ok(self.all_linked(id, &self.pool.read(&sql, &values).await?)?)
    }

    async fn create_with_identity(&self, new: NewAccount, identity: &LinkedIdentity) -> Result<Created, AccountsError> {
        let account = &new_account(new, identity.created_at.unwrap_or_default());
        let inserted = self.pool.write(|connection| {
            Box::pin(async move {
                self.users.take_turn(connection).await?;
                if self.email_is_of_another(connection, account).await?
                    || !matches!(self.owner(connection, &identity.identity).await?, Owner::Nobody)
                {
                    return Ok(None);
                }
                let created = self.users.insert(connection, account).await?;
                self.users.link(connection, &created.id, identity).await?;
                Ok(Some(created))
            })
        });
        match inserted.await {
            Ok(Some(created)) => Ok(Created::Account(created)),
            // After a duplicate: somebody was first meanwhile, and nothing of ours is there.
            Ok(None) | Err(Fault::Duplicate) => Ok(Created::Duplicate),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn link(&self, id: &AccountId, identity: &LinkedIdentity) -> Result<Linked, AccountsError> {
        let outcome = self.pool.write(|connection| {
            Box::pin(async move {
                self.users.take_turn(connection).await?;
                // Until the end nobody deletes the account or links another identity to it.
                if !self.lock(connection, id).await? {
                    return Ok(Linked::NoAccount);
                }
                match self.owner(connection, &identity.identity).await? {
                    Owner::One(owner) if owner.id == *id => return Ok(Linked::Done),
                    Owner::One(_) | Owner::Several => return Ok(Linked::OfAnother),
                    Owner::Nobody => {}
                }
                if self.of_account(connection, id).await?.len() >= MAX_IDENTITIES {
                    return Ok(Linked::TooMany);
                }
                self.users.link(connection, id, identity).await.map(|()| Linked::Done)
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
                self.lock(connection, id).await?;
                let Some(account) = self.by_id(connection, id).await? else {
                    return Ok(Unlinked::NotLinked);
                };
                let identities = self.of_account(connection, id).await?;
                if !identities.iter().any(|linked| linked.identity == *identity) {
                    return Ok(Unlinked::NotLinked);
                }
                if !has_other_way_in(
                    account.password_hash.is_some() && account.email.is_some(),
                    &identities,
                    identity,
                    issuers,
                ) {
                    return Ok(Unlinked::LastWayIn);
                }
                self.users.unlink(connection, id, identity).await?;
                Ok(Unlinked::Done)
            })
        });
        Ok(outcome.await?)
    }
}
