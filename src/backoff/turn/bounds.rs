//! Until when a call waits, and when it departs.

use tokio::time::Instant;

use super::{Moment, Turn};
use crate::{
    clock::after,
    quota::{Prospect, in_time, timing::REJECTION_LATENCY},
};

impl Turn {
    /// Returns until when the call stays in the line.
    pub(super) fn waits_until(&mut self, prospect: Prospect, moment: &Moment<'_>) -> Instant {
        let is_in_time = self.is_in_time(prospect, moment);
        match self.own {
            own if !is_in_time => own.unwrap_or(moment.now),
            Some(own) if moment.is_alone() => own,
            own => {
                let end = self.end(moment);
                own.map_or(end, |own| own.max(end))
            }
        }
    }

    /// Returns whether the line may serve the call within `max_wait`, and before the end of its time in line.
    pub(super) fn is_in_time(&mut self, prospect: Prospect, moment: &Moment<'_>) -> bool {
        let (now, end) = (moment.now, self.end(moment));
        let may_be_by = |at| at <= after(now, moment.options.max_wait) && at < end;
        match prospect {
            Prospect::AnyTime => now < end,
            Prospect::At(at) => now < end && may_be_by(at),
            Prospect::Never => false,
        }
    }

    /// Returns when the request departs, if its place was granted for `at`.
    pub(super) fn departure(&mut self, at: Instant, moment: &Moment<'_>) -> Instant {
        match self.own {
            Some(own) if moment.is_alone() => own,
            _ => {
                // If another call is rejected meanwhile, this one goes back to the line and keeps its
                // attempt.
                let at = if self.is_last {
                    at + REJECTION_LATENCY
                } else {
                    at
                };
                let at = in_time(at, self.end(moment), moment.now);
                self.hint.map_or(at, |hint| at.max(hint))
            }
        }
    }

    /// Returns the end of the time that all waits in line of this call may take together.
    pub(super) fn end(&mut self, moment: &Moment<'_>) -> Instant {
        let Moment { options, now, .. } = *moment;
        let most = options.max_wait.saturating_mul(options.attempts.max(1));
        match moment.call.left(now) {
            Ok(left) => self.line.end(after(now, most), left, now),
            Err(_) => now,
        }
    }
}
