//! Where a browser goes after sign-in and sign-out: only ever to this origin (threat A39).

use hallpass_axum::Origin;
use url::Url;

/// Longest target, in bytes.
const MAX_BYTES: usize = 2_048;

/// The absolute address to go to when `asked` was asked for: a path on this origin, or an address of this origin. Anything else, and nothing,
/// is the origin itself.
///
/// The result is ASCII without control characters (the URL parser writes everything else as escapes), so it cannot end a header
/// (threat A54).
pub(crate) fn resolve(origin: &Origin, asked: Option<&str>) -> String {
    asked.and_then(|asked| own(origin, asked)).map_or_else(|| origin.as_str().to_owned(), String::from)
}

/// `asked` as an address of this origin, or `None`.
fn own(origin: &Origin, asked: &str) -> Option<Url> {
    // Browsers drop tabs and line breaks inside an address, trim blanks, and read a backslash as a slash. What a browser would read
    // differently than this program is refused before it is parsed.
    let strange = |c: char| c == '\\' || c.is_control() || c.is_whitespace();
    if asked.len() > MAX_BYTES || asked.contains(strange) {
        return None;
    }
    let url = if asked.starts_with('/') {
        if asked.starts_with("//") {
            return None;
        }
        Url::parse(&format!("{}{asked}", origin.as_str())).ok()?
    } else {
        let scheme_end = asked.find("://")?;
        if !matches!(asked.get(..scheme_end)?.to_ascii_lowercase().as_str(), "http" | "https") {
            return None;
        }
        Url::parse(asked).ok()?
    };
    let plain = url.username().is_empty() && url.password().is_none();
    (plain && url.origin().ascii_serialization() == origin.as_str()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(asked: &str) -> String {
        resolve(&Origin::parse("https://id.example").unwrap(), Some(asked))
    }

    #[test]
    fn own_targets_are_kept() {
        for (asked, target) in [
            ("/", "https://id.example/"),
            ("/sessions?a=b#c", "https://id.example/sessions?a=b#c"),
            ("/a//b", "https://id.example/a//b"),
            ("/%2F%2Fevil.example", "https://id.example/%2F%2Fevil.example"),
            ("/ä", "https://id.example/%C3%A4"),
            ("https://id.example/x", "https://id.example/x"),
            ("HTTPS://ID.EXAMPLE:443/x", "https://id.example/x"),
            ("/@evil.example", "https://id.example/@evil.example"),
            ("/.evil.example", "https://id.example/.evil.example"),
        ] {
            assert_eq!(resolved(asked), target, "{asked}");
        }
    }

    #[test]
    fn a39_everything_else_is_the_origin() {
        let long = format!("/{}", "x".repeat(MAX_BYTES));
        for asked in [
            "",
            "sessions",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "\t//evil.example",
            " //evil.example",
            " /sessions",
            "/a\r\nSet-Cookie: x=y",
            "/a\u{0}",
            "/\u{85}/evil.example",
            "https://evil.example",
            "https:evil.example",
            "https:/evil.example",
            "https:///evil.example",
            "https://evil.example/https://id.example",
            "https://id.example.evil.example/",
            "https://id.example@evil.example/",
            "https://user:password@id.example/",
            "https://user@id.example/",
            "https://evil.example\\@id.example/",
            "https://id.example:8443/",
            "http://id.example/",
            "https://id.exampl\u{0435}/",
            "https://[id.example",
            "javascript:alert(1)",
            "javascript://id.example/%0aalert(1)",
            "data:text/html,x",
            "ftp://id.example/",
            "://id.example",
            &long,
        ] {
            assert_eq!(resolved(asked), "https://id.example", "{asked:?}");
        }
        assert_eq!(resolve(&Origin::parse("https://id.example").unwrap(), None), "https://id.example");
    }

    #[test]
    fn a39_a_relative_target_stays_however_it_is_spelt() {
        for asked in ["/..//evil.example", "/./\u{2f}/evil.example", "/%2e%2e//evil.example", "/x/..//evil.example"] {
            let target = Url::parse(&resolved(asked)).unwrap();
            assert_eq!(target.host_str(), Some("id.example"), "{asked}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a39_a54_any_text_stays_on_the_origin_and_fits_a_header(asked in "[/\\\\a-z:@.?#%\\t\\r\\n \\PC]{0,40}") {
            let target = resolved(&asked);
            proptest::prop_assert!(target == "https://id.example" || target.starts_with("https://id.example/"));
            proptest::prop_assert!(http::HeaderValue::from_str(&target).is_ok());
            proptest::prop_assert!(target.bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
}
