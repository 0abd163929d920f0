//! How much passes in a window where the provider does not report it, by what was sent and rejected. Pure.
//!
//! A request has passed if it was not rejected in time, because responses of models may take long.

mod evidence;
mod headroom;
mod known;
mod next;
mod window;

use std::time::Duration;

use tokio::time::Instant;

use super::{
    ProviderTraits,
    in_flight::InFlight,
    period,
    recent::Recent,
    reserve::{Lasts, Reserve},
};
use crate::quota::timing::{COUNTED_TOGETHER, QUICK};
pub(super) use headroom::Headroom;
pub(crate) use headroom::SlowStart;
use window::SentWindow;

#[derive(Clone, Debug, Default)]
pub(super) struct Estimate {
    window: Option<SentWindow>,
    /// How many pass in a window.
    capacity: Option<u64>,
    /// How many have passed in the last window.
    last_passed: u64,
    /// Whether more than that has passed in the last window.
    has_more: bool,
    /// Whether two windows in a row have shown it.
    is_confirmed: bool,
    /// Whether rejections have shown it in both.
    is_met_twice: bool,
    /// How long a window of this limit lasts, by the provider's hints.
    hinted: Option<Duration>,
    recent: Recent,
    /// How many have passed in a window since the limit was met last, though it was not used up.
    proven: u64,
    /// When the cooldown of the last rejection ends.
    ended: Option<Instant>,
}

// === impl Estimate ===

impl Estimate {
    /// Returns how many were sent in this window and not rejected.
    fn admitted(&self) -> u64 {
        let window = self.window.as_ref();
        window.map_or(0, |window| {
            let next = window.next.map_or(0, |(_, count)| count);
            (window.sent + next).saturating_sub(window.rejected)
        })
    }

    /// Counts a request that is sent.
    pub(super) fn sent(&mut self, traits: &mut ProviderTraits, now: Instant) {
        if let Some(window) = self.window.as_mut().filter(|it| it.is_unmet()) {
            if self.capacity.is_none() && self.hinted.is_none() && !traits.period.is_known() {
                // Nothing is known that the request could use up, test or end.
                window.sent += 1;
                return;
            }
        }
        self.roll(traits, now);
        let is_over = self.is_over(traits, now);
        let (is_used_up, length) = (self.is_used_up(), self.length(traits));
        let tests = traits.period.may_test(now);
        let early = self.shorter_try(&InFlight::default(), traits, now);
        let is_early = is_used_up && early.is_some_and(|at| at <= now);
        if let (Some(_), Some(length)) = (self.capacity, length) {
            self.recent.send(length, now);
        }
        let Some(window) = &mut self.window else {
            self.window = Some(SentWindow::new(now, false, 1, false));
            return;
        };
        match &mut window.next {
            Some((_, count)) => *count += 1,
            None if is_over && is_used_up => window.next = Some((now, 1)),
            None if is_early => {
                if let Some(length) = length {
                    traits.period.try_shorter(length, now);
                }
                (window.next, window.tries_shorter) = (Some((now, 1)), true);
            }
            None if is_over => {
                self.proven = self.proven.max(window.sent.saturating_sub(window.rejected));
                *window = SentWindow::new(now, false, 1, tests);
            }
            None => {
                if let (true, Some(length)) = (is_used_up, length) {
                    traits.period.test(length, now);
                }
                window.sent += 1;
            }
        }
    }

    /// Records that a request has passed.
    pub(super) fn passed(&mut self, traits: &mut ProviderTraits, sent: Instant, now: Instant) {
        let next = self.window.as_ref().and_then(|window| window.next);
        if next.is_some_and(|(from, _)| from <= sent) {
            self.begin_next(traits, now);
        }
        if let Some(window) = self.window.as_mut().filter(|it| it.opened <= sent) {
            window.is_quick = window.is_quick || now.saturating_duration_since(sent) < QUICK;
        }
    }

    /// Notes that a request has ended. If it was to find out if a new window has begun, and is not known to have
    /// passed, the next one does.
    pub(super) fn end(&mut self, sent: Instant) {
        if let Some(window) = &mut self.window {
            let is_of_next = |(from, count): &(Instant, u64)| *from == sent && *count == 1;
            window.next = window.next.filter(|next| !is_of_next(next));
        }
    }

    /// Counts a rejection, which may concern its request alone.
    pub(super) fn count_rejected(
        &mut self,
        traits: &mut ProviderTraits,
        (sent, now): (Instant, Instant),
        is_chance: bool,
    ) {
        self.recent.reject(sent);
        let next = self.window.as_ref().and_then(|window| window.next);
        if next.is_some_and(|(from, count)| count > 1 && from + COUNTED_TOGETHER < sent) {
            // The first would have been rejected before, so the next window has begun.
            self.begin_next(traits, now);
        }
        let Some(window) = &mut self.window else {
            return;
        };
        if sent < window.opened {
            // It was taken as passed.
            let left = |capacity: u64| capacity.saturating_sub(1).max(1);
            self.capacity = self.capacity.map(left);
            return;
        }
        let passed = window.sent.saturating_sub(window.rejected);
        let is_usual = self.capacity.is_some_and(|capacity| passed <= capacity);
        match window.next {
            Some((from, count)) if from <= sent => {
                // The window is not over.
                window.next = Some((from, count - 1)).filter(|(_, count)| *count > 0);
                if is_chance {
                    return;
                }
                if let Some((_, last)) = &mut window.met {
                    *last = sent;
                } else {
                    window.met = Some((sent, sent));
                }
                if window.is_exact && is_usual {
                    traits.period.rejected_after(sent - window.opened);
                }
            }
            _ => {
                window.rejected += 1;
                if let Some((_, last)) = &mut window.met {
                    *last = (*last).max(sent);
                }
            }
        }
    }

    /// Records that the limit was met by a request that was sent at `sent`. It is closed until `until`,
    /// by `hint` if the provider has sent one.
    pub(super) fn meet(
        &mut self,
        traits: &mut ProviderTraits,
        sent: Instant,
        (until, hint): (Instant, Option<Duration>),
        young: u64,
    ) {
        self.ended = Some(until);
        let admitted = self.admitted();
        let Some(window) = &mut self.window else {
            return;
        };
        let (first, _) = *window.met.get_or_insert((sent, sent));
        window.is_hinted = hint.is_some();
        self.hinted = hint.map(|hint| period::hinted(window.elapsed(first, hint), hint));
        let passed = admitted.saturating_sub(young);
        if passed > 0 {
            traits.typical = Some(passed);
        }
    }

    pub(super) fn length(&self, traits: &ProviderTraits) -> Option<Duration> {
        self.hinted.or_else(|| traits.period.length())
    }

    /// Returns when the window ends, as far as that is known.
    pub(super) fn window_end(&self, traits: &ProviderTraits) -> Option<Instant> {
        let length = self.length(traits)?;
        self.window.as_ref()?.opened.checked_add(length)
    }

    /// Returns how many of this window a request leaves to others, as far as it is known.
    pub(super) fn reserved(&self, reserve: Reserve, traits: &ProviderTraits, now: Instant) -> u64 {
        let Some(capacity) = self.capacity.or(traits.typical) else {
            return 0;
        };
        let Some(length) = self.length(traits) else {
            return 0;
        };
        let end = self.window_end(traits).filter(|end| *end > now);
        let lasts = Lasts::until(end.unwrap_or(now + length), length, now);
        reserve.of_requests(Some(capacity), lasts)
    }

    /// Returns when the window began that is used up now.
    pub(super) fn opened(&self, now: Instant) -> Option<Instant> {
        let window = self.window.as_ref()?;
        let (first, _) = window.met?;
        Some(first - window.elapsed(first, now - first))
    }

    /// Returns whether rejections have shown how many pass, and so many have been sent.
    pub(super) fn is_used_up(&self) -> bool {
        let is_met = self.window.as_ref().is_some_and(|it| it.met.is_some());
        is_met
            || self
                .capacity
                .is_some_and(|capacity| self.admitted() >= capacity)
    }

    /// Forgets what rejections have shown.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    fn is_over(&self, traits: &ProviderTraits, now: Instant) -> bool {
        self.over_at(traits).is_some_and(|end| end <= now)
    }

    /// Returns when the next request finds out if a new window has begun.
    pub(super) fn over_at(&self, traits: &ProviderTraits) -> Option<Instant> {
        match (self.window.as_ref()?.met, self.ended) {
            (Some(_), Some(ended)) => Some(ended),
            _ => self.window_end(traits),
        }
    }
}
