//! How long a window lasts where the provider does not say: between which lengths it lies, by what was
//! rejected and what passed. Shared by the limits of one kind. Pure.
//!
//! A length that a rejection says in words is used until requests contradict it. Otherwise one request at a
//! time finds out when a closed limit is open again. The last one that is rejected and the first one that
//! passes bracket the length, and the first requests of later windows narrow the bracket.

use std::time::Duration;

use tokio::time::Instant;

use crate::quota::timing::{MAX_COOLDOWN, PERIOD_MARGIN};

/// The lengths that are usual, in seconds. Providers count by the second, the minute, the hour and the day, as
/// their pages on rate limits say, and some count by five minutes (Hugging Face). Gateways let their owner
/// choose, who chooses round numbers.
const USUAL: [u64; 16] = [
    1, 2, 3, 5, 10, 15, 20, 30, 60, 120, 180, 300, 600, 900, 1_800, 3_600,
];

/// So often one limit searches in a row: until a guess has grown to a minute.
const SEARCHES: u32 = 7;

#[derive(Clone, Debug, Default)]
pub(super) struct WindowLength {
    /// What the provider has said in words.
    said: Option<Duration>,
    shown: Option<Bracket>,
    search: Option<Search>,
    /// How often a request was sent soon after a rejection, to find out if that lasts.
    early_tests: u32,
    /// When one more than usual is sent next, and how long after that again.
    test: Option<(Instant, Duration)>,
    /// When a request is sent next in the middle of a window, and how long after that again.
    shorter_try: Option<(Instant, Duration)>,
}

/// A window lasts longer than one and at most as long as the other.
#[derive(Clone, Copy, Debug)]
struct Bracket {
    longer_than: Duration,
    at_most: Duration,
}

/// All limits of the kind are closed, and one request at a time finds out if that is over.
#[derive(Clone, Copy, Debug)]
struct Search {
    since: Instant,
    /// Nothing is sent until then.
    until: Instant,
    /// When the last such request was sent.
    probe: Option<Instant>,
    /// The limit whose request was rejected last.
    by: u32,
    /// How often in a row.
    times: u32,
}

// === impl WindowLength ===

impl WindowLength {
    /// Returns how long after the first request of a window the next one begins.
    pub(super) fn length(&self) -> Option<Duration> {
        let said = self
            .said
            .filter(|said| self.shown.is_none_or(|it| it.contains(*said)));
        let length = said.or(self.shown.map(Bracket::best))?;
        Some(with_margin(length).min(MAX_COOLDOWN))
    }

    /// Returns whether [`length`](Self::length) returns one.
    pub(super) fn is_known(&self) -> bool {
        self.said.is_some() || self.shown.is_some()
    }

    /// Returns whether it is worth a request to find out if a rejection lasts, after so many that came by
    /// chance and so many that did not.
    pub(super) fn may_test_early(&self, (by_chance, by_limit): (u32, u32)) -> bool {
        self.said.is_none() && self.early_tests + 2 * by_limit < 3 + 2 * by_chance
    }

    /// Returns whether the provider has said it in words.
    pub(super) fn is_said(&self) -> bool {
        self.said.is_some()
    }

    /// Records what the provider says of the length.
    pub(super) fn say(&mut self, length: Duration) {
        if self.said != Some(length) {
            (self.said, self.shown) = (Some(length), None);
        }
    }

    /// Records that a request was rejected this long after a window had begun.
    pub(super) fn rejected_after(&mut self, elapsed: Duration) {
        if let Some(bracket) = &mut self.shown {
            if elapsed >= bracket.at_most {
                // The windows are longer than it seemed: what passed then was of another window.
                self.shown = None;
            } else {
                bracket.longer_than = bracket.longer_than.max(elapsed);
            }
        }
    }

    /// Records that, after a rejection, the first request passed this long after a window had begun.
    pub(super) fn passed_after(&mut self, rejected: Duration, passed: Duration, now: Instant) {
        let found = Bracket {
            longer_than: rejected.min(passed),
            at_most: passed,
        };
        self.shown = Some(match self.shown {
            // It has become shorter than it was.
            Some(known) if passed <= known.longer_than => found,
            Some(known) => Bracket {
                longer_than: known.longer_than.max(found.longer_than),
                at_most: known.at_most.min(passed),
            },
            None => found,
        });
        self.search = None;
        if self.shorter_try.is_none() {
            self.shorter_try = Some((now + 4 * passed, 4 * passed));
        }
    }

    /// Forgets what was shown.
    pub(super) fn forget(&mut self) {
        (self.shown, self.search) = (None, None);
    }

    /// A request of the kind has passed that was sent then, so that the silence of one limit is not that of
    /// all.
    pub(super) fn pass(&mut self, sent: Instant) {
        self.search = self.search.filter(|search| sent < search.since);
    }

    /// A request is sent soon after a rejection.
    pub(super) fn test_early(&mut self) {
        self.early_tests = self.early_tests.saturating_add(1);
    }

    /// Nothing is sent to any limit of the kind until then, unless its period is known.
    pub(super) fn search_until(&mut self, until: Instant, by: u32, now: Instant) {
        if self.length().is_none() {
            let before = self.search.map_or((now, until), |it| (it.since, it.until));
            let times = self
                .search
                .filter(|it| it.by == by)
                .map_or(1, |it| it.times + 1);
            self.search = Some(Search {
                since: before.0,
                until: before.1.max(until),
                probe: None,
                by,
                times,
            });
        }
    }

    /// Returns until when a search forbids to send: to its next try, or to the result of the last one.
    pub(super) fn searches_until(&self, latency: Duration, now: Instant) -> Option<Instant> {
        let search = self.search?;
        let result = search.probe.map(|sent| sent + latency);
        Some(search.until.max(result.unwrap_or(search.until))).filter(|until| *until > now)
    }

    /// The last probe has ended.
    pub(super) fn forget_probe(&mut self) {
        if let Some(search) = &mut self.search {
            search.probe = None;
        }
    }

    /// Returns whether this limit has searched so often without success that it may be the only one that is closed.
    pub(super) fn was_searched_by(&self, number: u32) -> bool {
        self.search
            .is_some_and(|search| search.by == number && search.times >= SEARCHES)
    }

    /// A request is sent to a limit that a guess has closed.
    pub(super) fn probe(&mut self, now: Instant) {
        let new = Search {
            since: now,
            until: now,
            probe: None,
            by: 0,
            times: 0,
        };
        let search = self.search.unwrap_or(new);
        self.search = Some(Search {
            probe: Some(now),
            ..search
        });
    }

    /// Returns whether one more than usual may be sent to find out if there is more by now.
    pub(super) fn may_test(&self, now: Instant) -> bool {
        self.test.is_none_or(|(at, _)| at <= now)
    }

    /// One more than usual is sent in a window of this length. It is done again after twice the time.
    pub(super) fn test(&mut self, length: Duration, now: Instant) {
        if self.may_test(now) {
            let after = self.test.map_or(length, |(_, after)| after * 2);
            let after = after.max(length).min(MAX_COOLDOWN);
            self.test = Some((now + after, after));
        }
    }

    /// Returns whether a request may be sent in the middle of a window that is used up, to find out if windows
    /// have become shorter.
    pub(super) fn may_try_shorter(&self, now: Instant) -> bool {
        self.shorter_try.is_some_and(|(at, _)| at <= now)
    }

    /// Such a request is sent. It is done again after twice the time.
    pub(super) fn try_shorter(&mut self, length: Duration, now: Instant) {
        let after = self.shorter_try.map_or(length, |(_, after)| after * 2);
        let after = after.max(4 * length).min(MAX_COOLDOWN);
        self.shorter_try = Some((now + after, after));
    }

    /// The next test is due one window from now, because what is known has changed.
    pub(super) fn test_soon(&mut self, length: Duration, now: Instant) {
        self.test = Some((now + length, length));
    }
}

/// Returns the length of a window that ends by a hint, which came so long after its beginning. A hint of whole
/// seconds may have been rounded up.
pub(super) fn hinted(elapsed: Duration, hint: Duration) -> Duration {
    let length = elapsed.saturating_add(hint).min(MAX_COOLDOWN);
    if hint.subsec_nanos() > 0 {
        return length;
    }
    let usual = USUAL.into_iter().map(Duration::from_secs);
    let mut within = usual.filter(|it| *it <= length && *it + Duration::from_secs(1) > length);
    within
        .next()
        .map_or(length, |it| it + PERIOD_MARGIN.min(it / 100))
}

fn with_margin(length: Duration) -> Duration {
    length.saturating_add(PERIOD_MARGIN.min(length / 50))
}

// === impl Bracket ===

impl Bracket {
    fn contains(self, length: Duration) -> bool {
        self.longer_than < length && length <= self.at_most
    }

    /// Returns the shortest usual length within, or else one between, or the longest if both are close. It is
    /// not less than half of the longest: shorter ones are tried when that has proved right.
    fn best(self) -> Duration {
        let longer_than = self.longer_than.max(self.at_most / 2);
        let usual = USUAL.into_iter().map(Duration::from_secs);
        let mut within = usual.filter(|it| *it > longer_than && *it <= self.at_most);
        within
            .next()
            .unwrap_or_else(|| match self.at_most <= longer_than + longer_than / 8 {
                true => self.at_most,
                false => (longer_than + self.at_most) / 2,
            })
    }
}

#[cfg(test)]
mod tests;
