//! PostgreSQL's plan of every statement: none walks a table whose size grows with the number of sessions.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test stops at what should not fail")]

mod common;

use hallpass_postgres::statements::{ALL, Sql};
use tokio_postgres::Client;

/// Statements that read everything because that is what they are for, and why.
const WALKS: &[(&str, &str)] = &[
    ("COUNT", "counts every row there is; for operators"),
    ("COUNT_LIVE", "counts every live session; for operators"),
    ("COUNT_LIVE_WITHOUT_MARKS", "counts every live session; for health"),
    ("SWEEPABLE", "counts everything that a sweep would remove"),
];

/// The types of parameters that PostgreSQL cannot tell from their places.
fn types(name: &str) -> &'static str {
    match name {
        "INSERT" => {
            "(uuid, bytea, text, text, bigint, bigint, bigint, bigint, bigint, bigint, text, text, text, text, bigint, text, text)"
        }
        "INSERT_LIMITED" => {
            "(uuid, bytea, text, text, bigint, bigint, bigint, bigint, bigint, bigint, text, text, text, text, bigint, text, text, \
             bigint, bigint, bigint, bigint, boolean, text, text, text)"
        }
        "ROTATE" => "(uuid, bigint, bytea, bytea)",
        "REAUTHENTICATE" => "(uuid, bigint, bytea, bytea, bigint, bigint, text, text, text, text)",
        "SET_ATTRIBUTES" => "(uuid, bigint, bigint, text)",
        "TOUCH" => "(uuid[], bigint[], bigint)",
        "REVOKE_SESSION" => "(uuid, bigint, text, text, text, text)",
        "REVOKE_USER" => "(text, bigint, text, text, text)",
        "REVOKE_OTHERS" => "(text, bigint, uuid, text, text, text)",
        "REVOKE_EVERYONE" => "(bigint, text, text, text)",
        "LOCK_FOR_SESSION" => "(uuid, text)",
        "LIST_LIVE_OF_USER" => "(text, uuid, bigint, text, bigint)",
        "LIST_OF_USER" => "(text, uuid, text, bigint)",
        "LIST_LIVE" => "(uuid, bigint, text, bigint)",
        "LIST" => "(uuid, text, bigint)",
        "COUNT_LIVE_OF_USER" => "(text, bigint, text)",
        "COUNT_OF_USER" => "(text, text)",
        "COUNT_LIVE" => "(bigint, text)",
        "COUNT" => "(text)",
        "REGISTER_NODE" | "HEARTBEAT" => "(uuid, bigint, bigint, bigint, bigint)",
        _ => "",
    }
}

fn parameters(text: &str) -> usize {
    (1..=25).rev().find(|n| text.contains(&format!("${n}"))).unwrap_or(0)
}

async fn fill(client: &Client) {
    let columns = "class, created_at, authenticated_at, renewed_at, last_seen_at, idle_expires_at, due_at, absolute_expires_at, epoch, \
                   methods, source, attributes_version, attributes";
    client
        .batch_execute(&format!(
            "INSERT INTO hallpass_sessions (id, token_hash, user_id, {columns}) \
             SELECT gen_random_uuid(), decode(repeat('ab', 32), 'hex'), 'user ' || n % 2000, 'web', n, n, n, n, 1000 + n, 1000 + n, \
             9000000, 0, '[]', '', 0, '{{}}' FROM generate_series(1, 40000) n; \
             UPDATE hallpass_sessions SET ended_at = created_at, ended_position = 1, ended_by_kind = 'system', ended_by = '', \
             ended_reason = 'limit' WHERE created_at % 4 = 0; \
             INSERT INTO hallpass_revocations (n, kind, at) SELECT n, 'everyone', n FROM generate_series(1, 20000) n; \
             INSERT INTO hallpass_marks (n, user_id, at, by_kind, by_name, reason) SELECT n, 'user ' || n, n, 'system', '', 'limit' \
             FROM generate_series(1, 3) n"
        ))
        .await
        .unwrap();
    for table in ["sessions", "revocations", "marks", "counter"] {
        client.batch_execute(&format!("VACUUM ANALYZE hallpass_{table}")).await.unwrap();
    }
}

async fn plan(client: &Client, sql: Sql, schema: &str) -> Vec<String> {
    let text = sql.text.replace("hp.", &format!("{schema}."));
    let name = sql.name.to_lowercase();
    client
        .batch_execute(&format!("PREPARE {name} {} AS {text}", types(sql.name)))
        .await
        .unwrap_or_else(|error| panic!("{}: {error:?}", sql.name));
    let nulls = vec!["NULL"; parameters(sql.text)].join(", ");
    let arguments = if nulls.is_empty() { String::new() } else { format!("({nulls})") };
    let rows = client.simple_query(&format!("EXPLAIN EXECUTE {name}{arguments}")).await.unwrap();
    rows.iter()
        .filter_map(|row| match row {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn no_statement_walks_a_table_that_grows() {
    let schema = common::fresh_schema();
    let url = common::with_schema(&common::url(), &schema);
    let store = common::connect(&url).await;
    let client = common::plain(&url).await;
    fill(&client).await;
    // As the store sets it.
    client.batch_execute("SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan").await.unwrap();
    for sql in ALL {
        let plan = plan(&client, *sql, &schema).await;
        let walks = plan.iter().any(|step| {
            step.contains("Seq Scan on hallpass_sessions") || step.contains("Seq Scan on hallpass_revocations")
        });
        let allowed = WALKS.iter().any(|(walker, _)| *walker == sql.name);
        assert!(!walks || allowed, "{}: {}", sql.name, plan.join("\n"));
        // Pages come in the order of an index; the merge of two of them sorts two pages.
        let sorts = plan.iter().filter(|step| step.contains("->  Sort") || step.starts_with("Sort")).count();
        let pages = sql.name.starts_with("LIST") || sql.name.starts_with("SWEEP_") || sql.name.starts_with("REVOKE");
        let merged = usize::from(sql.name == "LIST_OF_USER");
        assert!(!pages || sorts <= merged, "{}: {}", sql.name, plan.join("\n"));
    }
    store.close().await;
}

#[test]
fn there_is_no_upsert_and_two_statements_make_sessions() {
    for sql in ALL {
        let upper = sql.text.to_uppercase();
        let upserts = upper.contains("ON CONFLICT") || upper.contains("MERGE");
        assert_eq!(upserts, sql.name == "REGISTER_NODE", "{}: a node is no session", sql.name);
        let makes = matches!(sql.name, "INSERT" | "INSERT_LIMITED");
        assert_eq!(upper.contains("INSERT INTO HP.HALLPASS_SESSIONS"), makes, "{}", sql.name);
    }
}

#[test]
fn the_list_is_whole() {
    for file in [
        "change",
        "checks",
        "create",
        "revoke",
        "settle",
        "sweep",
        "list",
        "nodes",
        "hints",
        "revocation_log",
        "health",
        "store",
    ] {
        let path = format!("{}/src/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        for verb in ["\"SELECT ", "\"UPDATE ", "\"INSERT ", "\"DELETE "] {
            assert!(!text.contains(verb), "{file}.rs has a statement of its own");
        }
    }
}
