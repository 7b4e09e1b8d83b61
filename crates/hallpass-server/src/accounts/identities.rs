//! Identities at providers, and which account each of them signs in to.

use async_trait::async_trait;

use super::{Account, AccountId, AccountsError, Created, NewAccount};

/// Most identities of one account.
pub const MAX_IDENTITIES: usize = 20;

/// Who somebody is at a provider: issuer and subject, kept apart so that no two pairs can be read as one (ASVS 5.0, 6.8.1 and 10.5.2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The provider, as it names itself. 1 to 255 bytes.
    pub issuer: String,
    /// The user there. 1 to 255 bytes, without NUL, compared byte for byte.
    pub subject: String,
}

/// An identity, linked to an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedIdentity {
    /// Who.
    pub identity: Identity,
    /// The provider's id in the settings when it was linked.
    pub provider: String,
    /// Its email address when it was linked, for people to recognise it by. Decides nothing.
    pub email: Option<String>,
    /// Milliseconds since the epoch; `None` where nobody kept it.
    pub created_at: Option<i64>,
}

/// What became of a request to link an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linked {
    /// It is linked to the account, now or since before.
    Done,
    /// It is another account's; nothing changed.
    OfAnother,
    /// The account has [`MAX_IDENTITIES`].
    TooMany,
    /// No such account.
    NoAccount,
}

/// What became of a request to unlink an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlinked {
    /// It is not linked any more.
    Done,
    /// It was not linked to this account.
    NotLinked,
    /// The account could not sign in without it; nothing changed.
    LastWayIn,
}

/// The part of the accounts that knows identities. Every method is one transaction.
#[async_trait]
pub trait Identities: Send + Sync {
    /// The account that the identity signs in to.
    async fn find_by_identity(&self, identity: &Identity) -> Result<Option<Account>, AccountsError>;

    /// The identities of an account, in the order of issuer and subject.
    async fn identities(&self, id: &AccountId) -> Result<Vec<LinkedIdentity>, AccountsError>;

    /// Creates an account together with its identity, both or neither. [`Created::Duplicate`] when the email or the identity is another
    /// account's.
    async fn create_with_identity(&self, new: NewAccount, identity: &LinkedIdentity) -> Result<Created, AccountsError>;

    /// Links an identity to an account. Never takes one from another account.
    async fn link(&self, id: &AccountId, identity: &LinkedIdentity) -> Result<Linked, AccountsError>;

    /// Unlinks an identity, unless the account has no password and no other identity of one of `issuers`: of any number of parallel calls one
    /// way in remains.
    async fn unlink(&self, id: &AccountId, identity: &Identity, issuers: &[String]) -> Result<Unlinked, AccountsError>;
}

/// Whether the account can sign in without `gone`.
pub(super) fn has_other_way_in(
    has_password: bool,
    identities: &[LinkedIdentity],
    gone: &Identity,
    issuers: &[String],
) -> bool {
    has_password
        || identities.iter().any(|linked| linked.identity != *gone && issuers.contains(&linked.identity.issuer))
}
