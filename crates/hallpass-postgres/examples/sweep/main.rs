//! How fast a million expired sessions leave among a million live ones, and what 2,000 checks a second notice of it. The database is named by the
//! first argument; a schema `sweep_cost` is made in it and removed:
//! `cargo run --release -p hallpass-postgres --example sweep -- postgres://postgres@127.0.0.1/postgres [ROWS [BATCH]]`.

mod measure;

use std::sync::Arc;

use hallpass_postgres::{PostgresOptions, PostgresStore};
use measure::{Arguments, Failure, Fill, measure};
use tokio_postgres::NoTls;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::read()?;
    let (admin, connection) = tokio_postgres::connect(&arguments.database, NoTls).await?;
    tokio::spawn(connection);
    admin.batch_execute("DROP SCHEMA IF EXISTS sweep_cost CASCADE").await?;
    let options = PostgresOptions { schema: Some(String::from("sweep_cost")), ..PostgresOptions::default() };
    let store = Arc::new(PostgresStore::connect(&arguments.database, options).await?);
    measure("PostgreSQL", store, &arguments, async |wanted| fill(&admin, wanted).await).await?;
    admin.batch_execute("DROP SCHEMA sweep_cost CASCADE").await?;
    Ok(())
}

async fn fill(admin: &tokio_postgres::Client, wanted: Fill) -> Result<(), Failure> {
    let Fill { rows, all_expired, first, expired, live } = wanted;
    let same = "token_hash, class, created_at, authenticated_at, renewed_at, last_seen_at, epoch, ip, methods, source, attributes_version, \
                user_agent, attributes";
    let columns = format!("id, user_id, idle_expires_at, due_at, absolute_expires_at, {same}");
    let deadline = format!("CASE WHEN {all_expired} OR n % 2 = 0 THEN {expired} ELSE {live} END + n");
    let sql = format!(
        "INSERT INTO sweep_cost.hallpass_sessions ({columns}) \
         SELECT (lpad(to_hex({first} + n), 12, '0') || right(gen_random_uuid()::text, 23))::uuid, 'user ' || n % 300000, \
         {deadline}, {deadline}, {deadline}, {same} \
         FROM (SELECT * FROM sweep_cost.hallpass_sessions LIMIT 1) one, generate_series(1, {rows}) n"
    );
    admin.batch_execute(&sql).await?;
    admin.batch_execute("VACUUM ANALYZE sweep_cost.hallpass_sessions").await?;
    admin.batch_execute("CHECKPOINT").await?;
    Ok(())
}
