//! How fast a million expired sessions leave among a million live ones, and what 2,000 checks a second notice of it. The server is named by the first
//! argument; a database `sweep_cost` is made in it and removed. Needs MariaDB, whose sequences fill the table:
//! `cargo run --release -p hallpass-mysql --example sweep -- mysql://root@127.0.0.1 [ROWS [BATCH]]`.

#[path = "../../hallpass-postgres/examples/sweep/measure.rs"]
mod measure;

use std::sync::Arc;

use hallpass_mysql::{MysqlOptions, MysqlStore};
use measure::{Arguments, Failure, Fill, measure};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

/// Rows of one commit.
const PART: u64 = 100_000;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments = Arguments::read()?;
    let mut url = url::Url::parse(&arguments.database)?;
    url.set_path("");
    let mut admin = Conn::from_url(url.as_str()).await?;
    admin.query_drop("DROP DATABASE IF EXISTS sweep_cost").await?;
    admin.query_drop("CREATE DATABASE sweep_cost").await?;
    url.set_path("sweep_cost");
    let store = Arc::new(MysqlStore::connect(url.as_str(), MysqlOptions::default()).await?);
    measure("MariaDB", store, &arguments, async |wanted| fill(&mut admin, wanted).await).await?;
    admin.query_drop("DROP DATABASE sweep_cost").await?;
    admin.disconnect().await?;
    Ok(())
}

async fn fill(admin: &mut Conn, wanted: Fill) -> Result<(), Failure> {
    let Fill { rows, all_expired, first, expired, live } = wanted;
    let same = "token_hash, class, created_at, authenticated_at, renewed_at, last_seen_at, epoch, ended, ip, attributes_version, methods, source, \
                user_agent, attributes";
    let deadline = format!("IF({all_expired} OR seq % 2 = 0, {expired}, {live}) + seq");
    for begin in (0..rows).step_by(PART as usize) {
        let (from, to) = (begin + 1, (begin + PART).min(rows));
        let sql = format!(
            "INSERT INTO sweep_cost.hallpass_sessions (id, user_id, idle_expires_at, due_at, absolute_expires_at, {same}) \
             SELECT UNHEX(CONCAT(LPAD(HEX({first} + seq), 12, '0'), '7000', RIGHT(MD5(seq), 16))), CONCAT('user ', seq % 300000), \
             {deadline}, {deadline}, {deadline}, {same} \
             FROM (SELECT * FROM sweep_cost.hallpass_sessions LIMIT 1) one, sweep_cost.seq_{from}_to_{to}"
        );
        admin.query_drop(sql).await?;
    }
    Ok(admin.query_drop("ANALYZE TABLE sweep_cost.hallpass_sessions").await?)
}
