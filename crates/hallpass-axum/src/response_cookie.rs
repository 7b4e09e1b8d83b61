//! Writes our cookie into a response.

use cookie::time::{Duration as CookieDuration, OffsetDateTime};
use cookie::{Cookie, CookieBuilder};
use hallpass_core::{Timestamp, TokenText};
use http::HeaderValue;

/// The name for an https origin. Browsers keep such a cookie only with `Secure`, `Path=/` and no `Domain`, so that no sibling host
/// can set it (RFC 6265bis, "Cookie Name Prefixes").
pub(crate) const SECURE_NAME: &str = "__Host-session";
/// The name for an http origin, where no browser would keep a prefixed one.
pub(crate) const PLAIN_NAME: &str = "session";

/// What the session cookie is called. Only a program that shares its sessions with another one calls it by that one's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CookieName {
    /// `__Host-session` for an https origin, `session` for http. The default.
    #[default]
    Own,
    /// As Auth.js 5 calls it: `__Secure-authjs.session-token`, `authjs.session-token` for http. Another host of the same site can set a cookie with the prefix
    /// `__Secure-`, which it cannot with `__Host-`: two of the name are refused, and a sign-in mints a new token, but such a host can sign a browser out.
    Authjs5,
    /// As `NextAuth` 4 calls it: `__Secure-next-auth.session-token`, `next-auth.session-token` for http. As for [`CookieName::Authjs5`].
    Nextauth4,
}

impl CookieName {
    /// The cookie's name for an origin that is https (`secure`) or http.
    #[must_use]
    pub const fn of(self, secure: bool) -> &'static str {
        match (self, secure) {
            (Self::Own, true) => SECURE_NAME,
            (Self::Own, false) => PLAIN_NAME,
            (Self::Authjs5, true) => "__Secure-authjs.session-token",
            (Self::Authjs5, false) => "authjs.session-token",
            (Self::Nextauth4, true) => "__Secure-next-auth.session-token",
            (Self::Nextauth4, false) => "next-auth.session-token",
        }
    }
}

/// Browsers keep no cookie longer (RFC 6265bis, "The Max-Age Attribute").
const MAX_AGE_SECONDS: i64 = 400 * 24 * 60 * 60;

/// Whether the cookie travels with navigations from other sites. Never `None`: a session cookie that other sites' requests carry
/// has no place here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SameSite {
    /// Sent with a link that is followed from another site, so that its visitor arrives signed in. The default.
    #[default]
    Lax,
    /// Never sent with a request that another site caused, not even a link.
    Strict,
}

/// The attributes that our cookie always has. Setting and removing share them, since a removal with other attributes
/// removes nothing (A45).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CookieForm {
    name: CookieName,
    secure: bool,
    same_site: SameSite,
}

impl CookieForm {
    pub(crate) const fn new(name: CookieName, secure: bool, same_site: SameSite) -> Self {
        Self { name, secure, same_site }
    }

    pub(crate) const fn name(self) -> &'static str {
        self.name.of(self.secure)
    }

    /// Sets the token; with a deadline the cookie outlives the browser. `None` only if the text is no header value, which
    /// a token never is.
    pub(crate) fn set(self, token: &TokenText, expires_at: Option<Timestamp>, now: Timestamp) -> Option<HeaderValue> {
        let mut cookie = self.build(token.as_str());
        if let Some(expires_at) = expires_at {
            let left = (expires_at.as_millis() - now.as_millis()) / 1000;
            let left = left.clamp(0, MAX_AGE_SECONDS);
            cookie = cookie.max_age(CookieDuration::seconds(left));
            if let Ok(expires) = OffsetDateTime::from_unix_timestamp(now.as_millis() / 1000 + left) {
                cookie = cookie.expires(expires);
            }
        }
        header(&cookie.build())
    }

    /// Removes it from the browser.
    pub(crate) fn remove(self) -> Option<HeaderValue> {
        let cookie = self.build("").max_age(CookieDuration::ZERO).expires(OffsetDateTime::UNIX_EPOCH);
        header(&cookie.build())
    }

    fn build(self, value: &str) -> CookieBuilder<'_> {
        let same_site = match self.same_site {
            SameSite::Lax => cookie::SameSite::Lax,
            SameSite::Strict => cookie::SameSite::Strict,
        };
        let cookie = Cookie::build((self.name(), value)).http_only(true).same_site(same_site).path("/");
        // Secure(false) would print nothing, but say it only where it is meant.
        if self.secure { cookie.secure(true) } else { cookie }
    }
}

fn header(cookie: &Cookie<'_>) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(cookie.to_string()).ok()?;
    // Keeps it out of Debug output and out of HTTP/2 header compression tables.
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hallpass_core::{OsEntropy, SessionId, Token};
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

    fn token() -> TokenText {
        Token::generate(SessionId::from_bytes([7; 16]), &OsEntropy).unwrap().expose()
    }

    fn text(header: Option<HeaderValue>) -> String {
        header.unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn a55_https_gets_the_host_prefix_and_all_attributes() {
        let token = token();
        let form = CookieForm::new(CookieName::Own, true, SameSite::Lax);
        assert_eq!(
            text(form.set(&token, None, NOW)),
            format!("__Host-session={}; HttpOnly; SameSite=Lax; Secure; Path=/", token.as_str())
        );
        let strict = text(CookieForm::new(CookieName::Own, true, SameSite::Strict).set(&token, None, NOW));
        assert!(strict.contains("SameSite=Strict"), "{strict}");
    }

    #[test]
    fn http_gets_the_plain_name_without_secure() {
        let token = token();
        let form = CookieForm::new(CookieName::Own, false, SameSite::Lax);
        assert_eq!(
            text(form.set(&token, None, NOW)),
            format!("session={}; HttpOnly; SameSite=Lax; Path=/", token.as_str())
        );
    }

    #[test]
    fn persistent_cookies_end_with_the_session_and_after_400_days_at_most() {
        let form = CookieForm::new(CookieName::Own, true, SameSite::Lax);
        let day = Duration::from_secs(24 * 60 * 60);
        let set = text(form.set(&token(), Some(NOW.plus(day)), NOW));
        assert!(set.ends_with("; Max-Age=86400; Expires=Fri, 02 Jan 2026 00:00:00 GMT"), "{set}");
        for far in [NOW.plus(day * 401), Timestamp::NEVER] {
            let set = text(form.set(&token(), Some(far), NOW));
            assert!(set.contains("; Max-Age=34560000; Expires=Fri, 05 Feb 2027 00:00:00 GMT"), "{set}");
        }
        let past = text(form.set(&token(), Some(NOW.minus(day)), NOW));
        assert!(past.contains("; Max-Age=0;"), "{past}");
    }

    #[test]
    fn a45_removal_has_the_same_name_and_attributes() {
        for (secure, expected) in [
            (
                true,
                "__Host-session=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            ),
            (false, "session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
        ] {
            assert_eq!(text(CookieForm::new(CookieName::Own, secure, SameSite::Lax).remove()), expected);
        }
    }

    /// As `@auth/core` 0.41 and `next-auth` 4.24 set them, in another order.
    #[test]
    fn a_shared_cookie_has_the_name_that_auth_js_gives_it() {
        let token = Token::parse_foreign(b"5f0c9a52-8f0e-4f7e-9c40-3c9a4e8c1d6b").unwrap().expose();
        for (name, secure, expected) in [
            (CookieName::Authjs5, true, "__Secure-authjs.session-token"),
            (CookieName::Authjs5, false, "authjs.session-token"),
            (CookieName::Nextauth4, true, "__Secure-next-auth.session-token"),
            (CookieName::Nextauth4, false, "next-auth.session-token"),
        ] {
            let secured = if secure { "; Secure" } else { "" };
            let set = text(CookieForm::new(name, secure, SameSite::Lax).set(&token, None, NOW));
            assert_eq!(
                set,
                format!("{expected}=5f0c9a52-8f0e-4f7e-9c40-3c9a4e8c1d6b; HttpOnly; SameSite=Lax{secured}; Path=/")
            );
        }
    }

    #[test]
    fn a52_the_token_is_not_in_debug_output() {
        let header = CookieForm::new(CookieName::Own, true, SameSite::Lax).set(&token(), None, NOW).unwrap();
        assert!(!format!("{header:?}").contains("hp_"));
    }
}
