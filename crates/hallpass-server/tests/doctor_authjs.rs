//! `hallpass doctor --authjs`, on a database of each engine.

#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::fs;
use std::path::Path;

use mysql_async::prelude::Queryable as _;
use rusqlite::Connection;
use serde_json::Value;
use support::Place;
use tokio_postgres::NoTls;

fn ddl(name: &str) -> String {
    let layouts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hallpass-authjs/tests/layouts");
    fs::read_to_string(layouts.join(format!("{name}.sql"))).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "tests are told by the environment where their servers are")]
fn server(name: &str) -> String {
    std::env::var(name).unwrap()
}

/// The findings about Auth.js: verdict, what was found, and how to mend it.
fn findings(place: &Place, url: &str) -> Vec<(String, String, String)> {
    let printed: Value = serde_json::from_str(&place.done(&["doctor", "--authjs", url, "--json"])).unwrap();
    let of_authjs = printed["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == "Auth.js");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    of_authjs.map(|one| (text(&one["verdict"]), text(&one["found"]), text(&one["fix"]))).collect()
}

#[test]
fn a_file_of_prisma_is_recognised_and_left_as_it_is() {
    let place = Place::new();
    let file = place.path().join("dev.db");
    let database = Connection::open(&file).unwrap();
    database.execute_batch(&ddl("prisma.sqlite")).unwrap();
    drop(database);
    let before = fs::read(&file).unwrap();
    let printed = place.done(&["doctor", "--authjs", "sqlite:dev.db"]);
    for line in [
        "ok       Auth.js: Prisma, with createdAt and updatedAt, in sqlite:dev.db: sessions in Session, users in User\n",
        "ok       Auth.js: expires is text or milliseconds, as each row was written\n",
        "warning  Auth.js: no index on expires: each clean-up looks at every session\n",
        "         fix: CREATE INDEX \"Session_expires_idx\" ON \"Session\" (\"expires\"); so that Prisma knows it: @@index([expires])\n",
    ] {
        assert!(printed.contains(line), "{line}{printed}");
    }
    assert_eq!(fs::read(&file).unwrap(), before);
    assert!(!place.database().exists(), "and hallpass's own was not made");
}

#[tokio::test]
async fn databases_of_servers_are_recognised() {
    let place = Place::new();
    let schema = format!("doctor_authjs_{}", std::process::id());
    let url = server("HALLPASS_TEST_POSTGRES");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("CREATE SCHEMA {schema}; SET search_path = {schema}")).await.unwrap();
    client.batch_execute(&ddl("pg_adapter.postgres")).await.unwrap();
    let joint = if url.contains('?') { '&' } else { '?' };
    let found = findings(&place, &format!("{url}{joint}schema={schema}"));
    assert!(found[0].1.starts_with("@auth/pg-adapter, in postgres://"), "{found:#?}");
    assert!(found.iter().any(|(verdict, _, fix)| verdict == "warning"
        && fix
            == "CREATE UNIQUE INDEX CONCURRENTLY \"sessions_sessionToken_key\" ON \"sessions\" (\"sessionToken\");"));

    let url = server("HALLPASS_TEST_MARIADB");
    let mut connection = mysql_async::Conn::new(mysql_async::Opts::from_url(&url).unwrap()).await.unwrap();
    connection.query_drop(format!("CREATE DATABASE {schema}")).await.unwrap();
    connection.query_drop(format!("USE {schema}")).await.unwrap();
    let text = ddl("drizzle.mysql");
    for statement in text.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        connection.query_drop(statement).await.unwrap();
    }
    let (server, query) = url.split_once('?').unwrap_or((&url, ""));
    let (server, _) = server.rsplit_once('/').unwrap();
    let found = findings(&place, &format!("{server}/{schema}?{query}"));
    assert!(found[0].1.starts_with("Drizzle, in mysql://"), "{found:#?}");
    assert!(found.iter().any(|(_, what, fix)| what.contains("whole seconds")
        && fix == "ALTER TABLE `session` MODIFY `expires` timestamp(3) NOT NULL;"));
}

#[test]
fn what_cannot_be_read_or_recognised_fails_and_says_why() {
    let place = Place::new();
    Connection::open(place.path().join("other.db")).unwrap().execute_batch("CREATE TABLE notes (id integer)").unwrap();
    for (url, said) in [
        ("sqlite:missing.db", "failed   Auth.js: cannot read sqlite:missing.db: unable to open database file"),
        (
            "sqlite:other.db",
            "failed   Auth.js: sqlite:other.db: none of its 1 tables has the columns sessionToken, userId and expires",
        ),
        ("postgres://u:hunter22@127.0.0.1:1/app", "failed   Auth.js: cannot read postgres://127.0.0.1:1/app: "),
        ("mysql://u:hunter22@127.0.0.1:1/app", "failed   Auth.js: cannot read mysql://127.0.0.1:1/app: "),
    ] {
        let output = place.run(&["doctor", "--authjs", url]);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{printed}");
        assert!(printed.contains(said) && !printed.contains("hunter22"), "{said}\n{printed}");
    }
    assert!(!place.path().join("missing.db").exists());
    let refused = place.run(&["doctor", "--authjs", "redis://127.0.0.1"]);
    let printed = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(printed.contains("authjs") && printed.contains("name an SQL database"), "{printed}");
    fs::write(place.path().join("url"), "sqlite:other.db").unwrap();
    let by_file = place.run(&["doctor", "--authjs-file", "url"]);
    assert!(String::from_utf8_lossy(&by_file.stdout).contains("none of its 1 tables"));
}
