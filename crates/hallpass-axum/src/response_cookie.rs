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
    secure: bool,
    same_site: SameSite,
}

impl CookieForm {
    pub(crate) const fn new(secure: bool, same_site: SameSite) -> Self {
        Self { secure, same_site }
    }

    pub(crate) const fn name(self) -> &'static str {
        if self.secure { SECURE_NAME } else { PLAIN_NAME }
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
        let form = CookieForm::new(true, SameSite::Lax);
        assert_eq!(
            text(form.set(&token, None, NOW)),
            format!("__Host-session={}; HttpOnly; SameSite=Lax; Secure; Path=/", token.as_str())
        );
        let strict = text(CookieForm::new(true, SameSite::Strict).set(&token, None, NOW));
        assert!(strict.contains("SameSite=Strict"), "{strict}");
    }

    #[test]
    fn http_gets_the_plain_name_without_secure() {
        let token = token();
        let form = CookieForm::new(false, SameSite::Lax);
        assert_eq!(
            text(form.set(&token, None, NOW)),
            format!("session={}; HttpOnly; SameSite=Lax; Path=/", token.as_str())
        );
    }

    #[test]
    fn persistent_cookies_end_with_the_session_and_after_400_days_at_most() {
        let form = CookieForm::new(true, SameSite::Lax);
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
            assert_eq!(text(CookieForm::new(secure, SameSite::Lax).remove()), expected);
        }
    }

    #[test]
    fn a52_the_token_is_not_in_debug_output() {
        let header = CookieForm::new(true, SameSite::Lax).set(&token(), None, NOW).unwrap();
        assert!(!format!("{header:?}").contains("hp_"));
    }
}
