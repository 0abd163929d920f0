//! Which key asks next: the pool's choice, and what the outcome says of the key that asked.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::request;
use http_body::Body;
use tokio::time::Instant;

use super::{
    KeyPool, WhenExhausted,
    layer::Policy,
    pool::{Exhausted, KeyId, Lease},
};
use crate::{
    attempt::{Decide, Draft, Outcome, Prepared, Verdict},
    call::Call,
    origin::Origin,
    refusal::{Reason, Refusal},
    trail::{Action, Attempt, Layer, Why},
};

pub(super) struct Decision<X> {
    policy: Policy<X>,
    stage: Stage,
    tried: Vec<KeyId>,
}

enum Stage {
    /// Nothing was chosen yet.
    New,
    /// No pool has a key for this request: it passes through.
    Keyless,
    /// The key of the send that is under way, or comes next.
    Leased(Lease),
}

impl<X> Decision<X> {
    pub(super) fn new(policy: Policy<X>) -> Self {
        Self {
            policy,
            stage: Stage::New,
            tried: Vec::new(),
        }
    }

    fn pool(&self, head: &request::Parts, call: &Call) -> Option<&KeyPool> {
        let (origin, addressed) = (Origin::of(&head.uri), call.addressed());
        let serves = |pool: &&KeyPool| pool.serves(origin.as_ref(), addressed.as_ref());
        self.policy.pools.iter().find(serves)
    }
}

impl<X: WhenExhausted<R>, R, E> Decide<R, E> for Decision<X> {
    const LAYER: Layer = Layer::KeyRotation;

    fn poll_prepare<B>(&mut self, draft: &Draft<'_, B>, _: &mut Context<'_>) -> Poll<Prepared<R>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if !matches!(self.stage, Stage::New) {
            return Poll::Ready(Prepared::Send);
        }
        let Some(pool) = self.pool(draft.head, draft.call) else {
            self.stage = Stage::Keyless;
            return Poll::Ready(Prepared::Send);
        };
        let lease = match pool.take(draft.now, &[]) {
            Ok(lease) => lease,
            Err(exhausted) => {
                let refusal = exhausted.refusal_at(draft.now);
                if let Some(response) = self.policy.when_exhausted.answer(refusal) {
                    return Poll::Ready(Prepared::Answer(Why::NoFreeKey, response));
                }
                pool.take_anyway(draft.now)
            }
        };
        self.stage = Stage::Leased(lease);
        Poll::Ready(Prepared::Send)
    }

    fn change(&mut self, head: &mut request::Parts, call: &Call) -> Option<Bytes> {
        if let Stage::Leased(lease) = &self.stage {
            lease.place(head);
            call.ask(|asked| asked.key = Some(lease.label().clone()));
        }
        None
    }

    fn judge(&mut self, outcome: &Outcome<'_, E>) -> Verdict {
        let Stage::Leased(lease) = &self.stage else {
            return match outcome.refusal {
                Some(refusal) if refusal.another_key_helps() => {
                    Verdict::Return(Why::NoKeyForOrigin)
                }
                _ => Verdict::Pass,
            };
        };
        let carried = report(lease, outcome);
        let refusal = outcome
            .refusal
            .filter(|refusal| carried && refusal.another_key_helps());
        if refusal.is_none() {
            return Verdict::Pass;
        }
        if let Err(why) = outcome.left {
            return Verdict::Return(why);
        }
        self.tried.push(lease.id());
        match lease.pool().take(outcome.now, &self.tried) {
            Ok(next) => {
                self.stage = Stage::Leased(next);
                Verdict::Again {
                    action: Action::NextKey,
                    wait: Duration::ZERO,
                }
            }
            Err(exhausted) => Verdict::Exhausted(Why::NoFreeKey, exhausted.refusal_at(outcome.now)),
        }
    }
}

/// Tells the pool what became of a key, and whether the last attempt carried it.
///
/// A layer further in may have made several attempts with it, or have taken it off.
fn report<E>(lease: &Lease, outcome: &Outcome<'_, E>) -> bool {
    let attempts = outcome.call.attempts().split_off(outcome.before);
    let carries = |attempt: &Attempt| {
        let key = attempt.key.as_ref();
        attempt.sent && key.is_some_and(|key| Arc::ptr_eq(key, lease.label()))
    };
    let carried = attempts.last().is_some_and(carries);
    // What the last answer means may have been read better by a layer between.
    let last = outcome.refusal.filter(|_| carried);
    let earlier = attempts
        .split_last()
        .map_or(&[][..], |(_, earlier)| earlier);
    let refusals = earlier.iter().filter(|attempt| carries(attempt));
    let refusals = refusals
        .filter_map(|attempt| attempt.refusal.as_ref())
        .chain(last);
    for refusal in refusals.filter(|refusal| refusal.another_key_helps()) {
        lease.refused(refusal, outcome.now);
    }
    if carried && outcome.is_success() {
        lease.succeeded();
    }
    carried
}

// === impl Exhausted ===

impl Exhausted {
    /// What the pool as a whole says: wait for the first key that frees.
    fn refusal_at(self, now: Instant) -> Refusal {
        Refusal {
            retry_after: Some(self.free_at.saturating_duration_since(now)),
            ..self
                .refusal
                .unwrap_or_else(|| Refusal::new(Reason::RateLimited))
        }
    }
}
