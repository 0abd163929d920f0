//! The bound of model names.

/// The longest model name, because names from untrusted callers are kept and logged.
pub(super) const MAX_NAME_LENGTH: usize = 256;
