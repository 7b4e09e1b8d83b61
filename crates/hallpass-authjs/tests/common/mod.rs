//! Databases with the tables of each adapter, on the real engines.
#![allow(dead_code, reason = "each test file uses its own part")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed helper fails its test")]

pub(crate) mod with_users;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hallpass_authjs::{AuthjsOptions, AuthjsStore, Engine};
use hallpass_core::{AbsoluteTimeout, StoreError};
use mysql_async::prelude::Queryable as _;
use tokio::sync::Mutex;
use tokio_postgres::NoTls;

pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// The tables that an adapter's documents say.
pub(crate) fn ddl(name: &str) -> String {
    // From the tests of the server too.
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../hallpass-authjs/tests/layouts").join(format!("{name}.sql"));
    std::fs::read_to_string(path).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "tests are told by the environment where their servers are")]
fn server(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} names no server: scripts/services run -- cargo test -p hallpass-authjs"))
}

/// A database of one test, and a connection to look and to disturb, as the application would.
pub(crate) struct Application {
    pub(crate) engine: Engine,
    /// What the store is opened by: a path for SQLite.
    pub(crate) url: String,
    connection: Connection,
}

enum Connection {
    Sqlite(Mutex<rusqlite::Connection>, tempfile::TempDir),
    Postgres(tokio_postgres::Client),
    Mysql(Mutex<mysql_async::Conn>),
}

impl Application {
    /// A new database with the tables of `layout`, `prisma.sqlite` for example, after `change` was made to their text.
    pub(crate) async fn with_changed(layout: &str, change: impl Fn(String) -> String) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("authjs_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let application = match layout.rsplit('.').next().unwrap() {
            "sqlite" => {
                // In memory where there is such a place: nothing here asks what a disk keeps, and both files are waited for at each commit.
                let memory = Path::new("/dev/shm");
                let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
                let directory = tempfile::tempdir_in(place).unwrap();
                let path = directory.path().join("app.db");
                let connection = rusqlite::Connection::open(&path).unwrap();
                connection.busy_timeout(Duration::from_secs(20)).unwrap();
                connection.pragma_update(None, "foreign_keys", true).unwrap();
                Self {
                    engine: Engine::Sqlite,
                    url: path.to_str().unwrap().to_owned(),
                    connection: Connection::Sqlite(Mutex::new(connection), directory),
                }
            }
            "postgres" => {
                let url = server("HALLPASS_TEST_POSTGRES");
                let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
                tokio::spawn(connection);
                client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
                let mut url = url::Url::parse(&url).unwrap();
                url.set_path(&name);
                let (client, connection) = tokio_postgres::connect(url.as_str(), NoTls).await.unwrap();
                tokio::spawn(connection);
                Self { engine: Engine::Postgres, url: url.to_string(), connection: Connection::Postgres(client) }
            }
            "mysql" => {
                let mut url = url::Url::parse(&server("HALLPASS_TEST_MARIADB")).unwrap();
                url.set_path("");
                let mut connection = mysql_async::Conn::from_url(url.as_str()).await.unwrap();
                connection.query_drop(format!("CREATE DATABASE {name}")).await.unwrap();
                connection.query_drop(format!("USE {name}")).await.unwrap();
                connection.query_drop("SET time_zone = '+00:00'").await.unwrap();
                url.set_path(&name);
                let connection = Connection::Mysql(Mutex::new(connection));
                Self { engine: Engine::Mysql, url: url.to_string(), connection }
            }
            other => panic!("no engine {other}"),
        };
        let text = change(ddl(layout));
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
        for statement in lines.join(" ").split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
            application.run(statement).await;
        }
        application
    }

    pub(crate) async fn new(layout: &str) -> Self {
        Self::with_changed(layout, |text| text).await
    }

    /// Runs one statement; how many rows it changed.
    pub(crate) async fn run(&self, sql: &str) -> u64 {
        match &self.connection {
            Connection::Sqlite(connection, _) => {
                let connection = connection.lock().await;
                connection.execute_batch(sql).expect(sql);
                connection.changes()
            }
            Connection::Postgres(client) => client.execute(sql, &[]).await.expect(sql),
            Connection::Mysql(connection) => {
                let mut connection = connection.lock().await;
                connection.query_drop(sql).await.expect(sql);
                connection.affected_rows()
            }
        }
    }

    /// The first columns of the rows that a statement answers, as text.
    pub(crate) async fn texts(&self, sql: &str) -> Vec<String> {
        match &self.connection {
            Connection::Sqlite(connection, _) => {
                let connection = connection.lock().await;
                let mut statement = connection.prepare(sql).expect(sql);
                let text = |row: &rusqlite::Row<'_>| {
                    Ok(match row.get_ref(0)? {
                        rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                        rusqlite::types::ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
                        rusqlite::types::ValueRef::Null => String::from("NULL"),
                        other => panic!("{other:?}"),
                    })
                };
                statement.query_map([], text).expect(sql).collect::<Result<_, _>>().unwrap()
            }
            Connection::Postgres(client) => {
                let rows = client.simple_query(sql).await.expect(sql);
                rows.iter()
                    .filter_map(|message| match message {
                        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
                        _ => None,
                    })
                    .collect()
            }
            Connection::Mysql(connection) => {
                let rows: Vec<Option<String>> = connection.lock().await.query(sql).await.expect(sql);
                rows.into_iter().map(|text| text.unwrap_or_else(|| String::from("NULL"))).collect()
            }
        }
    }

    /// Quotes a name.
    pub(crate) fn q(&self, name: &str) -> String {
        self.engine.quoted(name)
    }

    /// Opens the store on it.
    pub(crate) async fn store(&self, options: AuthjsOptions) -> AuthjsStore {
        open(self.engine, &self.url, options).await.unwrap()
    }
}

/// Opens the store on the database of a URL, or of a path.
pub(crate) async fn open(engine: Engine, url: &str, options: AuthjsOptions) -> Result<AuthjsStore, StoreError> {
    match engine {
        Engine::Sqlite => AuthjsStore::open_sqlite(Path::new(url), options).await,
        Engine::Postgres => AuthjsStore::connect_postgres(url, options).await,
        Engine::Mysql => AuthjsStore::connect_mysql(url, options).await,
        other => panic!("{other:?}"),
    }
}

/// As the default policy of the class `web`.
pub(crate) fn options(hashes_tokens: bool) -> AuthjsOptions {
    AuthjsOptions {
        max_age: 30 * DAY,
        absolute_timeout: AbsoluteTimeout::After(90 * DAY),
        hashes_tokens,
        side: None,
        // Few, since many stores live at once.
        connections: 3,
    }
}

/// Shared by the tests of one store.
pub(crate) type Shared = Arc<Application>;
