//! What a provider says of the user whom it has authenticated.

/// Most authentication methods that are kept of an ID token, and their greatest length.
const MAX_METHODS: usize = 10;
const MAX_METHOD_BYTES: usize = 32;
/// Greatest length of a subject, in bytes (OpenID Connect Core 1.0, section 2), and of the other texts.
const MAX_BYTES: usize = 255;

/// The facts, checked. Texts are bounded and hold no NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authenticated {
    pub(crate) subject: String,
    pub(crate) email: Option<String>,
    pub(crate) email_verified: bool,
    pub(crate) name: Option<String>,
    /// The provider's session.
    pub(crate) sid: Option<String>,
    /// The authentication context class that was reached.
    pub(crate) acr: Option<String>,
    /// When the user proved it there, in seconds.
    pub(crate) auth_time: Option<i64>,
    /// When the provider said so, in seconds.
    pub(crate) issued_at: Option<i64>,
    /// How (RFC 8176); empty when the provider does not say.
    pub(crate) methods: Vec<String>,
}

impl Authenticated {
    /// `None` for a subject that cannot be one.
    pub(crate) fn new(subject: &str) -> Option<Self> {
        Some(Self {
            subject: bounded(subject)?,
            email: None,
            email_verified: false,
            name: None,
            sid: None,
            acr: None,
            auth_time: None,
            issued_at: None,
            methods: Vec::new(),
        })
    }

    /// Keeps those that fit.
    pub(crate) fn with_methods<'a>(mut self, methods: impl Iterator<Item = &'a str>) -> Self {
        let sound = |method: &&str| {
            (1..=MAX_METHOD_BYTES).contains(&method.len()) && method.bytes().all(|byte| byte.is_ascii_graphic())
        };
        self.methods = methods.filter(sound).take(MAX_METHODS).map(ToOwned::to_owned).collect();
        self
    }
}

/// The text, if it can be kept as it is: a cut one would be another's.
pub(crate) fn bounded(text: &str) -> Option<String> {
    ((1..=MAX_BYTES).contains(&text.len()) && !text.contains('\0')).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_kept_whole_is_not_kept() {
        assert!(Authenticated::new("").is_none());
        assert!(Authenticated::new("a\0b").is_none());
        assert!(Authenticated::new(&"x".repeat(256)).is_none());
        let known = Authenticated::new(&"x".repeat(255)).unwrap();
        let long = "y".repeat(33);
        let methods = ["pwd", "", "a b", &long, "otp"];
        assert_eq!(known.with_methods(methods.into_iter()).methods, ["pwd", "otp"]);
    }
}
