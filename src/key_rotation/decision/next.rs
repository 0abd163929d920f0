//! Which key a call goes out with, or what it does in place of that.

use std::time::Duration;

use tokio::time::Instant;

use super::{Decision, Stage};
use crate::{
    attempt::{Prepared, Verdict},
    call::Call,
    key_rotation::{
        KeyPool, WhenExhausted,
        pool::{Exhausted, Lease},
    },
    refusal::{Reason, Refusal},
    trail::{Action, Why},
};

impl<X> Decision<X> {
    /// Takes a key for the first send, or a place in the queue; or gives the answer in their stead.
    pub(super) fn first<R>(
        &mut self,
        pool: KeyPool,
        call: &Call,
        now: Instant,
    ) -> Option<Prepared<R>>
    where
        X: WhenExhausted<R>,
    {
        let Some(end) = self.patience::<R>(call, now) else {
            return self.without_waiting(pool, now);
        };
        self.stage = match pool.take_in_turn(&self.want, now) {
            Ok(lease) => Stage::Leased(lease),
            Err(exhausted) if Self::is_in_reach(&exhausted, end) => {
                let ticket = pool.join(self.want.clone(), false, now);
                Stage::Waiting(pool, ticket)
            }
            Err(_) => return self.without_waiting(pool, now),
        };
        None
    }

    /// Sends with a key that was set aside. If it was refused to others since, another is better; or, for
    /// a call that may wait, another place in the queue; or the answer in its stead.
    pub(super) fn go_out<R>(
        &mut self,
        mut lease: Lease,
        call: &Call,
        now: Instant,
    ) -> Result<Stage, Prepared<R>>
    where
        X: WhenExhausted<R>,
    {
        if lease.is_stale(now) {
            let pool = lease.pool().clone();
            if self.patience::<R>(call, now).is_some_and(|end| now < end) {
                return Ok(Stage::Refused(pool));
            }
            match pool.take(&self.want, now) {
                Ok(other) => lease = other,
                Err(exhausted) => {
                    if let Some(answer) = self.answer(&exhausted, now) {
                        return Err(answer);
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

    /// The layer's own answer to a call that finds every key cooling, if it gives one.
    fn answer<R>(&self, exhausted: &Exhausted, now: Instant) -> Option<Prepared<R>>
    where
        X: WhenExhausted<R>,
    {
        if exhausted.is_busy() {
            return None;
        }
        let refusal = exhausted.refusal_at(now);
        let response = self.policy.when_exhausted.answer(refusal)?;
        Some(Prepared::Answer(Why::NoFreeKey, response))
    }

    /// Takes a key for a call that may not wait, or not any more; or gives the answer in its stead.
    pub(super) fn without_waiting<R>(&mut self, pool: KeyPool, now: Instant) -> Option<Prepared<R>>
    where
        X: WhenExhausted<R>,
    {
        let lease = match pool.take(&self.want, now) {
            Ok(lease) => lease,
            Err(exhausted) => {
                if let Some(answer) = self.answer(&exhausted, now) {
                    return Some(answer);
                }
                pool.take_anyway(&exhausted, &self.want, now)
            }
        };
        // A place in the queue is given up by this.
        self.stage = Stage::Leased(lease);
        None
    }

    /// Asks with another key. The one that was refused is free for what this call wants, so there is
    /// nothing to wait for: to take it again would be to ask without end.
    pub(super) fn without_this(&mut self, lease: &Lease, now: Instant) -> Verdict {
        match lease.pool().take(&self.want, now) {
            Ok(mut other) => {
                other.set_aside();
                self.stage = Stage::Granted(other, now);
                Verdict::Again {
                    action: Action::NextKey,
                    wait: Duration::ZERO,
                }
            }
            Err(_) => Verdict::Pass,
        }
    }

    /// Sends with another key, or waits for one that is limited; but not until a key that may not use the
    /// model is checked again, because no wait brings what it lacks.
    pub(super) fn after_denial<R>(&mut self, lease: &Lease, call: &Call, now: Instant) -> Verdict
    where
        X: WhenExhausted<R>,
    {
        let pool = lease.pool().clone();
        match pool.take(&self.want, now) {
            Err(exhausted) if !exhausted.is_busy() && !exhausted.ends_with_time() => Verdict::Pass,
            _ => self.next::<R>(pool, call, now),
        }
    }

    /// Asks with the next key, waits for one, or gives up.
    pub(super) fn next<R>(&mut self, pool: KeyPool, call: &Call, now: Instant) -> Verdict
    where
        X: WhenExhausted<R>,
    {
        let end = self.patience::<R>(call, now);
        let taken = match end {
            Some(_) => pool.take_in_turn(&self.want, now),
            None => pool.take(&self.want, now),
        };
        let next_key = Verdict::Again {
            action: Action::NextKey,
            wait: Duration::ZERO,
        };
        let exhausted = match taken {
            Ok(mut lease) => {
                lease.set_aside();
                self.stage = Stage::Granted(lease, now);
                return next_key;
            }
            Err(exhausted) => exhausted,
        };
        match end {
            Some(end) if Self::is_in_reach(&exhausted, end) => {
                // What frees after a wait may be tried again.
                self.want.tried.clear();
                self.stage = Stage::Refused(pool);
                let free_at = exhausted.free_at.unwrap_or(now);
                Verdict::Again {
                    action: Action::Wait(free_at.saturating_duration_since(now)),
                    wait: Duration::ZERO,
                }
            }
            None if exhausted.is_busy() => {
                let lease = pool.take_anyway(&exhausted, &self.want, now);
                self.stage = Stage::Leased(lease);
                next_key
            }
            _ => Verdict::Exhausted(Why::NoFreeKey, exhausted.refusal_at(now)),
        }
    }
}

// === impl Exhausted ===

impl Exhausted {
    /// Whether the key that frees first waits for a limit that ends with time.
    fn ends_with_time(&self) -> bool {
        self.refusal.as_ref().is_some_and(Refusal::time_helps)
    }

    /// What the pool as a whole says: wait for the first key that frees.
    fn refusal_at(&self, now: Instant) -> Refusal {
        let free_at = self.free_at.unwrap_or(now);
        let refusal = self.refusal.clone();
        Refusal {
            retry_after: Some(free_at.saturating_duration_since(now)),
            ..refusal.unwrap_or_else(|| Refusal::new(Reason::RateLimited))
        }
    }
}
