//! Email addresses as account names.

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;

/// Most bytes of an address (RFC 5321, sections 4.5.3.1.3 and 4.1.2: 256 with the brackets).
const MAX_BYTES: usize = 254;

/// A normalised email address: NFKC, lower case, no surrounding blanks, exactly one `@`.
///
/// Two spellings that people take for one address are one account name. Whether mail arrives there is
/// not known.
///
/// ```
/// use hallpass_server::accounts::Email;
///
/// assert_eq!(Email::parse(" Alice@Example.COM ")?.as_str(), "alice@example.com");
/// # Ok::<(), hallpass_server::accounts::EmailRefused>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Email(Box<str>);

/// Why a text is no email address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmailRefused {
    /// More than 254 bytes.
    #[error("the email address is longer than 254 bytes")]
    TooLong,
    /// Not exactly one `@` with something on both sides.
    #[error("an email address has one @ with something on both sides")]
    Shape,
    /// Blanks, control or invisible characters.
    #[error("the email address holds blanks or characters that do not show")]
    Characters,
}

impl Email {
    /// Normalises and checks `text`. Work is bounded: anything over 1016 bytes is refused unread.
    ///
    /// # Errors
    /// See [`EmailRefused`].
    pub fn parse(text: &str) -> Result<Self, EmailRefused> {
        let text = text.trim();
        // NFKC can shrink a text, but never to a quarter of its bytes and below the bound by accident
        // that anybody would call an address.
        if text.len() > 4 * MAX_BYTES {
            return Err(EmailRefused::TooLong);
        }
        // Lower case can undo normal form (and a compatibility form can hide capitals), so both twice.
        let once: String = text.nfkc().collect::<String>().to_lowercase();
        let normal: String = once.nfkc().collect::<String>().to_lowercase();
        if normal.len() > MAX_BYTES {
            return Err(EmailRefused::TooLong);
        }
        if normal.chars().any(char::is_whitespace) || crate::terminal_text::escape(&normal) != normal {
            return Err(EmailRefused::Characters);
        }
        let mut parts = normal.split('@');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(local), Some(domain), None) if !local.is_empty() && !domain.is_empty() => {}
            _ => return Err(EmailRefused::Shape),
        }
        Ok(Self(normal.into()))
    }

    /// The normalised text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_address() {
        for text in ["alice@example.com", "  ALICE@Example.Com\n", "ａｌｉｃｅ＠example.com"] {
            assert_eq!(Email::parse(text).unwrap().as_str(), "alice@example.com");
        }
        // Composed and decomposed.
        assert_eq!(Email::parse("zoe\u{308}@x.org"), Email::parse("zo\u{eb}@x.org"));
    }

    #[test]
    fn refused() {
        for (text, why) in [
            ("", EmailRefused::Shape),
            ("@", EmailRefused::Shape),
            ("alice", EmailRefused::Shape),
            ("alice@", EmailRefused::Shape),
            ("@example.com", EmailRefused::Shape),
            ("a@b@c", EmailRefused::Shape),
            ("a＠b@c", EmailRefused::Shape),
            ("a b@c", EmailRefused::Characters),
            ("a\0@c", EmailRefused::Characters),
            ("a\u{1b}[31m@c", EmailRefused::Characters),
            ("a\u{200b}@c", EmailRefused::Characters),
            ("a\u{202e}@c", EmailRefused::Characters),
        ] {
            assert_eq!(Email::parse(text), Err(why), "{text:?}");
        }
        let at_bound = format!("{}@example.com", "a".repeat(242));
        assert_eq!(at_bound.len(), 254);
        assert!(Email::parse(&at_bound).is_ok());
        assert_eq!(Email::parse(&format!("a{at_bound}")), Err(EmailRefused::TooLong));
        // One character that normalises to eighteen.
        assert_eq!(Email::parse(&format!("{}@x.org", "\u{fdfa}".repeat(80))), Err(EmailRefused::TooLong));
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(local in "\\PC{1,20}", domain in "\\PC{1,20}") {
            if let Ok(email) = Email::parse(&format!("{local}@{domain}")) {
                prop_assert_eq!(Email::parse(email.as_str()), Ok(email));
            }
        }
    }
}
