//! Each adapter's tables on the real engines: what is recognised, what is missing, and that the statements mend it.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed helper fails its test")]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use hallpass_authjs::{Catalogue, Engine, Expires, Layout, Maker, Unrecognised};
use mysql_async::prelude::Queryable as _;
use rusqlite::Connection;
use tokio_postgres::NoTls;

fn ddl(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layouts").join(format!("{name}.sql"));
    fs::read_to_string(path).unwrap()
}

/// A database of its own on one engine.
enum Database {
    Sqlite(Connection),
    Postgres(tokio_postgres::Client, String),
    Mysql(Box<mysql_async::Conn>),
}

#[expect(clippy::disallowed_methods, reason = "tests are told by the environment where their servers are")]
fn server(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} names no server: scripts/services run -- cargo test -p hallpass-authjs"))
}

impl Database {
    async fn new(engine: Engine) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("authjs_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        match engine {
            Engine::Sqlite => Self::Sqlite(Connection::open_in_memory().unwrap()),
            Engine::Postgres => {
                let (client, connection) =
                    tokio_postgres::connect(&server("HALLPASS_TEST_POSTGRES"), NoTls).await.unwrap();
                tokio::spawn(connection);
                client.batch_execute(&format!("CREATE SCHEMA {name}; SET search_path = {name}")).await.unwrap();
                Self::Postgres(client, name)
            }
            Engine::Mysql => {
                let options = mysql_async::Opts::from_url(&server("HALLPASS_TEST_MARIADB")).unwrap();
                let mut connection = mysql_async::Conn::new(options).await.unwrap();
                connection.query_drop(format!("CREATE DATABASE {name}")).await.unwrap();
                connection.query_drop(format!("USE {name}")).await.unwrap();
                Self::Mysql(Box::new(connection))
            }
            other => panic!("{other:?}"),
        }
    }

    async fn run(&mut self, sql: &str) {
        let lines: Vec<&str> = sql.lines().filter(|line| !line.starts_with("--")).collect();
        for statement in lines.join(" ").split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
            match self {
                Self::Sqlite(connection) => connection.execute_batch(statement).expect(statement),
                Self::Postgres(client, _) => client.batch_execute(statement).await.expect(statement),
                Self::Mysql(connection) => connection.query_drop(statement).await.expect(statement),
            }
        }
    }

    async fn catalogue(&mut self) -> Catalogue {
        match self {
            Self::Sqlite(connection) => Catalogue::of_sqlite(connection).unwrap(),
            Self::Postgres(client, schema) => Catalogue::of_postgres(client, schema).await.unwrap(),
            Self::Mysql(connection) => Catalogue::of_mysql(connection).await.unwrap(),
        }
    }

    async fn layout(&mut self) -> Layout {
        Layout::recognise(&self.catalogue().await).unwrap()
    }
}

const MILLISECONDS: Expires = Expires::Timestamp { fraction: 3 };
const ZONED: Expires = Expires::TimestampWithTimeZone;

/// A layout, and what must be seen in it: the maker, tables, the form of `expires`, whether users have numbers, and what is missing.
type Expected = (&'static str, Engine, Maker, [&'static str; 2], Expires, bool, &'static [&'static str]);

const BY_USER: &str = "no index on userId";
const BY_EXPIRY: &str = "no index on expires";
const BY_TOKEN: &str = "no unique index on sessionToken";
const NO_KEY: &str = "no foreign key on userId";
const NO_CASCADE: &str = "the foreign key of userId does not cascade";
const SECONDS: &str = "expires has whole seconds";
const CASE: &str = "upper and lower case are one";

const LAYOUTS: &[Expected] = &[
    (
        "prisma_classic.sqlite",
        Engine::Sqlite,
        Maker::PrismaClassic,
        ["Session", "User"],
        Expires::PerRow,
        false,
        &[BY_USER, BY_EXPIRY],
    ),
    (
        "prisma_classic.postgres",
        Engine::Postgres,
        Maker::PrismaClassic,
        ["Session", "User"],
        MILLISECONDS,
        false,
        &[BY_USER, BY_EXPIRY],
    ),
    // InnoDB makes the index that a foreign key needs.
    (
        "prisma_classic.mysql",
        Engine::Mysql,
        Maker::PrismaClassic,
        ["Session", "User"],
        MILLISECONDS,
        false,
        &[BY_EXPIRY, CASE],
    ),
    (
        "prisma.sqlite",
        Engine::Sqlite,
        Maker::Prisma,
        ["Session", "User"],
        Expires::PerRow,
        false,
        &[BY_USER, BY_EXPIRY],
    ),
    (
        "prisma.postgres",
        Engine::Postgres,
        Maker::Prisma,
        ["Session", "User"],
        MILLISECONDS,
        false,
        &[BY_USER, BY_EXPIRY],
    ),
    (
        "prisma.mysql",
        Engine::Mysql,
        Maker::Prisma,
        ["Session", "User"],
        MILLISECONDS,
        false,
        &[NO_CASCADE, BY_EXPIRY, CASE],
    ),
    (
        "pg_adapter.postgres",
        Engine::Postgres,
        Maker::PgAdapter,
        ["sessions", "users"],
        ZONED,
        true,
        &[BY_TOKEN, NO_KEY, BY_USER, BY_EXPIRY],
    ),
    (
        "drizzle.sqlite",
        Engine::Sqlite,
        Maker::Drizzle,
        ["session", "user"],
        Expires::PerRow,
        false,
        &[BY_USER, BY_EXPIRY],
    ),
    (
        "drizzle.postgres",
        Engine::Postgres,
        Maker::Drizzle,
        ["session", "user"],
        Expires::Timestamp { fraction: 6 },
        false,
        &[BY_USER, BY_EXPIRY],
    ),
    (
        "drizzle.mysql",
        Engine::Mysql,
        Maker::Drizzle,
        ["session", "user"],
        Expires::Timestamp { fraction: 0 },
        false,
        &[BY_EXPIRY, SECONDS, CASE],
    ),
    (
        "kysely.sqlite",
        Engine::Sqlite,
        Maker::Kysely,
        ["Session", "User"],
        Expires::PerRow,
        false,
        &[BY_USER, BY_EXPIRY],
    ),
    ("kysely.postgres", Engine::Postgres, Maker::Kysely, ["Session", "User"], ZONED, false, &[BY_EXPIRY]),
    ("kysely.mysql", Engine::Mysql, Maker::Kysely, ["Session", "User"], MILLISECONDS, false, &[BY_EXPIRY, CASE]),
];

#[tokio::test]
async fn each_adapters_layout_is_recognised_with_what_it_lacks() {
    for (name, engine, maker, tables, expires, has_numbered_users, lacks) in LAYOUTS {
        let mut database = Database::new(*engine).await;
        // What else an application has is none of our business.
        database.run("CREATE TABLE sessions_archive (id integer, expires integer)").await;
        database.run(&ddl(name)).await;
        let layout = database.layout().await;
        assert_eq!((layout.engine, layout.maker), (*engine, *maker), "{name}");
        assert_eq!([layout.sessions.as_str(), layout.users.as_str()], *tables, "{name}");
        assert_eq!((layout.expires, layout.has_numbered_users), (*expires, *has_numbered_users), "{name}");
        let found: Vec<String> = layout.shortcomings().into_iter().map(|one| one.what).collect();
        assert!(
            found.len() == lacks.len() && found.iter().zip(*lacks).all(|(what, expected)| what.contains(expected)),
            "{name}: {found:#?}"
        );
    }
}

#[tokio::test]
async fn the_statements_mend_what_is_missing() {
    for (name, engine, ..) in LAYOUTS {
        let mut database = Database::new(*engine).await;
        database.run(&ddl(name)).await;
        for shortcoming in database.layout().await.shortcomings() {
            match &shortcoming.statement {
                Some(statement) => database.run(statement).await,
                None => assert!(shortcoming.note.is_some(), "{name}: {}", shortcoming.what),
            }
        }
        let left: Vec<String> = database.layout().await.shortcomings().into_iter().map(|one| one.what).collect();
        let expected: &[&str] = if *name == "prisma.mysql" { &[NO_CASCADE] } else { &[] };
        assert!(
            left.len() == expected.len() && left.iter().zip(expected).all(|(what, word)| what.contains(word)),
            "{name}: {left:#?}"
        );
    }
}

#[tokio::test]
async fn an_index_over_a_part_is_none() {
    for (engine, part) in [
        (Engine::Sqlite, "CREATE UNIQUE INDEX part ON sessions (\"sessionToken\") WHERE expires > 0"),
        (Engine::Sqlite, "CREATE UNIQUE INDEX part ON sessions (lower(\"sessionToken\"))"),
        (Engine::Sqlite, "CREATE UNIQUE INDEX part ON sessions (\"sessionToken\", \"userId\")"),
        (Engine::Postgres, "CREATE UNIQUE INDEX part ON sessions (\"sessionToken\") WHERE expires > '2026-01-01'"),
        (Engine::Postgres, "CREATE UNIQUE INDEX part ON sessions (lower(\"sessionToken\"))"),
        (Engine::Postgres, "CREATE INDEX part ON sessions (\"sessionToken\")"),
        (Engine::Mysql, "CREATE UNIQUE INDEX part ON sessions (`sessionToken`(10))"),
    ] {
        let mut database = Database::new(engine).await;
        let quote = if engine == Engine::Mysql { '`' } else { '"' };
        let expires = if engine == Engine::Sqlite { "integer" } else { "timestamp" };
        database
            .run("CREATE TABLE users (id integer primary key, name varchar(9), email varchar(9), image varchar(9))")
            .await;
        database
            .run(&format!("CREATE TABLE sessions ({quote}sessionToken{quote} varchar(255), {quote}userId{quote} integer, expires {expires})"))
            .await;
        database.run(part).await;
        let shortcomings = database.layout().await.shortcomings();
        assert!(shortcomings.iter().any(|one| one.what.contains(BY_TOKEN)), "{part}: {shortcomings:#?}");
    }
}

#[tokio::test]
async fn prisma_is_told_in_its_own_words() {
    for (name, engine, maker, ..) in LAYOUTS {
        let mut database = Database::new(*engine).await;
        database.run(&ddl(name)).await;
        let notes: Vec<String> =
            database.layout().await.shortcomings().into_iter().filter_map(|one| one.note).collect();
        let is_prisma = matches!(maker, Maker::Prisma | Maker::PrismaClassic);
        assert_eq!(notes.iter().any(|note| note.contains("@@index([expires])")), is_prisma, "{name}: {notes:?}");
    }
}

#[tokio::test]
async fn mixed_forms_of_expires_are_seen_and_strange_ones_refused() {
    let mut database = Database::new(Engine::Sqlite).await;
    database.run(&ddl("prisma_classic.sqlite")).await;
    database.run("INSERT INTO User (id) VALUES ('u')").await;
    database.run("INSERT INTO Session VALUES ('a', 'a', 'u', 1790000000000), ('b', 'b', 'u', '2026-11-25T05:27:58.902+00:00')").await;
    let shortcomings = database.layout().await.shortcomings();
    assert!(
        shortcomings.iter().any(|one| one.what.contains("text in some rows and a number in others")),
        "{shortcomings:?}"
    );
    database.run("INSERT INTO Session VALUES ('c', 'c', 'u', 1790000000.5)").await;
    let refused = Layout::recognise(&database.catalogue().await).unwrap_err();
    assert!(
        matches!(&refused, Unrecognised::Type { column, kind, .. } if column == "expires" && kind == "real"),
        "{refused}"
    );
}

#[tokio::test]
async fn what_is_not_known_is_refused_and_said() {
    let users = "CREATE TABLE users (id integer primary key, name text, email text, image text);";
    let refused = async |sql: &str| {
        let mut database = Database::new(Engine::Postgres).await;
        database.run(sql).await;
        Layout::recognise(&database.catalogue().await).unwrap_err().to_string()
    };
    for (sql, said) in [
        (
            "CREATE TABLE other (id integer)".to_owned(),
            "none of its 1 tables has the columns sessionToken, userId and expires",
        ),
        (
            format!("{users} CREATE TABLE sessions (session_token text, user_id integer, expires timestamptz)"),
            "none of its 2 tables",
        ),
        (
            format!(
                "{users} CREATE TABLE sessions (\"sessionToken\" text, \"userId\" integer, expires timestamptz);
                 CREATE TABLE \"Session\" (\"sessionToken\" text, \"userId\" integer, expires timestamptz)"
            ),
            "several tables look like sessions of Auth.js: Session, sessions",
        ),
        (
            "CREATE TABLE sessions (\"sessionToken\" text, \"userId\" integer, expires timestamptz)".to_owned(),
            "the users of the table sessions are nowhere",
        ),
        // TypeORM keeps the digits of a number in a text.
        (
            format!("{users} CREATE TABLE sessions (\"sessionToken\" text, \"userId\" integer, expires varchar(255))"),
            "the column expires of the table sessions is of the type character varying(255)",
        ),
        (
            format!(
                "{users} CREATE TABLE sessions (\"sessionToken\" text, \"userId\" integer, expires timestamptz, tenant text NOT NULL)"
            ),
            "a session needs a value in the column tenant of the table sessions",
        ),
        (
            format!(
                "{users} CREATE TABLE sessions (id integer NOT NULL, \"sessionToken\" text, \"userId\" integer, expires timestamptz)"
            ),
            "a session needs a value in the column id of the table sessions",
        ),
        (
            format!("{users} CREATE TABLE sessions (\"sessionToken\" text, \"userId\" text, expires timestamptz)"),
            "the column userId of the table sessions is of the type text",
        ),
    ] {
        let text = refused(&sql).await;
        assert!(text.contains(said), "{sql}: {text}");
    }
}
