//! Milliseconds inside, RFC 3339 outside.

/// `ms` since the epoch as RFC 3339 in UTC with milliseconds, such as `2026-01-31T08:15:30.250Z`.
///
/// A time outside the years that RFC 3339 can write (-009999 to 9999) is shown as its number.
///
/// ```
/// assert_eq!(hallpass_server::timestamp::rfc3339(0), "1970-01-01T00:00:00.000Z");
/// ```
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn three_digits_always() {
        assert_eq!(rfc3339(1_769_847_330_250), "2026-01-31T08:15:30.250Z");
        assert_eq!(rfc3339(1_000), "1970-01-01T00:00:01.000Z");
        assert_eq!(rfc3339(i64::MAX), i64::MAX.to_string());
    }
}
