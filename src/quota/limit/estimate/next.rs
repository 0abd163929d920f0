//! The beginning of the next window, and what the last one has shown. Pure.

use std::{mem, time::Duration};

use tokio::time::Instant;

use super::{Estimate, window::SentWindow};
use crate::quota::{limit::ProviderTraits, timing::FIRST_GUESS};

// === impl Estimate ===

impl Estimate {
    /// Begins the next window if its first request was not rejected in time.
    pub(super) fn roll(&mut self, traits: &mut ProviderTraits, now: Instant) {
        let next = self.window.as_ref().and_then(|window| window.next);
        if next.is_some_and(|(sent, _)| sent + traits.latency() <= now) {
            self.begin_next(traits, now);
        }
    }

    pub(super) fn begin_next(&mut self, traits: &mut ProviderTraits, now: Instant) {
        let Some(window) = self.window.take() else {
            return;
        };
        let (opened, sent) = window.next.unwrap_or((now, 0));
        let passed = window.sent.saturating_sub(window.rejected);
        if let Some((first, last)) = window.met {
            self.proven = 0;
            // What more than usual has passed is taken from the next window if the limit is a bucket.
            let is_usual = self.capacity.is_none_or(|capacity| passed <= capacity);
            // What has been said outweighs a window whose beginning is not known.
            let is_known = window.is_exact || !traits.period.is_said();
            if !window.is_hinted && is_usual && is_known && !self.was_idle(last, opened) {
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
            if window.tries_shorter {
                traits
                    .period
                    .passed_after(Duration::ZERO, opened - window.opened, now);
            }
            self.confirm(passed, traits, now);
        }
        let tests = traits.period.may_test(now);
        self.window = Some(SentWindow::new(opened, true, sent, tests));
    }

    /// Returns whether nothing was sent for so long after the cooldown that the time until `opened` says
    /// nothing of when the window ended.
    fn was_idle(&self, rejected: Instant, opened: Instant) -> bool {
        let closed = self.ended.map_or(Duration::ZERO, |ended| {
            ended.saturating_duration_since(rejected)
        });
        opened > rejected + 2 * closed + FIRST_GUESS
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
}
