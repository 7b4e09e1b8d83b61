//! Where users and their identities lie: in tables of our own, or in those of an application with Auth.js. What is done with them is the same ([`super`]).

use std::fmt;

use async_trait::async_trait;

use super::connection::{Columns, Connection, Fault, Value};
use crate::accounts::{Account, AccountId, Email, Identity, LinkedIdentity};

/// A statement that reads.
pub(in crate::accounts) struct Question {
    pub(in crate::accounts) sql: String,
    pub(in crate::accounts) values: Vec<Value>,
}

/// The tables of users. A question that is `None` has the answer "there is none".
#[async_trait]
pub(in crate::accounts) trait Users: Send + Sync + fmt::Debug {
    /// A row of an answer.
    fn account(&self, row: &Columns) -> Result<Account, Fault>;

    /// May answer others as well, whose ids the engine takes for alike.
    fn find(&self, id: &AccountId) -> Option<Question>;

    /// May answer others as well, whose addresses the engine takes for alike.
    fn find_by_email(&self, email: &Email) -> Question;

    fn list(&self, after: Option<&AccountId>, limit: u16) -> Option<Question>;

    fn count(&self) -> String;

    /// One row if there is any user.
    fn any(&self) -> String;

    /// Takes the lock of the row.
    fn lock(&self, id: &AccountId) -> Option<Question>;

    /// Waits for whoever makes a user or an identity, where no key of the tables keeps two from being alike.
    async fn take_turn(&self, connection: &mut dyn Connection) -> Result<(), Fault>;

    /// Makes the user; under another id where the tables count themselves.
    async fn insert(&self, connection: &mut dyn Connection, account: &Account) -> Result<Account, Fault>;

    /// Makes all of the user as given, whatever it was.
    async fn overwrite(&self, connection: &mut dyn Connection, account: &Account) -> Result<(), Fault>;

    /// The table of what hallpass alone knows of users, each by its id.
    fn facts(&self) -> &'static str;

    /// Makes sure that the user, whose row is locked, has a row among the facts, and nothing there that was known of another.
    async fn keep_facts(&self, connection: &mut dyn Connection, account: &Account) -> Result<(), Fault>;

    /// Removes the user with all that is known of it. `false`: there is none.
    async fn delete(&self, connection: &mut dyn Connection, id: &AccountId) -> Result<bool, Fault>;

    /// May answer others as well, whose identities the engine takes for alike.
    fn find_by_identity(&self, identity: &Identity) -> Option<Question>;

    /// The identity in a row of [`Users::find_by_identity`], after the account's columns.
    fn found_identity(&self, row: &Columns) -> Result<Option<Identity>, Fault>;

    fn identities(&self, id: &AccountId) -> Option<Question>;

    /// A row of [`Users::identities`]; `None` where no provider of ours is meant, or another user.
    fn linked(&self, owner: &AccountId, row: &Columns) -> Result<Option<LinkedIdentity>, Fault>;

    async fn link(&self, connection: &mut dyn Connection, id: &AccountId, linked: &LinkedIdentity)
    -> Result<(), Fault>;

    async fn unlink(&self, connection: &mut dyn Connection, id: &AccountId, identity: &Identity) -> Result<(), Fault>;
}
