//! When keys that were set aside for waiting calls go out: not as one, and not at a hint's very end. Pure.

use std::{time::Duration, vec};

use tokio::time::Instant;

use crate::jitter::Share;

/// Keys that free at one moment go out over this time, so that their requests do not arrive as one.
///
/// It bounds the jitter after a hint too. A key that waits for its turn serves nobody, and no answer tells
/// of the new window yet: with up to 250 ms, calls on token buckets took 8 % longer than the limits allow,
/// with this 4 % (`examples/simulation`).
const SPREAD: Duration = Duration::from_millis(100);
const APART: Duration = Duration::from_millis(2);

/// The departures of keys that were set aside at one moment.
pub(super) struct Departures {
    now: Instant,
    apart: Duration,
    /// The next one, where no hint has just ended.
    next: Instant,
    /// One for each key, the least first: who came first goes first.
    shares: vec::IntoIter<Share>,
}

/// The last departures so far: nobody overtakes those who came before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Last {
    plain: Option<Instant>,
    /// By themselves, so that a key that is free does not wait for the jitter of another.
    after_hint: Option<Instant>,
}

// === impl Departures ===

impl Departures {
    pub(super) fn new(count: usize, last: Last, random: &mut fastrand::Rng, now: Instant) -> Self {
        let mut shares: Vec<_> = (0..count).map(|_| Share::draw(random)).collect();
        shares.sort_unstable();
        let apart = match u32::try_from(count) {
            Ok(count) if count > 0 => APART.min(SPREAD / count),
            _ => Duration::ZERO,
        };
        Self {
            now,
            apart,
            next: last.plain.map_or(now, |at| at.max(now)),
            shares: shares.into_iter(),
        }
    }

    /// When the next key goes out, on whose limits there are hints that end at these moments.
    pub(super) fn next(&mut self, last: &mut Last, ends: impl Iterator<Item = Instant>) -> Instant {
        let (now, share) = (self.now, self.shares.next());
        let ended = ends.filter(|end| *end <= now && now < *end + SPREAD).max();
        match (share, ended) {
            (Some(share), Some(end)) => {
                let at = end + share.of(SPREAD, now.saturating_duration_since(end));
                let at = last.after_hint.map_or(at, |last| last.max(at));
                last.after_hint = Some(at);
                at
            }
            _ => {
                let at = self.next.min(now + SPREAD);
                self.next = at + self.apart;
                last.plain = Some(at);
                at
            }
        }
    }
}
