//! The runs in which the database goes back to an earlier state while the nodes work on: somebody restores a backup, or a disk's snapshot (R5).

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};
use tokio::time::Instant;

use crate::checker::check;
use crate::cluster::Cluster;
use crate::faults::{asks_all, refuses, stands_still};
use crate::history::now;
use crate::runs::{SERVERS, Setting, fresh, judged, started};
use crate::support::databases::engine::Engine;
use crate::support::databases::instance::Instance;
use crate::support::{PATIENCE, Place};
use crate::went_back::WentBack;

/// Sessions that are asked for because they concern what was lost.
const CONCERNED: usize = 30;

/// The database goes back, and counts on beyond the place in the log that a node had reached which stood still meanwhile: to this one the log looks as if it had never been gone.
/// What was revoked before the copy stays so; what came later is undone, as documented; and nobody goes on with what it remembers of that.
pub(crate) async fn restored(setting: Setting) {
    let _turn = setting.turn().await;
    let place = Place::new();
    let (database, url) = Backup::of(setting.engine, &place).await;
    let (cluster, load) = started(&vec![url.clone(); SERVERS], &url, setting.seed).await;

    let kept_until = now();
    tokio::task::block_in_place(|| database.copy());
    let lost_from = now();
    cluster.acknowledges(lost_from, 10, "after the copy was made").await;
    cluster.works(0, "after the copy was made").await;
    let frozen_at = stands_still(&cluster, 0).await.0;
    let (reached, flushes) = (position(&cluster), cluster.own.cache_status().unwrap().flushes);

    let back_from = now();
    tokio::task::block_in_place(|| database.restore());
    let away_from = now();
    cluster.book.went_back(WentBack { kept_until, lost_from, away_from, back_from });
    let counting = Instant::now();
    while cluster.own.cache_status().unwrap().flushes == flushes || position(&cluster) <= reached {
        assert!(counting.elapsed() < PATIENCE, "the log does not get beyond {reached}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let thawed_at = now();
    let had = cluster.book.created_between(lost_from, frozen_at);
    let undone = cluster.book.ended_between(lost_from, back_from);
    let ended_since = cluster.book.ended_between(away_from, thawed_at);
    assert!(had.len() >= 3 && undone.len() >= 10, "{} were created and {} ended", had.len(), undone.len());
    cluster.nodes[0].thaw();
    cluster.works(0, "after the database went back").await;
    cluster.nodes[0].may_revoke.store(true, Ordering::SeqCst);

    let kept = cluster.book.ended_between(Duration::ZERO, kept_until);
    for number in 0..SERVERS {
        refuses(&cluster, number, &kept).await;
    }
    let concerned: Vec<_> =
        [had, undone, ended_since].into_iter().flat_map(|of| of.into_iter().take(CONCERNED)).collect();
    asks_all(&cluster, &concerned, now() + cluster.lease * 3 / 2).await;
    let mut history = judged(&cluster, load, "a database that went back", setting).await;
    for number in 0..SERVERS {
        assert!(cluster.nodes[number].flushes().await >= 2, "node {number} did not notice");
    }
    history.went_back = None;
    let violations = check(&history, cluster.lease).unwrap_err();
    println!("{} violations, had it not gone back", violations.len());
}

/// As far as the test's own node has followed the log.
fn position(cluster: &Cluster) -> u64 {
    cluster.own.cache_status().unwrap().position.unwrap_or(0)
}

/// How a copy is made of the database, and put in its place.
enum Backup {
    /// As restoring a dump does it: in one transaction, while others have the file open.
    Sqlite { file: PathBuf, copy: PathBuf },
    /// As a disk's snapshot: the servers start with the files of then.
    Server(Instance),
}

impl Backup {
    /// An empty database; and its URL.
    async fn of(engine: Engine, place: &Place) -> (Self, String) {
        let kind = match engine {
            Engine::Postgres => "postgres",
            Engine::Mariadb => "mariadb",
            Engine::Redis => "redis",
            Engine::Sqlite => {
                let url = fresh(engine, place).await;
                let file = PathBuf::from(url.strip_prefix("sqlite:").unwrap());
                let copy = file.with_extension("backup");
                return (Self::Sqlite { file, copy }, url);
            }
            other => panic!("there is no backup of {other:?}"),
        };
        let instance = Instance::start(kind, &[]);
        let url = instance.url.clone();
        (Self::Server(instance), url)
    }

    fn copy(&self) {
        match self {
            Self::Sqlite { file, copy } => {
                let connection = connect(file);
                connection.execute("VACUUM INTO ?1", [copy.display().to_string()]).unwrap();
            }
            Self::Server(instance) => instance.snapshot(),
        }
    }

    fn restore(&self) {
        match self {
            Self::Sqlite { file, copy } => {
                let mut connection = connect(file);
                connection.execute("ATTACH ?1 AS copy", [copy.display().to_string()]).unwrap();
                let tables: Vec<String> = {
                    let sql = "SELECT name FROM copy.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
                    let mut named = connection.prepare(sql).unwrap();
                    named.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
                };
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
                for table in tables {
                    let sql = format!("DELETE FROM main.{table}; INSERT INTO main.{table} SELECT * FROM copy.{table}");
                    transaction.execute_batch(&sql).unwrap();
                }
                transaction.commit().unwrap();
            }
            Self::Server(instance) => instance.restore(),
        }
    }
}

fn connect(file: &PathBuf) -> Connection {
    let connection = Connection::open(file).unwrap();
    connection.busy_timeout(PATIENCE).unwrap();
    connection
}
