//! What a user calls a device.

use std::fmt;

/// The longest label, in characters.
pub const MAX_LABEL_CHARS: usize = 64;

/// A user's own name for a session ("Kitchen tablet"): 1 to [`MAX_LABEL_CHARS`] characters, trimmed, without control
/// characters. It is only ever shown as text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Label(String);

/// Why a text is no label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// Too long; nothing is ever cut.
    #[error("a label has at most {MAX_LABEL_CHARS} characters, this one has {0}")]
    TooLong(usize),
    /// Line breaks, escapes and other control characters (A53).
    #[error("a label must not contain control characters")]
    Control,
}

impl Label {
    /// Checks a label; blank text is no label.
    ///
    /// # Errors
    /// When the text is too long or contains control characters.
    pub fn new(text: &str) -> Result<Option<Self>, LabelError> {
        let text = text.trim();
        let chars = text.chars().count();
        if chars > MAX_LABEL_CHARS {
            Err(LabelError::TooLong(chars))
        } else if text.chars().any(char::is_control) {
            Err(LabelError::Control)
        } else if text.is_empty() {
            Ok(None)
        } else {
            Ok(Some(Self(text.to_owned())))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        assert_eq!(Label::new("  "), Ok(None));
        assert_eq!(Label::new(" Kitchen ").unwrap().unwrap().as_str(), "Kitchen");
        assert_eq!(Label::new("a\u{1b}[31m"), Err(LabelError::Control));
        assert!(Label::new(&"ü".repeat(64)).is_ok());
        assert_eq!(Label::new(&"x".repeat(65)), Err(LabelError::TooLong(65)));
    }
}
