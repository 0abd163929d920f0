//! Until when nothing is sent to a limit that has rejected a request. Pure: `now` is an argument.

mod term;

use std::{mem, time::Duration};

use tokio::time::Instant;

use self::term::{Basis, Term};
use super::End;
use crate::{
    quota::timing::{
        EARLY_TEST, FALSE_HINT_FLOOR, FIRST_GUESS, KEY_RECHECK, MAX_COOLDOWN, MIN_LONGEST_GUESS,
        QUOTA_RECHECK, REJECTION_LATENCY,
    },
    rejection::{Reason, Rejection, Window},
};

#[derive(Clone, Debug, Default)]
pub(super) struct Cooldown {
    period: Option<Period>,
    /// The end of the provider's last hint, which may come before that of a guess. A success that ends the
    /// period leaves it if it has been waited for.
    hint: Option<Instant>,
    /// How many requests are out that test if a guess is too long.
    early_probes: u32,
}

/// The last cooldown. It may be over, and still counts when the next one is doubled.
#[derive(Clone, Debug)]
struct Period {
    rejection: Rejection,
    began: Instant,
    /// The latest moment at which the provider may have decided on the last rejected request.
    decided: Instant,
    until: Instant,
    term: Term,
    /// When the first of these guesses began.
    first: Instant,
}

/// What a cooldown lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// It ended then at a guess: one request should find out if that was right before many are sent.
    Unproven(Instant),
    Closed(Instant),
    /// Closed, and time alone does not open it: checked again then.
    Unusable(Instant),
}

// === impl Cooldown ===

impl Cooldown {
    /// Returns when it ends; `None` if it is over.
    pub(super) fn ends_at(&self, now: Instant) -> Option<Instant> {
        self.lasting(now).map(|period| period.until)
    }

    /// Returns when it ends and why it began, with what is left of the hint; `None` if it is over.
    pub(super) fn end(&self, now: Instant) -> Option<End> {
        self.lasting(now).map(|period| End {
            at: period.until,
            is_unusable: period.term.basis == Basis::Recheck,
            is_reported: false,
            is_remote: false,
            rejection: Rejection {
                // A guess must not pass for what the provider has reported, nor hide it.
                retry_after: self.hint.filter(|end| *end > now).map(|end| end - now),
                ..period.rejection.clone()
            },
        })
    }

    fn lasting(&self, now: Instant) -> Option<&Period> {
        self.period.as_ref().filter(|period| period.until > now)
    }

    /// Returns the end of the provider's last hint.
    pub(super) fn hint(&self) -> Option<Instant> {
        self.hint
    }

    /// Returns whether a rejection that came since `moment` forbids to send now.
    pub(super) fn began_since(&self, moment: Instant, now: Instant) -> bool {
        self.lasting(now)
            .is_some_and(|period| period.began >= moment)
    }

    pub(super) fn gate(&self, now: Instant) -> Gate {
        let Some(period) = &self.period else {
            return Gate::Open;
        };
        match period.term.basis {
            Basis::Recheck if period.until > now => Gate::Unusable(period.until),
            _ if period.until > now => Gate::Closed(period.until),
            Basis::Recheck | Basis::Guess => Gate::Unproven(period.until),
            Basis::Hint => Gate::Open,
        }
    }

    /// Returns whether a single guess of a second has lasted long enough to be tested.
    pub(super) fn early_test_at(&self, now: Instant) -> Option<Instant> {
        let period = self.lasting(now)?;
        let is_first = period.term.length == FIRST_GUESS && self.is_guess(period, now);
        let at = period.first + EARLY_TEST;
        // Not if it has been tested.
        (is_first && period.began < at).then_some(at)
    }

    /// Returns the end of the last period, whether it is over or not.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.period.as_ref().map(|period| period.until)
    }

    /// Returns whether a request may test now if a guess is too long: one at a time.
    pub(super) fn allows_early_probe(&self, now: Instant) -> bool {
        let may_probe = |period| self.is_guess(period, now) && self.early_probes == 0;
        self.lasting(now).is_none_or(may_probe)
    }

    /// Returns whether only a guess closes the limit beyond `moment`.
    fn is_guess(&self, period: &Period, moment: Instant) -> bool {
        period.term.basis == Basis::Guess && self.hint.is_none_or(|end| end <= moment)
    }

    pub(super) fn begin_early_probe(&mut self) {
        self.early_probes = self.early_probes.saturating_add(1);
    }

    pub(super) fn end_early_probe(&mut self) {
        self.early_probes = self.early_probes.saturating_sub(1);
    }

    /// Records a rejection of a request that was sent at `sent`, which only ever prolongs a cooldown.
    ///
    /// `has_passed` if it was sent well after the first request since the last cooldown, which was not
    /// rejected. Without a hint it lasts to the end of the window that began at `opened`, if that is known,
    /// or for a guess.
    pub(super) fn reject(
        &mut self,
        rejection: &Rejection,
        has_passed: bool,
        (sent, now): (Instant, Instant),
        longest_guess: Duration,
        (opened, window_end): (Option<Instant>, Option<Instant>),
    ) {
        let longest_guess = longest_guess.clamp(MIN_LONGEST_GUESS, MAX_COOLDOWN);
        let guess = self
            .period
            .as_ref()
            .filter(|it| it.term.basis == Basis::Guess && !it.term.is_learned);
        let first = guess.map_or(now, |period| period.first);
        let mut term = self.next_term(rejection, has_passed, sent, longest_guess);
        if term.basis == Basis::Guess {
            let window_end = window_end.filter(|end| *end > now && term.floor.is_zero());
            let until_end = window_end.map(|end| end - now);
            let began = opened.map_or(first, |opened| opened.min(first));
            term.bound(rejection.reason, until_end, now - began, longest_guess);
        }
        let (until, decided) = (now + term.length, decided(sent, now));
        self.hint = self.hint.max(hint(rejection).map(|hint| now + hint));
        // A request that was sent before the end proves nothing new, unless its rejection has new facts.
        let is_of_period = |period: &Period| {
            let is_old = period.term.basis != Basis::Hint && sent < period.until;
            period.until >= until || (is_old && !says_more(rejection, &period.rejection))
        };
        if let Some(period) = self.period.as_mut().filter(|it| is_of_period(it)) {
            period.began = now;
            period.decided = period.decided.max(decided);
            return;
        }
        self.period = Some(Period {
            rejection: rejection.clone(),
            began: now,
            decided,
            until,
            term,
            first,
        });
    }

    /// Records a success of a request that was sent at `sent`. One that was sent before the rejection proves
    /// nothing.
    pub(super) fn succeed(&mut self, sent: Instant) {
        let is_over = self.period.as_ref().is_some_and(|period| {
            // A guess is also ended by a request that was admitted after the rejection was decided on,
            // though the rejection had not come yet.
            let since = match self.is_guess(period, sent) {
                true => period.decided,
                false => period.began,
            };
            sent > since
        });
        if is_over {
            self.period = None;
            // A hint that this has ended early was not waited for.
            self.hint = self.hint.filter(|end| *end <= sent);
        }
    }

    /// Returns whether only a guess closes the limit.
    pub(super) fn is_guessed(&self, now: Instant) -> bool {
        self.lasting(now)
            .is_some_and(|period| self.is_guess(period, now))
    }

    /// Forgets the last period if it is a guess, because the limit is not one over time.
    pub(super) fn forget_guess(&mut self, now: Instant) {
        self.period = mem::take(&mut self.period).filter(|it| !self.is_guess(it, now));
    }

    /// Forgets the last period and its hint.
    pub(super) fn forget(&mut self) {
        (self.period, self.hint) = (None, None);
    }

    fn next_term(
        &self,
        rejection: &Rejection,
        has_passed: bool,
        sent: Instant,
        longest_guess: Duration,
    ) -> Term {
        let doubled = |first| match has_passed {
            true => first,
            false => self.doubled(rejection.reason, sent, first),
        };
        let recheck = |after, hint: Option<Duration>| {
            Term::new(doubled(after).max(hint.unwrap_or_default()), Basis::Recheck)
        };
        match (rejection.reason, hint(rejection)) {
            // OpenRouter reports in how many seconds its budget in flight has more.
            (Reason::QuotaExhausted, Some(hint)) if rejection.time_helps() => {
                self.hinted(hint, sent, longest_guess)
            }
            (Reason::QuotaExhausted, hint) => recheck(QUOTA_RECHECK, hint),
            (Reason::KeyRejected, hint) => recheck(KEY_RECHECK, hint),
            (_, Some(hint)) => self.hinted(hint, sent, longest_guess),
            (_, None) if is_of_a_day(rejection) => Term::new(QUOTA_RECHECK, Basis::Recheck),
            (_, None) => Term::new(doubled(FIRST_GUESS).min(longest_guess), Basis::Guess),
        }
    }

    /// Returns the term of a hint. A rejected request that was sent right after the last hint's end, with
    /// no success since, has proved that hint false: then the term is a guess that doubles.
    fn hinted(&self, hint: Duration, sent: Instant, longest_guess: Duration) -> Term {
        let mut term = Term::new(hint, Basis::Hint);
        let Some(last) = self.period.as_ref().filter(|period| period.has_hint()) else {
            return term;
        };
        if last.is_proved_false(sent) {
            let floor = last.term.floor.saturating_mul(2);
            term.floor = floor.max(FALSE_HINT_FLOOR).min(longest_guess);
            if term.floor > hint {
                (term.length, term.basis) = (term.floor.min(MAX_COOLDOWN), Basis::Guess);
            }
        } else if sent < last.until {
            // The many requests that were in flight when the period began are one rejection.
            term.floor = last.term.floor;
        }
        term
    }

    /// Returns `first`, or twice the last length if the request was sent after the end of that. The many
    /// requests that were in flight when the period began are one rejection.
    fn doubled(&self, reason: Reason, sent: Instant, first: Duration) -> Duration {
        let is_same = |it: &&Period| {
            it.term.basis != Basis::Hint && it.rejection.reason == reason && !it.term.is_learned
        };
        match self.period.as_ref().filter(is_same) {
            Some(period) if sent >= period.until => period.term.length.saturating_mul(2).max(first),
            Some(period) => period.term.length,
            None => first,
        }
    }
}

// === impl Period ===

impl Period {
    /// Returns whether the provider has reported after which time this limit ends.
    fn has_hint(&self) -> bool {
        hint(&self.rejection).is_some() && self.term.basis != Basis::Recheck
    }

    /// Returns whether the rejection of a request that was sent then proves that the period was too short. A
    /// much later one may have met another limit.
    fn is_proved_false(&self, sent: Instant) -> bool {
        let soon = self.term.length.max(REJECTION_LATENCY);
        self.until <= sent && sent < self.until + soon
    }
}

/// Returns the latest moment at which the provider may have decided on a rejected request. Half of the time
/// of a rejection that comes at once is its way back.
pub(super) fn decided(sent: Instant, now: Instant) -> Instant {
    match now.saturating_duration_since(sent) {
        took if took < REJECTION_LATENCY => sent + took / 2,
        _ => now,
    }
}

/// Returns the provider's hint. Zero means "now", which was not true for this request.
pub(super) fn hint(rejection: &Rejection) -> Option<Duration> {
    let hint = rejection.retry_after.filter(|hint| !hint.is_zero())?;
    Some(hint.min(MAX_COOLDOWN))
}

/// Returns whether a rejection says neither when the limit ends nor that it lasts.
pub(super) fn is_silent(rejection: &Rejection) -> bool {
    let is_brief = matches!(rejection.reason, Reason::RateLimited | Reason::Overloaded);
    is_brief && hint(rejection).is_none() && !is_of_a_day(rejection)
}

/// Returns the length of a window that is short enough to be waited for.
pub(super) fn length_of(window: Window) -> Option<Duration> {
    let secs = match window {
        Window::Second => 1,
        Window::Minute => 60,
        Window::FiveMinutes => 5 * 60,
        Window::Hour => 60 * 60,
        _ => return None,
    };
    Some(Duration::from_secs(secs))
}

/// Returns whether a rejection has facts that another lacks, whose end was guessed.
fn says_more(rejection: &Rejection, than: &Rejection) -> bool {
    rejection.reason != than.reason
        || hint(rejection).is_some()
        || (is_of_a_day(rejection) && !is_of_a_day(than))
}

/// Returns whether the window is too long to be waited for: a day, or the five hours of a plan.
fn is_of_a_day(rejection: &Rejection) -> bool {
    rejection.window.is_some_and(|window| window > Window::Hour)
}

#[cfg(test)]
mod tests;
