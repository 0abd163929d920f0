//! The names of keys and groups, which are never used again.

/// A key for as long as it is in the pool; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyId(pub(super) u64);

/// Keys that share their limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupId(u64);

/// Which limits a request runs on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyScope {
    pub(super) key: KeyId,
    pub(super) group: GroupId,
    /// The slot of the model, which is known if the path or a body in memory names it.
    pub(super) model: Option<usize>,
}

// === impl GroupId ===

impl GroupId {
    pub(super) fn new(number: u64) -> Self {
        Self(number)
    }
}

#[cfg(test)]
impl KeyId {
    pub(super) fn new(number: u64) -> Self {
        Self(number)
    }

    pub(super) fn number(self) -> u64 {
        self.0
    }
}
