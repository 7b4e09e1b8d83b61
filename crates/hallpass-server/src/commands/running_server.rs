//! What the server that runs here says of itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Its answer has a few hundred bytes.
const MAX_BODY: usize = 64 << 10;

/// What was found at the address.
#[derive(Debug)]
pub(super) enum Found {
    /// Nobody listens there.
    Nobody,
    /// Somebody does, and says this at `/healthz`.
    Says(Value),
    /// Somebody does, and is no hallpass server or does not answer.
    Unclear(String),
}

/// Asks the server that listens at `listen`, on this machine.
pub(super) async fn ask(listen: SocketAddr) -> Found {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let address = SocketAddr::new(ip, listen.port());
    match tokio::time::timeout(PATIENCE, health(address)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => Found::Unclear(format!("{address} does not answer as a hallpass server does: {error}")),
        Err(_) => Found::Unclear(format!("{address} does not answer within {PATIENCE:?}")),
    }
}

async fn health(address: SocketAddr) -> anyhow::Result<Found> {
    let stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return Ok(Found::Nobody),
        Err(error) => return Err(error.into()),
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/healthz").header(header::HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let connection = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(request).await?;
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await.map_err(anyhow::Error::from_boxed)?;
        Ok(Found::Says(serde_json::from_slice(&body.to_bytes())?))
    };
    let answer = answer.await;
    connection.abort();
    answer
}
