//! What is limited: a model at an origin, and whose account it is.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use crate::request::Origin;

/// What is limited: a model at an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::fallback) struct TargetId {
    pub(in crate::fallback) origin: Option<Origin>,
    /// One origin may serve several providers, each under its own path.
    pub(in crate::fallback) base_path: String,
    pub(in crate::fallback) model: Option<Arc<str>>,
    pub(in crate::fallback) account: Account,
}

/// Whose limits they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::fallback) enum Account {
    /// Those of every caller.
    Any,
    /// Those of a key that an outer layer has put on.
    Key(Arc<str>),
    /// Those of a target with its own credentials, by its index in the list, because names may be equal.
    Target(usize),
}

// === impl TargetId ===

impl Hash for TargetId {
    /// Hashes only the fields that differ most, because few targets share a model and an account.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.model.hash(state);
        self.account.hash(state);
    }
}
