use std::sync::{Arc, atomic::Ordering};

use tokio::time::Instant;

use super::{group::GroupSource, keys::Keys};
use crate::rejection::Reason;

/// The state of a key, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyState {
    /// Its label.
    pub label: Arc<str>,
    /// The group whose limits it shares: the given name, or else the account that responses name, or else the
    /// label of the first key that it is inferred to share its limits with.
    pub group: Option<Arc<str>>,
    /// From where the group is known; `None` without a group.
    pub group_source: Option<GroupSource>,
    /// Why the key, or its group, is on cooldown for every model; `None` if it is free.
    pub cooldown_reason: Option<Reason>,
    /// Until when the key is on cooldown for every model; `None` if it is free.
    pub cooldown_until: Option<Instant>,
    /// The models for which the key, or its group, is limited.
    pub limited_models: Vec<LimitedModel>,
    /// The number of requests that it was put on.
    pub uses: u64,
    /// The number of rejections that concern keys, without those that an inner layer has handled.
    pub rejections: u64,
    /// The number of calls that hold the key: reserved for their requests, or in flight.
    pub in_flight: usize,
}

/// A model for which a key is limited, while it may be free for others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitedModel {
    /// Its name.
    pub model: Arc<str>,
    /// The reason.
    pub reason: Reason,
    /// Until when.
    pub until: Instant,
}

// === impl KeyState ===

impl KeyState {
    pub(super) fn of(keys: &Keys, index: usize, now: Instant) -> Self {
        let entry = &keys.entries[index];
        let (group, group_source) = keys.group_of(index).unzip();
        let end = keys.end_of_all(index, now);
        let models = keys
            .limits
            .limited_models(entry.info.id, entry.group_id, now);
        Self {
            label: entry.info.label.clone(),
            group,
            group_source,
            cooldown_until: end.as_ref().map(|end| end.at),
            cooldown_reason: end.map(|end| end.rejection.reason),
            limited_models: models
                .map(|(model, end)| LimitedModel {
                    model,
                    reason: end.rejection.reason,
                    until: end.at,
                })
                .collect(),
            uses: entry.info.uses.load(Ordering::Relaxed),
            rejections: entry.rejections,
            in_flight: usize::try_from(keys.in_flight(index)).unwrap_or(usize::MAX),
        }
    }
}
