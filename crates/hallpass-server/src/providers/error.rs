//! Why a provider did not tell who somebody is.

/// What went wrong, by what the user can do about it. The texts are for the log: they hold no code, token or secret.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ProviderError {
    /// It did not answer, or not as it should. Later it may.
    #[error("the provider is unavailable: {0}")]
    Unavailable(String),
    /// It answered, and the answer is not to be believed, or it refused the code.
    #[error("the provider's answer is refused: {0}")]
    Refused(String),
    /// It does not know this server, or is not who the settings say.
    #[error("the provider is set up wrong: {0}")]
    Misconfigured(String),
}

impl ProviderError {
    pub(crate) fn unavailable(what: impl Into<String>) -> Self {
        Self::Unavailable(what.into())
    }

    pub(crate) fn refused(what: impl Into<String>) -> Self {
        Self::Refused(what.into())
    }
}
