//! The clients of sessions that Auth.js made are noted by the layer: at the first request that a browser sends here.

use std::sync::Arc;

use hallpass_authjs::{AuthjsOptions, AuthjsStore};
use hallpass_axum::CookieName;
use hallpass_core::{Class, Clock as _, MAX_USER_AGENT_BYTES, ManualClock, Policies, Session, Store};
use serde_json::{Value, json};

use crate::app::{App, Options};
use crate::browser::Browser;
use crate::faulty_store::Mode;
use crate::self_service::list;

const TABLES: &str = r#"
    CREATE TABLE "user" (id text PRIMARY KEY, name text, email text UNIQUE, "emailVerified" integer, image text);
    CREATE TABLE "session" ("sessionToken" text PRIMARY KEY, "userId" text NOT NULL REFERENCES "user" (id) ON DELETE CASCADE,
      expires integer NOT NULL);
    INSERT INTO "user" (id, name) VALUES ('ada', 'Ada');
"#;
const LAPTOP: &str = "5f0c9a52-8f0e-4f7e-9c40-3c9a4e8c1d6b";
const PHONE: &str = "6a1c9a52-8f0e-4f7e-9c40-3c9a4e8c1d6c";
const DAY_MS: i64 = 86_400_000;

/// What a browser says of where a request comes from, behind the proxy of the application.
const SENT: [(&str, &str); 2] = [("sec-fetch-site", "same-origin"), ("x-forwarded-for", "203.0.113.9")];

/// The application behind the layer, on a database of Auth.js in which two browsers are signed in.
struct Beside {
    app: App,
    database: rusqlite::Connection,
    _directory: tempfile::TempDir,
}

impl Beside {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        let database = rusqlite::Connection::open(&path).unwrap();
        database.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
        database.execute_batch(TABLES).unwrap();
        let expires = ManualClock::default().now().as_millis() + 30 * DAY_MS;
        for token in [LAPTOP, PHONE] {
            database.execute("INSERT INTO session VALUES (?, 'ada', ?)", (token, expires)).unwrap();
        }
        let policies = Policies::default();
        let store = AuthjsStore::open_sqlite(&path, AuthjsOptions::of(policies.of(&Class::WEB))).await.unwrap();
        let store: Option<Arc<dyn Store>> = Some(Arc::new(store));
        let web = |web: hallpass_axum::WebBuilder| {
            web.cookie_name(CookieName::Authjs5).trusted_proxies(["127.0.0.0/8".parse().unwrap()])
        };
        let app = App::with(Options { policies, store, web, ..Options::default() }).await;
        Self { app, database, _directory: directory }
    }

    fn browser(&self, token: &str) -> Browser {
        let mut browser = self.app.browser();
        browser.cookie = Some(token.to_owned());
        browser
    }

    async fn flush(&self) -> u64 {
        self.app.sessions.flush_last_seen().await.unwrap()
    }

    /// As the database has them, whatever waits in memory.
    async fn stored(&self) -> Vec<Session> {
        self.app.store.everything(self.app.sessions.now()).await
    }

    async fn known(&self) -> usize {
        self.stored().await.iter().filter(|session| session.client != Default::default()).count()
    }
}

/// The one of this browser, as the list shows it.
async fn own(browser: &mut Browser) -> Value {
    let mut listed = list(browser).await;
    listed.retain(|session| session["isCurrent"] == true);
    listed.pop().unwrap()
}

fn shown(session: &Value) -> (Value, Value, Value) {
    (session["device"]["name"].clone(), session["device"]["userAgent"].clone(), session["ip"].clone())
}

#[tokio::test]
async fn the_first_request_of_a_browser_says_what_device_it_is() {
    let beside = Beside::start().await;
    let mut browser = beside.browser(LAPTOP);
    let before = own(&mut browser).await;
    assert_eq!(shown(&before), (json!("Unknown device"), Value::Null, Value::Null), "a program asked");
    assert_eq!(browser.send("GET", "/me", &SENT, "").await.status, 200);
    let noted = own(&mut browser).await;
    let expected = (json!("Firefox on Linux"), json!(browser.user_agent), json!("203.0.113.9"));
    assert_eq!(shown(&noted), expected, "before anything is written");
    assert_eq!(beside.flush().await, 1);
    let after = own(&mut browser).await;
    assert_eq!(after, noted);
    for name in ["id", "createdAt", "lastSeenAt", "authenticatedAt", "expires", "label"] {
        assert_eq!(after[name], before[name], "{name}");
    }

    // Somebody else with the same cookie.
    let mut thief = browser.copy();
    thief.user_agent = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/150.0.0.0 Safari/537.36".into();
    let elsewhere = [("sec-fetch-site", "none"), ("x-forwarded-for", "198.51.100.7")];
    assert_eq!(thief.send("GET", "/me", &elsewhere, "").await.status, 200);
    assert_eq!(beside.flush().await, 0);
    assert_eq!(own(&mut thief).await, after);
    assert_eq!(beside.known().await, 1, "the other session has made no request here");
    let kept: i64 = beside.database.query_row("SELECT count(*) FROM session", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 2);
}

/// The server of the front end asks with its visitor's cookie, as it does while it renders a page. It would be the device for good.
#[tokio::test]
async fn the_server_of_the_front_end_is_nobodys_device() {
    let beside = Beside::start().await;
    let mut server = beside.browser(LAPTOP);
    server.user_agent = "node".into();
    for says in ["-", "-"] {
        let headers = [("sec-fetch-mode", "cors"), ("sec-fetch-site", says)];
        assert_eq!(server.send("GET", "/me", &headers, "").await.status, 200);
    }
    // A value that no browser has.
    assert_eq!(server.send("GET", "/me", &[("sec-fetch-site", "server")], "").await.status, 200);
    assert_eq!((beside.flush().await, beside.known().await), (0, 0));
    let mut browser = beside.browser(LAPTOP);
    browser.send("GET", "/sessions", &SENT, "").await;
    assert_eq!(own(&mut browser).await["device"]["name"], "Firefox on Linux");
}

#[tokio::test]
async fn the_page_says_what_is_known_whichever_half_it_is() {
    let beside = Beside::start().await;
    let mut laptop = beside.browser(LAPTOP);
    let page = laptop.send("GET", "/sessions", &SENT, "").await.body;
    assert!(page.contains("Firefox on Linux") && page.contains("<dt>Address</dt> <dd>203.0.113.9</dd>"), "{page}");
    assert!(page.contains("Unknown device"), "the phone");
    // A browser that says nothing of itself has an address all the same.
    let mut phone = beside.browser(PHONE);
    phone.user_agent = String::new();
    let page = phone.send("GET", "/sessions", &[SENT[0], ("x-forwarded-for", "198.51.100.7")], "").await.body;
    assert!(page.contains("<dt>Address</dt> <dd>198.51.100.7</dd>"), "{page}");
    let listed = own(&mut phone).await;
    assert_eq!(shown(&listed), (json!("Unknown device"), Value::Null, json!("198.51.100.7")));
    // It is known now, and what it says later belongs to another request.
    phone.user_agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) Version/18.5 Safari/604.1".into();
    phone.send("GET", "/me", &SENT, "").await;
    beside.flush().await;
    assert_eq!(own(&mut phone).await, listed);
}

#[tokio::test]
async fn a34_what_is_noted_is_cut_and_cleaned_as_at_a_sign_in() {
    let beside = Beside::start().await;
    let mut browser = beside.browser(LAPTOP);
    browser.user_agent = format!("A\u{9b}31m{}", "x".repeat(6_000));
    browser.send("GET", "/me", &SENT, "").await;
    beside.flush().await;
    let noted = own(&mut browser).await["device"]["userAgent"].as_str().unwrap().to_owned();
    assert!(noted.len() <= MAX_USER_AGENT_BYTES && !noted.contains(char::is_control), "{noted:?}");
    browser.send("POST", "/sign-in/ada", &SENT, "").await;
    assert_eq!(own(&mut browser).await["device"]["userAgent"], noted, "the same");
}

/// What cannot be written harms no request, and is written when it can be.
#[tokio::test]
async fn a_database_that_cannot_be_written_costs_a_note_and_no_request() {
    let beside = Beside::start().await;
    let mut browser = beside.browser(LAPTOP);
    browser.me().await;
    beside.app.store.set(Mode::FailsWrites);
    let reads = beside.app.store.reads.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(browser.send("GET", "/me", &SENT, "").await.status, 200);
    assert_eq!(beside.app.store.reads.load(std::sync::atomic::Ordering::SeqCst) - reads, 1, "and no reading more");
    assert!(beside.app.sessions.flush_last_seen().await.is_err());
    beside.app.store.set(Mode::Works);
    assert_eq!((beside.flush().await, beside.known().await), (1, 1));
}

/// A06: the request was accepted, and is still busy when its session ends.
#[tokio::test]
async fn a06_a_request_in_flight_at_logout_notes_nothing() {
    let beside = Beside::start().await;
    let mut busy = beside.browser(LAPTOP);
    let slow = tokio::spawn(async move { busy.send("GET", "/slow", &SENT, "").await.body });
    beside.app.gate.entered.notified().await;
    let mut other = beside.browser(LAPTOP);
    let id = own(&mut other).await["id"].as_str().unwrap().to_owned();
    // Auth.js signs out.
    assert_eq!(beside.database.execute("DELETE FROM session WHERE sessionToken = ?", [LAPTOP]).unwrap(), 1);
    assert_eq!(beside.flush().await, 0);
    beside.app.gate.release.notify_one();
    assert_eq!(slow.await.unwrap(), "gone");
    assert!(!beside.app.is_live(&id).await);
    assert_eq!(beside.known().await, 0);
    assert_eq!(other.send("GET", "/me", &SENT, "").await.status, 401);
}

/// Who is refused leaves no trace in anybody's session: a wrong token, and a request from another origin.
#[tokio::test]
async fn a_request_that_is_refused_notes_nothing() {
    let beside = Beside::start().await;
    beside.browser(LAPTOP).me().await;
    let mut stranger = beside.browser("7b2c9a52-8f0e-4f7e-9c40-3c9a4e8c1d6d");
    assert_eq!(stranger.send("GET", "/me", &SENT, "").await.status, 401);
    let foreign = [("sec-fetch-site", "cross-site"), ("x-forwarded-for", "203.0.113.9")];
    assert_eq!(beside.browser(LAPTOP).send("POST", "/me", &foreign, "").await.status, 403);
    assert_eq!((beside.flush().await, beside.known().await), (0, 0));
}
