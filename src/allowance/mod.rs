//! How much may be sent now with a key, or to a target: what refusals forbid, what the provider says is
//! left, and what was learned where it does not say. Pure: `now` is an argument.

mod cooldown;
mod learned;
mod told;

use std::time::Duration;

use tokio::time::Instant;

use crate::refusal::{Bucket, Dimension, Reason, Refusal};
pub(crate) use cooldown::{Cooldown, NO_HINT};
use learned::{Learned, More};
use told::{Left, Told};

/// What is known of one limit: that of a group of keys, or of a model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowance {
    cooldown: Cooldown,
    told: Told,
    learned: Learned,
    in_flight: u64,
}

/// How many requests may go out now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Open(u64),
    /// Nothing is known yet, and enough are out to find out; more at that time, or after an answer.
    Learning(Option<Instant>),
    /// What is left is in flight; perhaps more at that time, or after an answer.
    Full(Option<Instant>),
    /// None until then.
    Closed(Instant),
}

// === impl Room ===

impl Room {
    /// The room where both limits apply.
    pub(crate) fn tighter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Closed(one), Self::Closed(other)) => Self::Closed(one.max(other)),
            (Self::Closed(at), _) | (_, Self::Closed(at)) => Self::Closed(at),
            (Self::Full(at), _) | (_, Self::Full(at)) => Self::Full(at),
            (Self::Learning(at), _) | (_, Self::Learning(at)) => Self::Learning(at),
            (Self::Open(one), Self::Open(other)) => Self::Open(one.min(other)),
        }
    }
}

// === impl Allowance ===

impl Allowance {
    /// How many more may go out; with `slow_start`, few while nothing is known.
    pub(crate) fn room(&mut self, slow_start: bool, now: Instant) -> Room {
        if let Some((end, _)) = self.cooldown.end(now) {
            return Room::Closed(end);
        }
        if self.cooldown.needs_probe(now) {
            return match self.in_flight {
                0 => Room::Open(1),
                _ => Room::Learning(None),
            };
        }
        let left = self.told.left(now);
        let by_told = match left {
            Left::Spent(until) => return Room::Closed(until),
            Left::Requests(left) => left.saturating_sub(self.in_flight),
            Left::Unknown => u64::MAX,
        };
        let unknown = slow_start && left == Left::Unknown;
        match self.learned.more(self.in_flight, unknown, now) {
            More::Some(more) if more.min(by_told) > 0 => Room::Open(more.min(by_told)),
            More::Some(_) => Room::Full(None),
            More::Later(at) if unknown => Room::Learning(Some(at)),
            More::Later(at) => Room::Full(Some(at)),
            More::AfterAnswer => Room::Full(None),
        }
    }

    /// When it opens again, and what it waits for; `None` if it is open.
    pub(crate) fn end(&self, now: Instant) -> Option<(Instant, Refusal)> {
        let refused = self.cooldown.end(now);
        let refused = refused.map(|(end, refusal)| (end, refusal.clone()));
        let spent = self.told.spent_until(now);
        let spent = spent.map(|until| (until, Refusal::new(Reason::RateLimited)));
        refused.into_iter().chain(spent).max_by_key(|(end, _)| *end)
    }

    pub(crate) fn take(&mut self, now: Instant) {
        self.in_flight += 1;
        self.learned.sent(now);
    }

    pub(crate) fn give_back(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Whether nothing is out and nothing forbids to send, so that it may be forgotten.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.in_flight == 0 && self.cooldown.end(now).is_none()
    }

    /// A request that went out at `sent` passed; its answer says what is left.
    pub(crate) fn succeeded<'a>(
        &mut self,
        told: impl Iterator<Item = &'a Bucket> + Clone,
        sent: Instant,
        now: Instant,
    ) {
        let cooling = self.cooldown.end(now).is_some();
        self.cooldown.succeed(sent);
        self.learned.passed(cooling);
        let counts =
            |bucket: &Bucket| bucket.dimension == Dimension::Requests && bucket.remaining.is_some();
        if !told.clone().any(counts) {
            self.told.count_one();
        }
        self.told.hear(told, sent, now);
    }

    /// A request that went out at `sent` was refused.
    pub(crate) fn refused(
        &mut self,
        refusal: &Refusal,
        told: &[Bucket],
        (sent, now): (Instant, Instant),
        no_hint: Duration,
    ) {
        let was_cooling = self.cooldown.end(now).is_some();
        let foretold = matches!(self.told.left(now), Left::Spent(_) | Left::Requests(0));
        self.cooldown.refuse(refusal, sent, now, no_hint);
        let until = self.cooldown.end(now).map_or(now, |(end, _)| end);
        if refusal.reason == Reason::RateLimited && !was_cooling && !foretold {
            self.learned.refused(until);
        }
        self.told.hear(told.iter(), sent, now);
    }
}
