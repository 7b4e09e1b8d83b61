//! Times as text: the one place where milliseconds become a calendar date.

use hallpass_core::Timestamp;

/// RFC 3339 in UTC with milliseconds: `2026-11-24T06:45:00.123Z`.
///
/// ```
/// use hallpass_axum::rfc3339;
/// use hallpass_core::Timestamp;
///
/// assert_eq!(rfc3339(Timestamp::from_millis(1_795_502_700_123)), "2026-11-24T06:45:00.123Z");
/// ```
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    formatted(at, "%Y-%m-%dT%H:%M:%S%.3fZ").unwrap_or_else(|| String::from("9999-12-31T23:59:59.999Z"))
}

/// For people: `24 Nov 2026, 06:45 UTC`. The page's modules show it in the reader's own zone instead.
pub(crate) fn for_people(at: Timestamp) -> String {
    formatted(at, "%-d %b %Y, %H:%M UTC").unwrap_or_else(|| String::from("31 Dec 9999, 23:59 UTC"))
}

/// `None` in the last hours of the year 9999, which jiff cannot represent and only [`Timestamp::NEVER`] lies in.
fn formatted(at: Timestamp, form: &str) -> Option<String> {
    let at = jiff::Timestamp::from_millisecond(at.as_millis()).ok()?;
    jiff::fmt::strtime::format(form, at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_bounds() {
        for (millis, machine, people) in [
            (0, "1970-01-01T00:00:00.000Z", "1 Jan 1970, 00:00 UTC"),
            (1_795_502_700_007, "2026-11-24T06:45:00.007Z", "24 Nov 2026, 06:45 UTC"),
            (1_772_323_199_999, "2026-02-28T23:59:59.999Z", "28 Feb 2026, 23:59 UTC"),
            (Timestamp::NEVER.as_millis(), "9999-12-31T23:59:59.999Z", "31 Dec 9999, 23:59 UTC"),
        ] {
            let at = Timestamp::from_millis(millis);
            assert_eq!((rfc3339(at).as_str(), for_people(at).as_str()), (machine, people));
        }
    }
}
