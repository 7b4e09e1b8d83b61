//! What the layer knows about one request, shared with the extractors through the request's extensions.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use hallpass_core::{
    CachedSession, Checked, EndReason, Ended, Invalid, Issued, Session, StoreError, Timestamp, Token, Validation,
};
use http::header::{CACHE_CONTROL, Entry, SET_COOKIE, VARY};
use http::{Extensions, HeaderMap, HeaderValue};

use crate::Web;
use crate::credential::Presented;
use crate::cross_origin::is_from_browser;

/// The store did not answer, so it is not known whether the request has a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Undecided;

/// One request on its way through the layer and the handler.
pub(crate) struct Exchange {
    pub(crate) web: Web,
    pub(crate) presented: Presented,
    undecided: bool,
    /// Whether an extractor asked about the session, so that the answer depends on it.
    looked: AtomicBool,
    /// What the check found.
    found: Progress,
    /// What it is since a verb changed it; most requests change nothing, lock nothing and have no room for it.
    changed: OnceLock<Box<Mutex<Progress>>>,
}

/// What may change while the handler runs.
#[derive(Debug, Clone, Default)]
struct Progress {
    session: Holder,
    /// The token that a verb issued during this request; it takes the place of the presented one.
    issued: Option<Arc<Token>>,
    cookie: CookieChange,
}

/// Whose request it is.
#[derive(Debug, Clone, Default)]
enum Holder {
    /// Nobody's.
    #[default]
    Nobody,
    /// That of a session which memory has accepted, and which is unpacked when somebody asks.
    Cached(CachedSession),
    /// That of a session which was read or made.
    Session(Arc<Session>),
}

impl Holder {
    fn session(&self) -> Result<Option<Arc<Session>>, Undecided> {
        match self {
            Self::Nobody => Ok(None),
            Self::Cached(cached) => cached.session().map(|session| Some(Arc::clone(session))).ok_or(Undecided),
            Self::Session(session) => Ok(Some(Arc::clone(session))),
        }
    }

    const fn is_nobody(&self) -> bool {
        matches!(self, Self::Nobody)
    }
}

/// What the response does to our cookie.
#[derive(Debug, Clone, Default)]
enum CookieChange {
    /// Nothing.
    #[default]
    Keep,
    /// The session was extended: the same token with a later expiry.
    Extend(Timestamp),
    /// A new token.
    Set(Arc<Token>, Option<Timestamp>),
    /// The cookie is dead; it goes if the answer shows its owner that he is not signed in.
    ClearIfLooked,
    /// Signed out.
    Clear,
}

impl Exchange {
    /// A request without a credential that could be checked.
    pub(crate) fn without_session(web: Web, presented: Presented) -> Arc<Self> {
        // Which of two cookies is the dead one is not known, and removing ours would leave the planted one alone in its place.
        let dead = presented.cookies == 1 && !presented.is_ambiguous();
        let cookie = if dead { CookieChange::ClearIfLooked } else { CookieChange::Keep };
        Self::new(web, presented, false, Progress { cookie, ..Progress::default() })
    }

    /// A request whose one token could be checked without waiting; see [`Exchange::checked`] for the others. Gives back what it was given if
    /// not.
    pub(crate) fn checked_now(web: &Web, presented: Presented) -> Result<Arc<Self>, Presented> {
        match presented.only().map(|token| web.sessions().check_now(token)) {
            None => Ok(Self::without_session(web.clone(), presented)),
            Some(None) => Err(presented),
            Some(Some(Ok(Checked::Cached(cached)))) => {
                let found = Progress { session: Holder::Cached(cached), ..Progress::default() };
                Ok(Self::new(web.clone(), presented, false, found))
            }
            Some(Some(Ok(Checked::Read(validation)))) => Ok(Self::decided(web.clone(), presented, Ok(validation))),
            Some(Some(Err(error))) => Ok(Self::decided(web.clone(), presented, Err(error))),
        }
    }

    /// A request whose token is checked here, once.
    pub(crate) async fn checked(web: Web, presented: Presented) -> Arc<Self> {
        let Some(token) = presented.only() else {
            return Self::without_session(web, presented);
        };
        let outcome = web.within(web.sessions().validate(token)).await;
        Self::decided(web, presented, outcome)
    }

    fn decided(web: Web, presented: Presented, outcome: Result<Validation, StoreError>) -> Arc<Self> {
        let progress = Self::progress(&web, &presented, outcome);
        let undecided = progress.is_none();
        Self::new(web, presented, undecided, progress.unwrap_or_default())
    }

    /// What a check comes to; `None` if the store did not answer.
    fn progress(web: &Web, presented: &Presented, outcome: Result<Validation, StoreError>) -> Option<Progress> {
        let has_cookie = presented.cookies > 0;
        match outcome {
            Ok(Validation::Live { session, renewed }) => {
                let expires_at = if renewed && has_cookie { web.sessions().cookie_expires_at(&session) } else { None };
                let cookie = expires_at.map_or(CookieChange::Keep, CookieChange::Extend);
                Some(Progress { session: Holder::Session(session), issued: None, cookie })
            }
            Ok(Validation::Invalid(reason)) => {
                let dead = has_cookie && !has_successor(&reason);
                let cookie = if dead { CookieChange::ClearIfLooked } else { CookieChange::Keep };
                Some(Progress { cookie, ..Progress::default() })
            }
            Err(error) => {
                tracing::error!(target: "hallpass", error = %error, "a session could not be checked; the request has neither a session nor none");
                None
            }
        }
    }

    fn new(web: Web, presented: Presented, undecided: bool, found: Progress) -> Arc<Self> {
        // In its place at once: it is some 300 bytes.
        Arc::new(Self { web, presented, undecided, looked: AtomicBool::new(false), found, changed: OnceLock::new() })
    }

    /// The exchange of a request, if the layer is over it.
    pub(crate) fn of(extensions: &Extensions) -> Option<&Arc<Self>> {
        extensions.get::<Arc<Self>>()
    }

    /// Has the client noted of a session that another program made, of which nobody knows it yet. Where no other program shares the store, and once it is known,
    /// this is a comparison.
    ///
    /// Only of a request that a browser sent itself: what is noted stays, and the server of a front end that asks here with its visitor's cookie is nobody's device.
    pub(crate) fn note_client(&self, headers: &HeaderMap, extensions: &Extensions) {
        let Holder::Session(session) = &self.found.session else { return };
        let sessions = self.web.sessions();
        if sessions.lacks_client(session) && is_from_browser(headers) {
            sessions.note_client(session, &self.web.client(headers, extensions));
        }
    }

    /// The session as of now. Marks the answer as dependent on it.
    pub(crate) fn look(&self) -> Result<Option<Arc<Session>>, Undecided> {
        self.looked.store(true, Ordering::Relaxed);
        if self.undecided {
            return Err(Undecided);
        }
        self.read(|progress| progress.session.session())
    }

    /// As [`Exchange::look`], but not from memory: what may have been accepted from there is read from the store now.
    pub(crate) async fn look_strictly(&self) -> Result<Option<Arc<Session>>, Undecided> {
        let sessions = self.web.sessions();
        let is_somebodys = self.read(|progress| !progress.session.is_nobody());
        let (true, Some(token)) = (is_somebodys, self.presented.only()) else { return self.look() };
        // A token that was made meanwhile is as the store has it.
        if !sessions.is_cached() || self.issued().is_some() {
            return self.look();
        }
        self.looked.store(true, Ordering::Relaxed);
        let strict = sessions.strictly();
        let outcome = self.web.within(strict.validate(token)).await;
        let Some(progress) = Self::progress(&self.web, &self.presented, outcome) else { return Err(Undecided) };
        let mut now = self.change();
        // A verb of this request was first: what it left is newer than what was read.
        if now.issued.is_some() || now.session.is_nobody() {
            return now.session.session();
        }
        now.session = progress.session;
        // The layer's own check may have extended the session a moment ago: its cookie still has to go out.
        if now.session.is_nobody() || !matches!(progress.cookie, CookieChange::Keep) {
            now.cookie = progress.cookie;
        }
        now.session.session()
    }

    /// The token that a verb issued during this request.
    pub(crate) fn issued(&self) -> Option<Arc<Token>> {
        self.read(|progress| progress.issued.clone())
    }

    /// A verb made a new token: it goes into the cookie, and the session is the request's from now on.
    pub(crate) fn took(&self, issued: Issued) -> Arc<Session> {
        let session = Arc::new(issued.session);
        let token = Arc::new(issued.token);
        let expires_at = self.web.sessions().cookie_expires_at(&session);
        let mut progress = self.change();
        progress.session = Holder::Session(Arc::clone(&session));
        progress.issued = Some(Arc::clone(&token));
        progress.cookie = CookieChange::Set(token, expires_at);
        session
    }

    /// The session is over: the cookie goes.
    pub(crate) fn ended(&self) {
        let mut progress = self.change();
        progress.session = Holder::Nobody;
        progress.issued = None;
        // A bearer client has no cookie to remove, unless one was set a moment ago: then its removal is what it gets.
        let has_cookie = self.presented.cookies > 0 || matches!(progress.cookie, CookieChange::Set(..));
        progress.cookie = if has_cookie { CookieChange::Clear } else { CookieChange::Keep };
    }

    /// The request is nobody's from now on. What a verb did to the cookie stays done; only that of a session which nobody is to use is not brought anew.
    pub(crate) fn set_aside(&self) {
        let mut progress = self.change();
        progress.session = Holder::Nobody;
        if matches!(progress.cookie, CookieChange::Extend(_)) {
            progress.cookie = CookieChange::Keep;
        }
    }

    /// Whether the response would bring the request's own token anew, with a later expiry.
    pub(crate) fn extends_cookie(&self) -> bool {
        self.read(|progress| matches!(progress.cookie, CookieChange::Extend(_)))
    }

    /// Leaves the cookie as it is unless its token is still the session's. While this request was busy another one of the same browser may have got a new token, which
    /// the old one must not replace: nobody would hold the new one then. One read, once per `update_age` of a session whose cookie stays.
    pub(crate) async fn confirm_extension(self: Arc<Self>) {
        let Some(token) = self.presented.only() else { return };
        let strict = self.web.sessions().strictly();
        if !matches!(self.web.within(strict.validate(token)).await, Ok(Validation::Live { .. })) {
            let mut now = self.change();
            if matches!(now.cookie, CookieChange::Extend(_)) {
                now.cookie = CookieChange::Keep;
            }
        }
    }

    /// Writes what became of the session into the response.
    pub(crate) fn finish(&self, headers: &mut HeaderMap) {
        let looked = self.looked.load(Ordering::Relaxed);
        let form = self.web.cookie();
        let now = || self.web.sessions().now();
        let cookie = self.read(|progress| match &progress.cookie {
            CookieChange::Keep => None,
            CookieChange::Extend(at) => {
                self.presented.only().and_then(|token| form.set(&token.expose(), Some(*at), now()))
            }
            CookieChange::Set(token, at) => form.set(&token.expose(), *at, now()),
            CookieChange::ClearIfLooked if !looked => None,
            CookieChange::ClearIfLooked | CookieChange::Clear => form.remove(),
        });
        if let Some(cookie) = cookie {
            headers.append(SET_COOKIE, cookie);
            // Unless the application says as much: a shared cache must not hand one user's cookie to another (A26).
            if !is_stored_nowhere(headers) {
                headers.insert(CACHE_CONTROL, NO_STORE);
            }
        } else if looked && !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, NO_STORE);
        } else if looked && !is_stored_nowhere(headers) {
            vary_by_cookie(headers);
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Progress) -> T) -> T {
        match self.changed.get() {
            None => look(&self.found),
            Some(changed) => look(&changed.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    fn change(&self) -> MutexGuard<'_, Progress> {
        let changed = self.changed.get_or_init(|| Box::new(Mutex::new(self.found.clone())));
        changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a refused token was replaced by a newer one that this browser probably holds already: a request that started before a
/// sign-in must not remove the cookie which that sign-in has set.
fn has_successor(reason: &Invalid) -> bool {
    matches!(reason, Invalid::WrongSecret | Invalid::Ended(Ended { reason: EndReason::Replaced, .. }))
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const COOKIE: HeaderValue = HeaderValue::from_static("Cookie");

/// Whether no cache may keep the answer. What is not stored varies by nothing (RFC 9111, sections 4.1 and 5.2.2.5).
fn is_stored_nowhere(headers: &HeaderMap) -> bool {
    headers.get_all(CACHE_CONTROL).iter().any(|value| {
        value.to_str().is_ok_and(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case("no-store")))
    })
}

fn vary_by_cookie(headers: &mut HeaderMap) {
    let names_it = |value: &HeaderValue| {
        value.to_str().is_ok_and(|value| {
            value.split(',').any(|name| name.trim() == "*" || name.trim().eq_ignore_ascii_case("cookie"))
        })
    };
    match headers.entry(VARY) {
        Entry::Vacant(vary) => {
            vary.insert(COOKIE);
        }
        Entry::Occupied(mut vary) => {
            if !vary.iter().any(names_it) {
                vary.append(COOKIE);
            }
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("presented", &self.presented)
            .field("undecided", &self.undecided)
            .finish_non_exhaustive()
    }
}
