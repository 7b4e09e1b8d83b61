//! What the commands do, apart from where their parts come from.

pub mod cleanup;
pub mod copy;
pub mod doctor;
pub mod policy;
mod running_server;
pub mod sessions;
pub mod user;

use anyhow::{Result, bail};

use crate::accounts::{Account, AccountId, Accounts, Email};

/// The account that `user`, an email address or an id, names.
///
/// # Errors
/// When there is none, with the command that lists them, and when the database does not answer.
pub async fn find_account(accounts: &dyn Accounts, user: &str) -> Result<Account> {
    let found = if user.contains('@') {
        accounts.find_by_email(&Email::parse(user)?).await?
    } else {
        match AccountId::parse(user) {
            Some(id) => accounts.find(&id).await?,
            None => None,
        }
    };
    match found {
        Some(account) => Ok(account),
        None => bail!("no account {user}; `hallpass user list` shows them all"),
    }
}
