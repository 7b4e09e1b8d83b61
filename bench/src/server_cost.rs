//! What a database server has done so far: processor time and statements.

use tokio_postgres::NoTls;

use crate::Error;

/// Where to ask.
pub enum ServerCost {
    /// Its own processes and its own counts.
    Postgres(tokio_postgres::Client),
    Mysql { pool: mysql_async::Pool, pid: String },
    Redis { client: redis::aio::MultiplexedConnection },
    /// SQLite is part of this process.
    None,
}

/// So far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Seconds of processor time.
    pub cpu: f64,
    /// Statements, or commands; transactions on PostgreSQL.
    pub statements: i64,
}

impl ServerCost {
    pub async fn of(engine: &str, url: &str) -> Result<Self, Error> {
        Ok(match engine {
            "postgres" => {
                let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
                tokio::spawn(connection);
                Self::Postgres(client)
            }
            "mysql" => {
                use mysql_async::prelude::Queryable as _;
                let pool = mysql_async::Pool::from_url(url)?;
                let file: Option<String> = pool.get_conn().await?.query_first("SELECT @@pid_file").await?;
                let directory: Option<String> = pool.get_conn().await?.query_first("SELECT @@datadir").await?;
                let file = std::path::Path::new(&directory.unwrap_or_default()).join(file.ok_or("no pid file")?);
                Self::Mysql { pool, pid: std::fs::read_to_string(file)?.trim().to_owned() }
            }
            "redis" => Self::Redis { client: redis::Client::open(url)?.get_multiplexed_async_connection().await? },
            _ => Self::None,
        })
    }

    pub async fn now(&self) -> Result<Cost, Error> {
        Ok(match self {
            Self::Postgres(client) => {
                // What backends have not told for a while is told when they are idle; the view is read anew each time.
                client.batch_execute("SELECT pg_stat_clear_snapshot()").await?;
                let row = client
                    .query_one("SELECT sum(xact_commit + xact_rollback)::bigint, pg_backend_pid() FROM pg_stat_database WHERE datname = current_database()", &[])
                    .await?;
                let postmaster = parent_of(&row.get::<_, i32>(1).to_string())?;
                let mut cpu = 0.0;
                for entry in std::fs::read_dir("/proc")? {
                    let name = entry?.file_name().to_string_lossy().into_owned();
                    if name.bytes().all(|byte| byte.is_ascii_digit()) && parent_of(&name).is_ok_and(|parent| parent == postmaster) {
                        cpu += cpu_of(&name).unwrap_or(0.0);
                    }
                }
                // What has ended is counted with the postmaster.
                Cost { cpu: cpu + cpu_with_children(&postmaster)?, statements: row.get(0) }
            }
            Self::Mysql { pool, pid } => {
                use mysql_async::prelude::Queryable as _;
                let row: Option<(String, i64)> = pool.get_conn().await?.query_first("SHOW GLOBAL STATUS LIKE 'Queries'").await?;
                Cost { cpu: cpu_of(pid)?, statements: row.ok_or("no status")?.1 }
            }
            Self::Redis { client } => {
                let mut client = client.clone();
                let info: redis::InfoDict = redis::cmd("INFO").arg("everything").query_async(&mut client).await?;
                let seconds = |name: &str| info.get::<f64>(name).unwrap_or(0.0);
                Cost {
                    cpu: seconds("used_cpu_sys") + seconds("used_cpu_user"),
                    statements: info.get("total_commands_processed").unwrap_or(0),
                }
            }
            Self::None => Cost::default(),
        })
    }
}

fn stat(pid: &str) -> Result<Vec<String>, Error> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = text.rsplit_once(')').ok_or("no stat")?;
    Ok(rest.split_whitespace().map(ToOwned::to_owned).collect())
}

fn parent_of(pid: &str) -> Result<String, Error> {
    Ok(stat(pid)?.get(1).ok_or("no parent")?.clone())
}

fn ticks(pid: &str, from: usize, count: usize) -> Result<f64, Error> {
    let fields = stat(pid)?;
    let mut sum = 0.0;
    for field in fields.iter().skip(from).take(count) {
        sum += field.parse::<f64>()?;
    }
    // In hundredths of a second, on every Linux.
    Ok(sum / 100.0)
}

/// Seconds of processor time of a process, by its number or `self`.
pub fn cpu_of(pid: &str) -> Result<f64, Error> {
    ticks(pid, 11, 2)
}

fn cpu_with_children(pid: &str) -> Result<f64, Error> {
    ticks(pid, 11, 4)
}
