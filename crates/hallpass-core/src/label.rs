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
    /// Checks a label; text with nothing to see is no label.
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
        } else if text.chars().all(is_invisible) {
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

/// White space and what Unicode calls default ignorable, with the blanks that are drawn as nothing.
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}')
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
        for nothing in ["\u{202e}", "\u{2066}\u{200b}", "\u{3164}", "\u{feff} \u{ad}", "\u{2800}"] {
            assert_eq!(Label::new(nothing), Ok(None), "{nothing:?}");
        }
        assert!(Label::new("\u{1f469}\u{200d}\u{1f4bb}").unwrap().is_some(), "joined emoji are something");
        assert_eq!(Label::new(" Kitchen ").unwrap().unwrap().as_str(), "Kitchen");
        assert_eq!(Label::new("a\u{1b}[31m"), Err(LabelError::Control));
        assert!(Label::new(&"ü".repeat(64)).is_ok());
        assert_eq!(Label::new(&"x".repeat(65)), Err(LabelError::TooLong(65)));
    }
}
