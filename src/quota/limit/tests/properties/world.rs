//! A limit under random events.

use proptest::prelude::*;

use super::*;

pub(super) struct World {
    pub(super) limit: Limit,
    pub(super) now: Instant,
    /// How many requests are reserved, and when the others were sent.
    reserved: usize,
    sent: Vec<Instant>,
    longest_guess: Duration,
}

// === impl World ===

impl World {
    pub(super) fn new(longest_guess: Duration) -> Self {
        Self {
            limit: Limit::default(),
            now: Instant::now() + secs(1_000),
            reserved: 0,
            sent: Vec::new(),
            longest_guess,
        }
    }

    pub(super) fn happens(&mut self, event: Event) {
        let now = self.now;
        let pick = |sent: &mut Vec<Instant>, index| match sent.len() {
            0 => None,
            len => Some(sent.swap_remove(index % len)),
        };
        let Limit { state, traits } = &mut self.limit;
        match event {
            Event::Wait(time) => self.now += Duration::from_millis(time),
            Event::Reserve => {
                state.reserve(traits, COST, now);
                self.reserved += 1;
            }
            Event::Send(late) if self.reserved > 0 => {
                let sent = now - Duration::from_millis(late);
                state.mark_sent(traits, demand(COST), sent);
                self.reserved -= 1;
                self.sent.push(sent);
            }
            Event::Drop if self.reserved > 0 => {
                state.release(traits, COST, None);
                self.reserved -= 1;
            }
            Event::Send(_) | Event::Drop => {}
            Event::Abandon(index) => {
                if let Some(sent) = pick(&mut self.sent, index) {
                    state.abandon(traits, COST, (sent, now));
                    state.release(traits, COST, Some(sent));
                }
            }
            Event::Succeed(index, reports) => {
                if let Some(sent) = pick(&mut self.sent, index) {
                    state.succeeded(traits, (COST, reports.iter()), (sent, now));
                    state.release(traits, COST, Some(sent));
                }
            }
            Event::Reject(index, rejection, reports) => {
                if let Some(sent) = pick(&mut self.sent, index) {
                    let when = (sent, now);
                    let reports = (COST, &reports[..]);
                    state.rejected(traits, &rejection, reports, when, self.longest_guess);
                    state.release(traits, COST, Some(sent));
                }
            }
            Event::Stray(rejection, ago) => {
                let when = (now - Duration::from_millis(ago), now);
                match rejection {
                    Some(it) => {
                        state.rejected(traits, &it, (COST, &[]), when, self.longest_guess);
                    }
                    None => state.succeeded(traits, (COST, [].iter()), when),
                }
            }
        }
    }

    /// Asserts that the limit opens within a day, or that a request in flight will change it.
    pub(super) fn has_an_end(&mut self) -> Result<(), TestCaseError> {
        let (now, out) = (self.now, self.reserved + self.sent.len());
        let day = now + MAX_COOLDOWN + secs(1);
        for slow_start in [SlowStart::Off, SlowStart::Careful, SlowStart::Quick] {
            let Limit { state, traits } = &mut self.limit;
            match state.capacity(traits, (demand(COST), slow_start), now) {
                Capacity::Available(more) => prop_assert!(more > 0),
                Capacity::Verify(at) | Capacity::Closed(at) | Capacity::Unusable(at) => {
                    prop_assert!(at > now && at <= day, "{:?}", at - now);
                }
                Capacity::Short {
                    more_at: Some(at), ..
                }
                | Capacity::Probing(Some(at))
                | Capacity::Full(Some(at)) => {
                    prop_assert!(at <= day, "{:?}", at - now);
                    prop_assert!(at > now || out > 0, "the next poll is in the past");
                }
                Capacity::Short { more_at: None, .. }
                | Capacity::Probing(None)
                | Capacity::Full(None) => {
                    prop_assert!(out > 0);
                }
            }
        }
        prop_assert_eq!(self.limit.state.out(), out as u64);
        Ok(())
    }

    /// Lets all requests in flight pass.
    pub(super) fn all_pass(&mut self) {
        for _ in 0..std::mem::take(&mut self.reserved) {
            let Limit { state, traits } = &mut self.limit;
            state.release(traits, COST, None);
        }
        self.now += Duration::from_millis(100);
        while !self.sent.is_empty() {
            self.happens(Event::Succeed(0, Vec::new()));
        }
    }

    /// Returns how long a waiter waits.
    pub(super) fn waits(&mut self) -> Result<Duration, TestCaseError> {
        let start = self.now;
        for _ in 0..10_000 {
            match self.limit.capacity(self.now) {
                Capacity::Available(_) => return Ok(self.now - start),
                Capacity::Short {
                    more_at: Some(at), ..
                }
                | Capacity::Probing(Some(at))
                | Capacity::Full(Some(at))
                | Capacity::Verify(at)
                | Capacity::Closed(at)
                | Capacity::Unusable(at) => {
                    self.now = at.max(self.now + Duration::from_millis(1));
                }
                Capacity::Short { more_at: None, .. }
                | Capacity::Probing(None)
                | Capacity::Full(None) => {
                    return Err(TestCaseError::fail("it waits without a reason"));
                }
            }
        }
        Err(TestCaseError::fail("it polls again and again"))
    }
}
