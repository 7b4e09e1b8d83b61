//! Text from outside (user agents, names, labels), made safe to print on a terminal or write to a log.
//!
//! ASVS 16.4.1 (v5.0.0) and threat A53: an escape sequence in a user agent must show as text, not run.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` with everything that acts on a terminal or hides itself written out: control characters
/// (C0, DEL, C1), line and paragraph separators, direction overrides, zero-width and tag characters.
///
/// The result is one line. Allocates only when something had to be written out.
///
/// ```
/// use hallpass_server::terminal_text::escape;
///
/// assert_eq!(escape("Firefox on Linux"), "Firefox on Linux");
/// assert_eq!(escape("\u{1b}[31mred\r\n"), r"\u{1b}[31mred\r\n");
/// ```
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c if acts(c) => {
                // Writing to a String cannot fail.
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Whether the character does something other than show itself.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a53_escape_sequences_show_as_text() {
        let nasty = "\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31m\u{7f}\0\r\nX\u{202e}gnp.exe\u{2028}\u{200b}";
        let shown = escape(nasty);
        assert_eq!(shown, r"\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31m\u{7f}\u{0}\r\nX\u{202e}gnp.exe\u{2028}\u{200b}");
    }

    #[test]
    fn ordinary_text_is_untouched() {
        for text in ["", "Zoë Müller", "日本語", "a\\b", "🦀", "<b>&amp;</b>"] {
            assert!(matches!(escape(text), Cow::Borrowed(same) if same == text));
        }
    }

    proptest! {
        #[test]
        fn a53_nothing_acting_is_left(text in any::<String>()) {
            let shown = escape(&text);
            let acting = shown.chars().any(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c));
            prop_assert!(!acting);
        }
    }
}
