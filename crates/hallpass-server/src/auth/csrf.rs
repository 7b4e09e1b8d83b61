//! The sign-in form's CSRF token: a value in the form that must match a cookie.
//!
//! The wire is that of Auth.js: `token` is 64 hexadecimal digits, the cookie holds `token|SHA-256(token || secret)`, percent-encoded.
//! Two differences that no client sees: the comparison takes constant time, and while somebody is signed in the hash also covers the session
//! and the time of its sign-in, so a token from before a sign-in is worth nothing after it (threat A04, CVE-2022-24895).
//!
//! It is the second line. The first is the layer's cross-origin defence, which needs no token.

use std::fmt::Write as _;

use hallpass_core::{Entropy, EntropyError, Session};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::AuthApi;

/// Hexadecimal digits of a token, and of its hash.
const DIGITS: usize = 64;

/// What a token is good for: a signed-out browser, or one sign-in of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding(String);

impl Binding {
    /// To the session of a request, if it has one.
    pub(crate) fn to(session: Option<&Session>) -> Self {
        Self(
            session.map_or_else(String::new, |session| {
                format!("|{}.{}", session.id, session.authenticated_at.as_millis())
            }),
        )
    }
}

/// Makes and checks tokens.
#[derive(Debug)]
pub(crate) struct Csrf {
    secret: SecretString,
    cookie_name: String,
    secure: bool,
}

/// A token just made: its text for the form, and the cookie to send along.
pub(crate) struct Minted {
    pub(crate) token: String,
    pub(crate) cookie: HeaderValue,
}

impl Csrf {
    /// `secure`: the public origin is https. The prefix `__Host-` keeps other hosts from setting the cookie, and is kept by browsers only over
    /// https.
    pub(crate) fn new(secret: SecretString, api: AuthApi, secure: bool) -> Self {
        let host = if secure { "__Host-" } else { "" };
        Self { secret, cookie_name: format!("{host}{}csrf-token", api.cookie_prefix()), secure }
    }

    /// A new token.
    pub(crate) fn mint(&self, binding: &Binding, entropy: &dyn Entropy) -> Result<Minted, EntropyError> {
        let mut bytes = [0_u8; DIGITS / 2];
        entropy.fill(&mut bytes)?;
        let token = hex(&bytes);
        let secure = if self.secure { "; Secure" } else { "" };
        let cookie = format!(
            "{}={token}%7C{}; Path=/; HttpOnly{secure}; SameSite=Lax",
            self.cookie_name,
            self.hash(&token, binding)
        );
        let mut cookie = HeaderValue::try_from(cookie).map_err(|error| EntropyError(error.to_string()))?;
        cookie.set_sensitive(true);
        Ok(Minted { token, cookie })
    }

    /// The token that the browser holds already.
    pub(crate) fn held(&self, headers: &HeaderMap, binding: &Binding) -> Option<String> {
        self.valid(headers, binding).next()
    }

    /// Whether `given` is a token that the browser holds. Of several cookies of the name any may match: a planted one beside the real one
    /// must not keep anybody from signing in, and the planter gains nothing that the cross-origin defence does not refuse.
    pub(crate) fn is_verified(&self, headers: &HeaderMap, binding: &Binding, given: Option<&str>) -> bool {
        let given = given.unwrap_or_default();
        self.valid(headers, binding).any(|held| held.as_bytes().ct_eq(given.as_bytes()).into())
    }

    fn valid(&self, headers: &HeaderMap, binding: &Binding) -> impl Iterator<Item = String> {
        let name = self.cookie_name.as_bytes();
        headers
            .get_all(COOKIE)
            .iter()
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
            .filter_map(move |pair| pair.trim_ascii().strip_prefix(name)?.strip_prefix(b"="))
            .filter_map(|value| {
                let (token, rest) = value.split_at_checked(DIGITS)?;
                let hash = rest
                    .strip_prefix(b"|")
                    .or_else(|| rest.strip_prefix(b"%7C").or_else(|| rest.strip_prefix(b"%7c")))?;
                let token = std::str::from_utf8(token).ok().filter(|token| is_hex(token))?;
                let expected = self.hash(token, binding);
                bool::from(expected.as_bytes().ct_eq(hash)).then(|| token.to_owned())
            })
    }

    fn hash(&self, token: &str, binding: &Binding) -> String {
        let digest = Sha256::new()
            .chain_update(token.as_bytes())
            .chain_update(self.secret.expose_secret().as_bytes())
            .chain_update(binding.0.as_bytes())
            .finalize();
        hex(&digest)
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use hallpass_core::OsEntropy;

    use super::*;

    fn csrf(secure: bool) -> Csrf {
        let secret = SecretString::from("a secret of the server for the tests".to_owned());
        Csrf::new(secret, AuthApi::Authjs5, secure)
    }

    fn nobody() -> Binding {
        Binding::to(None)
    }

    fn somebody() -> Binding {
        Binding("|0199.1".to_owned())
    }

    fn sending(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(cookie).unwrap())])
    }

    fn pair(minted: &Minted) -> String {
        minted.cookie.to_str().unwrap().split(';').next().unwrap().to_owned()
    }

    #[test]
    fn the_wire_form_is_that_of_auth_js() {
        let minted = csrf(false).mint(&nobody(), &OsEntropy).unwrap();
        let cookie = minted.cookie.to_str().unwrap();
        let (value, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
        let (token, hash) = value.strip_prefix("authjs.csrf-token=").unwrap().split_once("%7C").unwrap();
        assert_eq!(token, minted.token);
        // Computed by another program: printf '%s' "TOKENSECRET" | sha256sum, over text alone.
        let text = format!("{token}a secret of the server for the tests");
        assert_eq!(hash, hex(&Sha256::digest(text.as_bytes())));
        assert!(token.len() == 64 && is_hex(token));
        let https = csrf(true).mint(&nobody(), &OsEntropy).unwrap();
        let https = https.cookie.to_str().unwrap();
        assert!(
            https.starts_with("__Host-authjs.csrf-token=")
                && https.ends_with("; Path=/; HttpOnly; Secure; SameSite=Lax")
        );
    }

    #[test]
    fn a_held_token_is_found_in_both_spellings_and_among_others() {
        let csrf = csrf(false);
        let minted = csrf.mint(&nobody(), &OsEntropy).unwrap();
        let pair = pair(&minted);
        for cookies in [
            pair.clone(),
            pair.replace("%7C", "|"),
            pair.replace("%7C", "%7c"),
            format!("a=b; {pair};c=d"),
            format!("authjs.csrf-token=planted|x; {pair}"),
        ] {
            let headers = sending(&cookies);
            assert_eq!(csrf.held(&headers, &nobody()).as_ref(), Some(&minted.token), "{cookies}");
            assert!(csrf.is_verified(&headers, &nobody(), Some(&minted.token)));
        }
    }

    #[test]
    fn what_does_not_match_is_refused() {
        let csrf = csrf(false);
        let minted = csrf.mint(&nobody(), &OsEntropy).unwrap();
        let other = csrf.mint(&nobody(), &OsEntropy).unwrap();
        let headers = sending(&pair(&minted));
        for given in [None, Some(""), Some("undefined"), Some(other.token.as_str()), Some(&minted.token[..63])] {
            assert!(!csrf.is_verified(&headers, &nobody(), given), "{given:?}");
        }
        assert!(!csrf.is_verified(&HeaderMap::new(), &nobody(), None), "nothing is not equal to nothing");
        assert!(!csrf.is_verified(&HeaderMap::new(), &nobody(), Some("")));
        // A hash made without the secret, another case, another name, a longer value.
        let forged =
            format!("authjs.csrf-token={0}%7C{1}", minted.token, hex(&Sha256::digest(minted.token.as_bytes())));
        for cookie in [
            forged,
            pair(&minted).to_uppercase(),
            pair(&minted).replace("authjs.", "xauthjs."),
            pair(&minted).replace("csrf-token", "csrf-token.0"),
            format!("{}0", pair(&minted)),
        ] {
            assert_eq!(csrf.held(&sending(&cookie), &nobody()), None, "{cookie}");
        }
    }

    #[test]
    fn a04_a_token_is_bound_to_the_sign_in() {
        let csrf = csrf(false);
        let before = csrf.mint(&nobody(), &OsEntropy).unwrap();
        let after = csrf.mint(&somebody(), &OsEntropy).unwrap();
        assert!(!csrf.is_verified(&sending(&pair(&before)), &somebody(), Some(&before.token)));
        assert!(!csrf.is_verified(&sending(&pair(&after)), &nobody(), Some(&after.token)));
        assert!(csrf.is_verified(&sending(&pair(&after)), &somebody(), Some(&after.token)));
    }
}
