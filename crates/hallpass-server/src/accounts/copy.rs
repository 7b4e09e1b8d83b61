//! Moving accounts from one database to another, beside their sessions.
//!
//! As with the sessions ([`hallpass_core::copy`]): the source may be in use, the target must not be, and a copy may be run again.

use std::collections::HashMap;

use super::{Account, AccountId, Accounts, AccountsError, Adopted, Linked, MAX_PAGE};

/// What a copy did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AccountsCopied {
    /// Accounts made in the target.
    pub created: u64,
    /// Accounts that were there already, from an earlier copy.
    pub present: u64,
    /// Of these, how many had changed in the source since, and were brought up to date.
    pub updated: u64,
    /// Accounts in the source at the end.
    pub in_source: u64,
    /// Accounts in the target at the end.
    pub in_target: u64,
}

/// Why accounts could not be copied. What was copied stays; the next run goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountsCopyError {
    /// The source could not be read.
    #[error("the source: {0}")]
    Source(#[source] AccountsError),
    /// The target could not be read or written.
    #[error("the target: {0}")]
    Target(#[source] AccountsError),
    /// The target has an account that the source does not have.
    #[error(
        "the target has the account {0}, which the source does not have, or not any more; with HALLPASS_DATABASE_URL set to the target remove it there by `hallpass user delete`, or copy into a database that no program uses yet"
    )]
    Foreign(AccountId),
    /// The target's account was changed by somebody else than a copy.
    #[error(
        "the account {0} is disabled in the target and not in the source, or has a newer password there; with HALLPASS_DATABASE_URL set to the target make it like the source's by `hallpass user`, or copy into a database that no program uses yet"
    )]
    Newer(AccountId),
    /// Two accounts with one address.
    #[error("the target has another account with the address {0}; remove one of the two with `hallpass user delete`")]
    EmailTaken(String),
    /// An identity of the account is another account's there.
    #[error(
        "an identity of the account {0} is linked to another account in the target; remove that one with `hallpass user delete`, or copy into a database that no program uses yet"
    )]
    IdentityTaken(AccountId),
}

/// Whether a copy may write there: every account of `to` comes from `from`, and knows nothing newer. Reads both once, by pages.
///
/// # Errors
/// [`AccountsCopyError::Foreign`] and [`AccountsCopyError::Newer`] when it may not.
pub async fn check_target(from: &dyn Accounts, to: &dyn Accounts) -> Result<(), AccountsCopyError> {
    let mut after = None;
    loop {
        let page = to.list(after.as_ref(), MAX_PAGE).await.map_err(AccountsCopyError::Target)?;
        for theirs in &page {
            match from.find(&theirs.id).await.map_err(AccountsCopyError::Source)? {
                None => return Err(AccountsCopyError::Foreign(theirs.id.clone())),
                Some(ours) if theirs.is_newer_than(&ours) => return Err(AccountsCopyError::Newer(theirs.id.clone())),
                Some(_) => {}
            }
        }
        match page.last() {
            Some(last) if page.len() == usize::from(MAX_PAGE) => after = Some(last.id.clone()),
            _ => return Ok(()),
        }
    }
}

/// Copies every account of `from` to `to`, with ids, passwords, identities and whether it is disabled. One durable write for each that is not there or differs. The
/// secrets of the server stay behind.
///
/// # Errors
/// Those of [`AccountsCopyError`]. An account that knows something newer is never overwritten, not even by what was read before.
pub async fn copy(
    from: &dyn Accounts,
    to: &dyn Accounts,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<AccountsCopied, AccountsCopyError> {
    check_target(from, to).await?;
    let mut copied = AccountsCopied::default();
    let mut after = None;
    loop {
        let page = Pairs::read(from, to, after.as_ref()).await?;
        for (account, there) in &page.pairs {
            if there.as_ref() == Some(account) {
                copied.present += 1;
            } else {
                match to.adopt(account).await.map_err(AccountsCopyError::Target)? {
                    Adopted::Created => copied.created += 1,
                    Adopted::Updated => {
                        copied.present += 1;
                        copied.updated += 1;
                    }
                    Adopted::Present => copied.present += 1,
                    Adopted::Newer => return Err(AccountsCopyError::Newer(account.id.clone())),
                    Adopted::EmailTaken => return Err(AccountsCopyError::EmailTaken(account.known_as().to_owned())),
                }
            }
            copy_identities(from, to, &account.id).await?;
            progress(copied.created + copied.present);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    copied.in_source = from.count().await.map_err(AccountsCopyError::Source)?;
    copied.in_target = to.count().await.map_err(AccountsCopyError::Target)?;
    Ok(copied)
}

/// Gives the account the same identities in `to`. Two small reads where they agree.
async fn copy_identities(from: &dyn Accounts, to: &dyn Accounts, id: &AccountId) -> Result<(), AccountsCopyError> {
    let ours = from.identities(id).await.map_err(AccountsCopyError::Source)?;
    let theirs = to.identities(id).await.map_err(AccountsCopyError::Target)?;
    for linked in ours.iter().filter(|linked| !theirs.contains(linked)) {
        match to.link(id, linked).await.map_err(AccountsCopyError::Target)? {
            Linked::Done | Linked::NoAccount => {}
            Linked::OfAnother | Linked::TooMany => return Err(AccountsCopyError::IdentityTaken(id.clone())),
        }
    }
    // Unlinked since an earlier copy. What was linked just now is a way in.
    let issuers: Vec<String> = ours.iter().map(|linked| linked.identity.issuer.clone()).collect();
    for gone in theirs.iter().filter(|linked| !ours.iter().any(|our| our.identity == linked.identity)) {
        to.unlink(id, &gone.identity, &issuers).await.map_err(AccountsCopyError::Target)?;
    }
    Ok(())
}

/// How many accounts of `from` are missing in `to` or differ there now. Reads both, by pages.
///
/// # Errors
/// When one of them does not answer.
pub async fn differing(from: &dyn Accounts, to: &dyn Accounts) -> Result<usize, AccountsCopyError> {
    let (mut after, mut count) = (None, 0);
    loop {
        let page = Pairs::read(from, to, after.as_ref()).await?;
        for (account, there) in &page.pairs {
            let same = there.as_ref() == Some(account)
                && from.identities(&account.id).await.map_err(AccountsCopyError::Source)?
                    == to.identities(&account.id).await.map_err(AccountsCopyError::Target)?;
            count += usize::from(!same);
        }
        after = page.next;
        if after.is_none() {
            return Ok(count);
        }
    }
}

/// A page of accounts, each with what the target knows of it.
struct Pairs {
    pairs: Vec<(Account, Option<Account>)>,
    next: Option<AccountId>,
}

impl Pairs {
    async fn read(
        from: &dyn Accounts,
        to: &dyn Accounts,
        after: Option<&AccountId>,
    ) -> Result<Self, AccountsCopyError> {
        let ours = from.list(after, MAX_PAGE).await.map_err(AccountsCopyError::Source)?;
        // Where nothing differs, both pages hold the same accounts.
        let theirs = to.list(after, MAX_PAGE).await.map_err(AccountsCopyError::Target)?;
        let mut theirs: HashMap<AccountId, Account> =
            theirs.into_iter().map(|account| (account.id.clone(), account)).collect();
        let full = ours.len() == usize::from(MAX_PAGE);
        let next = ours.last().filter(|_| full).map(|last| last.id.clone());
        let mut pairs = Vec::with_capacity(ours.len());
        for account in ours {
            let there = match theirs.remove(&account.id) {
                Some(there) => Some(there),
                None => to.find(&account.id).await.map_err(AccountsCopyError::Target)?,
            };
            pairs.push((account, there));
        }
        Ok(Self { pairs, next })
    }
}
