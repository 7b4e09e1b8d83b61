//! Refuses unsafe requests that another origin caused (CSRF).
//!
//! The rule is that of Go's `http.CrossOriginProtection`, stricter in three points: `Origin` is compared with the *configured* origin,
//! scheme included, never with `Host`; a request that carries our cookie and neither header is refused; and a value of
//! `Sec-Fetch-Site` that is not known is ignored as if it were absent, not taken for a pass. There are no exempt paths, so no
//! path trick can reach one.

use http::header::{HeaderName, ORIGIN};
use http::{HeaderMap, Method};

use crate::Origin;
use crate::credential::Presented;

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The request was refused: answer 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CrossOrigin;

/// Whose requests are accepted.
#[derive(Debug, Clone)]
pub(crate) struct CrossOriginRule {
    pub(crate) own: Origin,
    pub(crate) trusted: Box<[Origin]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FetchSite {
    /// This origin, or the user himself (address bar, bookmark).
    Own,
    /// Another origin; a sibling host of the same site counts as one.
    Other,
    /// Not sent, or with a value from the future.
    Unknown,
}

impl CrossOriginRule {
    /// Decides about one request. No allocation.
    pub(crate) fn check(&self, method: &Method, headers: &HeaderMap, presented: &Presented) -> Result<(), CrossOrigin> {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        // Browsers attach a bearer credential to nothing by themselves. With our cookie beside it the rule holds all the same.
        if presented.bearer && presented.cookies == 0 {
            return Ok(());
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        let origin = match (origins.next(), origins.next()) {
            (Some(_), Some(_)) => return Err(CrossOrigin),
            (only, _) => only.map(|value| value.as_bytes()).filter(|value| !value.is_empty()),
        };
        let trusted = origin.is_some_and(|origin| self.trusted.iter().any(|each| each.as_str().as_bytes() == origin));
        match (fetch_site(headers), origin) {
            (FetchSite::Own, _) => Ok(()),
            (FetchSite::Other, _) if trusted => Ok(()),
            (FetchSite::Other, _) => Err(CrossOrigin),
            (FetchSite::Unknown, Some(origin)) if trusted || origin == self.own.as_str().as_bytes() => Ok(()),
            (FetchSite::Unknown, Some(_)) => Err(CrossOrigin),
            (FetchSite::Unknown, None) if presented.cookies == 0 => Ok(()),
            (FetchSite::Unknown, None) => Err(CrossOrigin),
        }
    }
}

/// Whether a browser sent this request itself: since 2023 all say from where. A program that asks in the name of a browser, as the server of a front end does while it
/// renders a page, does not, unless it passes on what the browser said (Node's `fetch` sends `Sec-Fetch-Mode` alone).
pub(crate) fn is_from_browser(headers: &HeaderMap) -> bool {
    fetch_site(headers) != FetchSite::Unknown
}

fn fetch_site(headers: &HeaderMap) -> FetchSite {
    let mut values = headers.get_all(&SEC_FETCH_SITE).iter();
    let Some(value) = values.next() else {
        return FetchSite::Unknown;
    };
    if values.next().is_some() {
        // No browser sends it twice.
        return FetchSite::Other;
    }
    match value.as_bytes() {
        b"same-origin" | b"none" => FetchSite::Own,
        b"same-site" | b"cross-site" => FetchSite::Other,
        _ => FetchSite::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::{AUTHORIZATION, COOKIE, HOST};

    fn rule() -> CrossOriginRule {
        CrossOriginRule {
            own: Origin::parse("https://app.example").unwrap(),
            trusted: Box::new([Origin::parse("https://admin.example").unwrap()]),
        }
    }

    fn passes(method: &str, headers: &[(&'static str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let presented = Presented::read(&map, "__Host-session", hallpass_core::Token::parse).unwrap();
        rule().check(&Method::from_bytes(method.as_bytes()).unwrap(), &map, &presented).is_ok()
    }

    const SITE: &str = "sec-fetch-site";
    const COOKIES: (&str, &str) = ("cookie", "__Host-session=hp_x");

    /// Go 1.25, `src/net/http/csrf_test.go`, with the origin of this rule.
    #[test]
    fn the_vectors_of_go() {
        for cookies in [&[][..], &[COOKIES]] {
            let with = |headers: &[(&'static str, &'static str)]| [headers, cookies].concat();
            assert!(passes("POST", &with(&[(SITE, "same-origin")])));
            assert!(passes("POST", &with(&[(SITE, "none")])));
            assert!(!passes("POST", &with(&[(SITE, "cross-site")])));
            assert!(!passes("POST", &with(&[(SITE, "same-site")])));
            assert!(passes("POST", &with(&[("origin", "https://app.example")])));
            assert!(!passes("POST", &with(&[("origin", "https://attacker.example")])));
            assert!(!passes("POST", &with(&[("origin", "null")])));
            for safe in ["GET", "HEAD", "OPTIONS"] {
                assert!(passes(safe, &with(&[(SITE, "cross-site")])), "{safe}");
                assert!(passes(safe, &with(&[("origin", "https://attacker.example")])), "{safe}");
            }
            assert!(!passes("PUT", &with(&[(SITE, "cross-site")])));
            assert!(passes("POST", &with(&[(SITE, "cross-site"), ("origin", "https://admin.example")])));
            assert!(passes("POST", &with(&[(SITE, "same-site"), ("origin", "https://admin.example")])));
            assert!(passes("POST", &with(&[("origin", "https://admin.example")])));
            assert!(!passes("POST", &with(&[(SITE, "cross-site"), ("origin", "https://app.example")])));
        }
    }

    #[test]
    fn neither_header_passes_without_our_cookie_alone() {
        assert!(passes("POST", &[]));
        assert!(passes("POST", &[("cookie", "other=1")]));
        assert!(!passes("POST", &[COOKIES]));
        assert!(!passes("POST", &[("cookie", "__Host-session=not a token")]), "ours by its name, whatever its value");
        assert!(!passes("POST", &[COOKIES, (SITE, "")]));
        assert!(!passes("POST", &[COOKIES, ("origin", "")]));
    }

    #[test]
    fn every_other_method_is_unsafe() {
        for method in ["POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "get", "Get"] {
            assert!(!passes(method, &[(SITE, "cross-site")]), "{method}");
        }
    }

    #[test]
    fn unknown_values_are_ignored_and_origin_decides() {
        for value in ["", "future-site", "Same-Origin", "same-origin, none", "same-origin;x", "none "] {
            assert!(passes("POST", &[COOKIES, (SITE, value), ("origin", "https://app.example")]), "{value}");
            assert!(!passes("POST", &[COOKIES, (SITE, value), ("origin", "https://attacker.example")]), "{value}");
            assert!(!passes("POST", &[COOKIES, (SITE, value)]), "{value}");
        }
    }

    #[test]
    fn whole_origins_are_compared_and_host_is_never_looked_at() {
        for origin in [
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.attacker.example",
            "https://attacker-app.example",
            "https://sub.app.example",
            "https://app.example/",
            "HTTPS://APP.EXAMPLE",
            "https://app.example, https://attacker.example",
            "http://admin.example",
        ] {
            assert!(!passes("POST", &[("origin", origin)]), "{origin}");
        }
        assert_eq!(HOST, "host");
        assert!(!passes("POST", &[("origin", "https://attacker.example"), ("host", "attacker.example")]));
        assert!(!passes("POST", &[("origin", "https://a.example"), ("x-forwarded-host", "a.example")]));
    }

    #[test]
    fn duplicated_headers_are_refused() {
        assert!(!passes("POST", &[(SITE, "same-origin"), (SITE, "cross-site")]));
        assert!(!passes("POST", &[(SITE, "cross-site"), (SITE, "same-origin")]));
        assert!(!passes("POST", &[("origin", "https://app.example"), ("origin", "https://attacker.example")]));
    }

    #[test]
    fn a_bearer_is_exempt_only_without_our_cookie() {
        assert_eq!((AUTHORIZATION.as_str(), COOKIE.as_str()), ("authorization", "cookie"));
        let bearer = ("authorization", "Bearer hp_x");
        assert!(passes("POST", &[bearer]));
        assert!(passes("POST", &[bearer, ("origin", "https://elsewhere.example")]));
        assert!(!passes("POST", &[bearer, COOKIES]));
        assert!(!passes("POST", &[bearer, COOKIES, (SITE, "cross-site")]));
        assert!(!passes("POST", &[("authorization", "Basic eDp5"), (SITE, "cross-site")]), "browsers repeat Basic");
    }

    #[test]
    fn a32_method_override_headers_change_nothing() {
        assert!(!passes("POST", &[COOKIES, (SITE, "cross-site"), ("x-http-method-override", "GET")]));
        assert!(!passes("POST", &[COOKIES, (SITE, "cross-site"), ("x-method-override", "GET")]));
    }
}
