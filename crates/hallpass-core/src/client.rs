//! Where a session was begun from.

use std::net::IpAddr;
use std::sync::Arc;

/// The longest user agent that is kept, in bytes; a longer one is cut at a character.
pub const MAX_USER_AGENT_BYTES: usize = 512;

/// The client that began a session: its address and user agent, as far as known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Client {
    /// The address, from a trusted source (see the web layer's trusted proxies).
    pub ip: Option<IpAddr>,
    /// The user agent: raw text, never markup. Shared by the sessions in memory that have the same.
    pub user_agent: Option<Arc<str>>,
}

impl Client {
    /// From an address and the bytes of a `User-Agent` header.
    ///
    /// Bytes that are no UTF-8 and control characters (C0, DEL, C1: the carriers of terminal escapes) become U+FFFD, and the
    /// text is cut at [`MAX_USER_AGENT_BYTES`] (OWASP ASVS 5.0, 16.4.1; abuse cases A34 and A53).
    #[must_use]
    pub fn new(ip: Option<IpAddr>, user_agent: Option<&[u8]>) -> Self {
        let user_agent = user_agent.map(clean).filter(|text| !text.is_empty()).map(Arc::from);
        Self { ip: ip.map(|ip| ip.to_canonical()), user_agent }
    }
}

fn clean(bytes: &[u8]) -> String {
    // A character has at least one byte, so nothing beyond this many bytes can be kept.
    let bytes = &bytes[..bytes.len().min(2 * MAX_USER_AGENT_BYTES)];
    let mut text: String = String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect();
    let end = text.floor_char_boundary(MAX_USER_AGENT_BYTES);
    text.truncate(end);
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a53_control_characters_and_broken_utf8_do_not_survive() {
        let client = Client::new(None, Some(b"A\x1b[31mred\x9b\xff\xc2\x9bB\0"));
        let text = client.user_agent.unwrap();
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert!(text.starts_with('A') && text.contains("[31mred"), "{text:?}");
    }

    #[test]
    fn a34_eight_kilobytes_are_cut_at_a_character() {
        let client = Client::new(None, Some("é".repeat(4096).as_bytes()));
        assert_eq!(client.user_agent.unwrap().len(), MAX_USER_AGENT_BYTES);
    }

    #[test]
    fn addresses_are_canonical() {
        let client = Client::new(Some("::ffff:192.0.2.1".parse().unwrap()), None);
        assert_eq!(client.ip, Some("192.0.2.1".parse().unwrap()));
    }
}
