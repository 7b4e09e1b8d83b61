//! The runs: a cluster, its load, a fault, and what the checker says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::checker::{Promise, check};
use crate::clock::JumpingClock;
use crate::cluster::{Cluster, LEASE};
use crate::faults::{cut_off as cut_one_off, database_away, freeze, kill_node, pester};
use crate::history::{History, Moment, now};
use crate::load::Load;
use crate::operator::Operator;
use crate::process_clock::ProcessClock;
use crate::proxy::{Network, Proxy};
use crate::random::Random;
use crate::support::Place;
use crate::support::databases::engine::Engine;
use crate::support::databases::instance::Instance;

/// Servers under test.
pub(crate) const SERVERS: usize = 3;

/// One run after the other: each needs the machine for itself, or too little happens within a lease.
static TURN: Mutex<()> = Mutex::const_new(());

/// On what, how long, and with which choices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) engine: Engine,
    /// How often the fault happens.
    pub(crate) rounds: usize,
    pub(crate) seed: u64,
}

impl Setting {
    /// A run of some seconds, always with the same seed.
    pub(crate) fn short(engine: Engine) -> Self {
        Self { engine, rounds: 2, seed: 1 }
    }

    /// A longer one, with another seed each time.
    pub(crate) fn long(engine: Engine) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let run = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
        Self { engine, rounds: 8, seed: run.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed)) }
    }

    pub(crate) async fn turn(self) -> MutexGuard<'static, ()> {
        TURN.lock().await
    }
}

/// An empty database of the engine's, in this directory where that is a file.
pub(crate) async fn fresh(engine: Engine, place: &Place) -> String {
    engine.fresh(&place.path().join("sessions.db")).await.unwrap()
}

pub(crate) async fn started(urls: &[String], own: &str, seed: u64) -> (Arc<Cluster>, Load) {
    let cluster = Cluster::of_servers(urls, own, LEASE, seed).await;
    let load = Load::start(&cluster);
    cluster.all_work("at the beginning").await;
    (cluster, load)
}

/// The end of a run: what was under way is over, and the history is looked at.
pub(crate) async fn judged(cluster: &Cluster, load: Load, name: &str, setting: Setting) -> History {
    cluster.has_enough().await;
    load.stop().await;
    cluster.judge(&format!("{name} on {:?}", setting.engine)).await
}

pub(crate) async fn frozen(setting: Setting) {
    let _turn = setting.turn().await;
    let place = Place::new();
    let url = fresh(setting.engine, &place).await;
    let (cluster, load) = started(&vec![url.clone(); SERVERS], &url, setting.seed).await;
    for round in 0..setting.rounds {
        freeze(&cluster, round % SERVERS).await;
    }
    judged(&cluster, load, "a frozen node", setting).await;
}

pub(crate) async fn cut_off(setting: Setting) {
    let _turn = setting.turn().await;
    let place = Place::new();
    let url = fresh(setting.engine, &place).await;
    let (proxy, through) = Proxy::before(&url).await;
    let (cluster, load) = started(&[through, url.clone(), url.clone()], &url, setting.seed).await;
    let mut stale = 0;
    for round in 0..setting.rounds {
        let network = if round % 2 == 0 { Network::Holds } else { Network::Loses };
        stale += cut_one_off(&cluster, 0, &proxy, network).await;
    }
    assert!(stale >= setting.rounds, "it was not cut off: it accepted {stale} times what had ended elsewhere");
    judged(&cluster, load, "a node that is cut off", setting).await;
}

pub(crate) async fn store_killed(setting: Setting) {
    let _turn = setting.turn().await;
    let kind = match setting.engine {
        Engine::Postgres => "postgres",
        Engine::Mariadb => "mariadb",
        Engine::Redis => "redis",
        other => panic!("{other:?} is no server"),
    };
    let instance = Instance::start(kind, &[]);
    let url = instance.url.clone();
    let (cluster, load) = started(&vec![url.clone(); SERVERS], &url, setting.seed).await;
    for _ in 0..setting.rounds / 2 {
        database_away(&cluster, Moment::MAX, || instance.kill(), || instance.restart()).await;
    }
    judged(&cluster, load, "a database that is killed", setting).await;
}

pub(crate) async fn server_killed(setting: Setting) {
    let _turn = setting.turn().await;
    let place = Place::new();
    let url = fresh(setting.engine, &place).await;
    let (cluster, load) = started(&vec![url.clone(); SERVERS], &url, setting.seed).await;
    for round in 0..setting.rounds + 1 {
        kill_node(&cluster, round % SERVERS).await;
    }
    judged(&cluster, load, "a killed node", setting).await;
}

/// Every connection that listens is ended again and again, and one node hears nothing on those that it makes, while nobody tells it so: the bound holds by reading the log
/// alone.
pub(crate) async fn hints_dropped(setting: Setting) {
    let _turn = setting.turn().await;
    let place = Place::new();
    let url = fresh(setting.engine, &place).await;
    let (proxy, through) = Proxy::before(&url).await;
    let (cluster, load) = started(&[through, url.clone(), url.clone()], &url, setting.seed).await;
    let mut operator = Operator::of(&url).await;
    proxy.set(Network::Deafens);
    let before = cluster.nodes[0].hints().await;
    let begun = Instant::now();
    let mut ended = 0;
    while begun.elapsed() < Duration::from_millis(1_500) * u32::try_from(setting.rounds).unwrap() {
        ended += operator.ends_listeners().await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let heard = cluster.nodes[0].hints().await - before;
    println!("{ended} connections that listened were ended; who is deaf heard {heard} hints");
    assert!(ended > cluster.nodes.len() * 2, "{ended} connections listened");
    assert!(heard <= 2, "it heard {heard} hints");
    judged(&cluster, load, "no hints", setting).await;
}

/// Wall clocks of server processes are set back and forth while they run (R21), and each jump shows in what the server says. Where the database is a server, one node
/// also loses the way to it when its clock is set back: by that clock its lease would last for hours.
pub(crate) async fn process_clocks(setting: Setting) {
    let _turn = setting.turn().await;
    let place = Place::new();
    let url = fresh(setting.engine, &place).await;
    let mut urls = vec![url.clone(); SERVERS];
    let proxy = through_proxy(setting.engine, &mut urls[0]).await;
    // Whoever has a clock that is hours ahead trims the log, too, from under those that are not.
    let on = |url: &String| ProcessClock::at(Place::on(url).with("HALLPASS_SWEEP_INTERVAL", "1s"));
    let (mut clocks, places): (Vec<_>, Vec<_>) = urls.iter().map(on).unzip();
    let cluster = Cluster::of_servers_at(places, &url, LEASE, setting.seed).await;
    let load = Load::start(&cluster);
    cluster.all_work("at the beginning").await;
    let mut random = Random::seeded(setting.seed);
    let (mut jumps, mut cuts) = (0, 0);
    for round in 0..setting.rounds * SERVERS {
        let number = round % SERVERS;
        let clock = &mut clocks[number];
        // By minutes or by hours, and more often than not to the other side.
        let widest = [300_000, 12 * 3_600_000][random.below(2)];
        let by = 5_000 + random.below(widest) as i64;
        match &proxy {
            Some(proxy) if number == 0 => {
                cluster.nodes[0].revokes_nothing().await;
                cluster.nodes[0].has_a_lease(LEASE / 2).await;
                proxy.set(Network::Holds);
                clock.jump_to(clock.offset() - by);
                pester(&cluster, 0, now(), now() + LEASE * 2).await;
                proxy.set(Network::Open);
                cluster.nodes[0].may_revoke.store(true, Ordering::SeqCst);
                cuts += 1;
            }
            _ => clock.jump_to(if clock.offset() > 0 { -by } else { by }),
        }
        cluster.nodes[number].shows_clock(clocks[number].offset()).await;
        jumps += 1;
        cluster.acknowledges(now(), 5, "after a clock was set").await;
    }
    judged(&cluster, load, "clocks of processes that jump", setting).await;
    println!(
        "{jumps} jumps, with {cuts} of which the database was away; the clocks ended {:?} ms ahead",
        clocks.iter().map(ProcessClock::offset).collect::<Vec<_>>()
    );
}

/// Where the database is a server: puts a proxy before it.
async fn through_proxy(engine: Engine, url: &mut String) -> Option<Proxy> {
    if engine == Engine::Sqlite {
        return None;
    }
    let (proxy, through) = Proxy::before(url).await;
    *url = through;
    Some(proxy)
}

/// Wall clocks are set back and forth, and uptimes miss time, while the nodes work (R21). Where the database is a server, one node also loses the way to it each time its
/// uptime stands still: by that clock alone its lease would last for ever.
pub(crate) async fn clocks(setting: Setting) {
    let _turn = setting.turn().await;
    let place = Place::new();
    let url = fresh(setting.engine, &place).await;
    let mut urls = vec![url.clone(); SERVERS];
    let proxy = through_proxy(setting.engine, &mut urls[0]).await;
    let clocks: Vec<JumpingClock> = (0..SERVERS).map(|_| JumpingClock::default()).collect();
    let cluster = Cluster::with_clocks(&urls, &url, &clocks, setting.seed).await;
    let load = Load::start(&cluster);
    cluster.all_work("at the beginning").await;
    let (begun, mut random) = (Instant::now(), Random::seeded(setting.seed));
    let mut offsets = [0_i64; SERVERS];
    let (mut jumps, mut pauses, mut cuts) = (0, 0, 0);
    let length = Duration::from_secs(2) * u32::try_from(setting.rounds).unwrap();
    while begun.elapsed() < length || jumps < 5 || pauses < 2 || (cuts == 0 && proxy.is_some()) {
        let number = random.below(SERVERS);
        if random.below(3) == 0 {
            clocks[number].pause();
            match &proxy {
                Some(proxy) if number == 0 => {
                    proxy.set(Network::Holds);
                    pester(&cluster, 0, now(), now() + LEASE * 2).await;
                    proxy.set(Network::Open);
                    cuts += 1;
                }
                _ => tokio::time::sleep(Duration::from_millis(50 + random.below(900) as u64)).await,
            }
            clocks[number].resume();
            pauses += 1;
        } else {
            // Within an hour of the right time; by little more often than by much.
            let widest = [100, 400, 2_000, 3_600_000][random.below(4)];
            let offset = random.below(2 * widest) as i64 - widest as i64;
            clocks[number].jump(offset - offsets[number]);
            offsets[number] = offset;
            jumps += 1;
            tokio::time::sleep(Duration::from_millis(random.below(400) as u64)).await;
        }
    }
    judged(&cluster, load, "clocks that jump", setting).await;
    println!("{jumps} jumps, {pauses} pauses, in {cuts} of which the database was away");
}

/// Servers that keep sessions for 5 seconds, of which the checker is told 1: it must notice when one of them is cut off, and must not when it is told the truth.
pub(crate) async fn planted_violation(setting: Setting) {
    let _turn = setting.turn().await;
    let place = Place::new();
    let url = fresh(setting.engine, &place).await;
    let (proxy, through) = Proxy::before(&url).await;
    let true_lease = LEASE * 5;
    let cluster = Cluster::of_servers(&[through, url.clone()], &url, true_lease, setting.seed).await;
    let load = Load::start(&cluster);
    cluster.all_work("at the beginning").await;
    cluster.nodes[0].revokes_nothing().await;
    proxy.set(Network::Holds);
    let cut_at = now();
    cluster.acknowledges(cut_at, 5, "while one node is cut off").await;
    pester(&cluster, 0, cut_at, cut_at + LEASE * 3).await;
    proxy.set(Network::Open);
    load.stop().await;
    let history = cluster.book.history();
    let violations = check(&history, LEASE).unwrap_err();
    let late = violations.iter().filter(|violation| violation.promise == Promise::Bound && violation.request.node == 0);
    println!("planted: {} acceptances were too late", late.clone().count());
    assert!(late.count() > 0, "{violations:#?}");
    assert!(violations.iter().all(|violation| violation.promise == Promise::Bound), "{violations:#?}");
    check(&history, true_lease).unwrap();
}
