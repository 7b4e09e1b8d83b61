//! A strict check in process beside the bare prepared read that somebody would write by hand.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use hallpass::{Token, Validation, ValidationMode};
use hallpass_bench::by_hand::{self, read, reader};
use hallpass_bench::{fill, open};

const SESSIONS: usize = 100_000;

fn strict(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let directory = std::env::temp_dir().join(format!("hallpass-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join("sessions.db");
    let (sessions, tokens) = runtime.block_on(async {
        let url = format!("sqlite:{}", path.display());
        let sessions = open(&url, ValidationMode::Strict).await.expect("a database");
        let tokens = fill(&sessions, SESSIONS).await.expect("sessions");
        by_hand::fill(&url, &tokens).await.expect("the hand-written table");
        (sessions, tokens)
    });
    let connection = reader(&path).expect("a reader");
    // A stride that is coprime with the number of tokens visits them all in an order without locality.
    let order = |step: &mut usize| {
        *step = (*step + 61_803) % SESSIONS;
        *step
    };

    let mut group = criterion.benchmark_group("strict check, 100,000 sessions");
    group.bench_function("bare prepared rusqlite read", |bencher| {
        let mut step = 0;
        bencher.iter(|| {
            let token = &tokens[order(&mut step)];
            assert!(read(&connection, black_box(token), 1).expect("a read").is_some());
        });
    });
    group.bench_function("hallpass parse and strict validate", |bencher| {
        let mut step = 0;
        bencher.to_async(&runtime).iter(|| {
            let token = Token::parse(tokens[order(&mut step)].as_bytes()).expect("a token");
            let sessions = &sessions;
            async move {
                let found = sessions.validate(black_box(&token)).await.expect("a read");
                assert!(matches!(found, Validation::Live { .. }));
            }
        });
    });
    group.bench_function("hallpass parse and strict validate, without a future", |bencher| {
        let mut step = 0;
        bencher.iter(|| {
            let token = Token::parse(tokens[order(&mut step)].as_bytes()).expect("a token");
            let found = sessions.validate_now(black_box(&token)).expect("no waiting").expect("a read");
            assert!(matches!(found, Validation::Live { .. }));
        });
    });
    group.finish();
    let _ = std::fs::remove_dir_all(directory);
}

criterion_group!(benches, strict);
criterion_main!(benches);
