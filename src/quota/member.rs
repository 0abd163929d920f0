//! A scheduler that shares what it knows with other processes.

use std::{
    collections::HashSet,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    limit::{FleetCounts, LimitState, PlannedCalls, ProviderTraits},
    membership::Membership,
    replicas::Replicas,
    scheduler::{Candidates, Scheduler, ScopeOf, Shared},
};
use crate::share::{Id, LeaseSums, Member, Outbox, Sharing, Update};

/// A limit that other processes may share, and what its id is made of.
pub(crate) struct SharedLimit<'a> {
    pub(crate) limit: &'a mut LimitState,
    pub(crate) traits: &'a mut ProviderTraits,
    pub(crate) counts: FleetCounts,
    /// Whether no other limit closes all that it is for.
    pub(crate) is_of_use: bool,
    pub(crate) base: Id,
    pub(crate) extra: Option<&'a [u8]>,
}

/// Candidates whose limits other processes may share.
pub(crate) trait SharedCandidates: Candidates {
    /// Whether the limits are leased. Otherwise each process takes its part, by how many there are.
    const ARE_LEASED: bool;

    /// Returns the longest guess of a cooldown.
    fn longest_guess(&self) -> Duration;

    /// Returns where the next choice begins.
    fn position(&self) -> usize {
        0
    }

    fn set_position(&mut self, _position: usize) {}

    /// Notes that closed limits may have opened.
    fn limits_have_changed(&mut self) {}

    /// Visits each limit, in the order in which candidates are used.
    fn visit_shared(&mut self, now: Instant, visit: &mut dyn FnMut(SharedLimit<'_>));
}

impl<C> Scheduler<C>
where
    C: SharedCandidates + Send + 'static,
    C::Class: Send,
    C::Candidate: Send,
    ScopeOf<C>: Send,
{
    /// Returns a scheduler that shares what it knows.
    pub(crate) fn sharing(candidates: C, share: Sharing) -> Self {
        let membership = Membership {
            share: Some(share.clone()),
            is_leased: C::ARE_LEASED,
        };
        let shared = Arc::new(Shared::new(candidates, membership));
        let member: Weak<dyn Member> = Arc::<Shared<C>>::downgrade(&shared);
        share.attach(member);
        Self(shared)
    }
}

impl<C> Member for Shared<C>
where
    C: SharedCandidates + Send,
    C::Class: Send,
    C::Candidate: Send,
    ScopeOf<C>: Send,
{
    fn fill(&self, outbox: &mut Outbox) {
        let Some(share) = &self.membership.share else {
            return;
        };
        self.inner.with(|inner| {
            let now = outbox.now;
            inner.candidates.visit_shared(now, &mut |shared| {
                let SharedLimit { limit, traits, .. } = shared;
                limit.share(traits, (share, shared.counts), (shared.base, shared.extra));
                limit.begin_plan(traits, shared.is_of_use, now);
            });
            let position = inner.candidates.position();
            let counts = match outbox.epoch {
                Some(_) if C::ARE_LEASED => inner.plan(now),
                _ => (0, 0),
            };
            inner.candidates.set_position(position);
            let (mut was_refused, mut is_in_vain) = (false, false);
            inner.candidates.visit_shared(now, &mut |shared| {
                let (refused, in_vain) = shared.limit.state_of_leases();
                was_refused |= refused;
                is_in_vain |= in_vain;
            });
            let yields = was_refused && is_in_vain && inner.candidates.random().bool();
            let calls = PlannedCalls {
                counts,
                has_waiting: !inner.queue.is_empty(),
                yields,
            };
            inner.candidates.visit_shared(now, &mut |shared| {
                shared.limit.publish(shared.traits, calls, outbox);
            });
        });
    }

    fn receive(&self, update: &Update<'_>) {
        let Some(share) = &self.membership.share else {
            return;
        };
        let wakeups = self.inner.with(|inner| {
            let longest_guess = inner.candidates.longest_guess();
            if !update.limits.is_empty() {
                inner.candidates.limits_have_changed();
            }
            inner.candidates.visit_shared(update.now, &mut |shared| {
                let SharedLimit { limit, traits, .. } = shared;
                limit.share(traits, (share, shared.counts), (shared.base, shared.extra));
                limit.receive(traits, update, longest_guess);
            });
            inner.serve(update.now);
            inner.take_wakeups()
        });
        wakeups.wake();
        share.wake();
    }

    fn disconnect(&self, replicas: Option<u32>, now: Instant) {
        let Some(share) = &self.membership.share else {
            return;
        };
        let replicas = replicas.map_or(self.replicas, Replicas::new);
        let wakeups = self.inner.with(|inner| {
            inner.candidates.limits_have_changed();
            inner.candidates.visit_shared(now, &mut |shared| {
                let SharedLimit { limit, traits, .. } = shared;
                limit.share(traits, (share, shared.counts), (shared.base, shared.extra));
                limit.disconnect(traits, replicas);
            });
            inner.serve(now);
            inner.take_wakeups()
        });
        wakeups.wake();
    }

    fn add_leases(&self, sums: &mut LeaseSums, now: Instant) {
        if !C::ARE_LEASED {
            return;
        }
        // The limits of a group are visited once for each of its keys.
        let mut seen = HashSet::new();
        self.inner.with(|inner| {
            inner.candidates.visit_shared(now, &mut |shared| {
                if shared.limit.share_id().is_some_and(|id| seen.insert(id)) {
                    shared.limit.add_leases(shared.traits, sums, now);
                }
            });
        });
    }
}
