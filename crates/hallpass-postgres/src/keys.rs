//! The keys of advisory locks. They are shared by all programs of a database, so each is a hash of who wants it and for what; two that agree
//! by chance only wait for each other. The channel of hints, which has a name, is made the same way.

use hallpass_core::UserId;
use sha2::{Digest as _, Sha256};

use crate::value::Value;

#[derive(Debug, Clone)]
pub(crate) struct Keys {
    schema: String,
}

impl Keys {
    pub(crate) fn of(schema: &str) -> Self {
        Self { schema: schema.to_owned() }
    }

    /// Shared by creations under way, held alone to wait for them.
    pub(crate) fn creations(&self) -> Value<'static> {
        self.key("creations", "")
    }

    /// Shared by a user's creations under way, held alone to count or to set a mark.
    pub(crate) fn user(&self, user: &UserId) -> i64 {
        self.hash("user", user.as_str())
    }

    pub(crate) fn settling(&self) -> Value<'static> {
        self.key("settling", "")
    }

    pub(crate) fn trimming(&self) -> Value<'static> {
        self.key("trimming", "")
    }

    pub(crate) fn migrating(&self) -> Value<'static> {
        self.key("migrating", "")
    }

    /// One for each schema, and no longer than a name may be.
    pub(crate) fn channel(&self) -> String {
        format!("hallpass_{:016x}", self.hash("hints", "").cast_unsigned())
    }

    fn key(&self, what: &str, who: &str) -> Value<'static> {
        Value::Integer(self.hash(what, who))
    }

    fn hash(&self, what: &str, who: &str) -> i64 {
        let digest = Sha256::new().chain_update(format!("hallpass/{}/{what}/{who}", self.schema)).finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        i64::from_be_bytes(first)
    }
}
