//! The verbs.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::background::TaskRecord;
use crate::cache::{Cache, Forgetting};
use crate::client_notes::ClientNotes;
use crate::follower::Follower;
use crate::hints::Hinting;
use crate::last_seen::LastSeenBuffer;
use crate::store::{Created, Filter, Health, Limit, Listing, Page, Reauthentication, Record, Rotation, Store, Write};
use crate::sweeper::{self, Rest, SweepProgress, SweepSettings};
use crate::{
    Actor, Attributes, Authentication, Background, BackgroundStatus, Class, Client, Clock, EndReason, Entropy,
    EntropyError, Event, EventSink, Invalid, Label, NodeId, OnLimit, Pepper, Policies, Policy, Session, SessionId,
    SessionsBuilder, SignIn, State, StoreError, Timestamp, Token, TokenError, TokenHash, UserId,
};

/// How many of the tokens that came with a request [`Sessions::sign_in`] looks at. A browser sends one; more are an attack or an accident.
pub const MAX_PRESENTED: usize = 8;
/// How often a creation is tried again when its random id is taken (A05).
const MAX_ID_ATTEMPTS: u32 = 3;

/// A token and its session, just made. The token's text is to be given to the client now: nobody can read it again.
#[derive(Debug)]
pub struct Issued {
    /// The secret.
    pub token: Token,
    /// The session.
    pub session: Session,
    /// Sessions that the limit per user ended for it.
    pub evicted: Vec<SessionId>,
}

/// Why no session was created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The class has no policy.
    #[error("there is no policy for the class {0}")]
    UnknownClass(Class),
    /// The user has as many sessions as the policy allows, and it refuses more.
    #[error("the user already has {live} sessions; the policy allows no more")]
    LimitReached {
        /// How many live sessions there are.
        live: u32,
    },
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why no new token was issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// The session is not live, or the token is not its current one. Nothing was written.
    #[error("the session has ended or its token was already replaced")]
    Gone,
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a change of attributes did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributesOutcome {
    /// Written; this is the new version.
    Updated(u64),
    /// Another request changed them since this session was read; read again and decide again.
    Conflict,
    /// The session is not live any more.
    Gone,
}

/// The verbs over a store. Cheap to clone; clones share everything.
///
/// ```no_run
/// # async fn example(store: std::sync::Arc<dyn hallpass_core::Store>) -> Result<(), Box<dyn std::error::Error>> {
/// use hallpass_core::{Sessions, SignIn, UserId, Validation};
///
/// let sessions = Sessions::builder(store).build()?;
/// let issued = sessions.create(SignIn::new(UserId::new("alice")?)).await?;
/// match sessions.validate(&issued.token).await? {
///     Validation::Live { session, .. } => assert_eq!(session.user.as_str(), "alice"),
///     Validation::Invalid(reason) => println!("not signed in: {reason}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Sessions {
    pub(crate) inner: Arc<Inner>,
    /// Checks read the store, whatever the mode.
    pub(crate) strict: bool,
    /// Revocations return when no node accepts what they ended.
    pub(crate) waits: bool,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) policies: ArcSwap<Policies>,
    pub(crate) pepper: Option<Pepper>,
    /// Whether another program makes tokens, too.
    pub(crate) shares_tokens: bool,
    pub(crate) cache: Option<Cache>,
    /// This node's name in the registry; none in the strict mode, which is in no registry.
    pub(crate) node: Option<NodeId>,
    pub(crate) follower: tokio::sync::Mutex<Follower>,
    pub(crate) hinting: Hinting,
    pub(crate) sweep: SweepSettings,
    pub(crate) last_seen: LastSeenBuffer,
    /// Stays empty where no other program shares the store.
    pub(crate) client_notes: ClientNotes,
    pub(crate) last_seen_task: TaskRecord,
    pub(crate) sweep_task: TaskRecord,
    pub(crate) follow_task: TaskRecord,
}

impl Sessions {
    /// Settings to begin with: the default policies, the machine's clock and generator, events to `tracing`, strict checks.
    #[must_use]
    pub fn builder(store: Arc<dyn Store>) -> SessionsBuilder {
        SessionsBuilder::new(store)
    }

    /// Creates a session and its token. One durable commit.
    ///
    /// Use [`Sessions::sign_in`] where the client may have come with a session already.
    ///
    /// # Errors
    /// When the class is unknown, the limit refuses, the generator fails, or the store does.
    pub async fn create(&self, sign_in: SignIn) -> Result<Issued, CreateError> {
        let policies = self.policies();
        if !policies.knows(&sign_in.class) {
            return Err(CreateError::UnknownClass(sign_in.class));
        }
        let policy = policies.of(&sign_in.class);
        for _ in 0..MAX_ID_ATTEMPTS {
            let now = self.now();
            let id = SessionId::generate(&sign_in.user, now, &*self.inner.entropy)?;
            let token = Token::generate(id, &*self.inner.entropy)?;
            let record = Record { session: new_session(id, &sign_in, policy, now), token_hash: self.hash(&token) };
            let limit = limit(policy, now);
            let created = match self.inner.store.shared_tokens() {
                None => self.inner.store.create(&record, now, limit).await?,
                Some(shared) => shared.create_with(&record, &token, now, limit).await?,
            };
            match created {
                Created::Created { evicted } => {
                    self.forget_sessions(&evicted);
                    if !evicted.is_empty() {
                        self.has_changed();
                    }
                    let Record { session, .. } = record;
                    self.emit(&Event::Created { id, user: session.user.clone(), class: session.class.clone() });
                    for id in &evicted {
                        let by = Actor::system("max_per_user");
                        self.emit(&Event::Ended { id: *id, by, reason: EndReason::Limit });
                    }
                    return Ok(Issued { token, session, evicted });
                }
                Created::Duplicate => {}
                Created::LimitReached { live } => {
                    self.emit(&Event::LimitReached { user: sign_in.user, class: sign_in.class, live });
                    return Err(CreateError::LimitReached { live });
                }
            }
        }
        Err(EntropyError(String::from("it repeated the same session id")).into())
    }

    /// Signs a user in over whatever tokens the client came with, which are never adopted (A01, A02).
    ///
    /// A live session of the same user and class is rotated: same id, new secret, both clocks anew. Every other live session that was
    /// presented is ended, whoever it belongs to, and nothing of it is kept. At most [`MAX_PRESENTED`] tokens are looked at.
    /// One read for each, then one or two durable commits.
    ///
    /// # Errors
    /// As [`Sessions::create`].
    pub async fn sign_in(&self, presented: &[Token], sign_in: SignIn) -> Result<Issued, CreateError> {
        let mut renewable = None;
        for token in presented.iter().take(MAX_PRESENTED) {
            let Some(record) = self.authentic(token).await? else {
                continue;
            };
            // A rotation authenticates as of now, which a sign-in with a time of its own does not claim.
            let same = record.session.user == sign_in.user
                && record.session.class == sign_in.class
                && sign_in.authenticated_at.is_none();
            if same && sign_in.attributes.is_none() && renewable.is_none() && self.is_live(&record.session) {
                renewable = Some(token);
            } else {
                self.revoke(record.session.id, None, &Actor::user(&sign_in.user), EndReason::Replaced).await?;
            }
        }
        if let Some(token) = renewable {
            match self.reauthenticate(token, sign_in.authentication.clone(), sign_in.client.clone()).await {
                Ok(issued) => return Ok(issued),
                Err(RotateError::Gone) => {}
                Err(RotateError::Entropy(error)) => return Err(error.into()),
                Err(RotateError::Store(error)) => return Err(error.into()),
            }
        }
        self.create(sign_in).await
    }

    /// Replaces the secret of a live session, keeping its id and deadlines: after a change of privileges. One read, one durable commit;
    /// the old token is dead in the same commit.
    ///
    /// # Errors
    /// [`RotateError::Gone`] unless `token` is the current one of a live session.
    pub async fn rotate(&self, token: &Token) -> Result<Issued, RotateError> {
        self.rotate_with(token, None).await
    }

    /// Replaces the secret after a full authentication of the same user and starts both clocks anew (NIST SP 800-63B-4: reauthentication
    /// resets both). One read, one durable commit.
    ///
    /// # Errors
    /// [`RotateError::Gone`] unless `token` is the current one of a live session.
    pub async fn reauthenticate(
        &self,
        token: &Token,
        authentication: impl Into<Arc<Authentication>>,
        client: Client,
    ) -> Result<Issued, RotateError> {
        self.rotate_with(token, Some((authentication.into(), client))).await
    }

    async fn rotate_with(
        &self,
        old: &Token,
        authentication: Option<(Arc<Authentication>, Client)>,
    ) -> Result<Issued, RotateError> {
        let record = self.authentic(old).await?.ok_or(RotateError::Gone)?;
        let mut session = record.session;
        if !self.is_live(&session) {
            return Err(RotateError::Gone);
        }
        let now = self.now();
        let token = Token::generate(session.id, &*self.inner.entropy)?;
        let reauthentication = authentication.map(|(authentication, client)| {
            let deadlines = self.policies().of(&session.class).deadlines(now, now);
            session.authenticated_at = now;
            session.renewed_at = now;
            session.last_seen_at = session.last_seen_at.max(now);
            session.idle_expires_at = deadlines.idle;
            session.absolute_expires_at = deadlines.absolute;
            session.authentication = authentication.clone();
            session.client = client.clone();
            Reauthentication {
                idle_expires_at: deadlines.idle,
                absolute_expires_at: deadlines.absolute,
                authentication,
                client,
            }
        });
        let reauthenticated = reauthentication.is_some();
        let rotation = Rotation {
            id: session.id,
            old_hash: record.token_hash,
            new_hash: self.hash(&token),
            now,
            reauthentication,
        };
        let changed = Forgetting::session(self.inner.cache.as_ref(), session.id);
        let rotated = match self.inner.store.shared_tokens() {
            None => self.inner.store.rotate(&rotation).await,
            Some(shared) => shared.rotate_with(&rotation, &token).await,
        };
        drop(changed);
        match rotated? {
            Write::Done(()) => {
                self.has_changed();
                self.emit(&Event::Rotated { id: session.id, user: session.user.clone(), reauthenticated });
                Ok(Issued { token, session, evicted: Vec::new() })
            }
            Write::Gone | Write::Conflict => Err(RotateError::Gone),
        }
    }

    /// Ends the session of this token: signing out. Whether there was a live one. One read, one durable commit. Where there is nothing to end,
    /// [`Sessions::waiting`] waits all the same: until no node accepts a secret that was replaced before.
    ///
    /// # Errors
    /// When the store fails: the session may live on, and the caller must say so.
    pub async fn end(&self, token: &Token) -> Result<bool, StoreError> {
        let Some(record) = self.authentic(token).await? else {
            self.wait_for_what_was_before().await?;
            return Ok(false);
        };
        let by = Actor::user(&record.session.user);
        Ok(self.revoke(record.session.id, None, &by, EndReason::SignedOut).await? > 0)
    }

    /// One page of the sessions that match, newest first, live ones as the policy in force sees them unless the filter includes ended ones. A page
    /// may be short; [`Listing::next`] alone says whether more follow. One read.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, filter: &Filter, page: Page) -> Result<Listing, StoreError> {
        let mut listing = self.inner.store.list(filter, page, self.now()).await?;
        if !filter.include_ended {
            listing.sessions.retain(|session| self.is_live(session));
        }
        let policies = self.policies();
        for session in &mut listing.sessions {
            let deadlines = policies.of(&session.class).effective(session);
            session.idle_expires_at = deadlines.idle;
            session.absolute_expires_at = deadlines.absolute;
            self.show_noted_client(session);
        }
        Ok(listing)
    }

    /// One session by its public id, ended ones too while they are kept. One read.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn show(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let mut session = self.inner.store.find(id).await?.map(|record| record.session);
        if let Some(session) = &mut session {
            self.show_noted_client(session);
        }
        Ok(session)
    }

    /// The log has an entry more, of which the other nodes are to be told.
    pub(crate) fn has_changed(&self) {
        self.inner.hinting.is_due();
    }

    fn forget_sessions(&self, ids: &[SessionId]) {
        if let Some(cache) = &self.inner.cache {
            ids.iter().for_each(|id| cache.forget_session(*id));
        }
    }

    /// Names one of `owner`'s live sessions, or takes its name away. Whether there was such a session. One write.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_label(&self, id: SessionId, owner: &UserId, label: Option<&Label>) -> Result<bool, StoreError> {
        let _changed = Forgetting::session(self.inner.cache.as_ref(), id);
        let is_done = self.inner.store.set_label(id, owner, label, self.now()).await? == Write::Done(());
        if is_done {
            self.has_changed();
        }
        Ok(is_done)
    }

    /// Replaces the attributes of a session if nobody changed them since `session` was read. One write.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn set_attributes(
        &self,
        session: &Session,
        attributes: &Attributes,
    ) -> Result<AttributesOutcome, StoreError> {
        let expected = session.attributes_version;
        let _changed = Forgetting::session(self.inner.cache.as_ref(), session.id);
        Ok(match self.inner.store.set_attributes(session.id, expected, attributes, self.now()).await? {
            Write::Done(version) => {
                self.has_changed();
                AttributesOutcome::Updated(version)
            }
            Write::Conflict => AttributesOutcome::Conflict,
            Write::Gone => AttributesOutcome::Gone,
        })
    }

    /// Removes dead rows now, in bounded commits, and tells how far it is after each. May be dropped at any point: what is removed
    /// stays removed, and the next sweep goes on from there.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sweep(&self, mut progress: impl FnMut(&SweepProgress) + Send) -> Result<SweepProgress, StoreError> {
        self.sweep_with(Rest::AfterSingleCommits, true, &mut progress).await
    }

    pub(crate) async fn sweep_in_background(&self) -> Result<SweepProgress, StoreError> {
        self.sweep_with(Rest::NineTenths, false, &mut |_| {}).await
    }

    async fn sweep_with(
        &self,
        rest: Rest,
        count: bool,
        progress: &mut (dyn FnMut(&SweepProgress) + Send),
    ) -> Result<SweepProgress, StoreError> {
        let now = self.now();
        let swept = sweeper::sweep(&*self.inner.store, &self.inner.sweep, now, rest, count, progress).await?;
        self.inner.sweep_task.succeeded(self.now());
        if swept.removed() > 0 {
            self.emit(&Event::Swept { expired: swept.expired, ended: swept.ended });
        }
        Ok(swept)
    }

    /// How many rows [`Sessions::sweep`] would remove now. Its cost grows with that number.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sweepable(&self) -> Result<u64, StoreError> {
        self.inner.store.sweepable(&self.inner.sweep.step(self.now())).await
    }

    /// Writes the last-seen times that wait in memory, and the clients that were noted ([`Sessions::note_client`]). How many rows changed. One commit for each of the
    /// two that there is something of, more for hundreds of clients. The background tasks do this every 15 seconds.
    ///
    /// # Errors
    /// When the store fails; what was not written is kept for the next flush.
    pub async fn flush_last_seen(&self) -> Result<u64, StoreError> {
        // Neither of the two keeps the other from being written.
        let (noted, touched) = (self.flush_client_notes().await, self.flush_times().await);
        Ok(noted? + touched?)
    }

    async fn flush_times(&self) -> Result<u64, StoreError> {
        let (seen, dropped) = self.inner.last_seen.take();
        if dropped > 0 {
            self.emit(&Event::LastSeenDropped { count: dropped });
        }
        if seen.is_empty() {
            return Ok(0);
        }
        match self.inner.store.touch(&seen, self.now()).await {
            Ok(changed) => Ok(changed),
            Err(error) => {
                self.inner.last_seen.put_back(&seen);
                Err(error)
            }
        }
    }

    /// Starts the background tasks on the current tokio runtime.
    #[must_use = "dropping it stops the tasks"]
    pub fn start_background(&self) -> Background {
        Background::start(self.clone())
    }

    /// How the background tasks are doing.
    #[must_use]
    pub fn background_status(&self) -> BackgroundStatus {
        BackgroundStatus {
            last_seen: self.inner.last_seen_task.status(),
            sweep: self.inner.sweep_task.status(),
            follow: self.inner.cache.as_ref().map(|_| self.inner.follow_task.status()),
        }
    }

    /// What the store says about itself. May count rows.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn health(&self) -> Result<Health, StoreError> {
        self.inner.store.health(self.now()).await
    }

    /// The policies in force.
    #[must_use]
    pub fn policies(&self) -> Arc<Policies> {
        self.inner.policies.load_full()
    }

    /// Puts other policies in force, for old sessions too: shorter deadlines end them at once.
    pub fn set_policies(&self, policies: Policies) {
        self.inner.policies.store(Arc::new(policies));
        // What is in memory has deadlines that the old ones had cut.
        if let Some(cache) = &self.inner.cache {
            cache.flush();
        }
    }

    /// Whether the session's user authenticated recently enough for sensitive acts, by the policy in force.
    #[must_use]
    pub fn is_fresh(&self, session: &Session) -> bool {
        session.is_fresh_at(self.now(), self.policies().of(&session.class).fresh_age)
    }

    /// When the session's cookie should expire; `None` for one that ends with the browser.
    #[must_use]
    pub fn cookie_expires_at(&self, session: &Session) -> Option<Timestamp> {
        self.policies().of(&session.class).persistent_cookie.then_some(session.idle_expires_at)
    }

    /// The time, by the injected clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// The store, for what the verbs do not cover.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// Sends an event to the sink: for integrations, which see what core cannot.
    pub fn emit(&self, event: &Event) {
        self.inner.events.emit(event);
    }

    /// The record that `token` names, if the secret is its current one; live or not. What is found out about a session that does not live counts for the next check
    /// from memory, as if a check had found it.
    async fn authentic(&self, token: &Token) -> Result<Option<Record>, StoreError> {
        let hash = self.hash(token);
        let (record, refused) = match find(&*self.inner.store, token, self.now()).await? {
            None => (None, Some(Invalid::Unknown)),
            Some(record) if !record.token_hash.matches(&hash) => (None, Some(Invalid::WrongSecret)),
            Some(record) => {
                let refused = match &record.session.state {
                    State::Ended(ended) => Some(Invalid::Ended(ended.clone())),
                    State::Live if !self.is_live(&record.session) => Some(Invalid::IdleTimeout),
                    State::Live => None,
                };
                (Some(record), refused)
            }
        };
        if let (Some(cache), Some(why)) = (&self.inner.cache, &refused) {
            cache.forget_refused(token.id(), hash, why);
        }
        Ok(record)
    }

    fn is_live(&self, session: &Session) -> bool {
        let now = self.now();
        let deadlines = self.policies().of(&session.class).effective(session);
        session.state == State::Live && deadlines.idle > now && deadlines.absolute > now
    }

    pub(crate) fn hash(&self, token: &Token) -> TokenHash {
        if self.inner.shares_tokens { token.digest() } else { token.hash(self.inner.pepper.as_ref()) }
    }

    /// Reads what a client shows as its token, from untrusted bytes: of this library's form or, where the store shares its table with another
    /// program, of that program's making. No store access.
    ///
    /// # Errors
    /// When the bytes are no token.
    pub fn parse(&self, bytes: &[u8]) -> Result<Token, TokenError> {
        Token::parse(bytes)
            .or_else(|error| if self.inner.shares_tokens { Token::parse_foreign(bytes) } else { Err(error) })
    }

    /// The public id of the session that a token names, live or not; `None` where the store knows none. No reading of the store unless
    /// it shares its table with another program, whose tokens name no id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn id_of(&self, token: &Token) -> Result<Option<SessionId>, StoreError> {
        match self.inner.store.shared_tokens() {
            None => Ok(Some(token.id())),
            Some(shared) => Ok(shared.find_by_token(token, self.now()).await?.map(|record| record.session.id)),
        }
    }
}

/// The row that a token names. Whether its secret is that of the token is for the caller to see.
pub(crate) async fn find(store: &dyn Store, token: &Token, now: Timestamp) -> Result<Option<Record>, StoreError> {
    match store.shared_tokens() {
        None => store.find(token.id()).await,
        Some(shared) => shared.find_by_token(token, now).await,
    }
}

fn new_session(id: SessionId, sign_in: &SignIn, policy: &Policy, now: Timestamp) -> Session {
    let authenticated_at = sign_in.authenticated_at.map_or(now, |at| at.min(now));
    let deadlines = policy.deadlines(authenticated_at, now);
    Session {
        id,
        user: sign_in.user.clone(),
        class: sign_in.class.clone(),
        created_at: now,
        authenticated_at,
        renewed_at: now,
        last_seen_at: now,
        idle_expires_at: deadlines.idle,
        absolute_expires_at: deadlines.absolute,
        client: sign_in.client.clone(),
        label: None,
        authentication: Arc::new(sign_in.authentication.clone()),
        attributes: sign_in.attributes.clone().unwrap_or_default(),
        attributes_version: 0,
        state: State::Live,
    }
}

fn limit(policy: &Policy, now: Timestamp) -> Option<Limit> {
    let authenticated_after = match policy.absolute_timeout {
        crate::AbsoluteTimeout::After(limit) => now.minus(limit),
        crate::AbsoluteTimeout::Never => Timestamp::EPOCH,
    };
    policy.max_per_user.map(|max| Limit {
        max,
        refuse: policy.on_limit == OnLimit::Refuse,
        renewed_after: now.minus(policy.max_age),
        authenticated_after,
    })
}
