//! A session as JSON.

use hallpass_core::{Device, Session};
use serde::Serialize;

use crate::rfc3339;

/// One session in a list, as existing clients read it. Shared by the HTTP API and the command line. It holds no token.
///
/// ```
/// # let json = serde_json::json!({"id": "...", "isCurrent": true});
/// // {"id": "0199...", "expires": "2026-12-24T06:45:00.000Z", "isCurrent": true, "createdAt": "...", "lastSeenAt": "...",
/// //  "authenticatedAt": "...", "device": {"name": "Firefox on Linux", "browser": "Firefox", "os": "Linux", "kind": "desktop",
/// //  "userAgent": "Mozilla/5.0 ..."}, "ip": "192.0.2.1", "label": null}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SessionJson {
    /// The public id; opaque to clients, who send it back to end the session.
    pub id: String,
    /// The idle deadline.
    pub expires: String,
    /// Whether it is the session of the request that asks.
    pub is_current: bool,
    /// When it was created.
    pub created_at: String,
    /// When it was last used.
    pub last_seen_at: String,
    /// When its user last authenticated.
    pub authenticated_at: String,
    /// The device.
    pub device: DeviceJson,
    /// The address it was begun from, if known.
    pub ip: Option<String>,
    /// The owner's name for it, if any.
    pub label: Option<String>,
}

/// A device, as its user agent describes it. All text, never markup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DeviceJson {
    /// For people: "Firefox on Linux".
    pub name: String,
    /// The browser or program, if recognised.
    pub browser: Option<String>,
    /// The operating system, if recognised.
    pub os: Option<String>,
    /// `desktop`, `phone`, `tablet`, `program` or `unknown`.
    pub kind: &'static str,
    /// The user agent itself, if there was one.
    pub user_agent: Option<String>,
}

impl SessionJson {
    /// Describes a session. Costs a few microseconds for the user agent.
    #[must_use]
    pub fn new(session: &Session, is_current: bool) -> Self {
        let user_agent = session.client.user_agent.as_deref();
        let device = Device::parse(user_agent.unwrap_or_default());
        Self {
            id: session.id.to_string(),
            expires: rfc3339(session.idle_expires_at),
            is_current,
            created_at: rfc3339(session.created_at),
            last_seen_at: rfc3339(session.last_seen_at),
            authenticated_at: rfc3339(session.authenticated_at),
            device: DeviceJson {
                name: device.name,
                browser: device.browser.map(Into::into),
                os: device.os.map(Into::into),
                kind: device.kind.as_str(),
                user_agent: user_agent.map(ToOwned::to_owned),
            },
            ip: session.client.ip.map(|ip| ip.to_string()),
            label: session.label.as_ref().map(|label| label.as_str().to_owned()),
        }
    }
}
