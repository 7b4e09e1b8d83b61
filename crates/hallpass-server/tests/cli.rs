//! The program as a person meets it: exit codes, messages, pipes.

#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn hallpass(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
    command.current_dir(directory).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HALLPASS_") || name == "CRON_SECRET" {
            command.env_remove(name);
        }
    }
    command
}

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let output = hallpass(directory.path()).args(args).output().unwrap();
    seen(&output)
}

fn seen(output: &Output) -> (Option<i32>, String, String) {
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn help_and_version_are_done() {
    let (code, out, err) = run(&["--help"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    for word in [
        "serve",
        "user",
        "sessions",
        "cleanup",
        "policy",
        "doctor",
        "migrate",
        "completions",
        "--database-url",
        "HALLPASS_LISTEN",
    ] {
        assert!(out.contains(word), "{word}");
    }
    assert!(!out.contains('\u{1b}'), "no colour into a pipe");
    let (code, out, _) = run(&["--version"]);
    assert_eq!(code, Some(0));
    assert!(out.starts_with("hallpass 0."));
}

#[test]
fn wrong_usage_is_2() {
    for args in [&["--nonsense"][..], &["nonsense"], &["user"], &["sessions", "revoke", "--everyone"]] {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}");
        assert!(!err.is_empty());
    }
}

#[test]
fn a_configuration_mistake_is_2_and_names_file_and_nearest_key() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("hallpass.toml"), "lsten = \"127.0.0.1:0\"").unwrap();
    let output = hallpass(directory.path()).output().unwrap();
    let (code, _, err) = seen(&output);
    assert_eq!(code, Some(2));
    assert!(err.contains("hallpass.toml") && err.contains("`lsten`") && err.contains("`listen`"), "{err}");

    let directory = tempfile::tempdir().unwrap();
    let output = hallpass(directory.path()).env("HALLPASS_LISTNE", "x").output().unwrap();
    let (code, _, err) = seen(&output);
    assert_eq!(code, Some(2));
    assert!(err.contains("did you mean `HALLPASS_LISTEN`"), "{err}");
}

#[test]
fn a31_a_short_cron_secret_stops_the_start_without_being_shown() {
    let directory = tempfile::tempdir().unwrap();
    let output = hallpass(directory.path()).env("CRON_SECRET", "hunter22hunter22").output().unwrap();
    let (code, out, err) = seen(&output);
    assert_eq!(code, Some(2));
    assert!(err.contains("CRON_SECRET") && err.contains("openssl rand -base64 32"), "{err}");
    assert!(!err.contains("hunter22") && !out.contains("hunter22"));
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, _) = run(&["completions", shell]);
        assert_eq!(code, Some(0), "{shell}");
        assert!(out.contains("database-url") && out.contains("revoke"), "{shell}");
    }
}

#[test]
fn the_settings_table_comes_from_the_program() {
    let (code, out, _) = run(&["settings"]);
    assert_eq!(code, Some(0));
    assert_eq!(out, hallpass_server::settings::markdown());
}

#[test]
fn a_broken_pipe_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = hallpass(directory.path())
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(seen(&output), (Some(0), String::new(), String::new()));
}
