//! Moving accounts from one database to another, beside their sessions.
//!
//! As with the sessions ([`hallpass_core::copy`]): the source may be in use, the target must not be, and a copy may be run again.

use super::{Account, AccountId, Accounts, AccountsError, Adopted, Email, MAX_PAGE};

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
        "the target is in use: it has the account {0}, which the source does not have; copy into a database that no program uses yet, or remove it there with `hallpass user delete`"
    )]
    Foreign(AccountId),
    /// The target's account was changed by somebody else than a copy.
    #[error(
        "the target is in use: the account {0} was disabled there, or got a newer password there; make both alike with `hallpass user`, or copy into a database that no program uses yet"
    )]
    Newer(AccountId),
    /// Two accounts with one address.
    #[error("the target has another account with the address {0}; remove one of the two with `hallpass user delete`")]
    EmailTaken(Email),
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
                Some(ours) if is_newer(theirs, &ours) => return Err(AccountsCopyError::Newer(theirs.id.clone())),
                Some(_) => {}
            }
        }
        match page.last() {
            Some(last) if page.len() == usize::from(MAX_PAGE) => after = Some(last.id.clone()),
            _ => return Ok(()),
        }
    }
}

fn is_newer(theirs: &Account, ours: &Account) -> bool {
    theirs.credentials_version > ours.credentials_version
        || (theirs.disabled_at.is_some() && ours.disabled_at.is_none())
}

/// Copies every account of `from` to `to`, with ids, passwords and whether it is disabled. One durable write for each that is not there. The
/// secrets of the server stay behind.
///
/// # Errors
/// Those of [`AccountsCopyError`], for which nothing of `to` was overwritten that [`check_target`] had not allowed.
pub async fn copy(
    from: &dyn Accounts,
    to: &dyn Accounts,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<AccountsCopied, AccountsCopyError> {
    check_target(from, to).await?;
    let mut copied = AccountsCopied::default();
    let mut after = None;
    loop {
        let page = from.list(after.as_ref(), MAX_PAGE).await.map_err(AccountsCopyError::Source)?;
        for account in &page {
            match to.adopt(account).await.map_err(AccountsCopyError::Target)? {
                Adopted::Created => copied.created += 1,
                Adopted::Updated => {
                    copied.present += 1;
                    copied.updated += 1;
                }
                Adopted::Present => copied.present += 1,
                Adopted::EmailTaken => return Err(AccountsCopyError::EmailTaken(account.email.clone())),
            }
            progress(copied.created + copied.present);
        }
        match page.last() {
            Some(last) if page.len() == usize::from(MAX_PAGE) => after = Some(last.id.clone()),
            _ => break,
        }
    }
    copied.in_source = from.count().await.map_err(AccountsCopyError::Source)?;
    copied.in_target = to.count().await.map_err(AccountsCopyError::Target)?;
    Ok(copied)
}
