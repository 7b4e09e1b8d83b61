//! Where our own tables lie: in a place of one application, which is none of its own.

use std::path::{Path, PathBuf};

use hallpass_authjs::{AuthjsOptions, AuthjsStore, Engine};
use hallpass_core::store::{Filter, Page, Store as _};
use hallpass_core::{Sessions, SignIn, StoreError, UserId};

use crate::NOW;
use crate::common::{Application, ddl, open, options};

fn beside(side: Option<&str>) -> AuthjsOptions {
    AuthjsOptions { side: side.map(str::to_owned), ..options(false) }
}

/// The same tables once more, in a schema of PostgreSQL; the URL of that.
async fn in_schema(application: &Application, layout: &str, schema: &str) -> String {
    let text = ddl(layout);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
    let tables = format!("CREATE SCHEMA {schema}; SET search_path = {schema}; {}; RESET search_path", lines.join(" "));
    for statement in tables.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        application.run(statement).await;
    }
    let mut url = url::Url::parse(&application.url).unwrap();
    url.query_pairs_mut().append_pair("schema", schema);
    url.to_string()
}

/// Two applications that can reach one place, and that place: each with its URL or path, and the name that messages call it by.
struct Neighbours {
    engine: Engine,
    application: Application,
    _other: Option<Application>,
    one: (String, String),
    two: (String, String),
    side: String,
    /// How SQL calls the place.
    place: String,
}

impl Neighbours {
    async fn new(layout: &str) -> Self {
        let application = Application::new(layout).await;
        let engine = application.engine;
        let url = application.url.clone();
        let (other, one, two, side, place) = match engine {
            Engine::Sqlite => {
                let second = url.replace("app.db", "app2.db");
                std::fs::copy(&url, &second).unwrap();
                let side = url.replace("app.db", "ours.db");
                let place = String::from("aside");
                (None, (url, "app.db".to_owned()), (second, "app2.db".to_owned()), side, place)
            }
            Engine::Postgres => {
                let (a, b) = (in_schema(&application, layout, "a").await, in_schema(&application, layout, "b").await);
                (None, (a, "a".to_owned()), (b, "b".to_owned()), "ours".to_owned(), "ours".to_owned())
            }
            _ => {
                let other = Application::new(layout).await;
                let name = |application: &Application| {
                    url::Url::parse(&application.url).unwrap().path().trim_start_matches('/').to_owned()
                };
                let (one, two) = ((url, name(&application)), (other.url.clone(), name(&other)));
                let side = format!("{}_ours", one.1);
                (Some(other), one, two, side.clone(), side)
            }
        };
        Self { engine, application, _other: other, one, two, side, place }
    }

    async fn open(&self, which: &(String, String)) -> Result<AuthjsStore, StoreError> {
        open(self.engine, &which.0, beside(Some(&self.side))).await
    }

    /// Looks into the place.
    async fn attach(&self) {
        if self.engine == Engine::Sqlite {
            self.application.run(&format!("ATTACH '{}' AS aside", self.side)).await;
        }
    }
}

fn refused(opened: Result<AuthjsStore, StoreError>) -> String {
    match opened {
        Err(StoreError::Corrupt { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

const ENGINES: [&str; 3] = ["drizzle.sqlite", "prisma.postgres", "kysely.mysql"];

#[tokio::test]
async fn applications_in_one_database_have_a_place_each() {
    let layout = "drizzle.postgres";
    let application = Application::new(layout).await;
    let (a, b) = (in_schema(&application, layout, "a").await, in_schema(&application, layout, "b").await);
    let mut stores = Vec::new();
    for (url, schema) in [(&application.url, "public"), (&a, "a"), (&b, "b")] {
        application.run(&format!("INSERT INTO {schema}.\"user\" (id, email) VALUES ('alice', 'a@example.test')")).await;
        stores.push(std::sync::Arc::new(open(Engine::Postgres, url, beside(None)).await.unwrap()));
    }
    let alice = UserId::new("alice").unwrap();
    let sessions = Sessions::builder(std::sync::Arc::clone(&stores[1]) as _).build().unwrap();
    let issued = sessions.create(SignIn::new(alice.clone())).await.unwrap();
    for (store, there) in stores.iter().zip([false, true, false]) {
        assert_eq!(store.find(issued.session.id).await.unwrap().is_some(), there);
        let filter = Filter { user: Some(alice.clone()), include_ended: true, ..Filter::default() };
        let listed = store.list(&filter, Page::first(10), NOW).await.unwrap().sessions;
        assert_eq!(listed.len(), usize::from(there));
    }
    let places = "SELECT nspname FROM pg_namespace WHERE nspname LIKE '%hallpass%' ORDER BY nspname";
    assert_eq!(application.texts(places).await, ["a_hallpass", "b_hallpass", "hallpass"]);
}

/// On SQLite, where the endings of names tell applications apart.
#[tokio::test]
async fn applications_in_one_directory_have_a_place_each() {
    let application = Application::new("prisma.sqlite").await;
    let directory = Path::new(&application.url).parent().unwrap().to_owned();
    for name in ["app.sqlite", "app"] {
        std::fs::copy(&application.url, directory.join(name)).unwrap();
    }
    for name in ["app.db", "app.sqlite", "app"] {
        AuthjsStore::open_sqlite(&directory.join(name), beside(None)).await.unwrap();
    }
    let mut sides: Vec<String> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    sides.retain(|name| name.ends_with("hallpass.db"));
    sides.sort();
    assert_eq!(sides, ["app-hallpass.db", "app.hallpass.db", "app.sqlite-hallpass.db"]);
}

#[tokio::test]
async fn a_place_belongs_to_one_application() {
    for layout in ENGINES {
        let neighbours = Neighbours::new(layout).await;
        drop(neighbours.open(&neighbours.one).await.unwrap());
        let why = refused(neighbours.open(&neighbours.two).await);
        for words in [&neighbours.one.1, &neighbours.two.1, &neighbours.side, "side="] {
            assert!(why.contains(words), "{layout}: {words}: {why}");
        }
        drop(neighbours.open(&neighbours.one).await.unwrap());
        // The text says how it goes on under another name.
        let update = why.split_once("UPDATE ").unwrap().1;
        neighbours.attach().await;
        let update = if neighbours.engine == Engine::Sqlite { format!("aside.{update}") } else { update.to_owned() };
        neighbours.application.run(&format!("UPDATE {update}")).await;
        drop(neighbours.open(&neighbours.two).await.unwrap());
        refused(neighbours.open(&neighbours.one).await);
    }
}

/// Files of one name in two directories are two applications.
#[tokio::test]
async fn a_place_in_another_directory_tells_applications_of_one_name_apart() {
    let (one, two) = (Application::new("drizzle.sqlite").await, Application::new("drizzle.sqlite").await);
    let directory = tempfile::tempdir().unwrap();
    let side = directory.path().join("ours.db");
    let side = side.to_str();
    drop(open(one.engine, &one.url, beside(side)).await.unwrap());
    drop(open(one.engine, &one.url, beside(side)).await.unwrap());
    let why = refused(open(two.engine, &two.url, beside(side)).await);
    assert!(why.contains(&one.url) && why.contains(&two.url), "{why}");

    // Both files can be moved together.
    let at_home = Application::new("drizzle.sqlite").await;
    drop(open(at_home.engine, &at_home.url, beside(None)).await.unwrap());
    for name in ["app.db", "app.hallpass.db"] {
        std::fs::copy(Path::new(&at_home.url).with_file_name(name), directory.path().join(name)).unwrap();
    }
    AuthjsStore::open_sqlite(&directory.path().join("app.db"), beside(None)).await.unwrap();
}

/// Tables of the first version know nobody.
#[tokio::test]
async fn a_place_of_the_first_version_becomes_that_of_who_opens_it() {
    for layout in ENGINES {
        let neighbours = Neighbours::new(layout).await;
        let place = &neighbours.place;
        drop(neighbours.open(&neighbours.one).await.unwrap());
        neighbours.attach().await;
        neighbours.application.run(&format!("DROP TABLE IF EXISTS {place}.hallpass_application")).await;
        neighbours.application.run(&format!("UPDATE {place}.hallpass_counter SET version = 1")).await;
        let store = neighbours.open(&neighbours.two).await.unwrap();
        assert_eq!(store.migrate().await.unwrap(), (2, 2), "{layout}");
        let version = format!("SELECT version FROM {place}.hallpass_counter");
        assert_eq!(neighbours.application.texts(&version).await, ["2"], "{layout}");
        let owner = format!("SELECT name FROM {place}.hallpass_application");
        assert_eq!(neighbours.application.texts(&owner).await, [neighbours.two.1.as_str()], "{layout}");
        refused(neighbours.open(&neighbours.one).await);
        neighbours.application.run(&format!("UPDATE {place}.hallpass_counter SET version = 3")).await;
        let newer = neighbours.open(&neighbours.two).await;
        assert!(matches!(newer, Err(StoreError::TooNew { found: 3, known: 2 })), "{layout}: {newer:?}");
    }
}

/// Eight processes of each of two applications at once: one application has the place, and the other is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_applications_at_once_one_has_the_place() {
    for layout in ENGINES {
        let neighbours = std::sync::Arc::new(Neighbours::new(layout).await);
        let openings: Vec<_> = (0..16)
            .map(|n| {
                let neighbours = std::sync::Arc::clone(&neighbours);
                tokio::spawn(async move {
                    let which = if n % 2 == 0 { &neighbours.one } else { &neighbours.two };
                    (n % 2, neighbours.open(which).await.map(drop))
                })
            })
            .collect();
        let mut by = [(0, 0); 2];
        for opening in openings {
            match opening.await.unwrap() {
                (n, Ok(())) => by[n].0 += 1,
                (n, Err(StoreError::Corrupt { .. })) => by[n].1 += 1,
                (_, Err(error)) => panic!("{layout}: {error}"),
            }
        }
        by.sort_unstable();
        assert_eq!(by, [(0, 8), (8, 0)], "{layout}");
    }
}

#[tokio::test]
async fn the_application_itself_is_no_place_for_our_tables() {
    for (layout, schema) in [("prisma.postgres", None), ("drizzle.postgres", Some("a")), ("prisma.mysql", None)] {
        let application = Application::new(layout).await;
        let url = match schema {
            Some(schema) => in_schema(&application, layout, schema).await,
            None => application.url.clone(),
        };
        let side = match (application.engine, schema) {
            (Engine::Postgres, schema) => schema.unwrap_or("public").to_owned(),
            _ => application.texts("SELECT DATABASE()").await.remove(0),
        };
        let why = refused(open(application.engine, &url, beside(Some(&side))).await);
        assert!(why.contains(&side) && why.contains("application's own") && why.contains("side="), "{why}");
        let found =
            "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'hallpass%' AND table_schema = ";
        assert!(application.texts(&format!("{found}'{side}'")).await.is_empty(), "{layout}");
    }
}

fn tables(file: &Path) -> Vec<String> {
    let connection = rusqlite::Connection::open(file).unwrap();
    let mut names = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    names.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

#[cfg(unix)]
#[tokio::test]
async fn the_applications_file_is_no_place_for_our_tables_by_any_name() {
    let application = Application::new("drizzle.sqlite").await;
    let path = PathBuf::from(&application.url);
    let (directory, before) = (path.parent().unwrap(), tables(&path));
    let (link, hard) = (directory.join("link.db"), directory.join("hard.db"));
    std::os::unix::fs::symlink(&path, &link).unwrap();
    std::fs::hard_link(&path, &hard).unwrap();
    let dots = directory.join(".").join("nowhere").join("..").join("app.db");
    std::fs::create_dir(directory.join("nowhere")).unwrap();
    for (of, side) in [(&path, &path), (&path, &link), (&path, &hard), (&path, &dots), (&link, &path)] {
        let why = refused(AuthjsStore::open_sqlite(of, beside(side.to_str())).await);
        assert!(why.contains("application's own") && why.contains("side="), "{}: {why}", side.display());
    }
    let wal = format!("{}-wal", application.url);
    assert!(refused(AuthjsStore::open_sqlite(&path, beside(Some(&wal))).await).contains("application's own"));
    for side in [":memory:", "file:ours.db?mode=memory", ""] {
        let why = refused(AuthjsStore::open_sqlite(&path, beside(Some(side))).await);
        assert!(why.contains("not the path of a file"), "{side}: {why}");
    }
    assert_eq!(tables(&path), before);
    assert_eq!(application.texts("PRAGMA journal_mode").await, ["delete"]);
    assert!(!Path::new(&wal).exists());
}

/// As it is: neither a table more nor another journal.
#[tokio::test]
async fn a_file_of_another_program_is_left_as_it_is() {
    let (application, other) = (Application::new("drizzle.sqlite").await, Application::new("prisma.sqlite").await);
    let before = std::fs::read(&other.url).unwrap();
    let why = refused(open(application.engine, &application.url, beside(Some(&other.url))).await);
    assert!(why.contains(&other.url) && why.contains("the table") && why.contains("side="), "{why}");
    assert_eq!(std::fs::read(&other.url).unwrap(), before);
    assert!(!Path::new(&format!("{}-wal", other.url)).exists());
    // Nor one that is no database.
    let text = Path::new(&application.url).with_file_name("notes.txt");
    std::fs::write(
        &text,
        "what somebody wrote down, longer than the head of a database of SQLite is, which has a hundred bytes",
    )
    .unwrap();
    let why = refused(open(application.engine, &application.url, beside(text.to_str())).await);
    assert!(why.contains("notes.txt"), "{why}");
    assert!(std::fs::read_to_string(&text).unwrap().starts_with("what somebody"));
}

#[tokio::test]
async fn nothing_is_made_beside_what_is_no_application() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("posts.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE posts (id)").unwrap();
    refused(AuthjsStore::open_sqlite(&path, beside(None)).await);
    assert!(!directory.path().join("posts.hallpass.db").exists());
}
