//! What a provider of OpenID Connect says of itself, and its keys: read once, kept for a while.
//!
//! Each is asked for again after an hour. While the provider is down, what was read before serves for a day. A token that names a key which
//! nobody knows has the keys read anew (key rotation), at most once in [`REFETCH_PAUSE`]: otherwise anybody could have this server ask without
//! end by sending made-up tokens.

use std::sync::Arc;
use std::time::Duration;

use openidconnect::core::CoreJsonWebKeySet;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::{Host, Url};

use super::ProviderError;
use super::http_client::HttpClient;

/// How long a document is taken for what the provider would say now.
const FRESH: Duration = Duration::from_secs(60 * 60);
/// How long it serves when the provider does not answer.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// A failure is the answer for whoever waited for the same, and for a moment after.
const FAILURE: Duration = Duration::from_secs(1);
/// Least time between two readings of the keys because of a token.
const REFETCH_PAUSE: Duration = Duration::from_secs(5);

/// The discovery document (OpenID Connect Discovery 1.0, section 3), as far as it is used.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) issuer: String,
    pub(crate) authorization_endpoint: Url,
    pub(crate) token_endpoint: Url,
    pub(crate) jwks_uri: Url,
    pub(crate) userinfo_endpoint: Option<Url>,
    #[serde(default)]
    pub(crate) id_token_signing_alg_values_supported: Vec<String>,
    #[serde(default)]
    pub(crate) token_endpoint_auth_methods_supported: Vec<String>,
    #[serde(default)]
    pub(crate) authorization_response_iss_parameter_supported: bool,
    #[serde(default)]
    pub(crate) backchannel_logout_supported: bool,
    /// Read where it is used: one that cannot be used must not keep anybody from signing in.
    end_session_endpoint: Option<String>,
}

impl Metadata {
    /// Where a user signs out at the provider (OpenID Connect RP-Initiated Logout 1.0, section 2.1).
    pub(crate) fn end_session_endpoint(&self) -> Result<Option<Url>, ProviderError> {
        let Some(text) = &self.end_session_endpoint else {
            return Ok(None);
        };
        match Url::parse(text) {
            // A fragment would swallow the parameters of whoever appends to it.
            Ok(url) if is_safe(&url) && url.fragment().is_none() => Ok(Some(url)),
            _ => Err(ProviderError::Misconfigured(format!("its end_session_endpoint {text:?} is no https address"))),
        }
    }
}

/// The documents of one issuer.
#[derive(Debug)]
pub(crate) struct Discovery {
    issuer: String,
    http: Arc<HttpClient>,
    metadata: Mutex<Kept<Metadata>>,
    keys: Mutex<Kept<CoreJsonWebKeySet>>,
}

#[derive(Debug)]
struct Kept<T> {
    read: Option<(Arc<T>, Instant)>,
    failed: Option<(ProviderError, Instant)>,
    refetched: Option<Instant>,
}

impl<T> Kept<T> {
    fn nothing() -> Mutex<Self> {
        Mutex::new(Self { read: None, failed: None, refetched: None })
    }

    fn younger_than(&self, age: Duration) -> Option<Arc<T>> {
        self.read.as_ref().filter(|(_, at)| at.elapsed() < age).map(|(value, _)| Arc::clone(value))
    }

    fn recent_failure(&self) -> Option<ProviderError> {
        self.failed.as_ref().filter(|(_, at)| at.elapsed() < FAILURE).map(|(error, _)| error.clone())
    }

    /// Keeps what was read now, or answers a failure with what was read before.
    fn take(&mut self, outcome: Result<T, ProviderError>) -> Result<Arc<T>, ProviderError> {
        match outcome {
            Ok(value) => {
                let value = Arc::new(value);
                (self.read, self.failed) = (Some((Arc::clone(&value), Instant::now())), None);
                Ok(value)
            }
            Err(error) => {
                self.failed = Some((error.clone(), Instant::now()));
                self.younger_than(STALE).ok_or(error)
            }
        }
    }
}

impl Discovery {
    pub(super) fn new(issuer: String, http: Arc<HttpClient>) -> Self {
        Self { issuer, http, metadata: Kept::nothing(), keys: Kept::nothing() }
    }

    /// The document, from memory as a rule. Callers at once share one request.
    pub(crate) async fn metadata(&self) -> Result<Arc<Metadata>, ProviderError> {
        let mut kept = self.metadata.lock().await;
        if let Some(metadata) = kept.younger_than(FRESH) {
            return Ok(metadata);
        }
        if let Some(error) = kept.recent_failure() {
            return kept.younger_than(STALE).ok_or(error);
        }
        let outcome = self.read_metadata().await;
        kept.take(outcome)
    }

    /// The keys, from memory as a rule.
    pub(crate) async fn keys(&self) -> Result<Arc<CoreJsonWebKeySet>, ProviderError> {
        let metadata = self.metadata().await?;
        let mut kept = self.keys.lock().await;
        if let Some(keys) = kept.younger_than(FRESH) {
            return Ok(keys);
        }
        if let Some(error) = kept.recent_failure() {
            return kept.younger_than(STALE).ok_or(error);
        }
        let outcome = self.read_keys(&metadata).await;
        kept.take(outcome)
    }

    /// The keys read anew, because a token names one that is not among them; `None` when that was done a moment ago.
    pub(crate) async fn newer_keys(&self) -> Result<Option<Arc<CoreJsonWebKeySet>>, ProviderError> {
        let metadata = self.metadata().await?;
        let mut kept = self.keys.lock().await;
        if kept.refetched.is_some_and(|at| at.elapsed() < REFETCH_PAUSE) {
            return Ok(None);
        }
        kept.refetched = Some(Instant::now());
        let outcome = self.read_keys(&metadata).await;
        // Those that are there do not have the key: a failure must not pass for an answer.
        let keys = outcome?;
        kept.take(Ok(keys)).map(Some)
    }

    async fn read_metadata(&self) -> Result<Metadata, ProviderError> {
        let address = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let address = Url::parse(&address)
            .map_err(|error| ProviderError::Misconfigured(format!("the issuer is no address: {error}")))?;
        let answer = self.http.get(&address, None).await?;
        if answer.status != http::StatusCode::OK {
            return Err(ProviderError::unavailable(format!("{address} answers {}", answer.status)));
        }
        let metadata: Metadata = answer.json("its discovery document")?;
        // Letter for letter (section 4.3): whoever can have another issuer's document shown here could stand in for it.
        if metadata.issuer != self.issuer {
            return Err(ProviderError::Misconfigured(format!(
                "it names itself {:?} and not {:?}; write the setting issuer as it does",
                metadata.issuer, self.issuer
            )));
        }
        let endpoints = [
            Some(&metadata.authorization_endpoint),
            Some(&metadata.token_endpoint),
            Some(&metadata.jwks_uri),
            metadata.userinfo_endpoint.as_ref(),
        ];
        if let Some(bad) = endpoints.into_iter().flatten().find(|url| !is_safe(url)) {
            return Err(ProviderError::Misconfigured(format!("its endpoint {bad} is not https")));
        }
        Ok(metadata)
    }

    async fn read_keys(&self, metadata: &Metadata) -> Result<CoreJsonWebKeySet, ProviderError> {
        let answer = self.http.get(&metadata.jwks_uri, None).await?;
        if answer.status != http::StatusCode::OK {
            return Err(ProviderError::unavailable(format!("{} answers {}", metadata.jwks_uri, answer.status)));
        }
        answer.json("its key set")
    }
}

/// https, or http on this machine.
fn is_safe(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}
