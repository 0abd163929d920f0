//! Until when nothing is sent to a limit that has rejected a request. Pure: `now` is an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::End;
use crate::{
    quota::timing::{
        FALSE_HINT_FLOOR, FIRST_GUESS, KEY_RECHECK, MAX_COOLDOWN, MIN_LONGEST_GUESS, QUOTA_RECHECK,
        REJECTION_LATENCY,
    },
    rejection::{Reason, Rejection, Window},
};

/// Free until it is rejected.
#[derive(Clone, Debug, Default)]
pub(super) struct Cooldown {
    period: Option<Period>,
    /// The last end that the provider has said, which may lie before that of a guess; kept when a success
    /// forgets the rest.
    hint: Option<Instant>,
    /// How many requests are out that were sent to find out whether a guess is too long.
    early_probes: u32,
}

/// The last cooldown; it may be over, and still counts for the doubling of the next.
#[derive(Clone, Debug)]
struct Period {
    rejection: Rejection,
    began: Instant,
    /// Not before the provider decided on the last request that it rejected.
    decided: Instant,
    until: Instant,
    term: Term,
    /// When a window as long as the longest guess ends that began no later than the first of these guesses.
    window_end: Instant,
}

/// How long a cooldown lasts.
#[derive(Clone, Copy, Debug)]
struct Term {
    length: Duration,
    basis: Basis,
    /// The least that the next hint is taken for; zero until one has proved false.
    floor: Duration,
}

/// How the end of a cooldown is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basis {
    /// The provider has said when.
    Hint,
    Guess,
    /// Time alone does not end it, as with a rejected key or a spent quota: it is checked then.
    Recheck,
}

/// What a cooldown lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// It ended then at a guess: one request should find out whether that was right before many are sent.
    Unproven(Instant),
    Closed(Instant),
    /// Closed, and time alone does not open it: checked again then.
    Unusable(Instant),
}

// === impl Cooldown ===

impl Cooldown {
    /// When it ends; `None` if it is over.
    pub(super) fn ends_at(&self, now: Instant) -> Option<Instant> {
        self.lasting(now).map(|period| period.until)
    }

    /// When it ends, and what caused it, as that is now; `None` if it is over.
    pub(super) fn end(&self, now: Instant) -> Option<End> {
        self.lasting(now).map(|period| End {
            at: period.until,
            is_unusable: period.term.basis == Basis::Recheck,
            rejection: Rejection {
                // A guess must not pass for what the provider has said, nor hide it.
                retry_after: self.hint.filter(|end| *end > now).map(|end| end - now),
                ..period.rejection.clone()
            },
        })
    }

    fn lasting(&self, now: Instant) -> Option<&Period> {
        self.period.as_ref().filter(|period| period.until > now)
    }

    /// The last end that the provider has said.
    pub(super) fn hint(&self) -> Option<Instant> {
        self.hint
    }

    /// Whether a rejection that came since `moment` forbids to send now.
    pub(super) fn began_since(&self, moment: Instant, now: Instant) -> bool {
        self.lasting(now)
            .is_some_and(|period| period.began >= moment)
    }

    pub(super) fn gate(&self, now: Instant) -> Gate {
        match &self.period {
            Some(period) if period.until > now => match period.term.basis {
                Basis::Recheck => Gate::Unusable(period.until),
                Basis::Hint | Basis::Guess => Gate::Closed(period.until),
            },
            Some(period) if period.term.basis != Basis::Hint => Gate::Unproven(period.until),
            _ => Gate::Open,
        }
    }

    /// Returns when the last cooldown ended, or ends.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.period.as_ref().map(|period| period.until)
    }

    /// Whether a request may find out now whether a guess is too long: one at a time.
    pub(super) fn allows_early_probe(&self, now: Instant) -> bool {
        let may_probe = |period| self.is_guess(period, now) && self.early_probes == 0;
        self.lasting(now).is_none_or(may_probe)
    }

    /// Whether nothing but a guess says that it lasts beyond `moment`.
    fn is_guess(&self, period: &Period, moment: Instant) -> bool {
        period.term.basis == Basis::Guess && self.hint.is_none_or(|end| end <= moment)
    }

    /// A request goes out to find out whether a guess is too long.
    pub(super) fn begin_early_probe(&mut self) {
        self.early_probes = self.early_probes.saturating_add(1);
    }

    /// That request is over, whatever became of it.
    pub(super) fn end_early_probe(&mut self) {
        self.early_probes = self.early_probes.saturating_sub(1);
    }

    /// Records a rejection of a request that was sent at `sent`, which only ever prolongs a cooldown.
    ///
    /// `has_passed` if it was sent well after the first request since the last cooldown, which was not
    /// rejected.
    pub(super) fn reject(
        &mut self,
        rejection: &Rejection,
        has_passed: bool,
        (sent, now): (Instant, Instant),
        longest_guess: Duration,
    ) {
        let longest_guess = longest_guess.clamp(MIN_LONGEST_GUESS, MAX_COOLDOWN);
        let window_end = self.window_end().unwrap_or(now + longest_guess);
        let mut term = self.next_term(rejection, has_passed, sent, longest_guess);
        if term.basis == Basis::Guess && now < window_end {
            // A longer guess would only idle through the next window.
            term.length = term.length.min(window_end - now).max(term.floor);
        }
        let until = now + term.length;
        let decided = decided(sent, now);
        self.hint = self.hint.max(hint(rejection).map(|hint| now + hint));
        match &mut self.period {
            Some(period) if period.until >= until => period.goes_on(decided, now),
            // What was sent before it ended proves nothing new, unless it says something new.
            Some(period)
                if term.basis != Basis::Hint
                    && sent < period.until
                    && !says_more(rejection, &period.rejection) =>
            {
                period.goes_on(decided, now);
            }
            period => {
                *period = Some(Period {
                    rejection: rejection.clone(),
                    began: now,
                    decided,
                    until,
                    term,
                    window_end,
                });
            }
        }
    }

    /// When the window ends, or has ended, that the first of the guesses so far has met.
    fn window_end(&self) -> Option<Instant> {
        let guess = self.period.as_ref();
        let guess = guess.filter(|period| period.term.basis == Basis::Guess);
        guess.map(|period| period.window_end)
    }

    /// A request sent at `sent` succeeded; one sent before the rejection proves nothing.
    pub(super) fn succeed(&mut self, sent: Instant) {
        let is_over = self.period.as_ref().is_some_and(|period| {
            // A guess is also ended by one that was let in after the rejection was decided on, though that
            // had not come yet.
            let since = match self.is_guess(period, sent) {
                true => period.decided,
                false => period.began,
            };
            sent > since
        });
        if is_over {
            self.period = None;
            // One that ended early by this was not waited for.
            self.hint = self.hint.filter(|end| *end <= sent);
        }
    }

    /// How long the next cooldown is to last.
    fn next_term(
        &self,
        rejection: &Rejection,
        has_passed: bool,
        sent: Instant,
        longest_guess: Duration,
    ) -> Term {
        let doubled = |first| self.doubled(rejection, has_passed, sent, first);
        let recheck = |length| Term::new(length, Basis::Recheck);
        match (rejection.reason, hint(rejection)) {
            // OpenRouter's budget of what is in flight says in how many seconds there is more.
            (Reason::QuotaExhausted, Some(hint)) if rejection.time_helps() => {
                self.hinted(hint, sent, longest_guess)
            }
            (Reason::QuotaExhausted, hint) => {
                let guess = doubled(QUOTA_RECHECK);
                recheck(guess.max(hint.unwrap_or_default()))
            }
            (Reason::KeyRejected, hint) => {
                let guess = doubled(KEY_RECHECK);
                recheck(guess.max(hint.unwrap_or_default()))
            }
            (_, Some(hint)) => self.hinted(hint, sent, longest_guess),
            (_, None) if is_of_a_day(rejection) => recheck(QUOTA_RECHECK),
            (_, None) => {
                let guess = doubled(FIRST_GUESS);
                Term::new(guess.min(longest_guess), Basis::Guess)
            }
        }
    }

    /// As long as the provider says. A request that was sent right after the last hint's end, with no
    /// success since, and was rejected, has proved that hint false: then it is a guess that doubles.
    fn hinted(&self, hint: Duration, sent: Instant, longest_guess: Duration) -> Term {
        let last = self.period.as_ref().filter(|period| period.has_hint());
        let plain = Term::new(hint, Basis::Hint);
        match last {
            Some(period) if period.is_proved_false(sent) => {
                let floor = period.term.floor.saturating_mul(2);
                let floor = floor.max(FALSE_HINT_FLOOR).min(longest_guess);
                let basis = match floor > hint {
                    true => Basis::Guess,
                    false => Basis::Hint,
                };
                Term {
                    floor,
                    ..Term::new(hint.max(floor), basis)
                }
            }
            // The many requests that were in flight when it began are one rejection.
            Some(period) if sent < period.until => Term {
                floor: period.term.floor,
                ..plain
            },
            _ => plain,
        }
    }

    /// `first`, or twice the last if the request was sent after that was over and before anything had
    /// passed: the many requests that were in flight when it began are one rejection.
    fn doubled(
        &self,
        rejection: &Rejection,
        has_passed: bool,
        sent: Instant,
        first: Duration,
    ) -> Duration {
        let same = |period: &&Period| {
            period.term.basis != Basis::Hint && period.rejection.reason == rejection.reason
        };
        match self.period.as_ref().filter(same) {
            Some(_) if has_passed => first,
            Some(period) if sent >= period.until => period.term.length.saturating_mul(2).max(first),
            Some(period) => period.term.length,
            None => first,
        }
    }
}

// === impl Period ===

impl Period {
    /// It was rejected again, which makes it no longer.
    fn goes_on(&mut self, decided: Instant, now: Instant) {
        self.began = now;
        self.decided = self.decided.max(decided);
    }

    /// Whether the provider has named a time after which this limit ends.
    fn has_hint(&self) -> bool {
        hint(&self.rejection).is_some() && self.term.basis != Basis::Recheck
    }

    /// Whether the rejection of a request that was sent then proves that it was to last longer. What
    /// comes long after its end may have met another limit.
    fn is_proved_false(&self, sent: Instant) -> bool {
        let soon = self.term.length.max(REJECTION_LATENCY);
        self.until <= sent && sent < self.until + soon
    }
}

// === impl Term ===

impl Term {
    fn new(length: Duration, basis: Basis) -> Self {
        Self {
            length: length.min(MAX_COOLDOWN),
            basis,
            floor: Duration::ZERO,
        }
    }
}

/// When the provider has decided, at the latest, on a request that was sent at `sent` and rejected by an
/// answer that came at `now`. Half of the time of a rejection that comes at once is its way back.
fn decided(sent: Instant, now: Instant) -> Instant {
    match now.saturating_duration_since(sent) {
        took if took < REJECTION_LATENCY => sent + took / 2,
        _ => now,
    }
}

/// How long the provider says to wait; zero says "now", and was not true for this request.
fn hint(rejection: &Rejection) -> Option<Duration> {
    let hint = rejection.retry_after.filter(|hint| !hint.is_zero())?;
    Some(hint.min(MAX_COOLDOWN))
}

/// Whether a rejection says what another, at whose end was guessed, does not.
fn says_more(rejection: &Rejection, than: &Rejection) -> bool {
    rejection.reason != than.reason
        || hint(rejection).is_some()
        || (is_of_a_day(rejection) && !is_of_a_day(than))
}

/// Whether its window is too long to be waited for: a day's, or a plan's five hours.
fn is_of_a_day(rejection: &Rejection) -> bool {
    rejection.window.is_some_and(|window| window > Window::Hour)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use proptest::{collection::vec, option, prelude::*};

    use super::*;
    use crate::quota::timing::LONGEST_GUESS;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn limited(hint: Option<u64>) -> Rejection {
        Rejection {
            retry_after: hint.map(secs),
            ..Rejection::new(Reason::RateLimited)
        }
    }

    fn left(cooldown: &Cooldown, now: Instant) -> Duration {
        cooldown
            .ends_at(now)
            .map_or(Duration::ZERO, |end| end - now)
    }

    #[test]
    fn a_rejection_cools_for_the_hint_or_else_for_a_second_and_never_for_more_than_a_day() {
        let now = Instant::now();
        let day = Rejection {
            window: Some(Window::Day),
            ..limited(None)
        };
        let plan = Rejection {
            window: Some(Window::FiveHours),
            ..limited(None)
        };
        let mut soon = Rejection::new(Reason::QuotaExhausted);
        (soon.retry_after, soon.remedies.time) = (Some(secs(3)), Some(true));
        let table = [
            (soon, secs(3)),
            (limited(Some(7)), secs(7)),
            (limited(Some(0)), secs(1)),
            (limited(None), secs(1)),
            (Rejection::new(Reason::Overloaded), secs(1)),
            (limited(Some(100 * 24 * 60 * 60)), secs(24 * 60 * 60)),
            (day, secs(60 * 60)),
            (plan, secs(60 * 60)),
            (Rejection::new(Reason::QuotaExhausted), secs(60 * 60)),
            (Rejection::new(Reason::KeyRejected), secs(60)),
        ];
        for (rejection, expected) in table {
            let mut cooldown = Cooldown::default();
            cooldown.reject(&rejection, false, (now, now), LONGEST_GUESS);
            assert_eq!(left(&cooldown, now), expected, "{rejection:?}");
        }
    }

    #[test]
    fn a_later_shorter_rejection_does_not_shorten_it() {
        let now = Instant::now();
        let mut cooldown = Cooldown::default();
        cooldown.reject(&limited(Some(60)), false, (now, now), LONGEST_GUESS);
        cooldown.reject(
            &limited(Some(5)),
            false,
            (now, now + secs(1)),
            LONGEST_GUESS,
        );
        assert_eq!(left(&cooldown, now + secs(1)), secs(59));
    }

    #[test]
    fn what_was_set_aside_goes_stale_by_a_rejection_since_while_that_lasts() {
        let now = Instant::now();
        let mut cooldown = Cooldown::default();
        cooldown.reject(
            &limited(Some(5)),
            false,
            (now, now + secs(1)),
            LONGEST_GUESS,
        );
        let is_stale = |set_aside, at| cooldown.began_since(now + secs(set_aside), now + secs(at));
        assert!(is_stale(0, 2));
        assert!(is_stale(1, 2));
        assert!(!is_stale(2, 3), "it was set aside all the same");
        assert!(!is_stale(0, 6), "it is over");
    }

    #[test]
    fn a_success_clears_it_only_if_it_was_sent_after_the_rejection_came() {
        let now = Instant::now();
        let mut cooldown = Cooldown::default();
        cooldown.reject(&limited(None), false, (now, now + secs(2)), LONGEST_GUESS);
        cooldown.succeed(now + secs(1));
        assert_eq!(left(&cooldown, now + secs(2)), secs(1));
        cooldown.succeed(now + secs(3));
        cooldown.reject(
            &limited(None),
            false,
            (now + secs(4), now + secs(4)),
            LONGEST_GUESS,
        );
        assert_eq!(
            left(&cooldown, now + secs(4)),
            secs(1),
            "it does not double"
        );
    }

    #[test]
    fn a_guess_is_ended_by_a_success_that_was_let_in_after_the_rejection() {
        let now = Instant::now();
        let at = |millis| now + Duration::from_millis(millis);
        for (hint, ends) in [(None, true), (Some(1), false)] {
            let mut cooldown = Cooldown::default();
            cooldown.reject(&limited(hint), false, (now, at(50)), LONGEST_GUESS);
            cooldown.succeed(at(20));
            assert!(cooldown.ends_at(at(350)).is_some(), "it was let in before");
            cooldown.succeed(at(30));
            assert_eq!(cooldown.ends_at(at(380)).is_none(), ends, "{hint:?}");
        }
    }

    #[test]
    fn a_rejected_key_is_left_alone_twice_as_long_each_time_and_a_herd_counts_once() {
        let rejected = Rejection::new(Reason::KeyRejected);
        let mut now = Instant::now();
        let mut cooldown = Cooldown::default();
        for _ in 0..10 {
            cooldown.reject(&rejected, false, (now, now + secs(1)), LONGEST_GUESS);
        }
        now += secs(1);
        let mut lengths = vec![left(&cooldown, now).as_secs()];
        for _ in 0..12 {
            now += left(&cooldown, now) + secs(1);
            cooldown.reject(&rejected, false, (now, now), LONGEST_GUESS);
            lengths.push(left(&cooldown, now).as_secs());
        }
        assert_eq!(lengths[..5], [60, 120, 240, 480, 960]);
        assert_eq!(lengths.last(), Some(&(24 * 60 * 60)));
        cooldown.succeed(now + secs(1));
        cooldown.reject(
            &rejected,
            false,
            (now + secs(2), now + secs(2)),
            LONGEST_GUESS,
        );
        assert_eq!(left(&cooldown, now + secs(2)), secs(60));
    }

    #[test]
    fn trying_anyway_while_it_cools_neither_doubles_nor_prolongs_a_guess() {
        let now = Instant::now();
        let mut cooldown = Cooldown::default();
        for tenth in 0..10 {
            let at = now + Duration::from_millis(100) * tenth;
            cooldown.reject(&limited(None), false, (at, at), LONGEST_GUESS);
        }
        let at = now + Duration::from_millis(900);
        assert_eq!(left(&cooldown, at), Duration::from_millis(100));
        cooldown.reject(&limited(Some(30)), false, (at, at), LONGEST_GUESS);
        assert_eq!(
            left(&cooldown, at),
            secs(30),
            "but the provider's word does"
        );
    }

    #[test]
    fn only_a_cooldown_that_ends_at_a_guess_needs_proof() {
        let now = Instant::now();
        let cooled = |hint| {
            let mut cooldown = Cooldown::default();
            cooldown.reject(&limited(hint), false, (now, now), LONGEST_GUESS);
            cooldown
        };
        let (at, end) = (|secs_| now + secs(secs_), cooled(Some(5)));
        assert_eq!(end.gate(at(1)), Gate::Closed(at(5)));
        assert_eq!(end.gate(at(5)), Gate::Open);

        let mut guessed = cooled(None);
        assert_eq!(guessed.gate(at(1)), Gate::Unproven(at(1)));
        guessed.reject(&limited(None), false, (at(1), at(2)), LONGEST_GUESS);
        assert_eq!(guessed.gate(at(2)), Gate::Closed(at(4)));
        assert_eq!(guessed.gate(at(4)), Gate::Unproven(at(4)));
    }

    /// How long it lasts each time that the request sent at its end is rejected at once.
    fn lengths(rejection: &Rejection, longest_guess: Duration, count: usize) -> Vec<Duration> {
        let (mut now, mut cooldown) = (Instant::now(), Cooldown::default());
        let lengths = (0..count).map(|_| {
            cooldown.reject(rejection, false, (now, now), longest_guess);
            let length = left(&cooldown, now);
            now += length;
            length
        });
        lengths.collect()
    }

    #[test]
    fn a_guess_begins_at_a_second_and_doubles_up_to_the_longest() {
        for reason in [Reason::RateLimited, Reason::Overloaded] {
            let lengths = lengths(&Rejection::new(reason), LONGEST_GUESS, 8);
            assert_eq!(
                lengths,
                [1, 2, 4, 8, 16, 29, 58, 60].map(secs),
                "{reason:?}: the sixth ends with a window of a minute"
            );
        }
        let lengths_up_to = |longest| lengths(&limited(None), longest, 3);
        let short = Duration::from_millis(800);
        assert_eq!(lengths_up_to(short), [short; 3]);
        assert_eq!(lengths_up_to(Duration::ZERO), [MIN_LONGEST_GUESS; 3]);
    }

    #[test]
    fn a_hint_that_is_refused_at_its_end_doubles_from_200_ms() {
        let millis = Duration::from_millis;
        let tiny = Rejection {
            retry_after: Some(millis(1)),
            ..limited(None)
        };
        assert_eq!(
            lengths(&tiny, secs(1), 7),
            [1, 200, 400, 800, 1_000, 1_000, 1_000].map(millis)
        );
        assert_eq!(
            lengths(&limited(Some(1)), secs(4), 8),
            [1_000, 1_000, 1_000, 1_000, 1_600, 3_200, 4_000, 4_000].map(millis),
            "never less than the hint"
        );
    }

    #[test]
    fn a_false_hint_is_forgiven_by_a_success_and_by_time() {
        let now = Instant::now();
        let tiny = Rejection {
            retry_after: Some(Duration::from_millis(1)),
            ..limited(None)
        };
        let mut twice = Cooldown::default();
        twice.reject(&tiny, false, (now, now), LONGEST_GUESS);
        let end = now + Duration::from_millis(1);
        twice.reject(&tiny, false, (end, end), LONGEST_GUESS);
        assert_eq!(left(&twice, end), FALSE_HINT_FLOOR);
        let said = twice.end(end).unwrap().rejection.retry_after;
        assert_eq!(said, tiny.retry_after, "what lasts longer is a guess");
        let after = end + Duration::from_millis(1);
        assert_eq!(twice.end(after).unwrap().rejection.retry_after, None);

        let mut after_success = twice.clone();
        after_success.succeed(end + FALSE_HINT_FLOOR);
        let later = end + FALSE_HINT_FLOOR + Duration::from_millis(10);
        after_success.reject(&tiny, false, (later, later), LONGEST_GUESS);
        assert_eq!(left(&after_success, later), Duration::from_millis(1));

        let later = end + secs(10);
        twice.reject(&tiny, false, (later, later), LONGEST_GUESS);
        assert_eq!(left(&twice, later), Duration::from_millis(1));
    }

    #[test]
    fn requests_in_flight_when_a_hint_came_do_not_prove_it_false() {
        let now = Instant::now();
        let mut cooldown = Cooldown::default();
        for answer in 1..=20 {
            let when = (now, now + Duration::from_millis(answer));
            cooldown.reject(&limited(Some(2)), false, when, LONGEST_GUESS);
        }
        let at = now + Duration::from_millis(20);
        assert_eq!(left(&cooldown, at), secs(2));
        assert_eq!(
            cooldown.end(at).unwrap().rejection.retry_after,
            Some(secs(2))
        );
    }

    #[test]
    fn only_a_guess_takes_an_early_probe_and_one_at_a_time() {
        let now = Instant::now();
        let cooled = |rejection: Rejection| {
            let mut cooldown = Cooldown::default();
            cooldown.reject(&rejection, false, (now, now), LONGEST_GUESS);
            cooldown
        };
        assert!(!cooled(limited(Some(5))).allows_early_probe(now));
        for reason in [Reason::KeyRejected, Reason::QuotaExhausted] {
            assert!(!cooled(Rejection::new(reason)).allows_early_probe(now));
        }
        let mut guessed = cooled(limited(None));
        assert!(guessed.allows_early_probe(now));
        guessed.begin_early_probe();
        assert!(!guessed.allows_early_probe(now));
        guessed.end_early_probe();
        assert!(guessed.allows_early_probe(now));
    }

    /// What may befall a cooldown; moments are milliseconds.
    #[derive(Clone, Debug)]
    enum Event {
        Pass(u64),
        /// A request that was sent so long ago was rejected.
        Refuse(Rejection, u64),
        Succeed(u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        let hint = prop_oneof![
            (0..200_000_u64).prop_map(Duration::from_millis),
            Just(Duration::MAX),
            Just(Duration::ZERO),
        ];
        let reason = prop_oneof![
            4 => Just(Reason::RateLimited),
            1 => Just(Reason::QuotaExhausted),
            1 => Just(Reason::KeyRejected),
            1 => Just(Reason::Overloaded),
        ];
        let window = option::weighted(0.2, Just(Window::Day));
        let rejection = (reason, option::of(hint), window);
        let rejection = rejection.prop_map(|(reason, retry_after, window)| Rejection {
            retry_after,
            window,
            ..Rejection::new(reason)
        });
        prop_oneof![
            2 => (0..400_000_u64).prop_map(Event::Pass),
            1 => (0..100_000_000_u64).prop_map(Event::Pass),
            3 => (rejection, 0..90_000_u64).prop_map(|(rejection, ago)| Event::Refuse(rejection, ago)),
            1 => (0..90_000_u64).prop_map(Event::Succeed),
        ]
    }

    proptest! {
        #[test]
        fn it_only_grows_but_by_a_success_that_was_sent_after_the_last_rejection(
            longest_guess in prop_oneof![
                (0..100_000_u64).prop_map(Duration::from_millis),
                Just(Duration::MAX),
            ],
            events in vec(event(), 1..60),
        ) {
            let millis = Duration::from_millis;
            let mut now = Instant::now() + secs(1_000);
            let mut cooldown = Cooldown::default();
            let mut rejected_at = None;
            for event in events {
                let before = cooldown.ends_at(now);
                let is_guess = cooldown.allows_early_probe(now);
                match event {
                    Event::Pass(time) => now += millis(time),
                    Event::Refuse(rejection, ago) => {
                        cooldown.reject(&rejection, false, (now - millis(ago), now), longest_guess);
                        rejected_at = Some(now);
                    }
                    Event::Succeed(ago) => {
                        let sent = now - millis(ago);
                        cooldown.succeed(sent);
                        if rejected_at.is_none_or(|at| sent > at) {
                            prop_assert!(cooldown.ends_at(now).is_none());
                            continue;
                        }
                        if is_guess && cooldown.ends_at(now).is_none() {
                            continue;
                        }
                    }
                }
                let after = cooldown.ends_at(now);
                prop_assert!(after >= before.filter(|end| *end > now), "{before:?} {after:?}");
                prop_assert!(after.is_none_or(|end| end <= now + MAX_COOLDOWN));
                match cooldown.gate(now) {
                    Gate::Closed(until) | Gate::Unusable(until) => {
                        prop_assert_eq!(Some(until), after);
                    }
                    Gate::Open | Gate::Unproven(_) => prop_assert!(after.is_none()),
                }
            }
        }
    }
}
