//! Which key a call goes out with, or what it does in place of that.

use tokio::time::Instant;

use super::{KeyRotationStrategy, Stage};
use crate::{
    call::CallState,
    key_rotation::{
        KeyPool, WhenExhausted,
        pool::{Exhausted, Lease, Prospect},
    },
    rejection::{Reason, Rejection},
    retry::{Decision, MAX_WAITS, Prepare},
    trail::{Action, StopReason},
};

/// What is done for a call in place of sending with a key that cools.
enum Instead<R> {
    Answer(Prepare<R>),
    /// A key that cools by a guess: the request finds out whether that is too long.
    Probe(Lease),
}

impl<X> KeyRotationStrategy<X> {
    /// Takes a key for the first send, or a place in the queue; or gives the answer in their stead.
    pub(super) fn first<R>(
        &mut self,
        pool: KeyPool,
        call: &CallState,
        now: Instant,
    ) -> Option<Prepare<R>>
    where
        X: WhenExhausted<R>,
    {
        let Some(end) = self.max_wait::<R>(call, now) else {
            return self.without_waiting(pool, call, now);
        };
        self.stage = match pool.take_in_turn(&self.want, now) {
            Ok(lease) => Stage::Leased(lease),
            Err(exhausted) if exhausted.prospect().is_before(end) => {
                let ticket = pool.join(self.want.clone(), false, now);
                Stage::Waiting(pool, ticket)
            }
            Err(_) => return self.without_waiting(pool, call, now),
        };
        None
    }

    /// Sends with a key that was set aside. If it was refused to others since, another is better; or, for
    /// a call that may wait, another place in the queue; or the answer in its stead.
    pub(super) fn go_out<R>(
        &mut self,
        mut lease: Lease,
        call: &CallState,
        now: Instant,
    ) -> Result<Stage, Prepare<R>>
    where
        X: WhenExhausted<R>,
    {
        if lease.is_stale(now) {
            let pool = lease.pool().clone();
            if self.max_wait::<R>(call, now).is_some_and(|end| now < end) {
                return Ok(Stage::Refused(pool));
            }
            match pool.take(&self.want, now) {
                Ok(other) => lease = other,
                Err(exhausted) => {
                    match self.instead(&pool, &exhausted, call, now) {
                        Some(Instead::Answer(answer)) => return Err(answer),
                        Some(Instead::Probe(other)) => return Ok(Stage::Leased(other)),
                        None => {}
                    }
                    // This call has not asked with the one that it has, at least.
                    if lease.is_of_removed() {
                        lease = pool.take_anyway(&exhausted, &self.want, now);
                    }
                }
            }
        }
        Ok(Stage::Leased(lease))
    }

    /// What the layer does for a call that finds every key cooling, in place of sending all the same.
    ///
    /// A call that Backoff has waited for may find out whether a guess is too long. To answer it too
    /// would be to hold it to a guess, which no wait of its own could outlast.
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
        if exhausted.is_busy() {
            return None;
        }
        let response = self.policy.when_exhausted.answer(exhausted.rejection())?;
        let probe = match call.has_backed_off() {
            true => pool.take_early(&self.want, now),
            false => None,
        };
        Some(match probe {
            Some(lease) => Instead::Probe(lease),
            None => Instead::Answer(Prepare::Respond(StopReason::NoFreeKey, response)),
        })
    }

    /// Takes a key for a call that may not wait, or not any more; or gives the answer in its stead.
    pub(super) fn without_waiting<R>(
        &mut self,
        pool: KeyPool,
        call: &CallState,
        now: Instant,
    ) -> Option<Prepare<R>>
    where
        X: WhenExhausted<R>,
    {
        let lease = match pool.take(&self.want, now) {
            Ok(lease) => lease,
            Err(exhausted) => match self.instead(&pool, &exhausted, call, now) {
                Some(Instead::Answer(answer)) => return Some(answer),
                Some(Instead::Probe(lease)) => lease,
                None => pool.take_anyway(&exhausted, &self.want, now),
            },
        };
        // A place in the queue is given up by this.
        self.stage = Stage::Leased(lease);
        None
    }

    /// Asks with another key. The one that was refused is free for what this call wants, so there is
    /// nothing to wait for: to take it again would be to ask without end.
    pub(super) fn without_this(&mut self, lease: &Lease, now: Instant) -> Decision {
        match lease.pool().take(&self.want, now) {
            Ok(mut other) => {
                other.set_aside();
                self.stage = Stage::Granted(other, now);
                Decision::retry(Action::NextKey)
            }
            Err(_) => Decision::Ignore,
        }
    }

    /// Asks with the next key, waits for one, or gives up.
    pub(super) fn next<R>(&mut self, pool: KeyPool, call: &CallState, now: Instant) -> Decision
    where
        X: WhenExhausted<R>,
    {
        let end = self.max_wait::<R>(call, now);
        let taken = match end {
            Some(_) => pool.take_in_turn(&self.want, now),
            None => pool.take(&self.want, now),
        };
        let next_key = Decision::retry(Action::NextKey);
        let exhausted = match taken {
            Ok(mut lease) => {
                lease.set_aside();
                self.stage = Stage::Granted(lease, now);
                return next_key;
            }
            Err(exhausted) => exhausted,
        };
        match end {
            Some(_) if self.waits >= MAX_WAITS => {
                Decision::StopWith(StopReason::AttemptsUsedUp, exhausted.rejection())
            }
            Some(end) if exhausted.prospect().is_before(end) => {
                self.waits += 1;
                // What frees after a wait may be tried again.
                self.want.tried.clear();
                self.stage = Stage::Refused(pool);
                let free_at = match exhausted.prospect() {
                    Prospect::At(at) => at,
                    Prospect::AnyTime | Prospect::Never => exhausted.free_at.unwrap_or(now),
                };
                let wait = free_at.saturating_duration_since(now);
                Decision::queue(wait, exhausted.rejection())
            }
            None if exhausted.is_busy() => {
                let lease = pool.take_anyway(&exhausted, &self.want, now);
                self.stage = Stage::Leased(lease);
                next_key
            }
            _ => Decision::StopWith(StopReason::NoFreeKey, exhausted.rejection()),
        }
    }
}

// === impl Exhausted ===

impl Exhausted {
    /// What the pool as a whole says: that of the first key that frees, which tells when only if the
    /// provider has said so.
    fn rejection(&self) -> Rejection {
        let rejection = self.rejection.clone();
        rejection.unwrap_or_else(|| Rejection::new(Reason::RateLimited))
    }
}
