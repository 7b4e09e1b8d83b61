//! Moving live sessions from one store to another, so that nobody has to sign in again.
//!
//! The source may be in use meanwhile: what its revocation log says since the beginning is applied at the end. The target must not be: what
//! it knows better than the source is never overwritten, and a target that knows anything better is refused whole.

use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use crate::store::{
    ChangeKind, Created, Filter, LastSeen, Page, Reauthentication, Record, Renewal, Revocation, Rotation, Store, Sweep,
    Target,
};
use crate::{Clock, Session, SessionId, State, StoreError, Timestamp, UserId};

/// Sessions under way at once: enough that a store can commit them together.
const AT_ONCE: usize = 128;
/// Sessions, or entries of the log, read at once.
const PAGE: u32 = 500;
/// How often the log is caught up with. Each round is shorter than the one before, unless the source changes faster than it can be copied.
const MAX_ROUNDS: u32 = 100;

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CopyProgress {
    /// Live sessions of the source looked at so far.
    pub done: u64,
    /// How many there were when it began.
    pub total: u64,
}

/// What a copy did. Each session that it counts was read back from the target and is the same there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    /// Sessions made in the target.
    pub created: u64,
    /// Sessions that were there already, from a copy that was interrupted.
    pub present: u64,
    /// Of these, how many had changed in the source since, and were brought up to date.
    pub updated: u64,
    /// Sessions of the target ended because they had ended in the source since.
    pub ended: u64,
    /// Live sessions in the source at the end.
    pub live_in_source: u64,
    /// Live sessions in the target at the end.
    pub live_in_target: u64,
    /// The position in the source's log up to which what happened there went along. Whoever wants to know whether the source was at rest since
    /// asks for what came after it.
    pub position: u64,
}

impl Copied {
    /// Whether both stores hold equally many live sessions. They do unless the source went on being used.
    #[must_use]
    pub const fn agrees(&self) -> bool {
        self.live_in_source == self.live_in_target
    }
}

/// Why sessions could not be copied. What was copied stays; the next run goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The source could not be read.
    #[error("the source: {0}")]
    Source(#[source] StoreError),
    /// The target could not be read or written.
    #[error("the target: {0}")]
    Target(#[source] StoreError),
    /// The target has a session that the source does not know, or knows it in a later state. Nothing was written.
    #[error(
        "the target is in use: it has the session {0}, which the source does not know, or knows only as it was before; copy into a database that no program uses yet, or end that session there"
    )]
    TargetInUse(SessionId),
    /// A session was written and read back as something else.
    #[error("the session {0} differs in the target after it was copied; is another program writing there?")]
    Differs(SessionId),
    /// The source changes faster than it is copied.
    #[error("the source changes faster than it can be copied; stop the programs that use it, and copy again")]
    NoEnd,
    /// What happened in the source meanwhile is not known any more.
    #[error("the source was restored from a backup, or its log swept, while it was copied; copy again")]
    LogLost,
    /// One of them shares its table with another program.
    #[error(
        "sessions on a table that another program shares cannot be copied: what is kept of a token there fits no other database"
    )]
    Shared,
    /// The program is stopping.
    #[error("copying was interrupted")]
    Interrupted,
}

impl From<JoinError> for CopyError {
    fn from(_: JoinError) -> Self {
        Self::Interrupted
    }
}

/// Copies the live sessions of `from` to `to`: ids, hashes of tokens, deadlines, labels, attributes. Both need the same pepper. Ended sessions and
/// the log stay behind.
///
/// May be interrupted and run again. Two or three reads and a durable write for each session, 500 to a page and 128 at once.
///
/// # Errors
/// [`CopyError::Shared`] and [`CopyError::TargetInUse`] before anything is written; the others at any time.
pub async fn copy(
    from: &Arc<dyn Store>,
    to: &Arc<dyn Store>,
    clock: &dyn Clock,
    progress: &mut (dyn FnMut(&CopyProgress) + Send),
) -> Result<Copied, CopyError> {
    if from.shared_tokens().is_some() || to.shared_tokens().is_some() {
        return Err(CopyError::Shared);
    }
    let mut copy = Copy { from, to, now: clock.now(), first_look: true, copied: Copied::default() };
    let total = copy.from.count(&Filter::default(), copy.now).await.map_err(CopyError::Source)?;
    let begun = copy.from.changes_since(u64::MAX, 1).await.map_err(CopyError::Source)?;
    let mut so_far = CopyProgress { done: 0, total };
    progress(&so_far);

    let left_over = copy.check_target().await?;
    let mut after = None;
    loop {
        let (ids, next) = page(from, &Filter::default(), after, copy.now).await.map_err(CopyError::Source)?;
        so_far.done += ids.len() as u64;
        copy.mirror(ids).await?;
        progress(&so_far);
        after = next;
        if after.is_none() {
            break;
        }
    }
    copy.first_look = false;
    if left_over {
        copy.mirror_all_in_target(None).await?;
    }
    copy.copied.position = copy.catch_up(begun.head, begun.incarnation, clock).await?;

    let now = clock.now();
    copy.copied.live_in_source = from.count(&Filter::default(), now).await.map_err(CopyError::Source)?;
    copy.copied.live_in_target = to.count(&Filter::default(), now).await.map_err(CopyError::Target)?;
    Ok(copy.copied)
}

/// The ids of one page of live sessions.
async fn page(
    store: &Arc<dyn Store>,
    filter: &Filter,
    after: Option<SessionId>,
    now: Timestamp,
) -> Result<(Vec<SessionId>, Option<SessionId>), StoreError> {
    let listing = store.list(filter, Page { after, limit: PAGE }, now).await?;
    Ok((listing.sessions.iter().map(|session| session.id).collect(), listing.next))
}

struct Copy<'a> {
    from: &'a Arc<dyn Store>,
    to: &'a Arc<dyn Store>,
    now: Timestamp,
    /// Whether each session is looked at for the first time, so that those which are present are to be counted.
    first_look: bool,
    copied: Copied,
}

impl Copy<'_> {
    /// Whether the target has live sessions, from an earlier run. All of them must be such.
    async fn check_target(&self) -> Result<bool, CopyError> {
        let mut after = None;
        let mut any = false;
        loop {
            let listing = self.to.list(&Filter::default(), Page { after, limit: PAGE }, self.now).await;
            let listing = listing.map_err(CopyError::Target)?;
            any |= !listing.sessions.is_empty();
            let mut looks = JoinSet::new();
            for theirs in listing.sessions {
                let from = Arc::clone(self.from);
                looks.spawn(async move {
                    let ours = from.find(theirs.id).await.map_err(CopyError::Source)?;
                    let known = ours.is_some_and(|ours| !is_newer(&theirs, &ours.session));
                    if known { Ok(()) } else { Err(CopyError::TargetInUse(theirs.id)) }
                });
            }
            while let Some(look) = looks.join_next().await {
                look??;
            }
            after = listing.next;
            if after.is_none() {
                return Ok(any);
            }
        }
    }

    async fn mirror_all_in_target(&mut self, user: Option<UserId>) -> Result<(), CopyError> {
        let filter = Filter { user, ..Filter::default() };
        let mut after = None;
        loop {
            let (ids, next) = page(self.to, &filter, after, self.now).await.map_err(CopyError::Target)?;
            self.mirror(ids).await?;
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Applies what happened in the source since `position`; up to where.
    async fn catch_up(
        &mut self,
        mut position: u64,
        incarnation: [u8; 16],
        clock: &dyn Clock,
    ) -> Result<u64, CopyError> {
        for _ in 0..MAX_ROUNDS {
            self.now = clock.now();
            let changes = self.from.changes_since(position, PAGE).await.map_err(CopyError::Source)?;
            if changes.incarnation != incarnation || changes.oldest > position + 1 {
                return Err(CopyError::LogLost);
            }
            let Some(last) = changes.entries.last() else {
                return Ok(position);
            };
            position = last.position;
            let mut ids = Vec::new();
            for change in changes.entries {
                match change.kind {
                    ChangeKind::Ended(id) | ChangeKind::Changed(id) => ids.push(id),
                    ChangeKind::User(user) => self.mirror_all_in_target(Some(user)).await?,
                    ChangeKind::Everyone => self.mirror_all_in_target(None).await?,
                }
            }
            // One at a time: each session once.
            ids.sort_unstable();
            ids.dedup();
            self.mirror(ids).await?;
        }
        Err(CopyError::NoEnd)
    }

    async fn mirror(&mut self, ids: Vec<SessionId>) -> Result<(), CopyError> {
        let mut running = JoinSet::new();
        for id in ids {
            let (from, to, now) = (Arc::clone(self.from), Arc::clone(self.to), self.now);
            running.spawn(async move { mirror(&*from, &*to, id, now).await });
            if running.len() >= AT_ONCE
                && let Some(done) = running.join_next().await
            {
                self.note(done??);
            }
        }
        while let Some(done) = running.join_next().await {
            self.note(done??);
        }
        Ok(())
    }

    fn note(&mut self, done: Mirrored) {
        match done {
            Mirrored::Nothing => {}
            Mirrored::Created => self.copied.created += 1,
            Mirrored::Present => self.copied.present += u64::from(self.first_look),
            Mirrored::Updated => {
                self.copied.present += u64::from(self.first_look);
                self.copied.updated += 1;
            }
            Mirrored::Ended => self.copied.ended += 1,
        }
    }
}

/// What was done about one session.
#[derive(Clone, Copy)]
enum Mirrored {
    Nothing,
    Created,
    Present,
    Updated,
    Ended,
}

/// Brings one session of the target to the state it has in the source.
async fn mirror(from: &dyn Store, to: &dyn Store, id: SessionId, now: Timestamp) -> Result<Mirrored, CopyError> {
    let Some(ours) = from.find(id).await.map_err(CopyError::Source)? else {
        return Ok(Mirrored::Nothing);
    };
    let theirs = to.find(id).await.map_err(CopyError::Target)?;
    let done = match theirs {
        None if !ours.session.is_live_at(now) => return Ok(Mirrored::Nothing),
        None => make(to, &ours, now).await?,
        Some(theirs) if theirs.session.state != State::Live => return Ok(Mirrored::Nothing),
        Some(_) if ours.session.state != State::Live => {
            end(to, &ours.session).await?;
            return Ok(Mirrored::Ended);
        }
        Some(theirs) if is_same(&ours, &theirs) => return Ok(Mirrored::Present),
        Some(theirs) if !theirs.session.is_live_at(now) => {
            if !ours.session.is_live_at(now) {
                return Ok(Mirrored::Nothing);
            }
            // It was renewed here after it had been copied, and has expired there: no write wakes it.
            remove_expired(to, now).await.map_err(CopyError::Target)?;
            make(to, &ours, now).await?
        }
        Some(theirs) => {
            update(to, &ours, &theirs, now).await.map_err(CopyError::Target)?;
            Mirrored::Updated
        }
    };
    match to.find(id).await.map_err(CopyError::Target)? {
        Some(theirs) if is_same(&ours, &theirs) => Ok(done),
        _ => Err(CopyError::Differs(id)),
    }
}

async fn make(to: &dyn Store, ours: &Record, now: Timestamp) -> Result<Mirrored, CopyError> {
    match to.create(ours, now, None).await.map_err(CopyError::Target)? {
        Created::Created { .. } | Created::Duplicate => Ok(Mirrored::Created),
        Created::LimitReached { .. } => Err(CopyError::Differs(ours.session.id)),
    }
}

async fn remove_expired(to: &dyn Store, now: Timestamp) -> Result<(), StoreError> {
    let (expired_before, ended_before, log_before) = (now, Timestamp::EPOCH, Timestamp::EPOCH);
    let step = Sweep { expired_before, ended_before, log_before, batch: PAGE, commits: 1 };
    while to.sweep(&step).await?.more {}
    Ok(())
}

async fn end(to: &dyn Store, ours: &Session) -> Result<(), CopyError> {
    let State::Ended(ended) = &ours.state else {
        return Ok(());
    };
    let target = Target::Session { id: ours.id, owner: None };
    let revocation = Revocation { target, now: ended.at, by: ended.by.clone(), reason: ended.reason };
    to.revoke(&revocation).await.map(drop).map_err(CopyError::Target)
}

/// Writes what differs, with the verbs that wrote it in the source.
async fn update(to: &dyn Store, ours: &Record, theirs: &Record, now: Timestamp) -> Result<(), StoreError> {
    let (session, old) = (&ours.session, &theirs.session);
    let reauthentication = (session.authenticated_at != old.authenticated_at).then(|| Reauthentication {
        idle_expires_at: session.idle_expires_at,
        absolute_expires_at: session.absolute_expires_at,
        authentication: session.authentication.clone(),
        client: session.client.clone(),
    });
    if reauthentication.is_some() || ours.token_hash != theirs.token_hash {
        let at = if reauthentication.is_some() { session.authenticated_at } else { now };
        let rotation = Rotation {
            id: session.id,
            old_hash: theirs.token_hash,
            new_hash: ours.token_hash,
            now: at,
            reauthentication,
        };
        to.rotate(&rotation).await?;
    }
    if session.renewed_at > old.renewed_at {
        let renewal = Renewal {
            id: session.id,
            token_hash: ours.token_hash,
            now: session.renewed_at,
            due_before: session.renewed_at,
            idle_expires_at: session.idle_expires_at,
        };
        to.renew(&renewal).await?;
    }
    if session.last_seen_at > old.last_seen_at {
        to.touch(&[LastSeen { id: session.id, at: session.last_seen_at }], now).await?;
    }
    if session.label != old.label {
        to.set_label(session.id, &session.user, session.label.as_ref(), now).await?;
    }
    if session.attributes != old.attributes {
        to.set_attributes(session.id, old.attributes_version, &session.attributes, now).await?;
    }
    Ok(())
}

/// Whether the target's session says something later than the source's.
fn is_newer(theirs: &Session, ours: &Session) -> bool {
    theirs.authenticated_at > ours.authenticated_at
        || theirs.renewed_at > ours.renewed_at
        || theirs.last_seen_at > ours.last_seen_at
        || theirs.attributes_version > ours.attributes_version
}

/// Equal in all but the version of the attributes, which counts the writes of each store.
fn is_same(ours: &Record, theirs: &Record) -> bool {
    let mut theirs = theirs.clone();
    theirs.session.attributes_version = ours.session.attributes_version;
    *ours == theirs
}
