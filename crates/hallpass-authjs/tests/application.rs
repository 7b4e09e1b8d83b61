//! hallpass and the application on one database at once, on the tables of every adapter. The application is SQL here, as its adapter would send it; `tests/authjs` has the
//! adapters themselves.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Application, DAY, options};
use hallpass_authjs::{AuthjsStore, Engine};
use hallpass_core::store::{Filter, Page, Renewal, Renewed, SharedTokens as _};
use hallpass_core::{
    Actor, CacheSettings, EndReason, Invalid, ManualClock, Pepper, Sessions, SignIn, State, Store, StoreError,
    SweepSettings, Timestamp, Token, UserId, Validation, ValidationMode,
};

/// Whole seconds, which every layout keeps.
const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

const LAYOUTS: [&str; 13] = [
    "drizzle.mysql",
    "drizzle.postgres",
    "drizzle.sqlite",
    "kysely.mysql",
    "kysely.postgres",
    "kysely.sqlite",
    "pg_adapter.postgres",
    "prisma.mysql",
    "prisma.postgres",
    "prisma.sqlite",
    "prisma_classic.mysql",
    "prisma_classic.postgres",
    "prisma_classic.sqlite",
];

/// Both sides of one database.
struct Shared {
    layout: &'static str,
    application: Application,
    store: Arc<AuthjsStore>,
    sessions: Sessions,
    clock: ManualClock,
    hashes: bool,
}

impl Shared {
    async fn new(layout: &'static str, hashes: bool) -> Self {
        let application = Application::new(layout).await;
        let store = Arc::new(application.store(options(hashes)).await);
        let clock = ManualClock::at(NOW);
        let sweep = SweepSettings { expired_grace: Duration::ZERO, ..SweepSettings::default() };
        let builder = Sessions::builder(Arc::clone(&store) as Arc<dyn Store>).clock(clock.clone()).sweep(sweep);
        let sessions = builder.build().unwrap();
        let shared = Self { layout, application, store, sessions, clock, hashes };
        for id in [shared.alice(), shared.bob()] {
            let mut columns = vec![("id", format!("'{id}'")), ("email", format!("'{id}@example.test'"))];
            if shared.layout.starts_with("prisma.") {
                columns.push(("updatedAt", shared.moment(NOW)));
            }
            shared.insert(&shared.store.layout().users, &columns).await;
        }
        shared
    }

    /// An id as the layout has them.
    fn alice(&self) -> UserId {
        UserId::new(match self.layout {
            "pg_adapter.postgres" => "41",
            "kysely.postgres" => "5f0c9a52-8f0e-4f7e-9c40-3c9a4e8c1d6b",
            _ => "alice",
        })
        .unwrap()
    }

    fn bob(&self) -> UserId {
        UserId::new(match self.layout {
            "pg_adapter.postgres" => "42",
            "kysely.postgres" => "6f0c9a52-8f0e-4f7e-9c40-3c9a4e8c1d6b",
            _ => "bob",
        })
        .unwrap()
    }

    /// A moment as the adapter writes it.
    fn moment(&self, at: Timestamp) -> String {
        let seconds = at.as_millis() / 1000;
        match (self.application.engine, self.layout) {
            (Engine::Sqlite, "drizzle.sqlite") => at.as_millis().to_string(),
            (Engine::Sqlite, layout) => {
                let utc = if layout == "kysely.sqlite" { "Z" } else { "+00:00" };
                format!("strftime('%Y-%m-%dT%H:%M:%S', {seconds}, 'unixepoch') || '.000{utc}'")
            }
            (Engine::Postgres, "kysely.postgres" | "pg_adapter.postgres") => format!("to_timestamp({seconds})"),
            (Engine::Postgres, _) => format!("to_timestamp({seconds}) AT TIME ZONE 'UTC'"),
            _ => format!("TIMESTAMP '1970-01-01 00:00:00' + INTERVAL {seconds} SECOND"),
        }
    }

    async fn insert(&self, table: &str, columns: &[(&str, String)]) {
        let names: Vec<String> = columns.iter().map(|(name, _)| self.application.q(name)).collect();
        let values: Vec<&str> = columns.iter().map(|(_, value)| value.as_str()).collect();
        let sql =
            format!("INSERT INTO {} ({}) VALUES ({})", self.application.q(table), names.join(", "), values.join(", "));
        self.application.run(&sql).await;
    }

    /// As the table holds a token.
    fn key(&self, token: &str) -> String {
        if self.hashes {
            let digest = Token::parse(token.as_bytes()).or_else(|_| Token::parse_foreign(token.as_bytes())).unwrap();
            digest.digest().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
        } else {
            token.to_owned()
        }
    }

    /// What an adapter's `createSession` does.
    async fn application_signs_in(&self, token: &str, user: &UserId, expires: Timestamp) -> Token {
        let mut columns = vec![
            ("sessionToken", format!("'{}'", self.key(token))),
            ("userId", format!("'{user}'")),
            ("expires", self.moment(expires)),
        ];
        let fills_id = self.layout.starts_with("prisma") && self.layout != "prisma.postgres";
        if fills_id {
            columns.push(("id", format!("'c{}'", &self.key(token)[..23])));
        }
        if self.layout.starts_with("prisma.") {
            columns.push(("createdAt", self.moment(self.clock_now())));
            columns.push(("updatedAt", self.moment(self.clock_now())));
        }
        self.insert(&self.store.layout().sessions, &columns).await;
        self.sessions.parse(token.as_bytes()).unwrap()
    }

    fn clock_now(&self) -> Timestamp {
        use hallpass_core::Clock as _;
        self.clock.now()
    }

    fn table(&self) -> String {
        self.application.q(&self.store.layout().sessions)
    }

    fn is(&self, token: &str) -> String {
        format!("{} = '{}'", self.application.q("sessionToken"), self.key(token))
    }

    /// What an adapter's `deleteSession` does.
    async fn application_signs_out(&self, token: &str) {
        let sql = format!("DELETE FROM {} WHERE {}", self.table(), self.is(token));
        assert_eq!(self.application.run(&sql).await, 1, "{}: {sql}", self.layout);
    }

    /// What an adapter's `deleteUser` does, the ones without a cascade by themselves.
    async fn application_deletes(&self, who: &UserId) {
        let (table, users) = (self.table(), self.application.q(&self.store.layout().users));
        let (user, id) = (self.application.q("userId"), self.application.q("id"));
        if matches!(self.layout, "pg_adapter.postgres" | "prisma.mysql") {
            self.application.run(&format!("DELETE FROM {table} WHERE {user} = '{who}'")).await;
        }
        self.application.run(&format!("DELETE FROM {users} WHERE {id} = '{who}'")).await;
    }

    /// What an adapter's `updateSession` does.
    async fn application_extends(&self, token: &str, expires: Timestamp) -> u64 {
        let (column, moment) = (self.application.q("expires"), self.moment(expires));
        self.application.run(&format!("UPDATE {} SET {column} = {moment} WHERE {}", self.table(), self.is(token))).await
    }

    /// The rows that an adapter would find for a token.
    async fn rows(&self, token: &str) -> usize {
        let sql = format!("SELECT {} FROM {} WHERE {}", self.application.q("userId"), self.table(), self.is(token));
        self.application.texts(&sql).await.len()
    }

    async fn validate(&self, token: &Token) -> Validation {
        self.sessions.validate(token).await.unwrap()
    }

    async fn live(&self, token: &Token) -> Arc<hallpass_core::Session> {
        match self.validate(token).await {
            Validation::Live { session, .. } => session,
            Validation::Invalid(why) => panic!("{}: {why}", self.layout),
        }
    }

    async fn listed(&self, user: &UserId) -> Vec<hallpass_core::Session> {
        let filter = Filter { user: Some(user.clone()), ..Filter::default() };
        self.sessions.list(&filter, Page::first(100)).await.unwrap().sessions
    }
}

const UUID: &str = "0d6c7d2e-52b6-4f1c-8e55-1f2d3c4b5a69";
const OTHER: &str = "1e6c7d2e-52b6-4f1c-8e55-1f2d3c4b5a70";

/// Runs a case on every layout, with tokens as they are and as digests.
macro_rules! on_every_layout {
    ($($name:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            for layout in LAYOUTS {
                for hashes in [false, true] {
                    cases::$name(Shared::new(layout, hashes).await).await;
                }
            }
        }
    )*};
}

#[path = "application/clients.rs"]
mod clients;
#[path = "application/gone.rs"]
mod gone;
#[path = "application/side.rs"]
mod side;

on_every_layout! {
    a_session_of_the_application_is_accepted_listed_and_ended
    a_session_of_hallpass_is_a_row_that_the_application_reads
    each_side_sees_what_the_other_extends
    a06_nothing_revives_what_the_other_side_ended
    sweeping_deletes_the_expired_of_both_sides_and_keeps_the_living
    others_are_ended_whoever_made_them
    the_application_deletes_a_user
    a_session_is_not_fresh_because_it_was_extended
}

mod cases {
    use super::*;

    pub(super) async fn a_session_of_the_application_is_accepted_listed_and_ended(shared: Shared) {
        let (alice, at) = (shared.alice(), shared.layout);
        let token = shared.application_signs_in(UUID, &alice, NOW.plus(30 * DAY)).await;
        let session = shared.live(&token).await;
        assert_eq!((&session.user, session.idle_expires_at), (&alice, NOW.plus(30 * DAY)), "{at}");
        assert_eq!(session.authentication.source, "authjs", "{at}");
        assert_eq!(shared.live(&token).await.id, session.id, "{at}: the id stays");
        // One that hallpass has not seen shows up, too.
        shared.application_signs_in(OTHER, &alice, NOW.plus(20 * DAY)).await;
        let listed = shared.listed(&alice).await;
        assert_eq!(listed.len(), 2, "{at}");
        assert!(listed.iter().any(|listed| listed.id == session.id), "{at}");
        assert!(shared.listed(&shared.bob()).await.is_empty(), "{at}");

        let by = Actor::user(&shared.bob());
        let foreign = shared.sessions.revoke(session.id, Some(&shared.bob()), &by, EndReason::Revoked).await.unwrap();
        assert_eq!((foreign, shared.rows(UUID).await), (0, 1), "{at}: a foreign session stays");
        let ended = shared.sessions.revoke(session.id, Some(&alice), &Actor::user(&alice), EndReason::Revoked).await;
        assert_eq!((ended.unwrap(), shared.rows(UUID).await), (1, 0), "{at}: the row is gone");
        assert!(matches!(shared.validate(&token).await, Validation::Invalid(Invalid::Ended(_))), "{at}");
        let shown = shared.sessions.show(session.id).await.unwrap().unwrap();
        assert!(matches!(shown.state, State::Ended(ended) if ended.reason == EndReason::Revoked), "{at}");
        assert_eq!(shared.rows(OTHER).await, 1, "{at}");
    }

    pub(super) async fn a_session_of_hallpass_is_a_row_that_the_application_reads(shared: Shared) {
        let at = shared.layout;
        let issued = shared.sessions.create(SignIn::new(shared.alice())).await.unwrap();
        let text = issued.token.expose();
        assert_eq!(shared.rows(text.as_str()).await, 1, "{at}");
        let (table, expires, moment) =
            (shared.table(), shared.application.q("expires"), shared.moment(NOW.plus(30 * DAY)));
        let sql = format!("SELECT CASE WHEN {expires} = {moment} THEN 1 ELSE 0 END FROM {table}");
        assert_eq!(shared.application.texts(&sql).await, ["1"], "{at}: the moment as the adapter writes it");
        // Its secret is in no table of either side, where digests are kept.
        let kept = format!("SELECT {} FROM {table}", shared.application.q("sessionToken"));
        let kept = shared.application.texts(&kept).await;
        assert_eq!(kept == [text.as_str()], !shared.hashes, "{at}");
        // A new secret for it is a new token in the same row.
        let rotated = shared.sessions.rotate(&issued.token).await.unwrap();
        assert_eq!(shared.rows(text.as_str()).await, 0, "{at}");
        assert_eq!(shared.rows(rotated.token.expose().as_str()).await, 1, "{at}");
        assert_eq!(shared.live(&rotated.token).await.id, issued.session.id, "{at}");
        assert!(matches!(shared.validate(&issued.token).await, Validation::Invalid(_)), "{at}");

        let nobody = UserId::new(if at == "kysely.postgres" { "7f0c9a52-8f0e-4f7e-9c40-3c9a4e8c1d6b" } else { "43" });
        for unknown in [nobody.unwrap(), UserId::new("no such user").unwrap()] {
            let refused = shared.sessions.create(SignIn::new(unknown)).await.unwrap_err().to_string();
            assert!(refused.contains("make the user first"), "{at}: {refused}");
        }
    }

    pub(super) async fn each_side_sees_what_the_other_extends(shared: Shared) {
        let at = shared.layout;
        let token = shared.application_signs_in(UUID, &shared.alice(), NOW.plus(30 * DAY)).await;
        let first = shared.live(&token).await;
        // Not due: nothing is written.
        shared.clock.advance(DAY / 2);
        let early = shared.validate(&token).await;
        assert!(matches!(early, Validation::Live { renewed: false, .. }), "{at}");
        shared.clock.advance(DAY);
        let due = shared.validate(&token).await;
        assert!(matches!(due, Validation::Live { renewed: true, .. }), "{at}");
        let (expires, moment) = (shared.application.q("expires"), shared.moment(NOW.plus(30 * DAY + DAY + DAY / 2)));
        let sql = format!("SELECT CASE WHEN {expires} = {moment} THEN 1 ELSE 0 END FROM {}", shared.table());
        assert_eq!(shared.application.texts(&sql).await, ["1"], "{at}: hallpass extended the row");
        // Long after hallpass has seen it last, the application has extended it.
        shared.clock.advance(29 * DAY);
        assert_eq!(shared.application_extends(UUID, shared.clock_now().plus(30 * DAY)).await, 1, "{at}");
        shared.clock.advance(DAY / 4);
        let extended = shared.validate(&token).await;
        let Validation::Live { session, renewed: false } = extended else { panic!("{at}: {extended:?}") };
        assert_eq!(session.id, first.id, "{at}");
        assert_eq!(session.idle_expires_at, NOW.plus(30 * DAY + 29 * DAY + DAY + DAY / 2), "{at}");
        // Nobody extends it any more.
        shared.clock.set(session.idle_expires_at);
        assert!(matches!(shared.validate(&token).await, Validation::Invalid(Invalid::IdleTimeout)), "{at}");
    }

    pub(super) async fn a06_nothing_revives_what_the_other_side_ended(shared: Shared) {
        let at = shared.layout;
        let token = shared.application_signs_in(UUID, &shared.alice(), NOW.plus(30 * DAY)).await;
        let session = shared.live(&token).await;
        shared.clock.advance(2 * DAY);
        let now = shared.clock_now();
        // Between hallpass's reading and its extension the application signs out.
        let renewal = Renewal {
            id: session.id,
            token_hash: token.digest(),
            now,
            due_before: now,
            idle_expires_at: now.plus(30 * DAY),
        };
        shared.application_signs_out(UUID).await;
        assert_eq!(shared.store.renew(&renewal).await.unwrap(), Renewed::Gone, "{at}");
        assert_eq!(shared.rows(UUID).await, 0, "{at}");
        assert!(shared.sessions.rotate(&token).await.is_err(), "{at}");
        assert!(matches!(shared.validate(&token).await, Validation::Invalid(_)), "{at}");
        let by = Actor::user(&shared.alice());
        assert_eq!(shared.sessions.revoke(session.id, None, &by, EndReason::Revoked).await.unwrap(), 0, "{at}");

        // Between the application's reading and its extension hallpass ends the session.
        let issued = shared.sessions.create(SignIn::new(shared.alice())).await.unwrap();
        let text = issued.token.expose();
        assert!(shared.sessions.end(&issued.token).await.unwrap(), "{at}");
        assert_eq!(shared.application_extends(text.as_str(), now.plus(30 * DAY)).await, 0, "{at}");
        assert!(matches!(shared.validate(&issued.token).await, Validation::Invalid(Invalid::Ended(_))), "{at}");
        // Even where the application makes the row anew, what hallpass has ended stays ended for it.
        shared.application_signs_in(text.as_str(), &shared.alice(), now.plus(30 * DAY)).await;
        assert!(matches!(shared.validate(&issued.token).await, Validation::Invalid(Invalid::Ended(_))), "{at}");
    }

    pub(super) async fn sweeping_deletes_the_expired_of_both_sides_and_keeps_the_living(shared: Shared) {
        let at = shared.layout;
        let mut tokens = Vec::new();
        for (number, days) in [1_u32, 2, 29, 30].into_iter().enumerate() {
            let text = format!("{number}{}", &UUID[1..]);
            tokens.push(shared.application_signs_in(&text, &shared.alice(), NOW.plus(days * DAY)).await);
        }
        // A check would extend it.
        let listed = shared.listed(&shared.alice()).await;
        let seen = listed.iter().find(|session| session.idle_expires_at == NOW.plus(DAY)).unwrap();
        let issued = shared.sessions.create(SignIn::new(shared.bob())).await.unwrap();
        let signed_out = shared.sessions.create(SignIn::new(shared.bob())).await.unwrap();
        shared.application_signs_out(signed_out.token.expose().as_str()).await;
        // A moment before the third expires.
        shared.clock.set(NOW.plus(29 * DAY).minus(Duration::from_secs(1)));
        assert_eq!(shared.sessions.sweepable().await.unwrap(), 2, "{at}");
        let swept = shared.sessions.sweep(|_| {}).await.unwrap();
        assert_eq!((swept.expired, swept.ended), (2, 0), "{at}");
        let left = format!("SELECT {} FROM {}", shared.application.q("userId"), shared.table());
        assert_eq!(shared.application.texts(&left).await.len(), 3, "{at}");
        assert!(shared.sessions.show(seen.id).await.unwrap().is_none(), "{at}: ours went with it");
        assert!(matches!(shared.validate(&tokens[3]).await, Validation::Live { .. }), "{at}");
        assert!(matches!(shared.validate(&issued.token).await, Validation::Live { .. }), "{at}");
        // Who signed out at the application has a history here.
        let shown = shared.sessions.show(signed_out.session.id).await.unwrap().unwrap();
        assert!(matches!(shown.state, State::Ended(ended) if ended.by == Actor::system("authjs")), "{at}");
        shared.clock.advance(45 * DAY);
        let swept = shared.sessions.sweep(|_| {}).await.unwrap();
        assert_eq!(swept.ended, 1, "{at}: after its retention it leaves");
    }

    pub(super) async fn others_are_ended_whoever_made_them(shared: Shared) {
        let at = shared.layout;
        let token = shared.application_signs_in(UUID, &shared.alice(), NOW.plus(30 * DAY)).await;
        shared.application_signs_in(OTHER, &shared.alice(), NOW.plus(30 * DAY)).await;
        let issued = shared.sessions.create(SignIn::new(shared.alice())).await.unwrap();
        let bobs = shared.sessions.create(SignIn::new(shared.bob())).await.unwrap();
        let current = shared.live(&token).await;
        let by = Actor::user(&shared.alice());
        let others = shared.sessions.revoke_others(&current, &by, EndReason::RevokedOthers).await.unwrap();
        assert_eq!(others.ended, Some(2), "{at}");
        assert_eq!((shared.rows(UUID).await, shared.rows(OTHER).await), (1, 0), "{at}");
        assert_eq!(shared.rows(issued.token.expose().as_str()).await, 0, "{at}");
        assert_eq!(shared.live(&token).await.id, current.id, "{at}");
        shared.live(&bobs.token).await;
        let all = shared.sessions.revoke_user(&shared.alice(), &by, EndReason::RevokedUser).await.unwrap();
        assert_eq!((all.ended, shared.rows(UUID).await), (Some(1), 0), "{at}");
        shared.live(&bobs.token).await;
        shared.sessions.revoke_everyone(&Actor::operator("root")).await.unwrap();
        assert_eq!(shared.rows(bobs.token.expose().as_str()).await, 0, "{at}");
    }

    pub(super) async fn the_application_deletes_a_user(shared: Shared) {
        let at = shared.layout;
        let issued = shared.sessions.create(SignIn::new(shared.alice())).await.unwrap();
        shared.application_deletes(&shared.alice()).await;
        assert!(matches!(shared.validate(&issued.token).await, Validation::Invalid(_)), "{at}");
        assert!(shared.listed(&shared.alice()).await.is_empty(), "{at}");
    }

    pub(super) async fn a_session_is_not_fresh_because_it_was_extended(shared: Shared) {
        let at = shared.layout;
        // Made twenty days ago, extended now.
        shared.clock.set(NOW.minus(20 * DAY));
        let token = shared.application_signs_in(UUID, &shared.alice(), NOW.plus(10 * DAY)).await;
        shared.clock.set(NOW);
        shared.application_extends(UUID, NOW.plus(30 * DAY)).await;
        let session = shared.live(&token).await;
        assert!(!session.is_fresh_at(NOW, DAY), "{at}: {:?}", session.authenticated_at);
        if at.starts_with("prisma.") {
            assert_eq!(session.created_at, NOW.minus(20 * DAY), "{at}: the table says when");
        }
    }
}

/// Both forms in one table, as an application has them that changed its driver: an integer is less than every text to SQLite.
#[tokio::test]
async fn a_table_with_both_forms_of_time_is_swept_of_exactly_the_expired() {
    for layout in ["prisma.sqlite", "drizzle.sqlite", "kysely.sqlite"] {
        let shared = Shared::new(layout, false).await;
        let mut living = Vec::new();
        let forms = |at: Timestamp| {
            let seconds = at.as_millis() / 1000;
            [
                at.as_millis().to_string(),
                format!("strftime('%Y-%m-%dT%H:%M:%S', {seconds}, 'unixepoch') || '.000+00:00'"),
                format!("strftime('%Y-%m-%dT%H:%M:%S', {seconds}, 'unixepoch') || '.000Z'"),
                format!("strftime('%Y-%m-%d %H:%M:%S', {seconds}, 'unixepoch')"),
            ]
        };
        for (place, at) in
            [NOW.minus(DAY), NOW.minus(Duration::from_millis(1000)), NOW.plus(30 * DAY)].into_iter().enumerate()
        {
            for (number, form) in forms(at).into_iter().enumerate() {
                let text = format!("{place}{number}{}", &UUID[2..]);
                let token = shared.application_signs_in(&text, &shared.alice(), NOW.plus(DAY)).await;
                let sql = format!("UPDATE {} SET expires = {form} WHERE {}", shared.table(), shared.is(&text));
                assert_eq!(shared.application.run(&sql).await, 1);
                if place == 2 {
                    living.push(token);
                } else {
                    assert!(matches!(shared.validate(&token).await, Validation::Invalid(_)), "{layout}: {form}");
                }
            }
        }
        shared.clock.set(NOW);
        let swept = shared.sessions.sweep(|_| {}).await.unwrap();
        assert_eq!(swept.expired, 8, "{layout}");
        for token in &living {
            let session = shared.live(token).await;
            assert_eq!(session.idle_expires_at, NOW.plus(30 * DAY), "{layout}");
        }
        // An extension keeps the form of its row.
        shared.clock.advance(2 * DAY);
        for token in &living {
            assert!(matches!(shared.validate(token).await, Validation::Live { renewed: true, .. }), "{layout}");
            assert_eq!(shared.live(token).await.idle_expires_at, NOW.plus(32 * DAY), "{layout}");
        }
        let kinds = format!("SELECT DISTINCT typeof(expires) FROM {} ORDER BY 1", shared.table());
        assert_eq!(shared.application.texts(&kinds).await, ["integer", "text"], "{layout}");
    }
}

/// `utf8mb4_general_ci` takes tokens for alike that differ in case alone.
#[tokio::test]
async fn a_token_that_differs_in_case_alone_is_another_one() {
    let shared = Shared::new("drizzle.mysql", false).await;
    shared.application_signs_in(UUID, &shared.alice(), NOW.plus(30 * DAY)).await;
    assert_eq!(shared.rows(&UUID.to_uppercase()).await, 1, "the column takes them for one");
    let shouted = Token::parse_foreign(UUID.to_uppercase().as_bytes()).unwrap();
    assert!(matches!(shared.validate(&shouted).await, Validation::Invalid(Invalid::Unknown)));
    shared.live(&Token::parse_foreign(UUID.as_bytes()).unwrap()).await;
    assert!(matches!(shared.validate(&shouted).await, Validation::Invalid(Invalid::Unknown)));
}

/// The application extends what it finds; the row has to go.
#[tokio::test]
async fn past_its_absolute_timeout_the_sweeper_deletes_what_the_application_extends() {
    for layout in ["prisma.postgres", "drizzle.sqlite", "prisma_classic.mysql"] {
        let shared = Shared::new(layout, true).await;
        let issued = shared.sessions.create(SignIn::new(shared.alice())).await.unwrap();
        let text = issued.token.expose();
        shared.clock.set(NOW.plus(90 * DAY));
        assert_eq!(shared.application_extends(text.as_str(), NOW.plus(120 * DAY)).await, 1);
        assert!(
            matches!(shared.validate(&issued.token).await, Validation::Invalid(Invalid::AbsoluteTimeout)),
            "{layout}"
        );
        assert_eq!(shared.sessions.sweepable().await.unwrap(), 1, "{layout}");
        assert_eq!(shared.sessions.sweep(|_| {}).await.unwrap().expired, 1, "{layout}");
        assert_eq!(shared.rows(text.as_str()).await, 0, "{layout}");
    }
}

/// The application extends between hallpass's reading and its write, which waits for the application's commit: what was written there stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_by_the_application_is_not_written_over() {
    let shared = Shared::new("prisma.postgres", false).await;
    let token = shared.application_signs_in(UUID, &shared.alice(), NOW.plus(30 * DAY)).await;
    let session = shared.live(&token).await;
    shared.clock.advance(2 * DAY);
    let now = shared.clock_now();
    shared.application.run("BEGIN").await;
    shared.application_extends(UUID, now.plus(40 * DAY)).await;
    let renewal = Renewal {
        id: session.id,
        token_hash: token.digest(),
        now,
        due_before: now,
        idle_expires_at: now.plus(30 * DAY),
    };
    let store = Arc::clone(&shared.store);
    let renewing = tokio::spawn(async move { store.renew(&renewal).await });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let mut looks = 0;
    while shared.application.texts(waits).await != ["1"] {
        looks += 1;
        assert!(looks < 10_000 && !renewing.is_finished(), "the extension waits for the application's commit");
    }
    shared.application.run("COMMIT").await;
    assert_eq!(renewing.await.unwrap().unwrap(), Renewed::NotDue);
    assert_eq!(shared.live(&token).await.idle_expires_at, now.plus(40 * DAY));
}

/// Sixteen requests with a session that hallpass has not seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn first_checks_at_once_agree_on_the_id() {
    for layout in ["prisma.postgres", "drizzle.sqlite", "kysely.mysql"] {
        let shared = Arc::new(Shared::new(layout, false).await);
        shared.application_signs_in(UUID, &shared.alice(), NOW.plus(30 * DAY)).await;
        let checks: Vec<_> = (0..16)
            .map(|_| {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move { shared.live(&Token::parse_foreign(UUID.as_bytes()).unwrap()).await.id })
            })
            .collect();
        let mut ids = Vec::new();
        for check in checks {
            ids.push(check.await.unwrap());
        }
        ids.dedup();
        assert_eq!(ids.len(), 1, "{layout}");
        assert_eq!(shared.listed(&shared.alice()).await.len(), 1, "{layout}");
    }
}

/// The statement of hallpass-authjs-adapter replaces each token of the application's table by its digest.
#[tokio::test]
async fn sessions_go_on_when_tokens_become_digests() {
    for (layout, digest) in [
        ("prisma.postgres", "encode(sha256(convert_to(\"sessionToken\", 'UTF8')), 'hex')"),
        ("prisma_classic.mysql", "SHA2(`sessionToken`, 256)"),
    ] {
        let plain = Shared::new(layout, false).await;
        let theirs = plain.application_signs_in(UUID, &plain.alice(), NOW.plus(30 * DAY)).await;
        let ours = plain.sessions.create(SignIn::new(plain.alice())).await.unwrap();
        let ended = plain.sessions.create(SignIn::new(plain.alice())).await.unwrap();
        assert!(plain.sessions.end(&ended.token).await.unwrap());
        let before = plain.live(&theirs).await.id;
        let column = plain.application.q("sessionToken");
        assert_eq!(plain.application.run(&format!("UPDATE {} SET {column} = {digest}", plain.table())).await, 2);

        let store: Arc<dyn Store> = Arc::new(plain.application.store(options(true)).await);
        let sessions = Sessions::builder(store).clock(plain.clock.clone()).build().unwrap();
        for (token, id) in [(&theirs, before), (&ours.token, ours.session.id)] {
            let Validation::Live { session, .. } = sessions.validate(token).await.unwrap() else { panic!("{layout}") };
            assert_eq!(session.id, id, "{layout}");
        }
        assert!(matches!(sessions.validate(&ended.token).await.unwrap(), Validation::Invalid(Invalid::Ended(_))));
    }
}

/// A stored digest is no credential, and a table of tokens is none of digests.
#[tokio::test]
async fn a14_what_the_table_holds_of_a_token_does_not_open_it() {
    let shared = Shared::new("prisma.postgres", true).await;
    let issued = shared.sessions.create(SignIn::new(shared.alice())).await.unwrap();
    let kept = shared.key(issued.token.expose().as_str());
    let presented = shared.sessions.parse(kept.as_bytes()).unwrap();
    assert!(matches!(shared.validate(&presented).await, Validation::Invalid(Invalid::Unknown)));
    // Nor does a session's public id, though it looks like a token of Auth.js.
    let id = issued.session.id.to_string();
    assert!(matches!(shared.validate(&shared.sessions.parse(id.as_bytes()).unwrap()).await, Validation::Invalid(_)));
    let plain = Shared::new("prisma.postgres", false).await;
    let record = plain.store.find_by_token(&issued.token, NOW).await.unwrap();
    assert!(record.is_none());
    let new = shared.store.find(issued.session.id).await.unwrap().unwrap();
    assert!(matches!(plain.store.create(&new, NOW, None).await, Err(StoreError::Unavailable { .. })));
}

#[tokio::test]
async fn what_the_table_cannot_give_is_refused() {
    let application = Application::new("prisma.sqlite").await;
    let store: Arc<dyn Store> = Arc::new(application.store(options(false)).await);
    let cached = Sessions::builder(Arc::clone(&store)).validation(ValidationMode::Cached(CacheSettings::default()));
    assert!(cached.build().unwrap_err().to_string().contains("validation=strict"));
    let peppered = Sessions::builder(Arc::clone(&store)).pepper(Pepper::new(&[1; 32]).unwrap());
    assert!(peppered.build().unwrap_err().to_string().contains("pepper"));
    let health = store.health(NOW).await.unwrap();
    assert!(health.warnings.iter().any(|warning| warning.contains("G9")), "{:?}", health.warnings);
    assert!(health.warnings.iter().any(|warning| warning.contains("absolute timeout")));
    let hashed = application.store(options(true)).await.health(NOW).await.unwrap();
    assert!(!hashed.warnings.iter().any(|warning| warning.contains("G9")));

    let empty = tempfile::tempdir().unwrap();
    let path = empty.path().join("none.db");
    let missing = AuthjsStore::open_sqlite(&path, options(false)).await.unwrap_err().to_string();
    assert!(missing.contains("run its migrations first") && !path.exists(), "{missing}");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE posts (id)").unwrap();
    let strange = AuthjsStore::open_sqlite(&path, options(false)).await.unwrap_err().to_string();
    assert!(strange.contains("no database of Auth.js"), "{strange}");
}
