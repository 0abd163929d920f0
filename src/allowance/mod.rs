//! How much may be sent now with a key, or to a target: what rejections forbid, what the provider says is
//! left, and what was learned where it does not say. Pure: `now` is an argument.

mod cooldown;
mod habits;
mod in_flight;
mod learned;
mod remembered;
mod told;

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

use crate::rejection::{Bucket, Dimension, Reason, Rejection};
pub(crate) use cooldown::{Cooldown, Gate, LONGEST_GUESS};
pub(crate) use habits::Habits;
use in_flight::InFlight;
use learned::{Learned, More};
#[cfg(test)]
pub(crate) use remembered::MOST;
pub(crate) use remembered::{Forgettable, Remembered};
use told::{Left, Told};

/// While little is known, what is allowed doubles each time.
const DOUBLES_EACH: Duration = Duration::from_millis(250);

/// Beyond this there is nothing left to be careful about.
const DOUBLINGS: u32 = 20;

/// How often what is allowed has doubled since, and when it does next.
fn doublings(since: Instant, now: Instant) -> (u32, Instant) {
    let passed = now.saturating_duration_since(since);
    let doublings = passed.as_millis() / DOUBLES_EACH.as_millis();
    let doublings = u32::try_from(doublings).unwrap_or(DOUBLINGS).min(DOUBLINGS);
    let into_this = passed.as_millis() % DOUBLES_EACH.as_millis();
    let into_this = u64::try_from(into_this).unwrap_or_default();
    (
        doublings,
        now + DOUBLES_EACH - Duration::from_millis(into_this),
    )
}

/// What is known of one limit: that of a group of keys, or of a model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowance {
    cooldown: Cooldown,
    told: Told,
    learned: Learned,
    in_flight: InFlight,
}

/// How many requests may go out now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Open(u64),
    /// Nothing is known yet, and enough are out to find out; more at that time, or after an answer.
    Learning(Option<Instant>),
    /// What is left is in flight; perhaps more at that time, or after an answer.
    Full(Option<Instant>),
    /// The provider has told that nothing is left until then, which nobody has tested yet: where there is
    /// no other choice than to wait, one request may find out.
    Testable(Instant),
    /// None until then.
    Closed(Instant),
    /// None, and not for a limit that ends with time, such as a rejected key: checked again then.
    Unusable(Instant),
}

/// When a limit ends, and what it comes from.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) at: Instant,
    /// Whether time alone does not end it: it is checked again then.
    pub(crate) is_unusable: bool,
    /// As it is now: its `retry_after` is what is left of the provider's hint, which a guess may outlast.
    pub(crate) rejection: Rejection,
}

// === impl End ===

impl End {
    /// The end of both limits. What time does not cure is said before what it remedies, and no hint is lost.
    pub(crate) fn later(self, other: Self) -> Self {
        let at = self.at.max(other.at);
        let retry_after = self.rejection.retry_after.max(other.rejection.retry_after);
        let told = match self.order() < other.order() {
            true => other,
            false => self,
        };
        Self {
            at,
            is_unusable: told.is_unusable,
            rejection: Rejection {
                retry_after,
                ..told.rejection
            },
        }
    }

    /// Ends that time brings come before those that are only checked again.
    pub(crate) fn order(&self) -> (bool, Instant) {
        (self.is_unusable, self.at)
    }
}

// === impl Room ===

impl Room {
    /// The room where both limits apply.
    pub(crate) fn tighter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unusable(one), Self::Unusable(other) | Self::Closed(other))
            | (Self::Closed(other), Self::Unusable(one)) => Self::Unusable(one.max(other)),
            (Self::Unusable(at), _) | (_, Self::Unusable(at)) => Self::Unusable(at),
            (Self::Closed(one), Self::Closed(other)) => Self::Closed(one.max(other)),
            (Self::Closed(at), _) | (_, Self::Closed(at)) => Self::Closed(at),
            (Self::Full(at), _) | (_, Self::Full(at)) => Self::Full(at),
            (Self::Learning(at), _) | (_, Self::Learning(at)) => Self::Learning(at),
            (Self::Testable(one), Self::Testable(other)) => Self::Testable(one.max(other)),
            (Self::Testable(at), _) | (_, Self::Testable(at)) => Self::Testable(at),
            (Self::Open(one), Self::Open(other)) => Self::Open(one.min(other)),
        }
    }
}

// === impl Allowance ===

impl Allowance {
    /// How many more may go out; with `slow_start`, few while nothing is known.
    pub(crate) fn room(&mut self, habits: &Habits, slow_start: bool, now: Instant) -> Room {
        let probes = match self.cooldown.gate(now) {
            Gate::Open => false,
            Gate::Probe => true,
            Gate::Probed(at) => return Room::Learning(Some(at)),
            Gate::Closed(until) => return Room::Closed(until),
            Gate::Unusable(until) => return Room::Unusable(until),
        };
        let left = self
            .told
            .left(habits, |since| self.in_flight.since(since), now);
        let (by_told, told_at) = match left {
            Left::Spent(spent) => {
                let doubts = habits.doubts(spent.dimension, spent.passed, now);
                if doubts > self.in_flight.since(spent.since) {
                    return Room::Testable(spent.until);
                }
                let again = habits.doubts_again(spent.dimension, now);
                let until = again.map_or(spent.until, |at| at.min(spent.until));
                return Room::Closed(until);
            }
            Left::Guessed(0, more_at) => return Room::Learning(Some(more_at)),
            Left::Guessed(left, more_at) => (left, Some(more_at)),
            Left::Requests(left, resets) => (left, resets),
            Left::Unknown => (u64::MAX, None),
        };
        if probes {
            // What rejections have taught is what it finds out, but it goes nowhere where nothing is left.
            return match by_told {
                0 => Room::Full(told_at),
                _ => Room::Open(1),
            };
        }
        let unknown = slow_start && left == Left::Unknown;
        let more = self
            .learned
            .more(&self.in_flight, habits.typical, unknown, now);
        match more {
            More::Some(more) if more.min(by_told) > 0 => Room::Open(more.min(by_told)),
            More::Some(_) => Room::Full(told_at),
            More::Later(at) if unknown => Room::Learning(Some(at)),
            More::Later(at) => Room::Full(Some(at)),
            More::AfterAnswer => Room::Full(None),
        }
    }

    /// When it opens again, and what it waits for; `None` if it is open.
    pub(crate) fn end(&self, habits: &Habits, now: Instant) -> Option<End> {
        let spent = self.told.spent(habits, now).map(|spent| End {
            at: spent.until,
            is_unusable: false,
            rejection: Rejection {
                retry_after: Some(spent.until - now),
                ..Rejection::new(Reason::RateLimited)
            },
        });
        let ends = self.cooldown.end(now).into_iter().chain(spent);
        ends.reduce(End::later)
    }

    /// Whether a request may find out now whether a guess is too long.
    pub(crate) fn allows_early_probe(&self, habits: &Habits, now: Instant) -> bool {
        self.cooldown.allows_early_probe(now) && self.told.spent(habits, now).is_none()
    }

    /// A request goes out to find out whether a guess is too long.
    pub(crate) fn begin_early_probe(&mut self) {
        self.cooldown.begin_early_probe();
    }

    /// That request is over, whatever became of it.
    pub(crate) fn end_early_probe(&mut self) {
        self.cooldown.end_early_probe();
    }

    /// When the provider's last hints end: to wait until then, or that there is more then.
    pub(crate) fn hints(&self, habits: &Habits, now: Instant) -> impl Iterator<Item = Instant> {
        let refused = self.cooldown.hint();
        let spent = self.told.spent(habits, now).map(|spent| spent.until);
        let hints = [refused, self.told.ended(), spent];
        hints.into_iter().flatten()
    }

    /// Whether a rejection that came since `moment` forbids to send now.
    pub(crate) fn was_refused_since(&self, moment: Instant, now: Instant) -> bool {
        self.cooldown.began_since(moment, now)
    }

    pub(crate) fn take(&mut self, habits: &mut Habits, now: Instant) {
        if let Some(spent) = self.told.spent(habits, now) {
            self.told.test(spent.dimension, spent.passed.unwrap_or(0));
            habits.test(spent.dimension, now);
        }
        self.cooldown.take(now);
        self.in_flight.add(now);
        self.learned.sent(now);
    }

    /// The request that was taken at `taken`, and went out at `sent` if it did, is over.
    pub(crate) fn give_back(&mut self, taken: Instant, sent: Instant) {
        self.in_flight.remove(taken);
        self.cooldown.give_back(taken);
        self.cooldown.give_back(sent);
    }

    /// The request that was to go out at `taken` waits for the client.
    pub(crate) fn set_aside(&mut self, taken: Instant) {
        self.cooldown.set_aside(taken);
    }

    /// It goes out now.
    pub(crate) fn goes_out(&mut self, taken: Instant, now: Instant) {
        self.cooldown.goes_out(taken, now);
    }

    /// Nobody will hear what became of a request that went out at `sent`, but the provider has it.
    pub(crate) fn given_up(&mut self, sent: Instant) {
        self.told.count_given_up(sent);
    }

    /// Whether nothing is out.
    pub(crate) fn is_unused(&self) -> bool {
        self.in_flight.all() == 0
    }

    /// A request that went out at `sent` passed; its answer says what is left.
    pub(crate) fn succeeded<'a>(
        &mut self,
        habits: &mut Habits,
        told: impl Iterator<Item = &'a Bucket> + Clone,
        (sent, now): (Instant, Instant),
    ) {
        let cooling = self.cooldown.ends_at(now).is_some();
        self.cooldown.succeed(sent);
        self.learned.passed(cooling);
        let spent = self.told.spent(habits, now);
        if let Some(spent) = spent.filter(|spent| spent.since <= sent) {
            let of_this = |bucket: &Bucket| bucket.dimension == spent.dimension;
            let mut left = told.clone().filter(|bucket| of_this(bucket));
            // A new window has begun if more is told to be left now.
            if left.all(|bucket| bucket.remaining == Some(0)) {
                let passed = spent.passed.unwrap_or(0) + 1;
                self.told.test(spent.dimension, passed);
                habits.doubt(spent.dimension, passed, spent.refilled(now), now);
            }
        }
        let counts =
            |bucket: &Bucket| bucket.dimension == Dimension::Requests && bucket.remaining.is_some();
        if !told.clone().any(counts) {
            self.told.count_one();
        }
        self.told.hear(habits, told, (sent, now));
    }

    /// A request that went out at `sent` was refused.
    pub(crate) fn refused(
        &mut self,
        habits: &mut Habits,
        rejection: &Rejection,
        told: &[Bucket],
        (sent, now): (Instant, Instant),
        longest_guess: Duration,
    ) {
        let was_cooling = self.cooldown.ends_at(now).is_some();
        let left = self.told.left(habits, |_| 0, now);
        self.cooldown.refuse(rejection, sent, now, longest_guess);
        let until = self.cooldown.ends_at(now).unwrap_or(now);
        if rejection.reason == Reason::RateLimited {
            if let Some(dimension) = self.told.was_tested(sent) {
                habits.confirm(dimension);
            }
            match left {
                Left::Spent(spent) => habits.confirm(spent.dimension),
                Left::Requests(0, _) | Left::Guessed(..) => {}
                Left::Requests(..) | Left::Unknown if was_cooling => {}
                Left::Requests(..) | Left::Unknown => {
                    if let Some(passed) = self.learned.refused(until) {
                        habits.typical = Some(passed);
                    }
                }
            }
        }
        self.told.hear(habits, told.iter(), (sent, now));
    }
}

#[cfg(test)]
impl Allowance {
    /// How many are out.
    pub(crate) fn out(&self) -> u64 {
        self.in_flight.all().max(self.in_flight.of_all_times())
    }
}
