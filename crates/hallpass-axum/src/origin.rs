//! Web origins, in one strict form.

use std::fmt;

use url::{Host, Url};

/// An origin: scheme, host and port (RFC 6454). It is kept in the very form in which browsers send `Origin`, so that comparing
/// the bytes compares the whole: no suffix, no other scheme and no other port passes (CVE-2025-47909 was such a comparison).
///
/// ```
/// use hallpass_axum::Origin;
///
/// assert_eq!(Origin::parse("https://App.example:443")?.as_str(), "https://app.example");
/// assert!(Origin::parse("http://[::1]:8080")?.is_loopback());
/// assert!(Origin::parse("https://app.example/").is_err());
/// # Ok::<(), hallpass_axum::OriginError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    text: Box<str>,
    secure: bool,
    loopback: bool,
}

/// Why a text is no origin. Carries the text: origins are configuration and no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no origin: {problem}; write scheme://host or scheme://host:port, for example https://app.example")]
pub struct OriginError {
    text: String,
    problem: &'static str,
}

impl Origin {
    /// Reads `http://host`, `https://host`, each with or without `:port`, and nothing else: no path (not even a slash at the end),
    /// no query, fragment or user name, no `*` and no `null`.
    ///
    /// # Errors
    /// When the text has any other form; the error says which part to take away.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let wrong = |problem| OriginError { text: text.to_owned(), problem };
        let lower = text.to_ascii_lowercase();
        let rest = lower
            .strip_prefix("https://")
            .or_else(|| lower.strip_prefix("http://"))
            .ok_or_else(|| wrong("it must begin with https:// or http://"))?;
        if rest.is_empty() {
            return Err(wrong("it has no host"));
        }
        if rest.contains(['/', '\\', '?', '#']) {
            return Err(wrong("it must end after the host and port: take away the slash, path, query or fragment"));
        }
        if rest.contains('@') {
            return Err(wrong("it must not contain a user name or password"));
        }
        // The URL parser would drop tabs and line breaks and decode percent signs; wildcards are not supported.
        if rest.contains(|c: char| c.is_whitespace() || c.is_control() || c == '%' || c == '*') {
            return Err(wrong("it contains a character that does not belong in a host name"));
        }
        if rest.ends_with(':') {
            return Err(wrong("it has a colon without a port"));
        }
        let url = Url::parse(&lower).map_err(|_| wrong("its host or port cannot be read"))?;
        if url.port() == Some(0) {
            return Err(wrong("its port must not be 0"));
        }
        let loopback = match url.host() {
            Some(Host::Domain(name)) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                name == "localhost" || name.ends_with(".localhost")
            }
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => return Err(wrong("it has no host")),
        };
        let text = url.origin().ascii_serialization().into_boxed_str();
        Ok(Self { text, secure: url.scheme() == "https", loopback })
    }

    /// The text, as browsers send it: lower case, without a default port.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is an https origin.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whether its host is this machine: `localhost`, a name under it, `127.0.0.0/8` or `[::1]`. Browsers treat these as
    /// trustworthy without TLS (W3C Secure Contexts, "potentially trustworthy origin").
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        self.loopback
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scheme_host_and_port_are_accepted() {
        let refused = [
            "",
            "null",
            "example.com",
            "//example.com",
            "https://",
            "https:",
            "https:example.com",
            "https:///example.com",
            "https://example.com/",
            "https://example.com/path",
            "https://example.com?",
            "https://example.com?q=1",
            "https://example.com#",
            "https://example.com#f",
            "https://example.com\\",
            "https://user@example.com",
            "https://user:password@example.com",
            "https://example.com:",
            "https://example.com:0",
            "https://example.com:65536",
            "https://example.com:http",
            "https://*.example.com",
            "https://*",
            "*",
            "https://exa mple.com",
            " https://example.com",
            "https://example.com ",
            "https://exam\tple.com",
            "https://example.com\n",
            "https://ex%61mple.com",
            "https://[::1",
            "ftp://example.com",
            "file://",
            "data:text/html,x",
            "https://example.com,https://example.org",
        ];
        for text in refused {
            let error = Origin::parse(text).expect_err(text).to_string();
            assert!(error.contains("https://app.example"), "{error}");
        }
    }

    #[test]
    fn the_form_is_that_of_browsers() {
        for (text, form) in [
            ("https://example.com", "https://example.com"),
            ("HTTPS://Example.COM", "https://example.com"),
            ("https://example.com:443", "https://example.com"),
            ("http://example.com:80", "http://example.com"),
            ("http://example.com:443", "http://example.com:443"),
            ("https://example.com:8443", "https://example.com:8443"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(Origin::parse(text).unwrap().as_str(), form);
        }
    }

    #[test]
    fn loopback_is_recognised_and_not_faked() {
        for text in [
            "http://localhost",
            "http://LOCALHOST:3000",
            "http://app.localhost",
            "http://127.0.0.1:8080",
            "http://127.8.9.10",
            "http://[::1]",
        ] {
            assert!(Origin::parse(text).unwrap().is_loopback(), "{text}");
        }
        for text in [
            "http://localhost.example.com",
            "http://notlocalhost",
            "http://127.0.0.1.example.com",
            "http://128.0.0.1",
            "http://[::2]",
            "http://0.0.0.0",
            "http://192.168.0.1",
        ] {
            assert!(!Origin::parse(text).unwrap().is_loopback(), "{text}");
        }
    }
}
