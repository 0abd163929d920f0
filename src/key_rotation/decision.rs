//! Which key asks next: the pool's choice, and what the outcome says of the key that asked.

mod report;

use std::{
    mem,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::request;
use http_body::Body;
use tokio::time::Instant;

use super::{
    KeyPool, Session, WhenExhausted,
    layer::Policy,
    pool::{Exhausted, Lease, Standing, Ticket, Want},
};
use crate::{
    attempt::{Decide, Draft, Outcome, Prepared, Verdict, after},
    call::Call,
    head::Head,
    model::Model,
    refusal::{Reason, Refusal},
    trail::{Action, Layer, Why},
};
use report::{Last, report};

pub(super) struct Decision<X> {
    policy: Arc<Policy<X>>,
    stage: Stage,
    want: Want,
    /// Until when the call waits for a key, once it is known.
    patience: Option<Instant>,
}

enum Stage {
    /// Nothing was chosen yet.
    New,
    /// No pool has a key for this request: it passes through.
    Keyless,
    /// In the queue for a key.
    Waiting(KeyPool, Ticket),
    /// A key was set aside, to go out at this moment.
    Granted(Lease, Instant),
    /// The key of the send that is under way.
    Leased(Lease),
    /// The key was refused, and the call is to wait for one.
    Refused(KeyPool),
}

impl<X> Decision<X> {
    pub(super) fn new(policy: Arc<Policy<X>>) -> Self {
        Self {
            policy,
            stage: Stage::New,
            want: Want::default(),
            patience: None,
        }
    }

    fn pool(&self, head: &Head, call: &Call) -> Option<KeyPool> {
        let origin = head.origin.as_ref();
        let mut pools = self.policy.pools.iter();
        call.of_addressed(|addressed| pools.find(|pool| pool.serves(origin, addressed)).cloned())
    }

    /// Until when this call may wait, if it may at all.
    fn patience<R>(&mut self, call: &Call, now: Instant) -> Option<Instant>
    where
        X: WhenExhausted<R>,
    {
        let patience = self.policy.when_exhausted.patience()?;
        let end = *self.patience.get_or_insert(after(now, patience));
        let left = call.left(now).ok()?;
        Some(left.map_or(end, |left| end.min(now + left)))
    }

    /// Whether a call that waits until `end` may get a key by then.
    fn is_in_reach(exhausted: &Exhausted, end: Instant) -> bool {
        exhausted.free_for_sure().is_none_or(|at| at < end)
    }
}

impl<X: WhenExhausted<R>, R, E> Decide<R, E> for Decision<X> {
    const LAYER: Layer = Layer::KeyRotation;

    fn poll_prepare<B>(&mut self, draft: &Draft<'_, B>, cx: &mut Context<'_>) -> Poll<Prepared<R>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let now = draft.now();
        loop {
            match &mut self.stage {
                Stage::Keyless => return Poll::Ready(Prepared::Send),
                Stage::Leased(lease) => {
                    lease.goes_out(now);
                    return Poll::Ready(Prepared::Send);
                }
                Stage::Granted(_, at) if *at > now => return Poll::Ready(Prepared::Later(*at)),
                // Until then it may go stale.
                Stage::Granted(..) if !draft.is_ready => return Poll::Ready(Prepared::Send),
                Stage::Granted(..) => {
                    if let Stage::Granted(lease, _) = mem::replace(&mut self.stage, Stage::New) {
                        match self.go_out::<R>(lease, draft.call, now) {
                            Ok(stage) => self.stage = stage,
                            Err(answer) => return Poll::Ready(answer),
                        }
                    }
                }
                Stage::New => match self.pool(draft.head, draft.call) {
                    None => self.stage = Stage::Keyless,
                    Some(pool) => {
                        self.want = ready!(want(draft, cx));
                        if let Some(answer) = self.first::<R>(pool, draft.call, now) {
                            return Poll::Ready(answer);
                        }
                    }
                },
                Stage::Refused(pool) => {
                    let pool = pool.clone();
                    let ticket = pool.join(self.want.clone(), true, now);
                    self.stage = Stage::Waiting(pool, ticket);
                }
                Stage::Waiting(pool, ticket) => match ticket.look(cx, now) {
                    Standing::Served(lease, at) => self.stage = Stage::Granted(lease, at),
                    Standing::Waiting { free_at, look_at } => {
                        let pool = pool.clone();
                        let end = self.patience::<R>(draft.call, now).unwrap_or(now);
                        if end > now && free_at.is_none_or(|at| at < end) {
                            let at = look_at.map_or(end, |at| at.min(end));
                            return Poll::Ready(Prepared::Later(at.max(now + TICK)));
                        }
                        if let Some(answer) = self.without_waiting::<R>(pool, now) {
                            return Poll::Ready(answer);
                        }
                    }
                },
            }
        }
    }

    fn change(&mut self, head: &mut request::Parts, call: &Call) -> Option<Bytes> {
        if let Stage::Leased(lease) = &mut self.stage {
            let place = lease.place(head);
            call.ask_with_key(lease.label().clone(), place);
        }
        None
    }

    fn judge(&mut self, outcome: &Outcome<'_, E>) -> Verdict {
        // The key is given back with the answer, however long the caller keeps the future.
        let Stage::Leased(mut lease) = mem::replace(&mut self.stage, Stage::Keyless) else {
            return match outcome.refusal {
                Some(refusal) if refusal.another_key_helps() => {
                    Verdict::Return(Why::NoKeyForOrigin)
                }
                _ => Verdict::Pass,
            };
        };
        lease.is_answered(outcome.now());
        let last = report(&lease, &self.want, outcome);
        let refusal = outcome.refusal.filter(|_| last != Last::Without);
        if !refusal.is_some_and(Refusal::another_key_helps) {
            return Verdict::Pass;
        }
        if let Err(why) = outcome.left() {
            return Verdict::Return(why);
        }
        self.want.tried.push(lease.id());
        if last == Last::OfAnother {
            return self.without_this(&lease, outcome.now());
        }
        self.next::<R>(lease.pool().clone(), outcome.call, outcome.now())
    }
}

/// The least time until a waiter looks again; a moment that is past is one that an answer will move.
const TICK: Duration = Duration::from_millis(1);

impl<X> Decision<X> {
    /// Takes a key for the first send, or a place in the queue; or gives the answer in their stead.
    fn first<R>(&mut self, pool: KeyPool, call: &Call, now: Instant) -> Option<Prepared<R>>
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
    fn go_out<R>(
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
    fn without_waiting<R>(&mut self, pool: KeyPool, now: Instant) -> Option<Prepared<R>>
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
    fn without_this(&mut self, lease: &Lease, now: Instant) -> Verdict {
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

    /// Asks with the next key, waits for one, or gives up.
    fn next<R>(&mut self, pool: KeyPool, call: &Call, now: Instant) -> Verdict
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

/// What the request asks of the pool.
fn want<B>(draft: &Draft<'_, B>, cx: &mut Context<'_>) -> Poll<Want>
where
    B: Body<Data = Bytes> + Unpin,
{
    let asked = draft.call.asked_model();
    // What a layer further out has read is not read again.
    let named = asked.or_else(|| Model::in_path(&draft.head.uri)?.name());
    let model = match named {
        None if draft.recording.in_memory() => {
            let body = ready!(draft.recording.poll_whole(cx));
            body.and_then(|body| Model::in_body(&draft.head.headers, &body).name())
        }
        named => named,
    };
    Poll::Ready(Want {
        model,
        tried: Vec::new(),
        session: draft.extensions.get::<Session>().map(Session::hash),
    })
}

// === impl Exhausted ===

impl Exhausted {
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
