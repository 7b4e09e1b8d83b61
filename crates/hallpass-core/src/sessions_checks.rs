//! The verbs that check a token, and what answers them from memory.

use arc_swap::Guard;

use crate::clock::Reading;
use crate::shim;
use crate::validation::{CachedCheck, Check};
use crate::{
    CacheStatus, CachedSession, Checked, Followed, Node, Policies, SessionId, Sessions, StoreError, Token, TokenHash,
    Validation,
};

impl Sessions {
    /// Checks a token. In the strict mode, one read; one write more when an extension is due (at most once per `update_age`). In the cached mode
    /// neither, as long as the session is in memory, no extension is due and this node has its lease.
    ///
    /// # Errors
    /// When the store had to be read and could not be: answer 503, neither "signed in" nor "signed out" (G8).
    pub async fn validate(&self, token: &Token) -> Result<Validation, StoreError> {
        let policies = self.inner.policies.load();
        let hash = self.hash(token);
        let cached = self.accept_from_memory(&policies, token, hash);
        if let Some(validation) = cached.and_then(|cached| Checked::Cached(cached).into_validation()) {
            return Ok(validation);
        }
        // Held over a wait for the store it would be in the way of others.
        let policies = Guard::into_inner(policies);
        self.check(&policies).strict(token, hash).await
    }

    /// Checks a token as [`Sessions::validate`] does if that takes no waiting: the session is in memory, or the store reads on the calling thread
    /// ([`Store::find_now`](crate::Store::find_now)), and no extension is due. `None` otherwise, with nothing done: then call [`Sessions::validate`].
    ///
    /// For callers on a hot path, which need no future, no time-out and no allocation for one: it spares a request behind the web layer a
    /// tenth of its cost.
    ///
    /// # Errors
    /// As [`Sessions::validate`].
    pub fn validate_now(&self, token: &Token) -> Option<Result<Validation, StoreError>> {
        self.check_now(token)?.map(Checked::into_validation).transpose()
    }

    /// As [`Sessions::validate_now`], but a session that is accepted from memory stays packed until somebody looks at it: for callers who may not.
    /// No allocation then.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use hallpass_core::{Checked, Sessions, SignIn, UserId, Validation};
    /// # use hallpass_conformance::MemoryStore;
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sessions = Sessions::builder(Arc::new(MemoryStore::new())).build()?;
    /// # let token = sessions.sign_in(&[], SignIn::new(UserId::new("alice")?)).await?.token;
    /// let is_live = match sessions.check_now(&token).transpose()? {
    ///     Some(Checked::Cached(_)) => true,
    ///     Some(Checked::Read(validation)) => matches!(validation, Validation::Live { .. }),
    ///     None => matches!(sessions.validate(&token).await?, Validation::Live { .. }),
    /// };
    /// # assert!(is_live);
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Runtime::new()?.block_on(example())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Sessions::validate`].
    pub fn check_now(&self, token: &Token) -> Option<Result<Checked, StoreError>> {
        let policies = self.inner.policies.load();
        let hash = self.hash(token);
        match self.accept_from_memory(&policies, token, hash) {
            Some(cached) => Some(Ok(Checked::Cached(cached))),
            None => Some(self.check(&policies).strict_now(token, hash)?.map(Checked::Read)),
        }
    }

    /// The same sessions, but each check reads the store, as in the strict mode: for a route on which a session that was revoked a moment ago on another node must not
    /// pass. Cheap; shares everything.
    #[must_use]
    pub fn strictly(&self) -> Self {
        Self { strict: true, ..self.clone() }
    }

    /// Whether checks may be answered from memory.
    #[must_use]
    pub fn is_cached(&self) -> bool {
        self.inner.cache.is_some() && !self.strict
    }

    /// Answers no check of this session from memory until it was read from the store again; nothing in the strict mode. Checks and the verbs do this themselves. It is for
    /// callers that learn in another way that a session has ended, from a list for example, and say so: who was refused once must not be accepted again (G5).
    pub fn forget(&self, id: SessionId) {
        if let Some(cache) = &self.inner.cache {
            cache.forget_session(id);
        }
    }

    fn accept_from_memory(&self, policies: &Policies, token: &Token, hash: TokenHash) -> Option<CachedSession> {
        let cache = self.inner.cache.as_ref().filter(|_| !self.strict)?;
        let check = CachedCheck { cache, policies, clock: &*self.inner.clock, last_seen: &self.inner.last_seen };
        check.accept(token, hash)
    }

    fn check<'a>(&'a self, policies: &'a Policies) -> Check<'a> {
        Check {
            store: &*self.inner.store,
            policies,
            events: &*self.inner.events,
            last_seen: &self.inner.last_seen,
            cache: self.inner.cache.as_ref(),
            now: self.now(),
        }
    }

    /// Reads what the revocation log has got since the last time, forgets what it names, and extends the lease of the cached mode; nothing in the strict one.
    /// The background tasks do this. One reading of the store, two at the first time.
    ///
    /// # Errors
    /// When the store fails: the lease goes on until it is over, and checks read the store then.
    pub async fn follow(&self) -> Result<Followed, StoreError> {
        let Some(cache) = &self.inner.cache else { return Ok(Followed::default()) };
        let mut follower = self.inner.follower.lock().await;
        let turn = follower.turn(&*self.inner.store, cache, &*self.inner.clock, &*self.inner.events);
        // An answer later than a lease after the question gives none, and whoever waits for it keeps others from asking.
        let lease = cache.settings().lease;
        shim::within(lease, turn).await.unwrap_or_else(|| {
            Err(StoreError::unavailable(format!("the revocation log was not read within {lease:?}")))
        })
    }

    /// Answers no check from memory from now on, and leaves the registry of nodes, so that no revocation waits for this one. [`Background::shutdown`](crate::Background::shutdown)
    /// does this. One write.
    ///
    /// # Errors
    /// When the store fails: others wait for this node's lease then, until they find that it is gone.
    pub(crate) async fn leave(&self) -> Result<(), StoreError> {
        let Some(cache) = &self.inner.cache else { return Ok(()) };
        self.inner.follower.lock().await.leave(&*self.inner.store, cache).await
    }

    /// The nodes that may answer from memory, with this one, if it does. One reading.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        self.inner.store.nodes().await
    }

    /// What the cache holds and how far it has followed the log; `None` in the strict mode.
    #[must_use]
    pub fn cache_status(&self) -> Option<CacheStatus> {
        let (hints, last_hint) = self.inner.hinting.heard();
        Some(CacheStatus { hints, last_hint, ..self.inner.cache.as_ref()?.status(Reading::of(&*self.inner.clock)) })
    }
}
