//! The `hallpass` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    hallpass_server::app::run(std::env::args_os()).into()
}
