//! The verbs that end sessions, and waiting until no node accepts them.

use crate::cache::Forgetting;
use crate::sessions::Inner;
use crate::store::{Revocation, RevokeOutcome, Target};
use crate::{Actor, EndReason, Event, Session, SessionId, Sessions, StoreError, Uptime, UserId, waiting};

/// How many rows behind a mark a revocation settles itself; the sweeper does the rest.
const SETTLE_AT_ONCE: u32 = 200;

/// What a revocation of several sessions did. It is durable and in effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    /// How many live sessions ended; `None` where counting would grow with their number (everyone).
    pub ended: Option<u64>,
}

impl Sessions {
    /// Ends one session by its public id, only if it belongs to `owner` when one is given. How many live sessions that ended: 0 for unknown,
    /// foreign and already ended ones alike (A15). One durable commit.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke(
        &self,
        id: SessionId,
        owner: Option<&UserId>,
        by: &Actor,
        reason: EndReason,
    ) -> Result<u64, StoreError> {
        let target = Target::Session { id, owner: owner.cloned() };
        let committed = self.store_revoke(target, by, reason).await?;
        let ended = committed.ended.unwrap_or(0);
        if ended > 0 {
            self.emit(&Event::Ended { id, by: by.clone(), reason });
        }
        self.wait(&committed).await?;
        Ok(ended)
    }

    /// Ends all sessions of the user but `keep`. In effect after one small durable commit, whatever their number. Ends nothing when `keep`
    /// itself is not live any more (`ended` is `None` then).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_others(&self, keep: &Session, by: &Actor, reason: EndReason) -> Result<Revoked, StoreError> {
        self.revoke_many(Target::Others { user: keep.user.clone(), keep: keep.id }, by, reason).await
    }

    /// Ends all sessions of a user: forces a new sign-in. In effect after one small durable commit, whatever their number.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_user(&self, user: &UserId, by: &Actor, reason: EndReason) -> Result<Revoked, StoreError> {
        self.revoke_many(Target::User(user.clone()), by, reason).await
    }

    /// Ends all sessions of everybody. In effect after one small durable commit; the rows follow with the sweeper.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke_everyone(&self, by: &Actor) -> Result<Revoked, StoreError> {
        self.revoke_many(Target::Everyone, by, EndReason::RevokedEveryone).await
    }

    /// The same sessions, but each revocation returns only when no node accepts what it ended, whatever a node has in memory (G6): when all others have told that
    /// they followed the log so far, or the longest lease of those that have not is over. A revocation of what had ended already waits for that too.
    ///
    /// As a rule that takes as long as a hint and a reading of the log; at most a fifth more than the longest lease, since clocks may run at different rates. One reading of the registry more, and one more for each
    /// 5 to 50 ms of the wait. Where the wait fails the revocation holds, and the error says so; made again, it waits again.
    ///
    /// "No node accepts" is said of checks that start after the return. Signing in and replacing a secret do not wait, although they may end sessions too.
    #[must_use]
    pub fn waiting(&self) -> Self {
        Self { waits: true, ..self.clone() }
    }

    async fn revoke_many(&self, target: Target, by: &Actor, reason: EndReason) -> Result<Revoked, StoreError> {
        let outcome = self.store_revoke(target.clone(), by, reason).await?;
        let by = by.clone();
        match target {
            Target::Others { user, keep } => {
                self.emit(&Event::UserRevoked { user, kept: Some(keep), ended: outcome.ended, by, reason });
            }
            Target::User(user) => self.emit(&Event::UserRevoked { user, kept: None, ended: outcome.ended, by, reason }),
            Target::Everyone => self.emit(&Event::EveryoneRevoked { by }),
            Target::Session { .. } => {}
        }
        self.wait(&outcome).await?;
        if outcome.position > 0 {
            // The revocation holds already; this only writes it into the rows of an ordinary user at once.
            if let Err(error) = self.inner.store.settle(SETTLE_AT_ONCE, self.now()).await {
                self.emit(&Event::TaskFailed { task: "settle", error: error.to_string() });
            }
        }
        Ok(Revoked { ended: outcome.ended })
    }

    async fn store_revoke(&self, target: Target, by: &Actor, reason: EndReason) -> Result<Committed, StoreError> {
        let revocation = Revocation { target, now: self.now(), by: by.clone(), reason };
        // Before the answer, and whatever it is: where the connection broke at the commit, nobody knows whether it was made.
        let forgetting = Forgetting::target(self.inner.cache.as_ref(), &revocation.target);
        let outcome = self.inner.store.revoke(&revocation).await;
        drop(forgetting);
        let RevokeOutcome { ended, position } = outcome?;
        if position > 0 {
            self.has_changed();
        }
        Ok(Committed { ended, position, at: self.inner.clock.uptime() })
    }

    /// Waits until no node accepts what had ended, or was replaced, before this call.
    pub(crate) async fn wait_for_what_was_before(&self) -> Result<(), StoreError> {
        self.wait(&Committed { ended: None, position: 0, at: self.inner.clock.uptime() }).await
    }

    async fn wait(&self, committed: &Committed) -> Result<(), StoreError> {
        if !self.waits {
            return Ok(());
        }
        self.hint().await;
        let Inner { store, clock, node, .. } = &*self.inner;
        let waited = waiting::until_no_node_accepts(&**store, &**clock, *node, committed.position, committed.at).await;
        match waited {
            Ok(waited) => {
                self.emit(&Event::Waited(waited));
                Ok(())
            }
            Err(error) => Err(StoreError::Unavailable {
                message: String::from(
                    "the sessions have ended, but whether another node still has one in memory could not be found out; it will not for longer than a lease. \
                     Repeat the revocation to wait again",
                ),
                source: Some(Box::new(error)),
            }),
        }
    }
}

/// A revocation that is durable.
struct Committed {
    ended: Option<u64>,
    position: u64,
    /// Not before the commit.
    at: Uptime,
}
