//! What a request carries to prove a session.

use std::fmt;

use hallpass_core::{MAX_PRESENTED, Token, TokenError};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use smallvec::SmallVec;

use crate::request_cookie::{self, TooManyCookies};

/// The credentials of one request, read but not checked.
#[derive(Default)]
pub(crate) struct Presented {
    /// Well-formed tokens, each once. A sign-in ends all of them; only the first is ever checked, and only when there is no
    /// ambiguity.
    pub(crate) tokens: SmallVec<[Token; 1]>,
    /// How many cookies of our name.
    pub(crate) cookies: usize,
    /// Whether there is an `Authorization: Bearer`, ours or another's.
    pub(crate) bearer: bool,
    /// How many different credentials of ours.
    distinct: usize,
}

impl Presented {
    /// Reads the headers, and tokens as `parse` does. Allocates only when there are several well-formed tokens; never touches a store.
    ///
    /// The credential is the cookie or `Authorization: Bearer hp_...`. A token is accepted from no other place: not from the URL
    /// (ASVS 5.0, 14.2.1), not from a body.
    pub(crate) fn read(
        headers: &HeaderMap,
        cookie_name: &str,
        parse: impl Fn(&[u8]) -> Result<Token, TokenError>,
    ) -> Result<Self, TooManyCookies> {
        let mut presented = Self::default();
        let mut first: Option<&[u8]> = None;
        let mut note = |presented: &mut Self, raw| {
            // The same token as cookie and as bearer says one thing twice.
            if first.is_some_and(|first| first == raw) {
                return;
            }
            first.get_or_insert(raw);
            presented.distinct += 1;
            if presented.tokens.len() < MAX_PRESENTED
                && let Ok(token) = parse(raw)
            {
                presented.tokens.push(token);
            }
        };
        request_cookie::each_value(headers, cookie_name, |value| {
            presented.cookies += 1;
            note(&mut presented, value);
        })?;
        for value in headers.get_all(AUTHORIZATION) {
            let Some(credential) = bearer(value.as_bytes()) else {
                continue;
            };
            presented.bearer = true;
            // Other bearer credentials (a scheduler's secret, a signed token) are none of our business.
            if credential.starts_with(b"hp_") {
                note(&mut presented, credential);
            }
        }
        Ok(presented)
    }

    /// Whether several credentials contradict each other. "First wins" would let whoever can plant a cookie choose the session
    /// (A25), so none is used.
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.cookies > 1 || self.distinct > 1
    }

    /// How many credentials of ours there were.
    pub(crate) fn count(&self) -> usize {
        self.distinct.max(self.cookies)
    }

    /// The token to check: there is one credential and it is well formed.
    pub(crate) fn only(&self) -> Option<&Token> {
        if self.is_ambiguous() { None } else { self.tokens.first() }
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented")
            .field("tokens", &self.tokens)
            .field("cookies", &self.cookies)
            .field("bearer", &self.bearer)
            .finish_non_exhaustive()
    }
}

/// The credential of a `Bearer` authorization (RFC 6750, section 2.1); the scheme in any case (RFC 9110, section 11.1).
pub(crate) fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hallpass_core::{OsEntropy, SessionId};
    use http::HeaderValue;
    use http::header::COOKIE;

    fn token() -> String {
        Token::generate(SessionId::from_bytes([3; 16]), &OsEntropy).unwrap().expose().as_str().to_owned()
    }

    fn read(cookies: &[&str], authorizations: &[&str]) -> Presented {
        let mut headers = HeaderMap::new();
        for value in cookies {
            headers.append(COOKIE, HeaderValue::from_str(value).unwrap());
        }
        for value in authorizations {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        Presented::read(&headers, "session", Token::parse).unwrap()
    }

    #[test]
    fn one_credential_is_used_from_either_place() {
        let token = token();
        let by_cookie = read(&[&format!("session={token}")], &[]);
        assert!(by_cookie.only().is_some() && by_cookie.cookies == 1 && !by_cookie.bearer);
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let by_header = read(&[], &[&format!("{scheme} {token}")]);
            assert!(by_header.only().is_some() && by_header.cookies == 0 && by_header.bearer, "{scheme}");
        }
        let both = read(&[&format!("session={token}")], &[&format!("Bearer {token}")]);
        assert!(both.only().is_some() && !both.is_ambiguous() && both.tokens.len() == 1);
    }

    #[test]
    fn a25_contradicting_credentials_are_ambiguous_and_all_kept() {
        let (a, b) = (token(), token());
        for presented in [
            read(&[&format!("session={a}; session={b}")], &[]),
            read(&[&format!("session={a}")], &[&format!("Bearer {b}")]),
            read(&[], &[&format!("Bearer {a}"), &format!("Bearer {b}")]),
        ] {
            assert!(presented.is_ambiguous() && presented.only().is_none());
            assert_eq!((presented.tokens.len(), presented.count()), (2, 2));
        }
        let twice = read(&[&format!("session={a}; session={a}")], &[]);
        assert!(twice.is_ambiguous(), "even alike, two cookies of one name come from two places");
        assert!(read(&[&format!("session=x; session={a}")], &[]).is_ambiguous(), "a broken one first hides nothing");
        assert!(read(&["session=x"], &[&format!("Bearer {a}")]).is_ambiguous());
    }

    #[test]
    fn other_authorizations_are_not_ours() {
        let token = token();
        for value in
            ["Bearer", "Bearer ", "Basic aHA6cA==", "Bearer undefined", &token, &format!("Basic {token}"), "DPoP hp_x"]
        {
            let presented = read(&[], &[value]);
            assert!(presented.count() == 0 && presented.only().is_none() && !presented.is_ambiguous(), "{value}");
        }
        let broken = read(&[], &["Bearer hp_x"]);
        assert!(broken.count() == 1 && broken.only().is_none());
    }

    #[test]
    fn the_number_of_kept_tokens_is_bounded() {
        let cookies: Vec<String> = (0..50).map(|_| format!("session={}", token())).collect();
        let presented = read(&[&cookies.join("; ")], &[]);
        assert_eq!((presented.tokens.len(), presented.cookies), (MAX_PRESENTED, 50));
    }

    #[test]
    fn a52_debug_shows_no_secret() {
        let token = token();
        let shown = format!("{:?}", read(&[&format!("session={token}")], &[]));
        assert!(!shown.contains(&token[30..]), "{shown}");
    }
}
