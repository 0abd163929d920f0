//! What the estimate shows to operators. Pure, and changes nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::Estimate;
use crate::{
    quota::{
        limit::{ProviderTraits, cooldown, in_flight::InFlight, known::KnownLimit},
        timing::PERIOD_MARGIN,
    },
    rejection::{Dimension, Window},
};

// === impl Estimate ===

impl Estimate {
    /// Returns how many requests pass in a window; `None` if that, or the length of a window, is not known.
    pub(in crate::quota::limit) fn known(
        &self,
        in_flight: &InFlight,
        traits: &ProviderTraits,
        now: Instant,
    ) -> Option<KnownLimit> {
        let next = self.window.as_ref().and_then(|window| window.next);
        if next.is_some_and(|(sent, _)| sent + traits.latency() <= now) {
            // Its first request was not rejected in time, so the next window has begun.
            let (mut rolled, mut traits) = (self.clone(), traits.clone());
            rolled.begin_next(&mut traits, now);
            return rolled.known(in_flight, &traits, now);
        }
        let capacity = self.capacity?;
        let length = self.length(traits)?;
        let ends = self.over_at(traits).filter(|end| *end > now);
        let is_met = self.window.as_ref().is_some_and(|it| it.met.is_some());
        let waiting = in_flight.reserved();
        let used = match ends {
            Some(_) if is_met => capacity,
            Some(_) => self.admitted().saturating_add(waiting),
            None => next.map_or(0, |(_, count)| count).saturating_add(waiting),
        };
        let left = capacity.saturating_sub(used);
        // No more than a window's number is sent in any time that is as long.
        let sliding = traits.period.length().filter(|_| self.hinted.is_none());
        let recent = sliding.map_or(0, |length| self.recent.clone().count(length, now).0);
        let since = match (ends, next, &self.window) {
            (Some(_), _, Some(window)) => window.opened,
            (_, Some((sent, _)), _) => sent,
            _ => now,
        };
        Some(KnownLimit {
            dimension: Dimension::Requests,
            window: named(length),
            limit: Some(capacity),
            remaining: left.min(capacity.saturating_sub(recent.saturating_add(waiting))),
            reserved: in_flight.since(since),
            resets: ends,
            is_learned: true,
        })
    }
}

/// Returns the window that has this length, or is shorter by no more than the margin.
fn named(length: Duration) -> Option<Window> {
    let windows = [
        Window::Second,
        Window::Minute,
        Window::FiveMinutes,
        Window::Hour,
    ];
    windows.into_iter().find(|window| {
        let its = cooldown::length_of(*window);
        its.is_some_and(|its| its <= length && length <= its + PERIOD_MARGIN.min(its / 50))
    })
}
