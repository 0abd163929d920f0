//! Which key a call is sent with, or what the layer does instead.

use tokio::time::Instant;

use super::{KeyRotationStrategy, KeyStage, Last};
use crate::{
    call::CallState,
    key_rotation::{
        KeyPool, WhenExhausted,
        pool::{Exhausted, KeyRequest, KeyReservation, Keys, Lease},
    },
    quota::{Confirmed, Demand, Forecast, Inner, Prospect, QueuePlace, in_time, poll_again},
    retry::{Decision, Prepare},
    trail::{Action, StopReason},
};

/// What the layer does for a call instead of sending it with a key on cooldown.
enum Instead<R> {
    Answer(Prepare<R>),
    /// A key on a guessed cooldown: the request tests if the guess is too long.
    Probe(Lease),
}

/// Reserves the next key for a call that was rejected, which may wait until `end`, if at all.
pub(super) fn reserve(
    inner: &mut Inner<Keys>,
    request: &KeyRequest,
    last: Last,
    end: Option<Instant>,
    now: Instant,
) -> Result<KeyReservation, Exhausted> {
    if last == Last::OfAnother {
        return inner.candidates.reserve(request, now);
    }
    if end.is_some() {
        return inner.reserve_in_turn(request, now);
    }
    match inner.candidates.reserve(request, now) {
        Err(exhausted) if exhausted.is_busy() => {
            let keys = &mut inner.candidates;
            let reserved = keys.reserve_anyway(&exhausted, request, now);
            reserved.ok_or(exhausted)
        }
        reserved => reserved,
    }
}

impl<X> KeyRotationStrategy<X> {
    /// Reserves a key for the first send, or enters the queue; or returns the answer instead.
    pub(super) fn first<R>(
        &mut self,
        pool: &KeyPool,
        precise_demand: impl FnOnce() -> Demand,
        call: &CallState,
        now: Instant,
    ) -> Option<Prepare<R>>
    where
        X: WhenExhausted<R>,
    {
        let pool = pool.clone();
        let Some(end) = self.max_wait::<R>(call, now) else {
            return self.without_waiting(pool, call, now);
        };
        self.stage = match pool.acquire_in_turn(&self.request, now) {
            Ok(lease) => KeyStage::Leased(pool, lease),
            Err(exhausted) if exhausted.forecast().prospect.is_before(end) => {
                if self.request.demand.is_rough() {
                    self.request.demand = precise_demand();
                }
                let waiter = pool.enqueue(&self.request, QueuePlace::New, now);
                KeyStage::Waiting(pool, waiter)
            }
            Err(_) => return self.without_waiting(pool, call, now),
        };
        None
    }

    /// Goes on with the key that a wait has brought, or waits on if the call may; or returns the answer instead.
    pub(super) fn polled<R>(
        &mut self,
        pool: KeyPool,
        polled: Result<(Lease, Instant), Forecast>,
        call: &CallState,
        now: Instant,
    ) -> Option<Prepare<R>>
    where
        X: WhenExhausted<R>,
    {
        let end = self.max_wait::<R>(call, now).unwrap_or(now);
        match polled {
            Ok((lease, at)) => {
                self.stage = KeyStage::Reserved(pool, lease, in_time(at, end, now));
                None
            }
            Err(forecast) if end > now && forecast.prospect.is_before(end) => {
                let at = poll_again(forecast.free_at, end, now);
                Some(Prepare::WaitUntil(at))
            }
            Err(_) => self.without_waiting(pool, call, now),
        }
    }

    /// Sends with a reserved key. If the key was rejected for another call meanwhile, takes another one,
    /// or enters the queue again if the call may wait; or returns the answer instead.
    pub(super) fn confirm<R>(
        &mut self,
        pool: KeyPool,
        mut lease: Lease,
        call: &CallState,
        now: Instant,
    ) -> Option<Prepare<R>>
    where
        X: WhenExhausted<R>,
    {
        let confirmed = lease.confirm(false, now);
        if confirmed != Confirmed::Yes {
            if self.max_wait::<R>(call, now).is_some_and(|end| now < end) {
                self.stage = KeyStage::Rejected(pool);
                return None;
            }
            match pool.acquire(&self.request, now) {
                Ok(other) => lease = other,
                Err(exhausted) => match self.instead(&pool, &exhausted, call, now) {
                    Some(Instead::Answer(answer)) => return Some(answer),
                    Some(Instead::Probe(other)) => lease = other,
                    None if confirmed == Confirmed::Removed => {
                        return self.send_anyway(pool, &exhausted, now);
                    }
                    // This call has not been sent with the key that it has, at least.
                    None => drop(lease.confirm(true, now)),
                },
            }
        }
        self.stage = KeyStage::Leased(pool, lease);
        None
    }

    /// Returns what the layer does for a call if every key is on cooldown; `None` to send it all the same.
    ///
    /// A call that Backoff has delayed may test if a guess is too long. To answer it would hold it to a
    /// guess, which no wait of its own could outlast.
    fn instead<R>(
        &self,
        pool: &KeyPool,
        exhausted: &Exhausted,
        call: &CallState,
        now: Instant,
    ) -> Option<Instead<R>>
    where
        X: WhenExhausted<R>,
    {
        if exhausted.is_busy() || exhausted.is_pin_lost() {
            return None;
        }
        let response = self.policy.when_exhausted.answer(exhausted.rejection())?;
        let probe = match call.has_backed_off() {
            true => pool.acquire_early(&self.request, now),
            false => None,
        };
        Some(match probe {
            Some(lease) => Instead::Probe(lease),
            None => Instead::Answer(Prepare::Respond(StopReason::NoFreeKey, response)),
        })
    }

    /// Reserves a key for a call that may not wait, or no longer; or returns the answer instead.
    pub(super) fn without_waiting<R>(
        &mut self,
        pool: KeyPool,
        call: &CallState,
        now: Instant,
    ) -> Option<Prepare<R>>
    where
        X: WhenExhausted<R>,
    {
        let lease = match pool.acquire(&self.request, now) {
            Ok(lease) => lease,
            Err(exhausted) => match self.instead(&pool, &exhausted, call, now) {
                Some(Instead::Answer(answer)) => return Some(answer),
                Some(Instead::Probe(lease)) => lease,
                None => return self.send_anyway(pool, &exhausted, now),
            },
        };
        // This gives up the place in the queue.
        self.stage = KeyStage::Leased(pool, lease);
        None
    }

    /// Sends with the key that frees first, or without one if the call is pinned to a key that was removed.
    fn send_anyway<R>(
        &mut self,
        pool: KeyPool,
        exhausted: &Exhausted,
        now: Instant,
    ) -> Option<Prepare<R>> {
        self.stage = match pool.acquire_anyway(exhausted, &self.request, now) {
            Some(lease) => KeyStage::Leased(pool, lease),
            None => KeyStage::Keyless,
        };
        None
    }

    /// Sends with the next key, waits for one, or gives up.
    pub(super) fn next<R>(
        &mut self,
        pool: KeyPool,
        next: Result<KeyReservation, Exhausted>,
        last: Last,
        end: Option<Instant>,
        now: Instant,
    ) -> Decision
    where
        X: WhenExhausted<R>,
    {
        let exhausted = match next {
            Ok(reservation) => {
                let lease = pool.reserved(reservation);
                self.stage = KeyStage::Reserved(pool, lease, now);
                return Decision::retry(Action::NextKey);
            }
            // The rejected key is free for what this call needs, so there is nothing to wait for: to take
            // it again would be to send without end.
            Err(_) if last == Last::OfAnother => return Decision::Ignore,
            // Its key was removed meanwhile, so the response alone says what became of the request.
            Err(exhausted) if exhausted.is_pin_lost() => {
                return Decision::Stop(StopReason::NoKeyForOrigin);
            }
            Err(exhausted) => exhausted,
        };
        let forecast = exhausted.forecast();
        match end {
            Some(_) if self.waits.is_used_up() => {
                Decision::StopWith(StopReason::AttemptsUsedUp, exhausted.rejection())
            }
            Some(end) if forecast.prospect.is_before(end) => {
                self.waits.count_wait();
                // A key that frees after a wait may be tried again.
                self.request.tried.clear();
                self.stage = KeyStage::Rejected(pool);
                let free_at = match forecast.prospect {
                    Prospect::At(at) => at,
                    Prospect::AnyTime | Prospect::Never => forecast.free_at.unwrap_or(now),
                };
                let wait = free_at.saturating_duration_since(now);
                Decision::queue(wait, exhausted.rejection())
            }
            _ => Decision::StopWith(StopReason::NoFreeKey, exhausted.rejection()),
        }
    }
}
