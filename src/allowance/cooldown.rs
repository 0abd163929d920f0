//! Until when a key, a group of keys or a target is left alone. Pure: `now` is an argument.

use std::time::Duration;

use tokio::time::Instant;

use crate::refusal::{Reason, Refusal, Window};

/// The longest; day and billing windows are no longer.
pub(super) const CAP: Duration = Duration::from_secs(24 * 60 * 60);

/// A quota may be raised, or a day's limit end, at any time: asked again each hour.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// A rejected key may have been a provider's hiccup; one 401 must not disable it for ever.
const REJECTED: Duration = Duration::from_secs(60);

/// A hint of zero says "now", and was not true for this request.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Refusals come at once, so an answer that takes longer than this is none.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);

/// Where the provider does not say: a minute's window.
pub(crate) const NO_HINT: Duration = Duration::from_secs(60);

/// Free until it is refused.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cooldown {
    spell: Option<Spell>,
    /// The last end that the provider has said; kept when a success forgets the rest.
    hint: Option<Instant>,
}

/// The last cooldown; it may be over, and still counts for the doubling of the next.
#[derive(Clone, Debug)]
struct Spell {
    refusal: Refusal,
    began: Instant,
    until: Instant,
    length: Duration,
    /// The provider has said when it ends.
    exact: bool,
    /// The first request after its end, if that was a guess.
    probe: Option<Probe>,
}

/// A request that finds out whether a cooldown is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    /// It was to go out then, and waits for the client.
    SetAside(Instant),
    /// It went out then.
    Out(Instant),
}

/// What may go out by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Open,
    /// It has ended at a guess: one request should find out before many go.
    Probe,
    /// That is out; more at that time, or after its answer.
    Probed(Instant),
    Closed(Instant),
}

// === impl Cooldown ===

impl Cooldown {
    /// When it ends, and what caused it; `None` if it is over.
    pub(crate) fn end(&self, now: Instant) -> Option<(Instant, &Refusal)> {
        let spell = self.spell.as_ref().filter(|spell| spell.until > now)?;
        Some((spell.until, &spell.refusal))
    }

    /// The last end that the provider has said.
    pub(crate) fn hint(&self) -> Option<Instant> {
        self.hint
    }

    /// Whether a refusal that came since `moment` forbids to send now.
    pub(crate) fn began_since(&self, moment: Instant, now: Instant) -> bool {
        let spell = self.spell.as_ref();
        spell.is_some_and(|spell| spell.until > now && spell.began >= moment)
    }

    pub(crate) fn gate(&self, now: Instant) -> Gate {
        match &self.spell {
            Some(spell) if spell.until > now => Gate::Closed(spell.until),
            Some(spell) if !spell.exact => match spell.probe {
                None => Gate::Probe,
                Some(Probe::SetAside(_)) => Gate::Probed(now + REFUSED_WITHIN),
                Some(Probe::Out(at)) if now < at + REFUSED_WITHIN => {
                    Gate::Probed(at + REFUSED_WITHIN)
                }
                Some(Probe::Out(_)) => Gate::Open,
            },
            _ => Gate::Open,
        }
    }

    /// A request goes out.
    pub(crate) fn take(&mut self, now: Instant) {
        let spell = self.spell.as_mut().filter(|spell| spell.until <= now);
        if let Some(spell) = spell {
            spell.probe.get_or_insert(Probe::Out(now));
        }
    }

    /// The request that was to go out at `taken` waits for the client.
    pub(crate) fn set_aside(&mut self, taken: Instant) {
        self.replace(Probe::Out(taken), Some(Probe::SetAside(taken)));
    }

    /// It goes out now.
    pub(crate) fn goes_out(&mut self, taken: Instant, now: Instant) {
        self.replace(Probe::SetAside(taken), Some(Probe::Out(now)));
    }

    /// It did not go out.
    pub(crate) fn put_back(&mut self, taken: Instant) {
        self.replace(Probe::SetAside(taken), None);
        self.replace(Probe::Out(taken), None);
    }

    fn replace(&mut self, old: Probe, new: Option<Probe>) {
        let spell = self.spell.as_mut();
        if let Some(spell) = spell.filter(|spell| spell.probe == Some(old)) {
            spell.probe = new;
        }
    }

    /// A request sent at `sent` was refused; a cooldown only ever grows by it.
    pub(crate) fn refuse(
        &mut self,
        refusal: &Refusal,
        sent: Instant,
        now: Instant,
        no_hint: Duration,
    ) {
        let (length, exact) = self.length(refusal, sent, no_hint);
        let until = now + length;
        match &mut self.spell {
            Some(spell) if spell.until >= until => spell.began = now,
            // What was sent before it ended proves nothing new, unless it says something new.
            Some(spell) if !exact && sent < spell.until && !says_more(refusal, &spell.refusal) => {
                spell.began = now;
            }
            spell => {
                if exact {
                    self.hint = Some(until);
                }
                *spell = Some(Spell {
                    refusal: refusal.clone(),
                    began: now,
                    until,
                    length,
                    exact,
                    probe: None,
                });
            }
        }
    }

    /// A request sent at `sent` succeeded; one sent before the refusal proves nothing.
    pub(crate) fn succeed(&mut self, sent: Instant) {
        if self.spell.as_ref().is_some_and(|spell| sent > spell.began) {
            self.spell = None;
            // One that ended early by this was not waited for.
            self.hint = self.hint.filter(|end| *end <= sent);
        }
    }

    /// How long it is to last, and whether the provider has said so.
    fn length(&self, refusal: &Refusal, sent: Instant, no_hint: Duration) -> (Duration, bool) {
        let (length, exact) = match (refusal.reason, refusal.retry_after) {
            // OpenRouter's budget of what is in flight says in how many seconds there is more.
            (Reason::QuotaExhausted, Some(hint)) if refusal.time_helps() && !hint.is_zero() => {
                (hint, true)
            }
            (Reason::QuotaExhausted, hint) => (
                self.doubled(refusal, sent, HOUR)
                    .max(hint.unwrap_or_default()),
                false,
            ),
            (Reason::KeyRejected, hint) => (
                self.doubled(refusal, sent, REJECTED)
                    .max(hint.unwrap_or_default()),
                false,
            ),
            (_, Some(Duration::ZERO)) => (AT_ONCE.min(no_hint), false),
            (_, Some(hint)) => (hint, true),
            (_, None) if is_of_a_day(refusal) => (HOUR, false),
            // Even a limit by the day or of a plan is asked again each hour.
            (_, None) => (
                self.doubled(refusal, sent, no_hint).min(HOUR.max(no_hint)),
                false,
            ),
        };
        (length.min(CAP), exact)
    }

    /// `first`, or twice the last if the request was sent after that was over and before anything had
    /// passed: the many requests that were in flight when it began are one refusal.
    fn doubled(&self, refusal: &Refusal, sent: Instant, first: Duration) -> Duration {
        let same = |spell: &&Spell| !spell.exact && spell.refusal.reason == refusal.reason;
        let passed = |probe| matches!(probe, Probe::Out(at) if sent > at + REFUSED_WITHIN);
        match self.spell.as_ref().filter(same) {
            Some(spell) if spell.probe.is_some_and(passed) => first,
            Some(spell) if sent >= spell.until => spell.length.saturating_mul(2),
            Some(spell) => spell.length,
            None => first,
        }
    }
}

/// Whether a refusal says what another, at whose end was guessed, does not.
fn says_more(refusal: &Refusal, than: &Refusal) -> bool {
    refusal.reason != than.reason
        || refusal.retry_after.is_some()
        || (is_of_a_day(refusal) && !is_of_a_day(than))
}

/// Whether it counts over a day, or over the hours of a plan.
fn is_of_a_day(refusal: &Refusal) -> bool {
    refusal.window.is_some_and(|window| window > Window::Hour)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]

    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn limited(hint: Option<u64>) -> Refusal {
        Refusal {
            retry_after: hint.map(secs),
            ..Refusal::new(Reason::RateLimited)
        }
    }

    fn left(cooldown: &Cooldown, now: Instant) -> Duration {
        cooldown
            .end(now)
            .map_or(Duration::ZERO, |(end, _)| end - now)
    }

    #[test]
    fn a_refusal_cools_for_the_hint_or_else_for_a_minute_and_never_for_more_than_a_day() {
        let now = Instant::now();
        let day = Refusal {
            window: Some(Window::Day),
            ..limited(None)
        };
        let mut soon = Refusal::new(Reason::QuotaExhausted);
        (soon.retry_after, soon.cures.time) = (Some(secs(3)), Some(true));
        let table = [
            (soon, secs(3)),
            (limited(Some(7)), secs(7)),
            (limited(Some(0)), secs(1)),
            (limited(None), secs(60)),
            (limited(Some(100 * 24 * 60 * 60)), secs(24 * 60 * 60)),
            (day, secs(60 * 60)),
            (Refusal::new(Reason::QuotaExhausted), secs(60 * 60)),
            (Refusal::new(Reason::KeyRejected), secs(60)),
        ];
        for (refusal, expected) in table {
            let mut cooldown = Cooldown::default();
            cooldown.refuse(&refusal, now, now, NO_HINT);
            assert_eq!(left(&cooldown, now), expected, "{refusal:?}");
        }
    }

    #[test]
    fn a_later_shorter_refusal_does_not_shorten_it() {
        let now = Instant::now();
        let mut cooldown = Cooldown::default();
        cooldown.refuse(&limited(Some(60)), now, now, NO_HINT);
        cooldown.refuse(&limited(Some(5)), now, now + secs(1), NO_HINT);
        assert_eq!(left(&cooldown, now + secs(1)), secs(59));
    }

    #[test]
    fn what_was_set_aside_goes_stale_by_a_refusal_since_while_that_lasts() {
        let now = Instant::now();
        let mut cooldown = Cooldown::default();
        cooldown.refuse(&limited(Some(5)), now, now + secs(1), NO_HINT);
        let is_stale = |set_aside, at| cooldown.began_since(now + secs(set_aside), now + secs(at));
        assert!(is_stale(0, 2));
        assert!(is_stale(1, 2));
        assert!(!is_stale(2, 3), "it was set aside all the same");
        assert!(!is_stale(0, 6), "it is over");
    }

    #[test]
    fn a_success_clears_it_only_if_it_was_sent_after_the_refusal_came() {
        let now = Instant::now();
        let mut cooldown = Cooldown::default();
        cooldown.refuse(&limited(None), now, now + secs(2), NO_HINT);
        cooldown.succeed(now + secs(1));
        assert_eq!(left(&cooldown, now + secs(2)), secs(60));
        cooldown.succeed(now + secs(3));
        assert_eq!(left(&cooldown, now + secs(3)), Duration::ZERO);
    }

    #[test]
    fn a_rejected_key_is_left_alone_twice_as_long_each_time_and_a_herd_counts_once() {
        let rejected = Refusal::new(Reason::KeyRejected);
        let mut now = Instant::now();
        let mut cooldown = Cooldown::default();
        for _ in 0..10 {
            cooldown.refuse(&rejected, now, now + secs(1), NO_HINT);
        }
        now += secs(1);
        let mut lengths = vec![left(&cooldown, now).as_secs()];
        for _ in 0..12 {
            now += left(&cooldown, now) + secs(1);
            cooldown.refuse(&rejected, now, now, NO_HINT);
            lengths.push(left(&cooldown, now).as_secs());
        }
        assert_eq!(lengths[..5], [60, 120, 240, 480, 960]);
        assert_eq!(lengths.last(), Some(&(24 * 60 * 60)));
        cooldown.succeed(now + secs(1));
        cooldown.refuse(&rejected, now + secs(2), now + secs(2), NO_HINT);
        assert_eq!(left(&cooldown, now + secs(2)), secs(60));
    }

    #[test]
    fn trying_anyway_while_it_cools_neither_doubles_nor_prolongs_a_guess() {
        let now = Instant::now();
        let mut cooldown = Cooldown::default();
        for second in 0..50 {
            let at = now + secs(second);
            cooldown.refuse(&limited(None), at, at, NO_HINT);
        }
        assert_eq!(left(&cooldown, now + secs(49)), secs(11));
        cooldown.refuse(&limited(Some(30)), now + secs(49), now + secs(50), NO_HINT);
        assert_eq!(
            left(&cooldown, now + secs(50)),
            secs(30),
            "but the provider's word does"
        );
    }

    #[test]
    fn a_probe_that_did_not_go_out_has_found_out_nothing() {
        let now = Instant::now();
        let mut cooldown = Cooldown::default();
        cooldown.refuse(&limited(None), now, now, NO_HINT);
        let end = now + secs(60);
        cooldown.take(end);
        cooldown.take(end + secs(1));
        cooldown.put_back(end + secs(1));
        assert_eq!(cooldown.gate(end + secs(2)), Gate::Open, "the first is out");
        cooldown.put_back(end);
        assert_eq!(cooldown.gate(end + secs(2)), Gate::Probe);
    }

    #[test]
    fn only_a_guess_needs_a_probe_and_what_is_not_refused_at_once_has_passed() {
        let now = Instant::now();
        let cooled = |hint| {
            let mut cooldown = Cooldown::default();
            cooldown.refuse(&limited(hint), now, now, NO_HINT);
            cooldown
        };
        assert_eq!(
            cooled(Some(5)).gate(now + secs(1)),
            Gate::Closed(now + secs(5))
        );
        assert_eq!(cooled(Some(5)).gate(now + secs(5)), Gate::Open);

        let mut guessed = cooled(None);
        assert_eq!(guessed.gate(now + secs(60)), Gate::Probe);
        guessed.take(now + secs(60));
        assert_eq!(guessed.gate(now + secs(60)), Gate::Probed(now + secs(61)));
        assert_eq!(guessed.gate(now + secs(61)), Gate::Open);
        guessed.refuse(&limited(None), now + secs(60), now + secs(61), NO_HINT);
        assert_eq!(
            guessed.gate(now + secs(61)),
            Gate::Closed(now + secs(61 + 120))
        );
        assert_eq!(guessed.gate(now + secs(181)), Gate::Probe);
    }

    /// What may befall a cooldown; moments are milliseconds.
    #[derive(Clone, Debug)]
    enum Event {
        Pass(u64),
        Take,
        /// A request that was sent so long ago was refused.
        Refuse(Refusal, u64),
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
        let refusal = (reason, option::of(hint), window);
        let refusal = refusal.prop_map(|(reason, retry_after, window)| Refusal {
            retry_after,
            window,
            ..Refusal::new(reason)
        });
        prop_oneof![
            2 => (0..400_000_u64).prop_map(Event::Pass),
            1 => (0..100_000_000_u64).prop_map(Event::Pass),
            1 => Just(Event::Take),
            3 => (refusal, 0..90_000_u64).prop_map(|(refusal, ago)| Event::Refuse(refusal, ago)),
            1 => (0..90_000_u64).prop_map(Event::Succeed),
        ]
    }

    proptest! {
        #[test]
        fn it_only_grows_but_by_a_success_that_was_sent_after_the_last_refusal(
            no_hint in prop_oneof![
                (0..100_000_u64).prop_map(Duration::from_millis),
                Just(Duration::MAX),
            ],
            events in vec(event(), 1..60),
        ) {
            let millis = Duration::from_millis;
            let mut now = Instant::now() + secs(1_000);
            let mut cooldown = Cooldown::default();
            let mut refused_at = None;
            for event in events {
                let before = cooldown.end(now).map(|(end, _)| end);
                match event {
                    Event::Pass(time) => now += millis(time),
                    Event::Take => cooldown.take(now),
                    Event::Refuse(refusal, ago) => {
                        cooldown.refuse(&refusal, now - millis(ago), now, no_hint);
                        refused_at = Some(now);
                    }
                    Event::Succeed(ago) => {
                        let sent = now - millis(ago);
                        cooldown.succeed(sent);
                        if refused_at.is_none_or(|at| sent > at) {
                            prop_assert!(cooldown.end(now).is_none());
                            continue;
                        }
                    }
                }
                let after = cooldown.end(now).map(|(end, _)| end);
                prop_assert!(after >= before.filter(|end| *end > now), "{before:?} {after:?}");
                prop_assert!(after.is_none_or(|end| end <= now + CAP));
                match cooldown.gate(now) {
                    Gate::Closed(until) => prop_assert_eq!(Some(until), after),
                    Gate::Probed(at) => prop_assert!(after.is_none() && at > now),
                    Gate::Open | Gate::Probe => prop_assert!(after.is_none()),
                }
            }
        }
    }
}
