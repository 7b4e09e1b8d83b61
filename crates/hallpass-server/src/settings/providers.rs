//! The identity providers of the configuration.

use std::fmt;

use secrecy::SecretString;
use url::Url;

use super::error::SettingsError;
use super::provider_ids::MAX_PROVIDERS;
use super::values::{self, Problem};
use super::{Reader, choice, definition};

/// What a provider speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProviderKind {
    /// OpenID Connect: everything else is read from the issuer's discovery document.
    Oidc,
    /// GitHub, which knows users and no ID tokens.
    Github(Endpoints),
    /// OAuth 2 with an endpoint that describes the user.
    OAuth2(Endpoints),
}

/// Where to go with a provider that has no discovery document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Where the browser is sent.
    pub authorization: Url,
    /// Where the code is exchanged.
    pub token: Url,
    /// What describes the user.
    pub user: Url,
    /// What lists the user's email addresses, as GitHub does.
    pub emails: Option<Url>,
}

/// One provider, as configured.
#[derive(Clone)]
#[non_exhaustive]
pub struct ProviderSettings {
    /// Its id in addresses and settings: small letters, digits and `-`.
    pub id: String,
    /// What its button says.
    pub name: String,
    /// What it speaks.
    pub kind: ProviderKind,
    /// Who it is: together with a subject the key of an identity.
    pub issuer: String,
    /// Our id there.
    pub client_id: String,
    /// Our secret there; none for a public client.
    pub client_secret: Option<SecretString>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Whether a first sign-in makes an account.
    pub sign_up: bool,
    /// Whether signing out leads to the provider, to sign out there, too.
    pub logout_at_provider: bool,
}

impl fmt::Debug for ProviderSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderSettings").field("id", &self.id).field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// All providers, in the order of their ids.
pub(super) fn resolve(read: &Reader<'_>) -> Result<Vec<ProviderSettings>, SettingsError> {
    let mut resolved: Vec<ProviderSettings> = Vec::new();
    for id in read.sources.providers() {
        let provider = one(read, id)?;
        // An identity is issuer and subject: two providers of one issuer could not be told apart (ASVS 5.0, 10.5.2).
        if let Some(other) = resolved.iter().find(|other| other.issuer == provider.issuer) {
            return Err(wrong(
                read,
                id,
                "issuer",
                format!("the provider {} has the same issuer", other.id),
                "keep one of the two",
            ));
        }
        if resolved.len() == MAX_PROVIDERS {
            return Err(wrong(
                read,
                id,
                "issuer",
                format!("it is one provider more than {MAX_PROVIDERS}"),
                "remove those that nobody uses",
            ));
        }
        resolved.push(provider);
    }
    Ok(resolved)
}

fn one(read: &Reader<'_>, id: &str) -> Result<ProviderSettings, SettingsError> {
    let key = |field: &str| format!("providers.{id}.{field}");
    let kind = read.or(
        &key("kind"),
        |text| match text {
            "oidc" | "github" | "oauth2" => Ok(text.to_owned()),
            _ => Err(choice(&definition::of_provider(id).collect::<Vec<_>>(), &key("kind"), text)),
        },
        || "oidc".to_owned(),
    )?;
    let is_github = kind == "github";
    let url = |field: &str| read.get(&key(field), endpoint);
    let required = |field: &'static str, value: Option<Url>, default: &str| match value {
        Some(value) => Ok(value),
        None => Url::parse(default).map_err(|_| {
            wrong(
                read,
                id,
                field,
                format!("a provider of the kind {kind} needs it"),
                "set it as the provider's manual says",
            )
        }),
    };
    let of_github = |address: &'static str| if is_github { address } else { "" };
    let (kind_resolved, issuer) = if kind == "oidc" {
        for field in ["authorization_url", "token_url", "user_url", "emails_url"] {
            if read.sources.get(&key(field)).is_some() {
                return Err(wrong(
                    read,
                    id,
                    field,
                    "a provider of the kind oidc says it itself".to_owned(),
                    "remove it, or set kind to oauth2",
                ));
            }
        }
        let issuer = read.get(&key("issuer"), issuer)?;
        let missing = || {
            wrong(
                read,
                id,
                "issuer",
                "it is missing".to_owned(),
                "set it to the address under which the provider names itself",
            )
        };
        (ProviderKind::Oidc, issuer.ok_or_else(missing)?)
    } else {
        let authorization = required(
            "authorization_url",
            url("authorization_url")?,
            of_github("https://github.com/login/oauth/authorize"),
        )?;
        let endpoints = Endpoints {
            token: required("token_url", url("token_url")?, of_github("https://github.com/login/oauth/access_token"))?,
            user: required("user_url", url("user_url")?, of_github("https://api.github.com/user"))?,
            emails: match url("emails_url")? {
                None if is_github => Url::parse("https://api.github.com/user/emails").ok(),
                emails => emails,
            },
            authorization,
        };
        let default = if is_github {
            "https://github.com".to_owned()
        } else {
            endpoints.authorization.origin().ascii_serialization()
        };
        let issuer = read.or(&key("issuer"), issuer, || default)?;
        (if is_github { ProviderKind::Github(endpoints) } else { ProviderKind::OAuth2(endpoints) }, issuer)
    };
    let client_id = read.get(&key("client_id"), |text| short(text, 255))?;
    let client_id = client_id.ok_or_else(|| {
        wrong(read, id, "client_id", "it is missing".to_owned(), "register this server with the provider")
    })?;
    let client_secret =
        read.get(&key("client_secret"), |text| Ok((!text.is_empty()).then(|| SecretString::from(text))))?;
    let scopes = read.or(&key("scopes"), words, || {
        let default: &[&str] = match kind_resolved {
            ProviderKind::Github(_) => &["read:user", "user:email"],
            _ => &["openid", "email", "profile"],
        };
        default.iter().map(|&scope| scope.to_owned()).collect()
    })?;
    if kind_resolved == ProviderKind::Oidc && !scopes.iter().any(|scope| scope == "openid") {
        return Err(wrong(
            read,
            id,
            "scopes",
            "without openid the provider sends no ID token".to_owned(),
            "add openid, or set kind to oauth2",
        ));
    }
    let logout_at_provider = read.or(&key("logout_at_provider"), values::switch, || false)?;
    if logout_at_provider && kind_resolved != ProviderKind::Oidc {
        return Err(wrong(
            read,
            id,
            "logout_at_provider",
            format!("a provider of the kind {kind} has no place to sign out"),
            "remove it",
        ));
    }
    Ok(ProviderSettings {
        id: id.to_owned(),
        name: read.or(&key("name"), |text| short(text, 60), || id.to_owned())?,
        kind: kind_resolved,
        issuer,
        client_id,
        client_secret: client_secret.flatten(),
        scopes,
        sign_up: read.or(&key("sign_up"), values::switch, || false)?,
        logout_at_provider,
    })
}

fn wrong(read: &Reader<'_>, id: &str, field: &str, problem: String, fix: &str) -> SettingsError {
    let key = format!("providers.{id}.{field}");
    SettingsError::Invalid { origin: read.sources.origin(&key), key, problem, fix: fix.to_owned() }
}

fn short(text: &str, most: usize) -> Result<String, Problem> {
    if (1..=most).contains(&text.len()) && !text.contains(char::is_control) {
        return Ok(text.to_owned());
    }
    Err((format!("it is empty, longer than {most} bytes, or has control characters"), "choose another".to_owned()))
}

fn words(text: &str) -> Result<Vec<String>, Problem> {
    let words: Vec<String> = text.split([',', ' ']).filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect();
    // RFC 6749, section 3.3.
    let sound = |word: &String| word.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
    if words.is_empty() || words.len() > 50 || !words.iter().all(sound) {
        return Err(("it is no list of scopes".to_owned(), "write words as the provider's manual has them".to_owned()));
    }
    Ok(words)
}

/// https, or http on this machine: a code, a secret and a token travel there.
fn endpoint(text: &str) -> Result<Url, Problem> {
    let Ok(url) = Url::parse(text) else {
        return Err(("it is not an absolute URL".to_owned(), "write https:// and what follows".to_owned()));
    };
    let safe = url.scheme() == "https" || (url.scheme() == "http" && values::is_loopback(&url));
    if !safe || url.host_str().is_none() {
        return Err((
            "it is not https, and its host is not this machine".to_owned(),
            "secrets and tokens travel there: use the https:// address".to_owned(),
        ));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(("it holds a user name, a password or a fragment".to_owned(), "leave them out".to_owned()));
    }
    Ok(url)
}

/// The text itself, since it is compared letter for letter (OpenID Connect Discovery 1.0, section 4.3).
fn issuer(text: &str) -> Result<String, Problem> {
    let url = endpoint(text)?;
    if url.query().is_some() || text.len() > 255 {
        return Err((
            "it has a query, or more than 255 bytes".to_owned(),
            "write it as the provider names itself".to_owned(),
        ));
    }
    Ok(text.to_owned())
}
