//! The client's address, behind proxies that are named.

use std::net::{IpAddr, SocketAddr};

use axum::extract::connect_info::{ConnectInfo, MockConnectInfo};
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use http::{Extensions, HeaderMap};
use ipnet::IpNet;

use crate::rejection::{ClientAddressRejection, Refusal, exchange};
use crate::session::audience;

/// The client's address, as [`Web::client_address`](crate::Web::client_address) finds it. `Option<ClientAddress>` is `None` where the server does
/// not tell the peer's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

fn of_request(parts: &Parts) -> Result<ClientAddress, Refusal> {
    exchange(parts)?.web.client_address(parts).map(ClientAddress).ok_or(Refusal::NoClientAddress)
}

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = ClientAddressRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        of_request(parts).map_err(|refusal| {
            if refusal == Refusal::NoClientAddress {
                tracing::error!(target: "hallpass", "the client's address is not known: serve with into_make_service_with_connect_info::<SocketAddr>()");
            }
            ClientAddressRejection { refusal, audience: audience(parts) }
        })
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for ClientAddress {
    type Rejection = ClientAddressRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        match of_request(parts) {
            Ok(address) => Ok(Some(address)),
            Err(Refusal::NoClientAddress) => Ok(None),
            Err(refusal) => Err(ClientAddressRejection { refusal, audience: audience(parts) }),
        }
    }
}

/// At most this many hops of `X-Forwarded-For` are followed.
const MAX_HOPS: usize = 32;

/// The address of the socket's peer, if the server provides it.
fn peer(extensions: &Extensions) -> Option<IpAddr> {
    let address = match extensions.get::<ConnectInfo<SocketAddr>>() {
        Some(ConnectInfo(address)) => address,
        None => &extensions.get::<MockConnectInfo<SocketAddr>>()?.0,
    };
    Some(address.ip().to_canonical())
}

/// The client of a request: the peer, unless it is a trusted proxy; then the rightmost address of `X-Forwarded-For` that is no trusted
/// proxy. What stands left of that was written by the client and is never looked at (A36).
pub(crate) fn client_address(trusted: &[IpNet], headers: &HeaderMap, extensions: &Extensions) -> Option<IpAddr> {
    Some(walk(trusted, peer(extensions)?, headers))
}

fn walk(trusted: &[IpNet], peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut client = peer;
    if !is_trusted(client) {
        return client;
    }
    // Several header lines are one list (RFC 9110, section 5.3).
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops.take(MAX_HOPS) {
        // Beyond an entry that cannot be read nothing can be believed: the proxy that wrote it is as far as we know.
        let Some(address) = hop_address(hop) else {
            break;
        };
        client = address;
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// One hop: IPv4 or IPv6, with or without a port, brackets or a zone id.
fn hop_address(hop: &[u8]) -> Option<IpAddr> {
    // The longest form, "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255%zone]:65535", is far shorter.
    let text = std::str::from_utf8(hop).ok()?.trim_matches([' ', '\t']);
    if text.len() > 80 {
        return None;
    }
    let host = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        if !port.is_empty() {
            port.strip_prefix(':')?.parse::<u16>().ok()?;
        }
        return ipv6(host);
    } else if text.bytes().filter(|byte| *byte == b':').count() == 1 {
        let (host, port) = text.split_once(':')?;
        port.parse::<u16>().ok()?;
        host
    } else if text.contains(':') {
        return ipv6(text);
    } else {
        text
    };
    host.parse().ok()
}

fn ipv6(text: &str) -> Option<IpAddr> {
    let address = match text.split_once('%') {
        Some((address, zone)) if !zone.is_empty() && zone.bytes().all(|b| b.is_ascii_alphanumeric()) => address,
        Some(_) => return None,
        None => text,
    };
    address.parse::<std::net::Ipv6Addr>().ok().map(|address| IpAddr::V6(address).to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn client(trusted: &[&str], peer: &str, lines: &[&str]) -> String {
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_str(line).unwrap());
        }
        let peer: IpAddr = peer.parse().unwrap();
        walk(&trusted, peer.to_canonical(), &headers).to_string()
    }

    #[test]
    fn a36_headers_of_untrusted_peers_are_ignored() {
        assert_eq!(client(&[], "203.0.113.9", &["192.0.2.1"]), "203.0.113.9");
        assert_eq!(client(&["10.0.0.0/8"], "203.0.113.9", &["192.0.2.1"]), "203.0.113.9");
        assert_eq!(client(&["10.0.0.0/8"], "203.0.113.9", &["10.0.0.1"]), "203.0.113.9");
    }

    #[test]
    fn a36_the_rightmost_untrusted_hop_is_the_client() {
        let proxies = &["10.0.0.0/8", "2001:db8:ffff::/48"];
        assert_eq!(client(proxies, "10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(
            client(proxies, "10.0.0.1", &["127.0.0.1, 203.0.113.9"]),
            "203.0.113.9",
            "the client wrote the first"
        );
        assert_eq!(client(proxies, "10.0.0.1", &["1.2.3.4, 203.0.113.9, 10.0.0.2"]), "203.0.113.9");
        assert_eq!(client(proxies, "10.0.0.1", &["1.2.3.4, 203.0.113.9", "10.0.0.2"]), "203.0.113.9", "one list");
        assert_eq!(
            client(proxies, "10.0.0.1", &["1.2.3.4", "203.0.113.9"]),
            "203.0.113.9",
            "the last line is the newest"
        );
        assert_eq!(client(proxies, "2001:db8:ffff::1", &["203.0.113.9 , 10.1.1.1"]), "203.0.113.9");
        assert_eq!(client(proxies, "10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3", "trusted to the end");
        assert_eq!(client(proxies, "10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn forms_of_addresses() {
        let proxies = &["10.0.0.0/8"];
        for (hop, address) in [
            ("203.0.113.9:4711", "203.0.113.9"),
            ("2001:db8::9", "2001:db8::9"),
            ("[2001:db8::9]", "2001:db8::9"),
            ("[2001:db8::9]:4711", "2001:db8::9"),
            ("fe80::1%eth0", "fe80::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("[::ffff:203.0.113.9]:80", "203.0.113.9"),
        ] {
            assert_eq!(client(proxies, "10.0.0.1", &[&format!("1.2.3.4, {hop}")]), address, "{hop}");
        }
        assert_eq!(client(proxies, "::ffff:10.0.0.1", &["203.0.113.9"]), "203.0.113.9", "a mapped peer is the proxy");
        assert_eq!(client(proxies, "10.0.0.1", &["203.0.113.9, ::ffff:10.0.0.2"]), "203.0.113.9");
    }

    #[test]
    fn junk_ends_the_walk_at_the_last_hop_that_is_known() {
        let proxies = &["10.0.0.0/8"];
        for junk in [
            "unknown",
            "",
            "_hidden",
            "203.0.113.9.1",
            "203.0.113.256",
            "0x7f.1",
            "203.0.113.9:",
            "203.0.113.9:99999",
            "203.0.113.9:x",
            "[2001:db8::9",
            "[203.0.113.9]",
            "[2001:db8::9]x",
            "fe80::1%",
            "fe80::1%<script>",
            "for=203.0.113.9",
            "\"203.0.113.9\"",
            "203.0.113.9\u{fc}",
        ] {
            assert_eq!(client(proxies, "10.0.0.1", &[&format!("1.2.3.4, {junk}, 10.0.0.2")]), "10.0.0.2", "{junk}");
            assert_eq!(client(proxies, "10.0.0.1", &[&format!("1.2.3.4, {junk}")]), "10.0.0.1", "{junk}");
        }
    }

    #[test]
    fn the_number_of_hops_is_bounded() {
        let many = vec!["10.0.0.2"; 100_000].join(",");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &[&format!("1.2.3.4,{many}")]), "10.0.0.2");
    }
}
