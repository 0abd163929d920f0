//! How many more may be sent: slow start, what rejections have shown, and now and then one more. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::{Estimate, window::SentWindow};
use crate::quota::{
    limit::{ProviderTraits, in_flight::InFlight},
    timing::{LONG_WINDOW, doublings},
};

/// So many requests start an unknown limit; a dead key wastes no more.
const START: u64 = 2;

/// So many are in flight after a second even if no response has come.
const START_WITHOUT_RESPONSES: u64 = 12;

/// How many may be in flight while nothing is known: what is out when the limit is met is wasted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SlowStart {
    /// Any number.
    #[default]
    Off,
    /// As many as a sixteenth of what has passed: who is rejected has to wait.
    Careful,
    /// As many as half of what has passed: who is rejected goes elsewhere.
    Quick,
}

/// How many more may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::quota::limit) enum Headroom {
    Some(u64),
    /// Enough are out to find the limit; more at that time, or after a response.
    Probing(Option<Instant>),
    /// The window is used up until that time, or until a response shows more.
    Full(Option<Instant>),
    /// The window is used up until that time.
    UsedUp(Instant),
}

// === impl Headroom ===

impl Headroom {
    /// Returns how many may be sent if so many are left to others.
    pub(in crate::quota::limit) fn without(self, reserved: u64) -> Self {
        match self {
            Self::Some(more) => Self::Some(more.saturating_sub(reserved)),
            none => none,
        }
    }
}

// === impl Estimate ===

impl Estimate {
    /// Returns how many may be sent by what rejections have shown, of this limit or else of `typical` ones;
    /// few if neither is known.
    pub(in crate::quota::limit) fn headroom(
        &mut self,
        in_flight: &InFlight,
        traits: &mut ProviderTraits,
        (slow_start, is_noisy, reports_more): (SlowStart, bool, bool),
        now: Instant,
    ) -> Headroom {
        self.roll(traits, now);
        if is_noisy {
            // Some rejections came by chance, so the last one shows no limit.
            return self.slow_start(slow_start, in_flight, traits, now);
        }
        // How many pass in a window says nothing while it is not known when the window ends.
        let has_end = self.capacity.is_none() || self.length(traits).is_some();
        let known = self.capacity.or(traits.typical).filter(|_| has_end);
        let Some(capacity) = known else {
            return self.slow_start(slow_start, in_flight, traits, now);
        };
        if self.is_over(traits, now) {
            let headroom = self.next_window(capacity, slow_start, in_flight, traits);
            return self.bound_by_recent(headroom, (capacity, None), in_flight, traits, now);
        }
        let waiting = in_flight.reserved();
        let used = self.admitted().saturating_add(waiting);
        let young = in_flight.younger(traits.latency(), now);
        let ceiling = |young| self.ceiling(capacity, reports_more, young, traits, now);
        // What is out shows more if it is not rejected in time.
        let rises = (ceiling(0) > ceiling(young))
            .then(|| in_flight.grown_at(traits.latency(), now))
            .flatten();
        let ceiling = ceiling(young);
        let more = match ceiling.saturating_sub(used) {
            0 => match self.shorter_try(in_flight, traits, now) {
                Some(at) if at <= now => return Headroom::Some(1),
                Some(at) => return Headroom::Full(Some(at).into_iter().chain(rises).min()),
                None if rises.is_some() => {
                    let end = self.over_at(traits).filter(|end| *end > now);
                    return Headroom::Full(end.into_iter().chain(rises).min());
                }
                None => return self.used_up(reports_more || self.hinted.is_some(), traits, now),
            },
            more => more,
        };
        let headroom = match self.slow_start(slow_start, in_flight, traits, now) {
            _ if self.is_confirmed && self.capacity.is_some() => Headroom::Some(more),
            _ if slow_start == SlowStart::Quick && self.hinted.is_some() => Headroom::Some(more),
            Headroom::Some(other) => Headroom::Some(more.min(other)),
            // The next window may begin before.
            Headroom::Probing(at) => {
                let over_at = self.over_at(traits).filter(|at| *at > now);
                Headroom::Probing(at.into_iter().chain(over_at).min())
            }
            none => none,
        };
        self.bound_by_recent(headroom, (ceiling, rises), in_flight, traits, now)
    }

    /// Bounds what may be sent by what was sent within the time of a window, wherever windows begin.
    fn bound_by_recent(
        &mut self,
        headroom: Headroom,
        (ceiling, rises): (u64, Option<Instant>),
        in_flight: &InFlight,
        traits: &ProviderTraits,
        now: Instant,
    ) -> Headroom {
        let length = traits.period.length().filter(|_| self.hinted.is_none());
        let (Headroom::Some(more), Some(_), Some(length)) = (headroom, self.capacity, length)
        else {
            return headroom;
        };
        let (recent, until) = self.recent.count(length, now);
        match ceiling.saturating_sub(recent.saturating_add(in_flight.reserved())) {
            0 => Headroom::Full(until.into_iter().chain(rises).min()),
            left => Headroom::Some(more.min(left)),
        }
    }

    /// Returns how many may be sent while it is not known that a new window has begun: one, unless the
    /// provider has reported its end or this was right before.
    fn next_window(
        &self,
        capacity: u64,
        slow_start: SlowStart,
        in_flight: &InFlight,
        traits: &ProviderTraits,
    ) -> Headroom {
        let next = self.window.as_ref().and_then(|window| window.next);
        let out = next.map_or(0, |(_, count)| count) + in_flight.reserved();
        let is_hinted = self.window.as_ref().is_some_and(|it| it.is_hinted);
        let allowed = match slow_start {
            _ if self.is_confirmed => capacity,
            SlowStart::Careful if is_hinted => START,
            _ if is_hinted => capacity,
            _ => 1,
        };
        match allowed.saturating_sub(out) {
            0 => Headroom::Full(next.map(|(sent, _)| sent + traits.latency())),
            more => Headroom::Some(more),
        }
    }

    fn used_up(&self, may_have_more: bool, traits: &ProviderTraits, now: Instant) -> Headroom {
        match self.over_at(traits).filter(|end| *end > now) {
            Some(end) if self.is_confirmed && !may_have_more => Headroom::UsedUp(end),
            end => Headroom::Full(end),
        }
    }

    /// Returns when one request may find out in this window if windows have become shorter.
    pub(super) fn shorter_try(
        &self,
        in_flight: &InFlight,
        traits: &ProviderTraits,
        now: Instant,
    ) -> Option<Instant> {
        let window = self.window.as_ref()?;
        let is_free = window.next.is_none() && window.met.is_none() && in_flight.reserved() == 0;
        let is_long =
            |length: &Duration| is_free && self.hinted.is_none() && *length >= LONG_WINDOW;
        let length = traits.period.length().filter(is_long)?;
        let at = window.opened + length / 2;
        traits.period.may_try_shorter(now).then_some(at)
    }

    /// Returns how many may be sent in this window, if so many are known to pass. Now and then one more finds
    /// out whether there is more by now, then two, then four.
    fn ceiling(
        &self,
        capacity: u64,
        reports_more: bool,
        young: u64,
        traits: &ProviderTraits,
        now: Instant,
    ) -> u64 {
        let passed = self.admitted().saturating_sub(young);
        let beyond = passed.saturating_sub(capacity);
        let is_due = || {
            let length = self.length(traits).unwrap_or_default();
            let is_early = |it: &SentWindow| it.tests && now < it.opened + length * 3 / 4;
            self.window.as_ref().is_some_and(is_early) && traits.period.may_test(now)
        };
        let tests =
            reports_more || self.capacity.is_none() || beyond > 0 || self.has_more || is_due();
        let more = if tests { beyond.max(1) } else { 0 };
        passed.max(capacity).saturating_add(more)
    }

    /// Each success allows a part of a request more, so that few are in flight when the limit is met.
    /// Responses may take long: what was not rejected in time has passed.
    fn slow_start(
        &self,
        slow_start: SlowStart,
        in_flight: &InFlight,
        traits: &ProviderTraits,
        now: Instant,
    ) -> Headroom {
        let part = match slow_start {
            SlowStart::Off => return Headroom::Some(u64::MAX),
            SlowStart::Careful => 16,
            SlowStart::Quick => 2,
        };
        let young = in_flight.younger(traits.latency(), now);
        let out = young + in_flight.reserved();
        let passed = self.admitted().saturating_sub(young).max(self.proven);
        let since = self.window.as_ref().map(|window| window.opened);
        let since = since.or(self.ended);
        let (doublings, next) = doublings(since.unwrap_or(now), now);
        let is_quick = self.window.as_ref().is_some_and(|it| it.is_quick);
        let by_time = match is_quick {
            true => START,
            false => (START << doublings).min(START_WITHOUT_RESPONSES),
        };
        let allowed = (START + passed / part).max(by_time);
        match allowed.saturating_sub(out) {
            0 => {
                let passed = in_flight.grown_at(traits.latency(), now);
                Headroom::Probing(since.map(|_| next).into_iter().chain(passed).min())
            }
            more => Headroom::Some(more),
        }
    }
}
