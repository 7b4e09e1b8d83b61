//! What the engines share: from stored columns to values and back. What our own rules refuse was not written by us, and is damage.

use subtle::ConstantTimeEq as _;
use uuid::{NoContext, Timestamp, Uuid};

use super::{Account, AccountId, AccountsError, Email, EndReason, NewAccount, PendingEnd};
use crate::password::PasswordHash;

/// The columns of an account, in the order of [`AccountRow`]'s fields.
pub(super) const COLUMNS: &str =
    "id, email, name, operator, disabled_at, created_at, credentials_version, password_hash";

/// An account as it is stored.
pub(super) struct AccountRow {
    pub(super) id: String,
    pub(super) email: String,
    pub(super) name: String,
    pub(super) operator: bool,
    pub(super) disabled_at: Option<i64>,
    pub(super) created_at: i64,
    pub(super) credentials_version: i64,
    pub(super) password_hash: Option<String>,
}

impl AccountRow {
    pub(super) fn account(self) -> Result<Account, AccountsError> {
        let Self { id, email, .. } = &self;
        let damaged = |what: &str| AccountsError::Damaged(format!("account {id} has a bad {what}"));
        Ok(Account {
            email: Some(
                Email::parse(email).ok().filter(|parsed| parsed.as_str() == email).ok_or_else(|| damaged("email"))?,
            ),
            credentials_version: u32::try_from(self.credentials_version)
                .map_err(|_| damaged("version of its credentials"))?,
            id: AccountId::parse(id).ok_or_else(|| damaged("id"))?,
            name: self.name,
            operator: self.operator,
            disabled_at: self.disabled_at,
            created_at: Some(self.created_at),
            email_as_kept: None,
            image: None,
            password_hash: self.password_hash.map(PasswordHash::from_stored),
        })
    }
}

/// The account that `new` becomes, under a new id: a UUIDv7 of the given time, so that ids sort by creation.
pub(super) fn new_account(new: NewAccount, now_ms: i64) -> Account {
    let ms = u64::try_from(now_ms).unwrap_or(0);
    let nanos = u32::try_from(ms % 1_000).unwrap_or(0) * 1_000_000;
    let id = Uuid::new_v7(Timestamp::from_unix(NoContext, ms / 1_000, nanos));
    Account {
        id: AccountId(id.hyphenated().to_string().into()),
        email: Some(new.email),
        name: new.name.as_str().to_owned(),
        email_as_kept: None,
        image: None,
        operator: new.operator,
        disabled_at: None,
        created_at: Some(now_ms),
        credentials_version: 1,
        password_hash: new.password_hash,
    }
}

/// `None`, and a line in the log, for a row that says too little: it must not keep the others from being worked on.
pub(super) fn pending_end(number: i64, user: &str, reason: &str) -> Option<PendingEnd> {
    let Some(account) = AccountId::parse(user) else {
        tracing::error!(target: "hallpass", number, "a row of the accounts' session ends names no account; it is left alone");
        return None;
    };
    Some(PendingEnd { number, account, reason: EndReason::parse(reason).unwrap_or(EndReason::RevokedUser) })
}

/// The stored hash of a set-up code.
pub(super) struct SetupOffer {
    pub(super) code_hash: Vec<u8>,
    pub(super) expires_at: i64,
}

impl SetupOffer {
    /// Whether the code is this one, and still valid.
    pub(super) fn is_open(&self, code_hash: [u8; 32], now_ms: i64) -> bool {
        now_ms < self.expires_at && bool::from(self.code_hash.as_slice().ct_eq(code_hash.as_slice()))
    }
}
