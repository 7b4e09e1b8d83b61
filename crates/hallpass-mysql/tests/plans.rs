//! The server's plan of every statement: none walks a table whose size grows with the number of sessions.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use hallpass_mysql::statements::ALL;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row, Value};

/// Statements that read everything because that is what they are for.
const WALKS: &[&str] = &["COUNT", "COUNT_LIVE"];
/// Sorts what an index cannot order: bounded by one user's sessions of one class, by two pages, or by one page of the log.
const SORTS: &[&str] = &["LIMITED", "LIST_OF_USER", "CHANGES"];

/// 20,000 sessions of 500 users, one in five of them ended, a log and marks.
async fn filled() -> (String, hallpass_mysql::MysqlStore) {
    let (url, store) = common::store().await;
    let mut conn = common::beside(&url).await;
    let digits = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL \
                  SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
    let numbers = format!(
        "(SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d AS n FROM {digits} a, {digits} b, {digits} c, {digits} e, \
         (SELECT 0 AS d UNION ALL SELECT 1) f) AS numbers"
    );
    conn.query_drop(format!(
        "INSERT INTO hallpass_sessions (id, token_hash, user_id, class, created_at, authenticated_at, renewed_at, last_seen_at, \
         idle_expires_at, absolute_expires_at, due_at, epoch, ended, ended_at, ended_position, ended_by_kind, ended_by, ended_reason, \
         attributes_version, methods, source, attributes) \
         SELECT UNHEX(LPAD(HEX(n), 32, '0')), UNHEX(SHA2(n, 256)), CONCAT('user-', n MOD 500), 'web', n, n, n, n, n + 1000, n + 9000, \
         IF(n MOD 5 = 0, NULL, n + 1000), 0, n MOD 5 = 0, IF(n MOD 5 = 0, n, NULL), IF(n MOD 5 = 0, 1, NULL), 'user', 'x', 'revoked', 0, \
         '[]', '', '{{}}' FROM {numbers}"
    ))
    .await
    .unwrap();
    conn.query_drop(format!(
        "INSERT INTO hallpass_revocations (n, kind, nonce, at) SELECT n + 1, 'everyone', 'nonce---', n FROM {numbers}"
    ))
    .await
    .unwrap();
    conn.query_drop(format!(
        "INSERT INTO hallpass_marks SELECT n + 1, CONCAT('user-', n), 1, 'user', 'x', 'revoked', '' FROM {numbers} WHERE n < 200"
    ))
    .await
    .unwrap();
    conn.query_drop("ANALYZE TABLE hallpass_sessions, hallpass_revocations, hallpass_marks").await.unwrap();
    conn.disconnect().await.unwrap();
    (url, store)
}

/// A step of a plan.
#[derive(Debug)]
struct Step {
    table: String,
    access: String,
    rows: u64,
    extra: String,
}

async fn plan(conn: &mut Conn, sql: &str) -> Vec<Step> {
    let id = |n: u16| format!("x'{n:032x}'");
    let many: Vec<String> = (100..400).map(id).collect();
    let sql = sql
        .replace("{ids}", &many.join(","))
        .replace("{times}", &format!("CASE s.id WHEN {} THEN 7 END", id(100)))
        .replace("{now}", "15000")
        .replace("{at}", &format!("CASE s.id WHEN {} THEN 7 END", id(100)))
        .replace("{n}", "1")
        .replace("{by_kind}", "x'00'")
        .replace("{by_name}", "x'00'")
        .replace("{reason}", "x'00'");
    // Parameters as they come: an id, a user, a time.
    let values = parameters(&sql);
    let rows: Vec<Row> = conn.exec(format!("EXPLAIN {sql}"), values).await.unwrap();
    let text = |row: &Row, column: &str| row.get::<Option<String>, _>(column).flatten().unwrap_or_default();
    let step = |row: Row| Step {
        table: text(&row, "table"),
        access: text(&row, "type"),
        rows: row.get::<Option<u64>, _>("rows").flatten().unwrap_or(0),
        extra: text(&row, "Extra"),
    };
    rows.into_iter().map(step).collect()
}

/// A fitting value for each parameter, by what stands before it.
fn parameters(sql: &str) -> Vec<Value> {
    let pieces: Vec<&str> = sql.split('?').map(str::trim_end).collect();
    let value = |before: &&str| {
        let ends = |endings: &[&str]| endings.iter().any(|ending| before.ends_with(ending));
        if ends(&["user_id ="]) {
            Value::Bytes(b"user-3".to_vec())
        } else if ends(&["id =", "id <", "id <>", "id >"]) {
            Value::Bytes([[0; 14].as_slice(), &[0x27, 0x11]].concat())
        } else if ends(&["class =", "AND (", "WHERE ("]) {
            Value::Bytes(b"web".to_vec())
        } else if ends(&["LIMIT"]) {
            Value::Int(51)
        } else {
            Value::Int(2_000)
        }
    };
    pieces[..pieces.len() - 1].iter().map(value).collect()
}

#[tokio::test]
async fn no_statement_walks_a_table_that_grows() {
    let (url, store) = filled().await;
    let mut conn = common::beside(&url).await;
    for (name, sql) in ALL {
        if ["INSERT", "LOG", "LOG_EACH", "MARK", "REGISTER_NODE"].contains(name) {
            // Rows by their values.
            continue;
        }
        let plan = plan(&mut conn, sql).await;
        assert!(!plan.is_empty(), "{name}");

        let walks = plan.iter().any(|step| {
            let whole = matches!(step.access.as_str(), "ALL" | "index") && step.rows > 1_000;
            whole && !step.table.starts_with('<')
        });
        let sorts = plan.iter().any(|step| step.extra.contains("filesort") || step.extra.contains("temporary"));
        assert_eq!(walks, WALKS.contains(name), "{name}: {plan:#?}");
        assert!(!sorts || SORTS.contains(name), "{name}: {plan:#?}");
        // Bounded by a page, a batch, or one user's rows; counts and sweeps of everything apart.
        let everything = ["COUNT", "COUNT_LIVE", "COUNT_LIVE_WITHOUT_MARKS", "SWEEPABLE", "COUNT_MARKS"].contains(name)
            || ["DUE", "OLD_ENDED", "OLDEST_ENTRIES", "SWEEP_LOG", "CHANGES", "LIST", "LIST_LIVE", "UNSETTLED"]
                .contains(name);
        let most = plan.iter().map(|step| step.rows).max().unwrap();
        assert!(everything || most <= 400, "{name} looks at {most} rows: {plan:#?}");
    }
    drop(store);
}

/// What the plan of a statement with a LIMIT estimates is not what it reads: these read no more than they are to answer.
#[tokio::test]
async fn statements_with_a_limit_stop_there() {
    let (url, store) = filled().await;
    let mut conn = common::beside(&url).await;
    conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await.unwrap();
    let names = [
        "DUE",
        "OLD_ENDED",
        "OLDEST_ENTRIES",
        "CHANGES",
        "LIST",
        "UNSETTLED",
        "UNSETTLED_OF_USER",
        "LIST_OF_USER",
        "FIRST_MARK",
        "ANY_UNENDED",
    ];
    for name in names {
        let (_, sql) = ALL.iter().find(|(known, _)| *known == name).unwrap();
        conn.query_drop("FLUSH LOCAL STATUS").await.unwrap();
        conn.query_drop("START TRANSACTION").await.unwrap();
        conn.exec_drop(*sql, parameters(sql)).await.unwrap();
        conn.query_drop("ROLLBACK").await.unwrap();
        let read: Vec<(String, String)> = conn.query("SHOW SESSION STATUS LIKE 'Handler_read%'").await.unwrap();
        let read: u64 = read.iter().map(|(_, count)| count.parse::<u64>().unwrap()).sum();
        assert!(read <= 51 * 8, "{name} read {read} rows");
    }
    drop(store);
}

#[test]
fn there_is_no_upsert_and_one_statement_makes_sessions() {
    for (name, sql) in ALL {
        let upper = sql.to_uppercase();
        let upserts = ["ON DUPLICATE", "REPLACE", "IGNORE"].iter().any(|words| upper.contains(words));
        assert_eq!(upserts, *name == "REGISTER_NODE", "{name}: a node is no session");
        assert!(!upper.contains("RETURNING"), "{name}: MySQL has none");
        assert_eq!(upper.contains("INSERT INTO HALLPASS_SESSIONS"), *name == "INSERT", "{name}");
    }
}

#[test]
fn the_list_is_whole() {
    let source = include_str!("../src/statements.rs");
    let consts = source.matches("\npub const ").count() - 1;
    assert_eq!(consts, ALL.len(), "every statement but the list itself");
    for file in
        ["change", "create", "find", "list", "nodes", "revocation_log", "revoke", "settle", "store", "sweep", "touch"]
    {
        let path = format!("{}/src/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        for verb in ["\"SELECT ", "\"UPDATE ", "\"INSERT ", "\"DELETE "] {
            assert!(!text.contains(verb), "{file}.rs has a statement of its own");
        }
    }
}
