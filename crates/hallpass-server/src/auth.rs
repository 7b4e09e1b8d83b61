//! The sign-in contract that Auth.js clients speak (version 5, or version 4: [`AuthApi`]), for the provider `credentials` and those of the settings.
//!
//! `GET /api/auth/csrf`, `providers`, `session`, `signin`, `signout`, `signed-out`, `error`, `callback/ID`; `POST /api/auth/session`, `signin[/ID]`,
//! `callback/credentials`, `signout`, and for version 4 `_log`. Everything else under `/api/auth` is 400 and the JSON string `"Bad request."`.
//!
//! What differs from Auth.js, on purpose, and why no client minds (`tests/authjs` asks both and compares):
//!
//! - A sign-in makes a session in the database, also with the credentials provider (Auth.js writes a signed token instead).
//! - Reading the session sets no cookie unless its expiry moved, and `expires` is the deadline as of this answer, not the one before.
//! - The CSRF token is new after a sign-in, bound to it, and compared in constant time; its cookie is set only where the token is handed out.
//! - There is no `callback-url` cookie: the target travels with each request, and anything that is no address of this origin is
//!   the origin itself.
//! - A store that does not answer is 503, not "signed out"; a sign-out that did not happen is 503, not a redirect.
//! - Too many failed attempts are 429 with `Retry-After`, too many at once 503; both still carry `{"url"}`.
//! - A browser that posts a form to `signin/ID` gets a page that goes on to the provider, and everybody else the redirect: the policy of the page with the
//!   form would stop a redirect to another site.
//! - A sign-out of a session that came from a provider can lead there, to sign out there, too; the browser comes back to `GET signed-out`.
//! - An identity that is not linked is never linked by signing in, signed in or not.
//! - Bodies of other types than form and JSON are 415, above 16 KiB 413, and requests of other origins 403.

mod api;
pub(crate) mod csrf;
pub(crate) mod fields;
pub(crate) mod provider_sign_in;
pub(crate) mod redirect_target;
pub(crate) mod sign_in;
pub(crate) mod sign_out;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::response::{IntoResponse as _, Response};
use hallpass_axum::{SessionHandle, headers, rfc3339};
use http::header::{CACHE_CONTROL, EXPIRES, LOCATION, PRAGMA, RETRY_AFTER, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use url::form_urlencoded;

pub use self::api::AuthApi;
use self::csrf::Binding;
use self::fields::{Accepted, Fields};
use self::sign_in::{Attempted, Credentials};
use crate::pages;
use crate::serve::site::Site;

/// Where the contract lives.
const BASE: &str = "/api/auth";
/// The provider for passwords.
const PROVIDER: &str = "credentials";

/// What is asked, read from method and path.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Csrf,
    Providers,
    Session,
    SignInPage,
    SignOutPage,
    SignedOut,
    ErrorPage,
    UpdateSession,
    BeginSignIn { provider: Option<String> },
    Callback { provider: String },
    Arrival { provider: String },
    SignOut,
    Log,
}

impl Asked {
    /// `None` for what the contract does not know; HEAD and OPTIONS included.
    fn read(api: AuthApi, method: &Method, path: &str) -> Option<Self> {
        let mut words = path.strip_prefix(BASE)?.split('/').filter(|word| !word.is_empty());
        let (action, provider, None) = (words.next()?, words.next(), words.next()) else {
            return None;
        };
        match (method.as_str(), action, provider) {
            ("GET", "csrf", None) => Some(Self::Csrf),
            ("GET", "providers", None) => Some(Self::Providers),
            ("GET", "session", None) => Some(Self::Session),
            // Signing in begins with a POST: a link alone sends nobody to a provider (login CSRF).
            ("GET", "signin", _) => Some(Self::SignInPage),
            ("GET", "callback", Some(provider)) => Some(Self::Arrival { provider: provider.to_owned() }),
            ("GET", "signout", None) => Some(Self::SignOutPage),
            ("GET", "signed-out", None) => Some(Self::SignedOut),
            ("GET", "error", None) => Some(Self::ErrorPage),
            ("POST", "session", None) => Some(Self::UpdateSession),
            ("POST", "signin", provider) => Some(Self::BeginSignIn { provider: provider.map(ToOwned::to_owned) }),
            ("POST", "callback", Some(provider)) => Some(Self::Callback { provider: provider.to_owned() }),
            ("POST", "signout", None) => Some(Self::SignOut),
            ("POST", "_log", None) if api == AuthApi::Nextauth4 => Some(Self::Log),
            _ => None,
        }
    }
}

/// Answers everything under `/api/auth`.
pub(crate) async fn answer(State(site): State<Arc<Site>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(asked) = Asked::read(site.auth_api, &parts.method, parts.uri.path()) else {
        return unknown();
    };
    match asked {
        Asked::Providers => providers(&site),
        Asked::SignInPage => to_sign_in(&site, &parts),
        Asked::SignOutPage => Redirect::of_page(&site, &parts).to(site.origin().as_str()),
        Asked::SignedOut if site.providers.any_signs_out() => sign_out::returned(&site, &parts),
        Asked::SignedOut => unknown(),
        Asked::ErrorPage => error_page(&site, &parts),
        Asked::Log => log(&parts, body).await,
        Asked::Arrival { provider } => match site.providers.get(&provider) {
            Some(provider) => provider_sign_in::callback(&site, parts, provider).await,
            None if site.auth_api == AuthApi::Nextauth4 => unknown(),
            // Somebody's browser comes from a provider that was taken out of the settings meanwhile: it gets a page.
            None => unknown_provider(&site, Redirect::of_page(&site, &parts)),
        },
        asked => with_session(&site, asked, parts, body).await.unwrap_or_else(|refused| refused),
    }
}

/// What is none of the contract's. Version 4 says so in text, which nothing reads.
fn unknown() -> Response {
    data(StatusCode::BAD_REQUEST, &json!("Bad request."))
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
    let redirect = Redirect { as_json: site.auth_api.wants_json(&parts.headers, &fields) };
    let binding = Binding::to(handle.current().as_deref());
    if !site.csrf.is_verified(&parts.headers, &binding, fields.get("csrfToken")) {
        tracing::info!(target: EVENTS, event = "malicious_csrf", client.ip = ?handle.client().ip, "the CSRF token is missing or not this browser's");
        if asked == Asked::UpdateSession {
            return Ok(data(StatusCode::BAD_REQUEST, &site.auth_api.nobody()));
        }
        return Ok(redirect.failed(&site.auth_api.missing_csrf(site.origin(), asked == Asked::SignOut)));
    }
    let target = redirect_target::resolve(site.origin(), fields.get("callbackUrl"));
    Ok(match asked {
        Asked::UpdateSession => no_store(session_body(site, &handle).await),
        Asked::Callback { provider } if provider == PROVIDER => {
            credentials(site, &parts, redirect, &handle, &fields, &target).await
        }
        Asked::Callback { .. } if site.auth_api == AuthApi::Nextauth4 => unknown(),
        Asked::SignOut => sign_out::answer(site, &parts.headers, redirect, &handle, &target).await,
        Asked::BeginSignIn { provider } if provider.as_deref().is_none_or(|provider| provider == PROVIDER) => {
            redirect.to(&sign_in_address(site, &target))
        }
        Asked::BeginSignIn { provider: Some(id) } if site.providers.get(&id).is_some() => {
            match site.providers.get(&id) {
                Some(provider) => {
                    provider_sign_in::begin(site, &parts, redirect, &handle, provider, &fields, &target).await
                }
                None => unknown(),
            }
        }
        _ => unknown_provider(site, redirect),
    })
}

/// What names a provider that does not exist.
fn unknown_provider(site: &Site, redirect: Redirect) -> Response {
    redirect.failed(&format!("{}{BASE}/error?error=Configuration", site.origin()))
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
    let described = |id: &str, name: &str, kind: &str| {
        let described = json!({
            "id": id,
            "name": name,
            "type": kind,
            "signinUrl": format!("{origin}{BASE}/signin/{id}"),
            "callbackUrl": format!("{origin}{BASE}/callback/{id}"),
        });
        (id.to_owned(), described)
    };
    let passwords = std::iter::once(described(PROVIDER, "Credentials", "credentials"));
    let others = site.providers.iter().map(|provider| {
        let kind = match site.auth_api {
            AuthApi::Authjs5 => provider.authjs_type(),
            // Version 4 knows no other.
            AuthApi::Nextauth4 => "oauth",
        };
        described(provider.id(), &provider.settings().name, kind)
    });
    data(StatusCode::OK, &Value::Object(passwords.chain(others).collect()))
}

/// The user and the deadline, or the session of nobody. One read of the account.
async fn session_body(site: &Site, handle: &SessionHandle) -> Response {
    let Some(session) = handle.current() else {
        return data(StatusCode::OK, &site.auth_api.nobody());
    };
    match site.account_of(&session).await {
        Ok(Some(account)) => {
            // As Auth.js says it of a user without one.
            let name = Some(account.name.as_str()).filter(|name| !name.is_empty());
            let body = json!({
                "user": { "name": name, "email": account.shown_email(), "image": account.image },
                "expires": rfc3339(session.idle_expires_at),
            });
            data(StatusCode::OK, &body)
        }
        // Disabled or deleted a moment ago; its sessions are about to end.
        Ok(None) => data(StatusCode::OK, &site.auth_api.nobody()),
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
    let error = query.get("error").or_else(|| query.get("csrf").map(|_| "MissingCSRF"));
    if let Some(code) = error {
        address = format!("{address}&error={}", pages::signin::known_error(code));
    }
    Redirect::of_page(site, parts).to(&address)
}

fn error_page(site: &Site, parts: &Parts) -> Response {
    let query = Fields::of_query(parts.uri.query());
    let error = pages::signin::known_error(query.text("error"));
    Redirect::of_page(site, parts).to(&format!("{}{}?error={error}", site.origin(), pages::SIGN_IN))
}

/// The sign-in page, and how to come back.
fn sign_in_address(site: &Site, target: &str) -> String {
    format!("{}{}?{}", site.origin(), pages::SIGN_IN, with_target(target))
}

fn with_target(target: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair("callbackUrl", target).finish()
}

/// What a client's log has to say (version 4). It is nobody's word for anything, so it stays out of the log unless that is asked for.
async fn log(parts: &Parts, body: Body) -> Response {
    match Fields::read(&parts.headers, body, Accepted::FormOrJson).await {
        Ok(fields) => {
            tracing::debug!(target: "hallpass", code = ?fields.text("code"), message = ?fields.text("message"), "a browser's client logs");
            StatusCode::OK.into_response()
        }
        Err(unreadable) => unreadable.into_response(),
    }
}

async fn credentials(
    site: &Site,
    parts: &Parts,
    redirect: Redirect,
    handle: &SessionHandle,
    fields: &Fields,
    target: &str,
) -> Response {
    let asked = Credentials {
        email: fields.text("email"),
        password: fields.text("password"),
        remember: fields.is_on("remember"),
    };
    match sign_in::attempt(site, handle, &asked).await {
        Attempted::SignedIn(session) => {
            let mut response = redirect.to(target);
            // A token from before the sign-in is worth nothing now; the browser gets one that is.
            if let Ok(minted) = site.csrf.mint(&Binding::to(Some(&session)), &*site.entropy) {
                append_cookie(&mut response, Some(minted.cookie));
            }
            response
        }
        Attempted::Wrong => redirect.sign_in_failed(site, "CredentialsSignin", target),
        Attempted::SessionLimit => redirect.sign_in_failed(site, "SessionLimit", target),
        Attempted::Later { status, seconds, code } => {
            let mut response = if redirect.as_json {
                data(status, &json!({ "url": site.auth_api.sign_in_failed(site.origin(), code).1 }))
            } else {
                // A redirect cannot carry the status, so the page itself is the answer.
                let shown = pages::signin::Shown { target, error: Some(code), email: asked.email, confirm: false };
                pages::signin::render(site, &parts.headers, handle, &shown, status)
            };
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            response
        }
        Attempted::Unavailable => sign_in::without_cookies(StatusCode::SERVICE_UNAVAILABLE.into_response()),
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
#[derive(Clone, Copy)]
struct Redirect {
    as_json: bool,
}

impl Redirect {
    /// For a request without fields.
    fn of_page(site: &Site, parts: &Parts) -> Self {
        Self { as_json: site.auth_api.wants_json(&parts.headers, &Fields::none()) }
    }

    /// 302, or 200 with `{"url"}`, and `Location` both times. `address` is absolute.
    fn to(self, address: &str) -> Response {
        let status = if self.as_json { StatusCode::OK } else { StatusCode::FOUND };
        let mut response = self.answer(status, address);
        if let Ok(location) = HeaderValue::try_from(address) {
            response.headers_mut().insert(LOCATION, location);
        }
        response
    }

    /// As [`Redirect::to`], to an address that says what went wrong: programs get it as JSON alone.
    fn failed(self, address: &str) -> Response {
        if self.as_json { self.answer(StatusCode::OK, address) } else { self.to(address) }
    }

    /// A form goes back to its page, which keeps the target; a program gets the address and the status that its contract fixes.
    fn sign_in_failed(self, site: &Site, code: &str, target: &str) -> Response {
        if self.as_json {
            let (status, address) = site.auth_api.sign_in_failed(site.origin(), code);
            self.answer(status, &address)
        } else {
            // Version 5's address is that of the page.
            let (_, page) = AuthApi::Authjs5.sign_in_failed(site.origin(), code);
            self.to(&format!("{page}&{}", with_target(target)))
        }
    }

    fn answer(self, status: StatusCode, address: &str) -> Response {
        let mut response = if self.as_json { data(status, &json!({ "url": address })) } else { status.into_response() };
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_auth_js_reads_them() {
        let of =
            |api, method: &str, path: &str| Asked::read(api, &Method::from_bytes(method.as_bytes()).unwrap(), path);
        let read = |method: &str, path: &str| of(AuthApi::Authjs5, method, path);
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
            ("GET", "/api/auth/callback"),
            ("GET", "/api/auth/callback/x/y"),
            ("GET", "/api/auth/session/x"),
            ("POST", "/api/auth/callback/credentials/x"),
            ("GET", "/api/auth"),
            ("GET", "/api/auth/"),
            ("GET", "/api/auth/verify-request"),
            ("GET", "/api/auth/%63srf"),
            ("POST", "/api/auth/_log"),
        ] {
            assert_eq!(read(method, path), None, "{method} {path}");
        }
        assert_eq!(of(AuthApi::Nextauth4, "POST", "/api/auth/_log"), Some(Asked::Log));
        assert_eq!(of(AuthApi::Nextauth4, "GET", "/api/auth/_log"), None);
    }
}
