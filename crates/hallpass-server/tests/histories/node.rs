//! A node: a server process, asked over HTTP, or sessions in the test's own process.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use hallpass_core::{Actor, EndReason, Sessions, UserId, Validation};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::book::Known;
use crate::history::{Answer, Target};
use crate::support::{PATIENCE, Server, now_ms};

/// How long a request may take. A store that is away makes a node wait for longer.
pub(crate) const REQUEST: Duration = Duration::from_secs(1);
/// How long a revocation may take, its wait included.
const REVOCATION: Duration = Duration::from_secs(8);

/// A client with connections of its own, so that nobody waits for what another one has asked a node that stands still.
pub(crate) fn client() -> Client {
    Client::builder().timeout(REQUEST).build().unwrap()
}

enum Place {
    /// `None` between its end and its next start.
    Server(Mutex<Option<Server>>),
    Here(Sessions),
}

pub(crate) struct Node {
    place: Place,
    /// Whether revocations may be sent here.
    pub(crate) may_revoke: AtomicBool,
    /// Revocations that are under way.
    revoking: AtomicUsize,
    /// What earlier processes of this node have answered from memory.
    hits_before: AtomicU64,
}

impl Node {
    pub(crate) fn server(server: Server) -> Self {
        Self::of(Place::Server(Mutex::new(Some(server))))
    }

    pub(crate) fn here(sessions: Sessions) -> Self {
        Self::of(Place::Here(sessions))
    }

    fn of(place: Place) -> Self {
        let (may_revoke, revoking) = (AtomicBool::new(true), AtomicUsize::new(0));
        Self { place, may_revoke, revoking, hits_before: AtomicU64::new(0) }
    }

    fn process(&self) -> MutexGuard<'_, Option<Server>> {
        match &self.place {
            Place::Server(server) => server.lock().unwrap(),
            Place::Here(_) => panic!("this node is no process"),
        }
    }

    fn origin(&self) -> Option<String> {
        self.process().as_ref().map(|server| server.origin.clone())
    }

    /// Asks for a session; strictly, with one of the routes that read the store whatever the mode.
    pub(crate) async fn ask(&self, client: &Client, known: &Known, strict: bool) -> Answer {
        match &self.place {
            Place::Here(sessions) => {
                let sessions = if strict { sessions.strictly() } else { sessions.clone() };
                match timeout(REQUEST, sessions.validate(&known.token)).await {
                    Ok(Ok(Validation::Live { .. })) => Answer::Accepted,
                    Ok(Ok(Validation::Invalid(_))) => Answer::Refused,
                    Ok(Err(_)) => Answer::Unavailable,
                    Err(_) => Answer::Unknown,
                }
            }
            Place::Server(_) => {
                let path = if strict { "/api/sessions" } else { "/api/auth/session" };
                let Some(origin) = self.origin() else { return Answer::Unknown };
                let Some((status, body)) = send(client.get(format!("{origin}{path}")), known).await else {
                    return Answer::Unknown;
                };
                match (status, strict) {
                    (503, _) => Answer::Unavailable,
                    (401, true) => Answer::Refused,
                    (200, false) if body.is_null() => Answer::Refused,
                    (200, _) => Answer::Accepted,
                    _ => panic!("{path}: {status} {body}"),
                }
            }
        }
    }

    /// Ends sessions; whether that was acknowledged. Over HTTP `caller`, a live session of the user's, asks for it: servers end no users.
    pub(crate) async fn revoke(
        &self,
        client: &Client,
        (target, user): (Target, &UserId),
        (caller, named): (&Known, &Known),
        waits: bool,
    ) -> bool {
        self.revoking.fetch_add(1, Ordering::SeqCst);
        let revoking = async {
            match &self.place {
                Place::Here(sessions) => {
                    let sessions = if waits { sessions.waiting() } else { sessions.clone() };
                    let by = Actor::user(user);
                    match target {
                        Target::Session(_) => {
                            sessions.revoke(named.id, Some(user), &by, EndReason::Revoked).await.is_ok()
                        }
                        Target::User(_) => sessions.revoke_user(user, &by, EndReason::RevokedUser).await.is_ok(),
                        Target::Others { .. } => match sessions.show(caller.id).await {
                            Ok(Some(keep)) => {
                                let revoked = sessions.revoke_others(&keep, &by, EndReason::RevokedOthers).await;
                                revoked.is_ok_and(|revoked| revoked.ended.is_some())
                            }
                            _ => false,
                        },
                    }
                }
                Place::Server(_) => {
                    let Some(origin) = self.origin() else { return false };
                    let body = match target {
                        Target::Others { .. } => json!({ "all": true }),
                        _ if caller.number == named.number => json!({ "sessionToken": named.token.expose().as_str() }),
                        _ => json!({ "sessionToken": named.id.to_string() }),
                    };
                    let request =
                        client.delete(format!("{origin}/api/sessions")).header("sec-fetch-site", "same-origin");
                    matches!(send(request.json(&body), caller).await, Some((200, _)))
                }
            }
        };
        let is_acknowledged = timeout(REVOCATION, revoking).await.unwrap_or(false);
        self.revoking.fetch_sub(1, Ordering::SeqCst);
        is_acknowledged
    }

    /// Sends no more revocations here, and waits for those that are under way: they may hold locks in the database.
    pub(crate) async fn revokes_nothing(&self) {
        self.may_revoke.store(false, Ordering::SeqCst);
        let begun = tokio::time::Instant::now();
        while self.revoking.load(Ordering::SeqCst) > 0 {
            assert!(begun.elapsed() < PATIENCE, "a revocation hangs");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// SIGSTOP, until it is continued.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
        let begun = tokio::time::Instant::now();
        while self.state() != 'T' {
            assert!(begun.elapsed() < PATIENCE, "it does not stand still");
        }
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    /// As the kernel knows it: `T` is stopped.
    pub(crate) fn state(&self) -> char {
        let process = self.process();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_ref().unwrap().pid())).unwrap();
        stat.rsplit(") ").next().unwrap().chars().next().unwrap()
    }

    fn signal(&self, signal: &str) {
        self.process().as_ref().unwrap().signal(signal);
    }

    /// kill -9. What it was, to start it again by [`Node::runs`].
    pub(crate) async fn kill(&self) -> crate::support::Place {
        self.hits_before.store(self.hits().await, Ordering::SeqCst);
        let server = self.process().take().unwrap();
        server.kill()
    }

    /// From now on this process is the node.
    pub(crate) fn runs(&self, server: Server) {
        *self.process() = Some(server);
    }

    /// Waits until it may answer from memory for at least so long.
    pub(crate) async fn has_a_lease(&self, at_least: Duration) {
        let begun = tokio::time::Instant::now();
        while u128::from(self.validation().await["leaseLeftMs"].as_u64().unwrap()) < at_least.as_millis() {
            assert!(begun.elapsed() < PATIENCE, "it gets no lease");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Checks that were answered from memory.
    pub(crate) async fn hits(&self) -> u64 {
        let now = match &self.place {
            Place::Here(sessions) => sessions.cache_status().unwrap().hits,
            Place::Server(_) => self.validation().await["hits"].as_u64().unwrap(),
        };
        self.hits_before.load(Ordering::SeqCst) + now
    }

    /// How often a server has forgotten everything.
    pub(crate) async fn flushes(&self) -> u64 {
        self.validation().await["flushes"].as_u64().unwrap()
    }

    /// How often a hint had a server read the log.
    pub(crate) async fn hints(&self) -> u64 {
        self.validation().await["hints"].as_u64().unwrap()
    }

    /// Waits until a server's answers show that its wall clock is so many milliseconds ahead: it says when it read the log last.
    pub(crate) async fn shows_clock(&self, offset: i64) {
        let begun = tokio::time::Instant::now();
        loop {
            let at = self.health().await["background"]["follow"]["lastSuccess"].clone();
            let at: Option<jiff::Timestamp> = at.as_str().and_then(|at| at.parse().ok());
            if at.is_some_and(|at| (at.as_millisecond() - now_ms() - offset).abs() < 1_500) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "its clock is not {offset} ms ahead: it read the log at {at:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What a server says of its memory.
    async fn validation(&self) -> Value {
        self.health().await["validation"].clone()
    }

    async fn health(&self) -> Value {
        let origin = self.origin().unwrap();
        let request = Client::builder().timeout(PATIENCE).build().unwrap().get(format!("{origin}/healthz"));
        request.send().await.unwrap().json().await.unwrap()
    }
}

/// With the cookie of this session. `None` without an answer.
async fn send(request: RequestBuilder, known: &Known) -> Option<(u16, Value)> {
    let response = request.header("cookie", format!("session={}", known.token.expose().as_str())).send().await.ok()?;
    let status = response.status().as_u16();
    // An answer that breaks off is none, whatever its beginning said.
    let body = response.text().await.ok()?;
    Some((status, serde_json::from_str(&body).unwrap_or_default()))
}
