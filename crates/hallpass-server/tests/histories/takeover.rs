//! The runs in which another server takes over from the one that had the database (R8).

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::checker::check;
use crate::faults::{asks_all, database_away, no_acceptance, refuses};
use crate::history::{Moment, Request, now};
use crate::operator::Redis;
use crate::runs::{SERVERS, Setting, judged, started};
use crate::support::PATIENCE;
use crate::support::databases::instance::Instance;
use crate::support::databases::with_parameter;
use crate::went_back::WentBack;

/// What the servers of a Cluster may need until they have elected a replica: one that is counted as dead after two seconds, and an election that is held again when voters had no turn.
const ELECTION: Duration = Duration::from_secs(90);

/// The primary is killed, and its synchronous standby takes over; each URL names both.
pub(crate) async fn failover(setting: Setting) {
    let _turn = setting.turn().await;
    let pair = Instance::start("postgres-pair", &[]);
    let authority = |url: &str| url.split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
    let (primary, standby) = (authority(&pair.members[0]), authority(&pair.members[1]));
    let url = pair.members[0].replacen(&primary, &format!("{primary},{standby}"), 1);
    let (cluster, load) = started(&vec![url.clone(); SERVERS], &url, setting.seed).await;
    let flushes = cluster.own.cache_status().unwrap().flushes;
    database_away(&cluster, Moment::MAX, || pair.kill_member("primary"), || pair.promote()).await;
    judged(&cluster, load, "a failover", setting).await;
    assert!(cluster.own.cache_status().unwrap().flushes > flushes, "the other log was not noticed");
}

/// Acknowledgements wait for the one replica, which takes over: nothing that was acknowledged is lost.
pub(crate) async fn replica_with_all(setting: Setting) {
    let _turn = setting.turn().await;
    let pair = Instance::start("redis-pair", &[]);
    let url = with_parameter(&pair.url, "wait-replicas=1");
    let (cluster, load) = started(&vec![url.clone(); SERVERS], &url, setting.seed).await;
    let flushes = cluster.own.cache_status().unwrap().flushes;
    // Without the old one as its replica the new primary would acknowledge nothing.
    let bring_back = || {
        pair.promote();
        pair.restart_member("primary");
    };
    let (away_from, back_from) = database_away(&cluster, Moment::MAX, || pair.kill_member("primary"), bring_back).await;
    cluster.book.went_back(WentBack::with_all_acknowledged(away_from, back_from));
    judged(&cluster, load, "a replica that takes over with all that was acknowledged", setting).await;
    assert!(cluster.own.cache_status().unwrap().flushes > flushes, "the other log was not noticed");
}

/// Acknowledgements wait for no replica, and the one that takes over lacks the last ones: they are undone, as documented, and nothing else is. Nobody goes on with what it
/// remembers of them.
pub(crate) async fn replica_without_the_last(setting: Setting) {
    let _turn = setting.turn().await;
    let pair = Instance::start("redis-pair", &[]);
    let url = pair.url.clone();
    let (cluster, load) = started(&vec![url.clone(); SERVERS], &url, setting.seed).await;
    let kept_until = now();
    Redis::connect(&url).await.is_replicated().await;
    pair.cut_member("replica");
    let lost_from = now();
    cluster.acknowledges(lost_from, 15, "while no replica follows").await;
    let flushes = cluster.own.cache_status().unwrap().flushes;
    let bring_back = || {
        pair.promote();
        pair.mend();
        pair.restart_member("primary");
    };
    let (away_from, back_from) = database_away(&cluster, kept_until, || pair.kill_member("primary"), bring_back).await;
    cluster.book.went_back(WentBack { kept_until, lost_from, away_from, back_from });
    let mut concerned = cluster.book.created_between(lost_from, away_from);
    concerned.extend(cluster.book.ended_between(lost_from, away_from));
    concerned.truncate(30);
    asks_all(&cluster, &concerned, now() + cluster.lease * 3 / 2).await;
    let mut history = judged(&cluster, load, "a replica that takes over without the last", setting).await;
    assert!(cluster.own.cache_status().unwrap().flushes > flushes, "the other log was not noticed");
    history.went_back = Some(WentBack::with_all_acknowledged(away_from, back_from));
    let violations = check(&history, cluster.lease).unwrap_err();
    println!("{} violations, had anything more been promised", violations.len());
}

/// In a Cluster the primary that has the log is killed, and its replica takes over; then the next one. Acknowledgements wait for the replicas.
pub(crate) async fn cluster_failover(setting: Setting) {
    let _turn = setting.turn().await;
    let instance = Instance::start("redis-cluster", &[]);
    let url = with_parameter(&instance.url, "wait-replicas=1");
    let (cluster, load) = started(&vec![url.clone(); SERVERS], &url, setting.seed).await;
    cluster.acknowledges(now(), 15, "in a Cluster that is whole").await;
    let flushes = cluster.own.cache_status().unwrap().flushes;
    let log = Redis::connect(&instance.url).await.number("CLUSTER KEYSLOT {hp:log}").await;
    let shard = log * 3 / 16_384 + 1;
    let (primary, replica) = (format!("primary-{shard}"), format!("replica-{shard}"));
    let mut replica = Redis::connect(&instance.address_of(&replica)).await;
    // Elections are held until one succeeds, however long the primary has been away by then.
    replica.ask("CONFIG SET cluster-replica-validity-factor 0").await;

    let back_from = now();
    tokio::task::block_in_place(|| instance.kill_member(&primary));
    let away_from = now();
    let (begun, mut nobody_until) = (Instant::now(), away_from);
    loop {
        let asked_at = now();
        if replica.is_primary().await {
            break;
        }
        nobody_until = asked_at;
        assert!(begun.elapsed() < ELECTION, "nobody takes over");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("the replica took over after {} ms", begun.elapsed().as_millis());
    tokio::task::block_in_place(|| instance.restart_member(&primary));
    cluster.book.went_back(WentBack::with_all_acknowledged(away_from, back_from));
    cluster.all_work("after the replica took over").await;
    for number in 0..cluster.own_number() {
        refuses(&cluster, number, &cluster.book.ended_between(Duration::ZERO, away_from)).await;
    }
    let history = judged(&cluster, load, "a replica that takes over in a Cluster", setting).await;
    // Neither the log nor these sessions could be read: who accepted one had it in memory, without a lease.
    let mut of_shard = HashSet::new();
    for known in cluster.book.created_between(Duration::ZERO, away_from) {
        let slot = replica.number(&format!("CLUSTER KEYSLOT {{hp:{:02x}}}", known.id.shard())).await;
        if slot * 3 / 16_384 + 1 == shard {
            of_shard.insert(known.number);
        }
    }
    let meanwhile = |request: &&Request| {
        request.begun > away_from + cluster.lease && request.ended < nobody_until && of_shard.contains(&request.session)
    };
    no_acceptance(history.requests.iter().filter(meanwhile));
    println!(
        "{} requests for {} sessions of that shard meanwhile",
        history.requests.iter().filter(meanwhile).count(),
        of_shard.len()
    );
    let noticed = Instant::now();
    while cluster.own.cache_status().unwrap().flushes == flushes {
        assert!(noticed.elapsed() < PATIENCE, "the other log was not noticed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
