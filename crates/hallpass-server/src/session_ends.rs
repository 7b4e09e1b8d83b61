//! Ending an account's sessions after the account changed (threats A08 and A09).
//!
//! The account changes first, so that no new sign-in gets through, and leaves a note in the same
//! transaction ([`crate::accounts::PendingEnd`]). Then the sessions end, then the note goes. A failure
//! in between leaves the note, and [`finish`] completes the work: the server calls it at its start and
//! with every sweep.

use std::fmt;

use async_trait::async_trait;

use crate::accounts::{AccountId, Accounts, AccountsError, EndReason};

/// What ends sessions: the library's `revoke_user`, behind a seam of this crate's own.
#[async_trait]
pub trait EndSessions: Send + Sync + fmt::Debug {
    /// Ends every session of the account; how many were live. Idempotent.
    ///
    /// # Errors
    /// When the session store did not answer; then nothing may be assumed to have ended.
    async fn end_all(&self, account: &AccountId, reason: EndReason) -> Result<u64, EndFailed>;

    /// How many sessions of the account are live, for dry runs.
    ///
    /// # Errors
    /// When the session store did not answer.
    async fn count_live(&self, account: &AccountId) -> Result<u64, EndFailed>;
}

/// The sessions could not be ended.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EndFailed(
    /// What the session store said.
    pub String,
);

/// Why pending ends could not be finished. What was finished before stays finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FinishError {
    /// The account database did not answer.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// The session store did not answer.
    #[error(
        "the sessions of account {account} could not be ended yet: {source}; a running server tries again by itself, or repeat the command"
    )]
    Sessions {
        /// Whose sessions.
        account: AccountId,
        /// What the session store said.
        source: EndFailed,
    },
}

/// Pending entries read at once.
const BATCH: u16 = 100;

/// Ends the sessions of every pending entry, oldest first, and removes the entries. How many sessions
/// ended.
///
/// Two callers at once both end the same sessions, which is harmless.
///
/// # Errors
/// Stops at the first failure; entries that remain are tried again by the next call.
pub async fn finish(accounts: &dyn Accounts, sessions: &dyn EndSessions) -> Result<u64, FinishError> {
    let mut ended = 0_u64;
    loop {
        let pending = accounts.pending_ends(BATCH).await?;
        let last = pending.len() < usize::from(BATCH);
        for end in pending {
            let live = sessions
                .end_all(&end.account, end.reason)
                .await
                .map_err(|source| FinishError::Sessions { account: end.account.clone(), source })?;
            ended = ended.saturating_add(live);
            accounts.end_done(end.number).await?;
        }
        if last {
            return Ok(ended);
        }
    }
}
