//! What is known of the group of a key, and from where.

use std::sync::Arc;

/// How it is known that keys share their limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum GroupSource {
    /// By [`Key::group`](crate::key_rotation::Key::group).
    Given,
    /// By headers of responses that name the account.
    Named,
    /// By the remaining counts that responses report.
    Inferred,
}

/// What is known of the account of a key without a given group.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyAccount {
    /// The account that its responses name.
    pub(super) name: Option<Arc<str>>,
    /// How often that has changed.
    pub(super) renamed: u8,
    /// Whether its counts have shown that it shares its limits with other keys.
    pub(super) is_inferred: bool,
}

// === impl GroupSource ===

impl GroupSource {
    /// Returns its name: `given`, `named` or `inferred`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Named => "named",
            Self::Inferred => "inferred",
        }
    }
}
