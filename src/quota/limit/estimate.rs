//! How much passes in a window where the provider does not report it: slow start, and what rejections have
//! shown. Pure.

use std::{mem, time::Duration};

use tokio::time::Instant;

use super::{ProviderTraits, in_flight::InFlight, period, recent::Recent};
use crate::quota::timing::{COUNTED_TOGETHER, LONG_WINDOW, QUICK, doublings};

/// So many requests start a limit of which nothing is known; a dead key wastes no more.
const START: u64 = 2;

/// So many are in flight after a second even if no response has come.
const START_WITHOUT_RESPONSES: u64 = 12;

/// So many have to pass before it is a question whether a rejection came by chance.
const HISTORY: u64 = 4;

#[derive(Clone, Debug, Default)]
pub(super) struct Estimate {
    window: Option<Window>,
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
    /// When the cooldown of the last rejection ends.
    ended: Option<Instant>,
}

/// What was sent since a window has begun.
#[derive(Clone, Debug)]
struct Window {
    opened: Instant,
    /// Whether the limit had been closed until then, so that the window did begin then.
    is_exact: bool,
    sent: u64,
    rejected: u64,
    /// When the first and the last rejected requests were sent, if the limit was met.
    met: Option<(Instant, Instant)>,
    /// Whether a response has come so quickly that these show how many to send.
    is_quick: bool,
    /// Whether the first request of the next window is sent early, to find out if windows have become shorter.
    is_early: bool,
    /// Whether its end needs no proof, because the provider has told it.
    is_told: bool,
    /// Whether one more than usual may be sent in this window. It is sent at the beginning: what a bucket takes
    /// later is taken from the next window.
    tests: bool,
    /// The first request that was sent when the window seemed to be over, and how many since.
    next: Option<(Instant, u64)>,
}

/// How many may be in flight while nothing is known: what is out when the limit is met is wasted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlowStart {
    /// Any number.
    Off,
    /// As many as a sixteenth of what has passed: who is rejected has to wait.
    Careful,
    /// As many as half of what has passed: who is rejected goes elsewhere.
    Quick,
}

/// How many more may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Headroom {
    Some(u64),
    /// Enough are out to find the limit; more at that time, or after a response.
    Probing(Option<Instant>),
    /// The window is used up until that time, or until a response shows more.
    Full(Option<Instant>),
    /// The window is used up until that time.
    UsedUp(Instant),
}

// === impl Estimate ===

impl Estimate {
    /// Returns how many may be sent by what rejections have shown, of this limit or else of `typical` ones;
    /// few if neither is known.
    pub(super) fn headroom(
        &mut self,
        in_flight: &InFlight,
        traits: &mut ProviderTraits,
        (slow_start, is_noisy, is_told_of_more): (SlowStart, bool, bool),
        now: Instant,
    ) -> Headroom {
        self.roll(traits, now);
        if is_noisy {
            // Some rejections came by chance, so the last one shows no limit.
            return self.slow_start(slow_start, in_flight, traits, now);
        }
        let known = self.capacity.or(traits.typical);
        let Some(capacity) = known else {
            return self.slow_start(slow_start, in_flight, traits, now);
        };
        if self.is_over(traits, now) {
            let headroom = self.next_window(capacity, slow_start, in_flight, traits, now);
            return self.bound_by_recent(headroom, (capacity, None), in_flight, traits, now);
        }
        let waiting = in_flight.reserved();
        let used = self.admitted().saturating_add(waiting);
        let young = in_flight.younger(traits.latency(), now);
        let ceiling = self.ceiling(capacity, is_told_of_more, young, traits, now);
        // What is out shows more if it is not rejected in time.
        let rises = (self.ceiling(capacity, is_told_of_more, 0, traits, now) > ceiling)
            .then(|| in_flight.grown_at(traits.latency(), now))
            .flatten();
        let more = match ceiling.saturating_sub(used) {
            0 => match self.early_try(in_flight, traits, now) {
                Some(at) if at <= now => return Headroom::Some(1),
                Some(at) => return Headroom::Full(rises.into_iter().chain([at]).min()),
                None => {
                    let is_told = is_told_of_more || self.hinted.is_some();
                    return self.used_up(is_told, rises, traits, now);
                }
            },
            more => more,
        };
        let headroom = match self.slow_start(slow_start, in_flight, traits, now) {
            _ if self.is_confirmed && self.capacity.is_some() => Headroom::Some(more),
            _ if slow_start == SlowStart::Quick && self.hinted.is_some() => Headroom::Some(more),
            Headroom::Some(other) => Headroom::Some(more.min(other)),
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
        let (Headroom::Some(more), Some(_), Some(length)) = (headroom, self.capacity, length) else {
            return headroom;
        };
        let (recent, until) = self.recent.count(length, now);
        match ceiling.saturating_sub(recent.saturating_add(in_flight.reserved())) {
            0 => Headroom::Full(until.into_iter().chain(rises).min()),
            left => Headroom::Some(more.min(left)),
        }
    }

    /// Returns how many may be sent while it is not known that a new window has begun: one, unless the
    /// provider has told its end or this was right before.
    fn next_window(
        &self,
        capacity: u64,
        slow_start: SlowStart,
        in_flight: &InFlight,
        traits: &ProviderTraits,
        now: Instant,
    ) -> Headroom {
        let next = self.window.as_ref().and_then(|window| window.next);
        let out = next.map_or(0, |(_, count)| count) + in_flight.reserved();
        let is_told = self.window.as_ref().is_some_and(|it| it.is_told);
        let allowed = match slow_start {
            _ if self.is_confirmed => capacity,
            SlowStart::Careful if is_told => START,
            _ if is_told => capacity,
            _ => 1,
        };
        match allowed.saturating_sub(out) {
            0 => Headroom::Full(next.map(|(sent, _)| sent + traits.latency())),
            more => Headroom::Some(more),
        }
    }

    fn used_up(
        &self,
        may_have_more: bool,
        rises: Option<Instant>,
        traits: &ProviderTraits,
        now: Instant,
    ) -> Headroom {
        match self.window_end(traits).filter(|end| *end > now) {
            Some(end) if self.is_confirmed && !may_have_more && rises.is_none() => {
                Headroom::UsedUp(end)
            }
            end => Headroom::Full(end.into_iter().chain(rises).min()),
        }
    }

    /// Returns when one request may find out in this window if windows have become shorter.
    fn early_try(
        &self,
        in_flight: &InFlight,
        traits: &ProviderTraits,
        now: Instant,
    ) -> Option<Instant> {
        let window = self.window.as_ref()?;
        let is_free = window.next.is_none() && window.met.is_none() && in_flight.reserved() == 0;
        let is_long = |length: &Duration| is_free && self.hinted.is_none() && *length >= LONG_WINDOW;
        let length = traits.period.length().filter(is_long)?;
        let at = window.opened + length / 2;
        traits.period.may_try_early(now).then_some(at)
    }

    /// Returns how many may be sent in this window, so many of which are known to pass. Now and then one more
    /// finds out whether there is more by now, then two, then four.
    fn ceiling(
        &self,
        capacity: u64,
        is_told_of_more: bool,
        young: u64,
        traits: &ProviderTraits,
        now: Instant,
    ) -> u64 {
        let passed = self.admitted().saturating_sub(young);
        let beyond = passed.saturating_sub(capacity);
        let is_due = || {
            let length = self.length(traits).unwrap_or_default();
            let is_early = |it: &Window| it.tests && now < it.opened + length * 3 / 4;
            self.window.as_ref().is_some_and(is_early) && traits.period.may_test(now)
        };
        let tests = is_told_of_more || self.capacity.is_none() || beyond > 0 || self.has_more || is_due();
        let more = if tests { beyond.max(1) } else { 0 };
        passed.max(capacity).saturating_add(more)
    }

    /// Each success allows a part of a request more, so that few are in flight when the limit is met.
    /// Responses may take long: what was not rejected within a second has passed.
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
        let passed = self.admitted().saturating_sub(young);
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
            0 => Headroom::Probing(since.map(|_| next)),
            more => Headroom::Some(more),
        }
    }

    /// Returns how many were sent in this window and not rejected.
    fn admitted(&self) -> u64 {
        let window = self.window.as_ref();
        window.map_or(0, |window| {
            let next = window.next.map_or(0, |(_, count)| count);
            (window.sent + next).saturating_sub(window.rejected)
        })
    }

    /// Counts a request that is sent; returns whether it finds out if there is more by now.
    pub(super) fn sent(&mut self, traits: &mut ProviderTraits, now: Instant) {
        self.roll(traits, now);
        let is_over = self.is_over(traits, now);
        let (is_used_up, length) = (self.is_used_up(), self.length(traits));
        let tests = traits.period.may_test(now);
        let early = self.early_try(&InFlight::default(), traits, now);
        let is_early = is_used_up && early.is_some_and(|at| at <= now);
        if let (Some(_), Some(length)) = (self.capacity, length) {
            self.recent.send(length, now);
        }
        let Some(window) = &mut self.window else {
            self.window = Some(Window::new(now, false, 1, false));
            return;
        };
        match &mut window.next {
            Some((_, count)) => *count += 1,
            None if is_over && is_used_up => window.next = Some((now, 1)),
            None if is_early => {
                if let Some(length) = length {
                    traits.period.try_early(length, now);
                }
                (window.next, window.is_early) = (Some((now, 1)), true);
            }
            None if is_over => *window = Window::new(now, false, 1, tests),
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
            window.is_quick |= now.saturating_duration_since(sent) < QUICK;
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
    /// which `hint` has told.
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
        window.is_told = hint.is_some();
        self.hinted = hint.map(|hint| period::hinted(window.elapsed(first, hint), hint));
        let passed = admitted.saturating_sub(young);
        if passed > 0 {
            traits.typical = Some(passed);
        }
    }

    fn length(&self, traits: &ProviderTraits) -> Option<Duration> {
        self.hinted.or_else(|| traits.period.length())
    }

    /// Returns when the window ends, as far as that is known.
    pub(super) fn window_end(&self, traits: &ProviderTraits) -> Option<Instant> {
        let length = self.length(traits)?;
        self.window.as_ref()?.opened.checked_add(length)
    }

    /// Returns when more may pass for another reason than chance, if that is known.
    pub(super) fn opens_again(&self, traits: &ProviderTraits, now: Instant) -> Option<Instant> {
        let length = self.length(traits)?;
        let end = self.window_end(traits).filter(|end| *end > now);
        Some(end.unwrap_or(now + length / 2))
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
        is_met || self.capacity.is_some_and(|capacity| self.admitted() >= capacity)
    }

    /// Returns whether a rejection comes though much less was sent in this window than passed in others.
    pub(super) fn contradicts_rejection(&self) -> bool {
        let Some(window) = &self.window else {
            return false;
        };
        // The rejected request is counted.
        let used = match window.next {
            Some((_, count)) => count,
            None => window.sent.saturating_sub(window.rejected),
        };
        let is_less = |capacity: u64| used.saturating_sub(1) < capacity - capacity / 4;
        self.capacity.is_some_and(is_less)
    }

    /// Returns how many rejections in a row outweigh what is known to pass.
    pub(super) fn run_against(&self) -> u32 {
        if self.is_confirmed { 3 } else { 2 }
    }

    /// Returns whether a rejection is explained by what has been sent in this window.
    pub(super) fn explains_rejection(&self) -> bool {
        let admitted = self.admitted();
        let capacity = self.capacity.filter(|_| self.is_met_twice);
        capacity.is_some_and(|capacity| admitted >= capacity - capacity / 4)
    }

    /// Forgets what rejections have shown.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Returns whether rejections have shown in two windows in a row how many pass.
    pub(super) fn is_met_twice(&self) -> bool {
        self.is_met_twice
    }

    fn is_over(&self, traits: &ProviderTraits, now: Instant) -> bool {
        let Some(window) = &self.window else {
            return false;
        };
        match (window.met, self.ended) {
            (Some(_), Some(ended)) => ended <= now,
            _ => self.window_end(traits).is_some_and(|end| end <= now),
        }
    }

    /// Begins the next window if its first request was not rejected in time.
    fn roll(&mut self, traits: &mut ProviderTraits, now: Instant) {
        let next = self.window.as_ref().and_then(|window| window.next);
        if next.is_some_and(|(sent, _)| sent + traits.latency() <= now) {
            self.begin_next(traits, now);
        }
    }

    fn begin_next(&mut self, traits: &mut ProviderTraits, now: Instant) {
        let Some(window) = self.window.take() else {
            return;
        };
        let (opened, sent) = window.next.unwrap_or((now, 0));
        let passed = window.sent.saturating_sub(window.rejected);
        if let Some((first, last)) = window.met {
            // What more than usual has passed is taken from the next window if the limit is a bucket.
            let is_usual = self.capacity.is_none_or(|capacity| passed <= capacity);
            if !window.is_told && is_usual {
                let closed = last.saturating_duration_since(first);
                let elapsed = window.elapsed(first, opened - first);
                traits
                    .period
                    .passed_after(elapsed + closed, elapsed + (opened - first), now);
            }
            // If nothing has passed, somebody else uses the same limit, and its size is not known.
            if passed > 0 {
                self.is_met_twice = self.capacity == Some(passed);
                self.confirm(passed, traits, now);
            }
        } else if passed > 0 {
            if window.is_early {
                traits.period.passed_after(Duration::ZERO, opened - window.opened, now);
            }
            self.confirm(passed, traits, now);
        }
        if std::env::var("DBG").is_ok() {
            eprintln!("{:?} begin_next {:p} opened {:?} passed {passed} sent {sent} met {:?} -> cap {:?} conf {} P {:?} hinted {:?} test {:?}", now, self as *const _, opened, window.met, self.capacity, self.is_confirmed, traits.period, self.hinted, traits.period.may_test(now));
        }
        let tests = traits.period.may_test(now);
        self.window = Some(Window::new(opened, true, sent, tests));
    }

    /// Records how many have passed in a window; returns whether it was the same before.
    ///
    /// One window in which more has passed than usual may have had what others have left. Two in a row have
    /// more.
    fn confirm(&mut self, passed: u64, traits: &mut ProviderTraits, now: Instant) -> bool {
        let length = self.length(traits).unwrap_or_default();
        let last = mem::replace(&mut self.last_passed, passed);
        let known = self.capacity.unwrap_or_default();
        let (capacity, is_same) = match passed {
            more if more > known && self.capacity.is_some() => {
                let capacity = known.max(last.min(more));
                (capacity, capacity == known)
            }
            // Somebody else may have used the rest this time.
            less if less < known && self.is_confirmed => {
                let capacity = less.max(last.min(known));
                (capacity, capacity == known)
            }
            less => (less, less == known),
        };
        self.has_more = passed > known && self.capacity.is_some();
        if !is_same {
            traits.period.test_soon(length, now);
        }
        self.is_confirmed = is_same || known.abs_diff(capacity) <= known / 8;
        self.capacity = Some(capacity);
        traits.typical = Some(capacity);
        is_same
    }

    /// Returns whether enough has passed for a rejection to be chance.
    pub(super) fn has_history(&self) -> bool {
        self.admitted() >= HISTORY
    }
}

// === impl Window ===

impl Window {
    fn new(opened: Instant, is_exact: bool, sent: u64, tests: bool) -> Self {
        Self {
            opened,
            is_exact,
            sent,
            rejected: 0,
            met: None,
            is_quick: false,
            is_early: false,
            is_told: false,
            tests,
            next: None,
        }
    }

    /// Returns how long the window had lasted when the limit was met. Of one that began before anything was
    /// known this counts only if it was soon, because it may have been several.
    fn elapsed(&self, met: Instant, closed: Duration) -> Duration {
        let elapsed = met.saturating_duration_since(self.opened);
        match self.is_exact || elapsed <= closed / 2 {
            true => elapsed,
            false => Duration::ZERO,
        }
    }
}
