//! The public suite on a server whose every default is unusual.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;

use common::instance::Instance;
use common::{NOW, beside, fresh_database_at, open_transactions, record, small, user, with_database};
use hallpass_core::Store;
use hallpass_mysql::MysqlStore;
use mysql_async::prelude::Queryable as _;
use tokio::sync::OnceCell;

/// One for all tests of this file; it ends with their process.
static ODD: OnceCell<Instance> = OnceCell::const_new();

const DEFAULTS: &[&str] = &[
    "SET GLOBAL time_zone = '+12:45'",
    "SET GLOBAL TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
    "SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,HIGH_NOT_PRECEDENCE,PIPES_AS_CONCAT,SIMULTANEOUS_ASSIGNMENT'",
    "SET GLOBAL completion_type = 'CHAIN'",
    "SET GLOBAL innodb_lock_wait_timeout = 1",
    "SET GLOBAL character_set_server = latin1",
    "SET GLOBAL collation_server = latin1_german1_ci",
    "SET GLOBAL character_set_client = latin1",
    "SET GLOBAL character_set_connection = latin1",
    "SET GLOBAL character_set_results = latin1",
    "SET GLOBAL collation_connection = latin1_german1_ci",
    "SET GLOBAL sql_safe_updates = 1",
    "SET GLOBAL sql_big_selects = 0",
    "SET GLOBAL max_join_size = 3",
    "SET GLOBAL sql_auto_is_null = 1",
    "SET GLOBAL sql_select_limit = 1",
    "SET GLOBAL default_storage_engine = MyISAM",
    "SET GLOBAL query_cache_size = 1048576",
    "SET GLOBAL query_cache_type = ON",
    // Last: everything after it would want a commit.
    "SET GLOBAL autocommit = 0",
];

async fn odd_server() -> &'static Instance {
    ODD.get_or_init(async || {
        let instance = Instance::start().await;
        let mut conn = beside(&instance.direct).await;
        for sql in DEFAULTS {
            conn.query_drop(*sql).await.unwrap();
        }
        instance
    })
    .await
}

/// In a database whose texts are compared as German does.
async fn odd_database() -> String {
    let server = &odd_server().await.direct;
    let url = fresh_database_at(server).await;
    let name = url.rsplit('/').next().unwrap();
    let mut conn = beside(&with_database(server, "")).await;
    conn.query_drop("SET SESSION TRANSACTION READ WRITE").await.unwrap();
    conn.query_drop(format!("ALTER DATABASE {name} CHARACTER SET latin1 COLLATE latin1_german1_ci")).await.unwrap();
    url
}

async fn fresh_store() -> Arc<dyn Store> {
    Arc::new(MysqlStore::connect(&odd_database().await, small()).await.unwrap())
}

hallpass_conformance::store_tests!(fresh_store);

/// The defaults did reach a new connection, or the suite above shows nothing.
#[tokio::test]
async fn the_defaults_are_odd_indeed() {
    let url = odd_database().await;
    let mut conn = beside(&url).await;
    let sql = "SELECT @@time_zone, @@tx_isolation, @@completion_type, @@sql_mode";
    let texts: Option<(String, String, String, String)> = conn.query_first(sql).await.unwrap();
    let (zone, isolation, completion, mode) = texts.unwrap();
    assert_eq!((zone.as_str(), isolation.as_str(), completion.as_str()), ("+12:45", "SERIALIZABLE", "CHAIN"));
    let sql = "SELECT @@tx_read_only, @@autocommit, @@sql_safe_updates, @@sql_select_limit";
    let numbers: Option<(u8, u8, u8, u64)> = conn.query_first(sql).await.unwrap();
    assert_eq!(numbers, Some((1, 0, 1, 1)));
    assert!(mode.contains("ANSI_QUOTES") && !mode.contains("STRICT"), "{mode}");
}

/// Where a server begins a transaction by itself, a read must not leave it open.
#[tokio::test]
async fn no_call_leaves_a_transaction_open() {
    let url = odd_database().await;
    let store = MysqlStore::connect(&url, small()).await.unwrap();
    let mut conn = beside(&url).await;
    conn.query_drop("SET SESSION autocommit = 1, sql_big_selects = 1").await.unwrap();
    let new = record(&user("alice"), NOW);
    store.create(&new, NOW, None).await.unwrap();
    assert_eq!(open_transactions(&mut conn).await, 0, "after a creation");
    assert_eq!(store.find(new.session.id).await.unwrap(), Some(new));
    // Longer than the server answers from its copy.
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    assert_eq!(open_transactions(&mut conn).await, 0, "after a read");
}

/// Every table is made the same way: the engine, the row format and bytes instead of text.
#[tokio::test]
async fn the_tables_are_the_same_as_anywhere() {
    let url = odd_database().await;
    MysqlStore::connect(&url, small()).await.unwrap().close().await;
    let mut conn = beside(&url).await;
    conn.query_drop("SET SESSION sql_select_limit = 1000, sql_big_selects = 1").await.unwrap();
    let sql = "SELECT TABLE_NAME, ENGINE, ROW_FORMAT, TABLE_COLLATION FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()";
    let tables: Vec<(String, String, String, String)> = conn.query(sql).await.unwrap();
    assert_eq!(tables.len(), 7, "{tables:?}");
    for (table, engine, format, collation) in tables {
        assert_eq!((engine.as_str(), format.as_str(), collation.as_str()), ("InnoDB", "Dynamic", "binary"), "{table}");
    }
    let sql = "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND COLLATION_NAME IS NOT NULL";
    let texts: Option<u64> = conn.query_first(sql).await.unwrap();
    assert_eq!(texts, Some(0), "no column has a collation");
}
