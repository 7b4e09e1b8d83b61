//! Reads our cookie out of a request, strictly and within bounds.
//!
//! A general cookie parser is the wrong tool here: percent-decoding, quoted strings and lenient white space are what attacks
//! on prefixed names are made of (A22 to A25). This one splits bytes and compares bytes.

use http::HeaderMap;
use http::header::COOKIE;

/// At most this many bytes of `Cookie` headers in one request.
pub(crate) const MAX_COOKIE_BYTES: usize = 16 * 1024;
/// At most this many cookies in one request.
pub(crate) const MAX_COOKIE_PAIRS: usize = 100;

/// The request carries more cookies than are read: answer 431 (RFC 6585, section 5). Ignoring the rest instead would let an
/// attacker push our cookie out of sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManyCookies;

/// Calls `found` with the raw value of each cookie named exactly `name`. No allocation; the work is bounded by
/// [`MAX_COOKIE_BYTES`].
///
/// All `Cookie` header lines count as one list, since HTTP/2 splits it (RFC 9113, section 8.2.3). A pair is what stands between
/// semicolons, trimmed of spaces and tabs at its ends; its name is what stands before the first `=`. A pair without `=`
/// has no name.
pub(crate) fn each_value<'a>(
    headers: &'a HeaderMap,
    name: &str,
    mut found: impl FnMut(&'a [u8]),
) -> Result<(), TooManyCookies> {
    let mut bytes = 0_usize;
    let mut pairs = 0_usize;
    for line in headers.get_all(COOKIE) {
        let line = line.as_bytes();
        bytes = bytes.saturating_add(line.len());
        if bytes > MAX_COOKIE_BYTES {
            return Err(TooManyCookies);
        }
        let mut rest = Some(line);
        while let Some(line) = rest {
            let (pair, after) = match memchr::memchr(b';', line) {
                Some(end) => (&line[..end], Some(&line[end + 1..])),
                None => (line, None),
            };
            rest = after;
            let pair = trim(pair);
            if pair.is_empty() {
                continue;
            }
            pairs += 1;
            if pairs > MAX_COOKIE_PAIRS {
                return Err(TooManyCookies);
            }
            if let Some(value) = pair.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) {
                found(value);
            }
        }
    }
    Ok(())
}

/// Takes away spaces and tabs at both ends, and nothing else: Unicode white space is part of a name (A23).
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const NAME: &str = "__Host-session";

    fn values(lines: &[&[u8]]) -> Result<Vec<Vec<u8>>, TooManyCookies> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        let mut found = Vec::new();
        each_value(&headers, NAME, |value| found.push(value.to_vec()))?;
        Ok(found)
    }

    fn one(line: &[u8]) -> Vec<Vec<u8>> {
        values(&[line]).unwrap()
    }

    #[test]
    fn plain_lists_are_read() {
        assert_eq!(one(b"__Host-session=tok"), [b"tok"]);
        assert_eq!(one(b"a=b; __Host-session=tok; c=d"), [b"tok"]);
        assert_eq!(one(b" \t__Host-session=tok\t ;;"), [b"tok"]);
        assert_eq!(one(b"a=b;__Host-session=x=y=="), [b"x=y=="], "the value goes on after a second =");
        assert_eq!(one(b"__Host-session="), [b""]);
        assert!(one(b"").is_empty());
        assert!(values(&[]).unwrap().is_empty());
        assert_eq!(values(&[b"a=b", b"__Host-session=tok"]).unwrap(), [b"tok"], "lines are one list");
    }

    #[test]
    fn a22_nameless_cookies_are_not_ours() {
        for line in [&b"=__Host-session=tok"[..], b"__Host-session", b"; =; __Host-sessiontok", b"==__Host-session=tok"]
        {
            assert!(one(line).is_empty(), "{line:?}");
        }
    }

    #[test]
    fn a23_no_other_spelling_of_the_name_is_ours() {
        for line in [
            &b"\xe2\x80\x80__Host-session=tok"[..],
            b"\xc2\xa0__Host-session=tok",
            b"\xc2\x85__Host-session=tok",
            b"__host-session=tok",
            b"__HOST-SESSION=tok",
            b"__Host-session =tok",
            b"__Host%2Dsession=tok",
            b"x__Host-session=tok",
            b"__Host-session.x=tok",
            b"\"__Host-session\"=tok",
            b"session=tok",
        ] {
            assert!(one(line).is_empty(), "{line:?}");
        }
    }

    #[test]
    fn a24_quotes_and_version_are_plain_bytes() {
        // To a parser of quoted strings, the cookie in the middle would be part of a value.
        assert_eq!(one(b"$Version=1; a=\"x; __Host-session=tok; y\""), [b"tok"]);
        assert_eq!(one(b"__Host-session=\"tok\""), [b"\"tok\""]);
        assert_eq!(one(b"__Host-session=a\\\"b"), [b"a\\\"b"]);
        assert_eq!(one(b"a=b, __Host-session=tok"), Vec::<Vec<u8>>::new(), "a comma separates nothing");
    }

    #[test]
    fn a25_each_cookie_of_our_name_is_reported() {
        assert_eq!(values(&[b"__Host-session=1; __Host-session=2", b"__Host-session=3"]).unwrap(), [b"1", b"2", b"3"]);
    }

    #[test]
    fn a20_a21_both_bounds_hold_over_all_lines_together() {
        let pairs = |n: usize| vec!["a="; n].join(";").into_bytes();
        assert!(values(&[&pairs(100)]).is_ok());
        assert_eq!(values(&[&pairs(101)]), Err(TooManyCookies));
        assert_eq!(values(&[&pairs(60), &pairs(41)]), Err(TooManyCookies));
        assert_eq!(values(&[&pairs(8000)]), Err(TooManyCookies));
        let long = |n: usize| format!("a={}", "x".repeat(n - 2)).into_bytes();
        assert!(values(&[&long(MAX_COOKIE_BYTES)]).is_ok());
        assert_eq!(values(&[&long(MAX_COOKIE_BYTES + 1)]), Err(TooManyCookies));
        assert_eq!(values(&[&long(MAX_COOKIE_BYTES), b"b"]), Err(TooManyCookies));
        assert!(
            values(&[&vec![b';'; MAX_COOKIE_BYTES]]).unwrap().is_empty(),
            "nothing between semicolons is no cookie"
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_only_as_slices_of_the_input(
            line in proptest::collection::vec(proptest::prop_oneof![
                4 => proptest::sample::select(b"; =\t\"_".to_vec()),
                3 => proptest::sample::select(NAME.as_bytes().to_vec()),
                1 => proptest::num::u8::ANY,
            ], 0..300),
        ) {
            // What no header can hold never arrives here.
            if HeaderValue::from_bytes(&line).is_ok() {
                for value in one(&line) {
                    let mut pair = format!("{NAME}=").into_bytes();
                    pair.extend_from_slice(&value);
                    proptest::prop_assert!(line.windows(pair.len()).any(|window| window == pair));
                    proptest::prop_assert!(!value.contains(&b';'));
                }
            }
        }

        #[test]
        fn our_cookie_is_found_at_every_place_among_others(
            others in proptest::collection::vec("[a-zA-Z$_]{0,8}(=[^;\\x00-\\x1f\\x7f]{0,8})?", 0..20),
            at in 0_usize..20,
            value in "[!-:<-~]{0,80}",
        ) {
            let mut pairs = others;
            let at = at.min(pairs.len());
            pairs.insert(at, format!("{NAME}={value}"));
            proptest::prop_assert_eq!(one(pairs.join("; ").as_bytes()), [value.into_bytes()]);
        }
    }
}
