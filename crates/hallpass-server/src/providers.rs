//! Identity providers: others that know who somebody is, asked by OpenID Connect or OAuth 2.
//!
//! ```text
//! authorization address  ──►  the browser goes there and comes back with a code  ──►  redeem: the code for facts about the user
//! ```
//!
//! This module talks to providers and believes nothing that it has not checked. What a sign-in makes of it is
//! [`crate::auth::provider_sign_in`]'s.

mod authenticated;
pub(crate) mod departure;
mod discovery;
mod error;
mod http_client;
pub(crate) mod logout_token;
mod oauth2;
mod oidc;
pub(crate) mod state_cookies;
pub(crate) mod transaction;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use url::Url;

pub(crate) use self::authenticated::Authenticated;
use self::discovery::Discovery;
pub(crate) use self::error::ProviderError;
use self::http_client::HttpClient;
use self::transaction::Transaction;
use crate::accounts::ProviderSession;
use crate::settings::{ProviderKind, ProviderSettings};

/// How far a provider's clock may be from ours.
pub(crate) const CLOCK_SKEW_SECONDS: i64 = 30;

/// What the browser brought back.
pub(crate) struct Callback<'a> {
    pub(crate) code: &'a str,
    /// Who says it answers (RFC 9207).
    pub(crate) issuer: Option<&'a str>,
    /// The address it was sent back to.
    pub(crate) redirect_uri: &'a str,
    pub(crate) now_ms: i64,
    /// Whether the email address is worth one more question.
    pub(crate) wants_email: bool,
}

/// The configured providers.
#[derive(Debug)]
pub(crate) struct Providers {
    all: Vec<Provider>,
}

impl Providers {
    /// Talks to nobody yet.
    ///
    /// # Errors
    /// When there is a provider and TLS cannot be set up.
    pub(crate) fn new(settings: &[ProviderSettings]) -> anyhow::Result<Self> {
        if settings.is_empty() {
            return Ok(Self { all: Vec::new() });
        }
        let http = Arc::new(HttpClient::new()?);
        let provider = |settings: &ProviderSettings| {
            let discovery = (settings.kind == ProviderKind::Oidc)
                .then(|| Discovery::new(settings.issuer.clone(), Arc::clone(&http)));
            Provider { settings: settings.clone(), discovery, http: Arc::clone(&http) }
        };
        Ok(Self { all: settings.iter().map(provider).collect() })
    }

    /// The provider with this id.
    pub(crate) fn get(&self, id: &str) -> Option<&Provider> {
        self.all.iter().find(|provider| provider.id() == id)
    }

    /// All of them, in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.all.iter()
    }

    /// Whether signing out leads to any of them.
    pub(crate) fn any_signs_out(&self) -> bool {
        self.all.iter().any(Provider::signs_out)
    }

    /// Their issuers: what identities can sign in with.
    pub(crate) fn issuers(&self) -> Vec<String> {
        self.all.iter().map(|provider| provider.settings.issuer.clone()).collect()
    }
}

/// One provider.
#[derive(Debug)]
pub(crate) struct Provider {
    settings: ProviderSettings,
    /// Of OpenID Connect alone.
    discovery: Option<Discovery>,
    http: Arc<HttpClient>,
}

impl Provider {
    pub(crate) fn id(&self) -> &str {
        &self.settings.id
    }

    pub(crate) fn settings(&self) -> &ProviderSettings {
        &self.settings
    }

    /// The type by which clients of Auth.js know it.
    pub(crate) fn authjs_type(&self) -> &'static str {
        if self.discovery.is_some() { "oidc" } else { "oauth" }
    }

    /// Whether it can be asked to authenticate a user anew, and says when it did.
    pub(crate) fn can_reauthenticate(&self) -> bool {
        self.discovery.is_some()
    }

    /// Whether signing out leads there, too.
    pub(crate) fn signs_out(&self) -> bool {
        self.settings.logout_at_provider
    }

    /// Where the user of a session that came from here signs out here, too; `None` when the provider has no such place. At most one request to
    /// the provider, and none as a rule.
    ///
    /// No `id_token_hint` goes along, since no token of the provider is kept: without it the provider has to ask the user (section 2; ASVS 5.0,
    /// 10.6.2). The `logout_hint` names the session that is meant where the provider told its id, and otherwise the user.
    ///
    /// # Errors
    /// [`ProviderError`] when the provider does not say where.
    pub(crate) async fn end_session_address(
        &self,
        came: &ProviderSession,
        back: &str,
        state: &str,
    ) -> Result<Option<Url>, ProviderError> {
        let Some(mut address) = self.end_session_endpoint().await? else {
            return Ok(None);
        };
        address
            .query_pairs_mut()
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("logout_hint", came.sid.as_deref().unwrap_or(&came.subject))
            .append_pair("post_logout_redirect_uri", back)
            .append_pair("state", state);
        Ok(Some(address))
    }

    /// The place itself.
    ///
    /// # Errors
    /// [`ProviderError`] when the provider does not say, or names one that cannot be used.
    pub(crate) async fn end_session_endpoint(&self) -> Result<Option<Url>, ProviderError> {
        match &self.discovery {
            Some(discovery) => discovery.metadata().await?.end_session_endpoint(),
            None => Ok(None),
        }
    }

    /// Where to send the browser. At most one request to the provider, and none as a rule.
    ///
    /// # Errors
    /// [`ProviderError`] when the provider does not say where.
    pub(crate) async fn authorization_address(
        &self,
        transaction: &Transaction,
        redirect_uri: &str,
        parameters: &[(&'static str, String)],
    ) -> Result<Url, ProviderError> {
        let mut address = match (&self.settings.kind, &self.discovery) {
            (_, Some(discovery)) => discovery.metadata().await?.authorization_endpoint.clone(),
            (ProviderKind::Github(endpoints) | ProviderKind::OAuth2(endpoints), None) => {
                endpoints.authorization.clone()
            }
            (ProviderKind::Oidc, None) => return Err(ProviderError::unavailable("it has no discovery document")),
        };
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(transaction.verifier.as_bytes()));
        let mut query = address.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &self.settings.scopes.join(" "))
            .append_pair("state", &transaction.state)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        if self.discovery.is_some() {
            query.append_pair("nonce", &transaction.nonce);
            for (name, value) in parameters {
                query.append_pair(name, value);
            }
        }
        drop(query);
        Ok(address)
    }

    /// Exchanges the code and finds out who the user is. Two or three requests to the provider.
    ///
    /// # Errors
    /// [`ProviderError`]; the code is used up then, too.
    pub(crate) async fn redeem(
        &self,
        transaction: &Transaction,
        callback: &Callback<'_>,
    ) -> Result<Authenticated, ProviderError> {
        match (&self.settings.kind, &self.discovery) {
            (_, Some(discovery)) => oidc::redeem(self, discovery, transaction, callback).await,
            (ProviderKind::Github(endpoints) | ProviderKind::OAuth2(endpoints), None) => {
                oauth2::redeem(self, endpoints, transaction, callback).await
            }
            (ProviderKind::Oidc, None) => Err(ProviderError::unavailable("it has no discovery document")),
        }
    }

    /// Whether it answers now, for `doctor`: what its discovery document says, or `None` for one that has none.
    ///
    /// # Errors
    /// [`ProviderError`] when it does not.
    pub(crate) async fn ask(&self) -> Result<Option<String>, ProviderError> {
        let Some(discovery) = &self.discovery else {
            return Ok(None);
        };
        let metadata = discovery.metadata().await?;
        let keys = discovery.keys().await?;
        Ok(Some(format!(
            "{} answers, with {} signing keys{}",
            metadata.issuer,
            keys.keys().len(),
            if metadata.backchannel_logout_supported { "; it can send back-channel logouts" } else { "" }
        )))
    }
}
