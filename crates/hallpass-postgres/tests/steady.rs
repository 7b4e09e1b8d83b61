//! Cached validation under a steady load: what it reads, what it writes, and what it keeps.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hallpass_core::{
    AbsoluteTimeout, Actor, CacheSettings, Class, Clock, EndReason, Event, EventSink, ManualClock, Policies, Policy,
    Sessions, SignIn, Store, SweepSettings, SystemClock, Token, UserId, Validation, ValidationMode,
};
use hallpass_postgres::{PostgresOptions, PostgresStore};
use tokio::time::Instant;
use tokio_postgres::Client;

const HOUR: Duration = Duration::from_secs(3_600);
/// Log entries from before the load that are older than they are kept.
const OLD: usize = 300;
/// How far each task that checks goes from one session to the next. With one and the same step those behind would catch up with the first one, and go on beside it.
const STEPS: [usize; 4] = [61_803, 31_607, 15_803, 7_901];
const TASKS: usize = STEPS.len();

struct Load {
    sessions: usize,
    lasts: Duration,
    update_age: Duration,
    /// One session is revoked in so long.
    revoke_every: Duration,
}

/// What happened, counted.
#[derive(Debug, Clone, Default)]
struct Counted(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    renewed: AtomicU64,
    ended: AtomicU64,
    alarms: AtomicU64,
}

impl EventSink for Counted {
    fn emit(&self, event: &Event) {
        let count = match event {
            Event::Renewed { .. } => &self.0.renewed,
            Event::Ended { .. } => &self.0.ended,
            Event::LeaseLost { .. }
            | Event::TaskFailed { .. }
            | Event::CacheFlushed { .. }
            | Event::RenewalFailed { .. } => &self.0.alarms,
            _ => return,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is looked at, again and again, and printed.
#[derive(Debug, Clone, Copy)]
#[expect(dead_code, reason = "the log's length is for the reader")]
struct Look {
    checks: u64,
    misses: u64,
    /// Reads of checks that the store answered.
    reads: u64,
    /// What PostgreSQL wrote into the table of sessions.
    updates: u64,
    renewed: u64,
    log: i64,
    resident: u64,
    cached: u64,
}

/// With as many sessions as fit into memory, each due for an extension now and then.
async fn steady(load: Load) {
    let url = common::fresh_url();
    let store = Arc::new(PostgresStore::connect(&url, PostgresOptions::default()).await.unwrap());
    let database = common::plain(&url).await;
    let dead = past(&store).await;
    let events = Counted::default();
    let mut policy = Policy::new(24 * HOUR, load.update_age, AbsoluteTimeout::After(48 * HOUR));
    policy.max_per_user = None;
    let sweep = SweepSettings { interval: Duration::from_secs(2), log_retention: HOUR, ..SweepSettings::default() };
    let sessions = Sessions::builder(Arc::clone(&store) as Arc<dyn Store>)
        .policies(Policies::default().with(Class::WEB, policy).unwrap())
        .events(events.clone())
        .sweep(sweep)
        .validation(ValidationMode::Cached(CacheSettings::default()))
        .build()
        .unwrap();
    let tokens = Arc::new(sign_in(&sessions, load.sessions).await);
    assert_eq!(log_entries(&database).await, dead);
    let background = sessions.start_background();
    let stop = Arc::new(AtomicBool::new(false));
    let checks: Vec<Arc<AtomicU64>> = (0..TASKS).map(|_| Arc::default()).collect();
    let revoked = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (sessions, tokens, stop) = (sessions.clone(), Arc::clone(&tokens), Arc::clone(&stop));
            let (checks, revoked) = (Arc::clone(&checks[task]), Arc::clone(&revoked));
            tokio::spawn(async move { check(&sessions, &tokens, task, &checks, &revoked, &stop).await })
        })
        .collect();
    let revoker = {
        let (sessions, tokens, stop) = (sessions.clone(), Arc::clone(&tokens), Arc::clone(&stop));
        let (revoked, every) = (Arc::clone(&revoked), load.revoke_every);
        tokio::spawn(async move { revoke(&sessions, &tokens, every, &revoked, &stop).await })
    };
    // The first fifth fills the memory.
    let begun = Instant::now();
    let mut looks = Vec::new();
    for step in 1..=10_u32 {
        tokio::time::sleep_until(begun + load.lasts * step / 10).await;
        let look = look(&sessions, &store, &database, &events, &checks).await;
        println!("after {:.0} s: {look:?}", begun.elapsed().as_secs_f64());
        looks.push(look);
    }
    stop.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    revoker.await.unwrap();
    background.shutdown().await;
    judge(&looks, &load, &events, revoked.load(Ordering::SeqCst));
    let kept = log_entries(&database).await;
    assert_eq!(
        kept,
        i64::try_from(revoked.load(Ordering::SeqCst)).unwrap(),
        "what is older than its retention has left the log, and nothing else"
    );
}

fn judge(looks: &[Look], load: &Load, events: &Counted, revoked: u64) {
    let (first, last) = (looks[1], looks[looks.len() - 1]);
    let counts = &events.0;
    assert_eq!(counts.alarms.load(Ordering::SeqCst), 0, "a lease, a task or a renewal failed");
    assert_eq!(counts.ended.load(Ordering::SeqCst), revoked);
    let renewed = last.renewed - first.renewed;
    assert!(renewed > 0 && revoked > 5, "{renewed} extensions and {revoked} revocations");
    // A check that is no hit reads once, a hit reads nothing. What is on its way at a look is counted by one of both.
    let (reads, misses) = (last.reads - first.reads, last.misses - first.misses);
    assert!(reads.abs_diff(misses) <= 2 * TASKS as u64, "{reads} reads of the store, {misses} checks that were no hit");
    // No hit: a due extension, several requests at once that find the same one due, and what was revoked meanwhile.
    let allowed = renewed + renewed / 20 + revoked * 3 + 100;
    assert!(misses <= allowed, "{misses} checks read the store, for {renewed} extensions and {revoked} revocations");
    let checks = last.checks - first.checks;
    assert!(checks > 10 * misses, "{checks} checks, {misses} of them no hit: too few to show anything");
    // Rows are written by extensions, revocations, and last-seen times, which are noted once a minute for each session.
    let minutes = load.lasts.as_secs() / 60 + 1;
    let updates = last.updates - first.updates;
    let most = renewed + revoked + load.sessions as u64 * minutes;
    assert!(updates <= most, "{updates} rows written, more than {most}");
    assert!(last.cached <= load.sessions as u64 && last.cached + revoked >= load.sessions as u64, "{last:?}");
    // A tenth, and 4 MiB for what an allocator does.
    let most = first.resident + first.resident / 10 + (4 << 20);
    let highest = looks[1..].iter().map(|look| look.resident).max().unwrap();
    assert!(highest <= most, "{} bytes of memory grew to {highest}", first.resident);
}

/// Sessions that were revoked three hours ago, whose log entries are still there. How many.
async fn past(store: &Arc<PostgresStore>) -> i64 {
    let clock = ManualClock::at(SystemClock.now().minus(3 * HOUR));
    let sessions = Sessions::builder(Arc::clone(store) as Arc<dyn Store>).clock(clock).build().unwrap();
    for _ in 0..OLD {
        let issued = sessions.create(SignIn::new(UserId::new("old").unwrap())).await.unwrap();
        sessions.end(&issued.token).await.unwrap();
    }
    i64::try_from(OLD).unwrap()
}

async fn sign_in(sessions: &Sessions, count: usize) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(count);
    let mut running = tokio::task::JoinSet::new();
    for number in 0..count {
        let sessions = sessions.clone();
        running.spawn(async move {
            let user = UserId::new(format!("user-{number:06}")).unwrap();
            sessions.create(SignIn::new(user)).await.unwrap().token
        });
        if running.len() >= 64 {
            tokens.push(running.join_next().await.unwrap().unwrap());
        }
    }
    while let Some(token) = running.join_next().await {
        tokens.push(token.unwrap());
    }
    tokens
}

/// Checks one session after the other, those from the beginning on that were not revoked yet. About 4,000 a second.
async fn check(
    sessions: &Sessions,
    tokens: &[Token],
    task: usize,
    checks: &AtomicU64,
    revoked: &AtomicU64,
    stop: &AtomicBool,
) {
    let mut at = task * 7_919;
    while !stop.load(Ordering::SeqCst) {
        for _ in 0..20 {
            at = (at + STEPS[task]) % tokens.len();
            // Revoked from the end on; one that is just being revoked may be either.
            let living = tokens.len() - usize::try_from(revoked.load(Ordering::SeqCst)).unwrap() - 1;
            if at >= living {
                continue;
            }
            let validation = match sessions.validate_now(&tokens[at]) {
                Some(validation) => validation.unwrap(),
                None => sessions.validate(&tokens[at]).await.unwrap(),
            };
            assert!(matches!(validation, Validation::Live { .. }), "{validation:?}");
            checks.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
}

async fn revoke(sessions: &Sessions, tokens: &[Token], every: Duration, revoked: &AtomicU64, stop: &AtomicBool) {
    let by = Actor::operator("test");
    while !stop.load(Ordering::SeqCst) {
        tokio::time::sleep(every).await;
        let at = tokens.len() - usize::try_from(revoked.fetch_add(1, Ordering::SeqCst)).unwrap() - 1;
        assert_eq!(sessions.revoke(tokens[at].id(), None, &by, EndReason::Revoked).await.unwrap(), 1);
    }
}

async fn look(
    sessions: &Sessions,
    store: &PostgresStore,
    database: &Client,
    events: &Counted,
    checks: &[Arc<AtomicU64>],
) -> Look {
    let (status, (_, reads)) = (sessions.cache_status().unwrap(), store.check_counts());
    let updates = database
        .query_one("SELECT n_tup_upd FROM pg_stat_user_tables WHERE schemaname = current_schema() AND relname = 'hallpass_sessions'", &[])
        .await
        .unwrap();
    Look {
        checks: checks.iter().map(|count| count.load(Ordering::Relaxed)).sum(),
        misses: status.misses,
        reads,
        updates: updates.get::<_, i64>(0).unsigned_abs(),
        renewed: events.0.renewed.load(Ordering::Relaxed),
        log: log_entries(database).await,
        resident: resident(),
        cached: status.entries,
    }
}

async fn log_entries(database: &Client) -> i64 {
    database.query_one("SELECT count(*) FROM hallpass_revocations", &[]).await.unwrap().get(0)
}

/// Bytes of memory that this process holds.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Ten minutes with a hundred thousand sessions.
#[ignore = "takes ten minutes: ./test soak"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_sessions_for_ten_minutes() {
    let minute = Duration::from_secs(60);
    let revoke_every = Duration::from_millis(200);
    steady(Load { sessions: 100_000, lasts: 10 * minute, update_age: 4 * minute, revoke_every }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sessions_for_some_seconds() {
    let seconds = Duration::from_secs(10);
    let revoke_every = Duration::from_millis(100);
    steady(Load { sessions: 1_000, lasts: seconds, update_age: seconds / 2, revoke_every }).await;
}
