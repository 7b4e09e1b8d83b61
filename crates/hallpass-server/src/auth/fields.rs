//! The fields of a posted form, or of the JSON object that stands for one.

use std::fmt;

use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use zeroize::Zeroizing;

/// Largest body, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 16 * 1024;
/// Most fields of one form.
const MAX_FIELDS: usize = 50;

/// The kinds of body a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// `application/x-www-form-urlencoded` alone.
    Form,
    /// That, or `application/json`, whose text fields count as fields.
    FormOrJson,
}

/// Names and values. Wiped when dropped; `Debug` shows names only, since one of the values is a password.
pub(crate) struct Fields(Vec<(String, Zeroizing<String>)>);

/// Why the body was not read: the status to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable(pub(crate) StatusCode);

impl IntoResponse for Unreadable {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl Fields {
    /// Reads a body. Nothing of a wrong type or above [`MAX_BODY_BYTES`] is parsed.
    ///
    /// A body without a type is taken only when it is empty: a type that is missing is how forms of other sites smuggle JSON
    /// past the browser's checks (ASVS 5.0, 3.5.2).
    pub(crate) async fn read(headers: &HeaderMap, body: Body, accepted: Accepted) -> Result<Self, Unreadable> {
        let kind = Kind::of(headers, accepted)?;
        // The body limit over all routes has answered a declared length; this holds for one that was not declared.
        let body = to_bytes(body, MAX_BODY_BYTES).await.map_err(|error| {
            Unreadable(if is_too_large(&error) { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST })
        })?;
        match kind {
            Kind::Missing if body.is_empty() => Ok(Self::none()),
            Kind::Missing => Err(Unreadable(StatusCode::UNSUPPORTED_MEDIA_TYPE)),
            Kind::Form => Ok(Self::of_form(&body)),
            Kind::Json => Self::of_json(&body).ok_or(Unreadable(StatusCode::BAD_REQUEST)),
        }
    }

    /// Of a request without a body.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// From the query part of an address.
    pub(crate) fn of_query(query: Option<&str>) -> Self {
        Self::of_form(query.unwrap_or_default().as_bytes())
    }

    fn of_form(bytes: &[u8]) -> Self {
        let fields = url::form_urlencoded::parse(bytes).take(MAX_FIELDS);
        Self(fields.map(|(name, value)| (name.into_owned(), Zeroizing::new(value.into_owned()))).collect())
    }

    fn of_json(bytes: &[u8]) -> Option<Self> {
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes).ok()?;
        let fields = object.into_iter().take(MAX_FIELDS);
        Some(Self(
            fields
                .filter_map(|(name, value)| match value {
                    serde_json::Value::String(text) => Some((name, Zeroizing::new(text))),
                    serde_json::Value::Bool(value) => Some((name, Zeroizing::new(value.to_string()))),
                    _ => None,
                })
                .collect(),
        ))
    }

    /// The value of the first field of the name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(each, _)| each == name).map(|(_, value)| value.as_str())
    }

    /// The value of the field of the name, if there is exactly one: of two, somebody else may look at the other (ASVS 5.0, 15.3.7).
    pub(crate) fn only(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(each, _)| each == name).map(|(_, value)| value.as_str());
        values.next().filter(|_| values.next().is_none())
    }

    /// As [`Fields::get`]; a field that is not there is empty.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Whether a box is ticked.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        matches!(self.text(name), "true" | "on" | "1")
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Whether a length limit is at the bottom of the error, whichever layer set it.
fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    // Layers wrap a few times, not without end.
    for _ in 0..8 {
        let Some(error) = cause else {
            return false;
        };
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

enum Kind {
    Form,
    Json,
    Missing,
}

impl Kind {
    fn of(headers: &HeaderMap, accepted: Accepted) -> Result<Self, Unreadable> {
        let refused = Unreadable(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let (kind, None) = (types.next(), types.next()) else {
            return Err(refused);
        };
        let Some(kind) = kind else {
            return Ok(Self::Missing);
        };
        let kind =
            kind.to_str().map_err(|_| refused)?.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match (kind.as_str(), accepted) {
            ("application/x-www-form-urlencoded", _) => Ok(Self::Form),
            ("application/json", Accepted::FormOrJson) => Ok(Self::Json),
            _ => Err(refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    async fn read(kind: Option<&str>, body: impl Into<Body>, accepted: Accepted) -> Result<Fields, StatusCode> {
        let mut headers = HeaderMap::new();
        if let Some(kind) = kind {
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
        }
        Fields::read(&headers, body.into(), accepted).await.map_err(|Unreadable(status)| status)
    }

    const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

    #[tokio::test]
    async fn forms_and_json_objects() {
        let fields = read(FORM, "email=a%40b&password=x+y%2Bz&remember=on&email=second", Accepted::Form).await.unwrap();
        assert_eq!((fields.text("email"), fields.text("password")), ("a@b", "x y+z"));
        assert!(fields.is_on("remember") && fields.get("callbackUrl").is_none());
        let typed = Some("Application/JSON; charset=utf-8");
        let fields =
            read(typed, r#"{"csrfToken":"t","data":{"a":1},"remember":true}"#, Accepted::FormOrJson).await.unwrap();
        assert_eq!(fields.text("csrfToken"), "t");
        assert!(fields.is_on("remember") && fields.get("data").is_none());
        assert!(read(None, "", Accepted::Form).await.unwrap().get("a").is_none());
    }

    #[tokio::test]
    async fn wrong_types_and_sizes_are_refused() {
        let unsupported = Some(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        for kind in ["text/plain", "multipart/form-data; boundary=x", "application/jsonx", "application/json+x", ""] {
            assert_eq!(read(Some(kind), "a=b", Accepted::FormOrJson).await.err(), unsupported, "{kind}");
        }
        assert_eq!(read(Some("application/json"), "{}", Accepted::Form).await.err(), unsupported);
        assert_eq!(read(None, "a=b", Accepted::FormOrJson).await.err(), unsupported);
        let broken = read(Some("application/json"), "[1]", Accepted::FormOrJson).await.err();
        assert_eq!(broken, Some(StatusCode::BAD_REQUEST));
        let fits = format!("a={}", "x".repeat(MAX_BODY_BYTES - 2));
        assert!(read(FORM, fits.clone(), Accepted::Form).await.is_ok());
        let large = read(FORM, format!("{fits}x"), Accepted::Form).await.err();
        assert_eq!(large, Some(StatusCode::PAYLOAD_TOO_LARGE));
    }

    #[test]
    fn a52_debug_shows_no_value() {
        let shown = format!("{:?}", Fields::of_query(Some("password=hunter22hunter22")));
        assert!(shown.contains("password") && !shown.contains("hunter22"));
    }
}
