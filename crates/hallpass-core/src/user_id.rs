//! Whose session it is: opaque text that the application chose.

use std::fmt;
use std::sync::Arc;

/// The longest user id, in bytes.
pub const MAX_USER_ID_BYTES: usize = 255;

/// A user id, opaque to hallpass: 1 to [`MAX_USER_ID_BYTES`] bytes of UTF-8 without NUL, compared byte for byte
/// (no case folding, no trimming, no normalisation). Cloning is cheap.
///
/// ```
/// use hallpass_core::UserId;
///
/// assert!(UserId::new("alice").is_ok());
/// assert_ne!(UserId::new("alice")?, UserId::new("Alice")?);
/// assert!(UserId::new("x".repeat(256)).is_err());
/// # Ok::<(), hallpass_core::UserIdError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Arc<str>);

/// Why a text is no user id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserIdError {
    /// Empty text would make everybody without an id one user.
    #[error("a user id must not be empty")]
    Empty,
    /// Longer than [`MAX_USER_ID_BYTES`]; nothing is ever cut.
    #[error("a user id has at most {MAX_USER_ID_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// Databases disagree about NUL in text, so it is refused everywhere.
    #[error("a user id must not contain the NUL character")]
    Nul,
}

impl UserId {
    /// Checks and wraps a user id. One allocation.
    ///
    /// # Errors
    /// When the text is empty, too long or contains NUL.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, UserIdError> {
        let text: Arc<str> = text.into();
        if text.is_empty() {
            Err(UserIdError::Empty)
        } else if text.len() > MAX_USER_ID_BYTES {
            Err(UserIdError::TooLong(text.len()))
        } else if text.contains('\0') {
            Err(UserIdError::Nul)
        } else {
            Ok(Self(text))
        }
    }

    /// Wraps what [`UserId::new`] has let pass before.
    pub(crate) fn checked_before(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<&str> for UserId {
    type Error = UserIdError;
    fn try_from(text: &str) -> Result<Self, UserIdError> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        assert_eq!(UserId::new(""), Err(UserIdError::Empty));
        assert_eq!(UserId::new("a\0b"), Err(UserIdError::Nul));
        assert!(UserId::new("x".repeat(255)).is_ok());
        assert_eq!(UserId::new("x".repeat(256)), Err(UserIdError::TooLong(256)));
        assert_eq!(UserId::new("é".repeat(128)), Err(UserIdError::TooLong(256)));
    }
}
