//! One limit: what rejections forbid, what the provider reports, what was estimated, and what is in flight.
//! Pure: `now` is an argument.
//!
//! [`reported`] keeps what headers say of requests, and whether nothing is left of anything. [`tokens`] keeps
//! how many tokens are left. Both go first. What no header says is learned:
//!
//! - [`cooldown`]: until when nothing is sent after a rejection, by a hint, a known window or a guess.
//! - [`period`]: how long a window lasts.
//! - [`estimate`]: how many requests pass in it. [`recent`]: that no more are sent, wherever it begins.
//! - [`concurrency`]: how many may be in flight.
//! - [`slots`]: whether rejections that say nothing come of requests in flight.
//! - [`chance`]: whether a rejection is a verdict on the limit, or came by chance.
//! - [`reserve`]: what background calls leave to interactive ones.
//! - `fleet`: what other processes know of the limit, and which places this one has leased (feature `share`).
//! - [`provider_traits`]: what the limits of one kind share, such as those of a pool's keys for one model.
//!
//! [`admission`] joins them to say what may be sent. [`record`] joins them when a request is sent or passes, and
//! [`rejected`] when a rejection comes. [`operate`] shows them to operators. `DESIGN.md` gives the reasons ("What
//! no header says" and the sections after it).

mod admission;
mod capacity;
mod chance;
mod concurrency;
mod cooldown;
mod estimate;
#[cfg_attr(not(feature = "share"), path = "apart.rs")]
mod fleet;
mod in_flight;
mod known;
mod operate;
mod period;
mod provider_traits;
mod recent;
mod record;
mod rejected;
mod remaining;
mod reported;
mod reserve;
mod slots;
mod tokens;

use tokio::time::Instant;

use crate::rejection::{Reason, Rejection};
pub(crate) use capacity::{Capacity, End};
use chance::RejectionRun;
use concurrency::Concurrency;
use cooldown::Cooldown;
use estimate::Estimate;
pub(crate) use estimate::SlowStart;
#[cfg(feature = "share")]
pub(crate) use fleet::{FleetCounts, PlannedCalls};
use in_flight::InFlight;
pub(crate) use known::KnownLimit;
pub(crate) use provider_traits::ProviderTraits;
use reported::Reported;
use reserve::InteractiveUse;
use tokens::Tokens;

/// What is known of one limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct LimitState {
    cooldown: Cooldown,
    reported: Reported,
    tokens: Tokens,
    concurrency: Concurrency,
    estimate: Estimate,
    in_flight: InFlight,
    interactive: InteractiveUse,
    rejection_run: RejectionRun,
    /// How many may be in flight while nothing is known, as it was said last.
    slow_start: SlowStart,
    /// Its number among the limits of its kind, from 1 on; zero before its first request.
    number: u32,
    /// What other processes know of it, if that is shared.
    fleet: fleet::FleetState,
}

// === impl LimitState ===

impl LimitState {
    /// Returns when it opens again and why it is closed; `None` if it is open.
    pub(crate) fn end(&self, traits: &ProviderTraits, now: Instant) -> Option<End> {
        let exhausted = self.reported.exhausted(traits, now).map(|window| End {
            at: window.until,
            is_unusable: false,
            is_reported: true,
            is_remote: false,
            rejection: Rejection {
                retry_after: Some(window.until - now),
                ..Rejection::new(Reason::RateLimited)
            },
        });
        let cooldown = self.cooldown.end(now).map(|end| End {
            is_remote: self.is_closed_remotely(end.at),
            ..end
        });
        let ends = cooldown.into_iter().chain(exhausted);
        ends.reduce(End::later)
    }

    /// Returns whether a request may test now if a guess is too long.
    pub(crate) fn allows_early_probe(&self, traits: &ProviderTraits, now: Instant) -> bool {
        self.cooldown.allows_early_probe(now) && self.reported.exhausted(traits, now).is_none()
    }

    /// Counts a request that tests if a guess is too long.
    pub(crate) fn begin_early_probe(&mut self) {
        self.cooldown.begin_early_probe();
    }

    /// That request has ended, with whatever outcome.
    pub(crate) fn end_early_probe(&mut self) {
        self.cooldown.end_early_probe();
    }

    /// Returns the ends of the provider's last hints, both to wait and to have more again.
    pub(crate) fn hints(
        &self,
        traits: &ProviderTraits,
        now: Instant,
    ) -> impl Iterator<Item = Instant> {
        let exhausted = self.reported.exhausted(traits, now);
        let hints = [
            self.cooldown.hint(),
            self.reported.ended(),
            exhausted.map(|window| window.until),
        ];
        hints.into_iter().flatten()
    }

    /// Returns whether a rejection that came since `moment` forbids to send now.
    pub(crate) fn was_rejected_since(&self, moment: Instant, now: Instant) -> bool {
        self.cooldown.began_since(moment, now)
    }

    /// Forgets how many pass in a window.
    pub(crate) fn forget_estimate(&mut self) {
        self.estimate.forget();
    }

    /// Returns how many requests have a place.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.all()
    }
}

#[cfg(test)]
impl LimitState {
    /// Returns how many are counted as out, by either count.
    pub(crate) fn out(&self) -> u64 {
        let sent = self.in_flight.in_use();
        sent.max(self.in_flight.of_all_times())
    }
}

#[cfg(test)]
mod tests;
