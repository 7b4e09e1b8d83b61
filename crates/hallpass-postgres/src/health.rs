//! What the database says about itself.

use hallpass_core::Timestamp;
use hallpass_core::store::{Filter, Health};

use crate::database::Database;
use crate::failure::Failure;
use crate::row::Reader;
use crate::session::Step;
use crate::settle::count_marks;
use crate::statements::{COUNT_LIVE_WITHOUT_MARKS, FACTS};
use crate::value::Value;
use crate::{list, migrations};

pub(crate) async fn health(database: &Database, now: Timestamp) -> Result<Health, Failure> {
    let rows = database.read(&[Step::new(FACTS, Vec::new())]).await?;
    let row = rows.first().and_then(|rows| rows.first());
    let facts = Reader::new(
        row.ok_or_else(|| database.failures().corrupt("the server told nothing about itself"))?,
        database.failures(),
    );
    let marks = count_marks(database).await?;
    let session = database.lanes.take(database.deadline()).await?.session;
    let (updates, hot) = (facts.number(3)?, facts.number(4)?);
    let (queries, reads) = database.checks.counts();
    let (open, opened) = database.lanes.counts();
    let connections = open + usize::from(database.checks.is_up());
    let direct =
        if session.is_direct() { "direct, statements are prepared" } else { "through a pooler, nothing is prepared" };
    let durable = facts.get::<&str>(6)? == "on" && facts.get::<&str>(7)? == "on";
    let warnings = (!durable).then(|| {
        String::from(
            "fsync or full_page_writes is off on this server, so a crash can undo acknowledged sign-ins and revocations; set both on",
        )
    });
    let durable = if durable { "yes" } else { "no" };
    let standbys = facts.get::<&str>(9)?;
    let standbys = if standbys.is_empty() { "none: a failover may lose acknowledged changes" } else { standbys };
    let detail = |name: &str, value: String| (String::from(name), value);
    let details = vec![
        detail(
            "database",
            format!("{} (schema {})", database.connector.target().place, database.connector.target().schema),
        ),
        detail(
            "connections",
            format!("{connections} open, {} opened since start; {direct}", opened + database.checks.opened()),
        ),
        detail("table size", format!("{} bytes", facts.number(2)?)),
        detail("heap-only updates", format!("{hot} of {updates}; {} dead rows wait for vacuum", facts.number(5)?)),
        detail("durable commits", format!("{durable} (synchronous_commit = {})", session.server().durable)),
        detail("synchronous standbys", standbys.to_owned()),
        detail("checks since start", format!("{reads} by {queries} queries")),
        detail("revocations still to settle", marks.to_string()),
    ];
    Ok(Health {
        engine: format!("PostgreSQL {}", session.server().version),
        // Opening and `migrate` refuse any other.
        schema: migrations::NEWEST,
        clock: Some(facts.time(0)?),
        live: live(database, marks, now).await?,
        details,
        warnings: warnings.into_iter().collect(),
    })
}

async fn live(database: &Database, marks: u64, now: Timestamp) -> Result<u64, Failure> {
    if marks > 0 {
        return list::count(database, &Filter::default(), now).await;
    }
    let rows = database.read(&[Step::new(COUNT_LIVE_WITHOUT_MARKS, vec![Value::time(now)])]).await?;
    let row = rows.first().and_then(|rows| rows.first());
    row.map_or(Ok(0), |row| Reader::new(row, database.failures()).number(0))
}
