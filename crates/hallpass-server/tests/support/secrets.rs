//! What the search for leaked secrets needs to know.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use hallpass_core::{Entropy as _, OsEntropy};

#[expect(clippy::disallowed_methods, reason = "the two variables of the test run, no settings of the program")]
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where databases and logs are to be left.
pub(crate) fn artifacts() -> Option<PathBuf> {
    variable("HALLPASS_TEST_ARTIFACTS")
}

/// Notes a password or a token, in one write.
pub(crate) fn record(secret: &str) {
    if let Some(list) = variable("HALLPASS_TEST_SECRETS") {
        let mut list = std::fs::File::options().create(true).append(true).open(list).unwrap();
        list.write_all(format!("{secret}\n").as_bytes()).unwrap();
    }
}

/// A password that cannot appear anywhere by chance, recorded.
pub(crate) fn new_password() -> String {
    let mut bytes = [0_u8; 12];
    OsEntropy.fill(&mut bytes).unwrap();
    let mut password = String::from("corridor ");
    for byte in bytes {
        write!(password, "{byte:02x}").unwrap();
    }
    record(&password);
    password
}
