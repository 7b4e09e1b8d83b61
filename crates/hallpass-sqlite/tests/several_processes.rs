//! Several stores, and several processes, on one file.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{NOW, quick, record, revocation, user};
use hallpass_core::store::{Rotation, Target, Write};
use hallpass_core::{SessionId, State, Store as _, TokenHash};
use hallpass_sqlite::{SqliteOptions, SqliteStore};

#[tokio::test]
async fn a_revocation_by_another_store_is_seen_by_the_next_read() {
    let (directory, one) = common::store().await;
    let two = SqliteStore::open(directory.path().join("hallpass.db"), quick()).await.unwrap();
    for n in 0..50 {
        let new = record(&user("alice"), NOW);
        one.create(&new, NOW, None).await.unwrap();
        assert_eq!(two.find(new.session.id).await.unwrap().unwrap().session.state, State::Live, "round {n}");
        let target =
            if n % 2 == 0 { Target::User(user("alice")) } else { Target::Session { id: new.session.id, owner: None } };
        assert_eq!(two.revoke(&revocation(target, NOW)).await.unwrap().ended, Some(1));
        assert_ne!(one.find(new.session.id).await.unwrap().unwrap().session.state, State::Live, "round {n}");
    }
    assert_eq!(one.changes_since(0, 100).await.unwrap(), two.changes_since(0, 100).await.unwrap());
}

const CHILD: &str = "HALLPASS_SQLITE_TEST_CHILD";

/// Not a test of its own: the other process of the test below.
#[expect(clippy::disallowed_methods, reason = "a test's own channel to its child process")]
#[tokio::test]
async fn child_that_creates_and_revokes() {
    let Ok(path) = std::env::var(CHILD) else {
        return;
    };
    let store = SqliteStore::open(path, SqliteOptions::default()).await.unwrap();
    for _ in 0..100 {
        let new = record(&user("child"), NOW);
        store.create(&new, NOW, None).await.unwrap();
        println!("created {}", new.session.id);
        store.revoke(&revocation(Target::Session { id: new.session.id, owner: None }, NOW)).await.unwrap();
        println!("revoked {}", new.session.id);
    }
}

/// Not a test of its own: the other process of the test of rotations.
#[expect(clippy::disallowed_methods, reason = "a test's own channel to its child process")]
#[tokio::test]
async fn child_that_rotates() {
    let Ok(path) = std::env::var(CHILD) else {
        return;
    };
    let store = SqliteStore::open(path, SqliteOptions::default()).await.unwrap();
    let mut new = record(&user("child"), NOW);
    new.token_hash = hash(0);
    store.create(&new, NOW, None).await.unwrap();
    println!("created {}", new.session.id);
    for n in 1..=250 {
        println!("asked {n}.");
        let rotation =
            Rotation { id: new.session.id, old_hash: hash(n - 1), new_hash: hash(n), now: NOW, reauthentication: None };
        assert_eq!(store.rotate(&rotation).await.unwrap(), Write::Done(()));
        println!("rotated {n}.");
    }
}

/// The hash of the token after `n` rotations.
fn hash(n: u8) -> TokenHash {
    TokenHash::from_bytes([n; 32])
}

fn child(path: &std::path::Path) -> Child {
    child_of("child_that_creates_and_revokes", path)
}

fn child_of(test: &str, path: &std::path::Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The ids that the child acknowledged with `word`.
fn acknowledged(lines: &[String], word: &str) -> Vec<SessionId> {
    let ids = lines.iter().filter_map(|line| line.split(word).nth(1));
    // The last line may be cut by the kill.
    ids.filter_map(|id| id.trim().parse().ok()).collect()
}

#[tokio::test]
async fn what_a_killed_process_acknowledged_holds() {
    for round in 0..20_usize {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hallpass.db");
        let mut child = child(&path);
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let enough = 1 + round * 3;
        let mut lines: Vec<String> = Vec::new();
        while lines.iter().filter(|line| line.contains("created ") || line.contains("revoked ")).count() < enough {
            lines.push(output.next().unwrap().unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        lines.extend(output.map_while(Result::ok));
        let store = SqliteStore::open(&path, quick()).await.unwrap();
        let (created, revoked) = (acknowledged(&lines, "created "), acknowledged(&lines, "revoked "));
        assert!(created.len() >= revoked.len() && !created.is_empty());
        for id in created {
            assert!(store.find(id).await.unwrap().is_some(), "round {round}: an acknowledged creation is gone");
        }
        for id in revoked {
            let state = store.find(id).await.unwrap().unwrap().session.state;
            assert_ne!(state, State::Live, "round {round}: an acknowledged revocation is gone");
        }
        assert_eq!(store.check_integrity().await.unwrap(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_process_killed_while_it_rotates_leaves_exactly_one_of_the_two_tokens() {
    let newest = |lines: &[String], word: &str| -> u8 {
        let numbers = lines.iter().filter_map(|line| line.split(word).nth(1)?.split_once('.')?.0.parse().ok());
        numbers.max().unwrap_or(0)
    };
    let mut asked_only = 0;
    for round in 0..20_usize {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hallpass.db");
        let mut child = child_of("child_that_rotates", &path);
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines: Vec<String> = Vec::new();
        // Right after a rotation was asked for: before, while or after it is committed.
        while lines.iter().filter(|line| line.contains("asked ")).count() <= round * 3 {
            lines.push(output.next().unwrap().unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        lines.extend(output.map_while(Result::ok));
        let store = SqliteStore::open(&path, quick()).await.unwrap();
        let id = acknowledged(&lines, "created ")[0];
        let found = store.find(id).await.unwrap().unwrap();
        let (asked, rotated) = (newest(&lines, "asked "), newest(&lines, "rotated "));
        assert_eq!(found.session.state, State::Live);
        assert!(
            found.token_hash == hash(rotated) || (asked > rotated && found.token_hash == hash(asked)),
            "round {round}: neither the token acknowledged last ({rotated}) nor the one asked for ({asked})"
        );
        asked_only += usize::from(asked > rotated);
    }
    assert!(asked_only > 0, "no kill came between asking and acknowledging: the test shows nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_write_at_once_and_the_log_has_no_gap() {
    let (directory, store) = common::store().await;
    let path = directory.path().join("hallpass.db");
    let child = child(&path);
    for _ in 0..100 {
        let new = record(&user("parent"), NOW);
        store.create(&new, NOW, None).await.unwrap();
        store.revoke(&revocation(Target::Session { id: new.session.id, owner: None }, NOW)).await.unwrap();
        assert_ne!(store.find(new.session.id).await.unwrap().unwrap().session.state, State::Live);
    }
    let waiting = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let output = tokio::time::timeout(Duration::from_secs(60), waiting).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let ids = acknowledged(&lines, "revoked ");
    assert_eq!(ids.len(), 100);
    for id in ids {
        assert_ne!(store.find(id).await.unwrap().unwrap().session.state, State::Live);
    }
    let changes = store.changes_since(0, 1000).await.unwrap();
    assert_eq!(changes.head, 200);
    let positions: Vec<u64> = changes.entries.iter().map(|entry| entry.position).collect();
    assert_eq!(positions, (1..=200).collect::<Vec<_>>());
}
