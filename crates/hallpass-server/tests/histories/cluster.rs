//! Several nodes on one database, and the test's own sessions on it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hallpass_core::{
    Background, CacheSettings, Class, Clock, Policies, Preset, SessionId, Sessions, SignIn, Store, SystemClock, Token,
    UserId, ValidationMode,
};
use hallpass_mysql::{MysqlOptions, MysqlStore};
use hallpass_postgres::{PostgresOptions, PostgresStore};
use hallpass_redis::{RedisOptions, RedisStore};
use hallpass_sqlite::{SqliteOptions, SqliteStore};
use reqwest::Client;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::book::{Book, Known};
use crate::checker::{Summary, check};
use crate::clock::JumpingClock;
use crate::history::{Answer, History, Request, Revocation, Target, now};
use crate::node::{Node, client};
use crate::random::Random;
use crate::support::{PATIENCE, Place, Server, new_password, record};

/// How long a node may answer from memory, unless a test says otherwise.
pub(crate) const LEASE: Duration = Duration::from_secs(1);
/// Users, each with an account of the servers'.
pub(crate) const USERS: usize = 8;

pub(crate) struct Cluster {
    /// Those under test; the last one is the test's own, which reaches the database whatever happens to the others.
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) own: Sessions,
    pub(crate) users: Vec<UserId>,
    pub(crate) book: Book,
    pub(crate) lease: Duration,
    pub(crate) seed: u64,
    begun: Instant,
    _background: Vec<Background>,
    home: Place,
}

impl Cluster {
    /// A server process for each of these URLs of one database, which the test itself reaches at `own`.
    pub(crate) async fn of_servers(urls: &[String], own: &str, lease: Duration, seed: u64) -> Arc<Self> {
        Self::of_servers_at(urls.iter().map(|url| Place::on(url)).collect(), own, lease, seed).await
    }

    /// The same, at these places.
    pub(crate) async fn of_servers_at(places: Vec<Place>, own: &str, lease: Duration, seed: u64) -> Arc<Self> {
        let begun = Instant::now();
        let (home, users) = home().await;
        let mut nodes = Vec::new();
        for place in places {
            nodes.push(Node::server(serve(&home, place, lease).await));
        }
        let (own, background) = sessions(own, SystemClock, lease).await;
        nodes.push(Node::here(own.clone()));
        Self::of(nodes, own, users, vec![background], (lease, seed, begun), home)
    }

    /// Nodes in this process, each with a store and a clock of its own.
    pub(crate) async fn with_clocks(urls: &[String], own: &str, clocks: &[JumpingClock], seed: u64) -> Arc<Self> {
        let begun = Instant::now();
        let (home, users) = home().await;
        let (own, background) = sessions(own, SystemClock, LEASE).await;
        let (mut nodes, mut backgrounds) = (Vec::new(), vec![background]);
        for (url, clock) in urls.iter().zip(clocks) {
            let (sessions, background) = sessions(url, clock.clone(), LEASE).await;
            nodes.push(Node::here(sessions));
            backgrounds.push(background);
        }
        nodes.push(Node::here(own.clone()));
        Self::of(nodes, own, users, backgrounds, (LEASE, seed, begun), home)
    }

    fn of(
        nodes: Vec<Node>,
        own: Sessions,
        users: Vec<UserId>,
        background: Vec<Background>,
        (lease, seed, begun): (Duration, u64, Instant),
        home: Place,
    ) -> Arc<Self> {
        let nodes = nodes.into_iter().map(Arc::new).collect();
        Arc::new(Self { nodes, own, users, book: Book::default(), lease, seed, begun, _background: background, home })
    }

    /// The number of the test's own node.
    pub(crate) fn own_number(&self) -> usize {
        self.nodes.len() - 1
    }

    /// How long a session is asked for after its end began.
    pub(crate) fn recently(&self) -> Duration {
        self.lease * 5 / 2
    }

    /// Creates a session; whether that was possible.
    pub(crate) async fn sign_in(&self, user: usize) -> bool {
        let begun = now();
        let Ok(issued) = self.own.create(SignIn::new(self.users[user].clone())).await else { return false };
        record(issued.token.expose().as_str());
        let (id, token): (SessionId, Token) = (issued.session.id, issued.token);
        self.book.created(user, id, token, begun);
        true
    }

    /// Asks a node, and writes it down.
    pub(crate) async fn ask(&self, node: usize, client: &Client, known: &Known, strict: bool) -> Request {
        let begun = now();
        let answer = self.nodes[node].ask(client, known, strict).await;
        let request = Request { node, session: known.number, begun, ended: now(), answer, strict };
        self.book.requested(request);
        request
    }

    /// Ends sessions through a node, and writes it down; whether that was acknowledged.
    pub(crate) async fn revoke(
        &self,
        node: usize,
        client: &Client,
        target: Target,
        (caller, named): (&Known, &Known),
        waited: bool,
    ) -> bool {
        let begun = self.book.begins_to_end(target);
        let user = &self.users[named.user];
        let is_acknowledged = self.nodes[node].revoke(client, (target, user), (caller, named), waited).await;
        let acknowledged = is_acknowledged.then(now);
        self.book.revoked(Revocation { node, target, begun, acknowledged, waited });
        is_acknowledged
    }

    /// Starts another process in the place of one that ended.
    pub(crate) async fn serve_again(&self, node: usize, place: Place) {
        self.nodes[node].runs(serve(&self.home, place, self.lease).await);
    }

    /// Until each node answers from memory again, and revocations are acknowledged.
    pub(crate) async fn all_work(&self, when: &str) {
        let since = now();
        for node in 0..self.nodes.len() {
            self.works(node, when).await;
        }
        self.acknowledges(since, 3, when).await;
    }

    /// Until the node accepts, and from memory.
    pub(crate) async fn works(&self, node: usize, when: &str) {
        let (begun, mut random, before) = (Instant::now(), Random::seeded(self.seed), self.nodes[node].hits().await);
        let mut accepted = 0;
        loop {
            if let Some(known) = self.book.any(&mut random, self.recently()) {
                let request = self.ask(node, &client(), &known, false).await;
                accepted += usize::from(request.answer == Answer::Accepted);
            }
            if accepted >= 3 && self.nodes[node].hits().await >= before + 10 {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{when}: node {node} does not answer from memory, {accepted} accepted");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Until so many revocations were acknowledged.
    pub(crate) async fn acknowledges(&self, since: Duration, count: usize, when: &str) {
        let begun = Instant::now();
        while self.book.acknowledged_since(since) < count {
            assert!(begun.elapsed() < PATIENCE, "{when}: no revocation is acknowledged");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Until enough was revoked for the history to show something.
    pub(crate) async fn has_enough(&self) {
        let begun = Instant::now();
        loop {
            let (all, waited) = self.book.acknowledged();
            if all >= 30 && waited >= 2 {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{all} revocations, {waited} of which waited");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Looks through the history, prints a line about it, and fails unless it shows something.
    pub(crate) async fn judge(&self, name: &str) -> History {
        let history = self.book.history();
        let summary = match check(&history, self.lease) {
            Ok(summary) => summary,
            Err(violations) => {
                let first: Vec<_> = violations.iter().take(20).collect();
                let story = history.story_of(violations[0].request.session);
                panic!(
                    "{name}, seed {}: {} violations, the first of them {first:#?}\n{story}",
                    self.seed,
                    violations.len()
                );
            }
        };
        let mut hits = 0;
        for node in &self.nodes {
            hits += node.hits().await;
        }
        println!(
            "{name}, seed {}, {:.1} s: {summary}; {hits} answers from memory",
            self.seed,
            self.begun.elapsed().as_secs_f64()
        );
        let Summary { accepted, refused, revocations, waited, observed, .. } = summary;
        assert!(accepted >= 300 && refused >= 50, "{name}: too few requests: {summary}");
        assert!(revocations >= 25 && waited >= 1 && observed >= 15, "{name}: too few revocations: {summary}");
        assert!(hits >= 150, "{name}: too few answers from memory: {hits}");
        history
    }
}

/// A server of the cluster. Its accounts lie in a file of the cluster's, which is always there: what cannot be reached is the database of the sessions.
async fn serve(home: &Place, place: Place, lease: Duration) -> Server {
    let accounts = format!("sqlite:{}", home.path().join("accounts.db").display());
    place
        .serve_with(|command| {
            command
                .env("HALLPASS_ACCOUNTS_URL", accounts)
                .env("HALLPASS_VALIDATION", "cached")
                .env("HALLPASS_CACHE_LEASE", format!("{}s", lease.as_secs()))
                .env("HALLPASS_POLICY_WEB_MAX_PER_USER", "none")
                .env("HALLPASS_LOG", "warn");
        })
        .await
}

/// The accounts, made once for all clusters.
static ACCOUNTS: OnceCell<(Place, Vec<UserId>)> = OnceCell::const_new();

/// A directory with the accounts' database in it; and their names.
async fn home() -> (Place, Vec<UserId>) {
    let (made, users) = ACCOUNTS
        .get_or_init(|| async {
            let place = Place::on("sqlite:hallpass.db");
            let password = new_password();
            let user = |n| UserId::new(place.add_user(&format!("user-{n}@example.org"), &password)).unwrap();
            let users = (0..USERS).map(user).collect();
            (place, users)
        })
        .await;
    let home = Place::new();
    // With what still lies in the journal.
    let accounts = rusqlite::Connection::open(made.database()).unwrap();
    let copy = home.path().join("accounts.db").display().to_string();
    accounts.execute("VACUUM INTO ?1", [copy]).unwrap();
    (home, users.clone())
}

/// Sessions in this process, as a server of the cluster makes them, and the tasks that belong to them.
async fn sessions(url: &str, clock: impl Clock, lease: Duration) -> (Sessions, Background) {
    let policies = Policies::preset(Preset::Default);
    let mut web = policies.of(&Class::WEB).clone();
    web.max_per_user = None;
    let mut cache = CacheSettings::default();
    cache.lease = lease;
    cache.poll = lease / 4;
    let sessions = Sessions::builder(open(url).await)
        .policies(policies.with(Class::WEB, web).unwrap())
        .clock(clock)
        .validation(ValidationMode::Cached(cache))
        .build()
        .unwrap();
    let background = sessions.start_background();
    (sessions, background)
}

async fn open(url: &str) -> Arc<dyn Store> {
    let (scheme, rest) = url.split_once(':').unwrap();
    match scheme {
        "sqlite" => Arc::new(SqliteStore::open(PathBuf::from(rest), SqliteOptions::default()).await.unwrap()),
        "postgres" | "postgresql" => Arc::new(PostgresStore::connect(url, PostgresOptions::default()).await.unwrap()),
        "mysql" | "mariadb" => Arc::new(MysqlStore::connect(url, MysqlOptions::default()).await.unwrap()),
        "redis" | "redis+cluster" => {
            let (server, parameters) = url.split_once('?').unwrap_or((url, ""));
            let mut options = RedisOptions::default();
            for (name, value) in url::form_urlencoded::parse(parameters.as_bytes()) {
                match &*name {
                    "prefix" => options.prefix = value.into_owned(),
                    "wait-replicas" => options.replicas_to_wait_for = value.parse().unwrap(),
                    other => panic!("Redis is not told {other}"),
                }
            }
            Arc::new(RedisStore::open(server, options).await.unwrap())
        }
        other => panic!("no engine is called {other}"),
    }
}
