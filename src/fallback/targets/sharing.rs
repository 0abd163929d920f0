//! The limits of targets that other processes share.

use std::time::Duration;

use tokio::time::Instant;

use super::{Account, TargetId, Targets};
use crate::{
    fallback::Target,
    quota::{FleetCounts, SharedCandidates, SharedLimit},
    share::{Id, Sharing},
};

/// Makes the ids of the targets of a layer.
#[derive(Clone)]
pub(in crate::fallback) struct TargetSharing {
    share: Sharing,
    longest_guess: Duration,
    /// The accounts of the targets with credentials of their own.
    accounts: Vec<Id>,
}

// === impl TargetSharing ===

impl TargetSharing {
    pub(in crate::fallback) fn new(
        share: Sharing,
        targets: &[Target],
        longest_guess: Duration,
    ) -> Self {
        let account = |target: &Target| {
            let mut parts = vec![&b"account of target"[..]];
            parts.extend(target.own_fields().flat_map(|(name, value)| [name, value]));
            share.name().id(parts)
        };
        let accounts = targets.iter().map(account).collect();
        Self {
            share,
            longest_guess,
            accounts,
        }
    }

    /// Returns what the id of a target is made of, whatever its model; `None` if other processes cannot know the
    /// target, because its origin is not known or it has a key that is known here by a label.
    fn id(&self, target: &TargetId) -> Option<Id> {
        let origin = target.origin.as_ref()?.to_text();
        let account = match &target.account {
            Account::Any => [0; 16],
            Account::Target(index) => self.accounts.get(*index)?.to_bytes(),
            Account::Key(_) => return None,
        };
        let path = target.base_path.as_bytes();
        let parts = [&b"target"[..], origin.as_bytes(), path, &account];
        Some(self.share.name().id(parts))
    }
}

// === impl Targets ===

impl Targets {
    /// Shares what is known of the targets.
    pub(in crate::fallback) fn shared(self, sharing: TargetSharing) -> Self {
        Self {
            sharing: Some(sharing),
            ..self
        }
    }

    pub(super) fn share(&self) -> Option<Sharing> {
        self.sharing.as_ref().map(|sharing| sharing.share.clone())
    }
}

impl SharedCandidates for Targets {
    /// A call that waits for a lease would rather be sent to another target.
    const ARE_LEASED: bool = false;

    fn longest_guess(&self) -> Duration {
        let sharing = self.sharing.as_ref();
        sharing.map_or(Duration::ZERO, |sharing| sharing.longest_guess)
    }

    fn visit_shared(&mut self, _now: Instant, visit: &mut dyn FnMut(SharedLimit<'_>)) {
        let Some(sharing) = &self.sharing else {
            return;
        };
        for (id, target) in self.limits.iter_mut() {
            if target.share_id.is_none() {
                target.share_id = sharing.id(id);
            }
            let Some(base) = target.share_id else {
                continue;
            };
            visit(SharedLimit {
                limit: &mut target.limit,
                traits: &mut target.traits,
                counts: FleetCounts::Requests,
                is_of_use: true,
                base,
                extra: id.model.as_ref().map(|model| model.as_bytes()),
            });
        }
    }
}
