//! A check from memory beside the verification of a signed token of the same content, and what a session in memory takes.
//!
//! `cargo bench --bench cached [-- ROUNDS]`: rounds are interleaved; medians, and the range over the rounds.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hallpass::{CacheSettings, Class, Policies, Sessions, Store, Token, Validation, ValidationMode};
use hallpass_bench::jwt::Jwt;
use hallpass_bench::{Error, fill};
use hallpass_conformance::MemoryStore;

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
/// Signed tokens in turn: each verification does the same work.
const SIGNED: usize = 10_000;

fn main() -> Result<(), Error> {
    let rounds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(9);
    let runtime = tokio::runtime::Runtime::new()?;
    let (hs256, eddsa) = (Jwt::new("hs256")?, Jwt::new("eddsa")?);
    let signed = |jwt: &Jwt| (0..SIGNED).map(|number| jwt.sign(number)).collect::<Result<Vec<_>, _>>();
    let (of_hs256, of_eddsa) = (signed(&hs256)?, signed(&eddsa)?);
    println!("| sessions | cached check | HS256 | EdDSA | EdDSA takes | bytes a session | bytes by the cache's own count |");
    println!("|---|---|---|---|---|---|---|");
    for size in SIZES {
        let store = Arc::new(MemoryStore::new());
        let tokens = runtime.block_on(fill(&open(store.clone(), ValidationMode::Strict)?, size))?;
        let mut settings = CacheSettings::default();
        settings.bytes = 1 << 30;
        // Nobody follows the log here; the measurement is over before the lease.
        settings.lease = Duration::from_secs(300);
        let sessions = open(store, ValidationMode::Cached(settings))?;
        runtime.block_on(sessions.follow())?;
        let before = resident()?;
        for token in &tokens {
            check(&sessions, token);
        }
        let taken = resident()?.saturating_sub(before);
        let status = sessions.cache_status().ok_or("no cache")?;
        assert_eq!(status.entries, size as u64, "all of them are in memory");
        let (mut cached, mut by_hs256, mut by_eddsa) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..=rounds {
            runtime.block_on(sessions.follow())?;
            cached.push(nanos(204_800, &tokens, |token| check(&sessions, token)));
            by_hs256.push(nanos(20_000, &of_hs256, |token| assert!(hs256.verify(black_box(token)).is_ok())));
            by_eddsa.push(nanos(4_000, &of_eddsa, |token| assert!(eddsa.verify(black_box(token)).is_ok())));
        }
        let hits = sessions.cache_status().ok_or("no cache")?.hits;
        assert_eq!(hits, 204_800 * (rounds as u64 + 1), "each of them from memory");
        // The first round warms up.
        let ratios: Vec<f64> = cached.iter().zip(&by_eddsa).skip(1).map(|(ours, theirs)| theirs / ours).collect();
        println!(
            "| {size} | {} | {} | {} | {} times as long | {} | {} |",
            shown(&cached[1..], " ns"),
            shown(&by_hs256[1..], " ns"),
            shown(&by_eddsa[1..], " ns"),
            shown(&ratios, ""),
            taken / size as u64,
            status.bytes / size as u64
        );
    }
    Ok(())
}

fn open(store: Arc<dyn Store>, mode: ValidationMode) -> Result<Sessions, Error> {
    let mut web = Policies::default().of(&Class::WEB).clone();
    web.max_per_user = None;
    Ok(Sessions::builder(store).policies(Policies::default().with(Class::WEB, web)?).validation(mode).build()?)
}

/// What the layer does with the value of a cookie.
fn check(sessions: &Sessions, text: &str) {
    let Ok(token) = Token::parse(black_box(text.as_bytes())) else { panic!("no token") };
    let found = sessions.validate_now(&token);
    assert!(matches!(black_box(found), Some(Ok(Validation::Live { .. }))));
}

/// Nanoseconds for each of so many, in an order without locality. The texts lie in the processor's own memory, as they do when a request has just been read.
fn nanos(count: usize, tokens: &[String], mut act: impl FnMut(&str)) -> f64 {
    const TOGETHER: usize = 64;
    let (mut step, mut spent) = (0, Duration::ZERO);
    let mut texts = vec![String::new(); TOGETHER];
    for _ in 0..count / TOGETHER {
        for text in &mut texts {
            // Coprime with the numbers of tokens.
            step = (step + 61_803) % tokens.len();
            text.clear();
            text.push_str(&tokens[step]);
        }
        let begun = Instant::now();
        texts.iter().for_each(|text| act(text));
        spent += begun.elapsed();
    }
    spent.as_nanos() as f64 / (count / TOGETHER * TOGETHER) as f64
}

fn shown(figures: &[f64], unit: &str) -> String {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (first, middle, last) = (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
    format!("{middle:.0}{unit} ({first:.0} to {last:.0})")
}

/// Bytes of memory that this process holds.
fn resident() -> Result<u64, Error> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    Ok(pages.split(' ').nth(1).ok_or("no statm")?.parse::<u64>()? * 4096)
}
