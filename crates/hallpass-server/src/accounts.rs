//! The server's own users. The library knows nothing of them: for it a user id is opaque text.
//!
//! [`Accounts`] is the seam between the server and the database that holds them; each engine's
//! implementation passes the same conformance tests (`tests/accounts.rs`).
//!
//! # Ending sessions
//!
//! Disabling or deleting an account and changing its password must end its sessions (threats A08, A09;
//! ASVS 5.0 7.4.2, 7.4.3). Sessions live behind another seam, so both cannot change in one transaction.
//! Instead each such change leaves, in its own transaction, a [`PendingEnd`]: an entry that says "the
//! sessions of this user must end". It goes away only when they have ended, and whoever finds it
//! (the command, the running server, the next start) finishes the work; see [`crate::session_ends`].

pub mod authjs;
pub mod copy;
mod email;
mod identities;
pub mod mysql;
mod name;
pub mod postgres;
mod provider_sessions;
mod rows;
mod sql;
pub mod sqlite;
mod steps;

use std::fmt;

use async_trait::async_trait;
pub use hallpass_core::EndReason;
use secrecy::SecretString;

pub use self::email::{Email, EmailRefused};
pub use self::identities::{Identities, Identity, Linked, LinkedIdentity, MAX_IDENTITIES, Unlinked};
pub use self::name::{DisplayName, NameRefused};
pub use self::provider_sessions::{Accepted, Logout, MARK_MS, Noted, ProviderSession, ProviderSessions};
pub use self::sql::SqlAccounts;
use crate::password::PasswordHash;

/// Most accounts on one page of [`Accounts::list`].
pub const MAX_PAGE: u16 = 1_000;

/// The id of an account: opaque text of 1 to 255 bytes, without NUL. hallpass's own accounts get a UUIDv7, so that
/// ids sort by creation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(Box<str>);

impl AccountId {
    /// `None` when `text` is empty, longer than 255 bytes or holds NUL: the bounds of a session's user id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        ((1..=255).contains(&text.len()) && !text.contains('\0')).then(|| Self(text.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// Never used again, also after deletion, where hallpass makes the ids.
    pub id: AccountId,
    /// Normalised. `None`: the account has none by which it could be named; only users of Auth.js may be without.
    pub email: Option<Email>,
    /// The address as another program keeps it, with its capitals; any text. `None` where it is [`Account::email`] or there is none.
    pub email_as_kept: Option<String>,
    /// For people to read. May hold any text that other programs stored; escape it where it is shown.
    pub name: String,
    /// Address of a picture, as a provider told it to Auth.js. Any text.
    pub image: Option<String>,
    /// May see and end everybody's sessions.
    pub operator: bool,
    /// Set: the account cannot sign in, since this time (milliseconds since the epoch).
    pub disabled_at: Option<i64>,
    /// Milliseconds since the epoch. `None`: another program made it, and did not say when.
    pub created_at: Option<i64>,
    /// Goes up by one with each new password. A sign-in that began under another version is void.
    pub credentials_version: u32,
    /// `None`: the account has no password and cannot use the password form.
    pub password_hash: Option<PasswordHash>,
}

/// What a new account starts with.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Normalised.
    pub email: Email,
    /// Shown to people.
    pub name: DisplayName,
    /// May see and end everybody's sessions.
    pub operator: bool,
    /// Its password.
    pub password_hash: Option<PasswordHash>,
}

/// What became of a request to create an account.
#[derive(Debug, Clone)]
pub enum Created {
    /// It exists now.
    Account(Account),
    /// Another account has that email; nothing changed.
    Duplicate,
}

/// What became of a request to create the first account with a set-up code.
#[derive(Debug, Clone)]
pub enum FirstCreated {
    /// It exists now, and the code is used up.
    Account(Account),
    /// The code is wrong, expired or used up, or accounts exist already. Which one is not said.
    Refused,
}

/// What became of an account that came from another database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// It was not there, and is now.
    Created,
    /// It was there and something was different, which is as given now.
    Updated,
    /// It was there, the same in everything.
    Present,
    /// Another account has that email; nothing changed.
    EmailTaken,
    /// It has a newer password there, or was disabled there; nothing changed.
    Newer,
}

impl Account {
    /// The email address as it is kept. May hold any text that other programs stored; escape it where it is shown.
    #[must_use]
    pub fn shown_email(&self) -> Option<&str> {
        self.email_as_kept.as_deref().or(self.email.as_ref().map(Email::as_str))
    }

    /// What to call it in a message: its email address, or else its id.
    #[must_use]
    pub fn known_as(&self) -> &str {
        self.email.as_ref().map_or(self.id.as_str(), Email::as_str)
    }

    /// Whether this one knows something that `other`, the same account elsewhere, does not: a newer password, or that it is disabled.
    pub(crate) fn is_newer_than(&self, other: &Self) -> bool {
        self.credentials_version > other.credentials_version
            || (self.disabled_at.is_some() && other.disabled_at.is_none())
    }
}

/// A change whose sessions may not all have ended yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingEnd {
    /// For [`Accounts::end_done`].
    pub number: i64,
    /// Whose sessions.
    pub account: AccountId,
    /// Why.
    pub reason: EndReason,
}

/// A small secret that the server makes once and keeps with its accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerSecret {
    /// Key of the sign-in form's CSRF token.
    Auth,
}

impl ServerSecret {
    /// The name it is stored under.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
        }
    }
}

/// Why the accounts could not be asked. None of these means "no such account".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountsError {
    /// The database did not answer in time or at all. Answer 503.
    #[error("the account database is unavailable: {0}")]
    Unavailable(String),
    /// The database belongs to a newer hallpass.
    #[error(
        "the database {place} was made by a newer hallpass (account schema {found}, this program knows {known}); use that version or a newer one"
    )]
    Newer {
        /// The database.
        place: String,
        /// Its schema number.
        found: u32,
        /// The newest this program knows.
        known: u32,
    },
    /// The database holds something this program did not write.
    #[error("the account database is damaged: {0}")]
    Damaged(String),
}

/// The server's users and few secrets, in a database.
///
/// Every method is one transaction. Times are milliseconds since the epoch, given by the caller.
#[async_trait]
pub trait Accounts: Identities + ProviderSessions + Send + Sync + fmt::Debug {
    /// Creates an account with a new id. A used email is the outcome [`Created::Duplicate`].
    async fn create(&self, new: NewAccount, now_ms: i64) -> Result<Created, AccountsError>;

    /// Makes the account as it is elsewhere: its id, times, password and all. One that is there already under this id becomes like it, unless it is
    /// newer.
    /// For moving accounts between databases alone: it ends no sessions, and leaves no [`PendingEnd`].
    async fn adopt(&self, account: &Account) -> Result<Adopted, AccountsError>;

    /// The account with this id.
    async fn find(&self, id: &AccountId) -> Result<Option<Account>, AccountsError>;

    /// The account with this email.
    async fn find_by_email(&self, email: &Email) -> Result<Option<Account>, AccountsError>;

    /// Up to `limit` accounts (at most [`MAX_PAGE`]) with ids after `after`, ordered by id, that is by
    /// creation. An account created or deleted meanwhile shifts no page.
    async fn list(&self, after: Option<&AccountId>, limit: u16) -> Result<Vec<Account>, AccountsError>;

    /// How many accounts there are.
    async fn count(&self) -> Result<u64, AccountsError>;

    /// Disables the account and leaves a [`PendingEnd`]. An account that was disabled already keeps
    /// its time, but leaves an entry again. `None`: no such account.
    async fn disable(&self, id: &AccountId, now_ms: i64) -> Result<Option<Account>, AccountsError>;

    /// Enables the account. `None`: no such account.
    async fn enable(&self, id: &AccountId) -> Result<Option<Account>, AccountsError>;

    /// Sets a new password, raises `credentials_version` and leaves a [`PendingEnd`].
    /// `None`: no such account.
    async fn set_password(
        &self,
        id: &AccountId,
        hash: PasswordHash,
        now_ms: i64,
    ) -> Result<Option<Account>, AccountsError>;

    /// Replaces the hash of the *same* password, made with newer parameters, if nobody changed it
    /// since it was read. Raises nothing and ends nothing. `false`: it had changed.
    async fn rehash(&self, id: &AccountId, old: &PasswordHash, new: PasswordHash) -> Result<bool, AccountsError>;

    /// Deletes the account and leaves a [`PendingEnd`]. `false`: no such account.
    async fn delete(&self, id: &AccountId, now_ms: i64) -> Result<bool, AccountsError>;

    /// The oldest `limit` entries of changes whose sessions may not have ended.
    async fn pending_ends(&self, limit: u16) -> Result<Vec<PendingEnd>, AccountsError>;

    /// Removes an entry, once the sessions have ended.
    async fn end_done(&self, number: i64) -> Result<(), AccountsError>;

    /// The stored secret, or `candidate`, which is stored then. Of several callers at once all get the
    /// same one.
    async fn secret_or(&self, secret: ServerSecret, candidate: SecretString) -> Result<SecretString, AccountsError>;

    /// Stores the hash of a set-up code, valid until `expires_at_ms`, in place of any earlier one.
    /// `false`, and nothing stored, when accounts exist already.
    async fn offer_setup(&self, code_hash: [u8; 32], expires_at_ms: i64) -> Result<bool, AccountsError>;

    /// Whether [`Accounts::create_first`] would accept the code now.
    async fn setup_is_open(&self, code_hash: [u8; 32], now_ms: i64) -> Result<bool, AccountsError>;

    /// Uses the code up and creates the first account, both or neither: of any number of parallel
    /// uses exactly one wins (threat A42).
    async fn create_first(
        &self,
        code_hash: [u8; 32],
        new: NewAccount,
        now_ms: i64,
    ) -> Result<FirstCreated, AccountsError>;
}
