//! The keys of a pool, and what becomes of their requests. Pure.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::time::Instant;

#[cfg(feature = "share")]
use super::share_ids::KeyShareIds;
use super::{
    closed::ClosedUntil,
    group::KeyAccount,
    ids::{GroupId, KeyId, KeyScope},
    limits::KeyLimits,
};
use crate::{
    key_rotation::affinity::SecretHash,
    quota::{BackgroundShares, End, IdState, LimitTable, Replicas, Reservation, may_limit_tokens},
    rejection::{Bucket, Rejection},
    request::credentials::Credential,
    telemetry::KeyNotice,
};

/// The order in which keys are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The same key until it is limited.
    FillFirst,
    RoundRobin,
    /// The one with the most capacity, of two that are drawn.
    LeastLoaded,
}

#[cfg_attr(test, derive(Clone))]
pub(crate) struct Keys {
    /// Never empty once the pool is built.
    pub(super) entries: Vec<Entry>,
    pub(super) indexes: HashMap<KeyId, usize, IdState>,
    pub(super) groups: HashMap<Arc<str>, GroupId>,
    /// The accounts that responses name.
    pub(super) accounts: HashMap<Arc<str>, GroupId>,
    /// What has become known of keys, until it is logged.
    pub(super) notices: Vec<KeyNotice>,
    /// Whether keys were found to share their limits.
    pub(super) has_shared: bool,
    /// Whether a key was reported as unusable.
    pub(super) has_unusable: bool,
    pub(super) limits: KeyLimits,
    /// Whether a limit may count tokens.
    pub(super) counts_tokens: bool,
    /// How capacity is divided between interactive and background calls.
    pub(super) shares: BackgroundShares,
    /// How many processes send with these keys.
    pub(super) replicas: Replicas,
    pub(super) order: Order,
    pub(super) longest_guess: Duration,
    pub(super) random: fastrand::Rng,
    /// The index of the key that is used now.
    pub(super) current: usize,
    pub(super) next_id: u64,
    pub(super) next_group: u64,
}

#[cfg_attr(test, derive(Clone))]
pub(super) struct Entry {
    pub(super) info: Arc<KeyInfo>,
    pub(super) group: Option<Arc<str>>,
    pub(super) group_id: GroupId,
    pub(super) account: KeyAccount,
    #[cfg(feature = "share")]
    pub(super) share_ids: Option<KeyShareIds>,
    pub(super) rejections: u64,
    /// When it was reported as unusable, if it has not worked since.
    pub(super) reported_at: Option<Instant>,
}

/// The name of a key, and what it puts on requests.
#[derive(Debug)]
pub(crate) struct KeyInfo {
    pub(super) id: KeyId,
    pub(super) label: Arc<str>,
    pub(super) credential: Arc<Credential>,
    pub(super) secret_hash: SecretHash,
    /// On how many requests it was put, which happens without the lock.
    pub(super) uses: AtomicU64,
}

pub(crate) type KeyReservation = Reservation<Arc<KeyInfo>, KeyScope>;

// === impl KeyInfo ===

impl KeyInfo {
    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    pub(crate) fn label(&self) -> &Arc<str> {
        &self.label
    }
}

// === impl Keys ===

impl Keys {
    pub(super) fn new(order: Order, longest_guess: Duration, seed: u64) -> Self {
        Self {
            entries: Vec::new(),
            indexes: HashMap::default(),
            groups: HashMap::new(),
            accounts: HashMap::new(),
            notices: Vec::new(),
            has_shared: false,
            has_unusable: false,
            limits: KeyLimits::default(),
            counts_tokens: false,
            shares: BackgroundShares::default(),
            replicas: Replicas::default(),
            order,
            longest_guess,
            random: fastrand::Rng::with_seed(seed),
            current: 0,
            next_id: 1,
            next_group: 0,
        }
    }

    pub(super) fn index(&self, id: KeyId) -> Option<usize> {
        self.indexes.get(&id).copied()
    }

    /// Returns the limits of a key for a model, or for all.
    pub(super) fn scope(&self, index: usize, model: Option<usize>) -> KeyScope {
        let entry = &self.entries[index];
        KeyScope {
            key: entry.info.id,
            group: entry.group_id,
            model,
        }
    }

    /// Returns the limits of a reservation as they are now: its key may share others since.
    fn scope_now(&mut self, reservation: &KeyReservation) -> Option<KeyScope> {
        let index = self.index(reservation.candidate.id)?;
        let scope = self.scope(index, reservation.scope.model);
        self.limits.prepare(scope);
        Some(scope)
    }

    /// Remembers that all keys are closed for a model, and until when.
    pub(super) fn remember_closed(&mut self, model: Option<usize>, closed: Vec<ClosedUntil>) {
        let is_grouped = !(self.groups.is_empty() && self.limits.merged.is_empty());
        self.limits
            .closed
            .remember(model, is_grouped, closed.into_iter());
    }

    /// Returns until when a key is on cooldown for every model, and why.
    pub(super) fn end_of_all(&self, index: usize, now: Instant) -> Option<End> {
        self.limits.end(self.scope(index, None), now)
    }

    /// Records a success. One that comes after its key was removed says nothing about the other keys.
    pub(crate) fn succeeded(
        &mut self,
        reservation: &KeyReservation,
        reports: &[Bucket],
        when: (Instant, Instant),
    ) {
        self.counts_tokens |= may_limit_tokens(reports, None);
        self.observe_counts(reservation, reports, when);
        // In most pools no key ever was, and successes are frequent.
        if self.has_unusable {
            self.note_works(reservation, when.0);
        }
        if let Some(scope) = self.scope_now(reservation) {
            self.limits
                .succeeded(scope, (reservation.cost(), reports), when);
            self.limits.forget_merged(when.1);
        }
    }

    /// Records a rejection.
    pub(crate) fn rejected(
        &mut self,
        reservation: &KeyReservation,
        rejection: &Rejection,
        reports: &[Bucket],
        when: (Instant, Instant),
    ) {
        let Some(index) = self.index(reservation.candidate.id) else {
            return;
        };
        self.entries[index].rejections += 1;
        self.notice_unusable(index, rejection, when.1);
        self.counts_tokens |= may_limit_tokens(reports, Some(rejection));
        let Some(scope) = self.scope_now(reservation) else {
            return;
        };
        if let Some((limit, traits, is_reported)) = self.limits.closed_by(scope, rejection) {
            let reports = if is_reported { reports } else { &[] };
            let reports = (reservation.cost(), reports);
            limit.rejected(traits, rejection, reports, when, self.longest_guess);
        }
    }
}
