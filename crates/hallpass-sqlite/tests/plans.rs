//! SQLite's plan of every statement: none walks a table whose size grows with the number of sessions.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use hallpass_sqlite::statements::ALL;
use rusqlite::Connection;

/// Statements that read everything because that is what they are for, and why.
const WALKS: &[(&str, &str)] = &[
    ("COUNT", "counts every row there is; for operators"),
    ("NODES", "the registry, which has a row for each server"),
];
/// Sorts what an index cannot order: bounded by one user's sessions of one class.
const SORTS: &[&str] = &["LIMITED"];

#[tokio::test]
async fn no_statement_walks_a_table_that_grows() {
    let (directory, store) = common::store().await;
    let connection = Connection::open(directory.path().join("hallpass.db")).unwrap();
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).unwrap();
    for (name, sql) in ALL {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let parameters = vec![rusqlite::types::Null; statement.parameter_count()];
        let plan: Vec<String> = statement
            .query_map(rusqlite::params_from_iter(parameters), |row| row.get(3))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let walks = plan.iter().any(|step| {
            // A scan of the (nearly empty) marks' smallest or largest key is one seek; one over sessions is not.
            step.starts_with("SCAN") && !step.contains("CONSTANT ROW") && !one_seek(name, step)
        });
        let sorts = plan.iter().any(|step| step.contains("USE TEMP B-TREE"));
        assert_eq!(walks, WALKS.iter().any(|(walker, _)| walker == name), "{name}: {plan:#?}");
        assert_eq!(sorts, SORTS.contains(name), "{name}: {plan:#?}");
    }
    drop(store);
}

/// Reads from one end of a table in key order and stops at a LIMIT, or has one row at most.
fn one_seek(name: &str, step: &str) -> bool {
    match name {
        "FIRST_MARK" | "COUNT_MARKS" => step.contains("hallpass_marks"),
        "OLDEST_ENTRIES" => step.contains("hallpass_revocations"),
        _ => false,
    }
}

#[test]
fn there_is_no_upsert_and_one_statement_makes_sessions() {
    for (name, sql) in ALL {
        let upper = sql.to_uppercase();
        let upserts = upper.contains("ON CONFLICT") || upper.contains("REPLACE");
        assert_eq!(upserts, *name == "REGISTER_NODE", "{name}: a node is no session");
        assert_eq!(upper.contains("INSERT INTO HALLPASS_SESSIONS"), *name == "INSERT", "{name}");
    }
}

#[test]
fn the_list_is_whole() {
    let source = include_str!("../src/statements.rs");
    let consts = source.matches("\npub const ").count() - 1;
    assert_eq!(consts, ALL.len(), "every statement but the list itself");
    for file in ["change", "create", "revoke", "settle", "sweep", "list", "nodes", "revocation_log", "store"] {
        let path = format!("{}/src/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        for verb in ["\"SELECT ", "\"UPDATE ", "\"INSERT ", "\"DELETE "] {
            assert!(!text.contains(verb), "{file}.rs has a statement of its own");
        }
    }
}
