//! What can be wrong with the configuration. Each message names the setting, where it came from and
//! the fix; none repeats a secret.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// A command-line flag, without its dashes.
    Flag(String),
    /// An environment variable.
    Env(String),
    /// A key in the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The dotted key.
        key: String,
    },
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag --{flag}"),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::File { path, key } => write!(f, "{}, key {key}", path.display()),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// Why the server does not start with this configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A value that cannot be used.
    #[error("setting `{key}` (from {origin}): {problem}; {fix}")]
    Invalid {
        /// The setting's key.
        key: String,
        /// Where the value came from.
        origin: Origin,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        fix: String,
    },
    /// A name that is no setting: most likely a typing error that would otherwise go unnoticed.
    #[error("{place} has `{name}`, which is no setting; did you mean `{nearest}`?")]
    Unknown {
        /// The unknown name.
        name: String,
        /// The file, or "the environment".
        place: String,
        /// The known name that looks most like it.
        nearest: String,
    },
    /// Two values for one setting in the same place.
    #[error("setting `{key}` is given twice, by {first} and by {second}; remove one of them")]
    Twice {
        /// The setting's key.
        key: String,
        /// One place.
        first: Origin,
        /// The other.
        second: Origin,
    },
    /// A file that was named cannot be read.
    #[error("cannot read {path} (named by {origin}): {problem}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Who named it.
        origin: Origin,
        /// What the operating system says.
        problem: String,
    },
    /// The configuration file is not TOML. The offending line is not repeated: it may hold a secret.
    #[error("{path}, line {line}, column {column}: {problem}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// What the parser says.
        problem: String,
    },
}
