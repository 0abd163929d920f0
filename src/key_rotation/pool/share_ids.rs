//! The ids by which other processes know the limits of keys.

use crate::{
    request::Origin,
    share::{Id, Sharing},
};

/// Makes the ids of a pool that shares what it knows.
pub(super) struct KeySharing {
    pub(super) share: Sharing,
    /// The origins that the keys are for. What another provider says of a key must not count here.
    origins: String,
}

/// The ids of a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyShareIds {
    pub(super) key: Id,
    /// That of its given group, or the id of its group if no other key is in it.
    pub(super) group: Id,
}

// === impl KeySharing ===

impl KeySharing {
    pub(super) fn new(share: Sharing, origins: &[Origin]) -> Self {
        let mut texts: Vec<_> = origins.iter().map(Origin::to_text).collect();
        texts.sort_unstable();
        Self {
            share,
            origins: texts.join(" "),
        }
    }

    pub(super) fn ids(&self, secret: &str, group: Option<&str>) -> KeyShareIds {
        let id = |kind: &str, of: &str| {
            let parts = [kind, &self.origins, of];
            self.share.name().id(parts.map(str::as_bytes))
        };
        KeyShareIds {
            key: id("key", secret),
            group: match group {
                Some(name) => id("group", name),
                None => id("group of key", secret),
            },
        }
    }
}
