//! The kind of a session, which chooses its policy.

use std::borrow::Cow;
use std::fmt;

/// The class of a session: a short name that chooses its [`Policy`](crate::Policy).
///
/// 1 to 32 characters of `a-z`, `0-9`, `_` and `-`, beginning with a letter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(Cow<'static, str>);

/// The text is no class name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no class name: use 1 to 32 characters of a-z, 0-9, _ and -, beginning with a letter")]
pub struct ClassError(pub String);

impl Class {
    /// A browser's session; its cookie ends with the browser.
    pub const WEB: Self = Self(Cow::Borrowed("web"));
    /// A browser's session whose cookie survives closing the browser ("remember me").
    pub const REMEMBERED: Self = Self(Cow::Borrowed("remembered"));
    /// A program's session, sent as a bearer token.
    pub const API: Self = Self(Cow::Borrowed("api"));

    /// Checks and wraps a class name. The three well-known names do not allocate.
    ///
    /// # Errors
    /// When the text has another form.
    pub fn new(name: &str) -> Result<Self, ClassError> {
        match name {
            "web" => return Ok(Self::WEB),
            "remembered" => return Ok(Self::REMEMBERED),
            "api" => return Ok(Self::API),
            _ => {}
        }
        let mut bytes = name.bytes();
        let well_formed = name.len() <= 32
            && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if well_formed { Ok(Self(Cow::Owned(name.to_owned()))) } else { Err(ClassError(name.to_owned())) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(Class::new("web"), Ok(Class::WEB));
        assert!(Class::new("kiosk-2").is_ok());
        for bad in ["", "2x", "Web", "a b", "-a", &"a".repeat(33)] {
            assert!(Class::new(bad).is_err(), "{bad}");
        }
    }
}
