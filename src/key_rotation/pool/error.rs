use std::{fmt, sync::Arc};

/// The reason why a pool cannot be built or changed. It never contains a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolError {
    /// The pool has no key.
    Empty,
    /// The key with this label is empty, or has characters that a header cannot carry, such as the
    /// line break at the end of a file.
    UnusableKey {
        /// The label.
        label: Arc<str>,
    },
    /// Two keys have this label.
    DuplicateLabel {
        /// The label.
        label: Arc<str>,
    },
    /// Two keys are the same secret. They would be one key with two counts of the same limit.
    DuplicateSecret {
        /// The label of the key that was given.
        label: Arc<str>,
        /// The label of the key that has the secret already.
        other: Arc<str>,
    },
    /// No key has this label.
    UnknownLabel {
        /// The label.
        label: Arc<str>,
    },
    /// The key with this label is the last of the pool; replace it instead.
    LastKey {
        /// The label.
        label: Arc<str>,
    },
    /// The name of the header or query parameter is empty or has invalid characters.
    InvalidName,
    /// Neither this environment variable nor a numbered one is set.
    MissingVariable {
        /// The name that was given.
        variable: Arc<str>,
    },
    /// This environment variable is set, but has no key.
    EmptyVariable {
        /// Its name.
        variable: Arc<str>,
    },
    /// The text of this environment variable is not Unicode.
    NonUnicodeVariable {
        /// Its name.
        variable: Arc<str>,
    },
    /// An origin is not of the form `https://host` or `https://host:port`.
    InvalidOrigin {
        /// Its number, counted from 1.
        number: usize,
    },
    /// A pool that shares what it knows has no origin. Other processes could not know whose keys these are.
    #[cfg(feature = "share")]
    SharedWithoutOrigin,
}

// === impl PoolError ===

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the pool has no key: give it at least one"),
            Self::UnusableKey { label } => write!(
                f,
                "the key {label:?} is empty or has a space, a line break or another character that \
                 no key has: trim it"
            ),
            Self::DuplicateLabel { label } => {
                write!(
                    f,
                    "two keys have the label {label:?}: give each a label of its own"
                )
            }
            Self::DuplicateSecret { label, other } => write!(
                f,
                "the keys {other:?} and {label:?} are the same secret: remove one of them"
            ),
            Self::UnknownLabel { label } => write!(f, "no key has the label {label:?}"),
            Self::LastKey { label } => {
                write!(
                    f,
                    "the key {label:?} is the pool's last: replace it, or add another first"
                )
            }
            Self::InvalidName => f.write_str(
                "the name of the header or query parameter for the keys is empty or not valid",
            ),
            Self::MissingVariable { variable } => write!(
                f,
                "neither the environment variable {variable:?} nor {:?} is set",
                format!("{variable}_1")
            ),
            Self::EmptyVariable { variable } => {
                write!(f, "the environment variable {variable:?} is set, but empty")
            }
            Self::NonUnicodeVariable { variable } => {
                write!(f, "the environment variable {variable:?} is not Unicode")
            }
            #[cfg(feature = "share")]
            Self::SharedWithoutOrigin => {
                f.write_str("the pool is shared and has no origin: name one with for_origin")
            }
            Self::InvalidOrigin { number } => write!(
                f,
                "origin {number} of the pool is not of the form https://host or https://host:port"
            ),
        }
    }
}

impl std::error::Error for PoolError {}
