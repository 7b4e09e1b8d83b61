//! What the sweeping examples of the SQL stores measure, each in the same way: how fast a sweep is, and what checks notice of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hallpass_core::store::Sweep;
use hallpass_core::{Client, Sessions, SignIn, Store, SweepSettings, Timestamp, Token, UserId, Validation};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

const CHECKS_A_SECOND: f64 = 2000.0;
const TOKENS: usize = 2000;
const SIGN_INS_AT_ONCE: usize = 16;
const WARM_UP: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(8);
const DAY: Duration = Duration::from_secs(86_400);

/// What an example was told: the database, how many rows are to be swept, and how many at once.
pub(crate) struct Arguments {
    pub(crate) database: String,
    pub(crate) rows: u64,
    batch: u32,
}

impl Arguments {
    /// `DATABASE [ROWS [BATCH]]`.
    pub(crate) fn read() -> Result<Self, Failure> {
        let mut given = std::env::args().skip(1);
        let database = given.next().ok_or("the first argument is the database")?;
        let rows = given.next().map_or(Ok(1_000_000), |text| text.parse())?;
        let batch = given.next().map_or(Ok(SweepSettings::default().batch), |text| text.parse())?;
        Ok(Self { database, rows, batch })
    }
}

/// Rows that a fill is to make out of those that are there: every second one expired, in the order in which they expire, or all of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fill {
    pub(crate) rows: u64,
    pub(crate) all_expired: bool,
    /// Milliseconds at which the ids begin.
    pub(crate) first: i64,
    /// The deadline of the first expired one; those after it follow by a millisecond.
    pub(crate) expired: i64,
    /// The deadline of those that live.
    pub(crate) live: i64,
}

/// Sweeps twice: as [`Sessions::sweep`] does, which rests between its steps, and without a rest.
pub(crate) async fn measure(
    engine: &str,
    store: Arc<dyn Store>,
    arguments: &Arguments,
    mut fill: impl AsyncFnMut(Fill) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Arguments { rows, batch, .. } = *arguments;
    let settings = SweepSettings { batch, ..SweepSettings::default() };
    let sessions = Sessions::builder(Arc::clone(&store)).sweep(settings.clone()).build()?;
    let tokens = sign_in(&sessions).await?;
    let now = sessions.now();
    let ago = |days: u32| now.minus(days * DAY).as_millis();
    let both = Fill {
        rows: 2 * rows,
        all_expired: false,
        first: ago(70),
        expired: ago(40),
        live: now.plus(20 * DAY).as_millis(),
    };
    let begun = Instant::now();
    fill(both).await?;
    println!("{engine}: filled with {rows} expired among {rows} live sessions in {:.1?}", begun.elapsed());
    let checks = Checks::start(&sessions, tokens);

    let idle = checks.during(async { tokio::time::sleep(IDLE).await }).await;
    let busy = checks
        .during(async {
            let (begun, mut counted) = (Instant::now(), None);
            let swept = sessions.sweep(|_| counted = counted.or_else(|| Some(begun.elapsed()))).await;
            swept.map(|swept| (swept.removed(), counted.unwrap_or_default()))
        })
        .await;
    let (removed, counting) = busy.outcome?;
    let whole = busy.took;
    row(engine, "Sessions::sweep", removed, whole, &idle.times, &busy.times);
    println!("counting them first took {counting:.2?} of it");

    let again = Fill { rows, all_expired: true, first: ago(70) + i64::try_from(2 * rows)?, ..both };
    fill(again).await?;
    let idle = checks.during(async { tokio::time::sleep(IDLE).await }).await;
    let busy = checks.during(without_rest(&*store, &settings, now)).await;
    let work = busy.took + counting;
    row(engine, "without rest", busy.outcome?, busy.took, &idle.times, &busy.times);
    let rest = 1.0 - work.as_secs_f64() / whole.as_secs_f64();
    println!(
        "so of the first sweep {:.1} s were work, counting included, and {:.0} % rest",
        work.as_secs_f64(),
        100.0 * rest
    );
    checks.end().await
}

async fn without_rest(store: &dyn Store, settings: &SweepSettings, now: Timestamp) -> Result<u64, Failure> {
    let step = Sweep {
        expired_before: now.minus(settings.expired_grace),
        ended_before: now.minus(settings.ended_retention),
        log_before: now.minus(settings.log_retention),
        batch: settings.batch,
        commits: 100,
    };
    let mut removed = 0;
    loop {
        let swept = store.sweep(&step).await?;
        removed += swept.expired;
        if !swept.more {
            return Ok(removed);
        }
    }
}

async fn sign_in(sessions: &Sessions) -> Result<Vec<Token>, Failure> {
    let mut tokens = Vec::with_capacity(TOKENS);
    let mut running = JoinSet::new();
    for n in 0..TOKENS {
        let sessions = sessions.clone();
        running.spawn(async move {
            let agent =
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36";
            let client = Client::new(Some([192, 0, 2, 7].into()), Some(agent.as_bytes()));
            let user = UserId::new(format!("signed-in-{n}"))?;
            let issued = sessions.create(SignIn::new(user).client(client).method("pwd").source("credentials")).await?;
            Ok::<Token, Failure>(issued.token)
        });
        if running.len() >= SIGN_INS_AT_ONCE
            && let Some(done) = running.join_next().await
        {
            tokens.push(done??);
        }
    }
    while let Some(done) = running.join_next().await {
        tokens.push(done??);
    }
    Ok(tokens)
}

/// Checks at a steady rate, each a task of its own: one that waits holds up no other.
struct Checks {
    times: Arc<Mutex<Vec<Duration>>>,
    pace: JoinHandle<Result<(), Failure>>,
    stop: Arc<std::sync::atomic::AtomicBool>,
}

/// What happened meanwhile.
struct Phase<T> {
    outcome: T,
    took: Duration,
    times: Vec<Duration>,
}

impl Checks {
    fn start(sessions: &Sessions, tokens: Vec<Token>) -> Self {
        let (sessions, tokens, times) = (sessions.clone(), Arc::new(tokens), Arc::new(Mutex::new(Vec::new())));
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let pace = tokio::spawn(pace(sessions, tokens, Arc::clone(&times), Arc::clone(&stop)));
        Self { times, pace, stop }
    }

    fn taken(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.times.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn during<T>(&self, work: impl Future<Output = T>) -> Phase<T> {
        // What a fill left to do in the background is no part of it.
        tokio::time::sleep(WARM_UP).await;
        drop(self.taken());
        let begun = Instant::now();
        let outcome = work.await;
        let (took, mut times) = (begun.elapsed(), self.taken());
        times.sort_unstable();
        Phase { outcome, took, times }
    }

    async fn end(self) -> Result<(), Failure> {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.pace.await?
    }
}

async fn pace(
    sessions: Sessions,
    tokens: Arc<Vec<Token>>,
    times: Arc<Mutex<Vec<Duration>>>,
    stop: Arc<std::sync::atomic::AtomicBool>,
) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let (mut sent, mut running) = (0_usize, JoinSet::new());
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        ticks.tick().await;
        while (sent as f64) < begun.elapsed().as_secs_f64() * CHECKS_A_SECOND {
            let (sessions, tokens, times) = (sessions.clone(), Arc::clone(&tokens), Arc::clone(&times));
            let asked = Instant::now();
            // Walks over all of them without a pattern that caches know.
            let token = sent * 1_009 % tokens.len();
            sent += 1;
            running.spawn(async move {
                let live = matches!(sessions.validate(&tokens[token]).await?, Validation::Live { .. });
                times.lock().unwrap_or_else(PoisonError::into_inner).push(asked.elapsed());
                if live { Ok(()) } else { Err(Failure::from("a live session was not accepted")) }
            });
        }
        while let Some(done) = running.try_join_next() {
            done??;
        }
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(())
}

fn row(engine: &str, how: &str, rows: u64, took: Duration, idle: &[Duration], busy: &[Duration]) {
    let at = |times: &[Duration], share: f64| {
        let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times.get(index).map_or(0.0, Duration::as_secs_f64) * 1e3
    };
    let seconds = took.as_secs_f64();
    println!(
        "| {engine} | {how} | {rows} rows | {seconds:.2} s | {:.0} rows/s | {:.0} checks/s | p50 {:.2} -> {:.2} ms | p99 {:.2} -> {:.2} ms | {:.2} |",
        rows as f64 / seconds,
        busy.len() as f64 / seconds,
        at(idle, 0.5),
        at(busy, 0.5),
        at(idle, 0.99),
        at(busy, 0.99),
        at(busy, 0.99) / at(idle, 0.99),
    );
}
