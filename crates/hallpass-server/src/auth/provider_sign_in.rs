//! Signing in by an identity provider.
//!
//! ```text
//! POST signin/ID    the transaction's cookie, and the provider's address
//! GET  callback/ID  transaction found (state) ─► code redeemed ─► account found ─► session made ─► its origin noted ─► logouts looked for ─► cookie
//! ```
//!
//! The order of the last four loses nothing: a session whose origin is not noted, and one that the provider ended meanwhile, reaches no browser.
//!
//! An identity signs in to the account that it is linked to. An email address links nothing: whoever controls an address at some provider would
//! otherwise control the account here. With `sign_up` an unknown identity whose provider vouches for an address that no account has gets a new one.

use axum::extract::FromRequestParts as _;
use axum::response::{IntoResponse as _, Response};
use hallpass_axum::{SessionHandle, StrictSession};
use hallpass_core::{AbsoluteTimeout, Class, SignIn, Timestamp, UserId};
use http::header::{RETRY_AFTER, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::csrf::Binding;
use super::fields::Fields;
use super::sign_in::{self, Attempted, Origin};
use super::{BASE, EVENTS, Redirect, append_cookie, with_target};
use crate::accounts::{Account, AccountId, Created, DisplayName, Email, Identity, Linked, LinkedIdentity, NewAccount};
use crate::pages::{self, linked_accounts};
use crate::provider_counts::SignedIn;
use crate::providers::state_cookies::Found;
use crate::providers::transaction::{Linking, Transaction};
use crate::providers::{Authenticated, CLOCK_SKEW_SECONDS, Callback, Provider, ProviderError};
use crate::serve::site::Site;

/// Longest text of a parameter that is passed on, and of a code.
const MAX_PARAMETER_BYTES: usize = 320;
const MAX_CODE_BYTES: usize = 4_096;
/// Longest `state` that is looked for; ours has 43 bytes.
pub(super) const MAX_STATE_BYTES: usize = 128;
/// What an authentication is called whose provider does not say how it came about. RFC 8176 has no word for it.
const FEDERATED: &str = "fed";

/// What a client may ask of a provider (OpenID Connect Core 1.0, section 3.1.2.1). Anything else would let a link change what this server asks for.
const PASSED_ON: [&str; 5] = ["prompt", "login_hint", "acr_values", "max_age", "ui_locales"];

/// What comes of it when the browser is back.
enum Purpose {
    /// A session, which survives the browser if its user is to be remembered.
    SignIn { remember: bool },
    /// The identity is linked.
    Link(Linking),
}

/// Sends the browser to the provider. One request to the provider at most, and none as a rule.
pub(super) async fn begin(
    site: &Site,
    parts: &Parts,
    redirect: Redirect,
    handle: &SessionHandle,
    provider: &Provider,
    fields: &Fields,
    target: &str,
) -> Response {
    let query = Fields::of_query(parts.uri.query());
    let purpose = Purpose::SignIn { remember: fields.is_on("remember") };
    match start(site, &parts.headers, provider, target, &query, purpose).await {
        Ok((address, cookies)) => {
            let response = if redirect.as_json || !is_navigation(&parts.headers) {
                redirect.to(&address)
            } else {
                pages::onward::show(&provider.settings().name, &address, pages::onward::SIGNING_IN)
            };
            with_cookies(response, cookies)
        }
        Err(code) => {
            let failed = Failed { code, target: target.to_owned() };
            failed.answer(site, &parts.headers, handle, redirect)
        }
    }
}

/// Sends a signed-in user to the provider whose identity is to be linked. The session has to be fresh, which is the caller's to check.
pub(crate) async fn begin_linking(
    site: &Site,
    headers: &HeaderMap,
    provider: &Provider,
    linking: Linking,
) -> Result<Response, &'static str> {
    let target = format!("{}{}", site.origin(), pages::LINKED_ACCOUNTS);
    let (address, cookies) = start(site, headers, provider, &target, &Fields::none(), Purpose::Link(linking)).await?;
    let page = pages::onward::show(&provider.settings().name, &address, pages::onward::SIGNING_IN);
    Ok(with_cookies(page, cookies))
}

type Started = (String, Vec<HeaderValue>);

async fn start(
    site: &Site,
    headers: &HeaderMap,
    provider: &Provider,
    target: &str,
    query: &Fields,
    purpose: Purpose,
) -> Result<Started, &'static str> {
    let begun = Transaction::begin(provider.id(), target, site.now_ms(), &*site.entropy);
    let mut transaction = begun.map_err(|error| {
        tracing::error!(target: "hallpass", error = %error, "no sign-in could be begun");
        "ProviderUnavailable"
    })?;
    match purpose {
        Purpose::SignIn { remember } => transaction.remember = remember,
        Purpose::Link(linking) => transaction.linking = Some(linking),
    }
    let parameters = parameters(site, query, &mut transaction);
    match provider.authorization_address(&transaction, &redirect_uri(site, provider), &parameters).await {
        Ok(address) => Ok((address.into(), site.transactions.cookies(headers, &transaction))),
        Err(error) => {
            let code = code_of(provider, &error);
            site.provider_counts.sign_in(provider.id(), SignedIn::of_code(code));
            Err(code)
        }
    }
}

/// Those of [`PASSED_ON`] that are asked for, and how old the authentication may be.
fn parameters(site: &Site, query: &Fields, transaction: &mut Transaction) -> Vec<(&'static str, String)> {
    let given = |name: &'static str| {
        let value = query.get(name).filter(|value| (1..=MAX_PARAMETER_BYTES).contains(&value.len()))?;
        Some((name, value.to_owned()))
    };
    let mut parameters: Vec<(&'static str, String)> = PASSED_ON.into_iter().filter_map(given).collect();
    let asked = parameters.iter().position(|(name, _)| *name == "max_age").map(|at| parameters.swap_remove(at).1);
    let again =
        parameters.iter().any(|(name, value)| *name == "prompt" && value.split(' ').any(|word| word == "login"));
    // Who asks for a new authentication wants to know that there was one.
    transaction.max_age = if again { Some(0) } else { asked.and_then(|seconds| seconds.parse().ok()) };
    // Asked for in any case, since it makes the provider say when the user authenticated. Longer ago than a session may live is of no use.
    let longest = match site.web.sessions().policies().of(&class_of(transaction)).absolute_timeout {
        AbsoluteTimeout::After(longest) => Some(longest.as_secs()),
        AbsoluteTimeout::Never => None,
    };
    if let Some(seconds) = transaction.max_age.map(u64::from).or(longest) {
        parameters.push(("max_age", seconds.to_string()));
    }
    parameters
}

/// The class of the session that is to be made.
const fn class_of(transaction: &Transaction) -> Class {
    if transaction.remember { Class::REMEMBERED } else { Class::WEB }
}

fn redirect_uri(site: &Site, provider: &Provider) -> String {
    format!("{}{BASE}/callback/{}", site.origin(), provider.id())
}

/// A browser that shows what is answered. Its policy for forms (`form-action`) holds for every address that the answer leads to, and nobody can
/// list those of a provider: such a browser gets a page that goes on.
pub(super) fn is_navigation(headers: &HeaderMap) -> bool {
    match headers.get("sec-fetch-mode") {
        Some(mode) => mode == "navigate",
        None => headers
            .get_all(http::header::ACCEPT)
            .iter()
            .any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html"))),
    }
}

/// What the browser brings back from the provider.
pub(super) async fn callback(site: &Site, mut parts: Parts, provider: &Provider) -> Response {
    let handle = match SessionHandle::from_request_parts(&mut parts, &()).await {
        Ok(handle) => handle,
        Err(undecided) => {
            site.provider_counts.sign_in(provider.id(), SignedIn::Undecided);
            return undecided.into_response();
        }
    };
    let query = Fields::of_query(parts.uri.query());
    let state = query.only("state").filter(|state| state.len() <= MAX_STATE_BYTES).unwrap_or_default().to_owned();
    let outcome = arrive(site, &mut parts, &handle, provider, &query, &state).await;
    site.provider_counts.sign_in(provider.id(), counted(&outcome));
    // Used up, whatever came of it.
    let removal = (!state.is_empty()).then(|| site.transactions.removal(&state)).flatten();
    let response = match outcome {
        Ok(Arrived::SignedIn { session, target }) => {
            let mut response = Redirect { as_json: false }.to(&target);
            if let Ok(minted) = site.csrf.mint(&Binding::to(Some(&session)), &*site.entropy) {
                append_cookie(&mut response, Some(minted.cookie));
            }
            response
        }
        Ok(Arrived::Linked(result)) => {
            let address = format!("{}{}?result={result}", site.origin(), pages::LINKED_ACCOUNTS);
            Redirect { as_json: false }.to(&address)
        }
        Ok(Arrived::Without(failed)) => {
            return sign_in::without_cookies(failed.answer(site, &parts.headers, &handle, Redirect { as_json: false }));
        }
        Err(failed) => failed.answer(site, &parts.headers, &handle, Redirect { as_json: false }),
    };
    with_cookies(response, removal)
}

enum Arrived {
    SignedIn {
        session: Box<hallpass_core::Session>,
        target: String,
    },
    /// What to say on the page of linked accounts.
    Linked(&'static str),
    /// A session was made that must not be: the answer carries no cookie.
    Without(Failed),
}

fn counted(outcome: &Result<Arrived, Failed>) -> SignedIn {
    match outcome {
        Ok(Arrived::SignedIn { .. }) => SignedIn::Done,
        Ok(Arrived::Linked(linked_accounts::LINKED)) => SignedIn::Linked,
        Ok(Arrived::Linked(_)) => SignedIn::NotLinked,
        Ok(Arrived::Without(failed)) | Err(failed) => SignedIn::of_code(failed.code),
    }
}

/// Why nobody was signed in, for the sign-in page, and where the user wanted to go.
struct Failed {
    code: &'static str,
    target: String,
}

impl Failed {
    /// A provider that is down is 503 on the page itself; all else a redirect to it.
    fn answer(self, site: &Site, headers: &HeaderMap, handle: &SessionHandle, redirect: Redirect) -> Response {
        let Self { code, target } = self;
        let address = format!("{}{}?error={code}", site.origin(), pages::SIGN_IN);
        let mut response = match (code, redirect.as_json) {
            ("ProviderUnavailable", true) => redirect.answer(StatusCode::SERVICE_UNAVAILABLE, &address),
            ("ProviderUnavailable", false) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let shown = pages::signin::Shown { target: &target, error: Some(code), email: "", confirm: false };
                pages::signin::render(site, headers, handle, &shown, status)
            }
            (_, true) => return redirect.failed(&address),
            (_, false) => return redirect.failed(&format!("{address}&{}", with_target(&target))),
        };
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        response
    }
}

async fn arrive(
    site: &Site,
    parts: &mut Parts,
    handle: &SessionHandle,
    provider: &Provider,
    query: &Fields,
    state: &str,
) -> Result<Arrived, Failed> {
    let refuse = |code, target: &str, reason: &str| {
        tracing::info!(target: EVENTS, event = "authn_login_fail", client.ip = ?handle.client().ip, provider = provider.id(), reason, "sign-in failed");
        Failed { code, target: target.to_owned() }
    };
    let home = site.origin().as_str();
    let transaction = match site.transactions.find(&parts.headers, state, site.now_ms()) {
        Found::UnderWay(transaction) => transaction,
        Found::Expired => return Err(refuse("OAuthExpired", home, "the sign-in took too long")),
        Found::Unknown => return Err(refuse("OAuthCallbackError", home, "the state is not this browser's")),
    };
    let target = transaction.target.as_str();
    // A code of one provider must never be sent to another (RFC 9700, section 4.4).
    if transaction.provider != provider.id() {
        return Err(refuse("OAuthCallbackError", target, "another provider answered"));
    }
    if let Some(error) = query.get("error") {
        return Err(match error {
            "access_denied" => refuse("AccessDenied", target, "the user or the provider said no"),
            "temporarily_unavailable" | "server_error" => {
                refuse("ProviderUnavailable", target, "the provider is unavailable")
            }
            _ => refuse("OAuthCallbackError", target, "the provider answered an error"),
        });
    }
    let code = query.only("code").filter(|code| (1..=MAX_CODE_BYTES).contains(&code.len()));
    let Some(code) = code else {
        return Err(refuse("OAuthCallbackError", target, "there is no code"));
    };
    let redirect_uri = redirect_uri(site, provider);
    let callback = Callback {
        code,
        issuer: query.get("iss"),
        redirect_uri: &redirect_uri,
        now_ms: site.now_ms(),
        wants_email: provider.settings().sign_up || transaction.linking.is_some(),
    };
    let authenticated = match provider.redeem(&transaction, &callback).await {
        Ok(authenticated) => authenticated,
        Err(error) => {
            let code = code_of(provider, &error);
            return Err(refuse(code, target, "the provider's answer"));
        }
    };
    if let Err(reason) = is_recent(&authenticated, &transaction, site) {
        return Err(refuse("OAuthTooOld", target, reason));
    }
    if let Some(linking) = &transaction.linking {
        return link(site, parts, provider, &authenticated, linking)
            .await
            .map_err(|code| refuse(code, target, "linking"));
    }
    let account = match account_of(site, provider, &authenticated).await {
        Ok(account) => account,
        Err(code) => return Err(refuse(code, target, "no account")),
    };
    if account.disabled_at.is_some() {
        return Err(refuse("AccessDenied", target, "disabled account"));
    }
    sign_in(site, handle, provider, &account, &authenticated, class_of(&transaction))
        .await
        .map(|arrived| match arrived {
            Ok(session) => Arrived::SignedIn { session, target: target.to_owned() },
            Err(code) => Arrived::Without(refuse(code, target, "no session")),
        })
        .map_err(|code| refuse(code, target, "no session"))
}

fn code_of(provider: &Provider, error: &ProviderError) -> &'static str {
    match error {
        ProviderError::Unavailable(_) => {
            tracing::warn!(target: "hallpass", provider = provider.id(), error = %error, "a sign-in could not be decided");
            "ProviderUnavailable"
        }
        ProviderError::Refused(_) => {
            tracing::warn!(target: EVENTS, event = "authn_token_refused", provider = provider.id(), error = %error, "what a provider sent does not count");
            "OAuthCallbackError"
        }
        ProviderError::Misconfigured(_) => {
            tracing::error!(target: "hallpass", provider = provider.id(), error = %error, "signing in with this provider cannot work");
            "Configuration"
        }
    }
}

/// Whether the authentication is as recent as was asked for, or recent enough for a session.
fn is_recent(authenticated: &Authenticated, transaction: &Transaction, site: &Site) -> Result<(), &'static str> {
    let Some(auth_time) = authenticated.auth_time else {
        // A provider that does not say when cannot have been asked to do it anew.
        return if transaction.max_age.is_none() {
            Ok(())
        } else {
            Err("the provider does not say when it authenticated the user")
        };
    };
    let seconds = |ms: i64| ms.div_euclid(1_000);
    if auth_time > seconds(site.now_ms()).saturating_add(CLOCK_SKEW_SECONDS) {
        return Err("the provider authenticated the user in the future");
    }
    if let Some(max_age) = transaction.max_age {
        let earliest =
            seconds(transaction.begun_at).saturating_sub(i64::from(max_age)).saturating_sub(CLOCK_SKEW_SECONDS);
        if auth_time < earliest {
            return Err("the provider authenticated the user longer ago than was asked for");
        }
    }
    match site.web.sessions().policies().of(&class_of(transaction)).absolute_timeout {
        // It would have ended before it began.
        AbsoluteTimeout::After(longest)
            if Timestamp::from_millis(auth_time.saturating_mul(1_000)).plus(longest).as_millis() <= site.now_ms() =>
        {
            Err("the provider authenticated the user longer ago than a session may live")
        }
        _ => Ok(()),
    }
}

fn identity_of(provider: &Provider, authenticated: &Authenticated) -> Identity {
    Identity { issuer: provider.settings().issuer.clone(), subject: authenticated.subject.clone() }
}

fn linked(site: &Site, provider: &Provider, authenticated: &Authenticated) -> LinkedIdentity {
    LinkedIdentity {
        identity: identity_of(provider, authenticated),
        provider: provider.id().to_owned(),
        email: authenticated.email.clone(),
        created_at: Some(site.now_ms()),
    }
}

/// A database that did not answer: nothing is known.
fn undecided(error: &dyn std::fmt::Display) -> &'static str {
    tracing::error!(target: "hallpass", error = %error, "a sign-in could not be decided");
    "Unavailable"
}

/// The account that the identity signs in to, or a new one where that is allowed.
async fn account_of(site: &Site, provider: &Provider, authenticated: &Authenticated) -> Result<Account, &'static str> {
    let identity = identity_of(provider, authenticated);
    let found = site.accounts.find_by_identity(&identity).await.map_err(|error| undecided(&error))?;
    if let Some(account) = found {
        return Ok(account);
    }
    // The same answer whether somebody has the address or not: nobody learns who has an account here.
    if !provider.settings().sign_up {
        return Err("OAuthAccountNotLinked");
    }
    let email = authenticated.email.as_deref().filter(|_| authenticated.email_verified);
    let Some(email) = email.and_then(|email| Email::parse(email).ok()) else {
        return Err("OAuthCreateAccount");
    };
    let name = authenticated.name.as_deref().and_then(|name| DisplayName::parse(name).ok());
    let name = match name.map_or_else(|| DisplayName::parse(email.as_str()), Ok) {
        Ok(name) => name,
        Err(_) => return Err("OAuthCreateAccount"),
    };
    let new = NewAccount { email, name, operator: false, password_hash: None };
    let created = site.accounts.create_with_identity(new, &linked(site, provider, authenticated)).await;
    match created.map_err(|error| undecided(&error))? {
        Created::Account(account) => {
            tracing::info!(target: EVENTS, event = "user_created", user.id = ?account.id.as_str(), provider = provider.id(), "a first sign-in created an account");
            Ok(account)
        }
        // Somebody has the address; or the same identity came twice at once.
        Created::Duplicate => {
            let found = site.accounts.find_by_identity(&identity).await.map_err(|error| undecided(&error))?;
            found.ok_or("OAuthAccountNotLinked")
        }
    }
}

/// Outer error: nothing was created. Inner error: a session was, and must not reach the browser.
type Entered = Result<Result<Box<hallpass_core::Session>, &'static str>, &'static str>;

async fn sign_in(
    site: &Site,
    handle: &SessionHandle,
    provider: &Provider,
    account: &Account,
    authenticated: &Authenticated,
    class: Class,
) -> Entered {
    let user = UserId::new(account.id.as_str()).map_err(|error| undecided(&error))?;
    let mut sign_in = SignIn::new(user).class(class).source(provider.id());
    if authenticated.methods.is_empty() {
        sign_in = sign_in.method(FEDERATED);
    }
    for method in &authenticated.methods {
        sign_in = sign_in.method(method.clone());
    }
    if let Some(auth_time) = authenticated.auth_time {
        // Never later than now; core sees to that.
        sign_in = sign_in.authenticated_at(Timestamp::from_millis(auth_time.saturating_mul(1_000)));
    }
    let origin = Origin { provider: provider.id(), identity: identity_of(provider, authenticated), authenticated };
    match sign_in::enter(site, handle, account, sign_in, Some(&origin)).await {
        Attempted::SignedIn(session) => Ok(Ok(session)),
        Attempted::SessionLimit => Err("SessionLimit"),
        Attempted::Wrong => Ok(Err("OAuthCallbackError")),
        Attempted::Unavailable | Attempted::Later { .. } => Ok(Err("Unavailable")),
    }
}

/// Links the identity to the account of the session that asked for it, which must still be this browser's and alive.
async fn link(
    site: &Site,
    parts: &mut Parts,
    provider: &Provider,
    authenticated: &Authenticated,
    linking: &Linking,
) -> Result<Arrived, &'static str> {
    let session = StrictSession::from_request_parts(parts, &()).await;
    let same = session
        .is_ok_and(|session| session.user.as_str() == linking.account && session.id.to_string() == linking.session);
    let account = AccountId::parse(&linking.account).filter(|_| same).ok_or("SessionRequired")?;
    let identity = linked(site, provider, authenticated);
    let result = match site.accounts.link(&account, &identity).await.map_err(|error| undecided(&error))? {
        Linked::Done => {
            tracing::info!(target: EVENTS, event = "authn_identity_linked", user.id = ?account.as_str(), provider = provider.id(), "an identity was linked");
            linked_accounts::LINKED
        }
        Linked::OfAnother => linked_accounts::OF_ANOTHER,
        Linked::TooMany => linked_accounts::TOO_MANY,
        Linked::NoAccount => return Err("AccessDenied"),
    };
    Ok(Arrived::Linked(result))
}

pub(super) fn with_cookies(mut response: Response, cookies: impl IntoIterator<Item = HeaderValue>) -> Response {
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}
