//! Signing in and out from a handler.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use hallpass_core::{
    Authentication, Client, CreateError, EntropyError, RotateError, SignIn, StoreError, Token, UserIdError,
};
use http::StatusCode;
use http::request::Parts;

use crate::rejection::{Audience, Refusal, UndecidedRejection, exchange};
use crate::session::audience;
use crate::state::Exchange;
use crate::{Session, answer};

/// Changes the session of this request: signs in, rotates, signs out. The layer puts the cookie on the response.
///
/// Each verb waits for the store at most for the setting `store_timeout`; what was written before an error stays written, and the
/// response then carries no new cookie.
///
/// ```
/// use axum::response::IntoResponse;
/// use hallpass_axum::{SessionHandle, SignInError};
/// use hallpass_core::{SignIn, UserId};
///
/// async fn sign_in(handle: SessionHandle) -> Result<&'static str, SignInError> {
///     // ... after the application's own check of a password ...
///     handle.sign_in(SignIn::new(UserId::new("alice")?).method("pwd")).await?;
///     Ok("signed in")
/// }
/// # let _: axum::Router = axum::Router::new().route("/sign-in", axum::routing::post(sign_in));
/// ```
#[derive(Debug)]
pub struct SessionHandle {
    exchange: Arc<Exchange>,
    client: Client,
    audience: Audience,
}

/// Why nobody was signed in. The answer says no more than its class: 422 for a user id that is none, 409 `{"error":"session_limit"}` when the
/// policy refuses more sessions, 503 when the store did not answer, 500 otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignInError {
    /// The user id has no usable form.
    #[error(transparent)]
    User(#[from] UserIdError),
    /// No session was created.
    #[error(transparent)]
    Create(#[from] CreateError),
}

/// Why the token was not replaced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotationError {
    /// This request has no live session, or its token was replaced meanwhile. Answer: 401.
    #[error("the session has ended or its token was already replaced")]
    Gone,
    /// The request came with a bearer token, whose holder would never see a cookie. Rotate it with [`Sessions::rotate`] and hand out the new
    /// token. Answer: 500.
    ///
    /// [`Sessions::rotate`]: hallpass_core::Sessions::rotate
    #[error(
        "the request was authenticated by a bearer token: rotate it with Sessions::rotate, which returns the new one"
    )]
    Bearer,
    /// No random bytes. Answer: 500.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The store did not answer. Answer: 503.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The store did not answer. The answer is 503 with `Retry-After`; what happened is for the log alone (A46).
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Unavailable(#[from] pub StoreError);

impl From<Unavailable> for StoreError {
    fn from(Unavailable(error): Unavailable) -> Self {
        error
    }
}

impl SessionHandle {
    /// Signs a user in: always with a fresh token (A01, A02). Whatever tokens the request carries, in our cookie or as bearer, are ended; a live
    /// session of the same user and class goes on under its id with a new token. Fills in the client unless one is given.
    ///
    /// One read for each token presented, then one or two durable commits.
    ///
    /// # Errors
    /// When no session was created. The response then carries no new cookie.
    pub async fn sign_in(&self, mut sign_in: SignIn) -> Result<hallpass_core::Session, SignInError> {
        if sign_in.client == Client::default() {
            sign_in.client = self.client.clone();
        }
        let presented = &self.exchange.presented.tokens;
        let again;
        let tokens = match self.exchange.issued() {
            None => presented.as_slice(),
            Some(issued) => {
                // A second sign-in within one request replaces the first as well.
                again = std::iter::once(&*issued)
                    .chain(presented)
                    .filter_map(|token| self.copied(token))
                    .collect::<Vec<_>>();
                again.as_slice()
            }
        };
        let web = &self.exchange.web;
        let issued = web.within(web.sessions().sign_in(tokens, sign_in)).await?;
        Ok((*self.exchange.took(issued)).clone())
    }

    /// Replaces the token, keeping the session: after a change of privileges. One read, one durable commit.
    ///
    /// # Errors
    /// [`RotationError::Gone`] when this request has no live session or another request was first.
    pub async fn rotate(&self) -> Result<hallpass_core::Session, RotationError> {
        self.replace(None).await
    }

    /// Replaces the token after the same user authenticated anew: the session is fresh again and both clocks start anew. One read, one
    /// durable commit. Who authenticated must be checked before: use [`SessionHandle::sign_in`] where it may be another user.
    ///
    /// # Errors
    /// [`RotationError::Gone`] when this request has no live session or another request was first.
    pub async fn reauthenticate(
        &self,
        authentication: Authentication,
    ) -> Result<hallpass_core::Session, RotationError> {
        self.replace(Some(authentication)).await
    }

    async fn replace(&self, authentication: Option<Authentication>) -> Result<hallpass_core::Session, RotationError> {
        let issued = self.exchange.issued();
        if self.current().is_none() {
            return Err(RotationError::Gone);
        }
        if issued.is_none() && self.exchange.presented.cookies == 0 {
            return Err(RotationError::Bearer);
        }
        let token = issued.as_deref().or_else(|| self.exchange.presented.only()).ok_or(RotationError::Gone)?;
        let sessions = self.exchange.web.sessions();
        let replaced = async {
            match authentication {
                None => sessions.rotate(token).await,
                Some(authentication) => sessions.reauthenticate(token, authentication, self.client.clone()).await,
            }
        };
        match self.exchange.web.within(replaced).await {
            Ok(issued) => Ok((*self.exchange.took(issued)).clone()),
            Err(RotateError::Gone) => Err(RotationError::Gone),
            Err(RotateError::Entropy(error)) => Err(error.into()),
            Err(RotateError::Store(error)) => Err(error.into()),
            Err(other) => Err(StoreError::unavailable(other.to_string()).into()),
        }
    }

    /// Signs out: ends the session of every token that the request carries and removes the cookie. Whether there was a live one. One
    /// read and one durable commit for each.
    ///
    /// # Errors
    /// When the store failed: the session may live on, and the cookie stays, so that the user can try again.
    pub async fn sign_out(&self) -> Result<bool, Unavailable> {
        let web = &self.exchange.web;
        let issued = self.exchange.issued();
        let mut ended = false;
        for token in issued.as_deref().into_iter().chain(&self.exchange.presented.tokens) {
            ended |= web.within(web.sessions().end(token)).await?;
        }
        self.exchange.ended();
        Ok(ended)
    }

    /// Makes this a request without a session, for whatever comes after: the extractors find none, and the self-service routes answer as they do to nobody. The
    /// session itself goes on, the cookie stays as it is, and [`SessionHandle::sign_out`] still ends what the request carries.
    ///
    /// For a middleware that knows more than the session does, for example that its user is not to be let in:
    ///
    /// ```
    /// use axum::extract::Request;
    /// use axum::middleware::{Next, from_fn};
    /// use axum::response::Response;
    /// use hallpass_axum::SessionHandle;
    ///
    /// async fn only_who_may(handle: SessionHandle, request: Request, next: Next) -> Response {
    ///     if handle.current().is_some_and(|session| session.user.as_str() == "mallory") {
    ///         handle.set_aside();
    ///     }
    ///     next.run(request).await
    /// }
    /// # let _: axum::Router = axum::Router::new().layer(from_fn(only_who_may));
    /// ```
    pub fn set_aside(&self) {
        self.exchange.set_aside();
    }

    /// The session of this request as of now: after a sign-in the new one, after a sign-out none.
    #[must_use]
    pub fn current(&self) -> Option<Session> {
        self.exchange.look().ok().flatten().map(Session)
    }

    /// The client of this request: its address (see [`WebBuilder::trusted_proxies`](crate::WebBuilder::trusted_proxies)) and user agent.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Another value of the same token; `Token` has no `Clone`, so that copies are made on purpose only.
    fn copied(&self, token: &Token) -> Option<Token> {
        self.exchange.web.sessions().parse(token.expose().as_str().as_bytes()).ok()
    }

    /// Who would read an error's answer.
    pub(crate) fn audience(&self) -> &Audience {
        &self.audience
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SessionHandle {
    type Rejection = UndecidedRejection;

    /// Refuses with 503 when the store did not answer: a handle that did not know what to end would leave it alive.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let audience = audience(parts);
        let refuse = |refusal| UndecidedRejection { refusal, audience: audience.clone() };
        let exchange = Arc::clone(exchange(parts).map_err(refuse)?);
        if exchange.look().is_err() {
            return Err(refuse(Refusal::Unavailable));
        }
        let client = exchange.web.client(&parts.headers, &parts.extensions);
        Ok(Self { exchange, client, audience })
    }
}

impl IntoResponse for SignInError {
    fn into_response(self) -> Response {
        tracing::warn!(target: "hallpass", error = %self, "sign-in failed");
        match self {
            Self::User(_) => answer::error(StatusCode::UNPROCESSABLE_ENTITY, "invalid_user_id"),
            Self::Create(CreateError::LimitReached { .. }) => answer::error(StatusCode::CONFLICT, "session_limit"),
            Self::Create(CreateError::Store(_)) => Refusal::Unavailable.answer(&Audience::Program),
            Self::Create(_) => answer::error(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        }
    }
}

impl IntoResponse for RotationError {
    fn into_response(self) -> Response {
        tracing::warn!(target: "hallpass", error = %self, "the token was not replaced");
        match self {
            Self::Gone => Refusal::NotSignedIn.answer(&Audience::Program),
            Self::Store(_) => Refusal::Unavailable.answer(&Audience::Program),
            Self::Bearer | Self::Entropy(_) => {
                answer::error(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
            }
        }
    }
}

impl IntoResponse for Unavailable {
    fn into_response(self) -> Response {
        tracing::error!(target: "hallpass", error = %self.0, "the session store failed");
        Refusal::Unavailable.answer(&Audience::Program)
    }
}
