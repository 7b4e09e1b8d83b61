//! A network between a node and its database that swallows everything when told, and refuses nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    Open,
    /// Nothing gets through. What is on the way arrives late, when the network is open again, as after a lost route.
    Holds,
    /// Nothing gets through, and what is on the way is lost: connections that saw this are dead for ever, and nobody is told.
    Loses,
    /// Open, but that nothing comes back on connections on which somebody listens for hints, and nobody is told.
    Deafens,
}

pub(crate) struct Proxy {
    state: watch::Sender<Network>,
}

impl Proxy {
    /// In front of the server of a URL; and the URL through it.
    pub(crate) async fn before(url: &str) -> (Self, String) {
        let authority = url.split("://").nth(1).unwrap().split(['/', '?']).next().unwrap();
        let server = authority.rsplit('@').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let through = url.replacen(&server, &listener.local_addr().unwrap().to_string(), 1);
        let (state, states) = watch::channel(Network::Open);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(between(client, server.clone(), states.clone()));
            }
        });
        (Self { state }, through)
    }

    pub(crate) fn set(&self, network: Network) {
        self.state.send_replace(network);
    }
}

async fn between(client: TcpStream, server: String, mut states: watch::Receiver<Network>) {
    // Accepted by the kernel, as everywhere behind a firewall that answers for the host; the server hears of it when it can.
    if until(&mut states, |state| matches!(state, Network::Open | Network::Deafens)).await.is_none() {
        return;
    }
    let Ok(upstream) = TcpStream::connect(&server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = upstream.into_split();
    let listens = AtomicBool::new(false);
    tokio::select! {
        () = pass(from_client, to_server, states.clone(), Way::There(&listens)) => {}
        () = pass(from_server, to_client, states, Way::Back(&listens)) => {}
    }
}

/// Which way bytes go on a connection, of which this says whether somebody listens there.
enum Way<'a> {
    There(&'a AtomicBool),
    Back(&'a AtomicBool),
}

/// What PostgreSQL and Redis are told by who wants to hear.
const LISTENING: [&[u8]; 2] = [b"LISTEN", b"SUBSCRIBE"];

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut states: watch::Receiver<Network>, way: Way<'_>) {
    let mut buffer = vec![0; 65_536];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            state = until(&mut states, |state| state == Network::Loses) => match state {
                Some(_) => return std::future::pending().await,
                None => return,
            },
        };
        let Ok(read) = read else { return };
        match until(&mut states, |state| state != Network::Holds).await {
            Some(Network::Loses) => return std::future::pending().await,
            Some(Network::Deafens) if read > 0 && way.is_deaf() => continue,
            Some(_) if read > 0 => way.sees(&buffer[..read]),
            _ => return,
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

impl Way<'_> {
    fn sees(&self, bytes: &[u8]) {
        let says = |word: &[u8]| bytes.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
        if let Self::There(listens) = self
            && LISTENING.into_iter().any(says)
        {
            listens.store(true, Ordering::SeqCst);
        }
    }

    fn is_deaf(&self) -> bool {
        matches!(self, Self::Back(listens) if listens.load(Ordering::SeqCst))
    }
}

/// `None` when the test is over.
async fn until(states: &mut watch::Receiver<Network>, is_it: impl Fn(Network) -> bool) -> Option<Network> {
    states.wait_for(|state| is_it(*state)).await.ok().map(|state| *state)
}
