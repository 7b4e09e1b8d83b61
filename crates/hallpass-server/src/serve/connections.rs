//! Connections: bounded in number, in the size of what they send first, and in the time they may be idle.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tower::ServiceExt as _;

/// Most connections at once; more wait in the operating system's queue. Below the 1,024 open files that many systems allow.
const MAX_CONNECTIONS: usize = 768;
/// Most bytes of a request's first line and headers; more are answered 431.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Most requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 64;
/// How long the headers of a request may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a connection may do nothing at all. It also ends connections that never sent a whole first line, for which no timer of the
/// protocol runs yet.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause after the system refused a connection for want of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// All open connections.
#[derive(Debug)]
pub(super) struct Connections {
    router: Router,
    places: Arc<Semaphore>,
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Connections {
    pub(super) fn new(router: Router) -> Self {
        Self {
            router,
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            tasks: JoinSet::new(),
            stop: watch::Sender::new(false),
        }
    }

    /// Connections open now.
    pub(super) fn open(&mut self) -> usize {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.len()
    }

    /// Accepts and serves without end. Dropping it stops accepting and nothing else.
    pub(super) async fn accept(&mut self, listener: &TcpListener) -> Infallible {
        loop {
            while self.tasks.try_join_next().is_some() {}
            // The semaphore is never closed; were it, nothing would be accepted, which is what closed means.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                std::future::pending::<()>().await;
                continue;
            };
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // A client that went away again is nobody's fault; anything else (too many open files) needs a moment.
                    if !is_of_the_peer(&error) {
                        tracing::error!(target: "hallpass", error = %error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                    continue;
                }
            };
            let router = self.router.clone();
            let stopped = self.stop.subscribe();
            self.tasks.spawn(async move {
                serve(stream, peer, router, stopped).await;
                drop(place);
            });
        }
    }

    /// Tells every connection to finish its requests and close, and waits. Whether all did in time.
    pub(super) async fn drain(&mut self, patience: Duration) -> bool {
        self.stop.send_replace(true);
        timeout(patience, async { while self.tasks.join_next().await.is_some() {} }).await.is_ok()
    }

    /// Ends what is left.
    pub(super) async fn cut(&mut self) {
        self.tasks.shutdown().await;
    }
}

fn is_of_the_peer(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}

async fn serve(stream: TcpStream, peer: SocketAddr, router: Router, mut stopped: watch::Receiver<bool>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(target: "hallpass", error = %error, "TCP_NODELAY could not be set");
    }
    let activity = Arc::new(Activity::default());
    let watched = Arc::clone(&activity);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let running = watched.begin();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = router.clone().oneshot(request);
        async move {
            let answer = answer.await;
            drop(running);
            answer
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    let head_bytes = u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS).max_header_list_size(head_bytes);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut idle = pin!(activity.idle_for(IDLE_TIMEOUT));
    tokio::select! {
        ended = connection.as_mut() => return note(ended),
        () = idle.as_mut() => return,
        // Once told, nothing more is to be heard; a sender that is gone says the same.
        _ = stopped.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    note(connection.await);
}

/// A client that breaks off is no event, but may help to find out why a request failed.
fn note(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(target: "hallpass", error = %error, "a connection ended early");
    }
}

/// The requests of one connection.
#[derive(Debug, Default)]
struct Activity {
    running: AtomicUsize,
    finished: Notify,
}

impl Activity {
    fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::SeqCst);
        Running(Arc::clone(self))
    }

    /// Ends when no request has run for `limit`.
    async fn idle_for(&self, limit: Duration) {
        let mut since = Instant::now();
        loop {
            tokio::select! {
                () = self.finished.notified() => since = Instant::now(),
                () = sleep_until(since + limit) => {
                    if self.running.load(Ordering::SeqCst) == 0 {
                        return;
                    }
                    // Ends with the request, whose own time is limited.
                    since = Instant::now();
                }
            }
        }
    }
}

/// One running request; it has ended when this is dropped, in whatever way.
#[derive(Debug)]
struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        self.0.finished.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_only_without_requests_and_after_the_whole_time() {
        let activity = Arc::new(Activity::default());
        let begun = Instant::now();
        let running = activity.begin();
        let watching = tokio::spawn({
            let activity = Arc::clone(&activity);
            async move { activity.idle_for(Duration::from_secs(60)).await }
        });
        tokio::time::sleep(Duration::from_secs(150)).await;
        assert!(!watching.is_finished(), "a request runs");
        drop(running);
        watching.await.unwrap();
        assert_eq!(begun.elapsed(), Duration::from_secs(210));
    }
}
