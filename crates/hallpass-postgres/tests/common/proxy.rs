//! A network between store and server that can be held up.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    Open,
    /// What the server says is held back until it is open again.
    HoldsAnswers,
    /// Nothing gets through in either direction, and nothing is lost or refused.
    BlackHole,
}

/// What becomes of the connections that there are; new ones work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Both sides are told.
    Cut,
    /// Nobody is told, and nothing comes through any more.
    Forgotten,
}

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    state: watch::Sender<Network>,
    losses: watch::Sender<Option<(u64, Loss)>>,
}

impl Proxy {
    /// In front of the server of a URL; and the URL through it.
    pub(crate) async fn before(url: &str) -> (Self, String) {
        let authority = url.split("://").nth(1).unwrap().split(['/', '?']).next().unwrap();
        let server = authority.rsplit('@').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, states) = watch::channel(Network::Open);
        let (losses, lost) = watch::channel(None);
        let through = url.replacen(&server, &address.to_string(), 1);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(upstream) = TcpStream::connect(&server).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = upstream.into_split();
                let up = pass(from_client, to_server, states.clone(), |state| state != Network::BlackHole);
                let down = pass(from_server, to_client, states.clone(), |state| state == Network::Open);
                tokio::spawn(until_lost(up, down, lost.clone()));
            }
        });
        (Self { address, state, losses }, through)
    }

    pub(crate) fn lose(&self, loss: Loss) {
        self.losses.send_modify(|losses| *losses = Some((losses.map_or(0, |(count, _)| count) + 1, loss)));
    }

    pub(crate) fn set(&self, network: Network) {
        self.state.send_replace(network);
    }
}

async fn until_lost(
    up: impl Future<Output = ()>,
    down: impl Future<Output = ()>,
    mut losses: watch::Receiver<Option<(u64, Loss)>>,
) {
    losses.mark_unchanged();
    let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
    tokio::select! {
        () = &mut up => {}
        () = &mut down => {}
        changed = losses.changed() => {
            if changed.is_ok() && losses.borrow().is_some_and(|(_, loss)| loss == Loss::Forgotten) {
                std::future::pending::<()>().await;
            }
        }
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut states: watch::Receiver<Network>,
    open: fn(Network) -> bool,
) {
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok(read) = from.read(&mut buffer).await else { return };
        if states.wait_for(|state| open(*state)).await.is_err() || read == 0 {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
