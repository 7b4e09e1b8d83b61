//! A small JSON object that belongs to the application.

use serde_json::{Map, Value};

/// The largest attributes, in bytes of JSON text.
pub const MAX_ATTRIBUTES_BYTES: usize = 4096;

/// A bounded JSON object that the application keeps on a session (a tenant, a theme, a role).
///
/// It is no general key/value bag: it is written only by an explicit call, compare-and-swap on its version, so that
/// two requests never lose each other's change (A47).
///
/// ```
/// use hallpass_core::Attributes;
///
/// let attributes = Attributes::from_json(r#"{"tenant":"acme"}"#)?;
/// assert_eq!(attributes.get("tenant").and_then(|v| v.as_str()), Some("acme"));
/// # Ok::<(), hallpass_core::AttributesError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes(Map<String, Value>);

/// Why a value cannot be kept as attributes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttributesError {
    /// Longer than [`MAX_ATTRIBUTES_BYTES`]; nothing was written.
    #[error(
        "attributes have at most {MAX_ATTRIBUTES_BYTES} bytes of JSON, these have {0}; keep larger data in your own table"
    )]
    TooLarge(usize),
    /// No JSON object.
    #[error("attributes must be a JSON object: {0}")]
    NotAnObject(#[from] serde_json::Error),
    /// Databases disagree about NUL in text, so it is refused everywhere.
    #[error("attributes must not contain the NUL character")]
    Nul,
}

impl Attributes {
    /// Checks and wraps an object.
    ///
    /// # Errors
    /// When its JSON text is too large or contains NUL.
    pub fn new(object: Map<String, Value>) -> Result<Self, AttributesError> {
        let attributes = Self(object);
        let text = attributes.to_json();
        if text.len() > MAX_ATTRIBUTES_BYTES {
            Err(AttributesError::TooLarge(text.len()))
        } else if text.contains("\\u0000") {
            Err(AttributesError::Nul)
        } else {
            Ok(attributes)
        }
    }

    /// Parses and checks JSON text.
    ///
    /// # Errors
    /// When the text is no JSON object, too large, or contains NUL.
    pub fn from_json(text: &str) -> Result<Self, AttributesError> {
        if text.len() > 2 * MAX_ATTRIBUTES_BYTES {
            return Err(AttributesError::TooLarge(text.len()));
        }
        Self::new(serde_json::from_str(text)?)
    }

    /// Reads text that [`Attributes::to_json`] gave, as a store kept it; the bounds were checked when it was made. One pass.
    ///
    /// # Errors
    /// When the text is no JSON object.
    pub fn from_stored(text: &str) -> Result<Self, AttributesError> {
        Ok(Self(serde_json::from_str(text)?))
    }

    /// The JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_else(|_| String::from("{}"))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    /// The whole object.
    #[must_use]
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a35_bounds_are_errors_and_never_cut() {
        let fits = format!(r#"{{"k":"{}"}}"#, "x".repeat(MAX_ATTRIBUTES_BYTES - 8));
        assert_eq!(Attributes::from_json(&fits).unwrap().to_json(), fits);
        let over = format!(r#"{{"k":"{}"}}"#, "x".repeat(MAX_ATTRIBUTES_BYTES - 7));
        assert!(matches!(Attributes::from_json(&over), Err(AttributesError::TooLarge(_))));
        assert!(matches!(Attributes::from_json("[1]"), Err(AttributesError::NotAnObject(_))));
        assert!(matches!(Attributes::from_json(r#"{"a":"\u0000"}"#), Err(AttributesError::Nul)));
    }
}
