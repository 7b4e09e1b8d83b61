//! Names of people, as entered.

/// A name to show: 1 to 200 bytes without surrounding blanks and without control or invisible
/// characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayName(String);

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameRefused {
    /// Nothing but blanks.
    #[error("the name is empty")]
    Empty,
    /// More than 200 bytes.
    #[error("the name is longer than 200 bytes")]
    TooLong,
    /// Control or invisible characters.
    #[error("the name holds control characters or characters that do not show")]
    Characters,
}

impl DisplayName {
    /// Trims and checks `text`.
    ///
    /// # Errors
    /// See [`NameRefused`].
    pub fn parse(text: &str) -> Result<Self, NameRefused> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NameRefused::Empty);
        }
        if text.len() > 200 {
            return Err(NameRefused::TooLong);
        }
        if crate::terminal_text::escape(text) != text {
            return Err(NameRefused::Characters);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        assert_eq!(DisplayName::parse(" Zoë Müller ").unwrap().as_str(), "Zoë Müller");
        assert_eq!(DisplayName::parse("  "), Err(NameRefused::Empty));
        assert!(DisplayName::parse(&"x".repeat(200)).is_ok());
        assert_eq!(DisplayName::parse(&"x".repeat(201)), Err(NameRefused::TooLong));
        assert_eq!(DisplayName::parse("a\u{1b}[0m"), Err(NameRefused::Characters));
    }
}
