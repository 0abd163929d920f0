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
    /// An origin is not of the form `https://host` or `https://host:port`.
    InvalidOrigin {
        /// Its number, counted from 1.
        number: usize,
    },
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
            Self::InvalidOrigin { number } => write!(
                f,
                "origin {number} of the pool is not of the form https://host or https://host:port"
            ),
        }
    }
}

impl std::error::Error for PoolError {}
