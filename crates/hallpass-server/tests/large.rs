//! A million dead rows among a million live ones.

#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

mod support;

use std::process::Stdio;
use std::time::Duration;

use rusqlite::Connection;
use support::{Server, now_ms};
use tokio::time::Instant;

const MILLION: i64 = 1_000_000;

/// Rows straight into the table: creating two million sessions one by one would take longer than the test is worth. Ids follow creation
/// time, as real ones do: the expired are the older ones.
fn fill(database: &Connection, first: i64, count: i64, deadline: i64) {
    database
        .execute(
            "INSERT INTO hallpass_sessions (id, token_hash, user_id, class, created_at, authenticated_at, renewed_at, last_seen_at,
                idle_expires_at, absolute_expires_at, epoch, sign_in, attributes_version, attributes)
             WITH RECURSIVE c(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM c WHERE i + 1 < ?1 + ?2)
             SELECT unhex(printf('%012x7000%016x', ?3 / 1000 + i, i)), zeroblob(32), 'user-' || (i % 50000), 'web', ?3 - 1000, ?3 - 1000,
                ?3 - 1000, ?3 - 1000, ?3, ?3, 0, '192.0.2.7' || char(10) || 'credentials' || char(10) ||
                'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0' || char(10) || 'pwd', 0, '{}' FROM c",
            (first, count, deadline),
        )
        .unwrap();
}

fn dead(database: &Connection, before: i64) -> i64 {
    database
        .query_row(
            "SELECT count(*) FROM hallpass_sessions WHERE ended_at IS NULL AND idle_expires_at <= ?1",
            [before],
            |row| row.get(0),
        )
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a64_a_million_dead_rows_leave_while_checks_go_on_and_an_interrupted_sweep_resumes() {
    let server = Server::start().await;
    server.add_user("alice@example.org", "correct horse battery");
    let browser = server.sign_in("alice@example.org", "correct horse battery").await;

    let database = Connection::open(server.database()).unwrap();
    database.busy_timeout(Duration::from_secs(30)).unwrap();
    database.pragma_update(None, "synchronous", "OFF").unwrap();
    let now = now_ms();
    let begun = Instant::now();
    fill(&database, 0, MILLION, now - 86_400_000);
    fill(&database, MILLION, MILLION, now + 30 * 86_400_000);
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    println!("filled in {:?}", begun.elapsed());
    let size_before = std::fs::metadata(server.database()).unwrap().len();
    assert_eq!(dead(&database, now), MILLION);

    // Checks all the while: none may fail, and none may wait for the sweep.
    let checks = {
        let (browser, url) = (browser.client.clone(), server.at("/api/auth/session"));
        tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            let mut count = 0_u32;
            loop {
                let begun = Instant::now();
                let answer = browser.get(&url).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                assert_ne!(answer.text().await.unwrap(), "null", "signed out by a sweep");
                slowest = slowest.max(begun.elapsed());
                count += 1;
                if begun.elapsed() > Duration::from_secs(5) {
                    return Err(format!("check {count} took {:?}", begun.elapsed()));
                }
                if DONE.load(std::sync::atomic::Ordering::SeqCst) {
                    return Ok((count, slowest));
                }
            }
        })
    };

    // The first sweep is killed on the way.
    let mut first = server.command(&["cleanup"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while dead(&database, now) > MILLION * 8 / 10 {
        assert!(begun.elapsed() < Duration::from_secs(300), "the sweep makes no way");
        assert!(first.try_wait().unwrap().is_none(), "the sweep ended before it could be interrupted");
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let left = dead(&database, now);
    assert!(left > 0 && left < MILLION, "{left}");

    // The second goes on from there, under a terminal, with a progress bar.
    let begun = Instant::now();
    let line =
        format!("{} cleanup --database-url sqlite:{}", env!("CARGO_BIN_EXE_hallpass"), server.database().display());
    let mut terminal = std::process::Command::new("script");
    terminal.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm-256color").current_dir(server.directory());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HALLPASS_")) {
        terminal.env_remove(name);
    }
    let seen = terminal.output().unwrap();
    let took = begun.elapsed();
    let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
    assert!(seen.contains("removing dead sessions ["), "no progress bar: {seen:?}");
    assert!(seen.contains(&format!("removed {left} expired and 0 ended sessions")), "{seen:?}");
    println!("{left} rows in {took:?}");

    DONE.store(true, std::sync::atomic::Ordering::SeqCst);
    let (count, slowest) = checks.await.unwrap().unwrap();
    println!("{count} checks meanwhile, the slowest {slowest:?}");
    assert!(count > 100, "checks hardly went on: {count}");
    assert_eq!(dead(&database, now), 0);
    let live: i64 = database
        .query_row("SELECT count(*) FROM hallpass_sessions WHERE ended_at IS NULL", [], |row| row.get(0))
        .unwrap();
    assert_eq!(live, MILLION + 1, "a sweep never takes a live row");

    // The file gives the space back: wait for the upkeep between writes, bounded.
    let begun = Instant::now();
    loop {
        database.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
        let size = std::fs::metadata(server.database()).unwrap().len();
        if size < size_before * 7 / 10 {
            println!("the file shrank from {size_before} to {size}");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the file still has {size} of {size_before} bytes");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

static DONE: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
