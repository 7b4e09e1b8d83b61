//! The contract between hallpass and a database.
//!
//! # How to write a store
//!
//! Implement [`Store`] and run the public suite of the crate `hallpass-conformance` on it. The rules behind the verbs:
//!
//! 1. **No write creates or revives.** Only [`Store::create`] makes a row, and it fails on a duplicate. Every other write is one
//!    conditional statement over *live* rows and answers [`Write::Gone`] when there is none. There are no upserts.
//! 2. **Live** means: not ended, not behind a not-before mark, and both stored deadlines ahead of `now`
//!    (`deadline > now`). `now` comes with each call: a store never reads a clock to decide.
//! 3. **Validity never depends on clean-up.** Deadlines are compared when reading.
//! 4. **A backend error is an error**, never "no session".
//! 5. **Durable before acknowledged**: create, rotate and revoke have reached stable storage when they return. A
//!    renewal or touch may be lost in a crash: that signs a user out early, never late.
//! 6. **Every revocation** commits together with one more entry in the revocation log, numbered without gaps in commit order.
//! 7. **Not-before marks.** Revoking a user or everyone is one small write: it takes the next log position *n* and stores it as
//!    a mark of that user (or of everyone). A row carries the position current at its creation as its *epoch* and is ended by the
//!    lowest mark above it: the first revocation wins. A session created afterwards has `epoch >= n` and lives.
//!    [`Store::settle`] later writes the end into the rows themselves, in batches; a mark is kept until then.
//! 8. **No clock decides about a revocation.** It ends every row that has not ended, one past its deadline too: by a clock that is behind,
//!    or was moved back, that one would live. Only those that are live at `now` are counted.
//! 9. **The registry of nodes** ([`Store::nodes`]) lies where the log lies: whoever reads it after a commit sees every node that was registered before the reading was sent.
//!    A lost heartbeat makes others wait longer and harms nothing; a lost registration would.
//! 10. **Nothing is done later** for a caller that dropped its future: it was told that the store did not answer. What is already on its way to
//!     the disk is the exception.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    Actor, Attributes, Authentication, Class, Client, EndReason, Hints, Label, Node, NodeId, Session, SessionId,
    Timestamp, Token, TokenHash, UserId,
};

/// Why a store could not answer. Never "no such session": that is an outcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database did not answer in time or not at all. Answer 503 and try again later.
    #[error("the session store is unavailable: {message}")]
    Unavailable {
        /// What happened, where, and what to do.
        message: String,
        /// The driver's error.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The database can be read but not written (read-only file, full disk).
    #[error("the session store cannot be written: {message}")]
    NotWritable {
        /// What happened, where, and what to do.
        message: String,
        /// The driver's error.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The database holds what this program cannot read: damage, or rows of another program.
    #[error("the session store is damaged: {message}")]
    Corrupt {
        /// What happened, where, and what to do.
        message: String,
        /// The driver's error.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The database was migrated by a newer program.
    #[error(
        "the database has schema version {found}, this program knows up to {known}; start the newer hallpass, or restore a backup from before the upgrade"
    )]
    TooNew {
        /// The version of the database.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
}

impl StoreError {
    /// An unavailable store without a driver's error.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::Unavailable { message: message.into(), source: None }
    }
}

/// What [`Store::create`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The session is durable. `evicted` lists what the limit ended to make room, oldest first.
    Created {
        /// Sessions ended by the limit in the same commit, by the actor `system max_per_user`.
        evicted: Vec<SessionId>,
    },
    /// A session with this id exists (live or ended); nothing was written (A05).
    Duplicate,
    /// The user already has `live` sessions and the limit refuses more; nothing was written.
    LimitReached {
        /// How many live sessions were counted.
        live: u32,
    },
}

/// At most `max` live sessions of one class for one user, decided in the commit of the creation (G10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// How many, the new one included; at least 1.
    pub max: u32,
    /// Refuse the new one instead of ending the oldest (by creation time, then id).
    pub refuse: bool,
    /// Sessions renewed at or before this time are dead under the policy in force and do not count.
    pub renewed_after: Timestamp,
    /// Sessions authenticated at or before this time are dead under the policy in force and do not count.
    pub authenticated_after: Timestamp,
}

/// A session and the hash of its token, as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The session. Its state already shows a not-before mark that it lies behind.
    pub session: Session,
    /// The hash of the current token.
    pub token_hash: TokenHash,
}

/// The outcome of a conditional write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write<T> {
    /// Written.
    Done(T),
    /// There is no live session for it: ended, past a deadline, or never there. Never re-create it (A06).
    Gone,
    /// The session lives, but somebody else wrote first; read again and decide again.
    Conflict,
}

/// An extension of the idle deadline: one conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// The session.
    pub id: SessionId,
    /// Only while this is the hash of the current token.
    pub token_hash: TokenHash,
    /// The time of the request; becomes `renewed_at`, and `last_seen_at` if later.
    pub now: Timestamp,
    /// Only if last renewed at or before this time.
    pub due_before: Timestamp,
    /// The new idle deadline; the store cuts it at the stored absolute deadline.
    pub idle_expires_at: Timestamp,
}

/// What [`Store::renew`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// Extended to this idle deadline.
    Renewed {
        /// The stored idle deadline.
        idle_expires_at: Timestamp,
    },
    /// The session lives, but was renewed less than `update_age` ago (another request was first), or its token changed.
    NotDue,
    /// There is no live session (A06).
    Gone,
}

/// A new secret for an existing session: compare-and-swap on the old hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The session.
    pub id: SessionId,
    /// Only while this is the hash of the current token.
    pub old_hash: TokenHash,
    /// The hash of the new token.
    pub new_hash: TokenHash,
    /// The time of the request.
    pub now: Timestamp,
    /// With a full authentication: both clocks start anew. Without: deadlines stay as they are.
    pub reauthentication: Option<Reauthentication>,
}

/// The facts of a full authentication that a rotation records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reauthentication {
    /// The new idle deadline.
    pub idle_expires_at: Timestamp,
    /// The new absolute deadline.
    pub absolute_expires_at: Timestamp,
    /// How the user authenticated.
    pub authentication: Arc<Authentication>,
    /// From where.
    pub client: Client,
}

/// Which sessions to count, list or show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only of this user.
    pub user: Option<UserId>,
    /// Only of this class.
    pub class: Option<Class>,
    /// Ended and expired ones too, as long as they are kept.
    pub include_ended: bool,
}

/// One page of a list, newest session first (by id, which follows creation time). Keyset, so that no page gets slower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Continue after this session; `None` starts at the newest.
    pub after: Option<SessionId>,
    /// At most this many; stores cut it at [`Page::MAX_LIMIT`].
    pub limit: u32,
}

impl Page {
    /// The most sessions on a page.
    pub const MAX_LIMIT: u32 = 500;

    /// The first page.
    #[must_use]
    pub const fn first(limit: u32) -> Self {
        Self { after: None, limit }
    }
}

/// One page of sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The sessions, newest first.
    pub sessions: Vec<Session>,
    /// Where the next page continues; `None` on the last one.
    pub next: Option<SessionId>,
}

/// Which sessions a revocation ends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// One session, if it belongs to `owner` (`None`: whoever it belongs to).
    Session {
        /// The session.
        id: SessionId,
        /// Only if it is this user's (A15).
        owner: Option<UserId>,
    },
    /// All of a user's sessions but one, which must be live and the user's own, or nothing is ended
    /// and the answer is a count of `None` with `position` 0.
    Others {
        /// The user.
        user: UserId,
        /// The session that stays.
        keep: SessionId,
    },
    /// All of a user's sessions.
    User(
        /// The user.
        UserId,
    ),
    /// All sessions of everybody.
    Everyone,
}

/// A revocation with who, when and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Which sessions.
    pub target: Target,
    /// When.
    pub now: Timestamp,
    /// By whom.
    pub by: Actor,
    /// Why.
    pub reason: EndReason,
}

/// What [`Store::revoke`] did. When it returns, the revocation is durable and in effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevokeOutcome {
    /// How many live sessions it ended; `None` where counting would grow with the number of sessions ([`Target::Everyone`]), where
    /// the session to keep was gone, or where the count failed after the commit.
    pub ended: Option<u64>,
    /// Its position in the revocation log; 0 if nothing was ended and nothing logged.
    pub position: u64,
}

/// The newest use of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastSeen {
    /// The session.
    pub id: SessionId,
    /// When it was used.
    pub at: Timestamp,
}

/// The client of a session that another program made, which does not say where it was begun from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientNote {
    /// The session.
    pub id: SessionId,
    /// Whose request used it first here.
    pub client: Client,
}

/// What to remove in one bounded step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sweep {
    /// Remove sessions that passed a stored deadline at or before this time.
    pub expired_before: Timestamp,
    /// Remove ended sessions (and spent marks) that ended at or before this time.
    pub ended_before: Timestamp,
    /// Remove log entries written at or before this time.
    pub log_before: Timestamp,
    /// At most this many rows in one commit.
    pub batch: u32,
    /// At most this many commits in one step. A store that gains nothing by more makes one; one that makes more ends the step within a
    /// fraction of a second all the same.
    pub commits: u32,
}

/// What one step of a sweep removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Expired sessions removed.
    pub expired: u64,
    /// Ended sessions removed.
    pub ended: u64,
    /// Whether there may be more to remove.
    pub more: bool,
}

/// What one step of settling wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    /// Rows behind a mark whose end was written.
    pub rows: u64,
    /// Whether there may be more.
    pub more: bool,
}

/// An entry of the revocation log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its position: 1, 2, 3 ... in commit order, without gaps.
    pub position: u64,
    /// What changed.
    pub kind: ChangeKind,
    /// When, by the writer's clock.
    pub at: Timestamp,
}

/// What an entry of the revocation log says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeKind {
    /// A session ended.
    Ended(
        /// The session.
        SessionId,
    ),
    /// A session lives on with another token, another label or other attributes: drop what is cached of it.
    Changed(
        /// The session.
        SessionId,
    ),
    /// The sessions of a user with an epoch below this position ended.
    User(
        /// The user.
        UserId,
    ),
    /// The sessions of everybody with an epoch below this position ended.
    Everyone,
}

/// The revocation log from a position on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Random, made with the log: another value means another or a restored database.
    pub incarnation: [u8; 16],
    /// The newest position.
    pub head: u64,
    /// The oldest position that is still kept (`head + 1` when none is).
    pub oldest: u64,
    /// The entries after the asked position, in order, at most as many as asked for.
    pub entries: Vec<Change>,
}

/// What a store says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The engine and its version, for example `SQLite 3.51.0`.
    pub engine: String,
    /// The schema version.
    pub schema: u32,
    /// The database's clock, to compare with the node's.
    pub clock: Option<Timestamp>,
    /// Sessions that are neither ended nor past a stored deadline.
    pub live: u64,
    /// More facts for people: name and value.
    pub details: Vec<(String, String)>,
    /// What endangers a promise, and what to do about it: a setting of the server that lets acknowledged changes be lost, for example.
    pub warnings: Vec<String>,
}

/// What a store can do that keeps its sessions in a table which another program reads and writes as well, as Auth.js does.
///
/// Such a program looks for the token that a client shows, where the other verbs name a session by its id; so the token itself comes with the verbs that
/// make one or look for one. What stands for it in a [`Record`] and a [`Rotation`] is [`Token::digest`]. [`Sessions`](crate::Sessions) calls these verbs
/// instead of [`Store::create`], [`Store::find`] and [`Store::rotate`] wherever it has a token.
///
/// Such a program need not keep by which client a session was begun, either; the last two verbs are for what [`Sessions::note_client`](crate::Sessions::note_client) makes
/// good of that. Where it does, [`SharedTokens::lacks_client`] is `false`.
#[async_trait]
pub trait SharedTokens: Send + Sync {
    /// As [`Store::create`], for the session of this token.
    async fn create_with(
        &self,
        new: &Record,
        token: &Token,
        now: Timestamp,
        limit: Option<Limit>,
    ) -> Result<Created, StoreError>;

    /// Reads the session of this token, whoever made it. One that this store did not know gets its id then: one commit more, once for each session.
    async fn find_by_token(&self, token: &Token, now: Timestamp) -> Result<Option<Record>, StoreError>;

    /// As [`Store::rotate`], to this token.
    async fn rotate_with(&self, rotation: &Rotation, token: &Token) -> Result<Write<()>, StoreError>;

    /// Whether the other program made this session, as it was read, and neither address nor user agent of its client is known. Asked at each check: it looks at what is
    /// given and nowhere else.
    fn lacks_client(&self, session: &Session) -> bool;

    /// Notes clients, each by one conditional statement over a live row of which [`SharedTokens::lacks_client`] would say so: what has ended stays as it ended (A06), and
    /// the first client that is written stays, whichever node comes with another one. Other sessions are left alone. One commit, not durable, with no
    /// entry in the log, since nobody answers from memory on such a store. Answers how many rows changed.
    async fn note_clients(&self, notes: &[ClientNote], now: Timestamp) -> Result<u64, StoreError>;
}

/// A database of sessions. See the [module documentation](self) for the rules.
///
/// Methods return boxed futures so that a program can choose its store at run time.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// Writes a new session, durably, within the limit. One commit.
    async fn create(&self, new: &Record, now: Timestamp, limit: Option<Limit>) -> Result<Created, StoreError>;

    /// Reads one session by its id, ended and expired ones too while they are kept. One read.
    async fn find(&self, id: SessionId) -> Result<Option<Record>, StoreError>;

    /// The verbs with tokens, of a store that shares its table with another program. Such a store is asked at each check: what the other program ends is in no
    /// log. It has no answer at once ([`Store::find_now`]), since that program's tokens name no id. `None`, as by default, for all others.
    fn shared_tokens(&self) -> Option<&dyn SharedTokens> {
        None
    }

    /// Reads as [`Store::find`] does if that takes no waiting: for stores whose reads run on the calling thread, within microseconds. `None`,
    /// as by default, sends the caller to [`Store::find`].
    fn find_now(&self, _id: SessionId) -> Option<Result<Option<Record>, StoreError>> {
        None
    }

    /// Extends the idle deadline. One conditional write that cannot create or revive and never passes the absolute deadline.
    async fn renew(&self, renewal: &Renewal) -> Result<Renewed, StoreError>;

    /// Replaces the secret, durably. One conditional write; [`Write::Conflict`] when another rotation was first.
    async fn rotate(&self, rotation: &Rotation) -> Result<Write<()>, StoreError>;

    /// Names a live session of `owner`, or takes the name away, with its entry in the log. [`Write::Gone`] for foreign ones too (A15).
    async fn set_label(
        &self,
        id: SessionId,
        owner: &UserId,
        label: Option<&Label>,
        now: Timestamp,
    ) -> Result<Write<()>, StoreError>;

    /// Replaces the attributes of a live session if their version is still `expected`, with its entry in the log; answers the new version.
    async fn set_attributes(
        &self,
        id: SessionId,
        expected: u64,
        attributes: &Attributes,
        now: Timestamp,
    ) -> Result<Write<u64>, StoreError>;

    /// One page of sessions, newest first. One read; live ones by stored deadlines unless the filter says otherwise.
    async fn list(&self, filter: &Filter, page: Page, now: Timestamp) -> Result<Listing, StoreError>;

    /// How many sessions the filter matches. Its cost grows with that number.
    async fn count(&self, filter: &Filter, now: Timestamp) -> Result<u64, StoreError>;

    /// Ends sessions, durably, with its entry in the log (for [`Target::Others`] one of kind [`ChangeKind::User`]). In effect in one small commit whatever
    /// the number of sessions. Idempotent: what has ended keeps its first reason, and where nothing had not ended, nothing is logged
    /// ([`Target::Everyone`] alone always is). Sessions past a deadline are ended and not counted (rule 8).
    async fn revoke(&self, revocation: &Revocation) -> Result<RevokeOutcome, StoreError>;

    /// Writes the end into at most `batch` rows that lie behind a mark. Changes nothing that a check decides.
    async fn settle(&self, batch: u32, now: Timestamp) -> Result<Settled, StoreError>;

    /// Moves `last_seen_at` of live sessions forward, never back; others are left alone. One commit, not durable. Answers how many rows
    /// changed.
    async fn touch(&self, seen: &[LastSeen], now: Timestamp) -> Result<u64, StoreError>;

    /// Removes dead rows, oldest first, in one commit of at most one batch or several. Never a live one. The log is trimmed from its beginning alone, so that it has no gap
    /// inside. A step may settle instead and remove nothing.
    async fn sweep(&self, sweep: &Sweep) -> Result<Swept, StoreError>;

    /// How many rows sweeping would remove, for a progress bar.
    async fn sweepable(&self, sweep: &Sweep) -> Result<u64, StoreError>;

    /// The revocation log after `position`, at most `limit` entries. One consistent read.
    async fn changes_since(&self, position: u64, limit: u32) -> Result<Changes, StoreError>;

    /// Enters a node into the registry, or enters it anew with other values, durably. One commit.
    async fn register_node(&self, node: &Node) -> Result<(), StoreError>;

    /// Replaces what the registry knows of a node that is there. One write, not durable. `false` when it is not there: nothing was written then.
    async fn heartbeat(&self, node: &Node) -> Result<bool, StoreError>;

    /// The registry, whole. One read, which sees what was registered before it was sent.
    async fn nodes(&self) -> Result<Vec<Node>, StoreError>;

    /// Removes a node from the registry if its `beats` are still these. One write.
    async fn forget_node(&self, id: NodeId, beats: u64) -> Result<bool, StoreError>;

    /// Tells others that the log has something new: best effort, and nothing rests on it. Never in the transaction of a revocation. By default nothing, for
    /// stores that have no way to do so.
    async fn hint(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// What others tell. Begins to listen, and goes on while somebody has what it returns; a connection that is lost is made again. `None`, as by default,
    /// for stores that have no way to hear of it.
    fn hints(&self) -> Option<Hints> {
        None
    }

    /// Brings the schema up to date, under a lock, safe from several processes at once. Answers the versions before and after.
    async fn migrate(&self) -> Result<(u32, u32), StoreError>;

    /// What the store says about itself. May count rows.
    async fn health(&self, now: Timestamp) -> Result<Health, StoreError>;
}
