//! What a strict check costs in process beside the hand-written read, step by step: `probe DIR [ROUNDS]`, after
//! `server prepare sqlite:DIR/sessions.db DIR/tokens COUNT`.
//! Rounds are interleaved; the smallest and the median nanoseconds of each are printed.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use hallpass::{Token, Validation, ValidationMode};
use hallpass_bench::by_hand::{read, reader};
use hallpass_bench::{Error, open};

const READS: usize = 20_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let directory = Path::new(arguments.first().ok_or("usage: probe DIR [ROUNDS]")?);
    let rounds: usize = arguments.get(1).map_or(Ok(30), |text| text.parse())?;
    let database = directory.join("sessions.db");
    let tokens = std::fs::read_to_string(directory.join("tokens"))?;
    let tokens: Vec<&str> = tokens.lines().collect();
    let sessions = open(&format!("sqlite:{}", database.display()), ValidationMode::Strict).await?;
    let connection = reader(&database)?;
    let store = sessions.store();
    let mut taken: [(&str, Vec<u128>); 4] =
        [("by hand", vec![]), ("parse and digest", vec![]), ("find", vec![]), ("parse and validate", vec![])];
    let mut step = 0;
    for _ in 0..rounds {
        for (name, taken) in &mut taken {
            let begun = Instant::now();
            for _ in 0..READS {
                step = (step + 61_803) % tokens.len();
                let text = tokens[step];
                match *name {
                    "by hand" => assert!(read(&connection, text, 1)?.is_some()),
                    "parse and digest" => {
                        black_box(Token::parse(text.as_bytes())?.hash(None));
                    }
                    "find" => assert!(store.find(Token::parse(text.as_bytes())?.id()).await?.is_some()),
                    _ => {
                        let found = sessions.validate(&Token::parse(text.as_bytes())?).await?;
                        assert!(matches!(found, Validation::Live { .. }));
                    }
                }
            }
            taken.push(begun.elapsed().as_nanos() / READS as u128);
        }
    }
    for (name, taken) in &mut taken {
        taken.sort_unstable();
        println!("{name:<20} {:>6} ns at best, {:>6} ns median", taken[0], taken[taken.len() / 2]);
    }
    Ok(())
}
