//! HTTP to a provider: one request on one connection, bounded in time, size and number, and no redirect is followed (ASVS 5.0, 15.3.2).
//!
//! A sign-in needs two or three requests, so a pool of connections would gain little. TLS is rustls with the certificates of the operating system
//! (`SSL_CERT_FILE` names others).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::ProviderError;

/// How long one request may take, connecting included.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer, in bytes. Discovery documents and key sets have a few thousand.
const MAX_BODY_BYTES: usize = 512 << 10;
/// Requests under way at once: somebody who sends made-up codes makes this server ask, but not without end.
const MAX_REQUESTS: usize = 64;

/// Asks providers.
pub(crate) struct HttpClient {
    tls: TlsConnector,
    places: Semaphore,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").finish_non_exhaustive()
    }
}

/// An answer of any status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as JSON. What is none is not shown: it may be anything.
    pub(crate) fn json<T: DeserializeOwned>(&self, what: &str) -> Result<T, ProviderError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| ProviderError::unavailable(format!("{what} is not what it should be: {}", place(&error))))
    }
}

/// Where JSON is wrong, without what stands there.
fn place(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

impl HttpClient {
    pub(crate) fn new() -> Result<Self> {
        let mut roots = RootCertStore::empty();
        // Without any, every https provider fails at its handshake, and says why; one on this machine may do without.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .context("TLS cannot be set up")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), places: Semaphore::new(MAX_REQUESTS) })
    }

    /// `GET`, with a bearer token where one is given.
    pub(crate) async fn get(&self, url: &Url, bearer: Option<&str>) -> Result<Answer, ProviderError> {
        let authorization = bearer.map(|token| format!("Bearer {token}"));
        self.send("GET", url, authorization, Bytes::new()).await
    }

    /// `POST` of a form, with an `Authorization` where one is given.
    pub(crate) async fn post(
        &self,
        url: &Url,
        authorization: Option<String>,
        form: String,
    ) -> Result<Answer, ProviderError> {
        self.send("POST", url, authorization, Bytes::from(form)).await
    }

    async fn send(
        &self,
        method: &str,
        url: &Url,
        authorization: Option<String>,
        body: Bytes,
    ) -> Result<Answer, ProviderError> {
        let place = format!("{}{}", url.origin().ascii_serialization(), url.path());
        let unavailable = |what: String| ProviderError::unavailable(format!("{place}: {what}"));
        let asked = async {
            let _place = self.places.acquire().await?;
            self.exchange(method, url, authorization, body).await
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(unavailable(format!("{error:#}"))),
            Err(_) => Err(unavailable(format!("no answer within {PATIENCE:?}"))),
        }
    }

    async fn exchange(&self, method: &str, url: &Url, authorization: Option<String>, body: Bytes) -> Result<Answer> {
        let host = url.host().context("the address has no host")?;
        let port = url.port_or_known_default().context("the address has no port")?;
        let stream = match host {
            Host::Domain(name) => TcpStream::connect((name, port)).await,
            Host::Ipv4(ip) => TcpStream::connect((ip, port)).await,
            Host::Ipv6(ip) => TcpStream::connect((ip, port)).await,
        };
        let stream = stream.context("no connection")?;
        let request = request(method, url, authorization, body)?;
        if url.scheme() == "https" {
            let name = match host {
                Host::Domain(name) => ServerName::try_from(name.to_owned())?,
                Host::Ipv4(ip) => ServerName::from(std::net::IpAddr::from(ip)),
                Host::Ipv6(ip) => ServerName::from(std::net::IpAddr::from(ip)),
            };
            let stream = self.tls.connect(name, stream).await.context("the encrypted connection failed")?;
            exchange_on(stream, request).await
        } else {
            exchange_on(stream, request).await
        }
    }
}

fn request(method: &str, url: &Url, authorization: Option<String>, body: Bytes) -> Result<Request<Full<Bytes>>> {
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let host = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
        None => url.host_str().unwrap_or_default().to_owned(),
    };
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header(HOST, host)
        .header(ACCEPT, "application/json")
        // GitHub refuses requests without one.
        .header(USER_AGENT, concat!("hallpass/", env!("CARGO_PKG_VERSION")));
    if method == "POST" {
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    }
    if let Some(authorization) = authorization {
        let mut value = HeaderValue::try_from(authorization).context("a credential cannot be sent")?;
        value.set_sensitive(true);
        request = request.header(http::header::AUTHORIZATION, value);
    }
    Ok(request.body(Full::new(body))?)
}

/// The connection ends with the answer.
async fn exchange_on<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let work = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("the answer cannot be read: {error}"))?;
        Ok(Answer { status, body: body.to_bytes() })
    };
    tokio::pin!(work);
    tokio::pin!(connection);
    // The connection is polled beside the work and dropped with it: nothing goes on after a time-out.
    tokio::select! {
        answer = &mut work => answer,
        ended = &mut connection => {
            ended?;
            // It may have delivered everything before it ended.
            work.await
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers each connection with the same bytes.
    async fn answering(bytes: Vec<u8>) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&bytes).await;
            }
        });
        Url::parse(&format!("http://{address}/a?b=c")).unwrap()
    }

    #[tokio::test]
    async fn a57_a_redirect_is_an_answer_and_is_not_followed() {
        let url =
            answering(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_vec())
                .await;
        let answer = HttpClient::new().unwrap().get(&url, None).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (StatusCode::FOUND, 0));
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off() {
        let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".to_vec();
        bytes.resize(bytes.len() + (1 << 20), b'x');
        let url = answering(bytes).await;
        let error = HttpClient::new().unwrap().get(&url, None).await.err().unwrap().to_string();
        assert!(error.contains("cannot be read") && error.contains("/a:") && !error.contains("b=c"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_provider_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let error = HttpClient::new().unwrap().get(&url, Some("hunter22hunter22")).await.err().unwrap().to_string();
        assert!(error.contains("within 5s") && !error.contains("hunter22"), "{error}");
    }
}
