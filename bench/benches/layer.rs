//! What the layer costs a request in process: one axum handler by itself, behind a layer that does nothing (axum boxes what is behind one), the same handler behind ours with
//! the session in memory, and one that takes the session and answers its user.
//!
//! `cargo bench --bench layer [-- ROUNDS]`: rounds are interleaved; medians, and the range over the rounds. No socket, no HTTP: what is measured is a call of the
//! service with a request that is there, until its response is.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, StatusCode, header::COOKIE};
use axum::{Router, routing::get};
use futures_util::FutureExt as _;
use hallpass::axum::{Session, Web};
use hallpass::{CacheSettings, Sessions, ValidationMode};
use hallpass_bench::{Error, fill};
use hallpass_conformance::MemoryStore;
use tower::Service;
use tower::layer::util::Identity;

const SESSIONS: usize = 10_000;
const REQUESTS: usize = 102_400;
const TOGETHER: usize = 64;

fn main() -> Result<(), Error> {
    let rounds: usize = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(9);
    let runtime = tokio::runtime::Runtime::new()?;
    let store = Arc::new(MemoryStore::new());
    let mut settings = CacheSettings::default();
    // Nobody follows the log here; the measurement is over before the lease.
    settings.lease = Duration::from_secs(300);
    let sessions = Sessions::builder(store).validation(ValidationMode::Cached(settings)).build()?;
    let tokens = runtime.block_on(fill(&sessions, SESSIONS))?;
    runtime.block_on(sessions.follow())?;
    let web = Web::builder(sessions.clone(), "http://127.0.0.1:8080").build()?;
    // The same answer from all.
    let alone = || Router::new().route("/", get(|| async { black_box("user-0000000").to_owned() }));
    let bare = alone();
    let passing = alone().layer(Identity::new());
    let behind = alone().layer(web.layer());
    let asking = Router::new().route("/", get(|session: Session| async move { session.user.to_string() })).layer(web.layer());
    // Each is in memory from here on.
    let _guard = runtime.enter();
    nanos(&behind, &tokens, REQUESTS);
    let (mut alone, mut passed, mut layered, mut asked) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let one = nanos(&bare, &tokens, REQUESTS);
        let nothing = nanos(&passing, &tokens, REQUESTS);
        let other = nanos(&behind, &tokens, REQUESTS);
        let taking = nanos(&asking, &tokens, REQUESTS);
        // The first round warms up.
        if round > 0 {
            alone.push(one);
            passed.push(nothing);
            layered.push(other);
            asked.push(taking);
        }
    }
    let hits = sessions.cache_status().ok_or("no cache")?.hits;
    assert!(hits >= (2 * REQUESTS * (rounds + 1)) as u64, "each of them from memory, not {hits}");
    let more = |figures: &[f64]| shown(&figures.iter().zip(&alone).map(|(figure, one)| figure - one).collect::<Vec<_>>());
    println!("| handler | time | more than alone |");
    println!("|---|---|---|");
    println!("| alone | {} | |", shown(&alone));
    for (name, figures) in [
        ("behind a layer that does nothing", &passed),
        ("behind ours, from memory", &layered),
        ("behind ours, and takes the session", &asked),
    ] {
        println!("| {name} | {} | {} |", shown(figures), more(figures));
    }
    Ok(())
}

/// Nanoseconds of a request, in an order without locality.
fn nanos(app: &Router, tokens: &[String], count: usize) -> f64 {
    // As `axum::serve` does: without it each request would make its route anew.
    let mut service = app.clone().with_state::<()>(());
    let (mut step, mut spent) = (0, Duration::ZERO);
    for _ in 0..count / TOGETHER {
        let requests: Vec<Request<Body>> = (0..TOGETHER)
            .map(|_| {
                step = (step + 61_803) % tokens.len();
                let cookie = format!("theme=dark; session={}", tokens[step]);
                Request::get("/").header("host", "127.0.0.1:8080").header(COOKIE, cookie).body(Body::empty()).expect("a request")
            })
            .collect();
        let begun = Instant::now();
        for request in requests {
            let response = Service::<Request<Body>>::call(&mut service, request).now_or_never().expect("nothing to wait for").expect("a response");
            assert_eq!(black_box(response).status(), StatusCode::OK);
        }
        spent += begun.elapsed();
    }
    spent.as_nanos() as f64 / (count / TOGETHER * TOGETHER) as f64
}

fn shown(figures: &[f64]) -> String {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (first, middle, last) = (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
    format!("{middle:.0} ns ({first:.0} to {last:.0})")
}
