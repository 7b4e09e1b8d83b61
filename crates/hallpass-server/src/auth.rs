//! The sign-in contract that Auth.js clients speak (version 5), for one provider: `credentials`.
//!
//! `GET /api/auth/csrf`, `providers`, `session`, `signin`, `signout`, `error`; `POST /api/auth/session`, `signin[/credentials]`,
//! `callback/credentials`, `signout`. Everything else under `/api/auth` is 400 and the JSON string `"Bad request."`.
//!
//! What differs from Auth.js, on purpose, and why no client minds:
//!
//! - A sign-in makes a session in the database, also with the credentials provider (Auth.js writes a signed token instead).
//! - Reading the session sets no cookie unless its expiry moved, and `expires` is the deadline as of this answer, not the one before.
//! - The CSRF token is new after a sign-in, bound to it, and compared in constant time; its cookie is set only where the token is handed out.
//! - There is no `callback-url` cookie: the target travels with each request, and anything that is no address of this origin is
//!   the origin itself.
//! - A store that does not answer is 503, not "signed out"; a sign-out that did not happen is 503, not a redirect.
//! - Too many failed attempts are 429 with `Retry-After`, too many at once 503; both still carry `{"url"}`.
//! - Bodies of other types than form and JSON are 415, above 16 KiB 413, and requests of other origins 403.

pub(crate) mod csrf;
pub(crate) mod fields;
pub(crate) mod redirect_target;
pub(crate) mod sign_in;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::response::{IntoResponse as _, Response};
use hallpass_axum::{SessionHandle, headers, rfc3339};
use http::header::{CACHE_CONTROL, EXPIRES, LOCATION, PRAGMA, RETRY_AFTER, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use url::form_urlencoded;

use self::csrf::Binding;
use self::fields::{Accepted, Fields};
use self::sign_in::{Attempted, Credentials};
use crate::pages;
use crate::serve::site::Site;

/// Where the contract lives.
const BASE: &str = "/api/auth";
/// The one provider.
const PROVIDER: &str = "credentials";

static RETURN_REDIRECT: HeaderName = HeaderName::from_static("x-auth-return-redirect");

/// What is asked, read from method and path.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Csrf,
    Providers,
    Session,
    SignInPage,
    SignOutPage,
    ErrorPage,
    UpdateSession,
    BeginSignIn { provider: Option<String> },
    Callback { provider: String },
    SignOut,
}

impl Asked {
    /// `None` for what the contract does not know; HEAD and OPTIONS included.
    fn read(method: &Method, path: &str) -> Option<Self> {
        let mut words = path.strip_prefix(BASE)?.split('/').filter(|word| !word.is_empty());
        let (action, provider, None) = (words.next()?, words.next(), words.next()) else {
            return None;
        };
        match (method.as_str(), action, provider) {
            ("GET", "csrf", None) => Some(Self::Csrf),
            ("GET", "providers", None) => Some(Self::Providers),
            ("GET", "session", None) => Some(Self::Session),
            ("GET", "signin", None | Some(PROVIDER)) => Some(Self::SignInPage),
            ("GET", "signout", None) => Some(Self::SignOutPage),
            ("GET", "error", None) => Some(Self::ErrorPage),
            ("POST", "session", None) => Some(Self::UpdateSession),
            ("POST", "signin", provider) => Some(Self::BeginSignIn { provider: provider.map(ToOwned::to_owned) }),
            ("POST", "callback", Some(provider)) => Some(Self::Callback { provider: provider.to_owned() }),
            ("POST", "signout", None) => Some(Self::SignOut),
            _ => None,
        }
    }
}

/// Answers everything under `/api/auth`.
pub(crate) async fn answer(State(site): State<Arc<Site>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(asked) = Asked::read(&parts.method, parts.uri.path()) else {
        return data(StatusCode::BAD_REQUEST, &json!("Bad request."));
    };
    match asked {
        Asked::Providers => providers(&site),
        Asked::SignInPage => to_sign_in(&site, &parts),
        Asked::SignOutPage => Redirect::to(&parts, site.origin().as_str().to_owned()),
        Asked::ErrorPage => error_page(&site, &parts),
        asked => with_session(&site, asked, parts, body).await.unwrap_or_else(|refused| refused),
    }
}

/// What depends on the request's session.
async fn with_session(site: &Site, asked: Asked, mut parts: Parts, body: Body) -> Result<Response, Response> {
    // A body that cannot be taken is refused before the session is looked at.
    let fields = if parts.method == Method::POST {
        let read = Fields::read(&parts.headers, body, Accepted::FormOrJson).await;
        Some(read.map_err(axum::response::IntoResponse::into_response)?)
    } else {
        None
    };
    let handle = SessionHandle::from_request_parts(&mut parts, &())
        .await
        .map_err(axum::response::IntoResponse::into_response)?;
    let Some(fields) = fields else {
        return Ok(match asked {
            Asked::Csrf => csrf_token(site, &parts, &handle),
            _ => no_store(session_body(site, &handle).await),
        });
    };
    let binding = Binding::to(handle.current().as_deref());
    if !site.csrf.is_verified(&parts.headers, &binding, fields.get("csrfToken")) {
        tracing::info!(target: EVENTS, event = "malicious_csrf", client.ip = ?handle.client().ip, "the CSRF token is missing or not this browser's");
        if asked == Asked::UpdateSession {
            return Ok(data(StatusCode::BAD_REQUEST, &Value::Null));
        }
        return Ok(Redirect::to(&parts, sign_in_error(site, "MissingCSRF", None)));
    }
    let target = redirect_target::resolve(site.origin(), fields.get("callbackUrl"));
    Ok(match asked {
        Asked::UpdateSession => no_store(session_body(site, &handle).await),
        Asked::BeginSignIn { provider: None } => Redirect::to(&parts, sign_in_address(site, &target)),
        Asked::BeginSignIn { provider: Some(provider) } if provider == PROVIDER => {
            Redirect::to(&parts, sign_in_address(site, &target))
        }
        Asked::Callback { provider } if provider == PROVIDER => {
            credentials(site, &parts, &handle, &fields, &target).await
        }
        Asked::SignOut => sign_out(&parts, &handle, target).await,
        // A provider that does not exist.
        _ => Redirect::to(&parts, format!("{}{BASE}/error?error=Configuration", site.origin())),
    })
}

/// Where events of signing in are logged.
pub(crate) const EVENTS: &str = "hallpass::events";

fn csrf_token(site: &Site, parts: &Parts, handle: &SessionHandle) -> Response {
    match csrf_for(site, &parts.headers, handle) {
        Ok((token, cookie)) => {
            let mut response = data(StatusCode::OK, &json!({ "csrfToken": token }));
            append_cookie(&mut response, cookie);
            no_store(response)
        }
        Err(unavailable) => unavailable.into_response(),
    }
}

/// The browser's CSRF token, or a new one with its cookie. The error is the status to answer.
pub(crate) fn csrf_for(
    site: &Site,
    headers: &HeaderMap,
    handle: &SessionHandle,
) -> Result<(String, Option<HeaderValue>), StatusCode> {
    let binding = Binding::to(handle.current().as_deref());
    if let Some(token) = site.csrf.held(headers, &binding) {
        return Ok((token, None));
    }
    match site.csrf.mint(&binding, &*site.entropy) {
        Ok(minted) => Ok((minted.token, Some(minted.cookie))),
        Err(error) => {
            tracing::error!(target: "hallpass", error = %error, "no CSRF token could be made");
            Err(StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}

pub(crate) fn append_cookie(response: &mut Response, cookie: Option<HeaderValue>) {
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

fn providers(site: &Site) -> Response {
    let origin = site.origin();
    data(
        StatusCode::OK,
        &json!({ PROVIDER: {
            "id": PROVIDER,
            "name": "Credentials",
            "type": "credentials",
            "signinUrl": format!("{origin}{BASE}/signin/{PROVIDER}"),
            "callbackUrl": format!("{origin}{BASE}/callback/{PROVIDER}"),
        }}),
    )
}

/// `null`, or the user and the deadline. One read of the account.
async fn session_body(site: &Site, handle: &SessionHandle) -> Response {
    let Some(session) = handle.current() else {
        return data(StatusCode::OK, &Value::Null);
    };
    match site.account_of(&session).await {
        Ok(Some(account)) => data(
            StatusCode::OK,
            &json!({
                "user": { "name": account.name, "email": account.email.as_str(), "image": null },
                "expires": rfc3339(session.idle_expires_at),
            }),
        ),
        // Disabled or deleted a moment ago; its sessions are about to end.
        Ok(None) => data(StatusCode::OK, &Value::Null),
        Err(error) => {
            tracing::error!(target: "hallpass", error = %error, "the account of a session could not be read");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

fn to_sign_in(site: &Site, parts: &Parts) -> Response {
    let query = Fields::of_query(parts.uri.query());
    let target = redirect_target::resolve(site.origin(), query.get("callbackUrl"));
    let mut address = sign_in_address(site, &target);
    if let Some(code) = query.get("error") {
        address = format!("{address}&error={}", pages::signin::known_error(code));
    }
    Redirect::to(parts, address)
}

fn error_page(site: &Site, parts: &Parts) -> Response {
    let query = Fields::of_query(parts.uri.query());
    Redirect::to(parts, sign_in_error(site, pages::signin::known_error(query.text("error")), None))
}

/// The sign-in page, and how to come back.
fn sign_in_address(site: &Site, target: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("callbackUrl", target).finish();
    format!("{}{}?{query}", site.origin(), pages::SIGN_IN)
}

/// The sign-in page with an error. `target` is kept only for the form of the page itself: programs read the address, and the
/// contract fixes it.
fn sign_in_error(site: &Site, code: &str, target: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("error", code);
    if code == "CredentialsSignin" {
        query.append_pair("code", "credentials");
    }
    if let Some(target) = target {
        query.append_pair("callbackUrl", target);
    }
    format!("{}{}?{}", site.origin(), pages::SIGN_IN, query.finish())
}

async fn credentials(site: &Site, parts: &Parts, handle: &SessionHandle, fields: &Fields, target: &str) -> Response {
    let asked = Credentials {
        email: fields.text("email"),
        password: fields.text("password"),
        remember: fields.is_on("remember"),
    };
    let wants_json = Redirect::wants_json(parts);
    let back = (!wants_json).then_some(target);
    match sign_in::attempt(site, handle, &asked).await {
        Attempted::SignedIn(session) => {
            let mut response = Redirect::to(parts, target.to_owned());
            // A token from before the sign-in is worth nothing now; the browser gets one that is.
            if let Ok(minted) = site.csrf.mint(&Binding::to(Some(&session)), &*site.entropy) {
                append_cookie(&mut response, Some(minted.cookie));
            }
            response
        }
        Attempted::Wrong => Redirect::to(parts, sign_in_error(site, "CredentialsSignin", back)),
        Attempted::SessionLimit => Redirect::to(parts, sign_in_error(site, "SessionLimit", back)),
        Attempted::Later { status, seconds, code } => {
            let mut response = if wants_json {
                data(status, &json!({ "url": sign_in_error(site, code, None) }))
            } else {
                // A redirect cannot carry the status, so the page itself is the answer.
                pages::signin::render(site, &parts.headers, handle, target, Some(code), asked.email, status)
            };
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
        Attempted::Unavailable => sign_in::without_cookies(StatusCode::SERVICE_UNAVAILABLE.into_response()),
    }
}

async fn sign_out(parts: &Parts, handle: &SessionHandle, target: String) -> Response {
    match handle.sign_out().await {
        Ok(_) => Redirect::to(parts, target),
        Err(error) => {
            tracing::error!(target: "hallpass", error = %error, "signing out failed; the session may live on");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

/// JSON with its headers.
fn data(status: StatusCode, body: &Value) -> Response {
    let mut response = (status, Json(body)).into_response();
    headers::data(response.headers_mut());
    response
}

/// The three headers with which Auth.js keeps answers out of every cache.
fn no_store(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache, no-store"));
    headers.insert(EXPIRES, HeaderValue::from_static("0"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// A redirect, as a program or a browser wants it.
struct Redirect;

impl Redirect {
    fn wants_json(parts: &Parts) -> bool {
        parts.headers.contains_key(&RETURN_REDIRECT)
    }

    /// 302, or 200 with `{"url"}` for whoever sent `X-Auth-Return-Redirect`; `Location` is there both times. `address` is absolute.
    fn to(parts: &Parts, address: String) -> Response {
        let mut response = if Self::wants_json(parts) {
            data(StatusCode::OK, &json!({ "url": address }))
        } else {
            StatusCode::FOUND.into_response()
        };
        let headers = response.headers_mut();
        if let Ok(location) = HeaderValue::try_from(address) {
            headers.insert(LOCATION, location);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_auth_js_reads_them() {
        let read = |method: &str, path: &str| Asked::read(&Method::from_bytes(method.as_bytes()).unwrap(), path);
        assert_eq!(read("GET", "/api/auth/csrf"), Some(Asked::Csrf));
        assert_eq!(read("GET", "/api/auth/session/"), Some(Asked::Session));
        assert_eq!(read("POST", "/api/auth/callback/x"), Some(Asked::Callback { provider: "x".to_owned() }));
        assert_eq!(read("POST", "/api/auth/signin"), Some(Asked::BeginSignIn { provider: None }));
        for (method, path) in [
            ("HEAD", "/api/auth/session"),
            ("OPTIONS", "/api/auth/session"),
            ("DELETE", "/api/auth/session"),
            ("get", "/api/auth/session"),
            ("POST", "/api/auth/csrf"),
            ("POST", "/api/auth/callback"),
            ("GET", "/api/auth/callback/credentials"),
            ("GET", "/api/auth/session/x"),
            ("POST", "/api/auth/callback/credentials/x"),
            ("GET", "/api/auth"),
            ("GET", "/api/auth/"),
            ("GET", "/api/auth/verify-request"),
            ("GET", "/api/auth/%63srf"),
        ] {
            assert_eq!(read(method, path), None, "{method} {path}");
        }
    }
}
