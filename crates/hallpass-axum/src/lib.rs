//! hallpass for tower and axum: the layer, the extractors, the cookie, the cross-origin defence, and the self-service routes with the
//! session manager page.
//!
//! ```no_run
//! use axum::{Router, routing::{get, post}};
//! use hallpass_axum::{SelfService, Session, SessionHandle, SignInError, Web, self_service};
//! use hallpass_core::{Sessions, SignIn, UserId};
//!
//! async fn sign_in(handle: SessionHandle) -> Result<&'static str, SignInError> {
//!     let user = UserId::new("alice")?; // after your own password check
//!     handle.sign_in(SignIn::new(user)).await?;
//!     Ok("signed in")
//! }
//!
//! async fn me(session: Session) -> String {
//!     session.user.to_string()
//! }
//!
//! fn app(sessions: Sessions) -> Result<Router, hallpass_axum::WebError> {
//!     let web = Web::builder(sessions, "https://app.example").build()?;
//!     Ok(Router::new()
//!         .route("/sign-in", post(sign_in))
//!         .route("/me", get(me))
//!         .nest("/account", self_service(&web, SelfService::default())) // /account/sessions
//!         .layer(web.layer()))
//! }
//! ```

mod answer;
mod bearer_secret;
mod client_address;
mod credential;
mod cross_origin;
mod fresh_session;
mod layer;
mod origin;
mod rejection;
mod request_cookie;
mod response_cookie;
mod security_headers;
mod self_service;
mod session;
mod session_handle;
mod session_json;
mod state;
mod strict_session;
mod timestamps;
mod web;

pub use bearer_secret::BearerSecret;
pub use client_address::ClientAddress;
pub use fresh_session::FreshSession;
pub use layer::{SessionFuture, SessionLayer, SessionService};
pub use origin::{Origin, OriginError};
pub use rejection::{ClientAddressRejection, FreshSessionRejection, SessionRejection, UndecidedRejection};
pub use response_cookie::{CookieName, SameSite};
pub use self_service::{MIN_CLEANUP_SECRET_BYTES, SelfService, self_service};
pub use session::Session;
pub use session_handle::{RotationError, SessionHandle, SignInError, Unavailable};
pub use session_json::{DeviceJson, SessionJson};
pub use strict_session::StrictSession;
pub use timestamps::rfc3339;
pub use web::{Web, WebBuilder, WebError};

/// Security headers, for pages and answers of the application's own.
pub mod headers {
    pub use crate::security_headers::{asset, data, page};
}
