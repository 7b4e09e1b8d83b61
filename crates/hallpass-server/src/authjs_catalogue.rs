//! Reading what an Auth.js database says of its tables.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hallpass_authjs::Catalogue;
use rusqlite::{Connection, OpenFlags};

use crate::settings::SqlDatabase;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads the catalogue. Writes nothing, and makes no file.
///
/// # Errors
/// When the database does not answer in time, or refuses. The text names it, without a password.
pub(crate) async fn read(database: &SqlDatabase) -> Result<Catalogue> {
    let reading = async {
        match database {
            SqlDatabase::Sqlite(path) => {
                let path = path.clone();
                tokio::task::spawn_blocking(move || of_sqlite(&path)).await.context("reading was interrupted")?
            }
            SqlDatabase::Postgres(url) => of_postgres(url.expose()).await,
            SqlDatabase::Mysql(url) => {
                let address = hallpass_mysql::Address::parse(url.expose())?;
                Ok(Catalogue::of_mysql(&mut address.connect(PATIENCE).await?).await?)
            }
        }
    };
    let read = tokio::time::timeout(PATIENCE, reading).await.context("no answer in time; check that it can be reached");
    read.flatten().with_context(|| format!("cannot read {database}"))
}

fn of_sqlite(path: &Path) -> Result<Catalogue> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(PATIENCE / 2)?;
    Ok(Catalogue::of_sqlite(&connection)?)
}

async fn of_postgres(url: &str) -> Result<Catalogue> {
    let address = hallpass_postgres::Address::parse(url)?;
    let schema = address.schema().unwrap_or("public");
    let mut why = None;
    for host in address.each_host() {
        match host.connect(address.tls()?).await {
            Ok((client, connection)) => {
                let connection = tokio::spawn(connection);
                let catalogue = Catalogue::of_postgres(&client, schema).await;
                connection.abort();
                return Ok(catalogue?);
            }
            Err(error) => why = Some(error),
        }
    }
    Err(why.map_or_else(|| anyhow::anyhow!("the URL names no host"), Into::into))
}
