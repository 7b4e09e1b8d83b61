//! The tower layer: each request passes here first and last.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::response::{IntoResponse, Response};
use hallpass_core::Event;
use http::header::ORIGIN;
use http::{HeaderMap, Request};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::Web;
use crate::credential::Presented;
use crate::rejection::{Audience, Refusal};
use crate::state::Exchange;

/// Puts [`SessionService`] over a service. Made by [`Web::layer`].
#[derive(Debug, Clone)]
pub struct SessionLayer {
    web: Web,
}

impl SessionLayer {
    pub(crate) fn new(web: Web) -> Self {
        Self { web }
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService { web: self.web.clone(), inner }
    }
}

/// Reads the credential, refuses cross-origin requests with an unsafe method, checks the token once, and sets or removes
/// the cookie on the response.
///
/// A request without a token costs no store access. One with a token costs one read: where the store reads on the calling thread
/// ([`Store::find_now`](hallpass_core::Store::find_now)) right in `call`, otherwise in a future of its own, which is boxed.
/// On a store that another program shares, the client of a session which that program made is noted at the first request that a browser sends
/// ([`Sessions::note_client`](hallpass_core::Sessions::note_client)): no access more.
///
/// When the store does not answer, the request goes on, and whatever asks about its session answers 503 (G8): pages that need no
/// session keep working.
#[derive(Debug, Clone)]
pub struct SessionService<S> {
    web: Web,
    inner: S,
}

impl<S, B> Service<Request<B>> for SessionService<S>
where
    S: Service<Request<B>> + Clone,
    S::Response: IntoResponse,
{
    type Response = Response;
    type Error = S::Error;
    type Future = SessionFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if Exchange::of(request.extensions()).is_some_and(|exchange| exchange.web.is_same(&self.web)) {
            // The layer is there twice: the outer one does the work, or the two would contradict each other's cookies.
            return SessionFuture { stage: Stage::Running { answer: self.inner.call(request), exchange: None } };
        }
        let presented = match self.admit(&request) {
            Ok(presented) => presented,
            Err(refusal) => {
                let response = refusal.answer(&Audience::of(request.method(), request.headers(), None));
                return SessionFuture { stage: Stage::Refused { response: Some(response) } };
            }
        };
        let presented = match Exchange::checked_now(&self.web, presented) {
            Ok(exchange) => {
                request.extensions_mut().insert(Arc::clone(&exchange));
                let answer = self.inner.call(request);
                return SessionFuture { stage: Stage::Running { answer, exchange: Some(exchange) } };
            }
            Err(presented) => presented,
        };
        // The service that was polled ready is the one to call; the clone stays for the next request.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let check = Box::pin(Exchange::checked(self.web.clone(), presented));
        SessionFuture { stage: Stage::Checking { check, waiting: Some((inner, request)) } }
    }
}

impl<S> SessionService<S> {
    /// What can be decided from the headers alone.
    fn admit<B>(&self, request: &Request<B>) -> Result<Presented, Refusal> {
        let parse = |raw: &[u8]| self.web.sessions().parse(raw);
        let presented =
            Presented::read(request.headers(), self.web.cookie_name(), parse).map_err(|_| Refusal::TooManyCookies)?;
        if self.web.rule().check(request.method(), request.headers(), &presented).is_err() {
            self.web.emit(&Event::CrossOriginRefused { origin: named_origin(request.headers()) });
            return Err(Refusal::CrossOrigin);
        }
        if presented.is_ambiguous() {
            self.web.emit(&Event::AmbiguousCredentials { count: presented.count() });
        }
        Ok(presented)
    }
}

/// The origin of a refused request, for the event: bounded, since it comes from outside.
fn named_origin(headers: &HeaderMap) -> Option<String> {
    let origin = headers.get(ORIGIN)?.as_bytes();
    Some(String::from_utf8_lossy(&origin[..origin.len().min(255)]).into_owned())
}

type Check = Pin<Box<dyn Future<Output = Arc<Exchange>> + Send>>;

type Confirmation = Pin<Box<dyn Future<Output = ()> + Send>>;

pin_project! {
    /// The future of [`SessionService`].
    pub struct SessionFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        stage: Stage<S, B>,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<S, B>
    where
        S: Service<Request<B>>,
    {
        Refused { response: Option<Response> },
        Checking { check: Check, waiting: Option<(S, Request<B>)> },
        Running { #[pin] answer: S::Future, exchange: Option<Arc<Exchange>> },
        Confirming { confirmation: Confirmation, answered: Option<(Response, Arc<Exchange>)> },
    }
}

impl<S, B> Future for SessionFuture<S, B>
where
    S: Service<Request<B>>,
    S::Response: IntoResponse,
{
    type Output = Result<Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stage = self.project().stage;
        loop {
            let next = match stage.as_mut().project() {
                StageProjection::Refused { response } => match response.take() {
                    Some(response) => return Poll::Ready(Ok(response)),
                    // Polled again after it was done: there is nothing left to say.
                    None => return Poll::Pending,
                },
                StageProjection::Checking { check, waiting } => {
                    let exchange = ready!(check.as_mut().poll(cx));
                    let Some((mut inner, mut request)) = waiting.take() else {
                        return Poll::Pending;
                    };
                    // Here alone: a store that another program shares never answers at once.
                    exchange.note_client(request.headers(), request.extensions());
                    request.extensions_mut().insert(Arc::clone(&exchange));
                    Stage::Running { answer: inner.call(request), exchange: Some(exchange) }
                }
                StageProjection::Running { answer, exchange } => {
                    let mut response = ready!(answer.poll(cx))?.into_response();
                    match exchange.take() {
                        Some(exchange) if exchange.extends_cookie() => Stage::Confirming {
                            confirmation: Box::pin(Arc::clone(&exchange).confirm_extension()),
                            answered: Some((response, exchange)),
                        },
                        Some(exchange) => {
                            exchange.finish(response.headers_mut());
                            return Poll::Ready(Ok(response));
                        }
                        None => return Poll::Ready(Ok(response)),
                    }
                }
                StageProjection::Confirming { confirmation, answered } => {
                    ready!(confirmation.as_mut().poll(cx));
                    let Some((mut response, exchange)) = answered.take() else {
                        return Poll::Pending;
                    };
                    exchange.finish(response.headers_mut());
                    return Poll::Ready(Ok(response));
                }
            };
            stage.set(next);
        }
    }
}

impl<S, B> fmt::Debug for SessionFuture<S, B>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionFuture").finish_non_exhaustive()
    }
}
