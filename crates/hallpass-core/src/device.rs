//! What a user agent says about a device, for people to read.

use std::borrow::Cow;

use woothee::parser::Parser;

/// The kind of a device, for an icon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceKind {
    /// A desktop or laptop computer.
    Desktop,
    /// A phone.
    Phone,
    /// A tablet.
    Tablet,
    /// A program: crawler, script, command-line client.
    Program,
    /// Not recognised.
    Unknown,
}

impl DeviceKind {
    /// The name used in JSON and CSS.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Desktop => "desktop",
            Self::Phone => "phone",
            Self::Tablet => "tablet",
            Self::Program => "program",
            Self::Unknown => "unknown",
        }
    }
}

/// A readable description of the device behind a user agent. Made when listing; stores keep the raw text.
///
/// ```
/// use hallpass_core::Device;
///
/// let device = Device::parse("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0");
/// assert_eq!(device.name, "Firefox on Linux");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// For people: "Firefox on Linux".
    pub name: String,
    /// The browser or program, if recognised.
    pub browser: Option<Cow<'static, str>>,
    /// The operating system, if recognised.
    pub os: Option<Cow<'static, str>>,
    /// The kind, for an icon.
    pub kind: DeviceKind,
}

impl Device {
    /// Reads a user agent. Costs a few microseconds and up to four allocations.
    #[must_use]
    pub fn parse(user_agent: &str) -> Self {
        let parsed = Parser::new().parse(user_agent);
        // "HTTP Library" says less than the product's own name ("curl").
        let known = |text: &str| text != "UNKNOWN" && text != "HTTP Library" && !text.is_empty();
        let browser = parsed
            .as_ref()
            .filter(|result| known(result.name))
            .map(|result| Cow::from(browser_name(result.name, user_agent)))
            .or_else(|| program_name(user_agent).map(Cow::from));
        let os = parsed.as_ref().filter(|result| known(result.os)).map(|result| Cow::from(os_name(result.os)));
        let kind =
            kind(parsed.as_ref().map_or("", |result| result.category), os.as_deref(), browser.is_some(), user_agent);
        let name = match (&browser, &os) {
            (Some(browser), Some(os)) => format!("{browser} on {os}"),
            (Some(browser), None) => browser.clone().into_owned(),
            (None, Some(os)) => format!("Browser on {os}"),
            (None, None) => String::from("Unknown device"),
        };
        Self { name, browser, os, kind }
    }
}

fn browser_name(name: &str, user_agent: &str) -> String {
    // woothee knows no Samsung Internet and calls it Chrome.
    if user_agent.contains("SamsungBrowser/") {
        return String::from("Samsung Internet");
    }
    name.to_owned()
}

fn os_name(os: &str) -> String {
    match os {
        "Mac OSX" | "Mac OS Classic" => "macOS",
        "iPhone" | "iOS" | "iPod" => "iOS",
        "iPad" => "iPadOS",
        "ChromeOS" => "ChromeOS",
        // "Windows 7", "Windows UNKNOWN Ver" and so on: user agents have frozen the version, so it would mislead.
        windows if windows.starts_with("Windows") && !windows.starts_with("Windows Phone") => "Windows",
        other => other,
    }
    .to_owned()
}

/// The product of a program's user agent: `curl/8.5.0` is `curl`. Only plain names, so that no markup poses as one.
fn program_name(user_agent: &str) -> Option<String> {
    let product = user_agent.split([' ', '/']).next()?;
    let plain = (2..=32).contains(&product.len())
        && product.starts_with(|c: char| c.is_ascii_alphabetic())
        && product.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.');
    (plain && product != "Mozilla" && user_agent.contains('/')).then(|| product.to_owned())
}

fn kind(category: &str, os: Option<&str>, named: bool, user_agent: &str) -> DeviceKind {
    match category {
        "pc" => DeviceKind::Desktop,
        "smartphone" | "mobilephone" => {
            let tablet = os == Some("iPadOS") || user_agent.contains("Tablet");
            // Android tablets leave "Mobile" out of their user agent.
            let android_tablet = os == Some("Android") && !user_agent.contains("Mobile");
            if tablet || android_tablet { DeviceKind::Tablet } else { DeviceKind::Phone }
        }
        "crawler" => DeviceKind::Program,
        _ if named && !user_agent.starts_with("Mozilla/") => DeviceKind::Program,
        _ => DeviceKind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_user_agents_have_readable_names() {
        let table = [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox on Linux",
                DeviceKind::Desktop,
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36",
                "Chrome on Windows",
                DeviceKind::Desktop,
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36 Edg/150.0.0.0",
                "Edge on Windows",
                DeviceKind::Desktop,
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
                "Safari on macOS",
                DeviceKind::Desktop,
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
                "Safari on iOS",
                DeviceKind::Phone,
            ),
            (
                "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
                DeviceKind::Phone,
            ),
            (
                "Mozilla/5.0 (Linux; Android 15; SM-X710) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36",
                "Chrome on Android",
                DeviceKind::Tablet,
            ),
            ("curl/8.5.0", "curl", DeviceKind::Program),
            ("", "Unknown device", DeviceKind::Unknown),
            ("<script>alert(1)</script>", "Unknown device", DeviceKind::Unknown),
        ];
        for (user_agent, name, kind) in table {
            let device = Device::parse(user_agent);
            assert_eq!((device.name.as_str(), device.kind), (name, kind), "{user_agent}");
        }
    }
}
