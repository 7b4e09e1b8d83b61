//! The answer to a commit is lost: nobody knows whether it happened, so it is not tried again, and nobody is told that it failed or went well.
#![expect(clippy::unwrap_used, reason = "a test stops at what should not fail")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{NOW, beside, fresh_database, record, revocation, small, until, user, waiting};
use hallpass_core::store::{Created, Target};
use hallpass_core::{State, Store as _, StoreError};
use hallpass_mysql::MysqlStore;
use mysql_async::prelude::Queryable as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Passes everything on; once armed, it closes a connection right after its commit has been passed on.
#[derive(Default)]
struct Proxy {
    armed: AtomicBool,
    commits: AtomicUsize,
}

impl Proxy {
    /// The URL through it.
    async fn before(self: &Arc<Self>, url: &str) -> String {
        let mut url = url::Url::parse(url).unwrap();
        let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let proxy = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(Arc::clone(&proxy).pass(client, server));
            }
        });
        url.to_string()
    }

    async fn pass(self: Arc<Self>, client: TcpStream, server: TcpStream) {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let answers = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let mut buffer = vec![0; 65_536];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            let commit = buffer[..read].ends_with(b"COMMIT");
            self.commits.fetch_add(usize::from(commit), Ordering::SeqCst);
            let cut = commit && self.armed.load(Ordering::SeqCst);
            if cut {
                answers.abort();
            }
            to_server.write_all(&buffer[..read]).await.unwrap();
            if cut {
                // The server has it before it learns that nobody waits.
                to_server.flush().await.unwrap();
                return;
            }
        }
        answers.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_sent_once() {
    let url = fresh_database().await;
    let beside = MysqlStore::connect(&url, small()).await.unwrap();
    let proxy = Arc::new(Proxy::default());
    let store = MysqlStore::connect(&proxy.before(&url).await, small()).await.unwrap();
    for round in 0..10 {
        // A fresh connection, and then one that was used before: neither is reason enough.
        let known = record(&user("alice"), NOW);
        assert_eq!(store.create(&known, NOW, None).await.unwrap(), Created::Created { evicted: Vec::new() });
        let lost = record(&user("alice"), NOW);
        proxy.armed.store(true, Ordering::SeqCst);
        let before = proxy.commits.load(Ordering::SeqCst);
        let answer = store.create(&lost, NOW, None).await;
        assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "round {round}: {answer:?}");
        assert_eq!(proxy.commits.load(Ordering::SeqCst) - before, 1, "round {round}");
        let target = Target::Session { id: known.session.id, owner: None };
        let answer = store.revoke(&revocation(target, NOW)).await;
        assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "round {round}: {answer:?}");
        assert_eq!(proxy.commits.load(Ordering::SeqCst) - before, 2, "round {round}");
        proxy.armed.store(false, Ordering::SeqCst);
        // Whatever became of it, asking again is safe and tells.
        let again = store.create(&lost, NOW, None).await.unwrap();
        assert!(matches!(again, Created::Created { .. } | Created::Duplicate), "round {round}: {again:?}");
        let target = Target::Session { id: known.session.id, owner: None };
        store.revoke(&revocation(target, NOW)).await.unwrap();
        assert_ne!(beside.find(known.session.id).await.unwrap().unwrap().session.state, State::Live, "round {round}");
        assert_eq!(beside.find(lost.session.id).await.unwrap().unwrap().session.state, State::Live, "round {round}");
    }
    let changes = beside.changes_since(0, 100).await.unwrap();
    assert_eq!((changes.head, changes.entries.len()), (10, 10), "each session ended once");
}

/// Of several that go together nobody knows either, so each is told so, and none is tried again: neither together nor alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_commit_whose_answer_is_lost_is_sent_once() {
    let url = fresh_database().await;
    let direct = MysqlStore::connect(&url, small()).await.unwrap();
    let proxy = Arc::new(Proxy::default());
    let store = Arc::new(MysqlStore::connect(&proxy.before(&url).await, small()).await.unwrap());
    let mut holder = beside(&url).await;
    for round in 0..5 {
        let mut all = Vec::new();
        for n in 0..8 {
            let new = record(&user(&format!("user {n}")), NOW);
            direct.create(&new, NOW, None).await.unwrap();
            all.push(new.session.id);
        }
        holder.query_drop("START TRANSACTION").await.unwrap();
        holder.query_drop("SELECT n FROM hallpass_counter FOR UPDATE").await.unwrap();
        let mut asked = Vec::new();
        for id in &all {
            let (store, revocation) = (Arc::clone(&store), revocation(Target::Session { id: *id, owner: None }, NOW));
            let mut asking = Box::pin(async move { store.revoke(&revocation).await });
            // In this order: the first goes alone, and the others wait for it.
            assert!(timeout(Duration::ZERO, &mut asking).await.is_err());
            asked.push(asking);
        }
        let asked: Vec<_> = asked.into_iter().map(tokio::spawn).collect();
        until("two transactions wait", async || waiting(&mut holder).await == 2).await;
        proxy.armed.store(true, Ordering::SeqCst);
        let before = proxy.commits.load(Ordering::SeqCst);
        holder.query_drop("COMMIT").await.unwrap();
        for (n, asked) in asked.into_iter().enumerate() {
            let answer = asked.await.unwrap();
            assert!(matches!(answer, Err(StoreError::Unavailable { .. })), "round {round}, {n}: {answer:?}");
            let error = answer.unwrap_err().to_string();
            assert!(error.contains("127.0.0.1"), "it names the place: {error}");
        }
        assert_eq!(
            proxy.commits.load(Ordering::SeqCst) - before,
            2,
            "round {round}: the first one's, and that of the others"
        );
        proxy.armed.store(false, Ordering::SeqCst);
        // Whatever became of it, asking again is safe.
        for id in all {
            let outcome = store.revoke(&revocation(Target::Session { id, owner: None }, NOW)).await.unwrap();
            assert!(outcome.ended.is_some_and(|ended| ended < 2), "round {round}: {outcome:?}");
            assert_ne!(direct.find(id).await.unwrap().unwrap().session.state, State::Live, "round {round}");
        }
    }
    let changes = direct.changes_since(0, 100).await.unwrap();
    assert_eq!((changes.head, changes.entries.len()), (40, 40), "each session ended once");
}
