//! Readers for single values: text in, value out, or what is wrong and how to fix it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use url::{Host, Url};

/// What is wrong, and the fix.
pub(crate) type Problem = (String, String);

fn problem<T>(problem: impl Into<String>, fix: impl Into<String>) -> Result<T, Problem> {
    Err((problem.into(), fix.into()))
}

/// Longest span of time that is accepted: a hundred years. Beyond it a typing error is more likely
/// than a wish, and sums of milliseconds stay far from overflow.
const MAX_DURATION: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// Reads `90s`, `15m`, `24h`, `30d` and sums such as `1h30m`; zero is refused.
pub(super) fn duration(text: &str) -> Result<Duration, Problem> {
    const FIX: &str = "write a number and a unit, s, m, h or d: 90s, 15m, 24h, 30d, 1h30m";
    let mut total = 0_u64;
    let mut rest = text;
    if rest.is_empty() {
        return problem("the duration is empty", FIX);
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let Ok(number) = number.parse::<u64>() else {
            return problem(format!("{text:?} is no duration"), FIX);
        };
        let unit = match after.chars().next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 60 * 60,
            Some('d') => 24 * 60 * 60,
            Some(_) => return problem(format!("{text:?} is no duration"), FIX),
            None => return problem(format!("{text:?} has no unit"), FIX),
        };
        let Some(sum) = number
            .checked_mul(unit)
            .and_then(|seconds| total.checked_add(seconds))
            .filter(|sum| *sum <= MAX_DURATION.as_secs())
        else {
            return problem(format!("{text:?} is longer than a hundred years"), FIX);
        };
        total = sum;
        rest = after.get(1..).unwrap_or_default();
    }
    if total == 0 {
        return problem(format!("{text:?} is no time at all"), FIX);
    }
    Ok(Duration::from_secs(total))
}

/// Reads a whole number within bounds.
pub(super) fn count(text: &str, least: u32, most: u32) -> Result<u32, Problem> {
    match text.parse::<u32>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => problem(
            format!("{text:?} is not a whole number from {least} to {most}"),
            "choose a number within these bounds",
        ),
    }
}

/// Reads `true` or `false`.
pub(super) fn switch(text: &str) -> Result<bool, Problem> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => problem(format!("{text:?} is neither true nor false"), "write true or false"),
    }
}

/// Reads `HOST:PORT`, where the host is an address or `localhost`.
pub(super) fn address(text: &str) -> Result<SocketAddr, Problem> {
    if let Some(port) = text.strip_prefix("localhost:")
        && let Ok(port) = port.parse()
    {
        return Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    }
    text.parse()
        .or_else(|_| problem(format!("{text:?} is no address with a port"), "write it as 127.0.0.1:8080 or [::1]:8080"))
}

/// Reads a comma-separated list of networks; a single address is a network of one.
pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, Problem> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| {
            item.parse::<IpNet>().or_else(|_| item.parse::<IpAddr>().map(IpNet::from)).or_else(|_| {
                problem(
                    format!("{item:?} is no network"),
                    "write addresses or CIDR blocks: 10.0.0.0/8, 192.0.2.7, fd00::/8",
                )
            })
        })
        .collect()
}

/// Reads an origin: http or https, a host, maybe a port, nothing else.
pub(super) fn origin(text: &str) -> Result<Url, Problem> {
    const FIX: &str = "write scheme and host alone, such as https://id.example.com";
    let Ok(url) = Url::parse(text) else {
        return problem("it is not an absolute URL", FIX);
    };
    if !matches!(url.scheme(), "http" | "https") {
        return problem(format!("the scheme {} is neither http nor https", url.scheme()), FIX);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return problem("it holds a user name or a password", FIX);
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return problem("it has a path, a query or a fragment", FIX);
    }
    Ok(url)
}

/// Reads where people go who have no session, as `Web::builder` takes it: nothing in it leads elsewhere, or to a page that sends them there.
pub(super) fn sign_in_path(text: &str) -> Result<String, Problem> {
    let of_path = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'?' | b'#');
    let is_local = text.starts_with('/') && !text.starts_with("//") && text.bytes().all(of_path);
    if !is_local {
        return problem("it is not a path on the public origin", "write a path alone, such as /api/auth/signin");
    }
    if ["/sessions", "/api/sessions", "/linked-accounts"].iter().any(|ours| text.trim_end_matches('/') == *ours) {
        return problem(
            "who has no session would be sent from that page to itself",
            "write the path of the application's sign-in page",
        );
    }
    Ok(text.to_owned())
}

/// Whether the URL's host is this machine itself, for which browsers treat http as secure enough
/// (Secure Contexts, section 3.1).
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a39_paths_stay_on_the_origin() {
        for text in ["/", "/signin", "/api/auth/signin", "/a//b"] {
            assert_eq!(sign_in_path(text).unwrap(), text);
        }
        for text in [
            "",
            "signin",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example/signin",
            "/a?b",
            "/a#b",
            "/a b",
            "/a\nb",
            "/\u{e4}",
            "/sessions",
            "/sessions/",
            "/linked-accounts",
        ] {
            assert!(sign_in_path(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn durations() {
        let seconds = |text| duration(text).unwrap().as_secs();
        assert_eq!(seconds("90s"), 90);
        assert_eq!(seconds("15m"), 900);
        assert_eq!(seconds("24h"), 86_400);
        assert_eq!(seconds("30d"), 2_592_000);
        assert_eq!(seconds("1h30m"), 5_400);
        for bad in
            ["", "30", "0s", "0d0h", "1w", "-1s", "1.5h", "h", "1 h", "s1", "99999999999999999999d", "40000d", "1é"]
        {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(duration("30").unwrap_err().0.contains("no unit"));
    }

    #[test]
    fn addresses() {
        assert_eq!(address("localhost:1").unwrap(), "127.0.0.1:1".parse().unwrap());
        assert_eq!(address("[::1]:80").unwrap(), "[::1]:80".parse().unwrap());
        for bad in ["8080", ":8080", "127.0.0.1", "example.com:80", "127.0.0.1:99999"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_and_single_addresses() {
        assert_eq!(
            networks("10.0.0.0/8, 192.0.2.7,fd00::/8,").unwrap(),
            ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"].map(|net| net.parse::<IpNet>().unwrap())
        );
        assert!(networks("10.0.0.0/33").is_err());
        assert!(networks("proxy.example.com").is_err());
    }

    #[test]
    fn origins() {
        assert!(origin("https://id.example.com").is_ok());
        assert!(origin("https://id.example.com:8443/").is_ok());
        for bad in [
            "id.example.com",
            "ftp://id.example.com",
            "https://a:b@id.example.com",
            "https://id.example.com/app",
            "https://id.example.com/?q",
            "https://id.example.com/#f",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn loopback_is_this_machine_only() {
        for yes in ["http://localhost", "http://a.localhost:1", "http://127.9.9.9", "http://[::1]:8"] {
            assert!(is_loopback(&Url::parse(yes).unwrap()), "{yes}");
        }
        for no in
            ["http://0.0.0.0", "http://10.0.0.1", "http://localhost.example.com", "http://notlocalhost", "http://[::2]"]
        {
            assert!(!is_loopback(&Url::parse(no).unwrap()), "{no}");
        }
    }
}
