//! The documents promise nothing that no test shows, and list every setting.

#![expect(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// Every Rust function of the work tree and every test title of the browser suite.
fn known_tests() -> BTreeSet<String> {
    fn walk(directory: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", "node_modules", ".git"].contains(&name.as_str()) {
                    walk(&path, found);
                }
            } else if name.ends_with(".rs") {
                for line in fs::read_to_string(&path).unwrap().lines() {
                    let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("async ");
                    if let Some(rest) = line.strip_prefix("fn ") {
                        found.insert(rest.split(['(', '<', ' ']).next().unwrap().to_owned());
                    }
                }
            } else if name.ends_with(".test.mjs") {
                for line in fs::read_to_string(&path).unwrap().lines() {
                    if let Some(rest) = line.trim_start().strip_prefix("test(\"") {
                        found.insert(rest.split('"').next().unwrap().to_owned());
                    }
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(&root(), &mut found);
    found
}

/// The last cell of a row of a table.
fn last_cell(line: &str) -> Option<&str> {
    line.strip_prefix("| ")?.strip_suffix(" |")?.rsplit(" | ").next()
}

fn in_backticks(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// The tests that the tables of a document name in their last column, where that says what shows the row.
fn named_tests(text: &str) -> Vec<String> {
    let mut in_table = false;
    let mut named = Vec::new();
    for line in text.lines() {
        match last_cell(line) {
            Some("Shown by") => in_table = true,
            Some(cell) if in_table => named.extend(in_backticks(cell)),
            _ => in_table &= line.starts_with('|'),
        }
    }
    named
}

#[test]
fn every_test_that_a_document_names_exists() {
    let known = known_tests();
    for name in ["docs/GUARANTEES.md", "docs/OPERATING.md", "docs/THREATS.md"] {
        let named = named_tests(&document(name));
        assert!(named.len() >= 15, "{name} names only {} tests: is the table still readable?", named.len());
        let missing: Vec<&String> = named.iter().filter(|test| !known.contains(*test)).collect();
        assert!(missing.is_empty(), "{name} names tests that do not exist: {missing:#?}");
    }
}

#[test]
fn every_abuse_case_in_the_table_is_named_by_a_test_that_carries_its_id() {
    let text = document("docs/THREATS.md");
    let mut cases = 0;
    for line in text.lines().filter(|line| line.starts_with("| A")) {
        let id = line[2..].split(' ').next().unwrap().to_lowercase();
        cases += 1;
        assert!(
            in_backticks(last_cell(line).unwrap())
                .any(|test| test.split(['_', ' ']).any(|word| word.trim_end_matches(':').to_lowercase() == id)),
            "no test in the row of {id} carries its id:\n{line}"
        );
    }
    assert!(cases >= 20, "only {cases} cases: is the table still readable?");
}

#[test]
fn configuration_lists_every_setting_as_it_is() {
    let text = document("docs/CONFIGURATION.md");
    let table = hallpass_server::settings::markdown();
    assert!(
        text.contains(table.trim()),
        "docs/CONFIGURATION.md is out of date; put this table in it (hallpass settings prints it):\n{table}"
    );
}
