//! The wall clock of a server process, which somebody sets while it runs.
//!
//! By libfaketime, which stands between the process and the C library. What the lease counts on is read past the C library and stays as it is, as on a machine whose wall clock
//! is set; each jump is seen in what the server answers ([`crate::node::Node::shows_clock`]), or the test fails.

use std::path::PathBuf;
use std::process::Command;

use crate::support::Place;

pub(crate) struct ProcessClock {
    file: PathBuf,
    /// How far it is ahead, in milliseconds.
    offset: i64,
}

impl ProcessClock {
    /// The clock of whatever is started at this place; and the place.
    pub(crate) fn at(place: Place) -> (Self, Place) {
        let file = place.path().join("clock");
        let clock = Self { file: file.clone(), offset: 0 };
        clock.write();
        let place = place
            .with("LD_PRELOAD", library())
            .with("FAKETIME_TIMESTAMP_FILE", file.display().to_string())
            // Read again by each look at the clock.
            .with("FAKETIME_NO_CACHE", "1")
            // Timers go on.
            .with("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        (clock, place)
    }

    /// Sets it.
    pub(crate) fn jump_to(&mut self, offset: i64) {
        self.offset = offset;
        self.write();
    }

    pub(crate) fn offset(&self) -> i64 {
        self.offset
    }

    /// In one step: a process may be reading it.
    fn write(&self) {
        let next = self.file.with_extension("next");
        let (sign, offset) = (if self.offset < 0 { '-' } else { '+' }, self.offset.unsigned_abs());
        std::fs::write(&next, format!("{sign}{}.{:03}\n", offset / 1_000, offset % 1_000)).unwrap();
        std::fs::rename(next, &self.file).unwrap();
    }
}

/// Where the library for programs with threads is, by the word of the program that belongs to it.
fn library() -> String {
    let asked = Command::new("faketime").args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"]).output();
    let asked = asked.unwrap_or_else(|error| panic!("faketime ({error}): apt-get install faketime"));
    let library = String::from_utf8(asked.stdout).unwrap().trim().to_owned();
    assert!(!library.is_empty(), "faketime: {}", String::from_utf8_lossy(&asked.stderr));
    library
}
