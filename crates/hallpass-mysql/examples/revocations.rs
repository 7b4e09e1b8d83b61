//! How many revocations of single sessions a second one program makes, by how many at once, and how many commits they take:
//! `cargo run --release -p hallpass-mysql --example revocations -- mysql://root@127.0.0.1:3306/an_empty_database [rounds]`, on a server that nobody else uses.

use std::sync::Arc;
use std::time::Duration;

use hallpass_core::store::{Record, Revocation, Target};
use hallpass_core::{
    Actor, Attributes, Authentication, Class, Client, EndReason, OsEntropy, Session, SessionId, State, Store as _,
    Timestamp, TokenHash, UserId,
};
use hallpass_mysql::{MysqlOptions, MysqlStore};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use tokio::time::Instant;

const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);
const AT_ONCE: [usize; 3] = [1, 16, 64];
/// Of one round.
const REVOCATIONS: usize = 1_024;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("name the URL of an empty database")?;
    let rounds: usize = arguments.next().map_or(Ok(5), |rounds| rounds.parse())?;
    let store = Arc::new(MysqlStore::connect(&url, MysqlOptions::default()).await?);
    let mut conn = Conn::from_url(&url).await?;
    for _ in 0..rounds {
        for at_once in AT_ONCE {
            let count = if at_once == 1 { REVOCATIONS / 4 } else { REVOCATIONS };
            let ids = sessions(&store, count).await?;
            let before = commits(&mut conn).await?;
            let begun = Instant::now();
            let mut running = Vec::new();
            for ids in ids.chunks(count / at_once) {
                let (store, ids) = (Arc::clone(&store), ids.to_vec());
                running.push(tokio::spawn(async move {
                    for id in ids {
                        revoke(&store, id).await?;
                    }
                    Ok::<_, Failure>(())
                }));
            }
            for one in running {
                one.await??;
            }
            let rate = count as f64 / begun.elapsed().as_secs_f64();
            let commits = (commits(&mut conn).await? - before) as f64 / count as f64;
            println!("{at_once} at once: {rate:.0} revocations a second, {commits:.3} commits for each");
        }
    }
    Ok(())
}

async fn revoke(store: &MysqlStore, id: SessionId) -> Result<(), Failure> {
    let target = Target::Session { id, owner: None };
    let revocation = Revocation { target, now: NOW, by: Actor::operator("root"), reason: EndReason::Revoked };
    let outcome = store.revoke(&revocation).await?;
    if outcome.ended == Some(1) { Ok(()) } else { Err("it had ended".into()) }
}

async fn commits(conn: &mut Conn) -> Result<u64, Failure> {
    let row: Option<(String, u64)> = conn.query_first("SHOW GLOBAL STATUS LIKE 'Com_commit'").await?;
    row.map(|(_, commits)| commits).ok_or_else(|| "the server does not count commits".into())
}

async fn sessions(store: &Arc<MysqlStore>, count: usize) -> Result<Vec<SessionId>, Failure> {
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        let made: Vec<_> = (0..32)
            .map(|n| {
                let store = Arc::clone(store);
                tokio::spawn(async move { create(&store, n).await })
            })
            .collect();
        for one in made {
            ids.push(one.await??);
        }
    }
    Ok(ids)
}

async fn create(store: &MysqlStore, n: usize) -> Result<SessionId, Failure> {
    let user = UserId::new(format!("user-{n}"))?;
    let id = SessionId::generate(&user, NOW, &OsEntropy)?;
    let later = NOW.plus(Duration::from_secs(86_400));
    let session = Session {
        id,
        user,
        class: Class::WEB,
        created_at: NOW,
        authenticated_at: NOW,
        renewed_at: NOW,
        last_seen_at: NOW,
        idle_expires_at: later,
        absolute_expires_at: later,
        client: Client::default(),
        label: None,
        authentication: Arc::new(Authentication { methods: vec![String::from("pwd")], source: String::new() }),
        attributes: Attributes::default(),
        attributes_version: 0,
        state: State::Live,
    };
    store.create(&Record { session, token_hash: TokenHash::from_bytes([7; 32]) }, NOW, None).await?;
    Ok(id)
}
