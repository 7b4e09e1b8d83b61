//! From a row to an [`Account`].

use rusqlite::Row;

use super::unavailable;
use crate::accounts::{Account, AccountId, AccountsError, Email};
use crate::password::PasswordHash;

/// The columns [`account`] reads, in its order.
pub(super) const COLUMNS: &str =
    "id, email, name, operator, disabled_at, created_at, credentials_version, password_hash";

/// Reads one account; text that our own rules refuse means the row was not written by us.
pub(super) fn account(row: &Row<'_>) -> Result<Account, AccountsError> {
    let id: String = row.get(0).map_err(unavailable)?;
    let email: String = row.get(1).map_err(unavailable)?;
    let damaged = |what: &str| AccountsError::Damaged(format!("account {id} has a bad {what}"));
    Ok(Account {
        email: Email::parse(&email).ok().filter(|parsed| parsed.as_str() == email).ok_or_else(|| damaged("email"))?,
        name: row.get(2).map_err(unavailable)?,
        operator: row.get(3).map_err(unavailable)?,
        disabled_at: row.get(4).map_err(unavailable)?,
        created_at: row.get(5).map_err(unavailable)?,
        credentials_version: row.get(6).map_err(unavailable)?,
        password_hash: row.get::<_, Option<String>>(7).map_err(unavailable)?.map(PasswordHash::from_stored),
        id: AccountId::parse(&id).ok_or_else(|| damaged("id"))?,
    })
}
