//! A small JSON object that belongs to the application.

use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

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
///
/// Kept as its JSON text, with sorted keys and no blanks, and parsed at the first look: most requests never look.
#[derive(Clone)]
pub struct Attributes {
    text: Arc<str>,
    parsed: OnceLock<Map<String, Value>>,
}

static EMPTY: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("{}"));

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
        let text = serde_json::to_string(&object)?;
        if text.len() > MAX_ATTRIBUTES_BYTES {
            Err(AttributesError::TooLarge(text.len()))
        } else if text.contains("\\u0000") {
            Err(AttributesError::Nul)
        } else {
            Ok(Self { text: text.into(), parsed: OnceLock::from(object) })
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

    /// Takes text that [`Attributes::to_json`] gave, as a store kept it. It is not looked at before it is used; text that is no JSON object then
    /// reads as an empty one, so a store checks what others may have written. One allocation, none for an empty object.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        if text == "{}" { Self::default() } else { Self { text: text.into(), parsed: OnceLock::new() } }
    }

    /// The JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.text.as_ref().to_owned()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        &*self.text == "{}"
    }

    /// One value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map().get(key)
    }

    /// The whole object.
    #[must_use]
    pub fn as_map(&self) -> &Map<String, Value> {
        self.parsed.get_or_init(|| serde_json::from_str(&self.text).unwrap_or_default())
    }
}

impl Default for Attributes {
    fn default() -> Self {
        Self { text: Arc::clone(&EMPTY), parsed: OnceLock::new() }
    }
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Attributes {}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_text_reads_back_equal_whatever_the_order_of_its_keys_was() {
        let attributes = Attributes::from_json(r#"{"b": 1, "a": "x"}"#).unwrap();
        let stored = Attributes::from_stored(&attributes.to_json());
        assert_eq!(stored, attributes);
        assert_eq!(stored, Attributes::from_json(r#"{"a":"x","b":1}"#).unwrap());
        assert_eq!(stored.get("b").and_then(Value::as_u64), Some(1));
        assert_eq!(stored.as_map(), attributes.as_map());
        assert!(Attributes::from_stored("{}").is_empty() && Attributes::default() == Attributes::from_stored("{}"));
        assert!(Attributes::from_stored("garbage").as_map().is_empty());
    }

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
